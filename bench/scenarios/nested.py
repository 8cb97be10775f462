"""Questions through hubs that stand one below the other: QUERY is answered by the top one alone, CASCADE by all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from helpers.hub_process import BUS_AGENT, HOST
from helpers.mixed_mesh import PASSWORD, THEIRS, MixedMesh, Node, Seat
from helpers.pair import OURS as OUR_MAKE
from helpers.processes import Children, free_port

from ..buses import join, ovos_bus
from ..names import AT_OVOS_BUS, EMBEDDED, OUR_HUBS, OURS, OVOS_BUS, RELAY, RELEASED, RELEASED_OVOS_BUS
from ..process import cpu_s
from ..report import Figure
from ..satellites import PEM, Keyring, access_key
from ..stage import Crowd, Figures, Scenario, Stage

LEVELS = ("top", "middle", "low")
EVERYBODY = "everybody"
QUESTIONS = 100
POINTS = (1, 2, 3)
VERBS = {"query": ("top", 1), "cascade": (EVERYBODY, 0)}
"""What is asked, and how many answers come; 0: one of each hub."""


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    if name == RELAY:
        yield from of_relay(stage, points)
        return
    for number in points:
        with chain(stage, name, number) as mesh:
            port = mesh.hubs[LEVELS[number - 1]].hub.port
            for crowd in stage.crowd_at(port, Keyring(PASSWORD, PEM.format("bench")).settings({})):
                crowd.do("open", first=0, count=1)
                yield number, at(stage, mesh, crowd, number)


def of_relay(stage: Stage, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    """The figures of a relay to one bus, for which a question is an utterance."""
    with stage.running(RELAY, 1) as subject, stage.crowd(subject) as crowd:
        crowd.do("open", first=0, count=1)
        crowd.do("converse", talking=1, round_trips=20)
        for number in points:
            found: Figures = {}
            for verb in VERBS:
                begun = subject.cpu_s()
                took = crowd.do("converse", talking=1, round_trips=stage.some(QUESTIONS, 10))
                found[f"{verb}_us"] = (subject.cpu_s() - begun) * 1e6 / took["trips"]
                found[f"{verb}_p50_ms"], found[f"{verb}_p99_ms"] = took["p50_ms"], took["p99_ms"]
            yield number, found


class BusMesh(MixedMesh):
    """Hubs that stand one below the other, at the bus that a subject has."""

    def __init__(self, children: Children, name: str, stack: ExitStack) -> None:
        super().__init__(children)
        self._name = name
        self._stack = stack

    def _bus(self, level: str, record: Path) -> int:
        if self._name == EMBEDDED:
            record.touch()
            return free_port()  # the hub itself serves it
        if self._name not in AT_OVOS_BUS:
            return super()._bus(level, record)
        apart = self._stack.enter_context(Children(self.children.folder / f"ovos-{level}"))
        return ovos_bus(apart, "--level", level, "--record", str(record))

    def _settings(self, node: Node, level: str, seats: Mapping[str, Seat], above: Node | None) -> dict[str, Any]:
        found = super()._settings(node, level, seats, above)
        if self._name == EMBEDDED:
            address = {"host": HOST, "port": node.hub.bus_port}
            found["agent_protocol"] = {"module": "embedded", BUS_AGENT: address}
        return found

    def _start(self, node: Node) -> None:
        super()._start(node)
        if self._name == EMBEDDED:
            assert node.hub.child is not None
            node.hub.child.wait_port(node.hub.bus_port)
            join(self.children, node.hub.bus_port, "--level", node.hub.name, "--record", str(node.record))


@contextmanager
def chain(stage: Stage, name: str, number: int) -> Iterator[MixedMesh]:
    """So many hubs, each joined to the one before, and a row for our satellite at the last."""
    levels, key = LEVELS[:number], access_key(0)
    make = OUR_MAKE if name in OUR_HUBS else THEIRS
    with ExitStack() as stack:
        children = stack.enter_context(Children(stage.children.folder / f"{name}-{number}"))
        mesh = BusMesh(children, name, stack)
        mesh.grow(dict.fromkeys(levels, make), {level: level for level in levels}, {})
        lowest = mesh.hubs[levels[-1]].hub
        lowest.add_client(key, PASSWORD, name="bench")
        for right in ("allow-escalate", "allow-propagate"):
            lowest.command(right, key)
        yield mesh


def at(stage: Stage, mesh: MixedMesh, crowd: Crowd, number: int) -> Figures:
    """The figures of a chain of so many hubs."""
    pids = [node.hub.child.pid for node in mesh.hubs.values() if node.hub.child is not None]
    found: Figures = {}
    for verb, (words, answers) in VERBS.items():
        asked = {"verb": verb, "words": f"{words} what time is it", "answers": answers or number}
        crowd.do("ask", count=10, **asked)
        begun = sum(map(cpu_s, pids))
        took = crowd.do("ask", count=stage.some(QUESTIONS, 10), **asked)
        found[f"{verb}_us"] = (sum(map(cpu_s, pids)) - begun) * 1e6 / took["count"]
        found[f"{verb}_p50_ms"], found[f"{verb}_p99_ms"] = took["p50_ms"], took["p99_ms"]
    return found


SCENARIO = Scenario(
    "query-cascade",
    "questions from the lowest of N hubs: QUERY, which the highest answers, and CASCADE, which all answer",
    "hubs",
    (
        Figure("query_us", "QUERY, processor time of all hubs, µs"),
        Figure("query_p50_ms", "QUERY, until its end, p50, ms"),
        Figure("query_p99_ms", "QUERY, p99, ms"),
        Figure("cascade_us", "CASCADE, processor time of all hubs, µs"),
        Figure("cascade_p50_ms", "CASCADE, until the last answer's end, p50, ms"),
        Figure("cascade_p99_ms", "CASCADE, p99, ms"),
    ),
    {
        **dict.fromkeys((OURS, RELEASED), POINTS),
        **dict.fromkeys((EMBEDDED, OVOS_BUS, RELEASED_OVOS_BUS), POINTS[-1:]),
        RELAY: POINTS[:1],
    },
    measure,
    cannot={RELAY: "carries an utterance to one bus: how questions travel among hubs is what it has none of"},
)
