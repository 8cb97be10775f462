"""Admission: may this message of this client reach the agent? First refusal wins, and whatever fails refuses.

The built-in policies come first and cannot be removed. A policy is any object with `review`; to add one, write a
class like those below and name it in `policy.chain` (entry point group ``hivemind.policy``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hivemind_bus_client.message import Message

from .clients import Client

Mutation = Callable[[Message], None]
"""Changes a message that is being let through; the message is the hub's own copy."""


@dataclass(frozen=True)
class Verdict:
    """What a policy says of a message. An allowing verdict may carry changes to make."""

    allowed: bool = True
    code: str = ""
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    mutations: tuple[Mutation, ...] = ()

    @classmethod
    def deny(cls, code: str, reason: str, **data: Any) -> Verdict:
        """Refuse, with a stable code, a sentence for a person, and data for a program."""
        return cls(False, code, reason, data)


ALLOW = Verdict()


class Policy(Protocol):
    """One link of the chain."""

    def review(self, message: Message, client: Client) -> Verdict:
        """Judge a message on its way to the agent."""

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        """Judge binary data."""


class MessageTypeACLPolicy:
    """Only the message types in the client's row; an empty list denies everything, for admins too."""

    def review(self, message: Message, client: Client) -> Verdict:
        if message.msg_type in client.allowed_types:
            return ALLOW
        who = client.client_id
        return Verdict.deny(
            "acl_disallowed_type",
            f"The hub does not let this client send '{message.msg_type}'."
            f" On the hub run `hivemind-core allow-msg {message.msg_type} {who}`.",
            msg_type=message.msg_type,
        )

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        if client.allowed_types:
            return ALLOW
        return Verdict.deny(
            "acl_disallowed_type",
            "The hub lets this client send nothing."
            f" On the hub run `hivemind-core allow-msg recognizer_loop:utterance {client.client_id}`.",
            msg_type="binary",
        )


class DefaultSessionPolicy:
    """The session id ``default`` belongs to the device the assistant runs on; only admins may speak in it."""

    def review(self, message: Message, client: Client) -> Verdict:
        session = message.context.get("session")
        session_id = session.get("session_id") if isinstance(session, Mapping) else None
        if session_id != "default" or client.is_admin:
            return ALLOW
        return Verdict.deny(
            "session_id_default_forbidden",
            "The session id 'default' is reserved for the hub's own device.",
            session_id=session_id,
        )

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW


class OVOSAgentPolicy:
    """Hands the client's blacklisted skills and intents to OVOS inside the session."""

    def review(self, message: Message, client: Client) -> Verdict:
        mutations = tuple(
            _blacklisting(key, values)
            for key, values in (
                ("blacklisted_skills", client.skill_blacklist),
                ("blacklisted_intents", client.intent_blacklist),
            )
            if values
        )
        return Verdict(mutations=mutations) if mutations else ALLOW

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW


def _blacklisting(key: str, values: Sequence[str]) -> Mutation:
    def apply(message: Message) -> None:
        session = message.context["session"]
        present = session.get(key)
        kept = list(present) if isinstance(present, list) else []
        session[key] = kept + [value for value in values if value not in kept]

    return apply


class DenyAllPolicy:
    """Refuses everything: the chain could not be built, and a hub without its policies lets nothing through."""

    def __init__(self, reason: str = "The hub is set to refuse everything.") -> None:
        self._verdict = Verdict.deny("policy_chain_unavailable", reason)

    def review(self, message: Message, client: Client) -> Verdict:
        return self._verdict

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return self._verdict


BUILTIN_POLICIES: dict[str, Callable[[], Policy]] = {
    "hivemind-message-type-acl-policy": MessageTypeACLPolicy,
    "hivemind-ovos-agent-policy": OVOSAgentPolicy,
    "hivemind-deny-all-policy": DenyAllPolicy,
}


@dataclass(frozen=True)
class Entry:
    """A policy of the chain."""

    name: str
    policy: Policy
    optional: bool = False
    """One that fails is passed over instead of refusing."""


class PolicyChain:
    """The built-in policies, then the configured ones, in order."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        fixed = (
            Entry("MessageTypeACLPolicy", MessageTypeACLPolicy()),
            Entry("DefaultSessionPolicy", DefaultSessionPolicy()),
        )
        self._entries = (*fixed, *entries)

    @property
    def names(self) -> list[str]:
        """The policies in the order they are asked."""
        return [entry.name for entry in self._entries]

    def review(self, message: Message, client: Client) -> Verdict:
        """Judge a message; the changes of those that allow it are made on the way, for the next to see."""
        for entry in self._entries:
            verdict = _ask(entry, lambda policy: policy.review(message, client))
            if not verdict.allowed:
                return verdict
            for mutation in verdict.mutations:
                failed = _apply(entry, mutation, message)
                if failed is not None:
                    return failed
        return ALLOW

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        """Judge binary data."""
        for entry in self._entries:
            verdict = _ask(entry, lambda policy: policy.review_binary(data, client))
            if not verdict.allowed:
                return verdict
        return ALLOW


def _ask(entry: Entry, review: Callable[[Policy], Any]) -> Verdict:
    """Call a policy; one that raises, or answers with something else, refuses (docs/protocol.md 11.2)."""
    try:
        verdict = review(entry.policy)
    except Exception as error:  # noqa: BLE001 - a plugin call; the refusal carries the error
        return ALLOW if entry.optional else _failed(entry, "policy raised", error)
    if isinstance(verdict, Verdict):
        return verdict
    return ALLOW if entry.optional else _failed(entry, "policy raised", TypeError("no verdict"))


def _apply(entry: Entry, mutation: Mutation, message: Message) -> Verdict | None:
    try:
        mutation(message)
    except Exception as error:  # noqa: BLE001 - a plugin call; the refusal carries the error
        return None if entry.optional else _failed(entry, "mutation raised", error)
    return None


def _failed(entry: Entry, what: str, error: Exception) -> Verdict:
    return Verdict.deny("policy_error", what, policy=entry.name, error=f"{type(error).__name__}: {error}"[:200])
