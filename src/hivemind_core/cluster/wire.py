"""The bus between the hubs of a cluster: frames over Redis Streams, as long as Redis answers.

`traffic` says what is written and what is made of what comes, `session` does it while Redis can be reached. Nothing
here waits for Redis but tasks of its own, so it can be slow, hang or be away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from hivemind_bus_client.exceptions import InvalidJson
from hivemind_bus_client.tasks import end_tasks

from ..clocks import boot_time
from ..cluster_config import ClusterConfig
from .entries import is_hub, parse
from .frames import CannotTravel, decode, encode
from .redis_errors import sentence
from .redis_link import RedisLink
from .redis_time import RedisTime
from .sealing import DoesNotOpen, Sealer
from .seldom import Seldom
from .session import LATE_S, NAME, TICK_S, Place, Session
from .traffic import Streams, Traffic

log = logging.getLogger(__name__)

Frame = dict[str, Any]

START_S = 1.0
"""`start` waits so long for Redis."""
STOP_S = 2.0
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 2.0
STOOD_S = 5.0
"""After a connection that stood so long, the first new attempt is made at once."""
UNREACHED = (RedisError, OSError, asyncio.TimeoutError)


class ClusterWire:
    """Member `hub`'s end, an id of 16 hexadecimal digits made for this process; `secret` is what the members share.

    All of it is called on one loop.
    """

    def __init__(
        self, config: ClusterConfig, secret: bytes, hub: str, *, clock: Callable[[], float] = boot_time
    ) -> None:
        if not is_hub(hub):
            raise ValueError("a member's id is 16 hexadecimal digits")
        self._config = config
        self._hub = hub
        self._clock = clock
        self._time = RedisTime(clock(), int(time.time() * 1000))
        streams = Streams(config.key("inbox", ""), config.key("log"))
        self._traffic = Traffic(hub, streams, Sealer(secret, config.name, hub))
        self._place = Place()
        self._seldom = Seldom(log, clock)
        self._receive: Callable[[str, Frame], None] = lambda hub, frame: None
        self._changed: Callable[[bool], None] = lambda available: None
        self._undelivered: Callable[[str, Frame], None] = lambda hub, frame: None
        self._session: Session | None = None
        """The one that stands; None while Redis is away."""
        self._life: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def available(self) -> bool:
        """Redis answers."""
        return self._session is not None

    def time_ms(self) -> int:
        """Return Redis's time, as far as it is known, in milliseconds since 1970."""
        return self._time.ms(self._clock())

    def latest_ms(self) -> int:
        """Return the same, as late as it can be: how far off it may be is known."""
        return self._time.latest_ms(self._clock())

    def passed_s(self, at_ms: int) -> float:
        """Return how many seconds at least have passed since a time (`latest_ms` of any member)."""
        return self._time.passed_s(at_ms, self._clock())

    # life

    async def start(
        self,
        receive: Callable[[str, Frame], None],
        changed: Callable[[bool], None],
        undelivered: Callable[[str, Frame], None],
    ) -> None:
        """Join the others as soon as Redis answers; returns then, or after a second.

        ``receive(sender, frame)`` is called for every frame for this hub or for all, in each sender's order, each at
        most once; where some of those for all are missing, it gets ``{"t": "gap"}`` first. ``changed(available)`` is
        called after each change; ``undelivered(hub, frame)`` for what `send` took and what did not arrive, or nobody
        can know: some seconds after `gone`, or after 35 s.
        """
        self._receive, self._changed, self._undelivered = receive, changed, undelivered
        loop = asyncio.get_running_loop()
        joined = asyncio.Event()
        self._life = loop.create_task(self._live(joined))
        self._ticker = loop.call_later(TICK_S, self._tick)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(joined.wait(), START_S)

    async def stop(self) -> None:
        """Leave. What is queued is sent before, and waited for at most two seconds; the rest is undelivered."""
        if self._life is None:
            return
        until = self._clock() + STOP_S
        while self._session is not None and not self._traffic.is_done and self._clock() < until:
            self._session.wake(acks=True)
            await asyncio.sleep(0.01)
        was_available = self.available
        await end_tasks([self._life])
        self._life = None
        if self._ticker is not None:
            self._ticker.cancel()
        left = self._traffic.abandon()
        if was_available:
            await self._take_leave()
        for hub, text in left:
            self._report(hub, text)

    async def _take_leave(self) -> None:
        link = RedisLink(self._config, NAME)
        now = self._clock()
        purges = [write.command for write in self._traffic.writes(now, self._time.ms(now), acks=True)]
        with contextlib.suppress(*UNREACHED):
            await asyncio.wait_for(link.connect(), LATE_S)
            await asyncio.wait_for(link.ask([*purges, ("DEL", self._traffic.inbox)]), LATE_S)
        await link.end()

    async def _live(self, joined: asyncio.Event) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            began = self._clock()
            try:
                await self._be_member(joined)
            except UNREACHED as error:
                self._seldom.warn("%s Other hubs are not reached meanwhile.", sentence(error, self._config))
            except Exception:  # top of a task
                log.exception("the connection to the other hubs failed")
            if self._clock() - began >= STOOD_S:
                backoff_s = FIRST_BACKOFF_S
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    async def _be_member(self, joined: asyncio.Event) -> None:
        session = Session(self._config, self._traffic, self._time, self._place, self._hand_over, self._clock)
        try:
            await session.join()
            self._stand(session)
            joined.set()
            await session.run()
        finally:
            self._stand(None)
            await session.close()

    def _stand(self, session: Session | None) -> None:
        before, self._session = self.available, session
        if self.available == before:
            return
        if self.available:
            log.info("hub %s is one of cluster %s", self._hub, self._config.name)
            self._seldom.reset()
        try:
            self._changed(self.available)
        except Exception:
            log.exception("the handler of a change failed")

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        if self._session is not None:
            self._session.tick()
        for hub, text in self._traffic.undelivered(self._clock()):
            self._report(hub, text)

    # what is to be sent

    def send(self, hub: str, frame: Frame) -> bool:
        """Send a frame to one member; False: not now, and it goes nowhere. What waits is bounded for each type ("t").

        Raises TypeError or ValueError for what is not JSON.
        """
        if hub == self._hub or not is_hub(hub):
            raise ValueError("not another member's id")
        return self._take(frame, lambda text: self._traffic.put(hub, text, self._clock(), str(frame.get("t"))))

    def tell(self, frame: Frame) -> bool:
        """Send a frame to all members; False: not now. Whether it arrives is not known. Raises as `send`."""
        return self._take(frame, lambda text: self._traffic.put_log(text, self._clock()))

    def gone(self, hub: str) -> None:
        """Give up a member: what has not arrived there is undelivered, as soon as it cannot arrive any more."""
        loop = asyncio.get_running_loop()
        for text in self._traffic.gone(hub):
            loop.call_soon(self._report, hub, text)
        if self._session is not None:
            self._session.wake()

    def _take(self, frame: Frame, put: Callable[[bytes], bool]) -> bool:
        if self._session is None:
            return False
        try:
            text = encode(frame)
        except CannotTravel as error:
            self._seldom.warn("A frame cannot travel between hubs: %s", error)
            return False
        if put(text):
            self._session.wake()
            return True
        self._seldom.warn("Too much waits for another hub; what more comes for it is refused")
        return False

    def _report(self, hub: str, text: bytes) -> None:
        self._call(self._undelivered, hub, decode(text))

    # what came

    def _hand_over(self, stream: str, fields: Any) -> None:
        entry = parse(fields)
        now = self._clock()
        if entry is None:
            self._seldom.warn("An entry in %s is no member's", stream)
            return
        try:
            handed = self._traffic.received(stream, entry, now, self._time.ms(now))
            if handed.after_gap:
                self._call(self._receive, entry.sender, {"t": "gap"})
            for text in handed.frames:
                self._call(self._receive, entry.sender, decode(text))
        except (DoesNotOpen, InvalidJson):
            self._seldom.warn("An entry in %s does not open: not from a member with this cluster's secret", stream)

    def _call(self, handler: Callable[[str, Frame], None], hub: str, frame: Frame) -> None:
        try:
            handler(hub, frame)
        except Exception:
            log.exception("a frame (%s) of hub %s failed", frame.get("t"), hub)
