"""A real OVOS, our hub beside or under it, and satellites of every make that talk to its skills."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .hub_process import HOST, HubProcess
from .ovos import LANG, Ovos
from .pair import DRIVERS, OUR_PROGRAMS, OURS, SLOW_S, programs
from .processes import PATIENCE_S, POLL_S, Child, ChildError, Children, wait_until

UTTERANCE = "recognizer_loop:utterance"
PLAYING, PLAYED = "recognizer_loop:audio_output_start", "recognizer_loop:audio_output_end"
PLAYBACK_S = 0.15
ANSWER_S = 12
"""Less than the 15 seconds after which a skill no longer waits for its words to be spoken."""
LOST_S, QUIET_S, LATE_S = 4, 1.0, 3.0
"""After which an answer is taken for lost, and none for still under way: the latter where one was taken for lost."""
PASSWORD = "orbital-walnut-cipher-93-lantern"


@dataclass(frozen=True)
class Place:
    """How hub and OVOS stand to each other."""

    name: str
    generation: str
    agent: str

    @property
    def embedded(self) -> bool:
        """OVOS has no bus of its own: it joins the hub's."""
        return self.agent == "embedded"


class Voice:
    """A satellite with somebody in front of it."""

    def __init__(self, child: Child, plays: bool) -> None:
        self.child = child
        self._plays = plays
        """It is a player's: it says itself that it speaks, and when it is done."""
        self._lines_read = 0
        self._events: list[dict[str, Any]] = []

    def say(self, text: str, lang: str = LANG) -> None:
        """Say something; `events` holds what comes of it."""
        self.child.send("message", type=UTTERANCE, data={"utterances": [text], "lang": lang})

    def ask(self, text: str, lang: str = LANG, timeout_s: float = ANSWER_S, *, again: bool = True) -> list[str]:
        """Say something and return what was spoken until it was handled.

        Where that takes too long it is said `again`: the machine may be slow, but not each time.
        """
        before = len(self.events())
        self.say(text, lang)
        try:
            self.wait_event("handled", before, timeout_s)
        except ChildError:
            if not again:
                raise
            self.settle(LATE_S)
            return self.ask(text, lang, timeout_s, again=False)
        return self.spoken(before)

    def wait_event(self, event: str, since: int, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """Wait for an event after the first `since`, and play what is to be spoken meanwhile."""
        end, played = time.monotonic() + timeout_s, 0
        while True:
            new = self.events()[since:]
            if self._plays and sum(x["event"] == "speak" for x in new) > played:
                played += 1
                self._play()
            if found := next((x for x in new if x["event"] == event), None):
                return found
            if time.monotonic() > end:
                raise ChildError(f"{self.child.name}: no {event} within {timeout_s:g} s\n{self.child.tail()}")
            time.sleep(POLL_S)

    def _play(self) -> None:
        self.child.send("message", type=PLAYING)
        time.sleep(PLAYBACK_S)
        self.child.send("message", type=PLAYED)

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What its driver has told so far: everything, or of one name."""
        lines = self.child.lines()
        told = [line for line in lines[self._lines_read :] if line.startswith('{"event"')]
        self._lines_read = len(lines)
        self._events += map(json.loads, told)
        return [event for event in self._events if name in ("", event["event"])]

    def spoken(self, since: int = 0) -> list[str]:
        return [event["utterance"] for event in self.events()[since:] if event["event"] == "speak"]

    def until_answered(self, text: str, timeout_s: float = 60) -> list[str]:
        """Ask, again and again until there is an answer; return it when no answer to an earlier one is to come."""
        before, asked = len(self.events("handled")), 0

        def answer() -> list[str]:
            nonlocal asked
            asked += 1
            try:
                return self.ask(text, timeout_s=LOST_S, again=False)
            except ChildError:
                return []

        found = list(wait_until(answer, timeout_s, f"an answer to {text!r}\n{self.child.tail()}"))
        if len(self.events("handled")) < before + asked:
            self.settle(LATE_S)
        return found

    def settle(self, quiet_s: float = QUIET_S) -> None:
        """Wait until nothing more comes."""
        count = -1
        while count != (count := len(self.events())):
            time.sleep(quiet_s)


class Scene:
    """Everything that runs in one place; it runs from the moment it is made."""

    def __init__(self, children: Children, place: Place) -> None:
        self.place = place
        self.children = children
        self.ovos = Ovos(children, place.generation)
        self.hub = HubProcess(children, OUR_PROGRAMS / "hivemind-core", self.ovos.port)
        bus = {"host": HOST, "port": self.ovos.port}
        self.hub.configure({"agent_protocol": {"module": place.agent, "hivemind-ovos-agent-plugin": bus}})
        self._begun: dict[str, Child] = {}
        self._voices: dict[tuple[str, str], Voice] = {}
        if place.embedded:
            self.hub.start()
            self.ovos.start(own_bus=False)
        else:
            self.ovos.start()
            self.hub.start()

    def voice(self, make: str, room: str = "kitchen") -> Voice:
        """The satellite of a make in a room, made and connected once."""
        key = (make, room)
        if key not in self._voices:
            self._voices[key] = self._connected(make, room)
        return self._voices[key]

    def begin(self, *makes: str, room: str = "kitchen") -> None:
        """Let satellites connect that take their time, while others are busy."""
        for make in makes:
            name = self.client_name(make, room)
            if name not in self._begun:
                self._begun[name] = self._connect(make, name)

    @staticmethod
    def client_name(make: str, room: str) -> str:
        return f"{make}-{room}".replace(".", "-")

    @staticmethod
    def access_key(name: str) -> str:
        return f"key-of-{name}"

    def add_client(self, name: str) -> None:
        self.hub.command("add-client", "--name", name, "--access-key", self.access_key(name), "--password", PASSWORD)

    def client_id(self, name: str) -> str:
        rows = json.loads(self.hub.command("list-clients", "--json"))
        return str(next(row["client_id"] for row in rows if row["name"] == name))

    def _connected(self, make: str, room: str) -> Voice:
        self.begin(make, room=room)
        child = self._begun[self.client_name(make, room)]
        child.expect("connected", SLOW_S)
        voice = Voice(child, plays=make != OURS)
        voice.until_answered("what time is it")  # the oldest say that they are connected before they are
        return voice

    def _connect(self, make: str, name: str) -> Child:
        self.add_client(name)
        ours = make == OURS
        options = {
            "port": str(self.hub.port),
            "key": self.access_key(name),
            "password": PASSWORD,
            "useragent": name,
            "more": json.dumps({"acknowledge_playback": True} if ours else {}),
        }
        argv = [programs(make) / "python", DRIVERS / "satellite.py", *(f"--{k}={v}" for k, v in options.items())]
        return self.children.spawn(name, argv)

    # What passed on the bus

    def speaker_of(self, utterance: str) -> str:
        """The skill that said something last; a satellite may have heard it before it is written down."""

        def skills() -> list[str]:
            said = (x["data"] for kind in ("speak", "ovos.utterance.speak") for x in self.ovos.messages(kind))
            return [x["meta"]["skill"] for x in said if x["utterance"] == utterance]

        return str(wait_until(skills, PATIENCE_S, f"{utterance!r} on the bus")[-1])

    def sessions_of(self, voice: Voice) -> list[dict[str, Any]]:
        """The session in each utterance of a satellite, as OVOS got it."""
        contexts = [message["context"] for message in self.ovos.messages(UTTERANCE)]
        return [x["session"] for x in contexts if str(x.get("source")).startswith(f"{voice.child.name}::")]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make calls in a thread each; their results. Raises what the first that failed has raised."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
