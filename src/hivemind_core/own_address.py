"""Tells whether an address leads back to this hub."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from hivemind_bus_client.address import Address

EVERYWHERE = {"0.0.0.0", "::"}


class Listener(NamedTuple):
    """Where this hub listens."""

    host: str
    port: int


async def is_own(address: Address, listeners: Sequence[Listener]) -> bool:
    """Tell whether an address is one of those; False also where its name is not known (yet)."""
    same_port = [listener for listener in listeners if listener.port == address.port]
    if not same_port:
        return False
    targets = await _resolved(address.host.strip("[]"), address.port)
    for listener in same_port:
        if listener.host in EVERYWHERE:
            if any(_is_of_this_machine(family, where) for family, where in targets):
                return True
        elif {where[0] for _, where in targets} & {
            where[0] for _, where in await _resolved(listener.host, listener.port)
        }:
            return True
    return False


async def _resolved(host: str, port: int) -> list[tuple[int, Any]]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [(family, where) for family, _, _, _, where in found]


def _is_of_this_machine(family: int, where: Any) -> bool:
    """Only an own address can be bound."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((where[0], 0, *where[2:]))
    except OSError:
        return False
    return True
