"""Routing: what a message makes the hub do, by its verb and by where it comes from (docs/protocol.md 11-15).

One table, one function; pure; `hub` and `mesh` carry the actions out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from hivemind_bus_client import codec
from hivemind_bus_client.message import ROUTED_TYPES, HiveMessage, HiveMessageType, Message

from . import hops
from .actions import (
    PARENT,
    Action,
    Answer,
    Ask,
    Deny,
    Flood,
    Here,
    Kick,
    Mail,
    Origin,
    Register,
    Relay,
    Shared,
    ToAgent,
    ToBinary,
    Unseal,
    denied,
    malformed,
)
from .clients import Client

MAX_NAME = 256
"""Characters of a session id in a HELLO, and of the id of a query or a flood."""
MAX_KEY = 2048
"""Characters of a public key (PEM), and so of the name of a node; a key of 8192 bits has 1,500."""

Rule = Callable[[HiveMessage, Origin, Here], list[Action]]
Right = Callable[[Client], bool]


# --- a satellite's own messages -----------------------------------------------------------------------------


def _is_name(value: object) -> bool:
    """Tell whether this can be part of a peer id, which stands in addresses and logs."""
    return isinstance(value, str) and len(value) <= MAX_NAME and (not value or value.isprintable())


def _hello(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    body = message.body
    session, site_id, pubkey = (body.get(key) for key in ("session", "site_id", "pubkey"))
    if session is not None and not isinstance(session, dict):
        return [malformed("hello", "session is not an object")]
    if any(value is not None and not isinstance(value, str) for value in (site_id, pubkey)):
        return [malformed("hello", "site_id or pubkey is not text")]
    if len(pubkey or "") > MAX_KEY:
        return [malformed("hello", f"pubkey has more than {MAX_KEY} characters")]
    kept = {key: value for key, value in (session or {}).items() if value is not None}
    if not _is_name(kept.get("session_id", "")):
        return [malformed("hello", f"session_id is not printable text of at most {MAX_NAME} characters")]
    if site_id:
        kept["site_id"] = site_id
    return [Register(kept, site_id or None, pubkey or None)]


def bus_message(body: Any) -> Message | str:
    """Return the bus message in a payload, or what is wrong with it."""
    if not isinstance(body, dict):
        return "it is not an object"
    msg_type, data, context = body.get("type"), body.get("data"), body.get("context")
    if not isinstance(msg_type, str) or not msg_type:
        return "type is not text"
    if not isinstance(data, dict | None):
        return "data is not an object"
    if not isinstance(context, dict | None):
        return "context is not an object"
    return Message(msg_type, data or {}, context or {})


def addressees(context: Mapping[str, Any]) -> set[str]:
    """Return whom a message of the agent's bus is for."""
    destination = context.get("destination")
    if isinstance(destination, str):
        return {destination}
    return {item for item in destination if isinstance(item, str)} if isinstance(destination, list) else set()


