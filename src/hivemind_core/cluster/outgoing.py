"""What goes from one member to one stream: numbered batches of frames, kept until they arrive or are given up. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_FRAMES = 10_000
MAX_BYTES = 8 * 1024 * 1024
"""What may wait of one kind for one member; a single frame may be larger. So floods of some keep no answers back."""
BATCH_BYTES = 1024 * 1024
WRITE_BYTES = 1024 * 1024
"""So much goes to one member in one write, and at least one batch."""
UNDELIVERED_S = 35.0


@dataclass(slots=True)
class Batch:
    """Frames that travel as one entry."""

    number: int
    put_at: float
    """When the first of them was put."""
    frames: list[bytes] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    """Of each frame."""
    size: int = 0
    is_sent: bool = False
    """It may be in Redis, so it must stay as it is."""


class Outgoing:
    """What goes to one stream; `first` is the number to begin with, above all that were used before."""

    def __init__(self, first: int) -> None:
        self._kept: deque[Batch] = deque()
        self._next = first
        self._cursor = first
        self._frames: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @property
    def base(self) -> int:
        """The lowest number that may still be sent."""
        return self._kept[0].number if self._kept else self._next

    @property
    def next(self) -> int:
        """The number that the next batch gets."""
        return self._next

    @property
    def has_due(self) -> bool:
        """Something is to be written."""
        return self._cursor < self._next

    @property
    def is_waiting(self) -> bool:
        """Something was written and has not been acknowledged."""
        return self.base < self._cursor

    @property
    def is_empty(self) -> bool:
        """Nothing is kept."""
        return not self._kept

    def put(self, frame: bytes, now: float, kind: str = "") -> bool:
        """Take a frame; False where too much of its kind waits already."""
        size, waiting = len(frame), self._frames[kind]
        if waiting and (waiting >= MAX_FRAMES or self._bytes[kind] + size > MAX_BYTES):
            return False
        last = self._kept[-1] if self._kept else None
        if last is None or last.is_sent or last.size + size > BATCH_BYTES:
            last = Batch(self._next, now)
            self._kept.append(last)
            self._next += 1
        last.frames.append(frame)
        last.kinds.append(kind)
        last.size += size
        self._frames[kind] += 1
        self._bytes[kind] += size
        return True

    def due(self) -> list[Batch]:
        """Return what to write now, in order; it counts as written."""
        found: list[Batch] = []
        size = 0
        while self._cursor < self._next and size < WRITE_BYTES:
            batch = self._kept[self._cursor - self.base]
            batch.is_sent = True
            size += batch.size
            found.append(batch)
            self._cursor += 1
        return found

    def oldest(self) -> Batch | None:
        """Return the first one that has been written and not acknowledged."""
        return self._kept[0] if self.is_waiting else None

    def rewind(self, number: int = 0) -> None:
        """Write again what has this number and those above, as far as they are kept."""
        self._cursor = min(self._cursor, max(number, self.base))

    def arrived(self, number: int) -> bool:
        """Forget batches up to this number, of those that were written; tells whether there were any."""
        return bool(self._take(lambda batch: batch.number <= number and batch.is_sent))

    def give_up(self, number: int) -> list[Batch]:
        """Return batches up to this number, of those that were written; they are not sent again."""
        return self._take(lambda batch: batch.number <= number and batch.is_sent)

    def overdue(self, now: float) -> list[Batch]:
        """Return what has waited too long; it is not sent again."""
        return self._take(lambda batch: now - batch.put_at >= UNDELIVERED_S)

    def clear(self) -> list[Batch]:
        """Return all that is kept; it is not sent again."""
        return self._take(lambda batch: True)

    def _take(self, wanted: Callable[[Batch], bool]) -> list[Batch]:
        found: list[Batch] = []
        while self._kept and wanted(self._kept[0]):
            batch = self._kept.popleft()
            for frame, kind in zip(batch.frames, batch.kinds, strict=True):
                self._frames[kind] -= 1
                self._bytes[kind] -= len(frame)
            found.append(batch)
        self._cursor = max(self._cursor, self.base)
        return found
