"""PINGs: which floods were seen, who asked, and where their answers go (docs/protocol.md 13.1).

The PING that begins a flood goes to everybody; every later one is an answer and goes back to whoever asked. So a round
costs a few frames a node, where passing every answer on to everybody costs the square of their number.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum, auto

from .limits import Rations
from .shares import Share, Shares

MAX_FLOODS, MAX_FLOODS_EACH = 1000, 250
"""Floods that are remembered, and those that one client began."""
MAX_HEARD = 100_000
"""(flood, node) pairs that are remembered; then the flood that holds most of them is forgotten."""
MAX_NODES = 5000
"""Nodes that are heard in one flood."""
FLOODS_PER_S, FLOODS_AT_ONCE = 5.0, 20
"""How often one client may begin a flood."""
_DIGEST_BYTES = 12


class Heard(Enum):
    """What a PING is."""

    BEGINS = auto()
    """It begins a flood: answer it and pass it on to everybody."""
    ANSWERS = auto()
    """It answers one: pass it on to whoever began it."""
    KNOWN = auto()
    """It was heard before, or is one too many: drop it."""


@dataclass
class _Flood:
    name: str
    origin: str
    heard: set[bytes] = field(default_factory=set)


class Floods:
    """The memory of a hub. Times are monotonic seconds."""

    def __init__(self, most: int = MAX_FLOODS, most_heard: int = MAX_HEARD, most_nodes: int = MAX_NODES) -> None:
        self._most_heard = most_heard
        self._most_nodes = most_nodes
        self._floods: Shares[_Flood] = Shares(most, max(1, most * MAX_FLOODS_EACH // MAX_FLOODS))
        self._heard = 0
        self._rations: Rations[str] = Rations(FLOODS_PER_S, FLOODS_AT_ONCE)

    def hear(
        self, flood_id: str, node: str, sender: str, now: float, share: Share | None = None, *, is_rationed: bool = True
    ) -> Heard:
        """Take the PING of a node that came from a sender, and say what it is. One without a flood id is nothing.

        `share` is whose part of the memory it takes, else the sender's own; it is rationed where nobody else has done
        that before.
        """
        if not flood_id:
            return Heard.KNOWN
        name, heard = _digest(flood_id).hex(), _digest(node)
        flood = self._floods.get(name)
        if flood is None:
            share = share or Share(sender)
            if is_rationed and not self._rations.take(share.name, now):
                return Heard.KNOWN
            flood = _Flood(name, sender)
            self._forgotten(self._floods.put(name, sender, flood, share))
            self._note(flood, heard)
            return Heard.BEGINS
        if heard in flood.heard or len(flood.heard) >= self._most_nodes:
            return Heard.KNOWN
        self._note(flood, heard)
        return Heard.ANSWERS

    def origin(self, flood_id: str) -> str:
        """Return who began a flood; empty where nobody knows."""
        flood = self._floods.get(_digest(flood_id).hex())
        return flood.origin if flood is not None else ""

    def _note(self, flood: _Flood, heard: bytes) -> None:
        flood.heard.add(heard)
        self._heard += 1
        while self._heard > self._most_heard and len(self._floods) > 1:
            largest = max(self._floods.values(), key=lambda one: len(one.heard))
            self._forgotten(self._floods.pop(largest.name))

    def _forgotten(self, flood: _Flood | None) -> None:
        if flood is not None:
            self._heard -= len(flood.heard)


def _digest(text: str) -> bytes:
    """Return what stands for a name of any length."""
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
