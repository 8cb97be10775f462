"""One time of being connected to Redis: what is to be written is written, what comes is handed on, until it is lost.

Two connections, one that writes and one that waits for what comes. There is one write at a time; what is put meanwhile
goes together with the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.exceptions import ResponseError

from hivemind_bus_client.tasks import end_tasks

from ..cluster_config import ClusterConfig
from .channel import FRESH_S
from .entries import BEGINNING, key
from .redis_link import RedisLink
from .redis_time import RedisTime
from .traffic import Traffic, Write

LATE_S = 2.0
"""Redis is away when it has not answered for so long."""
TICK_S = 0.25
BLOCK_S = 1.0
ACK_S = 0.1
IDLE_S = 1.0
"""Redis is asked whether it is there after so long without a write."""
TRIM_S = 0.2
RENEW_S = 5.0
EXPIRE_S = 60
"""What nobody renews disappears, so that a member that died leaves nothing."""
MAX_READ_ENTRIES = 64
READ_BYTES = 2 * 1024 * 1024
"""About so much is read at once, so that it does not take long."""
SLOWEST_BYTES_PER_S = 2 * 1024 * 1024
"""How much longer than others a large write may take."""
BUSY_S = 0.005
"""The loop gets a turn after entries were handed over for so long."""
NAME = "hivemind"


class Place:
    """How far the streams have been read; outlives a session."""

    def __init__(self) -> None:
        self.log = BEGINNING
        self.inbox = BEGINNING
        self.entries = 1
        """How many to read at once."""

    def was_read(self, size: int) -> None:
        """Learn how many bytes came at once."""
        self.entries = max(1, self.entries // 2) if size > READ_BYTES else min(2 * self.entries, MAX_READ_ENTRIES)

    def rejoin(self, last_in_log: bytes) -> None:
        """Begin with what comes, the first time; then go on, or from the beginning of what is a new log."""
        if self.log == BEGINNING:
            self.log = last_in_log
        elif key(last_in_log) < key(self.log):
            self.log = BEGINNING
        self.inbox, self.entries = BEGINNING, 1  # it may have been lost since there was too much to read in time


class Patience:
    """Counts the ticks that something has waited: a loop that was held up itself does not count that against Redis."""

    def __init__(self, limit_s: float) -> None:
        self._usual = self._limit = limit_s / TICK_S
        self._ticks = -1

    def begin(self, more_s: float = 0.0) -> None:
        """An answer is waited for, which may take so much longer than others."""
        self._limit = self._usual + more_s / TICK_S
        self._ticks = 0

    def end(self) -> None:
        """It came."""
        self._ticks = -1

    def tick(self) -> bool:
        """Tell whether it has waited too long."""
        if self._ticks >= 0:
            self._ticks += 1
        return self._ticks >= self._limit


class Session:
    """To be joined, run and closed once. ``hand_over(stream, fields)`` is called for each entry that comes."""

    def __init__(
        self,
        config: ClusterConfig,
        traffic: Traffic,
        time: RedisTime,
        place: Place,
        hand_over: Callable[[str, Any], None],
        clock: Callable[[], float],
    ) -> None:
        self._writer = RedisLink(config, NAME)
        self._reader = RedisLink(config, NAME)
        self._traffic = traffic
        self._time = time
        self._place = place
        self._hand_over = hand_over
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._something = asyncio.Event()
        self._acks = False
        self._ack_timer: asyncio.TimerHandle | None = None
        self._late: asyncio.Future[None] = self._loop.create_future()
        self._write_patience, self._read_patience = Patience(LATE_S), Patience(BLOCK_S + LATE_S)
        self._trimmed = BEGINNING
        self._wrote_at = self._trimmed_at = self._renewed_at = clock()

    async def join(self) -> None:
        """Connect, and be one that is read for. Raises RedisError, OSError, TimeoutError."""
        await asyncio.wait_for(self._join(), LATE_S)

    async def run(self) -> None:
        """Read and write until the connection is lost, which raises RedisError, OSError or TimeoutError."""
        tasks = [self._loop.create_task(self._write_on()), self._loop.create_task(self._read_on())]
        try:
            await asyncio.wait([*tasks, self._late], return_when=asyncio.FIRST_COMPLETED)
            errors = [task.exception() for task in tasks if task.done()]
            raise next(filter(None, errors), None) or TimeoutError("no answer in time")
        finally:
            await end_tasks(tasks)

    async def close(self) -> None:
        """End the connections."""
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        self._late.cancel()
        await self._writer.close()
        await self._reader.close()

    def wake(self, acks: bool = False) -> None:
        """There is something to write; with `acks` all that is to be acknowledged is."""
        self._acks |= acks
        self._something.set()

    def tick(self) -> None:
        """To be called every `TICK_S`."""
        if (self._write_patience.tick() or self._read_patience.tick()) and not self._late.done():
            self._late.set_result(None)
        self._something.set()

    async def _join(self) -> None:
        await self._writer.connect()
        await self._reader.connect()
        asked_at, log = self._clock(), self._traffic.streams.log
        commands = [("TIME",), *self._inbox_commands(), ("XREVRANGE", log, "+", "-", "COUNT", 1)]
        answers = await self._writer.ask(commands)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        self._time.told(answers[0], asked_at, self._clock())
        self._place.rejoin(answers[-1][0][0] if answers[-1] else BEGINNING)
        self._traffic.rejoined()

    def _inbox_commands(self) -> list[tuple[Any, ...]]:
        """An entry of its own, which is passed over, makes the stream where there is none."""
        inbox = self._traffic.inbox
        return [("XADD", inbox, "*", "s", self._traffic.hub, "n", 0, "d", b""), ("EXPIRE", inbox, EXPIRE_S)]

    # writing

    async def _write_on(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            now = self._clock()
            writes = list(self._traffic.writes(now, self._time.ms(now), self._acks))
            self._acks = False
            writes += self._errands(now)
            if self._traffic.has_more:
                self._something.set()
            if writes:
                await self._write(writes)

    async def _write(self, writes: list[Write]) -> None:
        size = sum(len(word) for write in writes for word in write.command if isinstance(word, bytes))
        self._write_patience.begin(size / SLOWEST_BYTES_PER_S)
        answers = await self._writer.ask([write.command for write in writes])
        self._write_patience.end()
        self._wrote_at = now = self._clock()
        for write, answer in zip(writes, answers, strict=True):
            if not isinstance(answer, ResponseError):
                write.answered(answer, now)
            elif write.may_fail:
                write.answered(None, now)
            else:
                raise answer

    def _errands(self, now: float) -> list[Write]:
        """Return what has to be done now and then."""
        found: list[Write] = []
        if self._place.inbox != self._trimmed and now - self._trimmed_at >= TRIM_S:
            self._trimmed, self._trimmed_at = self._place.inbox, now
            found.append(Write(("XTRIM", self._traffic.inbox, "MINID", self._trimmed)))
        if self._time.is_due(now):
            found.append(Write(("TIME",), lambda answer, then: self._time.told(answer, now, then)))
        if now - self._renewed_at >= RENEW_S:
            self._renewed_at = now
            found += self._renewals(now)
        if not found and now - self._wrote_at >= IDLE_S:
            found.append(Write(("PING",)))
        return found

    def _renewals(self, now: float) -> list[Write]:
        inbox, log = self._traffic.inbox, self._traffic.streams.log
        oldest_ms = max(self._time.ms(now) - EXPIRE_S * 1000, 0)
        return [
            Write(("EXPIRE", inbox, EXPIRE_S), self._renewed),
            Write(("XTRIM", log, "MINID", "~", oldest_ms)),
            Write(("EXPIRE", log, EXPIRE_S)),
        ]

    def _renewed(self, answer: Any, now: float) -> None:
        if not answer:
            raise ConnectionError("the inbox is gone")

    # reading

    async def _read_on(self) -> None:
        inbox, log, place = self._traffic.inbox, self._traffic.streams.log, self._place
        block_ms = int(BLOCK_S * 1000)
        while True:
            asked_at = self._clock()
            self._read_patience.begin()
            read = ("XREAD", "COUNT", place.entries, "BLOCK", block_ms, "STREAMS", inbox, log, place.inbox, place.log)
            (answer,) = await self._reader.ask([read])
            self._read_patience.end()
            if isinstance(answer, ResponseError):
                raise answer
            if answer:
                place.was_read(sum(len(fields[-1]) for _, entries in answer for _, fields in entries if fields))
                await self._pass_on(answer, asked_at)

    async def _pass_on(self, answer: Any, asked_at: float) -> None:
        """Hand over what is known to have been in Redis a moment ago; the rest is read again, if it is there still."""
        rest_at = self._clock() + BUSY_S
        for stream, entries in answer:
            name = stream.decode()
            is_log = name == self._traffic.streams.log
            for entry_id, fields in entries:
                now = self._clock()
                if now - asked_at > FRESH_S:
                    return
                if is_log:
                    self._place.log = entry_id
                else:
                    self._place.inbox = entry_id
                self._hand_over(name, fields)
                if now > rest_at:
                    self._acknowledge()
                    await asyncio.sleep(0)
                    rest_at = self._clock() + BUSY_S
        self._acknowledge()

    def _acknowledge(self) -> None:
        if self._traffic.is_urgent:
            self.wake(acks=True)
        elif self._ack_timer is None and self._traffic.owes_ack:
            self._ack_timer = self._loop.call_later(ACK_S, self._acknowledge_now)

    def _acknowledge_now(self) -> None:
        self._ack_timer = None
        self.wake(acks=True)
