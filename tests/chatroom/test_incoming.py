"""What messages of the bus mean in the room."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.topics import RENAMED, TWIN_OF
from hivemind_chatroom.incoming import (
    MAX_MEDIA,
    MAX_SESSION_BYTES,
    MAX_SESSION_DEPTH,
    MAX_SESSION_PARTS,
    MAX_TEXT,
    MAX_URI,
    TOPICS,
    Cancelled,
    Denied,
    Handled,
    Ignored,
    Incoming,
    Played,
    Spoken,
    Unmatched,
    read,
)
from hivemind_chatroom.messages import Media

SESSION = {"session_id": "s1", "site_id": "kitchen", "lang": "de-DE", "active_skills": [["clock", 1.5]]}
CONTEXT = {"chatroom_turn": 7, "user": "alice", "session": SESSION, "source": "agent"}
WHOSE: dict[str, Any] = {"turn": 7, "user": "alice", "session_id": "s1", "session": SESSION, "site_id": "kitchen"}


def nested(levels: int) -> Any:
    return [] if levels == 1 else [nested(levels - 1)]


@pytest.mark.parametrize("topic", ["speak", "ovos.utterance.speak"])
def test_speech(topic: str) -> None:
    assert read(topic, {"utterance": "It is four.", "lang": "en-us"}, CONTEXT) == Spoken(
        "It is four.", "en-US", **WHOSE
    )


@pytest.mark.parametrize(
    ("utterance", "text"),
    [
        (" one\r\ntwo ", "one\ntwo"),
        (42, "42"),
        (4.5, "4.5"),
        ("a\x1b[2Jb\ud800", "a[2Jb"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("x" * (5 * MAX_TEXT), "x" * MAX_TEXT),
    ],
)
def test_what_is_said_is_text(utterance: Any, text: str) -> None:
    assert read("speak", {"utterance": utterance}, {}) == Spoken(text, "")


@pytest.mark.parametrize(
    "utterance", ["", " \n", "\x00", None, True, ["a"], {"a": 1}, pytest.param(10**5000, id="endless")]
)
def test_what_says_nothing_is_ignored(utterance: Any) -> None:
    assert read("speak", {"utterance": utterance}, CONTEXT) == Ignored(**WHOSE)


@pytest.mark.parametrize(
    ("lang", "read_as"), [("pt_br", "pt-BR"), ("klingon!", "de-DE"), (None, "de-DE"), (5, "de-DE"), ({}, "de-DE")]
)
def test_the_language_is_that_of_the_message_or_else_of_its_session(lang: Any, read_as: str) -> None:
    said = read("speak", {"utterance": "hm", "lang": lang}, CONTEXT)
    assert isinstance(said, Spoken)
    assert said.lang == read_as


@pytest.mark.parametrize(
    ("topic", "kind"),
    [
        ("ovos.utterance.handled", Handled),
        ("complete_intent_failure", Unmatched),
        ("ovos.intent.unmatched", Unmatched),
        ("ovos.utterance.cancelled", Cancelled),
        ("recognizer_loop:utterance", Ignored),
        ("", Ignored),
        (None, Ignored),
        (["speak"], Ignored),
        (b"speak", Ignored),
    ],
)
def test_other_messages_say_for_whom_they_are(topic: Any, kind: type[Incoming]) -> None:
    assert read(topic, {"utterance": "x"}, CONTEXT) == kind(**WHOSE)


@pytest.mark.parametrize("turn", [True, -1, 1.0, "7", None, 2**53, [7]])
def test_a_turn_is_a_number(turn: Any) -> None:
    assert read("", {}, {"chatroom_turn": turn}).turn is None


@pytest.mark.parametrize(
    ("user", "name"),
    [("alice", "alice"), (" a\nb\u202e ", "a b"), ("x" * 1_000, "x" * 200), (5, ""), (None, ""), (["alice"], "")],
)
def test_a_user_is_a_line_of_text(user: Any, name: str) -> None:
    assert read("", {}, {"user": user}).user == name


@pytest.mark.parametrize(
    "session",
    [
        None,
        "s1",
        ["s1"],
        5,
        {"x": "y" * MAX_SESSION_BYTES},
        {"x": [0] * MAX_SESSION_BYTES},
        {"x": [[] for _ in range(MAX_SESSION_PARTS)]},
        {"x": nested(MAX_SESSION_DEPTH)},
        {"x": {1, 2}},
        {"x": b"bytes"},
        {"x": float("nan")},
        {"x": "\ud800"},
        {("a", "b"): 1},
        {"x": 10**5000},
    ],
    ids=lambda value: str(type(value)),
)
def test_a_session_that_cannot_be_kept_is_none(session: Any) -> None:
    assert read("ovos.utterance.handled", {}, {"session": session}) == Handled()


def test_a_session_as_large_and_deep_as_allowed_is_kept() -> None:
    filler = "é" * ((MAX_SESSION_BYTES - len('{"x": ""}')) // 2)
    for session in ({"x": filler}, {"x": nested(MAX_SESSION_DEPTH - 1)}):
        assert read("", {}, {"session": session}).session == session
    assert read("", {}, {"session": {"x": filler + "éé"}}).session is None


def test_a_session_that_contains_itself_is_none() -> None:
    wide: list[Any] = []
    wide.extend([wide] * 1_000)
    session: dict[str, Any] = {"session_id": "s1", "wide": wide}
    session["self"] = session
    assert read("", {}, {"session": session}) == Ignored(session_id="s1")


def test_the_session_is_a_copy() -> None:
    session = {"session_id": "s1", "list": [1]}
    found = read("", {}, {"session": session}).session
    session["list"] = []
    assert found == {"session_id": "s1", "list": [1]}


def test_a_session_stays_out_of_logs() -> None:
    assert "active_skills" not in repr(read("speak", {"utterance": "x"}, CONTEXT))


SONG = {"title": "Song", "artist": "Band", "uri": "https://a.example/s.mp3", "image": "https://a.example/s.png"}
CARD = Media(**SONG)
BARE = Media("My song.mp3", "", "https://a.example/My%20song.mp3?x=1#y", "")


@pytest.mark.parametrize(
    ("data", "media"),
    [
        ({"media": SONG}, [CARD]),
        ({"media": [SONG, {"title": "Two"}]}, [CARD, Media("Two", "", "", "")]),
        ({"media": SONG, "playlist": [SONG, {"uri": BARE.uri}]}, [CARD, BARE]),
        ({"media": SONG, "playlist": [{**SONG, "title": "Song (live)"}]}, [CARD]),
        ({"playlist": [SONG]}, [CARD]),
        ({"media": {"title": "Album", "playlist": [SONG]}}, [Media("Album", "", "", ""), CARD]),
        ({"media": {"uri": BARE.uri}}, [BARE]),
        ({"media": BARE.uri}, [BARE]),
        ({"media": {"artist": "Band"}}, [Media("", "Band", "", "")]),
        ({"media": {"title": 1984, "uri": None, "artist": ["x"], "image": {}}}, [Media("1984", "", "", "")]),
        ({"media": {"title": "a\nb\x00", "uri": "x" * (MAX_URI + 1)}}, [Media("a b", "", "", "")]),
        ({"media": {"uri": "http://["}}, [Media("[", "", "http://[", "")]),
        ({"media": {"uri": "https://a.example/"}}, [Media("a.example", "", "https://a.example/", "")]),
        ({"media": {"uri": "///"}}, [Media("///", "", "///", "")]),
    ],
)
def test_media_of_common_play(data: dict[str, Any], media: list[Media]) -> None:
    assert read("ovos.common_play.play", data, CONTEXT) == Played(tuple(media), **WHOSE)


@pytest.mark.parametrize("topic", ["mycroft.audio.service.play", "ovos.audio.service.play"])
@pytest.mark.parametrize(
    ("tracks", "media"),
    [
        (BARE.uri, [BARE]),
        ([BARE.uri], [BARE]),
        ([[BARE.uri, "audio/mpeg"], SONG], [BARE, CARD]),
        ([(BARE.uri, "audio/mpeg")], [BARE]),
        ({"url": BARE.uri}, [BARE]),
        ([BARE.uri, BARE.uri], [BARE]),
        ([None, [], {}, [None], 0.5, BARE.uri], [Media("0.5", "", "0.5", ""), BARE]),
    ],
)
def test_tracks_of_the_audio_service(topic: str, tracks: Any, media: list[Media]) -> None:
    assert read(topic, {"tracks": tracks}, CONTEXT) == Played(tuple(media), **WHOSE)


def test_only_so_many_are_shown() -> None:
    songs = [{"title": str(number)} for number in range(1_000)]
    played = read("ovos.common_play.play", {"media": songs, "playlist": songs[500:]}, {})
    assert isinstance(played, Played)
    assert [media.title for media in played.media] == [str(number) for number in range(MAX_MEDIA)]


@pytest.mark.parametrize(
    "data", [{}, {"media": {}}, {"media": []}, {"media": [{}, 1.5j]}, {"playlist": None}, [], None]
)
def test_nothing_to_play_is_ignored(data: Any) -> None:
    for topic in ("ovos.common_play.play", "mycroft.audio.service.play"):
        assert read(topic, data, CONTEXT) == Ignored(**WHOSE)


def test_a_denial_has_its_cure() -> None:
    data = {"code": "acl_disallowed_type", "denied_type": "recognizer_loop:utterance", "reason": "not allowed."}
    denied = read("hive.policy.denied", data, {**CONTEXT, "destination": "agent::7::client::s1"})
    cure = "On the hub run `hivemind-core allow-msg recognizer_loop:utterance 7`."
    assert denied == Denied("recognizer_loop:utterance", "acl_disallowed_type", "not allowed", cure, **WHOSE)


@pytest.mark.parametrize(
    ("data", "context"),
    [
        (None, None),
        ({"code": ["x"], "denied_type": {"a": 1}, "reason": None}, {"destination": ["a::b::c::d"]}),
        ({"code": {}, "reason": True}, {"source": {}}),
        ({"code": "unheard of", "denied_type": 5}, {}),
    ],
)
def test_a_denial_of_any_shape_is_one(data: Any, context: Any) -> None:
    denied = read("hive.policy.denied", data, context)
    assert isinstance(denied, Denied)
    assert denied.cure == ""


def test_a_denial_of_endless_words_has_an_end() -> None:
    long = "x" * 100_000
    denied = read("hive.policy.denied", {"code": long, "denied_type": long, "reason": long}, {"destination": long})
    assert isinstance(denied, Denied)
    assert len(repr(denied)) < 5_000


def test_topics_are_those_that_are_read_under_their_older_names() -> None:
    assert len(set(TOPICS)) == len(TOPICS)
    assert not set(TOPICS) & set(RENAMED.values())
    for topic in TOPICS:
        data = {"utterance": "x", "media": SONG, "tracks": ["x"]}
        assert not isinstance(read(topic, data, {}), Ignored)
        assert read(TWIN_OF.get(topic, topic), data, {}) == read(topic, data, {})
