"""Routing: what a message of a peer makes the hub do. One table of verbs; pure; hub.py carries the actions out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hivemind_bus_client.denials import told
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

MAX_NAME = 256
"""Characters of a session id in a HELLO."""

# --- actions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Register:
    """Enter the sender under what its HELLO announces."""

    session: dict[str, Any]
    site_id: str | None
    pubkey: str | None


@dataclass(frozen=True)
class ToAgent:
    """Offer a message to the policies and, if they allow it, to the agent."""

    message: Message


@dataclass(frozen=True)
class ToBinary:
    """Offer binary data to the policies and, if they allow it, to the binary handler."""

    data: bytes
    bin_type: int
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Deny:
    """Tell the sender that a message went nowhere, and why (docs/protocol.md 11.2). The connection stays."""

    denied_type: str
    code: str
    reason: str
    data: dict[str, Any] = field(default_factory=dict)


Action = Register | ToAgent | ToBinary | Deny
Rule = Callable[[HiveMessage], list[Action]]


def malformed(denied_type: str, why: str) -> Deny:
    """Refuse a payload whose shape is wrong."""
    return denied("malformed_payload", denied_type, why)


def denied(code: str, denied_type: str, detail: str = "") -> Deny:
    """Deny a message for one of the reasons in `refusals.DENIALS`."""
    return Deny(denied_type, code, told(code, denied_type, detail=detail))


# --- rules --------------------------------------------------------------------------------------------------


def _is_name(value: object) -> bool:
    """Tell whether this can be part of a peer id, which stands in addresses and logs."""
    return isinstance(value, str) and len(value) <= MAX_NAME and (not value or value.isprintable())


def _hello(message: HiveMessage) -> list[Action]:
    body = message.body
    session, site_id, pubkey = (body.get(key) for key in ("session", "site_id", "pubkey"))
    if session is not None and not isinstance(session, dict):
        return [malformed("hello", "session is not an object")]
    if any(value is not None and not isinstance(value, str) for value in (site_id, pubkey)):
        return [malformed("hello", "site_id or pubkey is not text")]
    kept = {key: value for key, value in (session or {}).items() if value is not None}
    if not _is_name(kept.get("session_id", "")):
        return [malformed("hello", f"session_id is not printable text of at most {MAX_NAME} characters")]
    if site_id:
        kept["site_id"] = site_id
    return [Register(kept, site_id or None, pubkey or None)]


def bus_message(body: dict[str, Any]) -> Message | str:
    """Return the bus message in a payload, or what is wrong with it."""
    msg_type, data, context = body.get("type"), body.get("data"), body.get("context")
    if not isinstance(msg_type, str) or not msg_type:
        return "type is not text"
    if not isinstance(data, dict | None):
        return "data is not an object"
    if not isinstance(context, dict | None):
        return "context is not an object"
    return Message(msg_type, data or {}, context or {})


def is_bus_message(body: object) -> bool:
    """Tell whether a payload is a bus message."""
    return isinstance(body, dict) and not isinstance(bus_message(body), str)


def addressees(context: Mapping[str, Any]) -> set[str]:
    """Return whom a message of the agent's bus is for."""
    destination = context.get("destination")
    if isinstance(destination, str):
        return {destination}
    return {item for item in destination if isinstance(item, str)} if isinstance(destination, list) else set()


def _bus(message: HiveMessage) -> list[Action]:
    inner = bus_message(message.body)
    return [malformed("bus", inner) if isinstance(inner, str) else ToAgent(inner)]


def _binary(message: HiveMessage) -> list[Action]:
    return [ToBinary(message.body, int(message.bin_type), message.metadata)]


def _nothing(message: HiveMessage) -> list[Action]:
    return []


RULES: dict[str, Rule] = {
    HiveMessageType.HELLO: _hello,
    HiveMessageType.BUS: _bus,
    HiveMessageType.BINARY: _binary,
    HiveMessageType.SHARED_BUS: _nothing,
    HiveMessageType.PING: _nothing,
}


def route(message: HiveMessage) -> list[Action]:
    """Return what the hub does with a message from a client."""
    rule = RULES.get(message.msg_type)
    if rule is not None:
        return rule(message)
    kind = str(getattr(message.msg_type, "value", message.msg_type))
    return [denied("unsupported_type", kind)]
