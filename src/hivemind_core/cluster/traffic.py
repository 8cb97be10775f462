"""All that a member writes into Redis for the others, and what it makes of what it reads there. Pure.

One stream for each member, its inbox, and one that all read, the log. An entry is ``s``, its sender, ``n``, its number
among the sender's in this stream, and ``d``, the sealed rest (`frames`, `sealing`). Number 0 carries no frames, only
the head, and is never repeated. The log is not acknowledged: who reads it is told where something is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from .channel import Channel
from .entries import Entry
from .frames import Head, pack, unpack
from .incoming import Verdict, is_fresh
from .outgoing import WRITE_BYTES, Batch, Outgoing
from .sealing import Sealer

LOG_ENTRIES = 20_000
ACK_FRAMES = 1024
ACK_BYTES = 1024 * 1024
"""After so much, an acknowledgement does not wait."""
FORGET_S = 120.0
"""A member with which nothing was exchanged for so long is forgotten; all that it sent before has expired."""

PURGE = """
local from, removed = '-', 0
repeat
  local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 500)
  for _, entry in ipairs(page) do
    if entry[2][2] == ARGV[1] then removed = removed + redis.call('XDEL', KEYS[1], entry[1]) end
    from = '(' .. entry[1]
  end
until #page < 500
return removed
"""
"""Takes the entries of one sender out of a stream."""


def _ignored(answer: Any, now: float) -> None:
    pass


class Write(NamedTuple):
    """A command, and who is told what was answered."""

    command: tuple[Any, ...]
    answered: Callable[[Any, float], None] = _ignored
    """Called with the answer and the time; None is Redis's nil."""
    may_fail: bool = False
    """An error is answered as None; else it ends the connection."""


class Handed(NamedTuple):
    """Frames of one sender, in order."""

    frames: list[bytes]
    after_gap: bool = False
    """Others are missing before them."""


NOTHING = Handed([])


@dataclass(slots=True)
class Told:
    """What came from one sender in the log."""

    number: int
    touched: float
    has_gap: bool = False


@dataclass(frozen=True)
class Streams:
    """The names of the streams."""

    inboxes: str
    """What all names of inboxes begin with."""
    log: str

    def inbox(self, hub: str) -> str:
        """Return the stream that one member reads."""
        return self.inboxes + hub


