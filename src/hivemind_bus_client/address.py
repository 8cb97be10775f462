"""Where a hub is, and how the first request names the satellite (docs/protocol.md 5.1)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORT = 5678

_SCHEMES = {"ws": False, "wss": True}
_PADS = ("", "-", "--")


@dataclass(frozen=True)
class Address:
    """A hub's WebSocket address."""

    host: str
    """Name or IP address; an IPv6 address is in brackets."""
    port: int = DEFAULT_PORT
    secure: bool = False
    """TLS (wss) or not (ws)."""

    @property
    def pin_id(self) -> str:
        """The name under which the hub's key is pinned: ``host:port`` as dialled (docs/protocol.md 7.8)."""
        return f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """The address as people write it: ``ws://host:port``."""
        return f"{'wss' if self.secure else 'ws'}://{self.pin_id}"

    def url(self, token: str) -> str:
        """Return what to dial, with the authorization token in its place."""
        return f"{self.origin}/?authorization={token}"

    def __str__(self) -> str:
        return self.origin


def parse_address(host: str, port: int | str | None = None, default_port: int | str | None = None) -> Address:
    """Read a host as users write it: a name or IP address, with or without ``ws://``/``wss://`` and a port.

    ``port`` wins over one inside ``host``, that over ``default_port``, and that over 5678. Raises ValueError
    naming what is wrong.
    """
    text = host.strip()
    if text.count(":") > 1 and "[" not in text and "//" not in text:
        text = f"[{text}]"
    parts = urlsplit(text if "://" in text else f"ws://{text}")
    if parts.scheme.lower() not in _SCHEMES:
        raise ValueError(f"host {host!r}: write it as ws://name, wss://name or just the name")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"host {host!r}: only a name or address belongs here, without path, query or user")
    name = parts.hostname or ""
    if not name or any(character.isspace() for character in name):
        raise ValueError(f"host {host!r} holds no host name")
    try:
        inner = parts.port
    except ValueError:
        raise ValueError(f"host {host!r}: the port must be a number from 1 to 65535") from None
    number = _port(next((given for given in (port, inner, default_port) if given), DEFAULT_PORT))
    return Address(f"[{name}]" if ":" in name else name, number, _SCHEMES[parts.scheme.lower()])


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
