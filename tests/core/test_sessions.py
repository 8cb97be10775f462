from __future__ import annotations

import hashlib

from hivemind_bus_client.message import Message
from hivemind_core import sessions

BASELINE = {"session_id": "s1", "lang": "pt-PT", "site_id": "kitchen", "pipeline": ["hello-only"]}


def test_namespace_is_the_documented_hash() -> None:
    expected = hashlib.sha256(b"-----PEM-----:7").hexdigest()[:16]
    assert sessions.namespace("-----PEM-----", 7) == expected


def test_a_message_declares_its_session_else_the_announced_one_counts() -> None:
    assert sessions.declared_id({"session": {"session_id": "mine"}}, BASELINE) == "mine"
    for context in ({}, {"session": {}}, {"session": {"session_id": ""}}, {"session": "text"}, {"session": None}):
        assert sessions.declared_id(context, BASELINE) == "s1"


def test_a_thin_message_wipes_neither_language_nor_place() -> None:
    context = {"session": {"session_id": "mine", "lang": None}}
    assert sessions.merged(context, BASELINE, "NS:mine") == {
        "session_id": "NS:mine",
        "lang": "pt-PT",
        "site_id": "kitchen",
    }


def test_what_a_message_carries_wins_over_the_baseline() -> None:
    context = {"session": {"lang": "de-DE", "x": {"y": 1}, "pipeline": ["p"]}}
    merged = sessions.merged(context, BASELINE, "id")
    assert merged == {"session_id": "id", "lang": "de-DE", "site_id": "kitchen", "x": {"y": 1}, "pipeline": ["p"]}


def test_nothing_that_is_given_is_changed() -> None:
    baseline, context = {"session_id": "a", "lang": "x"}, {"session": {"lang": "y"}}
    sessions.merged(context, baseline, "z")
    sessions.outbound({"session": {"session_id": "NS:a"}}, "NS")
    assert baseline == {"session_id": "a", "lang": "x"}
    assert context == {"session": {"lang": "y"}}


def test_admins_keep_their_bare_session_id() -> None:
    assert sessions.inbound_id("default", None) == "default"
    assert sessions.inbound_id("default", "NS") == "NS:default"


def test_only_the_clients_own_namespace_is_taken_off() -> None:
    own, foreign = {"session": {"session_id": "NS:a:b"}}, {"session": {"session_id": "XX:a"}}
    assert sessions.outbound(own, "NS") == {"session": {"session_id": "a:b"}}
    assert sessions.outbound(foreign, "NS") is foreign
    assert sessions.outbound(own, None) is own
    for odd in ({}, {"session": 5}, {"session": {"session_id": 5}}):
        assert sessions.outbound(odd, "NS") is odd


def test_a_message_is_stamped_over_whatever_it_claims() -> None:
    claimed = Message("x", {"a": 1}, {"source": "me", "peer": "you", "destination": "him", "kept": True})
    seen = sessions.stamped(claimed, "peer-id", BASELINE, "NS")
    assert seen == Message(
        "x",
        {"a": 1},
        {
            "source": "peer-id",
            "peer": "peer-id",
            "destination": "hivemind",
            "kept": True,
            "session": {"session_id": "NS:s1", "lang": "pt-PT", "site_id": "kitchen"},
        },
    )
    assert claimed.context["source"] == "me"


def test_a_baseline_is_harmless_and_of_bounded_size() -> None:
    assert sessions.problem_with_announced({"session_id": "s", "lang": "en-US"}) is None
    assert sessions.problem_with_announced({"session_id": "s", "lang": 5}) == "session.lang is not a string"
    assert "larger than" in str(sessions.problem_with_announced({"session_id": "s", "x": "y" * 70_000}))
