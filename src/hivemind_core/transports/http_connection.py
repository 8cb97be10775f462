"""One session over HTTP as the hub knows it: what it sends waits to be fetched, and requests wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hivemind_bus_client.link import Refused

from ..admission import refused
from ..peers import Peer
from ..refusal_log import RefusalLog
from .http_sessions import Bounds, HTTPSession
from .intake import Intake

MAX_KEPT, MAX_KEPT_UNPROVEN = 8, 2
"""TCP connections of one session that are kept for its next requests; the second is before it has proven itself."""
SETTLED_WITHIN_S = 5.0
"""How long a fetch waits to know what became of the one before it, which went by way of another hub."""


class Kept:
    """TCP connections of one session that stay for its next requests."""

    __slots__ = ("_connections",)

    def __init__(self) -> None:
        self._connections: set[Intake] = set()

    def keeps(self, intake: Intake, *, is_open: bool) -> bool:
        """Tell whether one may stay; `is_open`: the client has proven itself."""
        if intake not in self._connections:
            self._connections = {each for each in self._connections if each.transport is not None}
            if len(self._connections) >= (MAX_KEPT if is_open else MAX_KEPT_UNPROVEN):
                return False
            self._connections.add(intake)
        return True


class Far:
    """A session that another hub holds, as far as this one has to do with it."""

    __slots__ = ("hub", "is_open", "kept", "requests", "since_ms", "turn")

    def __init__(self, hub: str, since_ms: int, is_open: bool = False) -> None:
        self.hub = hub
        self.since_ms = since_ms
        self.is_open = is_open
        """Its client has proven itself."""
        self.requests = 0
        """How many of its requests are being passed on."""
        self.turn = asyncio.Lock()
        """Held by the frame that is being passed on: one client never fills what carries everybody's."""
        self.kept = Kept()


class HTTPConnection(HTTPSession):
    """The hub's `Connection`. `ended` is how it tells that it has ended; the transport notes that."""

    def __init__(
        self,
        who: tuple[str, str],
        bounds: Bounds,
        clock: Callable[[], float],
        end: Callable[[HTTPConnection, int, str], None],
        hub: str = "",
    ) -> None:
        """`who` is the access key and the address; `end` is called for the end, by whichever side."""
        super().__init__(*who, bounds, clock(), hub)
        self.peer: Peer | None = None
        self.refusals: RefusalLog | None = None
        """Told why it ends where that is for want of room."""
        self.max_frame_bytes = 0
        self.turn = asyncio.Lock()
        """Held by the request whose frame is being read."""
        self.was_open = False
        self._clock = clock
        self._end = end
        self.kept = Kept()
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._under_way: dict[str, asyncio.Future[None]] = {}

    # the hub's side

    def send(self, frames: list[bytes | str]) -> None:
        if self.ended is not None:
            return
        if not self.put(frames, self._clock()):
            self._end_for(refused("slow_reader"))
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

        False: another request waits for the same now, or has taken it, since the client has given this one up.
        """
        if self.has(queue) or self.ended is not None or wait_s <= 0:
            return queue not in self._under_way
        self._tell(queue, mine=False)
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        self._waiting[queue] = woken
        timer = loop.call_later(wait_s, _set, woken)
        try:
            return await woken and queue not in self._under_way
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

    # by way of another hub

    def passes(self, queue: str) -> None:
        """Note that what was taken last is on its way to another hub, which is to write it."""
        self._under_way[queue] = asyncio.get_running_loop().create_future()

    def passed(self, queue: str) -> None:
        """Note that it is known what became of it."""
        _set(self._under_way.pop(queue))

    async def settled(self, queue: str) -> None:
        """Wait until what was taken last has arrived, or was put back. A session of which nobody knows that ends."""
        under_way = self._under_way.get(queue)
        if under_way is not None:
            await asyncio.wait([under_way], timeout=SETTLED_WITHIN_S)
            if not under_way.done():
                self.lose()

    def lose(self) -> None:
        """End, since messages may have been lost; its client has to begin anew."""
        if self.ended is not None:
            return
        self._end_for(Refused("internal_error", "messages may have been lost between hubs"))

    def _end_for(self, refusal: Refused) -> None:
        if self.peer is not None and self.refusals is not None:
            self.refusals.satellite(self.peer, refusal)
        self.drop()
        self.close(refusal.close_code, refusal.reason)


def _set(woken: asyncio.Future[Any], value: bool | None = True) -> None:
    if not woken.done():
        woken.set_result(value)
