"""Sessions over HTTP: whose request is whose, and the frames that wait to be fetched (docs/protocol.md 6).

An access key names a client but proves nothing, so it does not open somebody's session: a session belongs to the cookie
that came with it, once that has been returned, and until then to the address it was opened from. Time is an argument
(seconds).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Generic, NamedTuple, TypeVar

TEXT, BINARY = "messages", "b64_messages"
"""The queues, by the names that they have in answers."""
MAX_HELD_BYTES = 16 * 1024 * 1024
"""What both queues of a session may hold: 256 frames of protocol v3."""
FRAME_BYTES = 65_000
"""What a long message is divided into at v3."""
MAX_TAKEN_BYTES = 4 * 1024 * 1024
"""What one answer holds, unless its first frame is longer; an answer is made in one piece."""
REMEMBERED_S = 30.0
"""How long it is told why a session has ended."""
MAX_ENDED = 4096
"""Ended sessions that are remembered."""

MARK = "."
"""What stands in a cookie between the id of a hub and what nobody can guess."""

Frame = bytes | str


def hub_of(cookie: str) -> str:
    """Return the id of the hub of a cluster that gave a cookie; empty where it names none."""
    return cookie.partition(MARK)[0] if MARK in cookie else ""


class Ending(NamedTuple):
    """How a session ended, as a WebSocket would have told it."""

    code: int
    reason: str


@dataclass(frozen=True)
class Bounds:
    """How much may wait and how long a client may be silent; 0 seconds: for ever."""

    max_frames: int = 256
    """In one queue."""
    undelivered_s: float = 300.0
    """A frame that waits longer ends its session."""
    unfetched_s: float = 300.0
    """So does a client that fetches nothing for longer."""
    silent_s: float = 3600.0
    """And one that asks for nothing at all."""


class Queue:
    """Frames of one kind, in order."""

    __slots__ = ("frames", "since", "size")

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()
        self.size = 0
        """In bytes."""
        self.since = 0.0
        """When it was last empty, or some of it was taken."""

    def put(self, frame: Frame, now: float) -> None:
        if not self.frames:
            self.since = now
        self.frames.append(frame)
        self.size += len(frame)

    def take(self, now: float, most_bytes: int) -> list[Frame]:
        taken: list[Frame] = []
        size = 0
        while self.frames and (not taken or size + len(self.frames[0]) <= most_bytes):
            size += len(self.frames[0])
            taken.append(self.frames.popleft())
        self.size -= size
        self.since = now
        return taken

    def put_back(self, frames: list[Frame]) -> None:
        self.frames.extendleft(reversed(frames))
        self.size += sum(map(len, frames))

    def clear(self) -> None:
        self.frames.clear()
        self.size = 0


class HTTPSession:
    """One session."""

    def __init__(self, key: str, remote: str, bounds: Bounds, now: float, hub: str = "") -> None:
        """`hub` is the id that this hub has in its cluster; empty where it is alone."""
        self.key = key
        self.remote = remote
        self.cookie = f"{hub}{MARK}{token_urlsafe(32)}" if hub else token_urlsafe(32)
        self.since_ms = 0
        """When it began, by the clock that all hubs of a cluster share."""
        self.bounds = bounds
        self.asked_at = now
        """When its client last asked for anything."""
        self.fetched_at = now
        """When it last asked for messages."""
        self.requests = 0
        """How many of its requests are being served."""
        self.is_greeted = False
        """Its client has fetched the first messages, which there are once."""
        self.ended: Ending | None = None
        self._queues = {TEXT: Queue(), BINARY: Queue()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.remote}>"

    def begin(self, now: float) -> None:
        """Note a request."""
        self.asked_at = now
        self.requests += 1

    def finish(self, now: float) -> None:
        """Note that a request was served."""
        self.asked_at = now
        self.requests -= 1

    def put(self, frames: list[Frame], now: float) -> bool:
        """Queue frames; False where they are too many or too long.

        None may be left out then: they are counted, and the other end would refuse the next (docs/protocol.md 7.6).
        """
        for frame in frames:
            self._queues[TEXT if isinstance(frame, str) else BINARY].put(frame, now)
        queues = self._queues.values()
        too_many = any(len(queue.frames) > self.bounds.max_frames for queue in queues)
        return not too_many and sum(queue.size for queue in queues) <= MAX_HELD_BYTES

    def has_room(self, size: int) -> bool:
        """Tell whether half of the bounds holds so many bytes more."""
        waiting = max(len(queue.frames) for queue in self._queues.values())
        frames = 1 + size // FRAME_BYTES
        held = sum(queue.size for queue in self._queues.values())
        return waiting + frames <= max(1, self.bounds.max_frames // 2) and held + size <= MAX_HELD_BYTES // 2

    @property
    def queued(self) -> int:
        """How many frames wait to be fetched."""
        return sum(len(queue.frames) for queue in self._queues.values())

    def has(self, queue: str) -> bool:
        """Tell whether anything waits in a queue."""
        return bool(self._queues[queue].frames)

    def take(self, queue: str, now: float, most_bytes: int = MAX_TAKEN_BYTES) -> list[Frame]:
        """Return what waits in a queue, from its beginning, as much as an answer holds."""
        taken = self._queues[queue].take(now, most_bytes)
        self.is_greeted = self.is_greeted or (queue == TEXT and bool(taken))
        return taken

    def put_back(self, queue: str, frames: list[Frame]) -> None:
        """Take back what was taken last and did not arrive."""
        self._queues[queue].put_back(frames)

    def drop(self) -> None:
        """Let go of what nobody is to fetch any more."""
        for queue in self._queues.values():
            queue.clear()

    def overdue(self, now: float) -> str:
        """Return why the session has to end for the silence of its client; empty where it need not."""
        bounds = self.bounds
        waits = [now - queue.since for queue in self._queues.values() if queue.frames]
        if _is_over(max(waits, default=0.0), bounds.undelivered_s):
            return "a message was not fetched"
        if self.requests:
            return ""
        if _is_over(now - self.fetched_at, bounds.unfetched_s):
            return "nothing was fetched"
        return "nothing was asked for" if _is_over(now - self.asked_at, bounds.silent_s) else ""


def _is_over(took_s: float, most_s: float) -> bool:
    return 0 < most_s <= took_s


S = TypeVar("S", bound=HTTPSession)


class HTTPSessions(Generic[S]):
    """All sessions of a transport, and for a while those that have ended."""

    def __init__(self) -> None:
        self._by_cookie: dict[str, S] = {}
        self._by_address: dict[tuple[str, str], S] = {}
        self._ended: dict[S, float] = {}

    def __iter__(self) -> Iterator[S]:
        """Iterate over those that stand; safe against changes meanwhile."""
        return iter([session for session in self._by_cookie.values() if session.ended is None])

    def add(self, session: S, *, bound: bool = False) -> None:
        """Take in a session; one that is bound from the start is found by its cookie alone."""
        self._by_cookie[session.cookie] = session
        if not bound:
            self._by_address[session.key, session.remote] = session

    def find(self, key: str, cookie: str, remote: str) -> S | None:
        """Return the session that a request belongs to; it may have ended. A cookie that is returned binds it."""
        if not cookie:
            return self._by_address.get((key, remote))
        session = self._by_cookie.get(cookie)
        if session is None or session.key != key:
            return None
        self._unbind_address(session)
        return session

    def is_bound(self, session: S) -> bool:
        """Tell whether a session is found by its cookie alone."""
        return self._by_address.get((session.key, session.remote)) is not session

    def end(self, session: S, code: int, reason: str, now: float) -> None:
        """Note how a session ended; the first time counts."""
        if session.ended is not None:
            return
        session.ended = Ending(code, reason)
        if session.cookie in self._by_cookie:
            self._ended[session] = now
            if len(self._ended) > MAX_ENDED:
                self.remove(next(iter(self._ended)))

    def remove(self, session: S) -> None:
        """Forget a session."""
        session.drop()
        self._by_cookie.pop(session.cookie, None)
        self._ended.pop(session, None)
        self._unbind_address(session)

    def _unbind_address(self, session: S) -> None:
        if not self.is_bound(session):
            del self._by_address[session.key, session.remote]

    def forget_ended(self, now: float) -> None:
        """Forget those that ended a while ago."""
        for session in [each for each, ended_at in self._ended.items() if now - ended_at >= REMEMBERED_S]:
            self.remove(session)
