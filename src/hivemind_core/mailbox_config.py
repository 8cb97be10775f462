"""The block `rendezvous` of server.json: whether this hub keeps messages for its clients, and how many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .config_values import Values, is_whole

BLOCK = "rendezvous"
MAX_PAYLOAD_BYTES = 256 * 1024
MAX_BOXES = 4096
SENDER_SHARE = 16
"""One sender gets a sixteenth of the room that there is."""


@dataclass(frozen=True)
class Limits:
    """How much is kept."""

    per_box: int = 256
    """Messages that wait for one recipient."""
    per_sender: int = 128
    """Messages that wait from one sender: fewer than fill a box, so that nobody fills one alone."""
    total_bytes: int = 256 * 1024 * 1024
    """Bytes of all messages together."""
    boxes: int = MAX_BOXES
    """Recipients that something waits for."""

    @property
    def sender_bytes(self) -> int:
        """Bytes that wait from one sender."""
        return max(self.total_bytes // SENDER_SHARE, MAX_PAYLOAD_BYTES)


DEFAULTS = {
    "enabled": False,
    "max_pending_per_mailbox": Limits.per_box,
    "max_pending_per_sender": Limits.per_sender,
    "max_mailboxes": Limits.boxes,
    "max_bytes": Limits.total_bytes,
}
MOST_PENDING = 100_000
MOST_BYTES = 1 << 40


@dataclass(frozen=True)
class MailboxConfig:
    """What the block says."""

    enabled: bool = False
    limits: Limits = field(default_factory=Limits)


def read(values: Values) -> MailboxConfig:
    """Return what the block says; what is wrong in it counts only where it is enabled. Raises ConfigError."""
    block = values.get((BLOCK,), "an object", lambda value: isinstance(value, dict) or value is False, {})
    if not block or not values.flag(BLOCK, "enabled"):
        return MailboxConfig()
    return MailboxConfig(
        enabled=True,
        limits=Limits(
            per_box=_whole(values, "max_pending_per_mailbox", 1, MOST_PENDING),
            per_sender=_whole(values, "max_pending_per_sender", 1, MOST_PENDING),
            total_bytes=_whole(values, "max_bytes", MAX_PAYLOAD_BYTES, MOST_BYTES),
            boxes=_whole(values, "max_mailboxes", 1, MAX_BOXES),
        ),
    )


def _whole(values: Values, key: str, least: int, most: int) -> int:
    def fits(value: Any) -> bool:
        return is_whole(value, most) and value >= least

    return int(values.get((BLOCK, key), f"a whole number from {least} to {most}", fits, DEFAULTS[key]))
