"""Messages that come round to a hub by a second way, where hubs are joined in a circle.

PROPAGATE, BROADCAST and ESCALATE have no id, so copies are counted: what one connection brings for the second time was
sent twice, but what a second connection brings, having been brought by another as often before, is an echo.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from hivemind_bus_client import codec
from hivemind_bus_client.message import HiveMessage, HiveMessageType

MAX_KNOWN = 4096
MAX_WAYS = 64
ECHOING = frozenset({HiveMessageType.PROPAGATE, HiveMessageType.BROADCAST, HiveMessageType.ESCALATE})
"""The types that may have echoes; others are known by their ids."""


@dataclass
class _Seen:
    taken: int = 0
    by_way: dict[str, int] = field(default_factory=dict)


class Echoes:
    """The memory of one hub; the oldest is forgotten first."""

    def __init__(self, most: int = MAX_KNOWN) -> None:
        self._most = most
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()

    def is_echo(self, message: HiveMessage, way: str) -> bool:
        """Tell whether a message was taken before, from another connection, and count it."""
        key = _content(message, way)
        seen = self._seen.setdefault(key, _Seen())
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        if way not in seen.by_way and len(seen.by_way) >= MAX_WAYS:
            return True
        seen.by_way[way] = count = seen.by_way.get(way, 0) + 1
        if count <= seen.taken:
            return True
        seen.taken = count
        return False


def _content(message: HiveMessage, way: str) -> bytes:
    """Return what is the same in all copies of a message: all but the marks of its way."""
    route = message.route
    author = route[0]["source"] if route else way
    kept = [message.msg_type, author, message.target_site_id, message.target_public_key, message.metadata]
    inner = message.body
    kept += [inner.get(key) or None for key in ("msg_type", "payload", "metadata", "target_site_id", "target_pubkey")]
    return hashlib.blake2b(codec.dumps_bytes(kept), digest_size=16).digest()
