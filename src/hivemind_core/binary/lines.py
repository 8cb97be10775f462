"""What waits for the handler: a line for each satellite, bounded, so that none takes from the others, and no client
takes more by having many satellites.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
W = TypeVar("W")


@dataclass(frozen=True)
class Limits:
    """How much of a handler's work is done at once, and how much may wait."""

    threads: int = 4
    """Calls at a time, of all satellites together; of one satellite it is always one."""
    waiting: int = 200
    """Calls that may wait for one satellite."""
    waiting_bytes: int = 16 * 1024 * 1024
    """Bytes that may wait for all satellites of one client."""
    all_bytes: int = 64 * 1024 * 1024
    """Bytes that may wait for all satellites together."""


class Taken(Enum):
    """What became of work that was to wait."""

    YES = "yes"
    PARTLY = "partly"
    """Parts of a stream were dropped, for the first time since there was no line; later ones say YES."""
    NO = "no"


@dataclass
class _Line(Generic[W]):
    client: Hashable
    waiting: deque[tuple[W, int, bool]] = field(default_factory=deque)
    size: int = 0
    dropping: bool = False
    """Parts were dropped, and that was said."""


class Lines(Generic[K, W]):
    """The lines, by satellite."""

    def __init__(self, limits: Limits, client_of: Callable[[K], Hashable] = lambda key: key) -> None:
        """`client_of` says whose a satellite is."""
        self._limits = limits
        self._client_of = client_of
        self._lines: dict[K, _Line[W]] = {}
        self._of_client: dict[Hashable, int] = {}
        """Bytes, where there are any."""
        self._size = 0

    def put(self, key: K, work: W, size: int, *, is_stream: bool = False) -> Taken:
        """Let work wait; `size` in bytes. A part of a stream takes the place of older ones when there is no room."""
        line = self._lines.setdefault(key, _Line(self._client_of(key)))
        if not line.waiting:
            line.dropping = False
        dropped = False
        while not self._has_room(line, size):
            dropped = True
            if not (is_stream and self._drop_oldest(line)):
                break
        else:
            line.waiting.append((work, size, is_stream))
            self._grow(line, size)
        if not line.waiting:
            del self._lines[key]
        if not dropped or (is_stream and line.dropping):
            return Taken.YES
        line.dropping = is_stream
        return Taken.PARTLY if is_stream else Taken.NO

    def take(self, key: K) -> W | None:
        """Return what has waited longest in a line, and None from an empty one."""
        line = self._lines.get(key)
        if line is None or not line.waiting:
            return None
        work, size, _ = line.waiting.popleft()
        self._grow(line, -size)
        if not line.waiting:
            del self._lines[key]
        return work

    def forget(self, key: K) -> None:
        """Drop a line."""
        line = self._lines.pop(key, None)
        if line is not None:
            self._grow(line, -line.size)

    def _has_room(self, line: _Line[W], size: int) -> bool:
        limits = self._limits
        return (
            len(line.waiting) < limits.waiting
            and self._of_client.get(line.client, 0) + size <= limits.waiting_bytes
            and self._size + size <= limits.all_bytes
        )

    def _drop_oldest(self, line: _Line[W]) -> bool:
        for index, (_, size, is_stream) in enumerate(line.waiting):
            if is_stream:
                del line.waiting[index]
                self._grow(line, -size)
                return True
        return False

    def _grow(self, line: _Line[W], size: int) -> None:
        line.size += size
        self._size += size
        of_client = self._of_client.pop(line.client, 0) + size
        if of_client:
            self._of_client[line.client] = of_client
