"""Peers that vanish, crowd and come in numbers: each costs the hub little, and no other satellite anything.

Slow readers: test_conversation.py and test_limits_readers.py; crowds from elsewhere: test_limits_crowds.py; strangers
without a session one by one: tests/core/transports/test_intake.py and tests/security (W21). `make soak` does it all
together.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from helpers.block_count import BlockCount
from helpers.fault_scene import PASSWORD, FaultScene, answered, eventually
from helpers.flatness import kb_per_thousand
from helpers.processes import Children
from helpers.target import Session, closed
from hivemind_bus_client.noise import generate_static_key, public_key
from hivemind_core.door import MAX_CONNECTIONS_OF_KEY, MAX_HANDSHAKES_OF_ONE
from hivemind_core.transports.intake import MAX_SILENT

SILENT, UNFINISHED, UNKNOWN = MAX_SILENT + 200, 40, 200
PIN = "noise_pubkey"
FEW_FILES = 25
MESSAGES, SAMPLED, AT_ONCE = 8_000, 200, 100
KEPT_BLOCKS = 0.1
"""What a message may leave behind of what Python allocates: not one object for each of them, whatever its size."""
KB_PER_THOUSAND = 50.0
"""And of memory that Python does not count."""


@pytest.fixture
async def scene(children: Children) -> AsyncIterator[FaultScene]:
    scene = FaultScene(children, ping_s=1, pong_s=6)
    yield scene
    await scene.hang_up()


def peer_ids(scene: FaultScene) -> list[str]:
    """Who joined, in order."""
    lines = [line for line in scene.process.output().splitlines() if " joined from " in line]
    return [line.split(": ", 1)[1].split(" joined")[0] for line in lines]


async def test_one_that_vanishes_is_noticed_and_its_place_is_free(scene: FaultScene) -> None:
    scene.start()
    gone, hall = await scene.session("key-1"), await scene.session("key-2")
    await answered(gone, hall)
    gone.pause()
    last_heard = time.time()
    await eventually(lambda: "does not answer pings" in scene.process.output(), "the end of who vanished")
    await eventually(lambda: "raw::1::key-1::of-key-1 left" in scene.process.output(), "that its place is free")
    await eventually(lambda: scene.rows()["key-1"].last_seen > 0, "when it was seen")
    assert abs(scene.rows()["key-1"].last_seen - last_heard) < 60
    await answered(await scene.session("key-1", device=gone.device), hall, words="here again")
    assert [peer_id for peer_id in peer_ids(scene) if "key-1" in peer_id] == ["raw::1::key-1::of-key-1"] * 2


async def test_many_devices_with_one_key(scene: FaultScene) -> None:
    """They have their ids, their answers and their bound; one of another key pair is not among them."""
    scene.configure()
    scene.start()
    hall, first = await scene.session("key-2"), await scene.session("key-1", session_id="the-same")
    others = [
        await scene.session("key-1", device=first.device, session_id="the-same")
        for _ in range(MAX_CONNECTIONS_OF_KEY - 1)
    ]
    everyone = [first, *others]
    await asyncio.gather(*(answered(one, words=f"I am number {number}") for number, one in enumerate(everyone)))
    assert [len(one.heard("you said")) for one in everyone] == [1] * MAX_CONNECTIONS_OF_KEY
    ids = [peer_id for peer_id in peer_ids(scene) if "::key-1::" in peer_id]
    assert len(set(ids)) == MAX_CONNECTIONS_OF_KEY
    assert await scene.refused("key-1") == 1013
    await answered(hall)
    await others[0].close()
    again = await _gets_in(scene, "key-1", first.device)
    await answered(again, hall, words="the last one")


async def test_devices_that_race_for_one_key(scene: FaultScene) -> None:
    """Whoever is first has it for good; the others are told so, and nobody else notices."""
    scene.configure()
    scene.start()
    hall = await scene.session("key-2")
    devices = {device: await _at_the_last_step(scene, device) for device in (generate_static_key() for _ in range(8))}
    await asyncio.gather(*(one.open(PASSWORD) for one in devices.values()))
    await eventually(lambda: sum(one.socket.close_code is not None for one in devices.values()) == 7, "all but one")
    [(first, satellite)] = [(device, one) for device, one in devices.items() if one.socket.close_code is None]
    assert {one.socket.close_code for one in devices.values() if one is not satellite} == {1008}
    await answered(satellite, hall)
    await eventually(lambda: scene.rows()["key-1"].metadata.get(PIN), "the pin")
    assert scene.rows()["key-1"].metadata[PIN] == public_key(first).hex()
    await satellite.close()
    again = await _gets_in(scene, "key-1", first)
    await answered(again, hall, words="here again")
    second = await scene.session("key-1", device=next(device for device in devices if device != first))
    assert await closed(second.socket, 60) == 1008
    await answered(again, hall, words="still here")


async def _at_the_last_step(scene: FaultScene, device: bytes) -> Session:
    """A device that has everything it needs to send what proves who it is."""
    own = {"session": {"session_id": "the-same"}, "site_id": "kitchen"}
    session = Session(await scene.raw("key-1"), own, device)
    await session.begin(PASSWORD)
    return session


async def _gets_in(scene: FaultScene, key: str, device: bytes) -> Session:
    """A session, as soon as the hub has noticed that another one ended."""
    while True:
        with suppress(ConnectionClosed):
            return await scene.session(key, device=device, session_id="late")
        await asyncio.sleep(0.1)


def allow_files(number: int) -> None:
    """Let this process have so many open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard), hard))


