"""The conversation a satellite takes part in, and the encrypted session it takes place in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

UNKNOWN_SITE = "unknown"


@dataclass
class Session:
    """The conversation this satellite takes part in, as HELLO announces it (docs/protocol.md 3.4)."""

    session_id: str
    site_id: str = UNKNOWN_SITE

    def serialize(self) -> dict[str, Any]:
        """Return the session as it is sent."""
        return {"session_id": self.session_id, "site_id": self.site_id}


@dataclass(frozen=True)
class NoiseSession:
    """The v3 session in use."""

    pattern: str
    remote_static_key: bytes
    """The hub's Noise public key."""


def own_session_id(bus: Any) -> str:
    """The session of the bus given; a fresh one if it has none of its own, so that no two satellites share
    it.
    """
    found = getattr(bus, "session_id", None)
    return found if isinstance(found, str) and found not in ("", "default") else str(uuid4())
