from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from helpers.agent_bus import PATIENCE_S, Socket, bus_client, eventually, receive, receive_types
from helpers.processes import free_port
from hivemind_bus_client.message import Message
from hivemind_core.agents.busclient import BusAddress, BusTuning
from hivemind_core.agents.busserver import BusServer
from hivemind_core.agents.queues import QueueLimits
from hivemind_core.bus_frames import MAX_FRAME_BYTES

TUNING = BusTuning(queue=QueueLimits(frames=10_000, bytes=64 * 1024 * 1024))


class Served:
    def __init__(self, tuning: BusTuning) -> None:
        self.port = free_port()
        self.seen: list[Message] = []
        self.server = BusServer(BusAddress(port=self.port), tuning, self.seen.append)


@asynccontextmanager
async def served(tuning: BusTuning = TUNING) -> AsyncIterator[Served]:
    bus = Served(tuning)
    await bus.server.start()
    try:
        yield bus
    finally:
        await bus.server.stop()


async def joined(ws: Socket) -> Socket:
    greeting = {"type": "connected", "data": {}, "context": {"session": {"session_id": "default"}}}
    assert await receive(ws) == greeting
    return ws


async def test_every_frame_goes_to_every_client_unchanged_its_sender_too() -> None:
    odd = '{ "type": "odd",\n "data": {"a":1.50}, "extra": [1], "context":{} }'
    async with served() as bus, bus_client(bus.port) as one, bus_client(bus.port) as two:
        await joined(one)
        await joined(two)
        await one.send_str(odd)
        for client in (one, two):
            frame = await client.receive(PATIENCE_S)
            assert (frame.type, frame.data) == (aiohttp.WSMsgType.TEXT, odd)
        assert bus.seen == [Message("odd", {"a": 1.5}, {})]


async def test_all_clients_see_one_order() -> None:
    async with served() as bus, bus_client(bus.port) as one, bus_client(bus.port) as two:
        await joined(one)
        await joined(two)

        async def talk(ws: Socket, name: str) -> None:
            for number in range(300):
                await ws.send_str(json.dumps({"type": f"{name}.{number}"}))

        await asyncio.gather(talk(one, "one"), talk(two, "two"))
        heard = await receive_types(one, 600)
        assert heard == await receive_types(two, 600)
        assert [name for name in heard if name.startswith("one")] == [f"one.{number}" for number in range(300)]
        assert [message.msg_type for message in bus.seen] == heard


async def test_the_hub_reaches_every_client() -> None:
    async with served() as bus, bus_client(bus.port) as one:
        await joined(one)
        bus.server.broadcast(b'{"type":"from.hub"}')
        assert await receive(one) == {"type": "from.hub"}


HARMFUL = [
    "x",
    "",
    "null",
    "[]",
    '"s"',
    "1",
    '{"type":"t","data":[1]}',
    '{"type":"t","context":{"session":"s"}}',
    '{"type":"t","data":{"a":' + "9" * 5_000 + "}}",
    '{"type":"t","data":' + "[" * 2_000 + "]" * 2_000 + "}",
]


@pytest.mark.parametrize("bad", HARMFUL, ids=lambda bad: bad[:40])
async def test_a_frame_that_would_disconnect_others_reaches_nobody(bad: str) -> None:
    async with served() as bus, bus_client(bus.port) as one, bus_client(bus.port) as two:
        await joined(one)
        await joined(two)
        await one.send_str(bad)
        await one.send_str('{"type":"good"}')
        assert await receive_types(one, 1) == ["good"]
        assert await receive_types(two, 1) == ["good"]
        assert [message.msg_type for message in bus.seen] == ["good"]


async def test_json_in_a_binary_frame_goes_out_as_text() -> None:
    async with served() as bus, bus_client(bus.port) as one:
        await joined(one)
        await one.send_bytes(b'{"type":"t"}')
        assert await receive(one) == {"type": "t"}
        await one.send_bytes(b"\xff\xfe")
        await one.send_bytes(b'{"type":"u"}')
        assert await receive(one) == {"type": "u"}


async def test_a_frame_without_a_type_is_passed_on_but_not_to_the_hub() -> None:
    async with served() as bus, bus_client(bus.port) as one:
        await joined(one)
        await one.send_str('{"data":{}}')
        assert await receive(one) == {"data": {}}
        assert bus.seen == []


async def test_frames_of_25_mb_pass_and_larger_ones_end_their_sender() -> None:
    async with served() as bus, bus_client(bus.port) as one, bus_client(bus.port) as two:
        await joined(one)
        await joined(two)
        padding = "x" * (MAX_FRAME_BYTES - len('{"type":"t","data":{"a":""}}'))
        await one.send_str('{"type":"t","data":{"a":"' + padding + '"}}')
        assert len((await receive(two))["data"]["a"]) == len(padding)
        await receive(one)
        with contextlib.suppress(ConnectionError):
            await one.send_str('{"type":"t","data":{"a":"' + padding + 'y"}}')
        await eventually(lambda: bus.server.client_count == 1)


