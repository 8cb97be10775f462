from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core.queries import (
    CascadeChoice,
    CascadeResponse,
    Opening,
    WaysBack,
    chunk,
    complete,
    response,
    unanswered,
)
from hivemind_core.shares import Share

QUERY, CASCADE = HiveMessageType.QUERY, HiveMessageType.CASCADE
TTL, MOST, EACH = 300.0, 12, 4


def ways() -> WaysBack:
    return WaysBack(TTL, MOST, EACH)


def opened(*questions: tuple[str, str], kind: HiveMessageType = QUERY) -> WaysBack:
    """Ways back of these questions and askers, opened at 0."""
    found = ways()
    for query_id, asker in questions:
        assert found.open(query_id, asker, kind, 0) is Opening.NEW
    return found


# --- ways back ----------------------------------------------------------------------------------------------


def test_the_first_asker_of_an_id_keeps_it() -> None:
    found = opened(("q", "kitchen"))
    assert found.open("q", "attic", QUERY, 1) is Opening.LOOP
    assert found.open("q", "kitchen", QUERY, 2) is Opening.AGAIN
    assert found.asker_of("q", 3) == "kitchen"
    assert found.asker_of("other", 3) is None


def test_an_id_is_new_again_once_its_question_is_answered() -> None:
    """W37"""
    found = opened(("q", "kitchen"))
    found.done("q")
    assert found.asker_of("q", 1) is None
    assert found.open("q", "attic", QUERY, 1) is Opening.NEW
    assert found.asker_of("q", 1) == "attic"


@pytest.mark.parametrize(("now", "asker"), [(TTL - 1, "kitchen"), (TTL, None)])
def test_a_way_back_ends_in_time(now: float, asker: str | None) -> None:
    found = opened(("q", "kitchen"))
    found.passed("q", ["attic"])
    assert found.asker_of("q", now) == asker
    assert found.may_answer("q", "attic", now) is (asker is not None)
    assert found.open("q", "attic", QUERY, now) is (Opening.LOOP if asker else Opening.NEW)


def test_to_ask_again_is_to_wait_anew() -> None:
    found = opened(("q", "kitchen"), ("r", "kitchen"))
    found.open("q", "kitchen", QUERY, 100)
    found.tick(TTL)
    assert [found.asker_of(query_id, TTL) for query_id in "qr"] == ["kitchen", None]
    assert len(found) == 1
    found.tick(TTL + 100)
    assert len(found) == 0


def test_a_query_is_answered_by_those_only_whom_it_was_passed_to() -> None:
    found = opened(("q", "kitchen"))
    assert not found.may_answer("q", "attic", 1)
    found.passed("q", ["attic", "cellar"])
    assert [found.may_answer("q", who, 1) for who in ("attic", "cellar", "kitchen", "liar")] == [
        True,
        True,
        False,
        False,
    ]
    found.passed("q", ["cellar"])
    assert not found.may_answer("q", "attic", 1)


def test_a_cascade_is_answered_by_anybody_but_its_asker() -> None:
    found = opened(("q", "kitchen"), kind=CASCADE)
    assert found.may_answer("q", "attic", 1)
    assert not found.may_answer("q", "kitchen", 1)
    assert not found.may_answer("r", "attic", 1)


def test_an_answer_comes_as_what_was_asked() -> None:
    found = opened(("q", "kitchen"), kind=CASCADE)
    assert found.may_answer("q", "attic", 1, CASCADE)
    assert not found.may_answer("q", "attic", 1, QUERY), "or it would end the cascade for all others"


def test_a_question_has_no_answer_once_the_last_declines() -> None:
    found = opened(("q", "kitchen"))
    found.passed("q", ["attic", "cellar"])
    assert [found.declined("q", who) for who in ("attic", "attic", "liar", "cellar")] == [False, False, False, True]
    assert found.declined("unknown", "attic")


def test_it_knows_who_keeps_whom_waiting() -> None:
    found = opened(("a", "kitchen"), ("b", "kitchen"), ("c", "attic"))
    found.open("d", "kitchen", CASCADE, 0)
    for query_id in "abd":
        found.passed(query_id, ["cellar"])
    assert found.waiting_for("cellar") == ["a", "b"]
    assert found.waiting_for("attic") == []


def test_nobody_is_asked_a_question_that_is_forgotten() -> None:
    found = ways()
    found.passed("q", ["attic"])
    found.done("q")
    assert (len(found), found.waiting_for("attic")) == (0, [])


def test_what_an_asker_asked_goes_with_it() -> None:
    found = opened(("a", "kitchen"), ("b", "attic"), ("c", "kitchen"))
    found.gone("kitchen")
    found.gone("nobody")
    assert [found.asker_of(query_id, 1) for query_id in "abc"] == [None, "attic", None]


def test_who_asks_too_much_loses_its_own_oldest() -> None:
    found = opened(("other", "attic"), *((str(number), "kitchen") for number in range(EACH + 2)))
    assert [found.asker_of(str(number), 1) for number in range(EACH + 2)] == [None, None, *["kitchen"] * EACH]
    assert found.asker_of("other", 1) == "attic"


