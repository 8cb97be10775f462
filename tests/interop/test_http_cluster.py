"""The released satellite over HTTP (client 1.2.12a1) at hubs of a cluster, each request at another one.

It returns no cookie, so its session belongs to its access key and its address.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.http_cluster import HTTPCluster
from helpers.http_device import prepare
from helpers.link_hub import derive
from helpers.pair import DRIVERS, KEY, PASSWORD, programs
from helpers.processes import Child, Children
from hivemind_bus_client.message import Message

UTTERANCE = "recognizer_loop:utterance"


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[HTTPCluster]:
    async with HTTPCluster(tmp_path, 3, derive=derive) as cluster:
        prepare(cluster, KEY, PASSWORD)
        for hive in cluster.hives:
            hive.agent.respond = handled
        yield cluster


def handled(message: Message) -> Message | None:
    if message.msg_type != UTTERANCE:
        return None
    return message.reply("speak", {"utterance": f"you said: {message.data['utterances'][0]}"})


async def connected(cluster: HTTPCluster, children: Children) -> Child:
    argv: list[str | Path] = [programs("released-client") / "python", DRIVERS / "http_satellite.py"]
    options = ["--port", str(cluster.balancer.port), "--key", KEY, "--password", PASSWORD]
    child = children.spawn("satellite", [*argv, *options], children.home("device"))
    child.send("connect")
    assert (await expect(child, "connected", 60))["answer"] == {"status": "Connected"}
    return child


async def expect(child: Child, event: str, timeout_s: float = 60, **fields: Any) -> dict[str, Any]:
    """Wait for an event without stopping the hubs, which are in this loop."""
    return await asyncio.to_thread(child.expect, event, timeout_s, **fields)


async def test_a_conversation_each_request_of_which_comes_to_another_hub(
    three: HTTPCluster, children: Children
) -> None:
    satellite = await connected(three, children)
    for number in range(10):
        satellite.send("utterance", text=f"number {number}")
        await expect(satellite, "speak", utterance=f"you said: number {number}")
    satellite.send("utterance", text="tell me more " * 16_000)
    await expect(satellite, "speak")
    posts = [backend for backend, path in three.balancer.passed if path == "/send_message"]
    assert set(posts) == set(three.balancer.backends)
    assert sum(three.held) == 1


async def test_when_its_hub_is_lost_it_notices_and_its_next_process_is_served_by_another(
    three: HTTPCluster, children: Children
) -> None:
    """It never connects again by itself, at whatever hub: a supervisor has to start it."""
    satellite = await connected(three, children)
    await three.kill(three.held.index(1))
    for _ in range(60):
        satellite.send("state")
        if not (await expect(satellite, "state"))["connected"]:
            break
        await asyncio.sleep(0.5)
    else:
        raise AssertionError("it did not notice")
    satellite.kill()
    again = await connected(three, children)
    again.send("utterance", text="here again")
    await expect(again, "speak", utterance="you said: here again")
