"""Places that several share, so that none takes them from the others. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")


class Share(NamedTuple):
    """Whose part of the places something takes."""

    name: str
    """A client, say, whatever number of connections it has."""
    at: str = ""
    """The address it comes from, where others may be, too; empty where that is not limited."""


class _Counts:
    """Keys by name, and which name has most of them."""

    def __init__(self) -> None:
        self._of: dict[str, OrderedDict[str, None]] = {}
        self._with: dict[int, OrderedDict[str, None]] = {}
        """Which names have so many, for each number there is."""
        self.highest = 0

    def count(self, name: str) -> int:
        return len(self._of.get(name, ()))

    def oldest(self, name: str) -> str | None:
        return next(iter(self._of.get(name, ())), None)

    def greediest(self) -> str:
        """Return the name that has most, and has had so many for longest."""
        return next(iter(self._with[self.highest]))

    def add(self, name: str, key: str) -> None:
        own = self._of.setdefault(name, OrderedDict())
        own[key] = None
        self._moved(name, len(own) - 1, len(own))

    def remove(self, name: str, key: str) -> None:
        own = self._of[name]
        del own[key]
        if not own:
            del self._of[name]
        self._moved(name, len(own) + 1, len(own))

    def _moved(self, name: str, before: int, now: int) -> None:
        if now:
            self._with.setdefault(now, OrderedDict())[name] = None
        if before:
            del self._with[before][name]
            if not self._with[before]:
                del self._with[before]
        self.highest = now if now > self.highest or self.highest not in self._with else self.highest


class Shares(Generic[V]):
    """Values by key, each held for somebody: at most so many in all, so many in each share, and at each address.

    Where all places are taken, the share that has most makes room for one that has less; where all have one, the
    address that has most makes room for whoever has none. So everybody gets the same part, however greedy the others
    are. A change takes the same time however much is held.
    """

    def __init__(self, most: int, most_each: int, most_at: int | None = None) -> None:
        """All are at least 1; without `most_at` an address may have all places, as long as nobody else wants one."""
        self._most = most
        self._most_each = most_each
        self._most_at = most if most_at is None else most_at
        self._all: OrderedDict[str, tuple[str, Share, V]] = OrderedDict()
        self._of: dict[str, OrderedDict[str, None]] = {}
        self._shares = _Counts()
        self._addresses = _Counts()
        self._at: dict[str, _Counts] = {}
        """The shares at each address."""

    def __len__(self) -> int:
        return len(self._all)

    def get(self, key: str) -> V | None:
        """Return a value; None where nothing is held under this key."""
        held = self._all.get(key)
        return held[2] if held is not None else None

    def of(self, holder: str) -> list[V]:
        """Return what is held for somebody, the oldest first."""
        return [self._all[key][2] for key in self._of.get(holder, ())]

    def values(self) -> list[V]:
        """Return everything, the oldest first."""
        return [value for _, _, value in self._all.values()]

    def oldest(self) -> V | None:
        """Return what has been held for longest."""
        return next(iter(self._all.values()))[2] if self._all else None

    def has_room(self, holder: str, share: Share | None = None) -> bool:
        """Tell whether somebody may hold one more, at the cost of nobody who will hold as little."""
        return self._room(share or Share(holder)) is not None

    def put(self, key: str, holder: str, value: V, share: Share | None = None) -> V | None:
        """Hold a value as the newest; return the one that had to go for it, if one had.

        It counts for `share`; without one, for the holder alone. What goes is the oldest of whoever has to make room
        or, where nobody has, the oldest of the share itself; if it has none, the oldest at its address, or of all.
        Where an address has a limit, ask `has_room` first: it is not kept where the share goes without its own oldest.
        """
        self.pop(key)
        share = share or Share(holder)
        room = self._room(share)
        going = [self._given_up(share)] if room is None else room
        gone = self.pop(going[0]) if going else None
        self._all[key] = holder, share, value
        self._of.setdefault(holder, OrderedDict())[key] = None
        self._shares.add(share.name, key)
        if share.at:
            self._addresses.add(share.at, key)
            self._at.setdefault(share.at, _Counts()).add(share.name, key)
        return gone

    def _room(self, share: Share) -> list[str] | None:
        """Return the key that makes room, none where there is some; None where nobody has to make any."""
        own, there = self._shares.count(share.name), self._addresses.count(share.at)
        if own >= self._most_each:
            return None
        if there >= self._most_at:
            return _greediest_in(self._at[share.at]) if own + 1 < self._at[share.at].highest else None
        if len(self._all) < self._most:
            return []
        if own + 1 < self._shares.highest:
            return _greediest_in(self._shares)
        if not own and there + 1 < self._addresses.highest:
            return _greediest_in(self._at[self._addresses.greediest()])
        return None

    def _given_up(self, share: Share) -> str:
        crowd = self._addresses.oldest(share.at) if self._addresses.count(share.at) >= self._most_at else None
        return self._shares.oldest(share.name) or crowd or next(iter(self._all))

    def pop(self, key: str) -> V | None:
        """Hold a value no longer, and return it; None where there is none."""
        held = self._all.pop(key, None)
        if held is None:
            return None
        holder, share, value = held
        del self._of[holder][key]
        if not self._of[holder]:
            del self._of[holder]
        self._shares.remove(share.name, key)
        if share.at:
            self._addresses.remove(share.at, key)
            self._at[share.at].remove(share.name, key)
            if not self._addresses.count(share.at):
                del self._at[share.at]
        return value

    def drop(self, holder: str) -> None:
        """Hold nothing for somebody any longer."""
        for key in list(self._of.get(holder, ())):
            self.pop(key)


def _greediest_in(counts: _Counts) -> list[str]:
    oldest = counts.oldest(counts.greediest())
    return [] if oldest is None else [oldest]


__all__ = ["Share", "Shares"]
