"""What came to one member from another: what to make of an entry, and what to say of it. Pure."""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

from .frames import Head

EXPIRED_S = 30.0
FUTURE_S = 5.0
"""An entry from further ahead tells nothing of its age, for a clock was set meanwhile."""


def is_fresh(head: Head, redis_ms: int) -> bool:
    """Tell whether an entry is young enough to be handed over."""
    return -FUTURE_S * 1000 <= redis_ms - head.at_ms <= EXPIRED_S * 1000


class Verdict(Enum):
    """What to do with an entry."""

    HAND_OVER = auto()
    REPEATED = auto()
    MISSED = auto()
    """Others before it are missing; it comes again after them."""
    EXPIRED = auto()


class Incoming:
    """What came from one sender."""

    def __init__(self) -> None:
        self._taken = 0
        self._refused: deque[tuple[int, int]] = deque()
        """From and to; entries that came too late, of which the sender may not know yet."""

    @property
    def taken(self) -> int:
        """All up to this number was handed over, or the sender knows that it was not."""
        return self._refused[0][0] - 1 if self._refused else self._taken

    @property
    def refused(self) -> int:
        """All after `taken` and up to this number came too late; 0: none."""
        return self._refused[0][1] if self._refused else 0

    @property
    def wanted(self) -> int:
        """The number that comes next."""
        return self._taken + 1

    def judge(self, number: int, base: int, is_fresh: bool) -> Verdict:
        """Say what to do with an entry that opened; it counts as done."""
        self.heard(base)
        if number <= self._taken:
            return Verdict.REPEATED
        if number > self._taken + 1:
            return Verdict.MISSED
        self._taken = number
        if is_fresh:
            return Verdict.HAND_OVER
        self._refuse(number)
        return Verdict.EXPIRED

    def heard(self, base: int) -> None:
        """The sender sends nothing below `base` any more."""
        self._taken = max(self._taken, base - 1)
        while self._refused and self._refused[0][1] < base:
            self._refused.popleft()
        if self._refused and self._refused[0][0] < base:
            self._refused[0] = (base, self._refused[0][1])

    def _refuse(self, number: int) -> None:
        if self._refused and self._refused[-1][1] == number - 1:
            self._refused[-1] = (self._refused[-1][0], number)
        else:
            self._refused.append((number, number))
