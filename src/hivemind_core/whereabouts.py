"""Where the hub of this account listens, for the commands that print how to join it: options and environment may have
put it elsewhere than server.json says.

A file in the data folder, written when the hub listens and removed when it stops; one whose process is gone counts for
nothing.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hivemind_bus_client.identity_file import write_private
from hivemind_bus_client.version import __version__

from .config import CertificateFiles, Config, HTTPConfig, data_dir

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Whereabouts:
    """What a running hub says about itself."""

    pid: int
    host: str
    port: int
    ssl: bool
    http: bool = False
    version: str = ""
    """The release that runs; empty where it does not say."""
    agent: str = ""
    """The agent it was started with, which `--agent` may have named; empty where it does not say."""


def _path() -> Path:
    return data_dir() / "hivemind-core" / "listening.json"


def announce(config: Config, port: int) -> None:
    """Write down where this process listens; that it cannot is no reason not to serve."""
    front, told = config.front, (__version__, config.agent_module)
    here = Whereabouts(os.getpid(), front.host, port, front.tls is not None, isinstance(front, HTTPConfig), *told)
    try:
        write_private(_path(), json.dumps(asdict(here)).encode())
    except OSError as error:
        log.warning("could not write down where the hub listens: %s", error)


def withdraw() -> None:
    """Remove what this process wrote."""
    found = _read()
    if found is not None and found.pid == os.getpid():
        _path().unlink(missing_ok=True)


def as_it_runs(config: Config) -> Config:
    """Return the configuration with the address at which a hub of this account listens right now."""
    found = _read()
    if found is None or not _is_alive(found.pid):
        return config
    tls = config.front.tls or CertificateFiles(data_dir() / "hivemind")
    where: dict[str, Any] = {"host": found.host, "port": found.port, "tls": tls if found.ssl else None}
    if found.http:
        return replace(config, http=replace(config.http or HTTPConfig(), **where), serves_websocket=False)
    return replace(config, websocket=replace(config.websocket, **where), serves_websocket=True)


def running_version() -> str:
    """Return which release a hub of this account runs right now; empty where none does, or it does not say."""
    found = _read()
    return found.version if found is not None and _is_alive(found.pid) else ""


def running_agent() -> str:
    """Return the agent of such a hub, in the same way."""
    found = _read()
    return found.agent if found is not None and _is_alive(found.pid) else ""


def _read() -> Whereabouts | None:
    try:
        fields: Any = json.loads(_path().read_text("utf-8"))
        http = fields.get("http") is True
        told = str(fields.get("version") or ""), str(fields.get("agent") or "")
        where = int(fields["pid"]), str(fields["host"]), int(fields["port"]), fields["ssl"] is True
        return Whereabouts(*where, http, *told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
