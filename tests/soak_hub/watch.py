"""What a hub takes, sampled: memory, descriptors; and whether this process itself stood still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from helpers.fault_scene import FaultScene
from helpers.flatness import Sample, kb_per_thousand

from .ledger import HubLedger

EVERY_S = 1.0
STOOD_STILL_S = 0.7
GROWN_KB = 64_000
"""What the median of the last quarter may be above that of the first: the room for one giant frame in all its forms,
which the allocator gives back or keeps."""
CREEP_KB = 6_000
"""What memory may grow by in all seconds together in which there is nothing but traffic."""
GROWN_FILES = 8
KB_PER_THOUSAND = 20.0
"""What memory may grow by with every thousand messages while nothing is done to the hub: twenty bytes for each."""
KEPT_BLOCKS, REMEMBERED_BLOCKS = 0.1, 40_000
"""What a message may leave behind of what Python allocates, since a leak of small objects may fill gaps for long;
besides what a hub remembers within bounds, as the last 4,096 messages that travelled, to know their echoes."""
ENOUGH_SAMPLES = 60
"""So many seconds of nothing but traffic there are at least: in fewer, the allocator's ups and downs count for more."""
INTERVALS = 20
"""How many samples a report tells of."""


@dataclass
class Watch:
    """The samples."""

    memory_kb: list[int] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    """How many had been sent at each sample."""
    descriptors: list[int] = field(default_factory=list)
    warm: int = 0
    """How many samples are from before every fault has happened once: until then it grows to what it needs."""

    creep_kb: int = 0
    """By how much memory has grown, once warm, while there was nothing but traffic."""
    quiet_s: int = 0
    """For how many seconds that was."""
    alone_from: int | None = None
    """From which sample on there is nothing but traffic to the end; None: not so long as to judge by it."""
    blocks: list[int] = field(default_factory=list)
    """How many blocks of memory the hub's Python held when that began, and at its end."""
    _alone_to: int | None = None

    async def follow(self, scene: FaultScene, ledger: HubLedger, is_quiet: Callable[[], bool]) -> None:
        """Sample for ever. `is_quiet` tells that memory is not taken by a fault."""
        was_quiet = False
        while True:
            began = time.monotonic()
            await asyncio.sleep(EVERY_S)
            if time.monotonic() - began > EVERY_S + STOOD_STILL_S:
                ledger.pauses.append(time.time())
            self.memory_kb.append(scene.status("VmRSS"))
            self.messages.append(len(ledger.sent))
            if was_quiet and is_quiet():
                self.creep_kb += self.memory_kb[-1] - self.memory_kb[-2]
                self.quiet_s += 1
            was_quiet = is_quiet()
            self.descriptors.append(scene.descriptors())

    def is_cold(self) -> None:
        """Not all that happens has happened yet."""
        self.warm = len(self.memory_kb)
        self.creep_kb = self.quiet_s = 0

    def is_alone(self, blocks: int) -> None:
        """Nothing will be done to the hub any more."""
        self.alone_from = len(self.memory_kb)
        self.blocks.append(blocks)

    def ends(self, blocks: int) -> None:
        """The traffic ends, too."""
        self._alone_to = len(self.memory_kb)
        self.blocks.append(blocks)

    def intervals(self) -> list[dict[str, int]]:
        """Return what memory was after how many messages, at so many times of the run."""
        step = max(1, len(self.messages) // INTERVALS)
        both = list(zip(self.messages, self.memory_kb, strict=True))
        return [{"messages": messages, "kb": kb} for messages, kb in [*both[::step], *both[-1:]]]

    def alone(self) -> list[Sample]:
        """Return the samples from when there was nothing but traffic."""
        if self.alone_from is None:
            return []
        own = slice(self.alone_from, self._alone_to)
        return list(zip(self.messages[own], self.memory_kb[own], strict=True))

    def slope(self) -> float:
        """By how many kB memory grew with every thousand messages while there was nothing but traffic."""
        return round(kb_per_thousand(self.alone()), 2)

    def kept_blocks(self) -> float:
        """How many blocks a message left behind while there was nothing but traffic, besides what is remembered."""
        alone = self.alone()
        more = max(0, self.blocks[-1] - self.blocks[0] - REMEMBERED_BLOCKS) if len(alone) > 1 else 0
        return round(more / (alone[-1][0] - alone[0][0]), 4) if more else 0.0

    def growth_kb(self) -> int:
        """By how much memory has grown from its first quarter when warm to the last; 0 where there is too little."""
        return _growth(self.memory_kb[self.warm :])

    def verdicts(self, files_before: int, files_after: int) -> list[str]:
        """Return what must not be."""
        grown = self.growth_kb()
        found = [f"memory has grown by {grown} kB"] if grown > GROWN_KB else []
        found += [f"memory creeps: {self.creep_kb} kB"] if self.creep_kb > CREEP_KB else []
        if self.slope() > KB_PER_THOUSAND:
            found.append(f"memory grows by {self.slope()} kB with every thousand messages")
        if self.kept_blocks() > KEPT_BLOCKS:
            found.append(f"each message leaves {self.kept_blocks()} objects behind")
        more = files_after - files_before
        return [*found, *([f"{more} descriptors more than before"] if more > GROWN_FILES else [])]


def _growth(warm: list[int]) -> int:
    quarter = len(warm) // 4
    return round(median(warm[-quarter:]) - median(warm[:quarter])) if quarter >= 5 else 0
