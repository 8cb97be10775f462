"""What a change of a client's rights is, as a line of the audit log: before and after, never a secret. What concerns
all clients, or the identity of a cluster, is an event: a line with details in their place.

Secrets are told as ``set``, ``changed`` or null; keys of devices, which are public, as their fingerprints; of what else
is in the metadata, the names of the keys that changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

from .clients import Client

FINGERPRINT_DIGITS = 16
SET, CHANGED = "set", "changed"
COMMAND, HUB, ELSEWHERE = "command", "hub", "elsewhere"
MIGRATION = "migrate-db"
SECRETS = ("access_key", "password", "crypto_key")
_HUB_KEYS = ("noise_psk", "noise_psk_for", "previous_noise_psk", "previous_noise_psk_for", "previous_password_used")
"""Keys of the metadata that the hub derives or counts: no rights."""
_TOLD = (
    *("skill_blacklist", "intent_blacklist", "noise_pubkey", "intercom_pubkey", "crypto_key", "allow_weak_password"),
    *("previous_password", "previous_password_until", "previous_allow_weak_password"),
)
"""Those that stand among the rights, under names of their own."""
_OF_HUB = {
    "device_key": "pin-device-key",
    "intercom_key": "pin-intercom-key",
    "previous_password_until": "end-grace",
}
"""What the hub itself does, by what is different then."""
Document = dict[str, Any]


class Author(NamedTuple):
    """Who changes something."""

    source: str
    """``command``; ``hub``; ``elsewhere``, where a hub has only noticed it."""
    user: str | None = None
    """The account that ran the command."""
    action: str | None = None
    """The command; None: as the change shows."""


def entry(author: Author, before: Client | None, after: Client | None, now: float) -> Document | None:
    """Return the line for a change at a time (Unix time); None where no right changed.

    `before` is None for a new client, `after` for one that was deleted.
    """
    row = after or before
    if row is None:
        return None
    old, new = _rights(before), _rights(after)
    if before is not None and after is not None:
        _mark_changed(before, after, new)
        different = [key for key in new if old.get(key) != new[key]]
        old, new = {key: old.get(key) for key in different}, {key: new[key] for key in different}
    metadata = sorted(_other(before).items() ^ _other(after).items())
    if before is not None and after is not None and not (new or metadata):
        return None
    return {
        **_begun(author, author.action or _named(before, after, new), now),
        "client_id": row.client_id,
        "name": row.name,
        "before": None if before is None else old,
        "after": None if after is None else new,
        "metadata": list(dict.fromkeys(key for key, _ in metadata)),
    }


def event(author: Author, details: Mapping[str, Any], now: float) -> Document:
    """Return the line for what is no change of one client; the author names the action."""
    of_no_client: Document = {"client_id": None, "name": None, "before": None, "after": None, "metadata": []}
    return {**_begun(author, author.action or "", now), **of_no_client, "details": dict(details)}


def _begun(author: Author, action: str, now: float) -> Document:
    time = datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="milliseconds")
    return {"time": time, "source": author.source, "user": author.user, "action": action}


def when(line: Mapping[str, Any]) -> float:
    """Return the time of a line (Unix time); 0 where it has none."""
    try:
        return datetime.fromisoformat(str(line.get("time"))).timestamp()
    except ValueError:
        return 0.0


def untold(line: Document, lines: Iterable[Mapping[str, Any]]) -> Document | None:
    """Return what of a change that was noticed stands in none of these lines, which others wrote; None for nothing."""
    others = [other for other in lines if other.get("source") != ELSEWHERE]
    of_it = [other for other in others if other.get("client_id") == line["client_id"] and "details" not in other]
    before, after = line["before"], line["after"]
    if after is None:
        return None if any(other.get("after") is None for other in of_it) else line
    if before is None and any(other.get("action") == MIGRATION for other in others):
        return None
    new = {key: value for key, value in after.items() if not _is_told(key, value, of_it)}
    named = {key for other in of_it for key in other.get("metadata") or ()}
    metadata = [key for key in line["metadata"] if key not in named]
    if not (new or metadata):
        return None
    if before is None:
        return line
    old = {key: before.get(key) for key in new}
    return {**line, "action": _change(new), "before": old, "after": new, "metadata": metadata}


def _is_told(key: str, value: Any, lines: Iterable[Mapping[str, Any]]) -> bool:
    told = [after for line in lines if isinstance(after := line.get("after"), dict)]
    return any(key in after and after[key] == value for after in told)


def _named(before: Client | None, after: Client | None, new: Document) -> str:
    if before is None or after is None:
        return "add-client" if before is None else "delete-client"
    return _change(new)


def _change(new: Document) -> str:
    return next((name for key, name in _OF_HUB.items() if key in new), "change")


def _rights(row: Client | None) -> Document:
    if row is None:
        return {}
    metadata = row.metadata
    return {
        "name": row.name,
        "is_admin": row.is_admin,
        "can_escalate": row.can_escalate,
        "can_propagate": row.can_propagate,
        "can_broadcast": row.can_broadcast,
        "allowed_types": list(row.allowed_types),
        "skill_blacklist": list(row.skill_blacklist),
        "intent_blacklist": list(row.intent_blacklist),
        **{name: SET if value else None for name, value in _secrets(row).items()},
        "device_key": _fingerprint(metadata.get("noise_pubkey")),
        "intercom_key": _fingerprint(metadata.get("intercom_pubkey")),
        "allow_weak_password": metadata.get("allow_weak_password") is True,
        "previous_password_until": metadata.get("previous_password_until"),
    }


def _secrets(row: Client) -> Mapping[str, Any]:
    return dict(zip(SECRETS, (row.api_key, row.password, row.metadata.get("crypto_key")), strict=True))


def _mark_changed(before: Client, after: Client, new: Document) -> None:
    """Tell secrets apart that were set and are set, to something else."""
    old, now = _secrets(before), _secrets(after)
    for name in SECRETS:
        if old[name] and now[name] and old[name] != now[name]:
            new[name] = CHANGED


def _fingerprint(key: object) -> str | None:
    return hashlib.sha256(key.encode()).hexdigest()[:FINGERPRINT_DIGITS] if isinstance(key, str) and key else None


def _other(row: Client | None) -> dict[str, str]:
    """Return what belongs to nobody here, each value so that it can be compared."""
    metadata = {} if row is None else row.metadata
    return {key: repr(value) for key, value in metadata.items() if key not in _HUB_KEYS and key not in _TOLD}


def summary(line: Mapping[str, Any]) -> str:
    """Return in words what a line says that changed."""
    details = line.get("details")
    if isinstance(details, dict):
        return ", ".join(f"{key}: {_text(value)}" for key, value in details.items())
    before, after = line.get("before"), line.get("after")
    if not isinstance(before, dict) or not isinstance(after, dict):
        return "added" if isinstance(after, dict) else "deleted"
    said = [_said(key, before.get(key), value) for key, value in after.items()]
    metadata = line.get("metadata")
    if isinstance(metadata, list) and metadata:
        said.append(f"metadata: {' '.join(map(str, metadata))}")
    return ", ".join(said)


def _said(key: str, old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        changes = [*(f"+{item}" for item in new if item not in old), *(f"-{item}" for item in old if item not in new)]
        return f"{key}: {' '.join(changes)}"
    return f"{key}: {_text(old)} → {_text(new)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
