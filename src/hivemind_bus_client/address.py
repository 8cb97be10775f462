"""Where a hub is, and how the first request names the satellite (docs/protocol.md 5.1)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORT = 5678
DEFAULT_HTTP_PORT = 5679

_SCHEMES = {"ws": (False, False), "wss": (False, True), "http": (True, False), "https": (True, True)}
"""Scheme -> whether it means HTTP, and whether TLS."""
_PADS = ("", "-", "--")


@dataclass(frozen=True)
class Address:
    """Where a hub listens, for WebSockets or for HTTP."""

    host: str
    """Name or IP address; an IPv6 address is in brackets."""
    port: int = DEFAULT_PORT
    secure: bool = False
    """TLS (wss, https) or not (ws, http)."""
    http: bool = False

    @property
    def pin_id(self) -> str:
        """The name under which the hub's key is pinned: ``host:port`` as dialled (docs/protocol.md 7.8)."""
        return f"{self.host}:{self.port}"

    @property
    def scheme(self) -> str:
        """One of ws, wss, http and https."""
        return next(name for name, kind in _SCHEMES.items() if kind == (self.http, self.secure))

    @property
    def origin(self) -> str:
        """The address as people write it: ``ws://host:port``."""
        return f"{self.scheme}://{self.pin_id}"

    def url(self, token: str) -> str:
        """Return what to dial, with the authorization token in its place."""
        return f"{self.origin}/?authorization={token}"

    def __str__(self) -> str:
        return self.origin


def parse_address(
    host: str,
    port: int | str | None = None,
    default_port: int | str | None = None,
    *,
    http: bool | None = False,
) -> Address:
    """Read a host as users write it: a name or IP address, with or without ``ws://``/``wss://`` and a port.

    ``port`` wins over one inside ``host``, that over ``default_port``, and that over 5678 (HTTP: 5679). Raises
    ValueError naming what is wrong. ``http`` True means HTTP however the host is written, None where it is written
    ``http://`` or ``https://``, and False refuses those.
    """
    text = host.strip()
    if text.count(":") > 1 and "[" not in text and "//" not in text:
        text = f"[{text}]"
    parts = urlsplit(text if "://" in text else f"ws://{text}")
    by_http, secure = _SCHEMES.get(parts.scheme.lower(), (None, False))
    if by_http is None or (by_http and http is False):
        schemes = "ws://name, wss://name" if http is False else "ws://name, wss://name, http://name, https://name"
        raise ValueError(f"host {host!r}: write it as {schemes} or just the name")
    by_http = by_http or bool(http)
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"host {host!r}: only a name or address belongs here, without path, query or user")
    name = parts.hostname or ""
    if not name or any(character.isspace() for character in name):
        raise ValueError(f"host {host!r} holds no host name")
    try:
        inner = parts.port
    except ValueError:
        raise ValueError(f"host {host!r}: the port must be a number from 1 to 65535") from None
    usual = DEFAULT_HTTP_PORT if by_http else DEFAULT_PORT
    number = _port(next((given for given in (port, inner, default_port) if given), usual))
    return Address(f"[{name}]" if ":" in name else name, number, secure, by_http)


def is_http(host: str | None) -> bool:
    """Tell whether a host is written as one to speak HTTP with."""
    return (host or "").strip().lower().startswith(("http://", "https://"))


def known_port(port: int | str | None, host: str | None, http: bool) -> int | str | None:
    """Return what a port stored along with a host is worth: the usual one of the other transport is worth nothing."""
    others = DEFAULT_PORT if http else DEFAULT_HTTP_PORT
    return None if is_http(host) != http and str(port) == str(others) else port


def _port(port: int | str) -> int:
    try:
        number = int(port)
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise ValueError(f"port {port!r}: it must be a number from 1 to 65535")
    return number


def check_useragent(useragent: str) -> str:
    """Return the useragent if a hub can tell it from the access key. Raises ValueError for one with a colon."""
    if ":" in useragent:
        raise ValueError(f"useragent {useragent!r}: a hub splits it from the access key at the first colon")
    return useragent


def authorization(useragent: str, access_key: str) -> str:
    """Return the token that names this satellite, in a form that every released hub reads.

    Newer hubs read a raw ``+`` as a blank and the oldest do not decode ``%2B``, so the useragent is padded
    until the base64 holds no ``+``; only where no padding helps is it percent-encoded (docs/protocol.md 5.1).
    """
    tokens = [base64.b64encode(f"{useragent}{pad}:{access_key}".encode()).decode() for pad in _PADS]
    for token in tokens:
        if "+" not in token:
            return token
    return tokens[0].replace("+", "%2B")
