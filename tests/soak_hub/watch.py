"""What a hub takes, sampled: memory, descriptors; and whether this process itself stood still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from helpers.fault_scene import FaultScene

from .ledger import HubLedger

EVERY_S = 1.0
STOOD_STILL_S = 0.7
GROWN_KB = 64_000
"""What the median of the last quarter may be above that of the first: the room for one giant frame in all its forms,
which the allocator gives back or keeps."""
CREEP_KB = 6_000
"""What memory may grow by in all seconds together in which there is nothing but traffic."""
GROWN_FILES = 8


@dataclass
class Watch:
    """The samples."""

    memory_kb: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    warm: int = 0
    """How many samples are from before every fault has happened once: until then it grows to what it needs."""

    creep_kb: int = 0
    """By how much memory has grown, once warm, while there was nothing but traffic."""
    quiet_s: int = 0
    """For how many seconds that was."""

    async def follow(self, scene: FaultScene, ledger: HubLedger, is_quiet: Callable[[], bool]) -> None:
        """Sample for ever. `is_quiet` tells that memory is not taken by a fault."""
        was_quiet = False
        while True:
            began = time.monotonic()
            await asyncio.sleep(EVERY_S)
            if time.monotonic() - began > EVERY_S + STOOD_STILL_S:
                ledger.pauses.append(time.time())
            self.memory_kb.append(scene.status("VmRSS"))
            if was_quiet and is_quiet():
                self.creep_kb += self.memory_kb[-1] - self.memory_kb[-2]
                self.quiet_s += 1
            was_quiet = is_quiet()
            self.descriptors.append(scene.descriptors())

    def is_cold(self) -> None:
        """Not all that happens has happened yet."""
        self.warm = len(self.memory_kb)
        self.creep_kb = self.quiet_s = 0

    def growth_kb(self) -> int:
        """By how much memory has grown from its first quarter when warm to the last; 0 where there is too little."""
        return _growth(self.memory_kb[self.warm :])

    def verdicts(self, files_before: int, files_after: int) -> list[str]:
        """Return what must not be."""
        grown = self.growth_kb()
        found = [f"memory has grown by {grown} kB"] if grown > GROWN_KB else []
        found += [f"memory creeps: {self.creep_kb} kB"] if self.creep_kb > CREEP_KB else []
        more = files_after - files_before
        return [*found, *([f"{more} descriptors more than before"] if more > GROWN_FILES else [])]


def _growth(warm: list[int]) -> int:
    quarter = len(warm) // 4
    return round(median(warm[-quarter:]) - median(warm[:quarter])) if quarter >= 5 else 0
