"""When Python looks for cyclic garbage: in small steps, and at everything seldom and when the loop has time for it.

A connection that ends is freed without the collector, which by its own rule would look at all that all connections
hold while a crowd comes in: a tenth of a second at one thing with a thousand of them, and a fifth of all work.
"""

from __future__ import annotations

import gc
import sys
import time

YOUNG, ROUNDS = 5_000, 3
"""New objects between two looks at them, and how many of these looks are followed by one at all that is new since: some
two milliseconds, and some six.
"""
NEVER = 1_000_000
LOOKS, QUIET_AFTER_S, ANYWAY_AFTER_S = 10, 600.0, 3600.0
"""After so many of the latter there is reason to look at everything: in a quiet moment, or after an hour anyway."""
QUIET = 0.3
"""Of the processor's time."""
HAS_GENERATIONS = sys.version_info < (3, 14)
"""Later versions look at what is old bit by bit, by a rule that needs no help."""


def is_due(counts: tuple[int, int, int], quiet: bool, since_s: float) -> bool:
    """Tell whether to look at everything now, by `gc.get_count` and the seconds since that was done last."""
    return counts[2] >= LOOKS and since_s >= (QUIET_AFTER_S if quiet else ANYWAY_AFTER_S)


class Collector:
    """Python's collector under these rules, from `start` to `stop`."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None
        self._done_at = self._ticked_at = self._spent = 0.0

    def start(self) -> None:
        """What stands now stays, and is not looked at again."""
        gc.collect()
        gc.freeze()
        self._done_at = self._ticked_at = time.monotonic()
        if HAS_GENERATIONS:
            self._before = gc.get_threshold()
            gc.set_threshold(YOUNG, ROUNDS, NEVER)

    def tick(self) -> None:
        """To be called about once a second, by the thread of the loop."""
        if self._before is None:
            return
        now, spent = time.monotonic(), time.thread_time()
        quiet = spent - self._spent < QUIET * (now - self._ticked_at)
        if is_due(gc.get_count(), quiet, now - self._done_at):
            gc.collect()
            self._done_at = now
        self._ticked_at, self._spent = now, time.thread_time()

    def stop(self) -> None:
        """Leave Python its own rules again."""
        if self._before is not None:
            gc.set_threshold(*self._before)
            self._before = None
