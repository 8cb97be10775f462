"""What a satellite says of itself in PINGs (docs/protocol.md 13.1): in answer to a flood, and ahead of what it
propagates, so that the nodes that trust its key know whose message comes next (docs/protocol.md 12.2).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import uuid4

from .message import HiveMessage, HiveMessageType

NAMELESS = "satellite"
ANNOUNCED_FOR_S = 300.0
"""How long an announcement counts; others forget a node after twice that."""


@dataclass(frozen=True)
class Presence:
    """Who this node is."""

    name: str
    session_id: str
    site_id: str | None
    public_key: str
    lang: str | None = None

    @property
    def label(self) -> str:
        """What it is called on maps of the mesh."""
        return f"{self.name or NAMELESS}::{self.session_id}"

    def ping(self, flood_id: str, wall: float) -> HiveMessage:
        """Return what shows it in a flood at a time (Unix time)."""
        body = {
            "flood_id": flood_id,
            "peer": self.label,
            "site_id": self.site_id,
            "timestamp": wall,
            "public_key": self.public_key,
            "lang": self.lang,
        }
        return HiveMessage(HiveMessageType.PROPAGATE, HiveMessage(HiveMessageType.PING, body))


def flood_id(payload: object) -> str:
    """Return the flood that the payload of a PING belongs to; empty if it names none."""
    found = payload.get("flood_id") if isinstance(payload, dict) else None
    return found if isinstance(found, str) else ""


class Announcements:
    """When this node has last shown itself to everybody, in a flood of its own."""

    def __init__(self) -> None:
        self._until = 0.0

    def forget(self) -> None:
        """Note a new session, on which nobody knows this node yet."""
        self._until = 0.0

    def ahead_of(self, message: HiveMessage, presence: Presence) -> HiveMessage | None:
        """Return the PING to send now, ahead of a message; None where none is needed, or there is no key to show."""
        inner = message.body
        carries_bus = isinstance(inner, dict) and inner.get("msg_type") == HiveMessageType.BUS
        if message.msg_type != HiveMessageType.PROPAGATE or not carries_bus or not presence.public_key:
            return None
        if time.monotonic() < self._until:
            return None
        self._until = time.monotonic() + ANNOUNCED_FOR_S
        return presence.ping(str(uuid4()), time.time())
