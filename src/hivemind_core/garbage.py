"""When Python looks for cyclic garbage: seldom, and when the loop has time for it.

A connection that ends is freed without the collector, which by its own rule would look at all that all connections
hold while a crowd comes in: a tenth of a second at one thing with a thousand of them, and a fifth of all work.
"""

from __future__ import annotations

import gc
import sys
import time

YOUNG = 5_000
"""New objects between two looks at them: one and a half milliseconds."""
NEVER = 1_000_000
NEW_QUIET, NEW_ANYWAY = 10, 400
"""After so many of these looks all that is new since is looked at once more: in a quiet moment, or anyway."""
ROUNDS, ALL_EVERY_S = 10, 600.0
"""After so many of those, and so many seconds, all there is; in a quiet moment only."""
QUIET = 0.3
"""Of the processor's time."""
RECENT, ALL = 1, 2
HAS_GENERATIONS = sys.version_info < (3, 14)
"""Later versions look at what is old bit by bit, by a rule that needs no help."""


def wanted(counts: tuple[int, int, int], quiet: bool, since_all_s: float) -> int | None:
    """Return which generation to look at now, if any, by `gc.get_count` and the seconds since all was looked at."""
    _, looks, rounds = counts
    if looks >= (NEW_QUIET if quiet else NEW_ANYWAY):
        return RECENT
    return ALL if quiet and rounds >= ROUNDS and since_all_s >= ALL_EVERY_S else None


class Collector:
    """Python's collector under these rules, from `start` to `stop`."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None
        self._all_at = self._ticked_at = self._spent = 0.0

    def start(self) -> None:
        """What stands now stays, and is not looked at again."""
        gc.collect()
        gc.freeze()
        self._all_at = self._ticked_at = time.monotonic()
        if HAS_GENERATIONS:
            self._before = gc.get_threshold()
            gc.set_threshold(YOUNG, NEVER, NEVER)

    def tick(self) -> None:
        """To be called about once a second, by the thread of the loop."""
        if self._before is None:
            return
        now, spent = time.monotonic(), time.thread_time()
        quiet = spent - self._spent < QUIET * (now - self._ticked_at)
        generation = wanted(gc.get_count(), quiet, now - self._all_at)
        if generation is not None:
            gc.collect(generation)
            self._all_at = now if generation == ALL else self._all_at
        self._ticked_at, self._spent = now, time.thread_time()

    def stop(self) -> None:
        """Leave Python its own rules again."""
        if self._before is not None:
            gc.set_threshold(*self._before)
            self._before = None
