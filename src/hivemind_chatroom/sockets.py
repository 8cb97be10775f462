"""The socket the chatroom listens at, and what is known about addresses of this machine."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

EVERYWHERE = ("", "0.0.0.0", "::")
STALLED_MS = 30_000
"""How long a reader may take nothing of what was sent before it is dropped, where the system can tell."""
SEND_BUFFER = 64 * 1024
"""Bytes on the way to one reader; without it the system lets them grow to megabytes."""
BACKLOG = 1024

_REASONS = {
    errno.EADDRINUSE: "another program listens there. Choose another --port, or stop that program",
    errno.EACCES: "this account may not. Choose a --port above 1023",
    errno.EADDRNOTAVAIL: "this machine does not have that address. Choose another --host",
}


class BindError(Exception):
    """An address cannot be listened at; the text says why and what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that takes connections; ``::`` takes those of IPv4, too. Raises BindError."""
    try:
        family, address = _resolved(host, port)
        opened = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BindError(f"The chatroom cannot listen at {host!r}: {error}. Choose another --host.") from None
    try:
        _prepare(opened, dual=host == "::")
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        reason = _REASONS.get(error.errno or 0, f"{error}")
        raise BindError(f"The chatroom cannot listen at {shown(host)}:{port}: {reason}.") from None
    opened.setblocking(False)
    return opened


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, address = found[0]
    return family, address


def _prepare(opened: socket.socket, dual: bool) -> None:
    """Set what connections inherit (on Linux)."""
    if sys.platform != "win32":  # there it would let two programs share a port
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)


def shown(host: str) -> str:
    """Return a host as it stands in addresses."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach that address."""
    return host in ("localhost", "::1") or host.startswith("127.")


def own_address() -> str | None:
    """Return the address others in the network reach this machine at; None where it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address kept for documentation: only the route to it is asked
            found = str(probe.getsockname()[0])
        except OSError:
            return None
    return None if is_loopback(found) else found


def addresses(host: str, port: int, prefix: str = "") -> list[str]:
    """Return what to type into a browser: first on this machine, then elsewhere in its network."""
    if host not in EVERYWHERE:
        names = ["localhost" if is_loopback(host) and host != "::1" else shown(host)]
    else:
        others = own_address()
        names = ["localhost", *([others] if others is not None else [])]
    return [f"http://{name}:{port}{prefix and prefix + '/'}" for name in names]
