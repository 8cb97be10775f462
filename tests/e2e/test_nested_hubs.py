"""Three hubs, each joined to the one above, with satellites at every level: all of them processes of their own.

The top is in the tower, the middle in the house, the lowest in the kitchen; so are their satellites, and one more of
the lowest is in the hall.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from helpers import mesh_satellite
from helpers.hub_process import HOST, HubProcess
from helpers.processes import Child, Children, json_lines, wait_until
from hivemind_bus_client.identity import NodeIdentity

LEVEL_BUS = Path(mesh_satellite.__file__).with_name("level_bus.py")
PROGRAM = Path(sys.executable).parent / "hivemind-core"
PASSWORD = "orbital-walnut-cipher-93-lantern"
SITES = {"top": "tower", "middle": "house", "low": "kitchen"}
LEVELS = tuple(SITES)
SATELLITES = {"of-top": ("top", "tower"), "of-middle": ("middle", "house"), "one": ("low", "kitchen")} | {
    "two": ("low", "hall")
}
WAIT_S = 60.0
QUIET_S = 0.5
PROMPT_S = 8
"""Less than silence would take."""


@dataclass
class Level:
    """A hub and the bus of its agent."""

    hub: HubProcess
    record: Path
    node_id: str

    def heard(self, topic: str, words: str) -> list[dict[str, Any]]:
        """What came onto the agent's bus with these words in it."""
        frames = json_lines(self.record)
        return [frame for frame in frames if frame["type"] == topic and words in json.dumps(frame["data"])]

    def log(self) -> str:
        assert self.hub.child is not None
        return self.hub.child.output()


