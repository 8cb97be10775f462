"""Which web pages may reach a hub from somebody's browser: the header `Origin` says whose page it is that asks.

Satellites that are no browsers send none. A page of the hub's own host may always come; but only where the browser
knows that host by an address, or by a name that is this machine's: anybody can let a name of his own lead here, and
his page is then of the same host as the hub (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from .proxies import parts

ANY, OPAQUE = "*", "null"
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True)
class AllowedOrigins:
    """Whose pages are let in, besides those of the hub's own host."""

    origins: tuple[str, ...] = (ANY,)
    """As `origins` reads them; ``*``: everybody's."""

    def admit(self, given: Sequence[str], host: str, own_names: Collection[str]) -> bool:
        """Tell whether a request may come.

        `given` are the values of its header `Origin`, `host` is that of `Host`; `own_names` are this machine's, in
        lower case.
        """
        if not given or ANY in self.origins:
            return True
        if len(given) > 1:
            return False
        if given[0] == OPAQUE:
            return OPAQUE in self.origins
        origin = _normal(given[0])
        return origin is not None and (origin in self.origins or _is_of(origin, host, own_names))


def is_own(host: str, own_names: Collection[str]) -> bool:
    """Tell whether the value of a header `Host` is an address, or one of these names; with or without a port."""
    name = _name_in(host)
    if name in own_names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def origins(value: str | Iterable[str]) -> tuple[str, ...]:
    """Read origins like ``https://pages.example.org:8443``, ``null`` and ``*``. Raises ValueError for anything else."""
    return tuple(each if each in (ANY, OPAQUE) else _read(each) for each in parts(value))


def _read(text: str) -> str:
    origin = _normal(text.rstrip("/"))
    if origin is None:
        raise ValueError(f"{text!r} is no origin")
    return origin


def _normal(text: str) -> str | None:
    """Return an origin as all who mean the same write it; None for what is none."""
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError:
        return None
    is_bare = not (found.path or found.query or found.fragment or "@" in found.netloc)
    if not (found.scheme and found.hostname and is_bare):
        return None
    host = f"[{found.hostname}]" if ":" in found.hostname else found.hostname
    shown = "" if port in (None, _DEFAULT_PORTS.get(found.scheme)) else f":{port}"
    return f"{found.scheme}://{host}{shown}"


def _name_in(host: str) -> str:
    bare = host.strip().lower()
    if bare.startswith("["):
        return bare[1:].partition("]")[0]
    return bare.partition(":")[0] if bare.count(":") == 1 else bare


def _is_of(origin: str, host: str, own_names: Collection[str]) -> bool:
    return (urlsplit(origin).hostname or "") == _name_in(host) and is_own(host, own_names)
