"""Checks of where the hub listens: is it there, is it somebody else, can devices get through."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn
from hivemind_bus_client.doctor.network import OPEN, Place, knock, places
from hivemind_bus_client.version import __version__

from ..config import Config, HTTPConfig, WebSocketConfig
from ..healthcheck import ANYWHERE, PATH, PROBES
from ..own_address import EVERYWHERE
from ..whereabouts import as_it_runs, running_version
from .case import HubCase
from .entrance import knocked

PROBE_S = 4.0
Front = WebSocketConfig | HTTPConfig
WHAT = "port"
UFW = Path("/etc/ufw/ufw.conf")
LISTENING = "0A"
"""The state in /proc/net/tcp."""


def look(case: HubCase) -> Iterator[Finding]:
    """Every transport that is served; then which release it is that runs."""
    if case.config is None:
        return
    for front in fronts(as_it_runs(case.config)):
        yield from _front(case, front)
    running = running_version()
    if case.hub_runs and running and running != __version__:
        yield warn(WHAT, f"The hub that runs is {running}, and {__version__} is installed.", "Restart the hub.")


def fronts(config: Config) -> Iterator[Front]:
    """Return the transports that a configuration enables."""
    if config.serves_websocket:
        yield config.websocket
    if config.http is not None:
        yield config.http


def _front(case: HubCase, front: Front) -> Iterator[Finding]:
    if front.port == 0:
        yield ok(WHAT, "The hub does not run; it takes any free port when it does.")
        return
    host = ANYWHERE.get(front.host, front.host)
    url = f"{front.scheme}://{f'[{host}]' if ':' in host else host}:{front.port}{PATH}"
    try:
        place = places(host, front.port)[0]
    except (OSError, UnicodeError):
        yield fail(WHAT, f"`host` {front.host!r} is not known here.", "Use 0.0.0.0, or an address of this machine.")
        return
    if knock(place) != OPEN:
        yield _free(front, place)
        return
    try:
        PROBES[type(front)](url, PROBE_S)
    except (OSError, ValueError):
        yield _other(front)
        return
    case.hub_runs = True
    yield ok(WHAT, f"The hub runs and answers at {url.removesuffix(PATH)}.")
    if isinstance(front, WebSocketConfig):
        yield knocked(WHAT, url.removesuffix(PATH))
    yield from _ways_in(front)


def _free(front: Front, place: Place) -> Finding:
    try:
        with socket.socket(place.family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place.where)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            cure = "Use 0.0.0.0, or an address that `ip address` shows."
            return fail(WHAT, f"`host` {front.host!r} is no address of this machine.", cure)
        if error.errno == errno.EACCES:
            return fail(WHAT, f"This account may not listen at port {front.port}.", "Take one above 1023.")
        return _other(front)
    return warn(WHAT, f"The hub does not run: port {front.port} is free.", "Start it: `hivemind-core listen`.")


def _other(front: Front) -> Finding:
    who = holder(front.port)
    by = f"held by {who}" if who else "held by another program, or by a hub that hangs"
    return fail(
        WHAT,
        f"Port {front.port} is {by}, and no hub answers there.",
        f"See who it is (`sudo ss -ltnp 'sport = :{front.port}'`) and end it, or give the hub another `port`.",
    )


def holder(port: int) -> str:
    """Return the name and pid of the program that listens at a port; empty where that cannot be seen."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(Path("/proc/net", table), port)}
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        with suppress(OSError):
            if any(os.readlink(link) in inodes for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text('utf-8', 'replace').strip()} (pid {process.name})"
    return ""


def _inodes(table: Path, port: int) -> Iterator[str]:
    with suppress(OSError):
        for line in table.read_text("ascii").splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                yield words[9]


def _ways_in(front: Front) -> Iterator[Finding]:
    if front.host not in EVERYWHERE and (front.host.startswith("127.") or front.host in ("::1", "localhost")):
        yield warn(
            "firewall",
            f"The hub listens at {front.host} only: devices elsewhere cannot reach it.",
            'Set `host` to "0.0.0.0" in server.json, unless a proxy stands before it.',
        )
        return
    wall = _firewall(front.port)
    if wall is not None:
        yield wall


def _firewall(port: int) -> Finding | None:
    with suppress(OSError):
        if "ENABLED=yes" in UFW.read_text("utf-8"):
            return warn(
                "firewall",
                "ufw is on here; devices get through only if it lets them.",
                f"See `sudo ufw status`, and run `sudo ufw allow {port}/tcp`.",
            )
    if shutil.which("firewall-cmd") is None:
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = ["firewall-cmd", f"--query-port={port}/tcp"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        if asked.stdout.strip() == "no":
            run = f"sudo firewall-cmd --permanent --add-port={port}/tcp && sudo firewall-cmd --reload"
            return warn("firewall", f"firewalld does not let port {port} through.", f"Run: {run}")
    return None
