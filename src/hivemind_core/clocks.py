"""The clocks of a hub."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

JUMP_S = 30.0
BELIEVED_AFTER_S = 600.0


class SteadyWall:
    """Unix time that does not follow a jump of the system's clock before that has stood for ten minutes.

    For what is gone for good once its time is over. A clock that jumps by mistake is set right within minutes, and one
    that was wrong and is set right (a machine without a battery for it, a laptop that slept) is only believed later.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._told, self._told_at = wall(), monotonic()
        self._jumped_at: float | None = None

    def __call__(self) -> float:
        """Return the time. To be called at least every few minutes: each call takes in how the clock drifts."""
        wall, now = self._wall(), self._monotonic()
        expected = self._told + now - self._told_at
        if abs(wall - expected) <= JUMP_S:
            self._jumped_at = None
        elif self._jumped_at is None:
            self._jumped_at, wall = now, expected
        elif now - self._jumped_at < BELIEVED_AFTER_S:
            wall = expected
        else:
            self._jumped_at = None
        self._told, self._told_at = wall, now
        return wall


@dataclass
class Clocks:
    """Tests bring their own."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    """Unix time, seconds."""
    steady: Callable[[], float] | None = None
    """The same for what must not end by a mistaken clock; None: `wall`."""

    @property
    def expiry(self) -> Callable[[], float]:
        """What decides whether something is over that lasts until a Unix time."""
        return self.steady or self.wall


def boot_time() -> float:
    """Return seconds that go on while the machine sleeps, where the system has such a clock."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(boot) if boot is not None else time.monotonic()
