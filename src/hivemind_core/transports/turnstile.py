"""Handshakes take turns: so many steps in one turn of the loop, so that those who have a session never wait long.

When a hub comes back, all its satellites do so at once; the first of them talk while the last are still coming in.
Whoever is half in goes before newcomers, or all would be read at the same time; but newcomers have places of their own.
Among newcomers the addresses take turns, and none has all places: thousands from one keep nobody else out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sized

STEPS_A_TURN = 8
"""Each takes some 0.2 ms: a request that is read and answered, a frame of a handshake, the first message."""
NEWCOMERS_A_TURN = 2
"""Of these steps; each newcomer takes three more."""
MAX_WAITING = 4096
"""Steps that wait, and as many newcomers; so many are through in about a second."""
SHARE = 4
"""One address has one of so many of those places for newcomers."""
MANY = ""
"""Stands for the addresses that many come from: this machine's own, and those of proxies. They may have all places."""

_Line = deque["asyncio.Future[None]"]


class _ByOrigin:
    """A line in which those of each address wait in order, and the addresses take turns."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def of(self, origin: str) -> int:
        """Return how many of an address wait."""
        return len(self._lines.get(origin, ()))

    def append(self, origin: str, turn: asyncio.Future[None]) -> None:
        self._lines.setdefault(origin, deque()).append(turn)
        self._size += 1

    def popleft(self) -> asyncio.Future[None]:
        origin, line = next(iter(self._lines.items()))
        del self._lines[origin]
        turn = line.popleft()
        if line:
            self._lines[origin] = line  # behind the others
        self._size -= 1
        return turn


class Turnstile:
    """Of one transport. Who comes first goes first, among newcomers from one address and among the others."""

    def __init__(self, steps: int = STEPS_A_TURN, newcomers: int = NEWCOMERS_A_TURN, most: int = MAX_WAITING) -> None:
        self._steps = self._left = steps
        self._newcomers = newcomers
        self._most = most
        self._inside: _Line = deque()
        self._outside = _ByOrigin()
        self._is_turning = False

    @property
    def is_full(self) -> bool:
        """No more of those who have been listened to can wait."""
        return len(self._inside) >= self._most

    def has_room(self, origin: str = MANY) -> bool:
        """Tell whether one more newcomer from an address can wait."""
        most_of_one = self._most if origin == MANY else max(1, self._most // SHARE)
        return len(self._outside) < self._most and self._outside.of(origin) < most_of_one

    def arrive(self, origin: str = MANY) -> asyncio.Future[None] | None:
        """Return what is done when a newcomer from an address may be listened to; None where that is now."""
        if self._is_free(self._outside):
            return None
        turn = asyncio.get_running_loop().create_future()
        self._outside.append(origin, turn)
        return turn

    def take(self) -> asyncio.Future[None] | None:
        """Return what is done when it is the turn of one who has been listened to; None where that is now."""
        if self._is_free(self._inside):
            return None
        turn = asyncio.get_running_loop().create_future()
        self._inside.append(turn)
        return turn

    async def enter(self) -> None:
        """Wait for such a turn."""
        turn = self.take()
        if turn is not None:
            await turn

    def _is_free(self, line: Sized) -> bool:
        """Take a step of this turn, if there is one and nobody in that line waits for it."""
        if not self._is_turning:
            self._is_turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        if not self._left or line:
            return False
        self._left -= 1
        return True

    def _turn(self) -> None:
        """The loop has been round once."""
        self._left = self._steps
        self._call(self._outside, min(self._newcomers, self._left))
        self._call(self._inside, self._left)
        self._call(self._outside, self._left)
        self._is_turning = self._left < self._steps
        if self._is_turning:
            asyncio.get_running_loop().call_soon(self._turn)

    def _call(self, line: _Line | _ByOrigin, most: int) -> None:
        while most and line:
            turn = line.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
                most -= 1
