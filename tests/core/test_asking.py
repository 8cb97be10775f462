from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_bus_client.message import HiveMessageType, Message
from hivemind_core.asking import (
    LONGEST_S,
    MAX_FINISHED,
    MOST,
    MOST_AT,
    MOST_EACH,
    QUERY_ADDRESS,
    TOKEN,
    Asking,
    Finished,
    Question,
    Said,
)
from hivemind_core.shares import Share

QUERY, CASCADE = HiveMessageType.QUERY, HiveMessageType.CASCADE
UTTERANCE, HANDLED = "recognizer_loop:utterance", "ovos.utterance.handled"
OLD, NEW = "speak", "ovos.utterance.speak"


def utterance(data: Any = None, peer: str = "kitchen", topic: str = UTTERANCE, **context: Any) -> Message:
    """A satellite's utterance, stamped."""
    data = {"utterances": ["what time is it", "what dime is it"]} if data is None else data
    session = {"session_id": "f00d:1", "lang": "pt-pt"}
    return Message(
        topic, data, {"session": session, "peer": peer, "source": peer, "destination": "hivemind", **context}
    )


def ask(asking: Asking, query_id: str = "q", asker: str = "kitchen", now: float = 0) -> Message:
    asked = asking.ask(query_id, asker, QUERY, utterance(peer=asker), now)
    assert asked is not None
    return asked


def hear(asking: Asking, message: Message, now: float = 1) -> list[Any] | None:
    """What it hears, in short: the words that were said, and how many parts a finished answer had."""
    heard = asking.hear(message, now)
    return None if heard is None else [event.utterance if isinstance(event, Said) else event.said for event in heard]


def said(asked: Message, text: Any, topic: str = OLD, **context: Any) -> Message:
    """A part of an answer, as an agent replies."""
    return asked.reply(topic, {"utterance": text}, context)


def finished(asking: Asking, now: float) -> list[tuple[str, int]]:
    return [(event.question.query_id, event.said) for event in asking.tick(now)]


# --- asking -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", [UTTERANCE, "ovos.utterance.handle"])
def test_the_agent_is_asked_in_the_askers_session_under_a_token(topic: str) -> None:
    stamped = utterance(topic=topic, more=1)
    before = copy.deepcopy((stamped.data, stamped.context))
    asked = Asking().ask("q", "kitchen", QUERY, stamped, 0)
    assert asked is not None
    assert (asked.msg_type, asked.data) == (topic, {"utterances": ["what time is it"], "lang": "pt-pt"})
    token = asked.context.pop(TOKEN)
    assert token not in ("q", "")
    assert asked.context == {**before[1], "source": QUERY_ADDRESS, "destination": "hivemind"}
    assert (stamped.data, stamped.context) == before, "it is passed on, perhaps"


def test_every_question_has_a_token_of_its_own() -> None:
    asking = Asking()
    assert len({ask(asking, str(number)).context[TOKEN] for number in range(16)}) == 16


@pytest.mark.parametrize(
    ("data", "context", "lang"),
    [
        ({"lang": "de-de"}, {"lang": "fr-fr"}, "de-de"),
        ({"lang": ""}, {"lang": "fr-fr"}, "fr-fr"),
        ({"lang": 5}, {}, "pt-pt"),
        ({}, {"session": {}}, "en-US"),
        ({}, {"session": "odd"}, "en-US"),
        ({}, {"session": {"lang": None}}, "en-US"),
    ],
)
def test_the_language_is_the_nearest_that_is_told(data: Any, context: dict[str, Any], lang: str) -> None:
    asked = Asking().ask("q", "kitchen", QUERY, utterance({"utterances": ["hi"], **data}, **context), 0)
    assert asked is not None
    assert asked.data["lang"] == lang


@pytest.mark.parametrize("utterances", [None, [], "", "  ", [""], [None], [5], {}, 5, [["hi"]]])
def test_without_words_there_is_no_question(utterances: Any) -> None:
    asking = Asking()
    assert asking.ask("q", "kitchen", QUERY, utterance({"utterances": utterances}), 0) is None
    assert len(asking) == 0


def test_a_single_utterance_need_not_be_in_a_list() -> None:
    asked = Asking().ask("q", "kitchen", QUERY, utterance({"utterances": " hi "}), 0)
    assert asked is not None
    assert asked.data["utterances"] == ["hi"]


