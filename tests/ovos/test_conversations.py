"""What people say to satellites reaches real skills, and what those say comes back to whoever asked."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from helpers.ovos import NEWEST, OTHER_LANG
from helpers.ovos_scene import PASSWORD, Scene, Voice, at_once
from helpers.pair import OURS
from helpers.processes import wait_until
from helpers.released import OLDEST_CLIENTS
from helpers.spoken_time import GERMAN, hour_names

from .conftest import NEWER

pytestmark = pytest.mark.timeout(600)

RELEASED = "released-client"
MAKES = (OURS, RELEASED)
CLOCK, HELLO, PERSONAL, UNKNOWN = (
    f"ovos-skill-{name}.openvoiceos" for name in ("date-time", "hello-world", "personal", "fallback-unknown")
)


@pytest.fixture(autouse=True)
def slow_ones(scene: Scene) -> None:
    """Years ago satellites took five seconds and more to connect: they begin at once."""
    scene.begin(*OLDEST_CLIENTS)


def there() -> datetime:
    """The time where OVOS thinks it is unless it is told."""
    return datetime.now(ZoneInfo("America/Chicago"))


def hours() -> str:
    return rf"\b({'|'.join(sorted(hour_names(there())))})\b"


def month() -> str:
    return f"{there():%B}"


QUESTIONS: dict[str, tuple[str, Callable[[], str]]] = {
    "what time is it": (CLOCK, hours),
    "what day is it": (CLOCK, month),
    "hello world": (HELLO, lambda: "hello world"),
    "who made you": (PERSONAL, lambda: "community"),
    "blargh frobnicate": (UNKNOWN, lambda: "."),
}
"""What is asked, which skill answers, and what is in the answer."""


def answered(scene: Scene, voice: Voice, question: str) -> None:
    skill, expected = QUESTIONS[question]
    at_first = expected()
    spoken = voice.ask(question)
    assert len(spoken) == 1
    assert re.search(f"{at_first}|{expected()}", spoken[0], re.IGNORECASE), spoken
    assert scene.speaker_of(spoken[0]) == skill


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("make", MAKES)
def test_a_question_is_answered_once_by_a_real_skill(scene: Scene, make: str, question: str) -> None:
    answered(scene, scene.voice(make), question)


@pytest.mark.parametrize("make", MAKES)
def test_stop(scene: Scene, make: str) -> None:
    voice, before = scene.voice(make), orders_to_stop(scene)
    assert voice.ask("stop") == []
    wait_until(lambda: orders_to_stop(scene) > before, 60, "a skill, or all of them, are told to stop")


def orders_to_stop(scene: Scene) -> int:
    """How often all skills, or the one in use, were told to stop."""
    return sum(
        message["type"] == "mycroft.stop" or message["type"].endswith(".stop") for message in scene.ovos.messages()
    )


@pytest.mark.parametrize("make", OLDEST_CLIENTS)
def test_satellites_of_years_ago_hear_every_generation_once(scene: Scene, make: str) -> None:
    voice = scene.voice(make)
    for question in ("what time is it", "hello world"):
        answered(scene, voice, question)


def test_typed_in_the_terminal(scene: Scene) -> None:
    scene.add_client("typist")
    where = ["--host", "127.0.0.1", "--port", str(scene.hub.port)]
    who = ["--key", scene.access_key("typist"), "--password", PASSWORD]
    terminal = scene.children.spawn(
        "terminal", [Path(sys.executable).with_name("hivemind-client"), "terminal", *where, *who]
    )
    at_first = hours()
    terminal.write("what time is it\n")
    terminal.wait_output(">  ")  # the newest OVOS mixes up what comes at once in one session
    terminal.write("hello world\n")
    terminal.close_stdin()
    assert terminal.wait_exit() == 0
    assert re.search(rf"^>  .*({at_first}|{hours()})", terminal.output(), re.MULTILINE)
    assert ">  Hello world" in terminal.output()
    assert "denied" not in terminal.output()


def test_two_at_once_hear_only_their_own_answers(scene: Scene) -> None:
    kitchen, hall = scene.voice(OURS), scene.voice(RELEASED)
    before, at_first = (len(kitchen.events()), len(hall.events())), hours()
    for _ in range(4):
        at_once(lambda: kitchen.ask("what time is it"), lambda: hall.ask("who made you"))
    time.sleep(0.5)  # what came astray would come now
    told, made = kitchen.spoken(before[0]), hall.spoken(before[1])
    assert len(told) == len(made) == 4
    assert all(re.search(f"{at_first}|{hours()}", text, re.IGNORECASE) for text in told)
    assert all("community" in text for text in made)


def test_a_session_stays_the_same_and_stays_apart(scene: Scene) -> None:
    kitchen, hall = scene.voice(OURS), scene.voice(RELEASED)
    for voice in (kitchen, hall):
        voice.ask("what time is it")
    ours, theirs = ({session["session_id"] for session in scene.sessions_of(voice)} for voice in (kitchen, hall))
    assert len(ours) == len(theirs) == 1
    assert ours != theirs
    assert all(re.fullmatch(r"[0-9a-f]{16}:\S+", session_id) for session_id in ours | theirs)


@pytest.mark.parametrize("scene", [NEWER], ids=[NEWER.name], indirect=True)
def test_a_skill_keeps_up_a_conversation_with_one_satellite(scene: Scene) -> None:
    """Older OVOS could not: it asks every skill that was ever active, and lets none go."""
    kitchen, bedroom = scene.voice(OURS), scene.voice(OURS, "bedroom")
    assert kitchen.ask("be a parrot") == ["I am a parrot"]
    try:
        parrot_says(kitchen, "who made you", "you said who made you")
        answered(scene, bedroom, "who made you")
        parrot_says(kitchen, "what time is it", "you said what time is it")
    finally:
        parrot_says(kitchen, "that is enough", "silence")
    answered(scene, kitchen, "who made you")


def parrot_says(voice: Voice, text: str, expected: str) -> None:
    """Say something until the parrot takes it: OVOS asks a skill for half a second whether it wants to, and a loaded
    machine may be slower."""

    def said() -> bool:
        return voice.ask(text) == [expected] or not voice.ask("be a parrot")

    wait_until(said, 60, f"{expected!r}\n{voice.child.tail()}")


def test_a_skill_asks_back_and_gets_its_answer_from_whoever_it_asked(scene: Scene) -> None:
    kitchen, bedroom = scene.voice(OURS), scene.voice(OURS, "bedroom")
    before = len(kitchen.events())
    kitchen.say("knock knock")
    wait_until(lambda: kitchen.spoken(before) == ["who is there"], 60, f"a question\n{kitchen.child.tail()}")
    answered(scene, bedroom, "who made you")
    kitchen.say("bob")
    wait_until(lambda: len(kitchen.spoken(before)) > 1, 60, f"an answer\n{kitchen.child.tail()}")
    kitchen.settle()
    assert kitchen.spoken(before) == ["who is there", "welcome bob"]
    answered(scene, kitchen, "who made you")


@pytest.mark.parametrize("make", MAKES)
def test_a_question_is_answered_in_its_language(scene: Scene, make: str) -> None:
    voice = scene.voice(make)
    spoken = voice.ask("wie spät ist es", OTHER_LANG)
    assert len(spoken) == 1
    assert re.search(GERMAN, spoken[0], re.IGNORECASE), spoken  # "Aktuell dreiviertel drei"
    assert scene.speaker_of(spoken[0]) == CLOCK
    answered(scene, voice, "what time is it")


@pytest.mark.parametrize("make", MAKES)
def test_a_barred_skill_does_not_answer(scene: Scene, make: str) -> None:
    voice, other = scene.voice(make), scene.voice(OURS, "bedroom")
    client = scene.client_id(voice.child.name)
    scene.hub.command("blacklist-skill", HELLO, client)
    wait_until(lambda: skill_for(scene, voice, "hello world") != HELLO, 60, "the skill is barred")
    wait_until(
        lambda: HELLO in scene.sessions_of(voice)[-1].get("blacklisted_skills", []),
        60,
        "it is told to OVOS in the session",
    )
    answered(scene, voice, "who made you")
    answered(scene, other, "hello world")
    scene.hub.command("allow-skill", HELLO, client)
    wait_until(lambda: skill_for(scene, voice, "hello world") == HELLO, 60, "the skill is no longer barred")


@pytest.mark.parametrize("make", MAKES)
def test_a_barred_intent_does_not_answer(scene: Scene, make: str) -> None:
    voice = scene.voice(make)
    client = scene.client_id(voice.child.name)
    name = "who_made_you" if scene.place.generation == NEWEST else "WhoMadeYou.intent"
    scene.hub.command("blacklist-intent", f"{PERSONAL}:{name}", client)
    wait_until(lambda: skill_for(scene, voice, "who made you") != PERSONAL, 60, "the intent is barred")
    answered(scene, voice, "what time is it")
    scene.hub.command("allow-intent", f"{PERSONAL}:{name}", client)
    wait_until(lambda: skill_for(scene, voice, "who made you") == PERSONAL, 60, "the intent is no longer barred")


def skill_for(scene: Scene, voice: Voice, question: str) -> str:
    """Which skill answers a question now."""
    spoken = voice.ask(question)
    return scene.speaker_of(spoken[-1]) if spoken else ""


def test_no_secret_is_on_the_bus(scene: Scene) -> None:
    scene.voice(OURS).ask("what time is it")
    said = scene.ovos.record.read_text("utf-8")
    assert scene.access_key("") not in said
    assert PASSWORD not in said