async def test_a_client_that_reads_nothing_is_closed_alone() -> None:
    tuning = replace(TUNING, queue=QueueLimits(frames=200, bytes=10**9))
    async with served(tuning) as bus, bus_client(bus.port) as slow, bus_client(bus.port) as quick:
        await joined(quick)
        frame = json.dumps({"type": "t", "data": {"a": "x" * 50_000}}).encode()
        slow._conn.protocol.pause_reading()  # type: ignore[union-attr]
        heard = 0
        while bus.server.client_count == 2:
            bus.server.broadcast(frame)
            await receive(quick)
            heard += 1
            assert heard < 10_000, "the queue is not bounded"
        bus.server.broadcast(b'{"type":"after"}')
        assert await receive_types(quick, 1) == ["after"]


async def test_a_slow_client_learns_why_it_was_closed() -> None:
    tuning = replace(TUNING, queue=QueueLimits(frames=20, bytes=10**9))
    async with served(tuning) as bus, bus_client(bus.port) as slow:
        await joined(slow)
        while bus.server.client_count:
            bus.server.broadcast(json.dumps({"type": "t", "data": {"a": "x" * 50_000}}).encode())
        async for frame in slow:
            assert frame.type is aiohttp.WSMsgType.TEXT
        assert slow.close_code == 1013


async def test_one_flooding_client_does_not_close_those_who_read() -> None:
    tuning = replace(TUNING, queue=QueueLimits(frames=500, bytes=10**9))
    async with served(tuning) as bus, bus_client(bus.port) as one, bus_client(bus.port) as two:
        await joined(one)
        await joined(two)

        async def flood() -> None:
            for number in range(5_000):
                await one.send_json({"type": "t", "data": {"n": number}})

        async def numbers(ws: Socket) -> list[Any]:
            return [(await receive(ws))["data"]["n"] for _ in range(5_000)]

        _, first, second = await asyncio.gather(flood(), numbers(one), numbers(two))
        assert first == second == list(range(5_000))


async def test_a_client_that_takes_nothing_is_cut_after_a_while() -> None:
    async with served(replace(TUNING, stall_s=0.2)) as bus, bus_client(bus.port) as slow:
        await joined(slow)
        slow._conn.protocol.pause_reading()  # type: ignore[union-attr]
        for _ in range(400):
            bus.server.broadcast(json.dumps({"type": "t", "data": {"a": "x" * 50_000}}).encode())
        await eventually(lambda: bus.server.client_count == 0)
        slow._conn.protocol.resume_reading()  # type: ignore[union-attr]


async def test_only_the_route_of_the_bus_is_served() -> None:
    async with served() as bus, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            await session.ws_connect(f"http://127.0.0.1:{bus.port}/")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8181", "http://localhost:3000", None])
async def test_local_programs_may_join(origin: str | None) -> None:
    async with served() as bus, bus_client(bus.port, origin=origin) as one:
        await joined(one)


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://[", "http://127.0.0.1.example.org"])
async def test_web_pages_of_other_sites_may_not_join(origin: str) -> None:
    async with served() as bus:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            async with bus_client(bus.port, origin=origin):
                pass


async def test_stop_sends_what_is_queued_and_says_goodbye() -> None:
    bus = Served(TUNING)
    await bus.server.start()
    async with bus_client(bus.port) as one:
        await joined(one)
        for number in range(100):
            bus.server.broadcast(b'{"type":"t.%d"}' % number)
        stopping = asyncio.create_task(bus.server.stop())
        assert await receive_types(one, 100) == [f"t.{number}" for number in range(100)]
        assert (await one.receive(PATIENCE_S)).type is aiohttp.WSMsgType.CLOSE
        assert one.close_code == 1001
        await stopping


async def test_a_port_in_use_raises() -> None:
    async with served() as bus:
        with pytest.raises(OSError, match="in use"):
            await BusServer(BusAddress(port=bus.port), TUNING, lambda message: None).start()


async def test_what_a_client_held_goes_with_it() -> None:
    """Not only when cyclic garbage is looked for, which is seldom."""
    async with served() as bus:
        async with bus_client(bus.port) as ws:
            await joined(ws)
            (client,) = bus.server._clients
            held = [weakref.ref(client), weakref.ref(client.outbox)]
            del client
            gc.disable()
        try:
            await eventually(lambda: not any(each() for each in held))
        finally:
            gc.enable()
