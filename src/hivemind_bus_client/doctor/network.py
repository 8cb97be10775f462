"""Whether a port can be reached: what its host's name stands for, and what each of these addresses does."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .findings import Finding, fail, ok, warn

KNOCK_S = 3.0
"""How long one address may take to answer."""
MOST_ADDRESSES = 6
OPEN, REFUSED, SILENT, AWAY = "open", "refused", "silent", "away"
"""What a port does: takes connections, refuses them, says nothing at all, or there is no way to it."""
FAMILIES = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}


@dataclass(frozen=True)
class Place:
    """One address behind a name."""

    family: int
    where: Any

    def __str__(self) -> str:
        return f"{self.where[0]} ({FAMILIES.get(socket.AddressFamily(self.family), 'other')})"


def places(host: str, port: int) -> list[Place]:
    """Return the addresses that a name stands for. Raises OSError, UnicodeError."""
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(Place(family, where) for family, _, _, _, where in found))[:MOST_ADDRESSES]


def knock(place: Place, timeout_s: float = KNOCK_S) -> str:
    """Try to connect, and return what the port does."""
    with socket.socket(place.family, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout_s)
        try:
            probe.connect(place.where)
        except TimeoutError:
            return SILENT
        except ConnectionRefusedError:
            return REFUSED
        except OSError as error:
            return SILENT if error.errno == errno.ETIMEDOUT else AWAY
    return OPEN


def resolved(what: str, host: str, port: int) -> tuple[list[Place], list[Finding]]:
    """Return the addresses of a host, and what there is to say of them."""
    try:
        found = places(host, port)
    except (OSError, UnicodeError):
        return [], [fail(what, f"The name {host} is not known here.", _name_cure(host), "unreachable")]
    shown = ", ".join(str(place.where[0]) for place in found)
    is_address = len(found) == 1 and shown == host.strip("[]")
    return found, [] if is_address else [ok(what, f"{host} is {shown}.")]


def _name_cure(host: str) -> str:
    if host.endswith(".local"):
        return "Names in .local come by mDNS: see that avahi-daemon runs on both machines, or use the IP address."
    return "Check how it is written, ask the router or name server for it, or use the IP address."


def reachable(what: str, found: Sequence[Place], timeout_s: float = KNOCK_S) -> Iterator[Finding]:
    """Say which of these addresses take connections; it fails where none does."""
    began = time.monotonic()
    did = {place: knock(place, timeout_s) for place in found}
    port = found[0].where[1]
    opened = [place for place, state in did.items() if state == OPEN]
    if not opened:
        yield _closed(what, port, did)
        return
    took_ms = (time.monotonic() - began) * 1000
    yield ok(what, f"Port {port} is open at {_listed(opened)} ({took_ms:.0f} ms).")
    silent = [place for place, state in did.items() if state in (SILENT, AWAY)]
    if silent:
        yield warn(
            what,
            f"Nothing comes back from {_listed(silent)}, so connecting may take longer.",
            "Set the address that works with `hivemind-client set-identity --host ADDRESS`.",
        )


def _closed(what: str, port: int, did: dict[Place, str]) -> Finding:
    at = _listed(list(did))
    if REFUSED in did.values():
        reason = f"The machine is there, but nothing listens at port {port}: {at} refuses connections."
        cure = "Start the hub (`hivemind-core listen`), and compare the port (`hivemind-core print-config`)."
    elif SILENT in did.values():
        reason = f"No answer at all from port {port} at {at}: the machine is off, or a firewall drops what is sent."
        cure = f"See that the machine is on and let TCP port {port} through its firewall (`sudo ufw allow {port}/tcp`)."
    else:
        reason = f"There is no way from here to {at}, port {port}."
        cure = "Check the network of this device (`ip route`), and that both are in the same one."
    return fail(what, reason, cure, "unreachable")


def _listed(found: Sequence[Place]) -> str:
    return ", ".join(map(str, found))
