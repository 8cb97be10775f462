"""How long the event loop of a process was kept: the reading end of `probe/sitecustomize.py`."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

PROBE = Path(__file__).parent / "probe"
_PLACES = struct.Struct("<4d")


@dataclass(frozen=True)
class LoopKept:
    """What was seen since the last reset."""

    late_ms: float
    """How late a timer was at most: by work of the loop, or because the machine gave the processor to others."""
    busy_ms: float
    """Processor time that the loop took at most without looking at its timers."""
    over_10_ms: int
    """How often a timer was later than 10 ms."""


class LoopWatch:
    """A file that a process and whoever measures it share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reset()

    @property
    def environ(self) -> dict[str, str]:
        """What the process needs to have in its environment."""
        return {"HIVEMIND_BENCH_LOOP": str(self._path), "PYTHONPATH": str(PROBE)}

    def reset(self) -> None:
        """Begin anew."""
        mode = "r+b" if self._path.exists() else "wb"
        with self._path.open(mode) as file:
            file.write(bytes(_PLACES.size))

    def read(self) -> LoopKept:
        """What was seen since the last reset."""
        late, busy, _, times = _PLACES.unpack(self._path.read_bytes())
        return LoopKept(late * 1000, busy * 1000, int(times))
