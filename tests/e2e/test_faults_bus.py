"""The assistant's bus stands still, dies and floods: satellites are told, nothing piles up, and it is all right again.

How the connection itself gives up and comes back is in tests/core/agents.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from helpers.fault_scene import FaultScene, answered, eventually
from helpers.processes import Children
from helpers.target import Session

UNAVAILABLE = "backend_unavailable"
GROWN_KB = 120_000
"""What the hub may grow by: its queue towards the bus, 32 MB, and one giant frame of 20 MB in all its forms."""


@pytest.fixture
async def scene(children: Children) -> AsyncIterator[FaultScene]:
    scene = FaultScene(children).start()
    yield scene
    await scene.hang_up()


async def speaks_until(satellite: Session, words: str, *, size: int = 0) -> None:
    """Say something again and again until that is heard."""

    async def heard() -> bool:
        await satellite.say("x" * size or "are you there")
        return bool(satellite.heard(words))

    end = asyncio.get_running_loop().time() + 60
    while not await heard():
        assert asyncio.get_running_loop().time() < end, words
        await asyncio.sleep(0.05)


async def test_a_bus_that_is_killed(scene: FaultScene) -> None:
    kitchen = await scene.session("key-1")
    await answered(kitchen)
    scene.bus.kill()
    await speaks_until(kitchen, UNAVAILABLE)
    assert "cannot be reached" in await scene.until_ready("agent", why="bus")
    scene.start_bus()
    await scene.until_ready("agent")
    await answered(kitchen, words="back again")


async def test_a_bus_that_stands_still(scene: FaultScene) -> None:
    """What it does not take is bounded, whoever says more is told so, and it goes on where it was."""
    kitchen, hall = await scene.session("key-1"), await scene.session("key-2")
    await answered(kitchen, hall)
    before = scene.status("VmRSS")
    os.kill(scene.bus.pid, signal.SIGSTOP)
    try:
        await speaks_until(kitchen, UNAVAILABLE, size=500_000)
        await speaks_until(hall, UNAVAILABLE)
        assert scene.ask("/healthz")[0] == 200
        assert scene.status("VmRSS") - before < GROWN_KB
    finally:
        os.kill(scene.bus.pid, signal.SIGCONT)
    await speaks_until(hall, "you said: are you there")
    await scene.until_ready("agent")


async def flooding(bus: ClientConnection, frames: list[str]) -> None:
    """Put messages on a bus as fast as it takes them."""
    for frame in frames:
        await bus.send(frame)


def to(destination: Any, size: int) -> str:
    context = {"source": "flood", "destination": destination}
    return json.dumps({"type": "speak", "data": {"utterance": "x" * size}, "context": context})


FLOODS = {
    "thousands, to nobody": [to("nobody", 50), to(["a", None, 7], 50)] * 2500,
    "giants": [to("nobody", 20_000_000)] * 5,
}


async def test_a_bus_that_floods(scene: FaultScene) -> None:
    """Who talks is answered through the flood, behind what the bus sent before; memory stays what it was."""
    kitchen = await scene.session("key-1")
    await answered(kitchen)
    before = scene.status("VmRSS")
    async with connect(f"ws://127.0.0.1:{scene.bus_port}/core", compression=None, max_size=None) as bus:
        reading = asyncio.create_task(_read(bus))
        for name, frames in FLOODS.items():
            sending = asyncio.create_task(flooding(bus, frames))
            await answered(kitchen, words=f"through {name}")
            assert scene.ask("/healthz")[0] == 200
            await sending
        reading.cancel()
    await answered(kitchen, words="after the flood")
    await eventually(lambda: scene.status("VmRSS") - before < GROWN_KB, "memory")


async def _read(bus: ClientConnection) -> None:
    async for _ in bus:
        pass
