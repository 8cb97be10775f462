"""Whatever comes from the hub is read, and what is read can be shown, sent and kept (`hivemind_chatroom.incoming`)."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_chatroom.incoming import (
    MAX_LINE,
    MAX_MEDIA,
    MAX_SESSION_BYTES,
    MAX_TEXT,
    MAX_URI,
    TOPICS,
    Denied,
    Incoming,
    Played,
    Spoken,
    read,
)

TEXT = st.text(st.characters(), max_size=30)  # lone surrogates included
KEYS = st.sampled_from(
    """utterance lang media playlist tracks title artist uri url image code denied_type reason chatroom_turn user
    session session_id site_id source destination""".split()  # noqa: SIM905
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just("recognizer_loop:utterance")
CODES = st.sampled_from(["acl_disallowed_type", "message_too_large", "upstream_unavailable", "{denied_type}"])
JSON = st.recursive(
    SCALARS | CODES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | TEXT, inner, max_size=6),
    max_leaves=25,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=12)
NOT_JSON = st.binary(max_size=4) | st.complex_numbers() | st.sets(st.integers(), max_size=3) | st.just(object())
TYPES = st.sampled_from([*TOPICS, "ovos.utterance.speak", "ovos.intent.unmatched", "nothing.of.ours"])


def check(found: Incoming) -> None:
    """What is promised about every value."""
    assert found.turn is None or type(found.turn) is int
    for line in (found.user, found.session_id, found.site_id):
        check_line(line, MAX_LINE)
    if found.session is not None:
        assert len(json.dumps(found.session, ensure_ascii=False, allow_nan=False).encode()) <= MAX_SESSION_BYTES
    if isinstance(found, Spoken):
        assert found.text.strip()
        assert found.text.encode()
        assert len(found.text) <= MAX_TEXT
        check_line(found.lang, MAX_LINE)
    if isinstance(found, Denied):
        for field in ("denied_type", "code", "reason", "cure"):
            check_line(getattr(found, field), MAX_URI)
    if isinstance(found, Played):
        assert 1 <= len(found.media) <= MAX_MEDIA
        for media in found.media:
            assert media.title or media.artist
            for field in fields(media):
                check_line(getattr(media, field.name), MAX_URI)


def check_line(line: str, limit: int) -> None:
    assert isinstance(line, str)
    assert line.isprintable()
    assert len(line) <= limit
    assert line.encode().decode() == line


@given(TYPES, OBJECTS, OBJECTS)
@settings(max_examples=300)
def test_any_json_object_under_the_names_that_are_read(msg_type: str, data: Any, context: Any) -> None:
    check(read(msg_type, data, context))


@given(TYPES | JSON, JSON, JSON)
def test_any_json_value_in_any_place(msg_type: Any, data: Any, context: Any) -> None:
    check(read(msg_type, data, context))


@given(TYPES | NOT_JSON, st.dictionaries(KEYS, JSON | NOT_JSON) | NOT_JSON, st.dictionaries(KEYS, JSON | NOT_JSON))
def test_any_python_value_in_any_place(msg_type: Any, data: Any, context: Any) -> None:
    check(read(msg_type, data, context))


@given(st.sampled_from(TOPICS), KEYS, JSON)
def test_any_value_in_one_field_of_a_good_message(topic: str, key: str, value: Any) -> None:
    data = {
        "utterance": "hello",
        "lang": "en",
        "media": {"uri": "a", key: value},
        "tracks": [["a", "b"], value],
        "playlist": [value],
        "code": "acl_disallowed_type",
        "denied_type": "x",
    }
    session = {"session_id": "s", "site_id": "r", "lang": "en"}
    context = {"user": "alice", "chatroom_turn": 1, "session": session, "destination": "a::1::b::c"}
    check(read(topic, {**data, key: value}, context))
    check(read(topic, data, {**context, key: value}))
    check(read(topic, data, {**context, "session": {**session, key: value}}))


def test_nesting_deeper_than_python_follows() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    for topic in TOPICS:
        data = dict.fromkeys(
            ("utterance", "lang", "media", "playlist", "tracks", "code", "denied_type", "reason"), deep
        )
        check(read(topic, data, {"session": {"a": deep}, "user": deep, "destination": deep}))
