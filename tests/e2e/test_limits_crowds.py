"""Thousands of connects from one address that is not the machine's own, while everybody else is served.

Once from a host of its own, where network namespaces can be made; and, everywhere, through a proxy that is believed.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from helpers.fault_scene import FaultScene, answered, eventually
from helpers.hosts import Hosts
from helpers.processes import PATIENCE_S, Children
from helpers.target import Session, closed
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.transports.intake import MAX_SILENT

SILENT, UNFINISHED, UNKNOWN, MOST = MAX_SILENT + 200, 300, 500, 40
TOO_MANY = (1013, "too many connections")
CROWD, HOUSE, HUB = "crowd", "house", "hub"
FORWARDED = {CROWD: "203.0.113.5", HOUSE: "203.0.113.6"}
FILES = 8192
OUR_PROXY = {"trusted_proxy_cidrs": ["127.0.0.0/8"]}


class ByHosts:
    """Who comes from elsewhere is on another host."""

    def __init__(self, hosts: Hosts, children: Children) -> None:
        self._hosts = hosts
        self.scene = hosts.at(HUB, lambda: started(children, host="0.0.0.0"))

    def sockets(self, where: str, count: int) -> list[socket.socket]:
        """So many connections from a place."""
        address = self._hosts.address(HUB)
        return self._hosts.at(where, lambda: [connected(address, self.scene.hub.port) for _ in range(count)])

    def headers(self, where: str) -> dict[str, str]:
        return {}


class ByProxy:
    """Who comes from elsewhere does so through a proxy on the hub's machine."""

    def __init__(self, children: Children) -> None:
        self.scene = started(children, host="127.0.0.1", **OUR_PROXY)

    def sockets(self, where: str, count: int) -> list[socket.socket]:
        """So many connections from a place."""
        return [connected("127.0.0.1", self.scene.hub.port) for _ in range(count)]

    def headers(self, where: str) -> dict[str, str]:
        return {"X-Forwarded-For": FORWARDED[where]}


def connected(address: str, port: int) -> socket.socket:
    made = socket.socket()
    made.settimeout(PATIENCE_S)
    problem = made.connect_ex((address, port))  # `connect` reaches no other host in a test, those made here included
    if problem:
        raise OSError(problem, f"{address} port {port}")
    made.setblocking(False)
    return made


def started(children: Children, **websocket: Any) -> FaultScene:
    scene = FaultScene(children)
    network = {"hivemind-websocket-plugin": {"port": scene.hub.port, **websocket}}
    scene.configure(network_protocol=network, max_connections_per_address=MOST)
    return scene.start()


@contextmanager
def around(way: str, children: Children) -> Iterator[ByHosts | ByProxy]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, FILES), hard), hard))
    if way == "proxy":
        yield ByProxy(children)
        return
    with Hosts(HUB, CROWD, HOUSE) as hosts:
        try:
            yield ByHosts(hosts, children)
        finally:
            children.stop()


class Visitors:
    """Connections from both places."""

    def __init__(self, place: ByHosts | ByProxy) -> None:
        self._place = place

    async def raw(self, key: str, where: str) -> ClientConnection:
        [link] = self._place.sockets(where, 1)
        return await self._place.scene.raw(key, sock=link, additional_headers=self._place.headers(where))

    async def session(self, key: str, where: str, device: bytes = b"") -> Session:
        own = {"session": {"session_id": f"of-{key}-{where}"}, "site_id": "kitchen"}
        session = Session(await self.raw(key, where), own, device or generate_static_key())
        await session.open()
        return session

    async def silent(self, where: str, count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connections on which nothing is asked."""
        return [await asyncio.open_connection(sock=link) for link in self._place.sockets(where, count)]


@pytest.mark.parametrize("way", ["hosts", "proxy"])
async def test_thousands_of_connects_from_one_address_elsewhere(way: str, children: Children) -> None:
    with around(way, children) as place:
        visitors = Visitors(place)
        kitchen, hall = await visitors.session("key-1", HOUSE), await visitors.session("key-2", CROWD)
        await answered(kitchen, hall)
        silent = await visitors.silent(CROWD, SILENT)
        unfinished = [await visitors.raw(f"key-{1 + number % 4}", CROWD) for number in range(UNFINISHED)]
        await eventually(lambda: sum(map(is_over, unfinished)) > UNFINISHED - MOST, "those too many")
        assert sum(map(is_over, unfinished)) == UNFINISHED - MOST + 1
        assert {end(one) for one in unfinished if is_over(one)} == {TOO_MANY}
        codes = {await closed(await visitors.raw(f"no-such-key-{number}", CROWD)) for number in range(UNKNOWN)}
        assert codes == {1013}
        bedroom = await visitors.session("key-4", HOUSE)
        await answered(kitchen, hall, bedroom, words="in the crowd")
        await eventually(lambda: sum(reader.at_eof() for reader, _ in silent) >= SILENT - MAX_SILENT, "the oldest cut")
        for one in unfinished:
            one.transport.abort()
        await answered(await gets_in(visitors, "key-4", bedroom.device), hall, words="there is room again")
        for _, writer in silent:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for _, writer in silent), return_exceptions=True)
        await place.scene.hang_up()


def is_over(one: ClientConnection) -> bool:
    return one.close_code is not None


def end(one: ClientConnection) -> tuple[int | None, str]:
    """Code and reason, without when to come back."""
    return one.close_code, (one.close_reason or "").partition(",")[0]


async def gets_in(visitors: Visitors, key: str, device: bytes) -> Session:
    """A session from the crowd's address, as soon as the hub has noticed who left."""
    while True:
        with suppress(ConnectionClosed):
            return await visitors.session(key, CROWD, device)
        await asyncio.sleep(0.1)
