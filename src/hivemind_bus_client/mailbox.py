"""Messages for nodes that are not connected now: left at the hub, sealed, and fetched later (docs/protocol.md 15).

`leave` and `fetch`, and their asyncio twins, are all that a program needs; the rest are the single requests, which any
client sends with `wait_for_response`. A reply does not say what it answers: ask one thing at a time on a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, NamedTuple

from .exceptions import HiveMindException
from .message import HiveMessage, HiveMessageType

TIMEOUT_S = 10.0
"""How long the hub's reply is waited for."""

REASONS = {
    "not_a_rendezvous_node": "This hub keeps no messages: its owner has not enabled `rendezvous`.",
    "no_client_identity": "The hub does not know who asks.",
    "unknown_command": "The hub does not know this request.",
    "missing_fields": "The request lacks a field, or one is of the wrong kind.",
    "invalid_payload": "What is to be kept is no message.",
    "payload_must_be_intercom": "Only sealed messages (INTERCOM) are kept.",
    "invalid_ttl": "The time to keep a message must be more than 0 seconds.",
    "payload_too_large": "The sealed message is longer than 256 KiB.",
    "mailbox_full": "Too much waits there already; try again when some of it has been fetched.",
    "too_many_deposits": "Too many of your own messages wait at this hub; try again when some have been fetched.",
    "too_many_mailboxes": "The hub keeps messages for as many clients as it can.",
    "mailbox_error": "The hub could not do it now; its log says why. Try again later.",
    "no_reply": "The hub did not answer in time.",
}
"""Why a request was not carried out -> a sentence for people."""


class MailboxError(HiveMindException):
    """A request was not carried out; `reason` is one of `REASONS`, or a word of the hub's own."""

    def __init__(self, reason: str) -> None:
        super().__init__(REASONS.get(reason, f"The hub refused: {reason[:100]!r}."))
        self.reason = reason


class Letter(NamedTuple):
    """A message that waited."""

    deposit_id: str
    """What it is acknowledged by."""
    message: HiveMessage | None
    """The INTERCOM; None for what is none, which is to be acknowledged, too, or it comes again and again."""


# --- requests ---------------------------------------------------------------------------------------------------


def deposit(target_key: str, letter: HiveMessage, ttl_s: float | None = None) -> HiveMessage:
    """Return the request to keep an INTERCOM for the client that has this access key at the hub.

    It is kept for `ttl_s` seconds, by default and at most for 7 days.
    """
    body: dict[str, Any] = {"cmd": "deposit", "target_key": target_key, "payload": letter.serialize()}
    return HiveMessage(HiveMessageType.RENDEZVOUS, body if ttl_s is None else {**body, "ttl": ttl_s})


def collect() -> HiveMessage:
    """Return the request for what waits, the oldest first; it goes on waiting until it is acknowledged."""
    return HiveMessage(HiveMessageType.RENDEZVOUS, {"cmd": "collect"})


def ack(deposit_ids: Iterable[str]) -> HiveMessage:
    """Return the request to keep these no longer."""
    return HiveMessage(HiveMessageType.RENDEZVOUS, {"cmd": "ack", "deposit_ids": list(deposit_ids)})


# --- replies ----------------------------------------------------------------------------------------------------


def read(reply: HiveMessage | None) -> dict[str, Any]:
    """Return the payload of a reply. Raises MailboxError where the request was not carried out, or for None."""
    body = reply.body if reply is not None else {"reason": "no_reply"}
    if body.get("status") != "ok":
        raise MailboxError(str(body.get("reason")))
    return dict(body)


def deposit_id(reply: HiveMessage | None) -> str:
    """Return the id under which a message is kept. Raises MailboxError."""
    return str(read(reply).get("deposit_id"))


def letters(reply: HiveMessage | None) -> list[Letter]:
    """Return the messages in the reply to `collect`. Raises MailboxError."""
    entries = read(reply).get("messages")
    return [_letter(entry) for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def removed(reply: HiveMessage | None) -> int:
    """Return how many were acknowledged for the first time. Raises MailboxError."""
    count = read(reply).get("removed")
    return count if isinstance(count, int) else 0


def _letter(entry: dict[str, Any]) -> Letter:
    payload = entry.get("payload")
    try:
        found = HiveMessage.deserialize(payload) if isinstance(payload, str) else None
    except (HiveMindException, ValueError):
        found = None
    sealed = found is not None and found.msg_type == HiveMessageType.INTERCOM
    return Letter(str(entry.get("deposit_id")), found if sealed else None)


# --- for programs -----------------------------------------------------------------------------------------------


def leave(
    client: Any,
    target_key: str,
    public_key: str,
    message: Any,
    ttl_s: float | None = None,
    *,
    timeout: float = TIMEOUT_S,
) -> str:
    """Leave a message for the client with this access key, sealed for its public key (PEM); return the deposit's id.

    `message` is a bus message, or a HiveMessage; it is signed by this node. Raises MailboxError, EncryptionKeyError,
    NotConnected.
    """
    request = deposit(target_key, _sealed(client, public_key, message), ttl_s)
    return deposit_id(client.wait_for_response(request, timeout=timeout))


def fetch(client: Any, *, timeout: float = TIMEOUT_S) -> Iterator[HiveMessage]:
    """Yield what waits for this node: INTERCOMs, for `client.protocol.handle_intercom` to open and deliver.

    They are acknowledged some at a time, once the caller has come back for the next; a loop that is left early gets
    the last few again. Raises MailboxError, NotConnected.
    """
    while batch := letters(client.wait_for_response(collect(), timeout=timeout)):
        yield from (letter.message for letter in batch if letter.message is not None)
        if not removed(client.wait_for_response(_ack_of(batch), timeout=timeout)):
            return


async def leave_async(
    client: Any,
    target_key: str,
    public_key: str,
    message: Any,
    ttl_s: float | None = None,
    *,
    timeout: float = TIMEOUT_S,
) -> str:
    """`leave` by a client for asyncio."""
    letter = await asyncio.to_thread(_sealed, client, public_key, message)
    request = deposit(target_key, letter, ttl_s)
    return deposit_id(await client.wait_for_response(request, timeout=timeout))


async def fetch_async(client: Any, *, timeout: float = TIMEOUT_S) -> AsyncIterator[HiveMessage]:
    """`fetch` by a client for asyncio."""
    while batch := letters(await client.wait_for_response(collect(), timeout=timeout)):
        for letter in batch:
            if letter.message is not None:
                yield letter.message
        if not removed(await client.wait_for_response(_ack_of(batch), timeout=timeout)):
            return


def _sealed(client: Any, public_key: str, message: Any) -> HiveMessage:
    from .sealing import sealed_for

    found: HiveMessage = sealed_for(public_key, message, client.identity).payload
    return found


def _ack_of(batch: list[Letter]) -> HiveMessage:
    return ack(letter.deposit_id for letter in batch)
