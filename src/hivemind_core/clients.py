"""The record of a client: who may connect, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

REVOKED = "revoked"
"""Access key of a deleted row: ids are never used again, so the row stays as a tombstone."""


@dataclass(frozen=True)
class Client:
    """One row. Never changed in place: a change makes a new record."""

    client_id: int
    api_key: str = field(repr=False)
    """The access key: names the client; not a secret by itself, but nothing to log either."""
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
_FLAGS = ("is_admin", "can_broadcast", "can_escalate", "can_propagate")
_DISCARDED = frozenset({"message_blacklist"})
_NOT_METADATA = _DISCARDED.union(CLIENT_FIELDS)


def client_from_record(record: Mapping[str, Any]) -> Client:
    """Read a stored record as every store does.

    Fields nobody knows any more are kept in the metadata, where it does not have them itself. Garbage in a field
    reads as the least it could mean: no rights, no types, no password.
    """
    metadata = dict(record["metadata"]) if isinstance(record.get("metadata"), dict) else {}
    for key, value in record.items():
        if key not in _NOT_METADATA and value is not None:
            metadata.setdefault(key, value)
    last_seen, password = record.get("last_seen"), record.get("password")
    return Client(
        client_id=record["client_id"],
        api_key=str(record["api_key"]),
        name=str(record.get("name") or ""),
        description=str(record.get("description") or ""),
        last_seen=last_seen if isinstance(last_seen, (int, float)) else -1,
        allowed_types=tuple(_texts(record.get("allowed_types"))),
        password=password if isinstance(password, str) else None,
        metadata=metadata,
        **{flag: record.get(flag, flag != "is_admin") == 1 for flag in _FLAGS},
    )


def numbered(client: Client, client_id: int) -> Client:
    """Return a new record under its id; one without a name is named after it."""
    return replace(client, client_id=client_id, name=client.name or f"HiveMind-Node-{client_id - 1}")


def tombstone(client_id: int) -> Client:
    """Return what a deleted row becomes."""
    return Client(client_id, REVOKED)


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
