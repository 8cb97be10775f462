"""A conversation with a bit of everything in it: questions and replies, music, an announcement, a failure."""

from __future__ import annotations

from .bus_peer import HANDLED, BusPeer, reply, saying, silence
from .chatroom_process import Scene
from .processes import wait_until
from .visitor import Visitor

PEOPLE = ("alice", "Rui", "carol")
SONG = {
    "title": "Blue in Green",
    "artist": "Miles Davis",
    "uri": "https://music.example.org/kind-of-blue/3",
    "image": "",
}
ANSWERS = {
    "What's the weather like today?": "Sunny with a light breeze, up to 24 degrees in Porto.",
    "Set a timer for the pizza, 12 minutes": "Alright, 12 minutes. I will call you when it is ready.",
    "Lights off in the hallway, please": "The hallway is dark now.",
    "qual é a capital da Islândia?": "A capital da Islândia é Reiquiavique.",
}


def prepare(bus: BusPeer) -> None:
    """Teach the assistant its part."""
    for question, answer in ANSWERS.items():
        bus.on(question, saying(answer))
    bus.on(
        "Play something by Miles Davis",
        lambda message: [reply(message, "ovos.common_play.play", {"media": SONG}), reply(message, HANDLED, {})],
    )
    bus.on(
        "flurble the wombat",
        lambda message: [reply(message, "complete_intent_failure", {}), reply(message, HANDLED, {})],
    )
    bus.on("Who wrote Os Lusíadas?", silence)


def converse(scene: Scene, room: str) -> None:
    """Let people talk in a room; the last question is still open."""
    prepare(scene.bus)
    alice, rui, carol = (scene.visitor(name, room) for name in PEOPLE)
    rui.lang = "pt-PT"
    ask(alice, "What's the weather like today?")
    carol.say("flurble the wombat")
    carol.wait_state("flurble the wombat", "failed")
    ask(carol, "Lights off in the hallway, please")
    ask(rui, "qual é a capital da Islândia?")
    ask(carol, "Play something by Miles Davis")
    ask(alice, "Set a timer for the pizza, 12 minutes")
    session = scene.bus.hears("Set a timer for the pizza, 12 minutes")["context"]["session"]
    scene.announce("speak", {"utterance": "The pizza is ready."}, session={**session, "session_id": "nobody's"})
    wait_until(lambda: any(x["kind"] == "announcement" for x in alice.messages(room=room)), 60, "the announcement")
    rui.say("Who wrote Os Lusíadas?")
    rui.wait_state("Who wrote Os Lusíadas?", "sent")


def ask(visitor: Visitor, text: str) -> None:
    """Say something and wait for the answer."""
    assert visitor.say(text).status == 202
    visitor.wait_answer(text)
