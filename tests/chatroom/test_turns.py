"""Questions, and which answer belongs to which."""

from __future__ import annotations

from hivemind_chatroom.people import People, Person
from hivemind_chatroom.turns import REMEMBERED, Turn, Turns

ANSWER_S = 45.0
PEOPLE = People(b"secret", 10, 10)
ALICE, BOB = PEOPLE.claim("a", "alice", 0), PEOPLE.claim("b", "bob", 0)


def asked(turns: Turns, number: int, person: Person = ALICE, sent_at: float | None = 0.0) -> Turn:
    turn = Turn(number, person, "flask", "en", f"question {number}", False, deadline=300)
    turns.add(turn)
    if sent_at is not None:
        turns.sent(turn, sent_at)
    return turn


def test_the_number_that_an_answer_names_decides() -> None:
    turns = Turns(ANSWER_S)
    first, second = asked(turns, 1), asked(turns, 2)
    assert turns.answered_by(2, ALICE.session_id) is second
    first.is_open = second.is_open = False
    assert turns.answered_by(1, BOB.session_id) is first


def test_an_unknown_number_is_nobody_elses_question() -> None:
    turns = Turns(ANSWER_S)
    asked(turns, 1)
    assert turns.answered_by(99, ALICE.session_id) is None


def test_without_a_number_it_is_the_oldest_open_one_of_the_conversation() -> None:
    turns = Turns(ANSWER_S)
    asked(turns, 1, BOB)
    second, third = asked(turns, 2), asked(turns, 3)
    assert turns.answered_by(None, ALICE.session_id) is second
    second.is_open = False
    assert turns.answered_by(None, ALICE.session_id) is third
    third.is_open = False
    assert turns.answered_by(None, ALICE.session_id) is third
    assert turns.answered_by(None, "default") is None


def test_what_was_not_sent_cannot_be_answered() -> None:
    turns = Turns(ANSWER_S)
    asked(turns, 1, sent_at=None)
    assert turns.answered_by(None, ALICE.session_id) is None
    assert turns.answered_by(1, ALICE.session_id) is None


def test_a_question_is_due_after_its_time_which_every_word_prolongs() -> None:
    turns = Turns(ANSWER_S)
    waiting, sent = asked(turns, 1, sent_at=None), asked(turns, 2, sent_at=10)
    assert turns.due(54.9) == []
    assert turns.due(55) == [sent]
    turns.heard(sent, 50)
    assert turns.due(94.9) == []
    assert turns.due(95) == [sent]
    sent.is_open = False
    assert turns.due(299) == []
    assert turns.due(300) == [waiting]


def test_a_denial_without_a_name_is_for_the_last_that_heard_nothing() -> None:
    turns = Turns(ANSWER_S)
    assert turns.last_sent() is None
    first, second = asked(turns, 1), asked(turns, 2, BOB)
    asked(turns, 3, sent_at=None)
    assert turns.last_sent() is second
    turns.heard(second, 1)
    assert turns.last_sent() is first
    first.is_open = False
    assert turns.last_sent() is None


def test_closed_questions_are_remembered_for_a_while() -> None:
    turns = Turns(ANSWER_S)
    for number in range(REMEMBERED + 10):
        asked(turns, number).is_open = False
    assert turns.get(9) is None
    assert turns.get(10) is not None
    assert turns.get(REMEMBERED + 9) is not None


def test_a_question_that_stays_open_keeps_no_others_in_memory() -> None:
    turns = Turns(ANSWER_S)
    chatty = asked(turns, 0)
    for number in range(1, REMEMBERED + 100):
        asked(turns, number).is_open = False
    assert turns.get(0) is chatty
    assert sum(turns.get(number) is not None for number in range(REMEMBERED + 100)) == REMEMBERED


def test_open_questions_are_never_forgotten() -> None:
    turns = Turns(ANSWER_S)
    for number in range(REMEMBERED + 10):
        asked(turns, number)
    assert sum(1 for _ in turns.open_turns()) == REMEMBERED + 10
