"""Handshakes take turns: so many steps in one turn of the loop, so that those who have a session never wait long.

When a hub comes back, all its satellites do so at once; the first of them talk while the last are still coming in.
"""

from __future__ import annotations

import asyncio
from collections import deque

STEPS_A_TURN = 8
"""Each takes some 0.2 ms: a request that is read and answered, a frame of a handshake, the first message."""
MAX_WAITING = 4096
"""Steps that wait; so many are through in about a second."""


class Turnstile:
    """Of one transport. Who comes first goes first."""

    def __init__(self, steps: int = STEPS_A_TURN, most: int = MAX_WAITING) -> None:
        self._steps = self._left = steps
        self._most = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_turning = False

    @property
    def is_full(self) -> bool:
        """No more can wait."""
        return len(self._waiting) >= self._most

    def take(self) -> asyncio.Future[None] | None:
        """Return what is done when it is the caller's turn; None where that is now."""
        loop = asyncio.get_running_loop()
        if not self._is_turning:
            self._is_turning = True
            loop.call_soon(self._turn)
        if self._left and not self._waiting:
            self._left -= 1
            return None
        turn = loop.create_future()
        self._waiting.append(turn)
        return turn

    async def enter(self) -> None:
        """Wait for a turn."""
        turn = self.take()
        if turn is not None:
            await turn

    def _turn(self) -> None:
        """The loop has been round once."""
        self._left = self._steps
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        self._is_turning = self._left < self._steps
        if self._is_turning:
            asyncio.get_running_loop().call_soon(self._turn)
