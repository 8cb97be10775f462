from __future__ import annotations

import asyncio
import json
import logging
import socket
from dataclasses import replace
from functools import partial
from typing import Any

import aiohttp
import pytest

from helpers.agent_bus import echo_bus, eventually, stopped_bus
from helpers.processes import free_port
from hivemind_bus_client.message import Message
from hivemind_core.agents import busclient
from hivemind_core.agents.busclient import Backoff, BusAddress, BusConnection, BusTuning
from hivemind_core.agents.queues import QueueLimits
from hivemind_core.bus_frames import MAX_FRAME_BYTES
from hivemind_core.config import ConfigError

QUICK = BusTuning(retry_first_s=0.02, retry_longest_s=0.05)


def frame(msg_type: str, **data: Any) -> bytes:
    return json.dumps({"type": msg_type, "data": data, "context": {}}).encode()


class Joined:
    """A connection and what it delivered."""

    def __init__(self, port: int, tuning: BusTuning = QUICK) -> None:
        self.seen: list[Message] = []
        self.bus = BusConnection(BusAddress(port=port), tuning)

    async def __aenter__(self) -> Joined:
        self.bus.start(self.seen.append)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bus.stop()

    async def up(self) -> None:
        await eventually(lambda: self.bus.connected)

    async def down(self) -> None:
        await eventually(lambda: not self.bus.connected)

    def heard(self, msg_type: str) -> bool:
        return msg_type in self.types()

    def types(self) -> list[str]:
        return [message.msg_type for message in self.seen]


def test_an_address_has_defaults() -> None:
    assert BusAddress.from_config({}) == BusAddress("127.0.0.1", 8181, "/core", False)
    assert (
        BusAddress.from_config({"host": "bus.lan", "port": "9", "route": "x/", "ssl": True}).url == "wss://bus.lan:9/x"
    )
    assert BusAddress.from_config({"host": "::1"}).url == "ws://[::1]:8181/core"


@pytest.mark.parametrize("port", [0, 65536, -1, "x", "", None, True, 1.5, [1]])
def test_a_port_that_cannot_be_is_a_config_error(port: Any) -> None:
    with pytest.raises(ConfigError, match="between 1 and 65535"):
        BusAddress.from_config({"port": port})


def test_a_host_that_is_no_text_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="host and route"):
        BusAddress.from_config({"host": 5})


def test_pauses_double_up_to_the_longest_and_begin_again() -> None:
    backoff = Backoff(0.2, 5.0)
    pauses = [backoff.pause() for _ in range(8)]
    for pause, longest in zip(pauses, [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0], strict=True):
        assert longest * 0.75 <= pause <= longest
    backoff.reset()
    assert backoff.pause() <= 0.2


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux alone has it")
async def test_what_the_bus_sends_is_acknowledged_at_once() -> None:
    async with echo_bus(free_port()) as bus, Joined(bus.port) as joined:
        await joined.up()
        assert joined.bus._ws is not None
        link = joined.bus._ws.get_extra_info("socket")
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        joined.bus.send(frame("t"))
        await eventually(lambda: joined.heard("t"))
        assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1


async def test_messages_go_out_and_come_back_in_order() -> None:
    async with echo_bus(free_port()) as bus, Joined(bus.port) as joined:
        await joined.up()
        for number in range(500):
            assert joined.bus.send(frame("t", n=number))
        await eventually(lambda: len(joined.seen) == 500)
        assert [message.data["n"] for message in joined.seen] == list(range(500))


async def test_nothing_is_taken_while_the_bus_is_away() -> None:
    async with Joined(free_port()) as joined:
        assert not joined.bus.send(frame("t"))


