"""Talking at a steady pace, and what a set of durations comes to."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

from .satellites import QUESTION, Satellite, SatelliteFailed

DRAIN_S = 60.0
"""How long those who stop wait for the answers on the way: one that came later would count as the next one's."""


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """The middle, the hundredth longest and the longest of them, in milliseconds, and how many there are."""
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0, "p50_ms": 0.0, "p99_ms": 0.0, "max_ms": 0.0}
    return {
        "count": len(ordered),
        "p50_ms": ordered[(len(ordered) - 1) // 2] * 1000,
        "p99_ms": ordered[math.ceil(len(ordered) * 0.99) - 1] * 1000,
        "max_ms": ordered[-1] * 1000,
    }


class Pace:
    """Satellites that say something in turn. A trip counts from when it was due, so that a hub that lets one wait does
    not hide the ones that wait behind it."""

    def __init__(self, satellites: Sequence[Satellite], per_second: float) -> None:
        self._took: list[float] = []
        self._due: dict[int, float] = {}
        self._failed = ""
        every = len(satellites) / per_second
        begun = time.monotonic() + 0.05
        self._tasks = [
            asyncio.ensure_future(self._talk(number, satellite, begun + every * number / len(satellites), every))
            for number, satellite in enumerate(satellites)
        ]

    async def _talk(self, number: int, satellite: Satellite, due: float, every: float) -> None:
        try:
            while True:
                await asyncio.sleep(due - time.monotonic())
                self._due[number] = due
                await satellite.say(QUESTION)
                self._took.append(time.monotonic() - due)
                del self._due[number]
                due += every
        except SatelliteFailed as error:
            self._failed = str(error)

    def mark(self) -> dict[str, Any]:
        """What there was since the last mark; see `Crowd.mark`."""
        if self._failed:
            raise SatelliteFailed(self._failed)
        now = time.monotonic()
        took, self._took = self._took, []
        return quantiles([*took, *(now - due for due in self._due.values())])

    async def stop(self) -> None:
        """Let those on the way come to their end, then be silent."""
        end = time.monotonic() + DRAIN_S
        while self._due and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
