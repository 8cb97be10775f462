"""Which floods were seen: a memory of ids that any thread may use (docs/protocol.md 13.1)."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, MutableSet

MAX_FLOODS = 1_000


class FloodIdCache(MutableSet[str]):
    """A set of ids that forgets the oldest beyond ``max_size``. ``cache[id]`` is when it was added (Unix time)."""

    def __init__(self, max_size: int = MAX_FLOODS) -> None:
        self.max_size = max_size
        self._lock = threading.Lock()
        self._added: OrderedDict[str, float] = OrderedDict()

    def check(self, flood_id: str, max_size: int | None = None) -> bool:
        """Tell whether an id was seen before, and note it; of two threads only one is told that it is new.

        An empty id counts as seen. ``max_size`` is another bound for this call.
        """
        if not flood_id:
            return True
        with self._lock:
            if flood_id in self._added:
                return True
            self._note(flood_id, self.max_size if max_size is None else max_size)
        return False

    def _note(self, flood_id: str, max_size: int) -> None:
        while self._added and len(self._added) >= max(max_size, 1):
            self._added.popitem(last=False)
        self._added[flood_id] = time.time()

    def add(self, value: str) -> None:
        """Note an id; one that is there keeps its age."""
        self.check(value)

    def discard(self, value: str) -> None:
        """Forget an id, if it is there."""
        with self._lock:
            self._added.pop(value, None)

    def clear(self) -> None:
        """Forget all ids."""
        with self._lock:
            self._added.clear()

    def __getitem__(self, flood_id: str) -> float:
        return self._added[flood_id]

    def __contains__(self, flood_id: object) -> bool:
        return flood_id in self._added

    def __len__(self) -> int:
        return len(self._added)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._added))

    def __eq__(self, other: object) -> bool:
        """Equal to a set, or a mapping, of the same ids."""
        return set(self) == set(other) if isinstance(other, Mapping) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    def __repr__(self) -> str:
        return f"FloodIdCache({len(self)} of at most {self.max_size})"
