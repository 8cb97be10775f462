"""Satellites over HTTP at three hub processes of a cluster: every request comes to another of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from helpers.http_cluster import Balancer
from helpers.hub_cluster import HubCluster, Seat
from helpers.link_hub import eventually
from helpers.processes import Children, free_port
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_bus_client.exceptions import NotConnected
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import Message

KEY, PASSWORD = "an-access-key", "correct horse battery staple 42"
HTTP = "hivemind-http-plugin"
HELLO = Message("recognizer_loop:utterance", {"utterances": ["hello"]})
HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def cluster(children: Children) -> HubCluster:
    port = free_port()
    trusted = {"trusted_proxy_cidrs": ["127.0.0.0/8"], "trusted_client_ip_headers": ["X-Forwarded-For"]}
    seats = [
        Seat(
            f"hub-{number}", host, port, settings={"network_protocol": {HTTP: {"host": host, "port": port, **trusted}}}
        )
        for number, host in enumerate(HOSTS, 1)
    ]
    made = HubCluster(children, RedisServer(children, RedisSetup(appendonly=True)), seats)
    made.first.command("add-client", "--name", "kitchen", "--access-key", KEY, "--password", PASSWORD)
    made.start()
    return made


@pytest.fixture
async def balancer(cluster: HubCluster) -> AsyncIterator[Balancer]:
    async with Balancer([f"http://{hub.seat.host}:{hub.seat.port}" for hub in cluster.hubs]) as made:
        yield made


class Satellite:
    """Ours, with what it has heard."""

    def __init__(self, folder: Path, balancer: Balancer) -> None:
        identity = NodeIdentity(folder / "device" / "_identity.json")
        self.client = HiveMindHTTPClient(key=KEY, password=PASSWORD, host=balancer.address, identity=identity)
        self.heard: list[str] = []
        self.client.on_mycroft("speak", lambda message: self.heard.append(message.data["utterance"]))

    async def run(self, method: Any, *args: Any) -> Any:
        return await asyncio.wait_for(asyncio.to_thread(method, *args), 90)

    async def __aenter__(self) -> Satellite:
        await self.run(self.client.connect)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.run(self.client.close)

    async def talk(self) -> None:
        """Say something until it is answered; a connection may be lost meanwhile."""
        before = len(self.heard)
        for _ in range(60):
            if self.client.connected:
                with suppress(NotConnected):
                    await self.run(self.client.emit, HELLO)
                for _ in range(50):
                    if len(self.heard) > before:
                        return
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)
        raise AssertionError("nobody answers")


@pytest.fixture
async def satellite(tmp_path: Path, balancer: Balancer) -> AsyncIterator[Satellite]:
    async with Satellite(tmp_path, balancer) as made:
        yield made


async def test_each_utterance_is_answered_once_whichever_hub_it_comes_to(
    satellite: Satellite, balancer: Balancer
) -> None:
    for number in range(60):
        await satellite.run(satellite.client.emit, HELLO)
        await eventually(lambda count=number + 1: len(satellite.heard) == count)
    posts = [backend for backend, path in balancer.passed if path == "/send_message"]
    assert all(posts.count(backend) >= 15 for backend in balancer.backends)


async def test_the_loss_of_each_hub_in_turn_costs_a_reconnect_at_most(
    satellite: Satellite, cluster: HubCluster, balancer: Balancer
) -> None:
    for hub in cluster.hubs:
        await satellite.talk()
        balancer.backends.remove(f"http://{hub.seat.host}:{hub.seat.port}")
        hub.kill()
        await satellite.talk()
        await asyncio.to_thread(hub.start)
        balancer.backends.append(f"http://{hub.seat.host}:{hub.seat.port}")
    await satellite.talk()


@pytest.mark.parametrize("fault", ["pause", "kill"])
async def test_it_is_served_again_when_redis_is_back(satellite: Satellite, cluster: HubCluster, fault: str) -> None:
    await satellite.talk()
    getattr(cluster.redis, fault)()
    await eventually(lambda: not satellite.client.connected)
    await asyncio.to_thread(cluster.redis.resume if fault == "pause" else cluster.redis.start)
    await satellite.talk()
