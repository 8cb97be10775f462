"""What waits for one WebSocket to take it: straight to the socket while it keeps up, a bounded queue while not."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

SOCKET_BYTES = 256 * 1024
"""What may wait in the socket's own buffer before frames are queued here."""
MAX_FRAMES = 4096
MAX_BYTES = 16 * 1024 * 1024
STALLED_AFTER_S = 20.0
"""A socket that takes nothing for so long is given up."""


_FIN, _TEXT, _BINARY = 0x80, 1, 2
_SHORT, _MIDDLE, _LONG = struct.Struct("!BB"), struct.Struct("!BBH"), struct.Struct("!BBQ")


def _framed(payload: bytes | str) -> bytes:
    """Return a whole, unmasked WebSocket frame, as a server sends it (RFC 6455 5.2)."""
    first, data = (_FIN | _TEXT, payload.encode()) if isinstance(payload, str) else (_FIN | _BINARY, payload)
    size = len(data)
    if size < 126:
        return _SHORT.pack(first, size) + data
    return (_MIDDLE.pack(first, 126, size) if size < 65_536 else _LONG.pack(first, 127, size)) + data


def _nobody(code: str) -> None:
    """Nobody is there any more to be told; else its connection would only be found by the garbage collector."""


def run_now(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for, without the cost of a task."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("a send that had room waited")


class Outbox:
    """Sends frames on one WebSocket, in order, without ever blocking its caller.

    A reader too slow for its bounds is closed with 1013, and only it.
    """

    __slots__ = ("_bytes", "_close", "_drain", "_is_over", "_queue", "_transport", "_ws")

    def __init__(self, ws: web.WebSocketResponse, transport: asyncio.Transport, close: Callable[[str], None]) -> None:
        self._ws = ws
        self._transport = transport
        self._close = close
        self._queue: deque[bytes | str] | None = None
        """There is one once it is needed: an empty one takes 760 bytes, and few connections ever wait."""
        self._bytes = 0
        self._drain: asyncio.Task[None] | None = None
        self._is_over = False
        transport.set_write_buffer_limits(high=4 * SOCKET_BYTES)

    @property
    def is_full(self) -> bool:
        """The socket takes nothing more until it has sent some."""
        return bool(self._queue) or self._transport.get_write_buffer_size() > SOCKET_BYTES

    def has_room(self, size: int) -> bool:
        """Tell whether half of its bounds holds so many bytes more."""
        return self.queued < MAX_FRAMES // 2 and self._bytes + size <= MAX_BYTES // 2

    @property
    def queued(self) -> int:
        """How many frames wait for the socket."""
        return len(self._queue) if self._queue is not None else 0

    def send(self, frames: list[bytes | str]) -> None:
        """Hand frames to the socket, or queue them."""
        if len(frames) == 2 and not self._is_over and not self.is_full:
            self._write(b"".join(map(_framed, frames)))  # a greeting: one segment instead of two
            return
        for frame in frames:
            if self._is_over:
                return  # the other end would refuse what comes after a gap
            if self.is_full:
                self._enqueue(frame)
            else:
                self._write(_framed(frame))

    def _write(self, frames: bytes) -> None:
        # Not by `ws.send_bytes`: three coroutines to join a header and a payload.
        if not self._ws.closed and not self._transport.is_closing():
            self._transport.write(frames)

    def _enqueue(self, frame: bytes | str) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append(frame)
        self._bytes += len(frame)
        if len(self._queue) > MAX_FRAMES or self._bytes > MAX_BYTES:
            self._is_over = True
            self._clear()
            self._close("slow_reader")
        elif self._drain is None:
            self._drain = asyncio.get_running_loop().create_task(self._drain_queue())

    async def _drain_queue(self) -> None:
        """Feed the queue to the socket as it empties; exists only while there is a queue."""
        idle = 0.0
        before = self._transport.get_write_buffer_size()
        while self._queue and not self._ws.closed and not self._transport.is_closing():
            waiting = self._transport.get_write_buffer_size()
            if waiting <= SOCKET_BYTES // 2:
                frame = self._queue.popleft()
                self._bytes -= len(frame)
                self._write(_framed(frame))
                continue
            idle = 0.0 if waiting < before else idle + 0.05
            before = waiting
            if idle >= STALLED_AFTER_S:
                self._close("slow_reader")
                break
            await asyncio.sleep(0.05)
        self._drain = None
        if not self._queue:
            self._queue = None

    def _clear(self) -> None:
        self._queue = None
        self._bytes = 0

    def stop(self) -> None:
        """Drop what waits; the connection is gone."""
        self._is_over, self._close = True, _nobody
        self._clear()
        if self._drain is not None:
            self._drain.cancel()
            self._drain = None
