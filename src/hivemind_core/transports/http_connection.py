"""One session over HTTP as the hub knows it: what it sends waits to be fetched, and requests wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from hivemind_bus_client.refusals import REFUSALS

from ..fairness import LoopShare
from ..peers import Peer
from .http_sessions import Bounds, HTTPSession
from .intake import Intake

log = logging.getLogger(__name__)

MAX_KEPT, MAX_KEPT_UNPROVEN = 8, 2
"""TCP connections of one session that are kept for its next requests; the second is before it has proven itself."""


class HTTPConnection(HTTPSession):
    """The hub's `Connection`. `ended` is how it tells that it has ended; the transport notes that."""

    def __init__(
        self,
        who: tuple[str, str],
        bounds: Bounds,
        clock: Callable[[], float],
        end: Callable[[HTTPConnection, int, str], None],
    ) -> None:
        """`who` is the access key and the address; `end` is called for the end, by whichever side."""
        super().__init__(*who, bounds, clock())
        self.peer: Peer | None = None
        self.max_frame_bytes = 0
        self.turn = asyncio.Lock()
        """Held by the request whose frame is being read."""
        self.share = LoopShare()
        self.was_open = False
        self._clock = clock
        self._end = end
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._kept: set[Intake] = set()

    # the hub's side

    def send(self, frames: list[bytes | str]) -> None:
        if self.ended is not None:
            return
        if not self.put(frames, self._clock()):
            row = REFUSALS["slow_reader"]
            log.warning("closing %s: %s", self.remote, row)
            self.drop()
            self.close(row.close_code, row.wire_reason)
        self._wake()

    def close(self, code: int, reason: str) -> None:
        if self.ended is None:
            self._end(self, code, reason)
            self._wake()

    # the client's side

    @property
    def is_open(self) -> bool:
        """Its client has proven itself."""
        return self.peer is not None and self.peer.link.is_open

    async def news(self, queue: str, wait_s: float) -> bool:
        """Wait until there is something in a queue, or the session has ended, or the time is over.

        False: another request waits for the same now, since the client has given this one up.
        """
        if self.has(queue) or self.ended is not None or wait_s <= 0:
            return True
        self._tell(queue, mine=False)
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        self._waiting[queue] = woken
        timer = loop.call_later(wait_s, _set, woken)
        try:
            return await woken
        finally:
            timer.cancel()
            if self._waiting.get(queue) is woken:
                del self._waiting[queue]

    def _wake(self) -> None:
        for queue in list(self._waiting):
            if self.has(queue) or self.ended is not None:
                self._tell(queue, mine=True)

    def _tell(self, queue: str, *, mine: bool) -> None:
        woken = self._waiting.pop(queue, None)
        if woken is not None:
            _set(woken, mine)

    def keeps(self, intake: Intake) -> bool:
        """Tell whether a TCP connection may stay for the next request."""
        if intake not in self._kept:
            self._kept = {each for each in self._kept if each.transport is not None}
            if len(self._kept) >= (MAX_KEPT if self.is_open else MAX_KEPT_UNPROVEN):
                return False
            self._kept.add(intake)
        return True


def _set(woken: asyncio.Future[bool], mine: bool = True) -> None:
    if not woken.done():
        woken.set_result(mine)
