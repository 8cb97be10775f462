"""Admission: may this message of this client reach the agent? First refusal wins, and whatever fails refuses.

The built-in policies come first and cannot be removed. A policy is any object with `review`; to add one, write a
class like those below and name it in `policy.chain` (entry point group ``hivemind.policy``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from hivemind_bus_client.denials import told
from hivemind_bus_client.message import Message

from .clients import Client

Mutation = Callable[[Message], None]
"""Changes a message that is being let through; the message is the hub's own copy."""
Subject = Message | bytes
"""What is judged: a message on its way to the agent, or binary data."""


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
    """One link of the chain; one of a plugin is called from several threads, for one message of a client at a time."""

    def review(self, message: Message, client: Client) -> Verdict:
        """Judge a message on its way to the agent."""

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        """Judge binary data."""


class MessageTypeACLPolicy:
    """Only the message types in the client's row; an empty list denies everything, for admins too."""

    def review(self, message: Message, client: Client) -> Verdict:
        if message.msg_type in client.allowed_types:
            return ALLOW
        return self._denied(message.msg_type, client)

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW if client.allowed_types else self._denied("binary", client)

    def _denied(self, msg_type: str, client: Client) -> Verdict:
        code = "acl_disallowed_type"
        return Verdict.deny(code, told(code, msg_type, client=client.client_id), msg_type=msg_type)


class DefaultSessionPolicy:
    """The session id ``default`` belongs to the device the assistant runs on; only admins may speak in it."""

    def review(self, message: Message, client: Client) -> Verdict:
        session = message.context.get("session")
        session_id = session.get("session_id") if isinstance(session, Mapping) else None
        if session_id != "default" or client.is_admin:
            return ALLOW
        code = "session_id_default_forbidden"
        return Verdict.deny(code, told(code, message.msg_type), session_id=session_id)

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW


@dataclass(frozen=True)
class _AddToSession:
    """Puts a name on a list of the message's session, if it is not there already."""

    name: str
    key: ClassVar[str]

    def __call__(self, message: Message) -> None:
        session = message.context["session"]
        present = session.get(self.key)
        # One that is no text would make OVOS ignore the whole list.
        kept = [name for name in present if isinstance(name, str)] if isinstance(present, list) else []
        session[self.key] = kept if self.name in kept else [*kept, self.name]


class AddBlacklistedSkill(_AddToSession):
    """Keeps an utterance from one skill."""

    key = "blacklisted_skills"


class AddBlacklistedIntent(_AddToSession):
    """Keeps an utterance from one intent."""

    key = "blacklisted_intents"


class OVOSAgentPolicy:
    """Hands the client's blacklisted skills and intents to OVOS inside the session."""

    def review(self, message: Message, client: Client) -> Verdict:
        if not client.skill_blacklist and not client.intent_blacklist:
            return ALLOW
        skills = map(AddBlacklistedSkill, client.skill_blacklist)
        return Verdict(mutations=(*skills, *map(AddBlacklistedIntent, client.intent_blacklist)))

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW


class DenyAllPolicy:
    """Refuses everything: the chain could not be built, and a hub without its policies lets nothing through."""

    def __init__(self, detail: str = "") -> None:
        code = "policy_chain_unavailable"
        self._verdict = Verdict.deny(code, told(code, "", detail=detail))

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


_OWN = frozenset({MessageTypeACLPolicy, DefaultSessionPolicy, OVOSAgentPolicy, DenyAllPolicy})
BUILT_IN = 2
"""How many policies every chain begins with."""


class PolicyChain:
    """The built-in policies, then the configured ones, in order."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        fixed = (
            Entry("MessageTypeACLPolicy", MessageTypeACLPolicy()),
            Entry("DefaultSessionPolicy", DefaultSessionPolicy()),
        )
        self._entries = (*fixed, *entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The policies in the order they are asked; the first `BUILT_IN` of them are in every chain."""
        return self._entries

    @property
    def names(self) -> list[str]:
        """What the policies are called, in the order they are asked."""
        return [entry.name for entry in self._entries]

    def review(self, message: Message, client: Client) -> Verdict:
        """Judge a message; the changes of those that allow it are made on the way, for the next to see.

        The verdict names the changes that were made.
        """
        return self._review(message, client)

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        """Judge binary data."""
        return self._review(data, client)

    def parted(self) -> tuple[PolicyChain, tuple[Entry, ...]]:
        """Return this package's policies that come first, which answer at once, and all from the first plugin on."""
        count = next((at for at, entry in enumerate(self._entries) if type(entry.policy) not in _OWN), None)
        if count is None:
            return self, ()
        return PolicyChain(self._entries[BUILT_IN:count]), self._entries[count:]

    def _review(self, subject: Subject, client: Client) -> Verdict:
        made: list[Mutation] = []
        for entry in self._entries:
            verdict = asked(entry, subject, client)
            if verdict is ALLOW:
                continue
            if not verdict.allowed:
                return verdict
            made.extend(verdict.mutations)
        return Verdict(mutations=tuple(made)) if made else ALLOW


def asked(entry: Entry, subject: Subject, client: Client) -> Verdict:
    """Ask one policy, and make the changes to a message that it asks for (docs/protocol.md 11.2)."""
    policy = entry.policy
    try:
        verdict = (
            policy.review_binary(subject, client) if isinstance(subject, bytes) else policy.review(subject, client)
        )
    except Exception as error:  # noqa: BLE001 - a plugin call; the refusal carries the error
        return failed(entry, "policy raised", error)
    if verdict is ALLOW:
        return verdict
    if not isinstance(verdict, Verdict):
        return failed(entry, "policy raised", TypeError("no verdict"))
    return verdict if isinstance(subject, bytes) else _changed(entry, subject, verdict)


def _changed(entry: Entry, message: Message, verdict: Verdict) -> Verdict:
    """Make the changes that a policy asks for; what it says then."""
    for mutation in verdict.mutations:
        try:
            mutation(message)
        except Exception as error:  # noqa: BLE001 - a plugin call; the refusal carries the error
            if not entry.optional:
                return failed(entry, "mutation raised", error)
    return verdict


def failed(entry: Entry, what: str, error: BaseException) -> Verdict:
    """Return what counts instead of the answer of a policy that failed: it refuses, unless it is optional."""
    if entry.optional:
        return ALLOW
    text = f"{type(error).__name__}: {error}"[:200]
    return Verdict.deny("policy_error", told("policy_error", "", detail=what), policy=entry.name, error=text)
