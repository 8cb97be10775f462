"""Who may come in: by address, by the name the chatroom was called by, by the page a request comes from."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from .sentences import say
from .settings import Access

FORBIDDEN = 403

_LOCAL = tuple(
    ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fe80::/10",
        "fc00::/7",
    )
)
_LOCAL_SUFFIXES = (".local", ".lan", ".home", ".internal", ".home.arpa", ".localdomain", ".localhost")
"""Names that public name servers do not give away, so that no stranger's page can have one."""
_HOST = re.compile(r"(\[[^\[\]@/?#\s]*\]|[^\[\]:@/?#\\\s]*)(?::(\d*))?", re.ASCII)
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
_PORTS = {"http": 80, "https": 443}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_PAGE = frozenset({"same-origin", "none"})

Proxies = Iterable[IPv4Network | IPv6Network]


@dataclass(frozen=True)
class Refused:
    """Why a request is refused."""

    code: str
    status: int
    """Of HTTP."""
    message: str
    """A plain sentence."""
    cure: str
    """Names the option to use."""


def _refused(code: str) -> Refused:
    sentence = say(code)
    return Refused(code, FORBIDDEN, sentence.text, sentence.cure)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def household(address: str) -> str:
    """Return what limits go by: the address, without the port that some proxies add; of one of the wide world's IPv6,
    the /64 that one household has.
    """
    found = _address(address) or _address(address.rpartition(":")[0].removeprefix("[").removesuffix("]"))
    if not isinstance(found, IPv6Address) or not found.is_global:
        return address if found is None else str(found)
    return str(ip_network((found, 64), strict=False))


def forwarding_headers(names: Iterable[str]) -> list[str]:
    """Return those of the header names that say for whom a request was forwarded."""
    return [name for name in names if _says_forwarded(name.lower().replace("_", "-"))]


def _says_forwarded(name: str) -> bool:
    return name in ("forwarded", "x-real-ip") or name.startswith("x-forwarded-")


def is_trusted(peer: str, proxies: Proxies) -> bool:
    """Tell whether the address is one of the proxies'."""
    address = _address(peer)
    return address is not None and any(address in network for network in proxies)


def is_local(address: str) -> bool:
    """Tell whether the address is of this machine or of a private network."""
    return is_trusted(address, _LOCAL)


def refuse_forwarded(peer: str, header_names: Iterable[str], access: Access) -> Refused | None:
    """Refuse a request that a proxy nobody named says it forwards."""
    if is_trusted(peer, access.trusted_proxies) or not forwarding_headers(header_names):
        return None
    return _refused("forwarded_refused")


def refuse_address(address: str, access: Access, signed_in: bool) -> Refused | None:
    """Refuse who comes from elsewhere, unless everybody may, or has to sign in anyway."""
    if signed_in or access.open or access.room_password or is_local(address):
        return None
    return _refused("address_refused")


def _split_host(host: str) -> tuple[str, str] | None:
    """Name or address, small and without final dot, and port."""
    match = _HOST.fullmatch(host.strip().lower())
    return (match[1].removesuffix("."), match[2] or "") if match and match[1] else None


def _canonical(name: str) -> str:
    """A name as browsers send it: small, in ASCII, without port; as it is if it cannot be one."""
    split = _split_host(name)
    if split is None:
        return name
    try:
        return split[0].encode("idna").decode()
    except UnicodeError:
        return split[0]


def _is_local_name(name: str) -> bool:
    return "." not in name or name.endswith(_LOCAL_SUFFIXES)


def refuse_host(host_header: str, access: Access, own_names: Collection[str], through_proxy: bool) -> Refused | None:
    """Refuse a request for a name that is not ours, so that no stranger's name can be pointed here (DNS rebinding).

    Addresses and names of the local network are always ours. Where everybody may come in, has to sign in, or comes
    through a trusted proxy, any name is.
    """
    if access.open or access.room_password or through_proxy:
        return None
    split = _split_host(host_header)
    if split is None:
        return _refused("host_refused")
    name = split[0]
    if _address(name.removeprefix("[").removesuffix("]")) is not None:
        return None
    named = {_canonical(own) for own in (*own_names, *access.allowed_hosts)}
    ours = _NAME.fullmatch(name) and (_is_local_name(name) or name in named)
    return None if ours else _refused("host_refused")


def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin; None for ``null`` and for what is none."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or parts.path not in ("", "/"):
        return None
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port


def refuse_origin(method: str, headers: Mapping[str, str], own_origin: str) -> Refused | None:
    """Refuse a request that the page of another site has sent (CSRF).

    ``own_origin`` is such as ``http://host:port``. Without an Origin header the browser's Sec-Fetch-Site counts; what
    sends neither is no browser of today.
    """
    if method.upper() in _SAFE_METHODS:
        return None
    told = {name.lower(): value for name, value in headers.items()}
    if "origin" in told:
        origin = _origin(told["origin"])
        ours = origin is not None and origin == _origin(own_origin)
    else:
        ours = told.get("sec-fetch-site", "none").strip().lower() in _OWN_PAGE
    return None if ours else _refused("cross_site")
