from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.agent_bus import eventually
from hivemind_bus_client.message import Message
from hivemind_core.agents.builtin import HOW_TO_ATTACH, BuiltinAgent, answer

NOW = datetime(2026, 11, 21, 14, 5)
NOTHING = "No assistant is attached to this hub, so I cannot answer that."
CONTEXT = {
    "source": "kitchen::1",
    "destination": "hivemind",
    "session": {"session_id": "a:b", "site_id": "kitchen"},
}


def nobody() -> list[str]:
    return []


def say(utterance: str, lang: str = "en-us", peers: tuple[str, ...] = ()) -> str:
    return answer(utterance, lang, NOW, peers)


@pytest.mark.parametrize(
    "utterance", ["what time is it", "What's the time?", "Do you know what time it is, please", "time"]
)
def test_the_time(utterance: str) -> None:
    assert say(utterance) == "It is 14:05."


@pytest.mark.parametrize(
    "utterance", ["what day is it", "What is the date today?", "what’s today's date", "which day is it"]
)
def test_the_date(utterance: str) -> None:
    assert say(utterance) == "Today is Saturday, 21 November 2026."


@pytest.mark.parametrize(
    "utterance", ["who is connected?", "Who's online", "which satellites are there", "list the devices"]
)
def test_who_is_connected(utterance: str) -> None:
    assert say(utterance) == "Nobody is connected."
    assert say(utterance, peers=("kitchen",)) == "One satellite is connected: kitchen."
    assert say(utterance, peers=("a", "b", "c")) == "3 satellites are connected: a, b and c."


@pytest.mark.parametrize(("hour", "part"), [(6, "morning"), (13, "afternoon"), (22, "evening"), (2, "evening")])
def test_a_greeting_says_who_speaks(hour: int, part: str) -> None:
    said = answer("Hello!", "en", NOW.replace(hour=hour), ())
    assert said.startswith(f"Good {part}. I am the hub's small built-in assistant.")


@pytest.mark.parametrize("utterance", ["help", "what can you do", "who are you?"])
def test_help_names_what_it_can_do(utterance: str) -> None:
    assert "no other is attached" in say(utterance)
    assert "the time, the date, and who is connected" in say(utterance)


@pytest.mark.parametrize("utterance", ["turn on the light", "what time is it in Tokyo", "time travel", "", "?!"])
def test_anything_else_gets_the_truth_and_the_cure(utterance: str) -> None:
    assert say(utterance) == f"{NOTHING} {HOW_TO_ATTACH}"


def test_another_language_is_told_that_only_english_is_understood() -> None:
    assert say("wie spät ist es", lang="de-de") == f"{NOTHING} I only understand English. {HOW_TO_ATTACH}"


@given(st.text(max_size=400), st.text(max_size=8), st.lists(st.text(max_size=4), max_size=3))
def test_any_words_get_an_answer(utterance: str, lang: str, peers: list[str]) -> None:
    assert answer(utterance, lang, NOW, peers)


async def conversation(*messages: Message, peers: Any = nobody) -> list[Message]:
    """What the agent says to these messages, the last of which is a request."""
    seen: list[Message] = []
    agent = BuiltinAgent(peers, clock=lambda: NOW)
    await agent.start(seen.append)
    assert agent.available
    for message in messages:
        assert agent.emit(message)
    assert seen == [], "nothing may be delivered while the hub is inside emit"
    await eventually(lambda: seen and seen[-1].msg_type == "ovos.utterance.handled")
    await agent.stop()
    return seen


@pytest.mark.parametrize("topic", ["recognizer_loop:utterance", "ovos.utterance.handle"])
async def test_an_utterance_is_answered_as_a_skill_would(topic: str) -> None:
    data = {"utterances": ["what time is it", "what dime is it"], "lang": "en-us"}
    spoken, handled = await conversation(Message(topic, data, CONTEXT))
    assert spoken.msg_type == "speak"
    assert spoken.data == {"utterance": "It is 14:05.", "lang": "en-US", "expect_response": False, "meta": {}}
    for reply in (spoken, handled):
        assert (reply.context["source"], reply.context["destination"]) == ("hivemind", "kitchen::1")
        assert reply.context["session"] == CONTEXT["session"]
    assert handled.data == {}
    assert handled.context["session"] is not spoken.context["session"], "the hub may change one of them"


async def test_it_names_the_satellites_the_hub_knows() -> None:
    request = Message("recognizer_loop:utterance", {"utterances": ["who is connected"]}, {})
    spoken, _ = await conversation(request, peers=lambda: ["kitchen"])
    assert spoken.data["utterance"] == "One satellite is connected: kitchen."


@pytest.mark.parametrize("utterances", [None, [], "", {}, 5, [5], [None], ["  "], [["x"]]])
async def test_a_request_without_words_is_only_handled(utterances: Any) -> None:
    (handled,) = await conversation(Message("recognizer_loop:utterance", {"utterances": utterances}, {}))
    assert handled.msg_type == "ovos.utterance.handled"


async def test_other_messages_are_taken_and_not_answered() -> None:
    last = Message("recognizer_loop:utterance", {"utterances": ["help"], "lang": 5}, {})
    seen = await conversation(Message("hive.client.connect"), Message("speak"), last)
    assert [message.msg_type for message in seen] == ["speak", "ovos.utterance.handled"]


async def test_an_utterance_sent_under_both_names_is_answered_once() -> None:
    data = {"utterances": ["help"]}
    twin = Message("recognizer_loop:utterance", data, {"_namespace_compat_twin": True})
    assert len(await conversation(Message("ovos.utterance.handle", data, {}), twin)) == 2
    inherited = await conversation(twin)
    assert len(inherited) == 2
    assert "_namespace_compat_twin" not in inherited[0].context


@pytest.mark.parametrize("topic", ["recognizer_loop:utterance", "ovos.utterance.handle"])
async def test_a_query_that_it_cannot_answer_is_declined_at_once(topic: str) -> None:
    """So that the hub above is asked; whoever speaks to it directly is told the truth."""
    data = {"utterances": ["tell me a joke"], "lang": "en-us"}
    failed, handled = await conversation(Message(topic, data, {**CONTEXT, "query_id": "token"}))
    assert (failed.msg_type, handled.msg_type) == ("complete_intent_failure", "ovos.utterance.handled")
    for reply in (failed, handled):
        assert (reply.context["query_id"], reply.context["destination"]) == ("token", "kitchen::1")
    spoken, _ = await conversation(Message(topic, data, CONTEXT))
    assert spoken.data["utterance"].startswith(NOTHING)


async def test_a_query_is_answered_under_its_token() -> None:
    request = Message("recognizer_loop:utterance", {"utterances": ["what time is it"]}, {"query_id": "token"})
    spoken, handled = await conversation(request)
    assert spoken.data["utterance"] == "It is 14:05."
    assert [reply.context["query_id"] for reply in (spoken, handled)] == ["token", "token"]


async def test_before_start_and_after_stop_it_is_unavailable() -> None:
    seen: list[Message] = []
    agent = BuiltinAgent(nobody)
    request = Message("recognizer_loop:utterance", {"utterances": ["help"]}, {})
    assert not agent.available
    assert not agent.emit(request)
    await agent.start(seen.append)
    assert agent.emit(request)
    await agent.stop()
    assert not agent.emit(request)
    assert seen == []