class Traffic:
    """Of member `hub`."""

    def __init__(self, hub: str, streams: Streams, sealer: Sealer) -> None:
        self.hub = hub
        self.streams = streams
        self.inbox = streams.inbox(hub)
        self._sealer = sealer
        self._first = 1
        """Above all numbers used with members that were forgotten."""
        self._channels: dict[str, Channel] = {}
        self._log = Outgoing(1)
        self._told: dict[str, Told] = {}
        self._refused: list[tuple[str, Batch]] = []
        self._can_purge = True
        self.has_more = False
        """`writes` has left something for the next write."""

    # what is to be sent

    def put(self, hub: str, frame: bytes, now: float, kind: str = "") -> bool:
        """Take a frame for one member; False where too much of its kind waits for it."""
        channel = self._channel(hub, now)
        channel.touched = now
        return channel.out.put(frame, now, kind)

    def put_log(self, frame: bytes, now: float) -> bool:
        """Take a frame for all."""
        return self._log.put(frame, now)

    def gone(self, hub: str) -> list[bytes]:
        """Give up a member; return what can no longer reach it; the rest `undelivered` returns later."""
        channel = self._channels.get(hub)
        return _frames(channel.gone()) if channel is not None else []

    def abandon(self) -> list[tuple[str, bytes]]:
        """Give up everybody; return all that is not known to have arrived, as `writes` takes it out of Redis."""
        found = [(hub, frame) for hub in self._channels for frame in self.gone(hub)]
        for hub, channel in self._channels.items():
            found += [(hub, frame) for fence in channel.fences for frame in _frames(fence.batches)]
        return found

    def rejoined(self) -> None:
        """Redis is there again: nobody knows what it has of what was written before."""
        for channel in self._channels.values():
            channel.rejoined()
        self._log.rewind()

    @property
    def is_done(self) -> bool:
        """All that was put was acknowledged or given up."""
        return self._log.is_empty and all(channel.out.is_empty for channel in self._channels.values())

    @property
    def is_urgent(self) -> bool:
        """There is so much to acknowledge, or to ask for, that it should not wait."""
        return any(c.wants_missed or c.unacknowledged >= ACK_BYTES for c in self._channels.values())

    @property
    def owes_ack(self) -> bool:
        """Somebody should hear that its frames came."""
        return any(channel.owes_ack for channel in self._channels.values())

    def writes(self, now: float, redis_ms: int, acks: bool) -> Iterator[Write]:
        """Yield what to write now, to be written in this order; with `acks` also what no frame says.

        One write does not take long: members take turns, and what is too much for it is for the next (`has_more`).
        """
        size, self.has_more = 0, False
        for hub, channel in list(self._channels.items()):
            if channel.purges:
                channel.purges = False
                if self._can_purge:
                    yield self._purge(channel)
            batches = channel.batches(now) if size < WRITE_BYTES else None
            for batch in batches or ():
                size += batch.size
                yield self._entry(channel, batch, now, redis_ms)
            if batches:
                self._channels[hub] = self._channels.pop(hub)
            self.has_more |= batches != [] and channel.out.has_due
            if acks and channel.owes_ack:
                head = channel.head(redis_ms)
                yield Write(self._add(channel.stream, 0, pack(head, [])))
        for batch in self._log.due():
            yield self._log_entry(batch, now, redis_ms)
        self.has_more |= self._log.has_due

    def _entry(self, channel: Channel, batch: Batch, now: float, redis_ms: int) -> Write:
        def answered(answer: Any, now: float) -> None:
            if answer is None:
                channel.missing(batch.number, now)

        content = pack(channel.head(_put_ms(batch, now, redis_ms)), batch.frames)
        return Write(self._add(channel.stream, batch.number, content), answered)

    def _log_entry(self, batch: Batch, now: float, redis_ms: int) -> Write:
        def answered(answer: Any, now: float) -> None:
            self._log.arrived(batch.number)

        stream = self.streams.log
        content = pack(Head(_put_ms(batch, now, redis_ms)), batch.frames)
        sealed = self._sealer.seal(stream, batch.number, content)
        bound = ("MAXLEN", "~", LOG_ENTRIES)
        return Write(("XADD", stream, *bound, "*", "s", self.hub, "n", batch.number, "d", sealed), answered)

    def _add(self, stream: str, number: int, content: bytes) -> tuple[Any, ...]:
        sealed = self._sealer.seal(stream, number, content)
        return ("XADD", stream, "NOMKSTREAM", "*", "s", self.hub, "n", number, "d", sealed)

    def _purge(self, channel: Channel) -> Write:
        fences = list(channel.fences)

        def answered(answer: Any, now: float) -> None:
            if answer is None:
                self._can_purge = False
                return
            for fence in fences:
                fence.cleared_at = now if fence.cleared_at is None else fence.cleared_at

        return Write(("EVAL", PURGE, 1, channel.stream, self.hub), answered, may_fail=True)

    # what came

    def received(self, stream: str, entry: Entry, now: float, redis_ms: int) -> Handed:
        """Return the frames of an entry that are to be handed over now.

        Raises DoesNotOpen for one that no member sealed, InvalidJson for one that is not as it should be.
        """
        if entry.sender == self.hub:
            return NOTHING
        if stream == self.streams.log:
            return self._from_log(entry, now, redis_ms)
        content = self._sealer.open(stream, entry.sender, entry.number, entry.sealed)
        head, frames = unpack(content)
        channel = self._channel(entry.sender, now)
        channel.touched = now
        self._refused += [(entry.sender, batch) for batch in channel.told(head, now)]
        if not entry.number:
            return NOTHING
        verdict = channel.incoming.judge(entry.number, head.base, is_fresh(head, redis_ms))
        channel.owes_ack = True
        channel.wants_missed |= verdict is Verdict.MISSED
        if verdict is not Verdict.HAND_OVER:
            return NOTHING
        channel.unacknowledged += max(len(content), len(frames) * (ACK_BYTES // ACK_FRAMES))
        return Handed(frames)

    def _from_log(self, entry: Entry, now: float, redis_ms: int) -> Handed:
        told = self._told.get(entry.sender)
        if told is not None and entry.number <= told.number:
            return NOTHING
        head, frames = unpack(self._sealer.open(self.streams.log, entry.sender, entry.number, entry.sealed))
        if told is None:
            told = self._told[entry.sender] = Told(entry.number - 1, now)
        told.has_gap |= entry.number > told.number + 1
        told.number, told.touched = entry.number, now
        if not is_fresh(head, redis_ms):
            told.has_gap = True
            return NOTHING
        has_gap, told.has_gap = told.has_gap, False
        return Handed(frames, has_gap)

    # what time brings

    def undelivered(self, now: float) -> list[tuple[str, bytes]]:
        """Return frames that did not arrive, or of which nobody can know; to be called a few times a second."""
        found = [(hub, frame) for hub, batch in self._refused for frame in batch.frames]
        self._refused.clear()
        for hub, channel in self._channels.items():
            found += [(hub, frame) for frame in _frames(channel.lost(now))]
        self._log.overdue(now)
        self._forget(now)
        return found

    def _forget(self, now: float) -> None:
        idle = [hub for hub, channel in self._channels.items() if now - channel.touched >= FORGET_S]
        for hub in idle:
            channel = self._channels[hub]
            if channel.out.is_empty and not channel.fences:
                self._first = max(self._first, channel.out.next)
                del self._channels[hub]
        for sender in [sender for sender, told in self._told.items() if now - told.touched >= FORGET_S]:
            del self._told[sender]

    def _channel(self, hub: str, now: float) -> Channel:
        channel = self._channels.get(hub)
        if channel is None:
            channel = self._channels[hub] = Channel(self.streams.inbox(hub), Outgoing(self._first), now)
        return channel


def _frames(batches: list[Batch]) -> list[bytes]:
    return [frame for batch in batches for frame in batch.frames]


def _put_ms(batch: Batch, now: float, redis_ms: int) -> int:
    return max(redis_ms - int((now - batch.put_at) * 1000), 0)
