"""The same answer by several ways: where hubs share one assistant, each of them hears it. Pure.

Messages have no id, and an assistant may say the same twice. So copies are counted for each way: what one way brings
for the second time was said twice, what a second way brings was said once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from hivemind_bus_client import codec
from hivemind_bus_client.message import Message

MAX_KNOWN = 4096
LATE_S = 30.0
"""How much later than the first a copy may come."""


class _Counted:
    __slots__ = ("at", "taken", "ways")

    def __init__(self, at: float) -> None:
        self.at = at
        self.taken = 0
        self.ways: dict[str, int] = {}


class Copies:
    """The answers that came lately. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, _Counted] = OrderedDict()

    def is_copy(self, message: Message, way: str, now: float) -> bool:
        """Tell whether an answer was taken from another way already, and count it."""
        key = hashlib.blake2b(
            codec.dumps_bytes([message.msg_type, message.data, message.context]), digest_size=16
        ).digest()
        counted = self._known.get(key)
        if counted is None or now - counted.at >= LATE_S:
            counted = self._known[key] = _Counted(now)
            self._known.move_to_end(key)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        number = counted.ways[way] = counted.ways.get(way, 0) + 1
        is_copy = number <= counted.taken
        counted.taken = max(counted.taken, number)
        return is_copy
