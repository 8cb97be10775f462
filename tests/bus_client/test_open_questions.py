"""What a satellite says along with the answer to a question of older OVOS."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.open_questions import ANSWERABLE_S, MAX_OPEN, OpenQuestions

ASKED: dict[str, Any] = {"active_skills": [["timer", 1.5]], "utterance_states": {"timer": "response"}}
OVER: dict[str, Any] = {"active_skills": [["timer", 1.5]], "utterance_states": {"timer": "intent"}}


def session(state: dict[str, Any], session_id: object = "s") -> dict[str, Any]:
    return {"session": {"session_id": session_id, "lang": "en", "pipeline": [], **state}}


@pytest.mark.parametrize("topic", ["speak", "ovos.utterance.speak", "skill.converse.get_response.enable"])
def test_what_was_asked_goes_with_the_answer(topic: str) -> None:
    questions = OpenQuestions()
    questions.note(topic, session(ASKED), 0.0)
    assert questions.state("s", 1.0) == ASKED
    assert questions.state("another", 1.0) == {}


def test_what_was_answered_is_asked_no_more() -> None:
    questions = OpenQuestions()
    questions.note("speak", session(ASKED), 0.0)
    questions.note("ovos.utterance.handled", session(OVER), 1.0)
    assert questions.state("s", 1.0) == {}


@pytest.mark.parametrize("state", [OVER, {}, {"utterance_states": None}, {"utterance_states": ["response"]}])
def test_nothing_goes_with_what_nobody_asked_for(state: dict[str, Any]) -> None:
    questions = OpenQuestions()
    questions.note("speak", session(state), 0.0)
    assert questions.state("s", 0.0) == {}


def test_a_question_whose_skill_is_gone_does_not_take_all_that_is_said() -> None:
    """What is said meanwhile comes back with it, and makes it no younger."""
    questions = OpenQuestions()
    questions.note("speak", session(ASKED), 0.0)
    questions.note("timer.converse.get_response", session(ASKED), ANSWERABLE_S - 1)
    assert questions.state("s", ANSWERABLE_S - 0.1) == ASKED
    assert questions.state("s", ANSWERABLE_S) == {}
    questions.note("timer.activate", session(ASKED), ANSWERABLE_S + 1)
    assert questions.state("s", ANSWERABLE_S + 1) == {}


def test_a_question_that_is_repeated_is_answerable_as_long_again() -> None:
    questions = OpenQuestions()
    questions.note("speak", session(ASKED), 0.0)
    questions.note("speak", session(ASKED), ANSWERABLE_S - 1)
    assert questions.state("s", ANSWERABLE_S + 1) == ASKED


def test_the_latest_sessions_are_kept() -> None:
    questions = OpenQuestions()
    for number in range(MAX_OPEN + 1):
        questions.note("speak", session(ASKED, str(number)), 0.0)
    for nothing in ({}, {"session": "s"}, session(ASKED, 5)):
        questions.note("speak", nothing, 0.0)
    questions.note(["speak"], session(ASKED, "0"), 0.0)
    assert questions.state("0", 0.0) == {}
    assert questions.state("1", 0.0) == questions.state(str(MAX_OPEN), 0.0) == ASKED