async def test_thousands_of_connects_from_one_address(scene: FaultScene) -> None:
    """Some say nothing, some know an access key and go no further, some know none: who belongs here gets in."""
    allow_files(8192)
    scene.configure()
    scene.start()
    kitchen = await scene.session("key-1")
    silent = [await asyncio.open_connection("127.0.0.1", scene.hub.port) for _ in range(SILENT)]
    unfinished = await asyncio.gather(*(scene.raw("key-3") for _ in range(UNFINISHED)))
    too_many = UNFINISHED - MAX_HANDSHAKES_OF_ONE
    await eventually(lambda: sum(one.close_code == 1013 for one in unfinished) >= too_many, "those too many")
    assert sum(one.close_code is not None for one in unfinished) == too_many
    codes = [await scene.refused(f"no-such-key-{number}") for number in range(UNKNOWN)]
    await answered(kitchen, await scene.session("key-2"), words="in the crowd")
    assert set(codes) == {1008, 1013}
    assert codes.count(1008) < UNKNOWN / 2
    await eventually(lambda: sum(reader.at_eof() for reader, _ in silent) >= SILENT - MAX_SILENT, "the oldest are cut")
    for _, writer in silent:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for _, writer in silent), return_exceptions=True)


async def test_no_more_files_may_be_opened(scene: FaultScene) -> None:
    """Who is here is served, the processor is not kept busy, and it is over as soon as there is room."""
    scene.configure()
    scene.start()
    kitchen = await scene.session("key-1")
    await answered(kitchen)
    before = scene.descriptors()
    limit = resource.prlimit(scene.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(scene.process.pid, resource.RLIMIT_NOFILE, (before + FEW_FILES, limit[1]))
    crowd = [await asyncio.open_connection("127.0.0.1", scene.hub.port) for _ in range(4 * FEW_FILES)]
    spent, began = scene.cpu_s(), time.monotonic()
    for number in range(5):
        await answered(kitchen, words=f"no room {number}")
        await asyncio.sleep(0.3)
    assert scene.cpu_s() - spent < (time.monotonic() - began) / 2
    assert scene.process.running
    resource.prlimit(scene.process.pid, resource.RLIMIT_NOFILE, limit)
    for _, writer in crowd:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for _, writer in crowd), return_exceptions=True)
    await answered(kitchen, await _comes_in(scene, "key-2"), words="room again")
    await eventually(lambda: scene.descriptors() <= before + 5, "nothing is left open")


async def _comes_in(scene: FaultScene, key: str) -> Session:
    while True:
        with suppress(OSError, EOFError):
            return await scene.session(key)
        await asyncio.sleep(0.1)


async def test_memory_stays_what_it_was(scene: FaultScene) -> None:
    """Nothing of a message is kept, and fifty bytes of each would be seen; `make soak` does it over a million."""
    scene.configure()
    counted = BlockCount(scene.children.folder / "counting")
    scene.start(counted.env)
    kitchen = await scene.session("key-1")
    await _talk(kitchen, MESSAGES // 4)
    before, samples = counted.of(scene.process), []
    for so_far in range(0, MESSAGES, SAMPLED):
        samples.append((so_far, scene.status("VmRSS")))
        await _talk(kitchen, SAMPLED)
    assert counted.of(scene.process) - before < MESSAGES * KEPT_BLOCKS
    assert kb_per_thousand(samples) < KB_PER_THOUSAND
    counted.leak(scene.process)
    before = counted.of(scene.process)
    await _talk(kitchen, MESSAGES // 4)
    assert counted.of(scene.process) - before > MESSAGES // 4 * KEPT_BLOCKS, "a leak is not seen"


async def _talk(satellite: Session, count: int) -> None:
    """Say that much, so many at once, and hear as many answers."""
    for _ in range(count // AT_ONCE):
        satellite.messages.clear()
        for number in range(AT_ONCE):
            await satellite.say(f"{number} " + "x" * 100)
        await eventually(lambda: len(satellite.messages) >= 2 * AT_ONCE, "the answers")
