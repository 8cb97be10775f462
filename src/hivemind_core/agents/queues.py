"""The two queues between the hub and a bus: `Outbox` towards one WebSocket, `Inbox` towards the hub."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hivemind_bus_client.message import Message

if TYPE_CHECKING:
    from . import Deliver

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueLimits:
    """How much may wait for one peer. A single frame is always taken when nothing waits."""

    frames: int
    bytes: int


class Outbox:
    """Frames on their way to one peer: in order, and bounded."""

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._sending = False
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes) -> bool:
        """Queue a frame; False when the queue is full."""
        size = self._bytes + len(frame)
        if self._frames and (len(self._frames) >= self._limits.frames or size > self._limits.bytes):
            return False
        if not self._frames:
            self._filled.set()
        self._frames.append(frame)
        self._bytes = size
        return True

    def clear(self) -> int:
        """Forget what waits; how many frames that were."""
        count = len(self._frames)
        self._frames.clear()
        self._bytes = 0
        return count

    async def pump(self, send: Callable[[bytes], Awaitable[None]], abort: Callable[[], None], stall_s: float) -> None:
        """Send the frames, in order, until cancelled or until the connection is gone.

        ``abort`` is called when sending fails or one frame has not left after ``stall_s`` seconds; it must
        cut the connection, so that a ``send`` under way ends.
        """
        loop = asyncio.get_running_loop()
        while True:
            frame = await self._take()
            watchdog = loop.call_later(stall_s, abort)
            try:
                await send(frame)
            except ConnectionError:
                abort()
                return
            finally:
                self._sending = False
                watchdog.cancel()

    async def _take(self) -> bytes:
        while not self._frames:
            self._idle.set()
            self._filled.clear()
            await self._filled.wait()
        frame = self._frames.popleft()
        self._bytes -= len(frame)
        self._sending = True
        return frame

    async def drained(self, timeout_s: float) -> None:
        """Wait until everything has been sent, but no longer than ``timeout_s`` seconds."""
        if not self._frames and not self._sending:
            return
        self._idle.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except asyncio.TimeoutError:
            log.debug("%d frames were not sent in time", len(self._frames))


def hand_over(deliver: Deliver, message: Message) -> None:
    """Give a message to the hub; what goes wrong there must not end the connection it came from."""
    try:
        deliver(message)
    except Exception:
        log.exception("A message of type %s from the agent could not be handled", message.msg_type)


class Inbox:
    """Messages on their way to the hub: in order, and never while the hub is still inside `emit`."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._messages: deque[Message] = deque()

    def put(self, message: Message) -> None:
        """Deliver a message as soon as the loop is back."""
        if not self._messages:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._messages.append(message)

    def clear(self) -> None:
        """Deliver nothing of what waits."""
        self._messages.clear()

    def _hand_over(self) -> None:
        messages, self._messages = self._messages, deque()
        for message in messages:
            hand_over(self._deliver, message)