def test_a_client_that_asks_by_many_connections_loses_its_own_oldest() -> None:
    found, share = opened(("other", "attic")), Share("client 1")
    for number in range(MOST + 2):
        assert found.open(str(number), f"connection {number}", QUERY, 0, share) is Opening.NEW
    assert len(found) == 1 + EACH
    assert found.asker_of("other", 1) == "attic"
    assert found.asked_by(f"connection {MOST}", QUERY) == [str(MOST)]
    found.gone(f"connection {MOST}")
    assert (found.asker_of(str(MOST), 1), found.asker_of(str(MOST + 1), 1)) == (None, f"connection {MOST + 1}")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "open", "open", "done", "gone", "wait"]),
        st.integers(0, 40).map(str),
        st.sampled_from("abcdefghijklmnop"),
    ),
    max_size=120,
)


@given(STEPS)
def test_it_stays_within_bounds_and_never_tells_a_wrong_asker(steps: list[tuple[str, str, str]]) -> None:
    found, now, askers = ways(), 0.0, dict[str, tuple[str, float]]()
    for step, query_id, asker in steps:
        if step == "open" and found.open(query_id, asker, QUERY, now) is not Opening.LOOP:
            askers[query_id] = asker, now + TTL
        elif step == "done":
            found.done(query_id)
            askers.pop(query_id, None)
        elif step == "gone":
            found.gone(asker)
            askers = {key: value for key, value in askers.items() if value[0] != asker}
        elif step == "wait":
            now += TTL / 3
            found.tick(now)
        known = {key: who for key in map(str, range(41)) if (who := found.asker_of(key, now)) is not None}
        assert len(known) == len(found) <= MOST
        assert max(Counter(known.values()).values(), default=0) <= EACH
        assert all(askers[key][0] == who and askers[key][1] > now for key, who in known.items())


# --- choosing -----------------------------------------------------------------------------------------------


def answer(text: str, responder: object = "hall") -> HiveMessage:
    spoken = HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": text}))
    return HiveMessage(CASCADE, spoken, metadata={"query_id": "q", "responder_peer": responder, "is_response": True})


def the_second(query_id: str, responses: list[CascadeResponse]) -> Message | None:
    return Message("chosen", {"id": query_id, "by": responses[1].responder}) if len(responses) == 2 else None


def test_without_a_choice_every_answer_goes_on() -> None:
    assert CascadeChoice().add("q", answer("hi")) is None


def test_the_choice_sees_all_answers_so_far_and_ends_the_collection() -> None:
    choice = CascadeChoice()
    choice.select = the_second
    one, two = answer("one"), answer("two", "attic")
    assert choice.add("q", one) is None
    assert choice.add("r", one) is None, "each question has its own answers"
    assert choice.add("q", two) == Message("chosen", {"id": "q", "by": "attic"})
    assert choice.add("q", two) is None, "it begins anew"


def test_the_choice_cannot_change_what_is_collected() -> None:
    seen: list[list[CascadeResponse]] = []

    def forgetful(query_id: str, responses: list[CascadeResponse]) -> None:
        seen.append(list(responses))
        responses.clear()

    choice = CascadeChoice()
    choice.select = forgetful
    for responder in ("hall", None):
        choice.add("q", answer("x", responder))
    assert [[one.responder for one in responses] for responses in seen] == [["hall"], ["hall", ""]]


def test_the_oldest_question_is_forgotten_for_a_new_one() -> None:
    choice, counts = CascadeChoice(most=2), list[int]()
    choice.select = lambda query_id, responses: counts.append(len(responses))
    for query_id in ("a", "a", "b", "c", "b", "a"):
        choice.add(query_id, answer("x"))
    assert counts == [1, 2, 1, 1, 2, 1]


def test_no_more_answers_are_collected_than_may_be() -> None:
    choice, counts = CascadeChoice(most_responses=3), list[int]()
    choice.select = lambda query_id, responses: counts.append(len(responses))
    for _ in range(5):
        choice.add("q", answer("x"))
    assert counts == [1, 2, 3]


# --- answers of this hub ------------------------------------------------------------------------------------


def question(kind: HiveMessageType = QUERY) -> HiveMessage:
    asked = HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": ["hi"]}))
    metadata = {"query_id": "q1", "originator_peer": "alice", "secret": "of the asker"}
    return HiveMessage(kind, asked, route=[{"source": "alice", "targets": []}], metadata=metadata)


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (
            chunk("q1", "you said hi", "en-us"),
            {"type": "speak", "data": {"utterance": "you said hi", "lang": "en-us"}, "context": {"query_id": "q1"}},
        ),
        (complete(), {"type": "hive.query.complete", "data": {}, "context": {}}),
        (
            unanswered("q1", "no_answer"),
            {"type": "hive.query.timeout", "data": {"query_id": "q1", "error": "no_answer"}, "context": {}},
        ),
    ],
)
@pytest.mark.parametrize("kind", [QUERY, CASCADE])
def test_answers_look_as_released_hubs_send_them(kind: HiveMessageType, message: Message, wire: object) -> None:
    """docs/protocol.md 13.2"""
    sent = json.loads(response(question(kind), "the node id", message).serialize())
    assert sent["msg_type"] == kind.value
    assert (sent["payload"]["msg_type"], sent["payload"]["payload"]) == ("bus", wire)
    assert sent["metadata"] == {
        "query_id": "q1",
        "originator_peer": "alice",
        "responder_peer": "the node id",
        "is_response": True,
    }
    assert sent["route"] == [{"source": "alice", "targets": []}]


def test_an_answer_leaves_the_question_as_it_is() -> None:
    asked = question()
    before = asked.serialize()
    response(asked, "the node id", complete())
    assert asked.serialize() == before