def test_a_question_is_nobodys_twin() -> None:
    """Or answers would inherit that they are."""
    marked = utterance(_namespace_compat_twin=True, _intent_compat_twin=True)
    asked = Asking().ask("q", "kitchen", QUERY, marked, 0)
    assert asked is not None
    assert not any("twin" in key for key in asked.context)


# --- hearing ------------------------------------------------------------------------------------------------


def test_what_is_said_under_the_token_is_the_answer() -> None:
    asking = Asking()
    asked = asking.ask("q", "kitchen", CASCADE, utterance(), 0)
    assert asked is not None
    question = Question("q", "kitchen", CASCADE, "pt-pt", asked.context[TOKEN])
    assert asking.hear(said(asked, "four"), 1) == [Said(question, "four", "pt-pt")]
    assert asking.hear(asked.reply(OLD, {"utterance": "o'clock", "lang": "en-us"}), 2) == [
        Said(question, "o'clock", "en-us")
    ]
    assert asking.hear(asked.reply(HANDLED), 3) == [Finished(question, 2)]
    assert len(asking) == 0


def test_an_agent_that_is_done_and_said_nothing_has_declined() -> None:
    asking = Asking()
    asked = ask(asking)
    assert hear(asking, asked.reply("complete_intent_failure")) is None
    assert hear(asking, asked.reply(HANDLED)) == [0]
    assert finished(asking, 100) == [], "once is enough"


@pytest.mark.parametrize("token", [None, "", "unknown", 5, ["x"], {}])
def test_messages_of_no_question_are_left_alone(token: Any) -> None:
    asking = Asking()
    ask(asking)
    for topic in (OLD, NEW, HANDLED):
        assert asking.hear(Message(topic, {"utterance": "hi"}, {TOKEN: token}), 1) is None
    assert asking.hear(Message(OLD, {"utterance": "hi"}, {}), 1) is None


@pytest.mark.parametrize("topic", [UTTERANCE, "mycroft.skill.handler.start", "hive.send.downstream", "gui.page.show"])
def test_what_else_an_agent_does_about_a_question_goes_its_way(topic: str) -> None:
    asking = Asking()
    assert asking.hear(ask(asking).forward(topic), 1) is None


def test_what_comes_late_reaches_nobody() -> None:
    asking = Asking()
    asked = ask(asking)
    asking.hear(asked.reply(HANDLED), 1)
    assert hear(asking, said(asked, "late")) == hear(asking, asked.reply(HANDLED)) == []


def test_so_many_finished_questions_are_remembered() -> None:
    asking = Asking()
    questions = [ask(asking, asker=str(number)) for number in range(2)]
    asking.unavailable()
    for number in range(MAX_FINISHED - 1):
        asking.cancel(ask(asking, str(number)))
    assert [hear(asking, said(asked, "late")) for asked in questions] == [None, []]


@pytest.mark.parametrize("text", ["", None, 5, ["x"], {}])
def test_no_words_are_no_answer(text: Any) -> None:
    asking = Asking()
    asked = ask(asking)
    assert hear(asking, said(asked, text)) == []
    assert hear(asking, asked.reply(HANDLED)) == [0]


def test_another_satellite_cannot_answer_with_a_token_it_got_hold_of() -> None:
    asking = Asking()
    asked = ask(asking)
    forged = {"peer": "liar", "source": "liar", "destination": "hivemind", TOKEN: asked.context[TOKEN]}
    for topic in (OLD, HANDLED):
        assert asking.hear(Message(topic, {"utterance": "a lie"}, forged), 1) is None
    bare = Message(OLD, {"utterance": "true"}, {TOKEN: asked.context[TOKEN]})
    assert hear(asking, bare) == ["true"], "an agent need not keep the rest of the context"


# --- renamed messages ---------------------------------------------------------------------------------------


def both(asked: Message, text: str, *, first: str = NEW, **context: Any) -> list[Message]:
    """A part as newer OVOS sends it: under its new name, and as a twin under its old one."""
    second = OLD if first == NEW else NEW
    return [said(asked, text, first, **context), said(asked, text, second, **context, _namespace_compat_twin=True)]


