from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.message import Message
from hivemind_core.clients import Client
from hivemind_core.policy import (
    ALLOW,
    DenyAllPolicy,
    Entry,
    OVOSAgentPolicy,
    PolicyChain,
    Verdict,
)

CLIENT = Client(3, "key", "sat", allowed_types=("hello", "other"))


class Raises:
    def review(self, message: Message, client: Client) -> Verdict:
        raise RuntimeError("boom")

    review_binary = review


class SaysNothing:
    def review(self, message: Message, client: Client) -> Verdict:
        return None  # type: ignore[return-value]

    review_binary = review


class BadMutation:
    def review(self, message: Message, client: Client) -> Verdict:
        return Verdict(mutations=(lambda message: message.context["missing"],))

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW


class Rewrites:
    """Changes the message, so that a later policy can see it."""

    def review(self, message: Message, client: Client) -> Verdict:
        return Verdict(mutations=(lambda message: message.data.update(seen=True),))

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW


class WantsSeen:
    def review(self, message: Message, client: Client) -> Verdict:
        return ALLOW if message.data.get("seen") else Verdict.deny("unseen", "not seen")

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW


def message(msg_type: str = "hello", session_id: str = "ns:s") -> Message:
    return Message(msg_type, {}, {"session": {"session_id": session_id}})


def test_only_listed_types_pass() -> None:
    chain = PolicyChain()
    assert chain.review(message(), CLIENT).allowed
    refused = chain.review(message("nope"), CLIENT)
    assert refused.code == "acl_disallowed_type"
    assert dict(refused.data) == {"msg_type": "nope"}
    assert "hivemind-core allow-msg nope 3" in refused.reason


def test_an_empty_list_denies_everything_for_admins_too() -> None:
    client = Client(1, "key", is_admin=True)
    assert not PolicyChain().review(message(), client).allowed
    assert PolicyChain().review_binary(b"x", client).code == "acl_disallowed_type"
    assert PolicyChain().review_binary(b"x", CLIENT).allowed


def test_the_default_session_is_for_admins() -> None:
    refused = PolicyChain().review(message(session_id="default"), CLIENT)
    assert refused.code == "session_id_default_forbidden"
    admin = Client(1, "key", is_admin=True, allowed_types=("hello",))
    assert PolicyChain().review(message(session_id="default"), admin).allowed


def test_blacklists_reach_the_session_without_losing_what_it_has() -> None:
    client = Client(
        1, "k", allowed_types=("hello",), metadata={"skill_blacklist": ["a", "b"], "intent_blacklist": ["i"]}
    )
    reviewed = message()
    reviewed.context["session"]["blacklisted_skills"] = ["b", "c"]
    chain = PolicyChain([Entry("ovos", OVOSAgentPolicy())])
    verdict = chain.review(reviewed, client)
    assert verdict.allowed
    assert [type(change).__name__ for change in verdict.mutations] == [
        *["AddBlacklistedSkill"] * 2,
        "AddBlacklistedIntent",
    ]
    assert reviewed.context["session"]["blacklisted_skills"] == ["b", "c", "a"]
    assert reviewed.context["session"]["blacklisted_intents"] == ["i"]


@pytest.mark.parametrize("present", [[5], [None], [[]], [{}], {}, "x", 5, None])
def test_no_list_of_a_satellite_keeps_the_blacklist_out(present: Any) -> None:
    """The newest OVOS ignores a whole list for one entry that is no text."""
    reviewed = message()
    reviewed.context["session"]["blacklisted_skills"] = present
    client = Client(1, "k", allowed_types=("hello",), metadata={"skill_blacklist": ["a"]})
    assert PolicyChain([Entry("ovos", OVOSAgentPolicy())]).review(reviewed, client).allowed
    assert reviewed.context["session"]["blacklisted_skills"] == ["a"]


def test_a_later_policy_sees_what_an_earlier_one_changed() -> None:
    assert not PolicyChain([Entry("w", WantsSeen())]).review(message(), CLIENT).allowed
    assert PolicyChain([Entry("r", Rewrites()), Entry("w", WantsSeen())]).review(message(), CLIENT).allowed


@pytest.mark.parametrize("policy", [Raises(), SaysNothing(), BadMutation()])
def test_a_policy_that_fails_refuses_unless_it_is_optional(policy: Raises) -> None:
    refused = PolicyChain([Entry("bad", policy)]).review(message(), CLIENT)
    assert refused.code == "policy_error"
    assert refused.data["policy"] == "bad"
    assert PolicyChain([Entry("bad", policy, optional=True)]).review(message(), CLIENT).allowed


def test_a_failing_policy_refuses_binary_data_too() -> None:
    assert PolicyChain([Entry("bad", Raises())]).review_binary(b"x", CLIENT).code == "policy_error"


def test_deny_all_refuses_everything() -> None:
    chain = PolicyChain([Entry("DenyAll", DenyAllPolicy("broken"))])
    assert chain.review(message(), CLIENT).code == "policy_chain_unavailable"
    assert "broken" in chain.review_binary(b"x", CLIENT).reason


def test_the_built_in_policies_come_first() -> None:
    chain = PolicyChain([Entry("mine", Rewrites())])
    assert chain.names == ["MessageTypeACLPolicy", "DefaultSessionPolicy", "mine"]
