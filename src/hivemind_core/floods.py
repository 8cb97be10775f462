"""PINGs: which floods were seen, who asked, and where their answers go (docs/protocol.md 13.1).

The PING that begins a flood goes to everybody; every later one is an answer and goes back to whoever asked. So a round
costs a few frames a node, where passing every answer on to everybody costs the square of their number.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum, auto

from .fairness import Ration

MAX_FLOODS = 1000
MAX_HEARD = 100_000
"""(flood, node) pairs that are remembered; then the oldest floods are forgotten."""
FLOODS_PER_S, FLOODS_AT_ONCE = 5.0, 20
"""How often one connection may begin a flood."""


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
    origin: str
    heard: set[str] = field(default_factory=set)


class Floods:
    """The memory of a hub. Times are monotonic seconds."""

    def __init__(self, most: int = MAX_FLOODS, most_heard: int = MAX_HEARD) -> None:
        self._most = most
        self._most_heard = most_heard
        self._floods: OrderedDict[str, _Flood] = OrderedDict()
        self._heard = 0
        self._rations: dict[str, Ration] = {}

    def hear(self, flood_id: str, node: str, sender: str, now: float) -> Heard:
        """Take the PING of a node that came from a sender, and say what it is. One without a flood id is nothing."""
        if not flood_id:
            return Heard.KNOWN
        flood = self._floods.get(flood_id)
        if flood is None:
            if not self._may_begin(sender, now):
                return Heard.KNOWN
            self._floods[flood_id] = flood = _Flood(sender)
            self._note(flood, node)
            return Heard.BEGINS
        if node in flood.heard:
            return Heard.KNOWN
        self._note(flood, node)
        return Heard.ANSWERS

    def origin(self, flood_id: str) -> str:
        """Return who began a flood; empty where nobody knows."""
        flood = self._floods.get(flood_id)
        return flood.origin if flood is not None else ""

    def gone(self, peer_id: str) -> None:
        """Forget what only concerns a connection that ended."""
        self._rations.pop(peer_id, None)

    def _may_begin(self, sender: str, now: float) -> bool:
        if sender not in self._rations:
            self._rations[sender] = Ration(FLOODS_PER_S, FLOODS_AT_ONCE, now)
        return self._rations[sender].take(now)

    def _note(self, flood: _Flood, node: str) -> None:
        flood.heard.add(node)
        self._heard += 1
        while len(self._floods) > 1 and (len(self._floods) > self._most or self._heard > self._most_heard):
            _, oldest = self._floods.popitem(last=False)
            self._heard -= len(oldest.heard)