@pytest.mark.parametrize("first", [OLD, NEW])
def test_a_part_under_both_names_counts_once(first: str) -> None:
    asking = Asking()
    asked = ask(asking)
    heard = [hear(asking, part) for text in ("hi", "hi", "there") for part in both(asked, text, first=first)]
    assert heard == [["hi"], [], ["hi"], [], ["there"], []]
    assert hear(asking, asked.reply(HANDLED)) == [3]


def test_twins_may_come_after_the_next_part() -> None:
    asking = Asking()
    asked = ask(asking)
    parts = [both(asked, text) for text in ("one", "two", "one")]
    heard = [hear(asking, part) for part in [*(first for first, _ in parts), *(second for _, second in parts)]]
    assert heard == [["one"], ["two"], ["one"], [], [], []]


def test_a_part_that_inherits_the_mark_of_what_it_answers_is_said() -> None:
    """A skill that is called by the twin of its intent replies with the context of that twin."""
    asking = Asking()
    asked = ask(asking)
    heard = [hear(asking, part) for part in both(asked, "hi", _intent_compat_twin=True)]
    assert heard == [["hi"], []]


def test_parts_of_two_answers_are_no_twins() -> None:
    asking = Asking()
    one, other = ask(asking, "a"), ask(asking, "b")
    assert hear(asking, said(one, "hi", NEW)) == hear(asking, said(other, "hi", OLD)) == ["hi"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.booleans()), max_size=30), st.data())
def test_an_answer_is_heard_as_it_was_said(parts: list[tuple[str, bool, bool]], data: st.DataObject) -> None:
    """Whether each part comes under both names or, from an older agent, under one."""
    asking = Asking()
    asked = ask(asking)
    is_renamed = data.draw(st.booleans())
    heard = list[Any]()
    for text, marked, new_first in parts:
        sent = both(asked, text, first=NEW if new_first else OLD) if is_renamed else [said(asked, text, marked=marked)]
        heard += [word for part in sent for word in hear(asking, part) or ()]
    assert heard == [text for text, _, _ in parts]


# --- giving up ----------------------------------------------------------------------------------------------


def test_silence_ends_a_question() -> None:
    asking = Asking()
    asked = ask(asking, "spoken to"), ask(asking, "silent")
    hear(asking, said(asked[0], "well"), now=6)
    hear(asking, said(asked[1], ""), now=6)
    assert finished(asking, 9.9) == []
    assert finished(asking, 10) == [("silent", 0)]
    assert finished(asking, 15.9) == []
    assert finished(asking, 16) == [("spoken to", 1)]
    assert len(asking) == 0


def test_nobody_talks_for_ever() -> None:
    asking = Asking()
    asked = ask(asking)
    for second in range(0, int(LONGEST_S), 5):
        assert finished(asking, second) == []
        assert hear(asking, said(asked, "and so on"), second) == ["and so on"]
    assert finished(asking, LONGEST_S) == [("q", 60)]


def test_everything_is_given_up_with_the_bus() -> None:
    asking = Asking()
    asked = ask(asking, "a"), ask(asking, "b", "attic")
    hear(asking, said(asked[1], "well"))
    assert [(event.question.query_id, event.said) for event in asking.unavailable()] == [("a", 0), ("b", 1)]
    assert (len(asking), hear(asking, said(asked[0], "late"))) == (0, [])


def test_an_asker_that_goes_takes_its_questions_along() -> None:
    asking = Asking()
    gone, stays = ask(asking, "a"), ask(asking, "b", "attic")
    asking.forget("kitchen")
    asking.forget("nobody")
    assert hear(asking, said(gone, "hi")) == []
    assert hear(asking, said(stays, "hi")) == ["hi"]


def test_a_question_that_could_not_be_put_is_forgotten() -> None:
    asking = Asking()
    asked = ask(asking)
    asking.cancel(asked)
    asking.cancel(asked)
    assert (len(asking), finished(asking, 100)) == (0, [])


def test_a_question_that_is_repeated_is_answered_once() -> None:
    asking = Asking()
    first = ask(asking)
    hear(asking, said(first, "fo"))
    again = ask(asking, now=1)
    assert hear(asking, said(first, "ur")) == hear(asking, first.reply(HANDLED)) == []
    assert hear(asking, said(again, "four")) == ["four"]
    assert len(asking) == 1


