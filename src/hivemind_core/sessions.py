"""Session ids in and out, and what the hub stamps on a message's context (docs/protocol.md 3.2).

Inside the agent's bus a satellite's session id carries a namespace of its client, so that no client can speak in
another's session; on the way back the namespace is taken off again. Nothing here changes what it is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from hivemind_bus_client import codec
from hivemind_bus_client.bus_context import HIVEMIND, VERIFIED_SOURCE_KEY
from hivemind_bus_client.message import Message

from .bus_frames import problem_with
from .roles import UTTERANCES

NAMESPACE_HEX = 16
AGENT_ADDRESS = "hivemind"
"""What the agent's side of a conversation is called in ``context.destination``."""
ABOVE = "above"
"""The namespace of sessions of the hub above."""
_ADDRESSES = frozenset({"source", "destination", "peer"})
MAX_ANNOUNCED_BYTES = 64 * 1024
"""JSON of a session in a HELLO: it is kept with the connection and goes into every message."""


def namespace(node_id: str, client_id: int) -> str:
    """Return the session namespace of a client: durable over reconnects and restarts."""
    return hashlib.sha256(f"{node_id}:{client_id}".encode()).hexdigest()[:NAMESPACE_HEX]


def declared_id(context: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """Return the session id a message declares, else the one its satellite announced."""
    session = context.get("session")
    declared = session.get("session_id") if isinstance(session, Mapping) else None
    return declared if isinstance(declared, str) and declared else str(baseline.get("session_id", ""))


def merged(context: Mapping[str, Any], baseline: Mapping[str, Any], session_id: str) -> dict[str, Any]:
    """Return the session for the agent: the satellite's own, overlaid with what the message carries.

    Null reads as absent, so a thin message wipes neither language nor place; a pipeline counts only where the
    message itself names one.
    """
    session = {key: value for key, value in baseline.items() if value is not None and key != "pipeline"}
    carried = context.get("session")
    if isinstance(carried, Mapping):
        session.update({key: value for key, value in carried.items() if value is not None})
    session["session_id"] = session_id
    return session


def inbound_id(declared: str, prefix: str | None) -> str:
    """Return the id the agent sees; `prefix` is the client's namespace, None for an admin."""
    return declared if prefix is None else f"{prefix}:{declared}"


def outbound(context: dict[str, Any], prefix: str | None) -> dict[str, Any]:
    """Return the context for the satellite: its own namespace taken off its session id, all else as it was."""
    session = context.get("session")
    if prefix is None or not isinstance(session, dict):
        return context
    session_id = session.get("session_id")
    if not isinstance(session_id, str) or not session_id.startswith(prefix + ":"):
        return context
    return {**context, "session": {**session, "session_id": session_id[len(prefix) + 1 :]}}


def apart(message: Message) -> Message:
    """Return a message of somebody that this hub does not know, so that it speaks in nobody's session here.

    Nor is it addressed, or said to come from anybody: what is said to it would reach that one.
    """
    context = {key: value for key, value in message.context.items() if key not in _ADDRESSES}
    context["source"] = HIVEMIND
    session = context.get("session")
    if session is not None or message.msg_type in UTTERANCES:
        known = dict(session) if isinstance(session, Mapping) else {}
        told = known.get("session_id")
        known["session_id"] = inbound_id(told if isinstance(told, str) and told else str(uuid4()), ABOVE)
        context["session"] = known
    return Message(message.msg_type, message.data, context)


def problem_with_announced(session: dict[str, Any]) -> str | None:
    """Return why a session cannot be the baseline of a connection: it would harm the bus, or is too large."""
    problem = problem_with(Message("hello", {}, {"session": session}))
    if problem is None and len(codec.dumps_bytes(session)) > MAX_ANNOUNCED_BYTES:
        return f"the session is larger than {MAX_ANNOUNCED_BYTES} bytes"
    return problem


def stamped(
    message: Message, peer_id: str, baseline: Mapping[str, Any], prefix: str | None, author: str = ""
) -> Message:
    """Return a satellite's message as the agent sees it: whose it is, in which session (docs/protocol.md 3.2).

    `author` is the public key that its author proved to have, where it came sealed; a satellite cannot claim that.
    """
    session_id = inbound_id(declared_id(message.context, baseline), prefix)
    context = {
        **message.context,
        VERIFIED_SOURCE_KEY: author,
        "session": merged(message.context, baseline, session_id),
        "peer": peer_id,
        "source": peer_id,
        "destination": AGENT_ADDRESS,
    }
    if not author:
        del context[VERIFIED_SOURCE_KEY]
    return Message(message.msg_type, message.data, context)
