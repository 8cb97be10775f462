"""Messages that come round to a hub by a second way, where hubs are joined in a circle.

PROPAGATE, BROADCAST and ESCALATE have no id, so copies are counted: what one connection brings for the second time was
sent twice, but what a second connection brings soon after another is an echo. What a satellite says itself never is.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from dataclasses import dataclass

from hivemind_bus_client import codec
from hivemind_bus_client.message import HiveMessage, HiveMessageType

from .actions import AGENT, PARENT
from .shares import Share, Shares

MAX_KNOWN, MAX_KNOWN_EACH = 4096, 1024
"""Messages that are remembered, and those that one client brought first."""
MAX_WAYS = 64
MAX_TAKEN = 64
"""How often the same message is remembered."""
ECHO_S = 30.0
"""How much later than a message its echo may come."""
MAX_GONE = 1024
_NAMELESS = frozenset({AGENT, PARENT})
"""What these send may have no route, wherever it comes from."""
ECHOING = frozenset({HiveMessageType.PROPAGATE, HiveMessageType.BROADCAST, HiveMessageType.ESCALATE})
"""The types that may have echoes; others are known by their ids."""


@dataclass
class _Taken:
    """A message that was taken once, and the ways on which it came."""

    at: float
    ways: set[str]


class Echoes:
    """The memory of one hub; who brings most is forgotten first. Times are monotonic seconds."""

    def __init__(self, most: int = MAX_KNOWN, most_each: int = MAX_KNOWN_EACH) -> None:
        self._seen: Shares[deque[_Taken]] = Shares(most, most_each)
        self._gone: OrderedDict[str, None] = OrderedDict()

    def is_echo(self, message: HiveMessage, way: str, now: float, share: Share | None = None) -> bool:
        """Tell whether a message was taken before, from another connection, and note it in a share, else the way's."""
        self._gone.pop(way, None)
        route = message.route
        is_own = not route and way not in _NAMELESS
        author = route[0]["source"] if route else way if is_own else ""
        taken = self._taken(_content(message, author), way, now, share)
        before = None if is_own else next((one for one in taken if way not in one.ways and self._is_live(one)), None)
        if before is None:
            taken.append(_Taken(now, {way}))
            return False
        if len(before.ways) < MAX_WAYS:
            before.ways.add(way)
        return True

    def _taken(self, key: str, way: str, now: float, share: Share | None) -> deque[_Taken]:
        """Return the copies of a message whose echoes may still come."""
        taken = self._seen.get(key)
        if taken is None:
            taken = deque(maxlen=MAX_TAKEN)
            self._seen.put(key, way, taken, share)
        while taken and now - taken[0].at >= ECHO_S:
            taken.popleft()
        return taken

    def _is_live(self, taken: _Taken) -> bool:
        """A connection that ended is made anew under another name, and what it brings then is no echo."""
        return any(way not in self._gone for way in taken.ways)

    def gone(self, way: str) -> None:
        """Note that a connection ended."""
        self._gone[way] = None
        if len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)


def _content(message: HiveMessage, author: object) -> str:
    """Return what is the same in all copies of a message: all but the marks of its way."""
    kept = [message.msg_type, author, message.target_site_id, message.target_public_key, message.metadata]
    inner = message.body
    kept += [inner.get(key) or None for key in ("msg_type", "payload", "metadata", "target_site_id", "target_pubkey")]
    return hashlib.blake2b(codec.dumps_bytes(kept), digest_size=16).hexdigest()
