"""The chatroom at a real hub, by its HTTP interface alone: who asks is answered, and everybody sees what is theirs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from helpers.bus_peer import HANDLED, UTTERANCE, Frame, reply, saying, silence, speak
from helpers.chatroom_process import Scene, opened_scene
from helpers.processes import wait_until
from helpers.visitor import Visitor

WAIT_S = 60.0
CROWD = 100


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with opened_scene(tmp_path_factory.mktemp("chatroom"), "--rate", "100000") as opened:
        yield opened


def test_the_front_door_leads_into_a_room(scene: Scene) -> None:
    visitor = Visitor(scene.room.port)
    answer = visitor.get("/")
    assert (answer.status, answer.headers["Location"]) == (302, "/chatroom/anon_user/flask/en")
    page = visitor.get("/chatroom/anon_user/flask/en")
    assert page.status == 200
    assert "text/html" in page.headers["Content-Type"]
    assert visitor.get("/static/logo.png").headers["Content-Type"] == "image/png"


def test_a_form_is_answered_and_who_sent_it_stays_who_they_are(scene: Scene) -> None:
    alice = scene.visitor("alice", "livingroom")
    answer = alice.say_form("hello by form")
    assert (answer.status, answer.headers["Location"]) == (302, "/chatroom/alice/livingroom/en")
    [line] = alice.wait_answer("hello by form")
    assert line["message"] == "@alice - you said: hello by form"
    assert (line["username"], line["incoming"], line["room"]) == ("HiveMind", True, "livingroom")
    assert alice.get("/").headers["Location"] == "/chatroom/alice/livingroom/en"


def test_a_script_without_a_cookie_is_answered(scene: Scene) -> None:
    script = Visitor(scene.room.port, "script", "workshop")
    said = script.say("hello by script")
    assert said.status == 202
    assert {"username": "script", "text": "hello by script", "role": "user"}.items() <= said.json.items()
    [line] = script.wait_answer("hello by script")
    assert line["reply_to"] == said.json["id"]


def test_blank_fields_have_the_released_defaults(scene: Scene) -> None:
    answer = Visitor(scene.room.port, "", "", "").say_form("nobody special")
    assert (answer.status, answer.headers["Location"]) == (302, "/chatroom/anon_user/flask/en")


@pytest.mark.parametrize("message", ["", "   ", "\n\t"])
def test_an_empty_message_is_refused(scene: Scene, message: str) -> None:
    answer = scene.visitor("alice").say(message)
    assert answer.status == 400
    assert answer.json["error"]
    assert answer.json["message"]


def test_a_missing_field_is_refused(scene: Scene) -> None:
    alice = scene.visitor("alice")
    assert alice.post("/send_message", {"username": "alice", "site_id": "flask", "lang": "en"}).status == 400


def test_a_crowd_at_once_each_gets_their_own_answer(scene: Scene) -> None:
    together = threading.Barrier(CROWD)

    def one(number: int) -> tuple[int, str]:
        visitor = Visitor(scene.room.port, f"guest {number}", "party")
        visitor.enter()
        together.wait(60)
        said = visitor.say(f"question {number}")
        return said.status, said.json["user_id"]

    with ThreadPoolExecutor(CROWD) as pool:
        outcomes = list(pool.map(one, range(CROWD)))
    assert {status for status, _ in outcomes} == {202}
    assert len({user_id for _, user_id in outcomes}) == CROWD

    onlooker = Visitor(scene.room.port, room="party")

    def answered() -> list[dict[str, Any]] | None:
        lines = [x for x in onlooker.messages(room="party", limit=500) if x["role"] == "assistant"]
        return lines if len(lines) >= CROWD else None

    replies = wait_until(answered, 60, "an answer for each")
    questions = {x["id"]: x for x in onlooker.messages(room="party", limit=500) if x["role"] == "user"}
    assert len(replies) == CROWD
    for line in replies:
        question = questions[line["reply_to"]]
        assert line["to"] == question["username"]
        assert line["text"] == f"you said: {question['text']}"
        assert question["state"] == "answered"


def test_each_user_has_a_session_of_their_own(scene: Scene) -> None:
    alice, bob = scene.visitor("alice", "attic", "pt-pt"), scene.visitor("bob", "cellar", "de-de")
    alice.say("olá do sótão")
    bob.say("hallo aus dem Keller")
    first, second = (scene.bus.hears(x)["context"] for x in ("olá do sótão", "hallo aus dem Keller"))
    assert (first["user"], second["user"]) == ("alice", "bob")
    assert first["platform"] == second["platform"] == "JarbasFlaskChatRoomV0.2"
    assert first["session"]["session_id"] != second["session"]["session_id"]
    assert (first["session"]["site_id"], second["session"]["site_id"]) == ("attic", "cellar")
    assert (first["session"]["lang"].lower(), second["session"]["lang"].lower()) == ("pt-pt", "de-de")
    assert "alice" not in first["session"]["session_id"]
    alice.say("mais uma vez")
    assert scene.bus.hears("mais uma vez")["context"]["session"]["session_id"] == first["session"]["session_id"]


def test_rooms_are_apart_and_unscoped_is_all_of_them(scene: Scene) -> None:
    alice, bob = scene.visitor("alice", "north"), scene.visitor("bob", "south")
    alice.say("from the north")
    bob.say("from the south")
    alice.wait_answer("from the north")
    bob.wait_answer("from the south")
    assert {x["room"] for x in alice.messages(room="north")} == {"north"}
    everything = [x["text"] for x in alice.messages()]
    assert {"from the north", "from the south"} <= set(everything)


def test_a_slow_answer_finds_its_question(scene: Scene) -> None:
    kept: list[Frame] = []
    scene.bus.on("slow one", lambda message: kept.append(message) or [])
    alice, bob = scene.visitor("alice", "crossroads"), scene.visitor("bob", "crossroads")
    slow = alice.say("slow one").json["id"]
    wait_until(lambda: kept, WAIT_S, "the slow question")
    bob.say("quick one")
    bob.wait_answer("quick one")
    for frame in saying("at last", "and more")(kept[0]):
        scene.bus.emit(frame["type"], frame["data"], frame["context"])
    lines = alice.wait_answer("slow one", 2)
    assert [(x["text"], x["reply_to"], x["to"]) for x in lines] == [
        ("at last", slow, "alice"),
        ("and more", slow, "alice"),
    ]


def test_since_and_limit(scene: Scene) -> None:
    alice = scene.visitor("alice", "library")
    for number in range(5):
        alice.say(f"book {number}")
        alice.wait_answer(f"book {number}")
    lines = alice.messages(room="library")
    assert [x["id"] for x in lines] == sorted(x["id"] for x in lines)
    assert len(lines) == 10
    last = max(x["seq"] for x in lines)
    assert alice.messages(room="library", since=last) == []
    assert [x["text"] for x in alice.messages(room="library", limit=2)] == ["book 4", "you said: book 4"]
    middle = lines[5]["seq"]
    assert [x["id"] for x in alice.messages(room="library", since=middle)] == [
        x["id"] for x in lines if x["seq"] > middle
    ]
    for wrong in ("since=x", "limit=x", "limit=-1"):
        assert alice.get(f"/messages?room=library&{wrong}").status in (200, 400)


def test_a_poll_that_finds_nothing_new_costs_nothing(scene: Scene) -> None:
    alice = scene.visitor("alice", "quiet")
    alice.say("one line")
    alice.wait_answer("one line")
    first = alice.get("/messages?room=quiet")
    again = alice.get("/messages?room=quiet", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    alice.say("another line")
    alice.wait_answer("another line")
    changed = alice.get("/messages?room=quiet", **{"If-None-Match": first.headers["ETag"]})
    assert changed.status == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_what_happens_is_streamed(scene: Scene) -> None:
    alice, bob = scene.visitor("alice", "stream"), scene.visitor("bob", "stream")
    with bob.listening() as stream:
        hello = stream.wait("hello")
        assert (hello["room"], hello["link"]["state"]) == ("stream", "connected")
        assert stream.retry == "3000"
        assert alice.post("/typing", {"username": "alice", "site_id": "stream", "typing": True}).status == 204
        typing = stream.wait("typing")
        assert (typing["username"], typing["typing"]) == ("alice", True)
        question = alice.say("who listens?").json
        stream.wait("message", id=question["id"], state="answered")
        reply = stream.wait("message", reply_to=question["id"])
        assert reply["text"] == "you said: who listens?"
        people = stream.wait("people")
        assert {person["username"] for person in people} <= {"alice", "bob"}
        ids = [int(number) for event, _, number in stream.events if event == "message"]
        assert ids == sorted(ids)
        assert ids == [data["seq"] for data in stream.of("message")]


def test_a_stream_goes_on_where_it_was_cut(scene: Scene) -> None:
    alice, bob = scene.visitor("alice", "cut"), scene.visitor("bob", "cut")
    with bob.listening() as stream:
        stream.wait("hello")
        alice.say("before the cut")
        stream.wait("message", text="you said: before the cut")
        last = [number for event, _, number in stream.events if event == "message"][-1]
    alice.say("while away")
    alice.wait_answer("while away")
    with bob.listening(since=last) as stream:
        stream.wait("message", text="you said: while away")
        alice.say("after it")
        stream.wait("message", text="you said: after it")
        assert "before the cut" not in [x["text"] for x in stream.of("message")]
        newest = {x["id"]: x["text"] for x in stream.of("message")}
        assert list(newest.values()) == ["while away", "you said: while away", "after it", "you said: after it"]


def test_a_number_from_another_time_starts_anew(scene: Scene) -> None:
    alice = scene.visitor("alice", "anew")
    alice.say("still here")
    alice.wait_answer("still here")
    with alice.listening(since=2**52) as stream:
        stream.wait("reset")
        stream.wait("message", text="you said: still here")


def test_a_private_conversation_is_seen_by_its_own_browser_only(scene: Scene) -> None:
    alice, bob = scene.visitor("alice", "secrets"), scene.visitor("bob", "secrets")
    with bob.listening() as stream:
        stream.wait("hello")
        alice.say("between us", private=True)
        [line] = alice.wait_answer("between us")
        assert line["private"]
        bob.say("in public")
        stream.wait("message", text="you said: in public")
        assert "between us" not in str(stream.events)
    assert "between us" not in bob.get("/messages").text
    assert "between us" not in bob.get("/messages?room=secrets").text
    assert "between us" not in Visitor(scene.room.port).get("/messages").text


def test_the_assistant_changes_somebodys_language(scene: Scene) -> None:
    def portuguese(message: Frame) -> list[Frame]:
        session = {**message["context"]["session"], "lang": "pt-PT"}
        return [speak(message, "Agora em português.", session=session), reply(message, HANDLED, {}, session=session)]

    scene.bus.on("speak portuguese please", portuguese)
    alice = scene.visitor("alice", "languages")
    with alice.listening() as stream:
        stream.wait("hello")
        alice.say("speak portuguese please")
        assert stream.wait("you")["lang"].lower() == "pt-pt"


def test_media_is_described(scene: Scene) -> None:
    media = {"title": "Blue in Green", "artist": "Miles Davis", "uri": "https://example.org/a.mp3", "image": ""}
    playing = {"media": {**media, "length": 337}, "playlist": []}
    scene.bus.on(
        "play jazz", lambda message: [reply(message, "ovos.common_play.play", playing), reply(message, HANDLED, {})]
    )
    tracks = {"tracks": ["https://example.org/b.mp3", ["https://example.org/c.mp3", "audio/mpeg"]]}
    scene.bus.on(
        "play old", lambda message: [reply(message, "mycroft.audio.service.play", tracks), reply(message, HANDLED, {})]
    )
    alice = scene.visitor("alice", "jazz")
    alice.say("play jazz")
    [line] = alice.wait_answer("play jazz")
    assert line["kind"] == "media"
    assert line["media"] == media
    alice.say("play old")
    shown = " ".join(x["message"] for x in alice.wait_answer("play old"))
    assert "https://example.org/b.mp3" in shown
    assert "https://example.org/c.mp3" in shown
    assert "[" not in shown


def test_what_nobody_asked_for_is_announced(scene: Scene) -> None:
    alice = scene.visitor("alice", "kitchen")
    alice.say("so that it is known")
    alice.wait_answer("so that it is known")
    scene.announce("speak", {"utterance": "Your timer is over."})

    def announced() -> list[dict[str, Any]]:
        return [x for x in alice.messages(room="kitchen") if x["text"] == "Your timer is over."]

    [line] = wait_until(announced, WAIT_S, "the announcement")
    assert (line["kind"], line["role"], line["reply_to"]) == ("announcement", "assistant", None)


def test_a_renamed_message_is_shown_once(scene: Scene) -> None:
    def twice(message: Frame) -> list[Frame]:
        said = {"utterance": "said twice, shown once", "lang": "en-us"}
        marked = reply(message, "speak", said, _namespace_compat_twin=True)
        return [reply(message, "ovos.utterance.speak", said), marked, reply(message, HANDLED, {})]

    scene.bus.on("newer assistant", twice)
    alice = scene.visitor("alice", "newer")
    alice.say("newer assistant")
    alice.wait_state("newer assistant", "answered")
    alice.say("and then")
    alice.wait_answer("and then")
    assert [x["text"] for x in alice.messages(room="newer")].count("said twice, shown once") == 1


def test_not_understood_is_said(scene: Scene) -> None:
    scene.bus.on(
        "gibberish", lambda message: [reply(message, "complete_intent_failure", {}), reply(message, HANDLED, {})]
    )
    alice = scene.visitor("alice", "odd")
    alice.say("gibberish")
    assert alice.wait_state("gibberish", "failed")["note"]


def test_a_denied_message_names_the_cure_and_the_cure_works_at_once(scene: Scene) -> None:
    alice = scene.visitor("alice", "denied")
    try:
        scene.hub.command("blacklist-msg", UTTERANCE, "1")
        wait_until(lambda: denied(alice), WAIT_S, "a denial")
    finally:
        scene.hub.command("allow-msg", UTTERANCE, "1")
    line = denied(alice)
    assert line is not None
    assert f"hivemind-core allow-msg {UTTERANCE} 1" in line["note"]

    def answered() -> bool:
        alice.say("am I heard again")
        wait_until(lambda: state(alice, "am I heard again") in ("answered", "denied"), WAIT_S, "an outcome")
        return state(alice, "am I heard again") == "answered"

    wait_until(answered, WAIT_S, "an answer after the cure")


def state(visitor: Visitor, text: str) -> str:
    """What became of the last message with this text."""
    return str([x for x in visitor.messages(room=visitor.room, limit=500) if x["text"] == text][-1]["state"])


def denied(visitor: Visitor) -> dict[str, Any] | None:
    """Say something once; the last of these that was denied."""
    visitor.say("am I heard")
    wait_until(lambda: state(visitor, "am I heard") not in ("sending", "sent"), WAIT_S, "an outcome")
    lines = [x for x in visitor.messages(room=visitor.room, limit=500) if x["state"] == "denied"]
    return lines[-1] if lines else None


def test_status_for_pages_that_poll(scene: Scene) -> None:
    alice, bob = scene.visitor("alice", "poll"), scene.visitor("bob", "poll")

    def typing() -> list[str]:
        """Who does, right after somebody did; it counts for some seconds."""
        bob.post("/typing", {"username": "bob", "site_id": "poll", "typing": True})
        return list(alice.get("/status?room=poll").json["typing"])

    wait_until(lambda: typing() == ["bob"], WAIT_S, "bob typing")
    assert alice.get("/status?room=poll").json["link"]["state"] == "connected"


def test_an_unanswered_question_is_said(scene: Scene) -> None:
    scene.bus.on("silence please", silence)
    impatient = scene.another("--answer-timeout", "1", name="impatient")
    alice = Visitor(impatient.port, "alice", "hush")
    alice.enter()
    alice.say("silence please")
    assert alice.wait_state("silence please", "failed")["note"]
    assert impatient.stop() == 0
