"""Whatever a hub sends, in whatever shape, the chatroom lives on and answers the next question."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from helpers.chatroom_process import Scene, opened_scene
from helpers.visitor import Visitor

TOPICS = (
    "speak",
    "ovos.utterance.speak",
    "ovos.common_play.play",
    "mycroft.audio.service.play",
    "ovos.audio.service.play",
    "hive.policy.denied",
    "complete_intent_failure",
    "ovos.intent.unmatched",
    "ovos.utterance.handled",
    "ovos.utterance.cancelled",
    "ovos.session.update_default",
    "ovos.session.sync",
)
DEEP: Any = "the end"
for _ in range(60):
    DEEP = {"deeper": [DEEP]}
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e300,
    2**70,
    "",
    "\x00\ud83d\u202e text",
    "x" * 20_000,
    [],
    [[[]]],
    ["a", 1, None, {}],
    {},
    {"a": {"b": None}},
    DEEP,
)
KEYS = (
    "utterance",
    "lang",
    "media",
    "tracks",
    "uri",
    "title",
    "artist",
    "reason",
    "code",
    "denied_type",
    "session_data",
)
CONTEXT_KEYS = ("user", "session", "site_id", "chatroom_turn", "lang")
SESSION_KEYS = ("session_id", "lang", "site_id", "blacklisted_skills", "active_skills")


def data_shapes() -> Iterator[Any]:
    yield from VALUES
    for value in VALUES:
        yield dict.fromkeys(KEYS, value)
        yield {"utterance": "a fine sentence", "media": dict.fromkeys(("title", "artist", "uri", "image"), value)}
        yield {"media": [value, {"title": value}], "tracks": [value, [value], {"uri": value}]}


def context_shapes(known: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Contexts that reach the chatroom, from a real one on."""
    yield known
    for value in VALUES:
        for key in CONTEXT_KEYS:
            yield {**known, key: value}
        for key in SESSION_KEYS:
            yield {**known, "session": {**known["session"], key: value}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with opened_scene(tmp_path_factory.mktemp("malformed"), "--rate", "100000", "--log-level", "INFO") as opened:
        yield opened


@pytest.fixture
def alice(scene: Scene) -> Visitor:
    return scene.visitor("alice", "den")


def known_context(scene: Scene, alice: Visitor, text: str) -> dict[str, Any]:
    """The context in which the assistant answers what Alice just said."""
    alice.say(text)
    alice.wait_answer(text)
    context = scene.bus.hears(text)["context"]
    return {**context, "source": "skills", "destination": context["source"]}


def assert_well(scene: Scene, alice: Visitor, text: str) -> None:
    """It is the same process, in the same state of health, and answers."""
    alice.say(text)
    alice.wait_answer(text)
    assert scene.room.child is not None
    assert scene.room.child.running
    assert scene.room.get("/readyz")[0] == 200
    for path in ("/messages", "/messages?room=den", "/status?room=den", alice.address):
        assert alice.get(path).status == 200
    assert "Traceback" not in scene.room.log()


@pytest.mark.parametrize("topic", TOPICS)
def test_any_data(scene: Scene, alice: Visitor, topic: str) -> None:
    context = known_context(scene, alice, f"before {topic}")
    with alice.listening() as stream:
        stream.wait("hello")
        for data in data_shapes():
            scene.bus.emit(topic, data, context)
            scene.bus.emit(topic, data, {"destination": context["destination"]})
        assert_well(scene, alice, f"after {topic}")
        stream.wait("message", text=f"you said: after {topic}")


@pytest.mark.parametrize("topic", TOPICS[:3])
def test_any_context(scene: Scene, alice: Visitor, topic: str) -> None:
    known = known_context(scene, alice, f"context before {topic}")
    data = {"utterance": "out of nowhere", "media": {"title": "t", "uri": "u"}}
    for context in context_shapes(known):
        scene.bus.emit(topic, data, context)
    assert_well(scene, alice, f"context after {topic}")


def test_no_json_at_all(scene: Scene, alice: Visitor) -> None:
    known_context(scene, alice, "before the noise")
    for frame in (
        "",
        "{",
        "[]",
        "null",
        '{"type": 5}',
        '{"type": "speak"}',
        '{"type": "speak", "data": []}',
        "\x00" * 50,
    ):
        scene.bus.emit_raw(frame)
    assert_well(scene, alice, "after the noise")


def test_a_flood_is_bounded(scene: Scene, alice: Visitor) -> None:
    context = known_context(scene, alice, "before the flood")
    for number in range(3000):
        scene.bus.emit("speak", {"utterance": f"drop {number}"}, context)
    assert_well(scene, alice, "after the flood")
    assert len(alice.messages(room="den", limit=100_000)) <= 500
    assert "drop 0" in [line["text"] for line in alice.messages(limit=100_000)]
