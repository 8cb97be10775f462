"""Which satellite is at which hub of the cluster. Pure.

A satellite that connects anew may for a while be known at two hubs; whoever took it in last has it. All hubs decide
that by the same time, that of Redis, so all come to the same end in whichever order they hear of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MAX_ELSEWHERE = 1_000_000
"""Satellites of other hubs that are remembered."""
CHUNK = 1000
"""Satellites named in one frame."""

Claim = tuple[int, str]
"""Since when (Unix milliseconds by the clock of Redis), and at which hub; the greater one counts."""


class Presence:
    """What one hub knows. `me` is its own id."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._claims: dict[str, Claim] = {}
        self._at: dict[str, set[str]] = {me: set()}
        self._unnamed: dict[str, set[str]] = {}
        """Satellites that a hub had, while it names all it has; those that it leaves out have left."""
        self._arrived: dict[str, float] = {}
        """When each satellite of this hub came, by its own clock (seconds)."""
        self._last_arrival = float("-inf")

    def __len__(self) -> int:
        return len(self._claims)

    @property
    def number_here(self) -> int:
        """How many satellites this hub has."""
        return len(self._at[self._me])

    def where(self, peer_id: str) -> str:
        """Return the other hub that has a satellite; empty where none has."""
        claim = self._claims.get(peer_id)
        return claim[1] if claim is not None and claim[1] != self._me else ""

    def newest(self, peer_id: str, now_ms: int) -> int:
        """Return since when a satellite is at the hub that takes it in now, whatever the clocks say."""
        claim = self._claims.get(peer_id)
        return now_ms if claim is None else max(now_ms, claim[0] + 1)

    def here(self, hub: str, peers: Iterable[tuple[str, int]]) -> list[str]:
        """Note the satellites at a hub, each with since when; return those of this hub that it has lost to it."""
        lost, unnamed = [], self._unnamed.get(hub, set())
        for peer_id, since_ms in peers:
            unnamed.discard(peer_id)
            known = self._claims.get(peer_id)
            if known is None and len(self._claims) >= MAX_ELSEWHERE and hub != self._me:
                continue
            if known is not None and known[1] != hub and known >= (since_ms, hub):
                continue
            if known is not None and known[1] != hub:
                self._at[known[1]].discard(peer_id)
                if known[1] == self._me:
                    lost.append(peer_id)
                    self._arrived.pop(peer_id, None)
            self._claims[peer_id] = (since_ms, hub)
            self._at.setdefault(hub, set()).add(peer_id)
        return lost

    def left(self, hub: str, peer_ids: Iterable[str]) -> None:
        """Note that satellites have left a hub."""
        for peer_id in peer_ids:
            claim = self._claims.get(peer_id)
            if claim is not None and claim[1] == hub:
                del self._claims[peer_id]
                self._at[hub].discard(peer_id)
                if hub == self._me:
                    self._arrived.pop(peer_id, None)

    def forget(self, hub: str) -> None:
        """Forget what was known of another hub: it is gone."""
        self.left(hub, self._at.get(hub, set()).copy())
        self._at.pop(hub, None)
        self._unnamed.pop(hub, None)

    def begin_naming(self, hub: str) -> None:
        """Another hub begins to name all its satellites."""
        self._unnamed[hub] = self._at.get(hub, set()).copy()

    def end_naming(self, hub: str) -> None:
        """It has named them all."""
        self.left(hub, self._unnamed.pop(hub, set()))

    def arrived(self, peer_id: str, now: float) -> None:
        """Note when a satellite came to this hub, by its own clock (seconds); it may have been here all the while."""
        if peer_id not in self._arrived:
            self._arrived[peer_id] = self._last_arrival = now

    def came_after(self, then: float) -> frozenset[str]:
        """Return the satellites of this hub that came after a time, by its own clock.

        What was sent to all before they came reached them where they were, or is not for them.
        """
        if self._last_arrival <= then:
            return frozenset()
        return frozenset(peer_id for peer_id in self._at[self._me] if self._arrived.get(peer_id, then) > then)

    def came_later(self, peer_id: str, then: float) -> bool:
        """Tell whether a satellite of this hub came after a time, by its own clock."""
        return self._arrived.get(peer_id, then) > then

    def own(self) -> Iterator[list[tuple[str, int]]]:
        """Yield the satellites of this hub with since when, in chunks; at least one, which may be empty."""
        mine = [(peer_id, self._claims[peer_id][0]) for peer_id in sorted(self._at[self._me])]
        for start in range(0, max(1, len(mine)), CHUNK):
            yield mine[start : start + CHUNK]
