"""Handshakes take turns: so many steps in one turn of the loop, so that those who have a session never wait long.

When a hub comes back, all its satellites do so at once; the first of them talk while the last are still coming in.
Whoever is half in goes before newcomers, or all would be read at the same time; but newcomers have places of their own.
"""

from __future__ import annotations

import asyncio
from collections import deque

STEPS_A_TURN = 8
"""Each takes some 0.2 ms: a request that is read and answered, a frame of a handshake, the first message."""
NEWCOMERS_A_TURN = 2
"""Of these steps; each newcomer takes three more."""
MAX_WAITING = 4096
"""Steps that wait, and as many newcomers; so many are through in about a second."""

_Line = deque["asyncio.Future[None]"]


class Turnstile:
    """Of one transport. Who comes first goes first, among newcomers and among the others."""

    def __init__(self, steps: int = STEPS_A_TURN, newcomers: int = NEWCOMERS_A_TURN, most: int = MAX_WAITING) -> None:
        self._steps = self._left = steps
        self._newcomers = newcomers
        self._most = most
        self._inside: _Line = deque()
        self._outside: _Line = deque()
        self._is_turning = False

    @property
    def is_full(self) -> bool:
        """No more can wait."""
        return max(len(self._inside), len(self._outside)) >= self._most

    def arrive(self) -> asyncio.Future[None] | None:
        """Return what is done when a newcomer may be listened to; None where that is now."""
        return self._take(self._outside)

    def take(self) -> asyncio.Future[None] | None:
        """Return what is done when it is the turn of one who has been listened to; None where that is now."""
        return self._take(self._inside)

    async def enter(self) -> None:
        """Wait for such a turn."""
        turn = self.take()
        if turn is not None:
            await turn

    def _take(self, line: _Line) -> asyncio.Future[None] | None:
        loop = asyncio.get_running_loop()
        if not self._is_turning:
            self._is_turning = True
            loop.call_soon(self._turn)
        if self._left and not line:
            self._left -= 1
            return None
        turn = loop.create_future()
        line.append(turn)
        return turn

    def _turn(self) -> None:
        """The loop has been round once."""
        self._left = self._steps
        self._call(self._outside, min(self._newcomers, self._left))
        self._call(self._inside, self._left)
        self._call(self._outside, self._left)
        self._is_turning = self._left < self._steps
        if self._is_turning:
            asyncio.get_running_loop().call_soon(self._turn)

    def _call(self, line: _Line, most: int) -> None:
        while most and line:
            turn = line.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
                most -= 1
