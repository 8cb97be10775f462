"""Where a connection comes from when reverse proxies stand before the hub. A header is believed only from a proxy that
the operator named: anybody else could write any address into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network

DEFAULT_HEADERS = "x-forwarded-for,x-real-ip"


@dataclass(frozen=True)
class TrustedProxies:
    """Which proxies are believed, and which of their headers name the client."""

    networks: tuple[IPNetwork, ...] = ()
    """Where the proxies are; none means that no header is ever read."""
    headers: tuple[str, ...] = tuple(DEFAULT_HEADERS.split(","))
    """In the order in which they are looked for; the first that is there counts."""

    def client_address(self, peer: str, header: Callable[[str], Sequence[str]]) -> str:
        """Return the client's address.

        `peer` is the other end of the TCP connection, `header` returns all values of a header. The client is the
        right-most address that is no trusted proxy itself: what stands left of it came from the client. A header
        that cannot be read leaves the TCP peer.
        """
        if not self.networks or not self._trusts(_address(peer)):
            return peer
        for name in self.headers:
            values = header(name)
            if values:
                return self._client_in(",".join(values)) or peer
        return peer

    def trusts(self, address: str) -> bool:
        """Tell whether an address is that of a proxy."""
        return self._trusts(_address(address))

    def _client_in(self, value: str) -> str | None:
        address: IPAddress | None = None
        for part in reversed(value.split(",")):
            address = _address(part)
            if not self._trusts(address):
                break
        return None if address is None else str(address)

    def _trusts(self, address: IPAddress | None) -> bool:
        return address is not None and any(address in network for network in self.networks)


def _address(text: str) -> IPAddress | None:
    """Read an address, with or without a port; an IPv4 address in IPv6 clothes is the IPv4 address."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(text: str) -> bool:
    """Tell whether an address is this machine's own."""
    address = _address(text)
    return address is not None and address.is_loopback


def parts(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return the entries of a list, or of a text with commas."""
    entries = value.split(",") if isinstance(value, str) else value
    return tuple(entry.strip() for entry in entries if entry.strip())


def networks(value: str | Iterable[str]) -> tuple[IPNetwork, ...]:
    """Read networks like ``10.0.0.0/8`` and single addresses. Raises ValueError naming the wrong one."""
    return tuple(ip_network(entry, strict=False) for entry in parts(value))
