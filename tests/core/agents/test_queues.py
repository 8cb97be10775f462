from __future__ import annotations

import asyncio
import logging

import pytest

from helpers.agent_bus import eventually
from hivemind_bus_client.message import Message
from hivemind_core.agents.queues import Inbox, Outbox, QueueLimits, hand_over

LIMITS = QueueLimits(frames=3, bytes=10)


def never() -> None:
    raise AssertionError("the connection was cut")


def test_a_queue_is_bounded_in_frames_and_bytes() -> None:
    outbox = Outbox(LIMITS)
    assert [outbox.put(b"12") for _ in range(4)] == [True, True, True, False]
    assert outbox.clear() == 3
    assert outbox.put(b"123456")
    assert not outbox.put(b"12345")
    assert outbox.put(b"1234")
    assert len(outbox) == 2


def test_a_large_frame_is_taken_when_nothing_waits() -> None:
    outbox = Outbox(LIMITS)
    assert outbox.put(b"x" * 11)
    assert not outbox.put(b"x")


async def test_frames_leave_in_order() -> None:
    outbox, sent = Outbox(LIMITS), []

    async def send(frame: bytes) -> None:
        await asyncio.sleep(0)
        sent.append(frame)

    pump = asyncio.create_task(outbox.pump(send, never, 5))
    for number in range(3):
        assert outbox.put(b"%d" % number)
    await outbox.drained(5)
    assert outbox.put(b"more")
    await outbox.drained(5)
    assert sent == [b"0", b"1", b"2", b"more"]
    pump.cancel()


async def test_drained_gives_up_in_time() -> None:
    outbox = Outbox(LIMITS)
    outbox.put(b"x")
    await outbox.drained(0.01)
    assert len(outbox) == 1


async def test_a_frame_that_does_not_leave_cuts_the_connection() -> None:
    outbox, cut = Outbox(LIMITS), asyncio.Event()

    async def send(frame: bytes) -> None:
        await cut.wait()
        raise ConnectionResetError

    outbox.put(b"x")
    await asyncio.wait_for(outbox.pump(send, cut.set, 0.02), 60)
    assert cut.is_set()


async def test_a_lost_connection_ends_the_pump() -> None:
    outbox, cut = Outbox(LIMITS), []

    async def send(frame: bytes) -> None:
        raise ConnectionResetError

    outbox.put(b"x")
    await asyncio.wait_for(outbox.pump(send, lambda: cut.append(True), 5), 60)
    assert cut == [True]


async def test_the_inbox_delivers_later_and_in_order() -> None:
    seen: list[str] = []

    def deliver(message: Message) -> None:
        seen.append(message.msg_type)
        if message.msg_type == "first":
            inbox.put(Message("third"))

    inbox = Inbox(deliver)
    inbox.put(Message("first"))
    inbox.put(Message("second"))
    assert seen == []
    await eventually(lambda: len(seen) == 3)
    assert seen == ["first", "second", "third"]


async def test_a_cleared_inbox_delivers_nothing() -> None:
    seen: list[Message] = []
    inbox = Inbox(seen.append)
    inbox.put(Message("first"))
    inbox.clear()
    inbox.put(Message("second"))
    await eventually(lambda: seen)
    assert [message.msg_type for message in seen] == ["second"]


def test_a_failing_hub_is_logged_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    def deliver(message: Message) -> None:
        raise ValueError("hub trouble")

    with caplog.at_level(logging.ERROR):
        hand_over(deliver, Message("some.type"))
    assert "some.type" in caplog.text
    assert "hub trouble" in caplog.text
