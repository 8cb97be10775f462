"""The record of a client: who may connect, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

REVOKED = "revoked"
"""Access key of a deleted row: ids are never used again, so the row stays as a tombstone."""


@dataclass(frozen=True)
class Client:
    """One row. Never changed in place: a change makes a new record."""

    client_id: int
    api_key: str
    """The access key: names the client, and is not a secret by itself."""
    name: str = ""
    description: str = ""
    is_admin: bool = False
    last_seen: float = -1
    """Unix time, seconds; -1 for never."""
    allowed_types: tuple[str, ...] = ()
    """Bus message types it may send; empty denies everything."""
    password: str | None = field(default=None, repr=False)
    can_broadcast: bool = True
    """Counts only together with `is_admin`."""
    can_escalate: bool = True
    can_propagate: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Open key/value space; holds pins and derived keys too."""

    @property
    def is_revoked(self) -> bool:
        """The client was deleted."""
        return self.api_key == REVOKED

    @property
    def skill_blacklist(self) -> list[str]:
        """Skills this client's utterances must not reach."""
        return _texts(self.metadata.get("skill_blacklist"))

    @property
    def intent_blacklist(self) -> list[str]:
        """Intents this client's utterances must not reach."""
        return _texts(self.metadata.get("intent_blacklist"))


CLIENT_FIELDS = tuple(item.name for item in fields(Client))


def tombstone(client_id: int) -> Client:
    """Return what a deleted row becomes."""
    return Client(client_id, REVOKED)


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
