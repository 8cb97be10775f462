"""Sessions over HTTP: whose request is whose, and the frames that wait to be fetched (docs/protocol.md 6).

The access key names a client but proves nothing, so it does not open somebody's session: a session belongs to the
cookie that came with it, once that has been returned, and until then to the address it was opened from.
"""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from secrets import token_urlsafe

from ..peers import Peer

TEXT, BINARY = "messages", "b64_messages"
MAX_WAITING = 4
"""Requests that may wait for messages of one session at once."""
MAX_HELD_BYTES = 16 * 1024 * 1024

Ending = tuple[int, str]
"""Close code and reason, as a WebSocket would have told them."""


class HTTPSession:
    """One session; the hub's `Connection`."""

    def __init__(self, key: str, remote: str, now: float, max_frames: int, overflow: Callable[[HTTPSession], None]):
        self.remote = remote
        self.key = key
        self.cookie = token_urlsafe(32)
        self.is_bound = False
        """The cookie has come back: nobody gets in without it any more."""
        self.asked_at = now
        """When its client last asked for anything."""
        self.peer: Peer | None = None
        self.max_frame_bytes = 0
        self.ended: Ending | None = None
        self._max_frames = max_frames
        self._overflow = overflow
        self._queues: dict[str, deque[str]] = {TEXT: deque(), BINARY: deque()}
        self._held = 0
        self._waiting: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        return f"<HTTPSession of {self.remote}>"

    # the hub's side

    def send(self, frames: list[bytes | str]) -> None:
        if self.ended is not None:
            return
        for frame in frames:
            queue, text = (TEXT, frame) if isinstance(frame, str) else (BINARY, b64encode(frame).decode("ascii"))
            self._queues[queue].append(text)
            self._held += len(text)
        if any(len(queue) > self._max_frames for queue in self._queues.values()) or self._held > MAX_HELD_BYTES:
            # One frame that is left out breaks the session anyhow: it is counted (docs/protocol.md 7.6).
            self._overflow(self)
        self._wake()

    def close(self, code: int, reason: str) -> None:
        if self.ended is None:
            self.ended = code, reason
            self._wake()

    # the client's side

    def take(self, queue: str) -> list[str]:
        """Return what waits in a queue, and empty it."""
        taken = list(self._queues[queue])
        self._queues[queue].clear()
        self._held -= sum(map(len, taken))
        return taken

    def has(self, queue: str) -> bool:
        """Tell whether anything waits in a queue."""
        return bool(self._queues[queue])

    async def news(self, queue: str, timeout_s: float) -> None:
        """Wait until there is something in a queue, or the session has ended, or the time is over."""
        if self.has(queue) or self.ended is not None or len(self._waiting) >= MAX_WAITING or timeout_s <= 0:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while not self.has(queue) and self.ended is None and (left_s := end - loop.time()) > 0:
            woken: asyncio.Future[None] = loop.create_future()
            self._waiting.append(woken)
            try:
                await asyncio.wait({woken}, timeout=left_s)
            finally:
                if woken in self._waiting:
                    self._waiting.remove(woken)

    def drop(self) -> None:
        """Let go of what nobody will fetch."""
        for queue in self._queues.values():
            queue.clear()
        self._held = 0

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for woken in waiting:
            if not woken.done():
                woken.set_result(None)


class HTTPSessions:
    """All sessions of a transport."""

    def __init__(self) -> None:
        self._by_key: dict[str, list[HTTPSession]] = {}

    def __iter__(self) -> Iterator[HTTPSession]:
        """Iterate over all; safe against changes meanwhile."""
        return iter([session for same in self._by_key.values() for session in same])

    def add(self, session: HTTPSession) -> None:
        """Take in a session."""
        self._by_key.setdefault(session.key, []).append(session)

    def remove(self, session: HTTPSession) -> None:
        """Forget a session, if it is there."""
        same = self._by_key.get(session.key, [])
        if session in same:
            same.remove(session)
        if not same:
            self._by_key.pop(session.key, None)

    def find(self, key: str, cookie: str, address: str) -> HTTPSession | None:
        """Return the session that a request belongs to: by its cookie, or by where it comes from."""
        same = self._by_key.get(key, [])
        for session in same:
            if cookie and hmac.compare_digest(session.cookie.encode(), cookie.encode("utf-8", "replace")):
                session.is_bound = True
                return session
        unbound = [session for session in same if not session.is_bound and session.remote == address]
        return unbound[-1] if unbound else None