# --- fairness -----------------------------------------------------------------------------------------------


def asked_by(asking: Asking, asker: str, count: int) -> int:
    """How many of so many questions are put."""
    return sum(
        asking.ask(f"{asker} {number}", asker, QUERY, utterance(peer=asker), 0) is not None for number in range(count)
    )


def test_one_asker_has_so_many_questions_open() -> None:
    asking = Asking(most=64, most_each=16)
    assert asked_by(asking, "greedy", 100) == 16
    assert asked_by(asking, "modest", 1) == 1


def test_the_greedy_make_room_for_the_modest() -> None:
    asking = Asking(most=64, most_each=16)
    assert [asked_by(asking, f"greedy {number}", 16) for number in range(4)] == [16] * 4
    assert asked_by(asking, "modest", 3) == 3
    assert len(asking) == 64
    given_up = asking.tick(1)
    assert [event.question.query_id for event in given_up] == ["greedy 0 0", "greedy 1 0", "greedy 2 0"]
    assert asking.tick(1) == []


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "ask", "ask", "end", "forget", "tick"]), st.integers(0, 9)), max_size=80)
)
def test_it_stays_within_bounds_and_each_question_ends_once(steps: list[tuple[str, int]]) -> None:
    asking, open_now, now, ended = Asking(most=8, most_each=3), dict[str, tuple[str, Message]](), 0.0, Counter[str]()

    def end(events: list[Any]) -> None:
        for event in events:
            ended[event.question.token] += 1
            open_now.pop(event.question.token)

    for number, (step, who) in enumerate(steps):
        asker = str(who)
        if step == "ask":
            asked = asking.ask(str(number), asker, QUERY, utterance(peer=asker), now)
            if asked is not None:
                open_now[asked.context[TOKEN]] = asker, asked
        elif step == "end" and open_now:
            end(asking.hear(list(open_now.values())[who % len(open_now)][1].reply(HANDLED), now) or [])
        elif step == "forget":
            asking.forget(asker)
            open_now = {token: value for token, value in open_now.items() if value[0] != asker}
        elif step == "tick":
            now += who
            end([event for event in asking.tick(now) if event.question.token in open_now])
        assert len(asking) <= 8
        assert len(asking) <= len(open_now), "what was given up is told of by and by"
    end([event for event in asking.unavailable() + asking.tick(now) if event.question.token in open_now])
    assert not open_now
    assert set(ended.values()) <= {1}


def test_there_is_room_for_one_more_or_for_the_same_again() -> None:
    asking = Asking(most=64, most_each=16)
    asked_by(asking, "greedy", 15)
    assert asking.has_room("another", "greedy")
    asked_by(asking, "greedy", 16)
    assert not asking.has_room("another", "greedy")
    assert asking.has_room("greedy 3", "greedy"), "it takes its own place"


def test_a_client_has_no_more_questions_open_for_all_its_connections() -> None:
    asking, share = Asking(), Share("client 1")
    taken = [
        asking.ask("q", f"connection {number}", QUERY, utterance(), 0, share) is not None for number in range(MOST)
    ]
    assert sum(taken) == MOST_EACH
    assert not asking.has_room("another", "connection 64", share)
    assert asking.has_room("q", "connection 0", share), "it takes its own place"
    assert asking.has_room("q", "connection 65", Share("client 2"))
    asking.forget("connection 0")
    assert asking.has_room("another", "connection 64", share)
    assert len(asking) == MOST_EACH - 1


def test_an_address_leaves_room_for_others_and_its_greedy_clients_for_its_modest_ones() -> None:
    asking = Asking()
    for number in range(MOST):
        client = number % 3
        asking.ask(f"q{number}", f"connection {number}", QUERY, utterance(), 0, Share(f"client {client}", "here"))
    assert len(asking) == MOST_AT == 3 * MOST_EACH
    for share in (Share("client 4", "there"), Share("client 5", "here")):
        assert asking.ask("modest", share.name, QUERY, utterance(), 0, share) is not None
    assert [event.question.query_id for event in asking.tick(1)] == ["q0"], "only the neighbour was in the way"
