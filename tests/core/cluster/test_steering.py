"""Sessions over HTTP behind a load balancer: what the cluster does for them, and our satellite there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.http_cluster import HTTPCluster
from helpers.http_device import (
    KEY,
    PASSWORD,
    UTTERANCE,
    Device,
    KeptBack,
    connected_at_the_first,
    is_settling,
    prepare,
    speak,
)
from helpers.link_hub import derive, eventually
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import Message
from hivemind_core.cluster import steering


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[HTTPCluster]:
    async with HTTPCluster(tmp_path, 3) as cluster:
        prepare(cluster)
        yield cluster


async def test_who_cannot_be_told_is_told_again(three: HTTPCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "TELL_WITHIN_S", 0.3)
    async with Device(three) as device:
        await connected_at_the_first(device)
        speak(three, "ding")
        settling = KeptBack(three, "hub0", is_settling)
        assert await device.fetch() == ["ding"]
        await eventually(lambda: settling.frames)
        settling.frames.clear()
        settling.let_go()
        speak(three, "dong")
        assert await device.fetch() == ["dong"]


async def run(method: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call a satellite's method without stopping the hubs, which are in this loop."""
    return await asyncio.wait_for(asyncio.to_thread(method, *args, **named), 60)


async def test_our_satellite_notices_nothing_but_the_loss_of_its_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivemind_bus_client.reconnect.FIRST_DELAY_S", 0.05)
    async with HTTPCluster(tmp_path, 3, derive=derive) as cluster:
        prepare(cluster)
        identity = NodeIdentity(tmp_path / "device" / "_identity.json")
        client = HiveMindHTTPClient(key=KEY, password=PASSWORD, host=cluster.balancer.address, identity=identity)
        heard: list[str] = []
        client.on_mycroft("speak", lambda message: heard.append(message.data["utterance"]))
        try:
            await run(client.connect)
            for number in range(100):
                await run(client.emit, Message(UTTERANCE, {"utterances": [f"said {number}"]}))
                speak(cluster, f"told {number}")
            await eventually(lambda: len(heard) == 200)
            for kind in ("said", "told"):
                assert [text for text in heard if text.startswith(kind)] == [f"{kind} {n}" for n in range(100)]
            asked = {backend for backend, path in cluster.balancer.passed if path == "/send_message"}
            assert len(asked) == 3
            holder = cluster.held.index(1)
            await cluster.kill(holder)
            await eventually(lambda: sum(cluster.held) == 1 and client.connected)
            await run(client.emit, Message(UTTERANCE, {"utterances": ["and now"]}))
            await eventually(lambda: heard[-1] == "and now")
        finally:
            await run(client.close)