async def test_it_comes_back_when_the_bus_does(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    async with Joined(port) as joined:
        with caplog.at_level(logging.INFO):
            for number in range(3):
                async with echo_bus(port):
                    await joined.up()
                    caplog.clear()
                    assert joined.bus.send(frame(f"round.{number}"))
                    await eventually(partial(joined.heard, f"round.{number}"))
                await eventually(lambda: "is away" in caplog.text)
                assert not joined.bus.send(frame("lost"))
                await asyncio.sleep(0.1)
                assert caplog.text.count("is away") == 1, "each outage is reported once"


async def test_frames_that_are_no_messages_are_ignored() -> None:
    async with echo_bus(free_port()) as bus, Joined(bus.port) as joined:
        await joined.up()
        for bad in (
            "x",
            "null",
            "[]",
            '"s"',
            "{}",
            '{"type":5}',
            '{"type":"t","data":[1]}',
            '{"type":"t","data":{"a":NaN}}',
        ):
            await bus.push(bad)
        await bus.push('{"type":"good"}')
        await eventually(lambda: joined.seen)
        assert joined.types() == ["good"]


async def test_a_failing_handler_does_not_end_the_connection() -> None:
    seen: list[str] = []

    def deliver(message: Message) -> None:
        seen.append(message.msg_type)
        raise ValueError("hub trouble")

    async with echo_bus(free_port()) as bus:
        connection = BusConnection(BusAddress(port=bus.port), QUICK)
        connection.start(deliver)
        await eventually(lambda: connection.connected)
        await bus.push('{"type":"one"}')
        await bus.push('{"type":"two"}')
        await eventually(lambda: len(seen) == 2)
        assert connection.connected
        await connection.stop()


async def test_frames_of_25_mb_pass_and_larger_ones_are_refused() -> None:
    async with echo_bus(free_port()) as bus, Joined(bus.port) as joined:
        await joined.up()
        empty = len(frame("t", a=""))
        assert not joined.bus.send(frame("t", a="x" * (MAX_FRAME_BYTES - empty + 1)))
        assert joined.bus.send(frame("t", a="x" * (MAX_FRAME_BYTES - empty)))
        await eventually(lambda: joined.seen)
        assert len(joined.seen[0].data["a"]) == MAX_FRAME_BYTES - empty


async def test_a_stopped_bus_is_given_up_and_never_holds_the_loop() -> None:
    tuning = replace(QUICK, queue=QueueLimits(frames=50, bytes=10**8), stall_s=2.0, connect_s=30)
    async with stopped_bus() as port, Joined(port, tuning) as joined:
        await joined.up()
        taken = 0
        while joined.bus.send(frame("t", a="x" * 100_000)):
            taken += 1
            await asyncio.sleep(0)
            assert taken < 5_000, "the queue is not bounded"
        assert taken >= 50
        await joined.down()


async def test_a_silent_bus_is_given_up() -> None:
    async with stopped_bus() as port, Joined(port, replace(QUICK, heartbeat_s=0.1)) as joined:
        await joined.up()
        await joined.down()


async def test_a_bus_that_does_not_finish_the_handshake_is_tried_again() -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(writer)
        await reader.read()
        writer.close()

    attempts: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with Joined(server.sockets[0].getsockname()[1], replace(QUICK, connect_s=0.05)) as joined:
        await eventually(lambda: len(attempts) >= 3)
        assert not joined.bus.connected
    server.close()


async def test_what_is_no_bus_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    async with echo_bus(free_port()) as bus:
        connection = BusConnection(BusAddress(port=bus.port, route="/elsewhere"), QUICK)
        connection.start(lambda message: None)
        await eventually(lambda: "404" in caplog.text)
        await asyncio.sleep(0.1)
        assert caplog.text.count("404") == 1
        await connection.stop()


async def test_what_is_queued_leaves_before_stop_ends() -> None:
    async with echo_bus(free_port()) as bus:
        async with Joined(bus.port) as joined:
            await joined.up()
            for number in range(200):
                joined.bus.send(frame(f"t.{number}"))
        await eventually(lambda: len(bus.frames) == 200)


@pytest.mark.parametrize(("keep_s", "kept"), [(60.0, True), (-1.0, False)])
async def test_queued_frames_survive_a_short_outage_only(keep_s: float, kept: bool) -> None:
    port = free_port()
    tuning = replace(QUICK, queue=QueueLimits(frames=50, bytes=10**8), keep_s=keep_s)
    async with Joined(port, tuning) as joined:
        async with stopped_bus(port):
            await joined.up()
            await eventually(lambda: not joined.bus.send(frame("early", a="x" * 100_000)))
        await joined.down()
        async with echo_bus(port) as bus:
            await joined.up()
            await eventually(lambda: joined.bus.send(frame("last")))
            await eventually(lambda: "last" in bus.types())
            assert bus.types() == ["early"] * (50 if kept else 0) + ["last"]


async def test_a_flood_from_the_bus_leaves_others_their_turn() -> None:
    async with echo_bus(free_port()) as bus, Joined(bus.port) as joined:
        await joined.up()
        flood = asyncio.create_task(_flood(bus, 3_000))
        turns = 0
        while len(joined.seen) < 3_000:
            turns += 1
            await asyncio.sleep(0)
        await flood
        assert turns >= 3_000 // 64


async def test_after_one_that_took_long_it_is_everybodys_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Giants come off the socket one after the other without waiting, and each takes a fifth of a second."""
    monkeypatch.setattr(busclient, "LONG_S", 0.0)
    turns = 0

    async def giants() -> Any:
        for _ in range(10):
            yield aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, '{"type":"giant"}', None)

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    bus, seen = BusConnection(BusAddress(), QUICK), []
    counting = asyncio.create_task(count())
    with socket.socket() as link:
        await bus._read(giants(), seen.append, link)
    counting.cancel()
    assert len(seen) == 10
    assert turns >= 9


async def _flood(bus: Any, count: int) -> None:
    for _ in range(count):
        await bus.push('{"type":"t"}')
