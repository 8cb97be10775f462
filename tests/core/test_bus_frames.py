from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_bus_client.message import Message
from hivemind_core.bus_frames import (
    Twins,
    decode,
    encode,
    harm_in,
    is_twin,
    message_of,
    problem_with,
)

SESSION: dict[str, Any] = {
    "session_id": "s1",
    "lang": "en-US",
    "active_skills": [["skill.author", 1.5]],
    "utterance_states": {},
    "context": {"timeout": 120, "frame_stack": [[{"entities": [], "metadata": {}}, 1.0]]},
    "location": {"anything": ["else", {"is": 5}]},
}

HARMFUL_SESSIONS: list[dict[str, Any]] = [
    {"session_id": ["a"]},
    {"session_id": {}},
    {"session_id": 5},
    {"lang": 5},
    {"lang": ["en"]},
    {"lang": True},
    {"active_skills": 5},
    {"active_skills": {}},
    {"utterance_states": 5},
    {"utterance_states": []},
    {"context": None},
    {"context": "s"},
    {"context": []},
    {"context": {"frame_stack": None}},
    {"context": {"frame_stack": {"ab": 1}}},
    {"context": {"frame_stack": [{}]}},
    {"context": {"frame_stack": [[{}]]}},
    {"context": {"frame_stack": [[5, 1]]}},
    {"context": {"frame_stack": [[{"unknown": 1}, 1]]}},
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
NAMES = st.sampled_from(["type", "data", "context", "session", "lang", "frame_stack", "session_id"])
FRAMES = st.recursive(JSON, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


def message(msg_type: str = "speak", data: Any = None, **context: Any) -> Message:
    return Message(msg_type, {} if data is None else data, context)


def test_a_whole_message_may_reach_the_bus() -> None:
    assert problem_with(message("recognizer_loop:utterance", {"utterances": ["hi"]}, session=SESSION)) is None
    assert problem_with(message("ovos-skill_x.y:Intent.intent")) is None
    assert problem_with(message(session={})) is None


def test_absent_and_null_session_fields_are_harmless() -> None:
    session = dict.fromkeys(("session_id", "lang", "active_skills", "utterance_states"))
    assert problem_with(message(session={**session, "context": {}})) is None


@pytest.mark.parametrize("bad", ["", "two words", "naïve", "line\n", "a/b", "a\x00"])
def test_a_type_of_other_characters_is_refused(bad: str) -> None:
    assert "type" in str(problem_with(message(bad)))


@pytest.mark.parametrize("session", [None, "s", [], 1, True])
def test_a_session_that_is_no_object_is_refused(session: Any) -> None:
    assert problem_with(message(session=session)) == "context.session is not an object"
    assert harm_in({"type": "t", "context": {"session": session}}) == "context.session is not an object"


@pytest.mark.parametrize("fields", HARMFUL_SESSIONS, ids=str)
def test_session_fields_that_disconnect_services_are_refused(fields: dict[str, Any]) -> None:
    session = {**SESSION, **fields}
    assert str(problem_with(message(session=session))).startswith("session.")
    assert str(harm_in({"type": "t", "context": {"session": session}})).startswith("session.")


def test_data_and_context_must_be_objects() -> None:
    broken = Message("t", {}, {})
    broken.data = ["x"]  # type: ignore[assignment]
    assert problem_with(broken) == "data is not an object"
    broken = Message("t", {}, {})
    broken.context = "x"  # type: ignore[assignment]
    assert problem_with(broken) == "context is not an object"


@pytest.mark.parametrize("frame", [None, [], "s", 1, {"type": []}, {"type": {}}, {"data": [1]}, {"context": "s"}])
def test_frames_that_disconnect_services_are_recognised(frame: Any) -> None:
    assert harm_in(frame)


@pytest.mark.parametrize("frame", [{}, {"type": 5}, {"type": "two words"}, {"data": None, "context": None}, {"x": 1}])
def test_odd_frames_of_local_services_are_let_through(frame: Any) -> None:
    assert harm_in(frame) is None


def test_encode_and_decode_are_inverse() -> None:
    original = message("speak", {"utterance": "grüß dich"}, session=SESSION)
    assert encode(original).startswith(b'{"type":"speak"')
    assert message_of(decode(encode(original))) == original
    assert message_of({"type": "bare"}) == Message("bare", {}, {})


@pytest.mark.parametrize("value", [None, [], {}, {"type": 5}, {"type": "t", "data": [1]}, {"type": "t", "context": 1}])
def test_what_is_no_message_is_none(value: Any) -> None:
    assert message_of(value) is None


@given(FRAMES)
def test_any_json_is_judged_without_an_exception(value: Any) -> None:
    found = message_of(value)
    if harm_in(value) is not None:
        return
    assert found is None or problem_with(found) in (
        None,
        "the type may hold only letters, digits and . : _ -",
    )


def test_a_mark_tells_a_twin() -> None:
    assert is_twin(message(_namespace_compat_twin=True))
    assert is_twin(message(_intent_compat_twin=True))
    assert not is_twin(message(_intent_compat_twin=False))


@pytest.mark.parametrize(
    ("first", "second", "mark"),
    [
        ("ovos.utterance.speak", "speak", "_namespace_compat_twin"),
        ("recognizer_loop:utterance", "ovos.utterance.handle", "_namespace_compat_twin"),
        ("skill.author:what_time", "skill.author:what_time.intent", "_intent_compat_twin"),
    ],
)
def test_a_marked_message_repeats_the_one_it_follows_once(first: str, second: str, mark: str) -> None:
    twins = Twins()
    twin = message(second, {"utterance": "x"}, destination="p", **{mark: True})
    assert not twins.repeats(message(first, {"utterance": "x"}, destination="p"))
    assert not twins.repeats(message("something.between"))
    assert twins.repeats(twin)
    assert not twins.repeats(twin)


def test_an_answer_that_inherited_the_mark_repeats_nothing() -> None:
    twins = Twins()
    assert not twins.repeats(message("ovos.utterance.speak", {"utterance": "x"}, destination="p"))
    mark = {"_namespace_compat_twin": True}
    assert not twins.repeats(message("recognizer_loop:audio_output_start", destination="p", **mark))
    assert not twins.repeats(message("speak", {"utterance": "y"}, destination="p", **mark))
    assert not twins.repeats(message("speak", {"utterance": "x"}, destination="q", **mark))


def test_only_the_latest_messages_are_remembered() -> None:
    twins = Twins()
    twins.repeats(message("ovos.utterance.speak", {"utterance": "x"}))
    for _ in range(16):
        twins.repeats(message("ovos.stop"))
    assert not twins.repeats(message("speak", {"utterance": "x"}, _namespace_compat_twin=True))
