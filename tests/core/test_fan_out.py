"""One message to many: in slices of time, in order, and never without bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.outgoing import Outgoing
from hivemind_core.fan_out import MOST_WAITING, SLICE_S, FanOut
from hivemind_core.testing import FakeClock

A_SLICE = 4
"""Messages that are sent in one slice of time here."""


class Room:
    """Peers (numbers) whose receiving takes a quarter of a slice each."""

    def __init__(self, takes_s: float = SLICE_S / A_SLICE) -> None:
        self.clock = FakeClock(0.0)
        self.got: list[tuple[int, str]] = []
        self.broken: set[int] = set()
        self._takes_s = takes_s
        self.fan_out = FanOut(self._take, self.clock)

    def _take(self, peer: Any, outgoing: Outgoing) -> None:
        if peer in self.broken:
            raise ValueError(peer)
        self.clock.advance(self._takes_s)
        self.got.append((peer, outgoing.message.body["type"]))

    def send(self, count: int, name: str = "one") -> None:
        peers: Any = range(count)
        self.fan_out.send(peers, Outgoing(HiveMessage(HiveMessageType.BUS, {"type": name})))

    async def finish(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)


async def test_what_fits_into_a_slice_is_sent_at_once() -> None:
    room = Room(takes_s=0.0)
    room.send(5000)
    assert room.got == [(peer, "one") for peer in range(5000)]


async def test_others_have_their_turn_between_slices() -> None:
    room, turns = Room(), []
    room.send(4 * A_SLICE)
    while len(room.got) < 4 * A_SLICE:
        turns.append(len(room.got))
        await asyncio.sleep(0)
    assert turns == [A_SLICE, 2 * A_SLICE, 3 * A_SLICE]


async def test_every_peer_gets_messages_in_order_and_once() -> None:
    room = Room()
    for name in ("one", "two", "three"):
        room.send(3 * A_SLICE, name)
    await room.finish()
    assert room.got == [(peer, name) for name in ("one", "two", "three") for peer in range(3 * A_SLICE)]


async def test_who_is_to_get_something_else_gets_what_waits_before() -> None:
    room = Room()
    for name in ("one", "two"):
        room.send(3 * A_SLICE, name)
    last = 3 * A_SLICE - 1
    room.fan_out.catch_up(last)  # type: ignore[arg-type]
    room.fan_out.catch_up(0)  # type: ignore[arg-type]
    assert room.got[A_SLICE:] == [(last, "one"), (last, "two"), (0, "two")]
    await room.finish()
    assert sorted(room.got) == sorted((peer, name) for name in ("one", "two") for peer in range(3 * A_SLICE))


async def test_only_so_many_messages_wait() -> None:
    room = Room()
    for number in range(3 * MOST_WAITING):
        room.send(10 * A_SLICE, str(number))
    finished = {name for peer, name in room.got if peer == 10 * A_SLICE - 1}
    assert len(finished) == 2 * MOST_WAITING
    await room.finish()
    assert len(room.got) == 3 * MOST_WAITING * 10 * A_SLICE


async def test_a_message_that_cannot_be_sent_does_not_keep_back_the_next() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    room = Room()
    room.broken = {2 * A_SLICE}
    room.send(3 * A_SLICE, "one")
    room.send(A_SLICE, "two")
    await room.finish()
    assert room.got == [(peer, "one") for peer in range(2 * A_SLICE)] + [(peer, "two") for peer in range(A_SLICE)]


async def test_the_caller_sees_what_goes_wrong_at_once() -> None:
    room = Room()
    room.broken = {0}
    with pytest.raises(ValueError, match="0"):
        room.send(3)
    room.broken.clear()
    room.send(3)
    assert len(room.got) == 3