def _bus(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    inner = bus_message(message.body)
    return [malformed("bus", inner) if isinstance(inner, str) else ToAgent(inner)]


def _shared(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    inner = bus_message(message.body)
    return [malformed("shared_bus", inner) if isinstance(inner, str) else Shared(inner)]


def _binary(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    return [ToBinary(message.body, int(message.bin_type), message.metadata)]


def _mail(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    return [Mail(message.body)]


def _nothing(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    return []


# --- messages that travel -----------------------------------------------------------------------------------


class _Problem(Exception):
    """The message inside is none."""


def _inner(message: HiveMessage) -> HiveMessage:
    """Return the message inside, all of it checked: it is going to others, or to the agent."""
    try:
        inner: HiveMessage = message.payload
    except (KeyError, TypeError, ValueError) as error:
        raise _Problem(str(error)) from None
    if inner.msg_type in (HiveMessageType.BUS, HiveMessageType.SHARED_BUS):
        problem = bus_message(inner.body)
        if isinstance(problem, str):
            raise _Problem(problem)
    elif inner.msg_type in ROUTED_TYPES:
        _inner(inner)
    return inner


def problem_inside(message: HiveMessage) -> str | None:
    """Return what is wrong with what a message carries that travels; None for a whole one."""
    try:
        _inner(message)
    except _Problem as problem:
        return str(problem)
    return None


def _for_site(message: HiveMessage, inner: HiveMessage, here: Here) -> Iterator[Action]:
    """Yield what brings a bus message to the agent of the site that it is for."""
    is_here = bool(here.site_id) and message.target_site_id == here.site_id
    if is_here and inner.msg_type == HiveMessageType.BUS:
        yield ToAgent(own_copy(inner), _verb(message))


def own_copy(inner: HiveMessage) -> Message:
    """Return the bus message inside a BUS message, apart from what is passed on: policies may change it."""
    found = bus_message(codec.loads(codec.dumps_bytes(inner.body)))  # ten times as fast as copy.deepcopy
    assert isinstance(found, Message)
    return found


def _verb(message: HiveMessage) -> str:
    return str(getattr(message.msg_type, "value", message.msg_type))


def _then(inner: HiveMessage, route: hops.Route, relays: list[Relay], here: Iterator[Action]) -> list[Action]:
    """Return what happens here, and the relays; of a sealed message only if it is not for this hub (14.3)."""
    if inner.msg_type == HiveMessageType.INTERCOM:
        return [Unseal(inner, _sources(route), tuple(relays))]
    return [*here, *relays]


def _sources(route: hops.Route) -> tuple[str, ...]:
    return tuple(hop["source"] for hop in route if isinstance(hop["source"], str))


def _propagate(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    inner, from_above = _inner(message), sender.id == PARENT
    route = hops.arrived(message, sender.hop)
    onward = hops.rewrapped(message, inner, hops.left(route, inner, here.node_id), here.node_id)
    if inner.msg_type == HiveMessageType.PING:
        return [Flood(inner.body, onward, not message.route)]
    relays = [] if hops.is_over(route, here.node_id) else [Relay(onward, down=True, up=not from_above)]
    return _then(inner, route, relays, _for_site(message, inner, here))


def _escalate(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    inner, route = _inner(message), hops.arrived(message, sender.hop)
    onward = hops.rewrapped(message, inner, hops.left(route, inner, here.node_id), here.node_id)
    relays = [] if hops.is_over(route, here.node_id) else [Relay(onward, up=True)]
    return _then(inner, route, relays, _for_site(message, inner, here))


def _broadcast(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    """Send it to everybody below: it gets no hop of this hub, and goes no way but down, so it cannot loop."""
    inner = _inner(message)
    route, onward = message.route, message
    if sender.id != PARENT:
        route = hops.arrived(message, sender.hop)
        onward = hops.rewrapped(message, inner, route, here.node_id)
    return _then(inner, route, [Relay(onward, down=True)], _for_site(message, inner, here))


def _ask(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    """Take a QUERY or a CASCADE: a question, or an answer to one. Only a CASCADE gets this hub's own hop."""
    inner = _inner(message)
    asked = message.metadata.get("query_id")
    if asked is not None and not (_is_name(asked) and asked):
        return [malformed(_verb(message), f"query_id is not printable text of at most {MAX_NAME} characters")]
    if message.metadata.get("is_response"):
        return [Answer(message)] if asked else []
    route = message.route if sender.id == PARENT else hops.arrived(message, sender.hop)
    kind = HiveMessageType(message.msg_type)
    passed_on = hops.left(route, inner, here.node_id) if kind == HiveMessageType.CASCADE else route
    onward = hops.rewrapped(message, inner, passed_on, here.node_id)
    return [Ask(kind, inner, onward, hops.is_over(route, here.node_id))]


def _intercom(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    return [Unseal(message, _sources(message.route))]


# --- the table ----------------------------------------------------------------------------------------------


class Verb(NamedTuple):
    """What a verb does when it comes from a client, which needs a right for it, and from the hub above."""

    from_client: Rule
    from_parent: Rule = _nothing
    needs: Right | None = None


def _may_escalate(client: Client) -> bool:
    return client.can_escalate


def _may_propagate(client: Client) -> bool:
    return client.can_propagate


def _may_broadcast(client: Client) -> bool:
    return client.is_admin and client.can_broadcast


RULES: dict[str, Verb] = {
    HiveMessageType.HELLO: Verb(_hello),
    HiveMessageType.BUS: Verb(_bus, _bus),
    HiveMessageType.SHARED_BUS: Verb(_shared),
    HiveMessageType.BINARY: Verb(_binary),
    HiveMessageType.ESCALATE: Verb(_escalate, needs=_may_escalate),
    HiveMessageType.PROPAGATE: Verb(_propagate, _propagate, _may_propagate),
    HiveMessageType.BROADCAST: Verb(_broadcast, _broadcast, _may_broadcast),
    HiveMessageType.QUERY: Verb(_ask, _ask, _may_escalate),
    HiveMessageType.CASCADE: Verb(_ask, _ask, _may_propagate),
    HiveMessageType.INTERCOM: Verb(_intercom, _intercom),
    HiveMessageType.PING: Verb(_nothing),
    HiveMessageType.RENDEZVOUS: Verb(_mail),
}


def route(message: HiveMessage, sender: Origin, here: Here) -> list[Action]:
    """Return what the hub does with a message."""
    verb = RULES.get(message.msg_type)
    if verb is None:
        return [denied("unsupported_type", _verb(message))]
    try:
        if sender.client is None:
            return verb.from_parent(message, sender, here)
        if verb.needs is not None and not verb.needs(sender.client):
            _inner(message)
            return [Kick(_verb(message))]
        return verb.from_client(message, sender, here)
    except _Problem as problem:
        return [malformed(_verb(message), str(problem))]


__all__ = ["RULES", "Deny", "Verb", "addressees", "bus_message", "own_copy", "route"]
