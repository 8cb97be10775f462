"""The mailbox of a hub (docs/protocol.md 15): what a request asks for, who may leave how much, and the replies.

Boxes and senders are named by the SHA-256 of an access key, so that no key is stored. A deposit for a key that no
client has is taken like any other: the reply must not tell which keys exist.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from hivemind_bus_client.exceptions import HiveMindException
from hivemind_bus_client.message import HiveMessage, HiveMessageType

from .mailbox_config import MAX_PAYLOAD_BYTES, Limits

MAX_TTL_S = 7 * 24 * 3600.0
MAX_TTL_DIGITS = 20
MAX_COLLECTED_BYTES = 1024 * 1024
"""What one reply to `collect` holds; always at least one message. The rest comes once these are acknowledged."""
MAX_ID_CHARS = 64
MAX_ACKNOWLEDGED = 4096
"""Ids that one `ack` may name; those beyond are passed over, and `removed` tells."""
MAX_TIME = 1e12


class Refused(NamedTuple):
    """A request that is not carried out."""

    reason: str


@dataclass(frozen=True)
class Deposit:
    """Leave a message."""

    box: str
    payload: str
    ttl_s: float = MAX_TTL_S

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return size_of(self.payload)


@dataclass(frozen=True)
class Collect:
    """Read what waits for the caller; nothing is removed."""


@dataclass(frozen=True)
class Ack:
    """Remove messages that the caller has."""

    deposit_ids: frozenset[str]


Request = Deposit | Collect | Ack | Refused


class Standing(NamedTuple):
    """What is kept already, as it matters to one deposit."""

    in_box: int = 0
    from_sender: int = 0
    sender_bytes: int = 0
    boxes: int = 0
    total_bytes: int = 0

    @property
    def boxes_before_new(self) -> int:
        """Boxes there are, where the deposit makes another; else 0."""
        return 0 if self.in_box else self.boxes


class Bound(NamedTuple):
    """What one deposit is measured by."""

    figure: str
    """Of `Standing`."""
    most: int
    reason: str
    """Why a deposit beyond is refused."""


class Kept(NamedTuple):
    """A message that waits."""

    deposit_id: str
    payload: str


def name_of(access_key: str) -> str:
    """Return the name of the box, or of the sender, that an access key stands for."""
    return hashlib.sha256(access_key.encode("utf-8", "surrogatepass")).hexdigest()


def size_of(payload: str) -> int:
    """Return the bytes of a text as UTF-8."""
    return len(payload) if payload.isascii() else len(payload.encode("utf-8", "surrogatepass"))


# --- requests ---------------------------------------------------------------------------------------------------


def parse(body: Any) -> Request:
    """Return what the payload of a RENDEZVOUS asks for, at once; `payload_problem` remains to be asked."""
    cmd = body.get("cmd") if isinstance(body, Mapping) else None
    read = _COMMANDS.get(cmd) if isinstance(cmd, str) else None
    return read(body) if read is not None else Refused("unknown_command")


def _deposit(body: Mapping[str, Any]) -> Request:
    target, payload = body.get("target_key"), body.get("payload")
    if not isinstance(target, str) or not target or payload in (None, ""):
        return Refused("missing_fields")
    if not isinstance(payload, str):
        return Refused("invalid_payload")
    ttl_s = _ttl(body.get("ttl", MAX_TTL_S))
    if ttl_s is None:
        return Refused("invalid_ttl")
    if size_of(payload) > MAX_PAYLOAD_BYTES:
        return Refused("payload_too_large")
    return Deposit(name_of(target), payload, ttl_s)


def _ttl(value: Any) -> float | None:
    """Return how long to keep a message; what is longer than the longest is cut to that. None for what is no time.

    Whole seconds may come as text, as released hubs take them.
    """
    if isinstance(value, str) and len(value) <= MAX_TTL_DIGITS and value.isdecimal():
        value = int(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(min(value, MAX_TTL_S)) if is_number and value > 0 else None


def payload_problem(payload: str) -> Refused | None:
    """Return why a text is not the JSON of an INTERCOM. Takes a millisecond or two for a long one."""
    try:
        message = HiveMessage.deserialize(payload)
    except (HiveMindException, ValueError):
        return Refused("invalid_payload")
    if message.msg_type == HiveMessageType.THIRDPRTY:  # an object that is no message at all
        return Refused("invalid_payload")
    return None if message.msg_type == HiveMessageType.INTERCOM else Refused("payload_must_be_intercom")


def _collect(body: Mapping[str, Any]) -> Request:
    return Collect()


def _ack(body: Mapping[str, Any]) -> Request:
    ids = body.get("deposit_ids")
    if not isinstance(ids, list):
        return Refused("missing_fields")
    return Ack(frozenset(found for found in ids[:MAX_ACKNOWLEDGED] if _is_id(found)))


_COMMANDS = {"deposit": _deposit, "collect": _collect, "ack": _ack}


# --- quotas -----------------------------------------------------------------------------------------------------


def bounds(deposit: Deposit, limits: Limits) -> list[Bound]:
    """Return the most that may wait already for a deposit to be taken; the first that is passed gives the reason."""
    return [
        Bound("from_sender", limits.per_sender - 1, "too_many_deposits"),
        Bound("sender_bytes", limits.sender_bytes - deposit.size, "too_many_deposits"),
        Bound("in_box", limits.per_box - 1, "mailbox_full"),
        Bound("boxes_before_new", limits.boxes - 1, "too_many_mailboxes"),
        Bound("total_bytes", limits.total_bytes - deposit.size, "mailbox_full"),
    ]


def refusal(deposit: Deposit, standing: Standing, limits: Limits) -> Refused | None:
    """Return why a deposit is not taken, beside what waits already."""
    over = (one for one in bounds(deposit, limits) if getattr(standing, one.figure) > one.most)
    return next((Refused(one.reason) for one in over), None)


# --- replies ----------------------------------------------------------------------------------------------------


def deposited(deposit_id: str) -> dict[str, Any]:
    """The reply to a deposit that was taken."""
    return {"status": "ok", "deposit_id": deposit_id}


def collected(messages: list[Kept]) -> dict[str, Any]:
    """The reply to `collect`."""
    return {"status": "ok", "messages": [message._asdict() for message in messages]}


def removed(count: int) -> dict[str, Any]:
    """The reply to `ack`."""
    return {"status": "ok", "removed": count}


def failed(reason: str) -> dict[str, Any]:
    """The reply to a request that was not carried out."""
    return {"status": "error", "reason": reason}


# --- what a released hub kept -----------------------------------------------------------------------------------


class Released(NamedTuple):
    """A message that a released hub kept."""

    box: str
    deposit_id: str
    payload: str
    expires_at: float
    """Unix time, seconds."""


def read_released(document: Any) -> tuple[list[Released], int]:
    """Return the messages in a ``rendezvous.json``, and how many entries are no messages."""
    if not isinstance(document, Mapping):
        return [], 1
    found, broken = [], 0
    for box, entries in document.items():
        for entry in entries if isinstance(entries, list) else [None]:
            message = _released(box, entry)
            if message is None:
                broken += 1
            else:
                found.append(message)
    return found, broken


def _released(box: str, entry: Any) -> Released | None:
    if not isinstance(entry, Mapping) or not _is_name(box):
        return None
    deposit_id, payload, expires_at = (entry.get(key) for key in ("deposit_id", "payload", "expires_at"))
    if not _is_id(deposit_id) or not isinstance(payload, str):
        return None
    if size_of(payload) > MAX_PAYLOAD_BYTES or payload_problem(payload) is not None:
        return None
    if not isinstance(expires_at, (int, float)) or not 0 <= expires_at < MAX_TIME:
        return None
    return Released(box, deposit_id, payload, float(expires_at))


def _is_id(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS


def _is_name(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