class Tree:
    """The hubs and their satellites."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.levels: dict[str, Level] = {}
        self.satellites: dict[str, Child] = {}

    def grow(self) -> None:
        above = None
        for name in LEVELS:
            self.levels[name] = self._level(name, above)
            above = self.levels[name]
        for below in LEVELS[1:]:
            wait_until(lambda below=below: "joined the hub above" in self.levels[below].log(), WAIT_S, below)
        for name, (level_name, site) in SATELLITES.items():
            self.satellites[name] = self._satellite(name, level_name, site)
        for satellite in self.satellites.values():
            satellite.expect("connected")

    def _level(self, name: str, above: Level | None) -> Level:
        record = self.children.home(f"bus-{name}").path / "record"
        bus = self.children.spawn(f"bus-{name}", [sys.executable, LEVEL_BUS, "--level", name, "--record", record])
        hub = HubProcess(self.children, PROGRAM, bus.expect("ready")["port"], name=name)
        identity = NodeIdentity(hub.home.config / "hivemind-core" / "_identity.json")
        identity.name, identity.site_id = "hivemind-core", SITES[name]
        identity.create_keys()
        identity.save()
        if above is not None:
            block = {"enabled": True, "host": HOST, "port": above.hub.port, "key": f"hub-{name}", "password": PASSWORD}
            hub.configure({"upstream": block})
        self._let_in(hub, name)
        hub.start()
        return Level(hub, record, str(identity.public_key))

    def _let_in(self, hub: HubProcess, name: str) -> None:
        below = dict(pairwise(LEVELS)).get(name)
        if below:
            hub.command("add-client", "--name", below, "--access-key", f"hub-{below}", "--password", PASSWORD)
        for satellite, (level, _) in SATELLITES.items():
            if level == name:
                own = ["--name", satellite, "--access-key", satellite, "--password", PASSWORD]
                hub.command("add-client", *own, "--admin", "true" if satellite == "of-top" else "false")

    def _satellite(self, name: str, level: str, site: str) -> Child:
        port = str(self.levels[level].hub.port)
        arguments = ["--port", port, "--key", name, "--password", PASSWORD, "--site", site]
        return self.children.spawn(name, [sys.executable, mesh_satellite.__file__, *arguments])

    # what happens in it

    def send(self, satellite: str, kind: str, words: str, **more: Any) -> None:
        """Let a satellite send an utterance in an envelope."""
        topic, data = "recognizer_loop:utterance", {"utterances": [words], "lang": "en-us"}
        self.tell(satellite, kind, topic, data, **more)

    def tell(self, satellite: str, kind: str, topic: str, data: dict[str, Any], **more: Any) -> None:
        self.satellites[satellite].send("send", type=kind, topic=topic, data=data, **more)

    def got(self, satellite: str, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of a satellite with these values."""
        wanted = {"event": event, **fields}
        return [found for found in self.satellites[satellite].events() if wanted.items() <= found.items()]

    def wait(self, satellite: str, event: str, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        what = f"{event} {fields} at {satellite}"
        wait_until(lambda: len(self.got(satellite, event, **fields)) >= count, WAIT_S, what)
        return self.got(satellite, event, **fields)

    def answers(self, satellite: str, query_id: str) -> list[dict[str, Any]]:
        events = self.got(satellite, "envelope")
        return [event for event in events if event["metadata"].get("query_id") == query_id]

    def asked(self, satellite: str, words: str, query_id: str) -> list[dict[str, Any]]:
        """Let a satellite ask a QUERY; what it got until the answer was complete."""
        self.send(satellite, "query", words, query_id=query_id)
        ends = ("hive.query.complete", "hive.query.timeout")
        wait_until(lambda: any(event["inner"] in ends for event in self.answers(satellite, query_id)), WAIT_S, query_id)
        return self.answers(satellite, query_id)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    with Children(tmp_path_factory.mktemp("tree")) as children:
        made = Tree(children)
        try:
            made.grow()
            yield made
        except AssertionError:
            print(children.report())
            raise


def test_what_is_escalated_reaches_the_agent_of_its_site_above_and_nobody_else(tree: Tree) -> None:
    tree.send("one", "escalate", "lights out", site="tower")
    wait_until(lambda: tree.levels["top"].heard("recognizer_loop:utterance", "lights out"), WAIT_S, "the top")
    (frame,) = tree.levels["top"].heard("recognizer_loop:utterance", "lights out")
    assert frame["context"]["session"]["session_id"].count(":") >= 1
    time.sleep(QUIET_S)
    for name in ("middle", "low"):
        assert tree.levels[name].heard("recognizer_loop:utterance", "lights out") == []
    for name in SATELLITES:
        assert tree.got(name, "envelope", data={"utterances": ["lights out"], "lang": "en-us"}) == []


@pytest.mark.parametrize("sender", ["one", "of-middle", "of-top"])
def test_what_is_propagated_reaches_everybody_once(sender: str, tree: Tree) -> None:
    data = {"words": f"from {sender}"}
    tree.tell(sender, "propagate", "skill.call", data)
    others = [name for name in SATELLITES if name != sender]
    for name in others:
        tree.wait(name, "envelope", inner="skill.call", data=data)
    time.sleep(QUIET_S)
    for name in others:
        assert len(tree.got(name, "envelope", inner="skill.call", data=data)) == 1, name
    assert tree.got(sender, "envelope", inner="skill.call", data=data) == []


@pytest.mark.parametrize("level", LEVELS)
def test_a_question_is_answered_by_the_first_level_that_knows(level: str, tree: Tree) -> None:
    words = f"what does the {level} know"
    for attempt in range(3):  # a machine may be slow, but not each time
        query_id = f"q-{level}-{attempt}"
        begun = time.monotonic()
        events = tree.asked("one", words, query_id)
        took_s = time.monotonic() - begun
        if took_s < PROMPT_S:
            break
    assert took_s < PROMPT_S, "whoever declines says so: no silence is waited for"
    assert [event["inner"] for event in events] == ["speak", "hive.query.complete"]
    assert events[0]["data"]["utterance"] == f"{level} says: {words}"
    assert {event["metadata"]["responder_peer"] for event in events} == {tree.levels[level].node_id}
    for above in LEVELS[: LEVELS.index(level)]:
        assert tree.levels[above].heard("recognizer_loop:utterance", words) == []
    time.sleep(QUIET_S)
    assert [name for name in SATELLITES if tree.answers(name, query_id)] == ["one"]


def test_a_question_that_nobody_can_answer_is_told_so(tree: Tree) -> None:
    (event,) = tree.asked("one", "what nobody knows", "q-nobody")
    assert (event["inner"], event["data"]["error"]) == ("hive.query.timeout", "no_answer")
    assert event["metadata"]["responder_peer"] == tree.levels["top"].node_id


@pytest.mark.parametrize("sender", ["one", "of-middle", "of-top"])
def test_everybody_may_answer_a_cascade(sender: str, tree: Tree) -> None:
    query_id = f"c-{sender}"
    tree.send(sender, "cascade", f"everybody hear {sender}", query_id=query_id)

    def speakers() -> set[str]:
        return {
            event["metadata"]["responder_peer"]
            for event in tree.answers(sender, query_id)
            if event["inner"] == "speak" and event["metadata"].get("is_response")
        }

    everybody = {level.node_id for level in tree.levels.values()}
    wait_until(lambda: speakers() == everybody, WAIT_S, f"answers from all levels, not only {len(speakers())}")
    time.sleep(QUIET_S)
    for level in tree.levels.values():
        assert len(level.heard("recognizer_loop:utterance", f"hear {sender}")) == 1
    strangers = [name for name in SATELLITES if name != sender]
    for name in strangers:
        answers = [event for event in tree.answers(name, query_id) if event["metadata"].get("is_response")]
        assert answers == [], f"{name} did not ask"


def test_what_is_broadcast_from_the_top_reaches_a_site_at_the_bottom(tree: Tree) -> None:
    data = {"utterance": "dinner is ready"}
    tree.tell("of-top", "broadcast", "speak", data, site="kitchen")
    tree.wait("one", "bus", type="speak", data=data)
    wait_until(lambda: tree.levels["low"].heard("speak", "dinner is ready"), WAIT_S, "the agent in the kitchen")
    time.sleep(QUIET_S)
    assert len(tree.got("one", "bus", type="speak", data=data)) == 1
    for name in ("two", "of-middle", "of-top"):
        assert tree.got(name, "bus", type="speak", data=data) == [], f"{name} is at another site"
    for name in ("top", "middle"):
        assert tree.levels[name].heard("speak", "dinner is ready") == []


def test_a_hub_above_that_is_gone_harms_nobody_below(tree: Tree) -> None:
    losses = {name: len(tree.got(name, "close")) for name in SATELLITES}
    tree.levels["top"].hub.kill()
    wait_until(lambda: "has ended" in tree.levels["middle"].log(), WAIT_S, "the middle to notice")

    (event,) = tree.asked("one", "what does the top know now", "q-gone")
    assert (event["inner"], event["data"]["error"]) == ("hive.query.timeout", "upstream_unavailable")
    events = tree.asked("one", "what does the middle know now", "q-middle-now")
    assert events[0]["data"]["utterance"].startswith("middle says: ")

    tree.send("of-middle", "escalate", "nobody is up there", site="tower")
    (denial,) = tree.wait("of-middle", "bus", type="hive.policy.denied")
    assert (denial["data"]["code"], denial["data"]["denied_type"]) == ("upstream_unavailable", "escalate")

    tree.tell("one", "propagate", "skill.call", {"words": "without a top"})
    for name in ("two", "of-middle"):
        tree.wait(name, "envelope", inner="skill.call", data={"words": "without a top"})

    tree.levels["top"].hub.start()
    wait_until(lambda: tree.levels["middle"].log().count("joined the hub above") >= 2, 60, "the middle to be back")
    events = tree.asked("one", "what does the top know again", "q-again")
    assert events[0]["data"]["utterance"].startswith("top says: ")
    assert {name: len(tree.got(name, "close")) for name in SATELLITES if name != "of-top"} == {
        name: count for name, count in losses.items() if name != "of-top"
    }, "no satellite below has lost its hub"


def test_the_lowest_is_served_while_the_middle_is_away_and_joined_again_when_it_is_back(tree: Tree) -> None:
    losses = len(tree.got("one", "close"))
    joined = tree.levels["low"].log().count("joined the hub above")
    tree.levels["middle"].hub.kill()
    wait_until(lambda: "has ended" in tree.levels["low"].log(), WAIT_S, "the lowest to notice")

    tree.send("one", "escalate", "is there anybody", site="tower")
    (denial,) = tree.wait("one", "bus", type="hive.policy.denied")
    assert denial["data"]["code"] == "upstream_unavailable"
    assert tree.asked("one", "what does the low know", "q-low-alone")[0]["inner"] == "speak"
    (event,) = tree.asked("two", "what does the top know", "q-cut-off")
    assert (event["inner"], event["data"]["error"]) == ("hive.query.timeout", "upstream_unavailable")

    tree.levels["middle"].hub.start()
    wait_until(lambda: tree.levels["low"].log().count("joined the hub above") > joined, 60, "the lowest to be back")
    wait_until(lambda: "joined the hub above" in tree.levels["middle"].log(), 60, "the middle to be back")
    events = tree.asked("one", "what does the top know at last", "q-at-last")
    assert events[0]["data"]["utterance"].startswith("top says: ")
    assert len(tree.got("one", "close")) == losses
