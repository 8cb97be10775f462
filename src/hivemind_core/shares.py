"""Places that several holders share, so that none takes them from the others. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Shares(Generic[V]):
    """Values by key, each held for somebody: at most so many in all, and so many for each holder.

    Where all places are taken, who holds most makes room for who holds less. So everybody gets the same part, however
    greedy the others are. A change takes the same time however much is held.
    """

    def __init__(self, most: int, most_each: int) -> None:
        """Both are at least 1."""
        self._most = most
        self._most_each = most_each
        self._all: OrderedDict[str, tuple[str, V]] = OrderedDict()
        self._of: dict[str, OrderedDict[str, V]] = {}
        self._with: dict[int, OrderedDict[str, None]] = {}
        """Who holds so many, for each number there is."""
        self._highest = 0

    def __len__(self) -> int:
        return len(self._all)

    def get(self, key: str) -> V | None:
        """Return a value; None where nothing is held under this key."""
        held = self._all.get(key)
        return held[1] if held is not None else None

    def of(self, holder: str) -> list[V]:
        """Return what is held for somebody, the oldest first."""
        return list(self._of.get(holder, {}).values())

    def values(self) -> list[V]:
        """Return everything, the oldest first."""
        return [value for _, value in self._all.values()]

    def oldest(self) -> V | None:
        """Return what has been held for longest."""
        return next(iter(self._all.values()))[1] if self._all else None

    def has_room(self, holder: str) -> bool:
        """Tell whether somebody may hold one more, at the cost of nobody who will hold as little."""
        own = len(self._of.get(holder, ()))
        return own < self._most_each and (len(self._all) < self._most or own + 1 < self._highest)

    def put(self, key: str, holder: str, value: V) -> V | None:
        """Hold a value as the newest; return the one that had to go for it, if one had.

        That is the oldest of whoever holds most or, without room for this holder, the holder's own; if it has none,
        the oldest of all.
        """
        self.pop(key)
        gone = self._make_room(holder)
        self._all[key] = holder, value
        own = self._of.setdefault(holder, OrderedDict())
        own[key] = value
        self._moved(holder, len(own) - 1, len(own))
        return gone

    def _make_room(self, holder: str) -> V | None:
        if not self.has_room(holder):
            return self.pop(next(iter(self._of.get(holder) or self._all)))
        if len(self._all) < self._most:
            return None
        return self.pop(next(iter(self._of[next(iter(self._with[self._highest]))])))

    def pop(self, key: str) -> V | None:
        """Hold a value no longer, and return it; None where there is none."""
        held = self._all.pop(key, None)
        if held is None:
            return None
        holder, value = held
        own = self._of[holder]
        del own[key]
        if not own:
            del self._of[holder]
        self._moved(holder, len(own) + 1, len(own))
        return value

    def drop(self, holder: str) -> None:
        """Hold nothing for somebody any longer."""
        for key in list(self._of.get(holder, ())):
            self.pop(key)

    def _moved(self, holder: str, before: int, now: int) -> None:
        if now:
            self._with.setdefault(now, OrderedDict())[holder] = None
        if before:
            del self._with[before][holder]
            if not self._with[before]:
                del self._with[before]
        self._highest = now if now > self._highest or self._highest not in self._with else self._highest


__all__ = ["Shares"]
