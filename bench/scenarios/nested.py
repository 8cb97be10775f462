"""Questions through hubs that stand one below the other: QUERY is answered by the top one alone, CASCADE by all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from helpers.mixed_mesh import PASSWORD, THEIRS, MixedMesh
from helpers.pair import OURS as OUR_MAKE
from helpers.processes import Children

from ..process import cpu_s
from ..report import OURS, Figure
from ..satellites import PEM, Keyring, access_key
from ..stage import Crowd, Figures, Scenario, Stage
from ..subjects import RELEASED

LEVELS = ("top", "middle", "low")
EVERYBODY = "everybody"
QUESTIONS = 200
POINTS = (1, 2, 3)
VERBS = {"query": ("top", 1), "cascade": (EVERYBODY, 0)}
"""What is asked, and how many answers come; 0: one of each hub."""


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    make = OUR_MAKE if name == OURS else THEIRS
    for number in points:
        with chain(stage, make, number) as mesh:
            port = mesh.hubs[LEVELS[number - 1]].hub.port
            for crowd in stage.crowd_at(port, Keyring(PASSWORD, PEM.format("bench")).settings({})):
                crowd.do("open", first=0, count=1)
                yield number, at(stage, mesh, crowd, number)


@contextmanager
def chain(stage: Stage, make: str, number: int) -> Iterator[MixedMesh]:
    """So many hubs, each joined to the one before, and a row for our satellite at the last."""
    levels, key = LEVELS[:number], access_key(0)
    with Children(stage.children.folder / f"{make}-{number}") as children:
        mesh = MixedMesh(children)
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
    dict.fromkeys((OURS, RELEASED), POINTS),
    measure,
)
