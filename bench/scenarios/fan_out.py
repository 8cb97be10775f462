"""One satellite says something to everybody (PROPAGATE): encrypted anew for each. Receivers only count frames."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from ..report import OURS, Figure
from ..stage import Crowd, Figures, Scenario, Stage
from ..subjects import BARE, RELEASED, AnySubject

MESSAGES = 7
AT_ONCE_FIRST = 50
PAUSE_S = 0.5
POINTS = (50, 500, 5_000)


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    running = stage.running(name, max(points) + 1, watched=True)
    with running as subject, stage.crowd(subject) as speaker, stage.crowd(subject) as crowd:
        speaker.do("open", first=0, count=1)
        for number in points:
            crowd.do("open", first=1, count=number, at_once=AT_ONCE_FIRST)
            crowd.do("count")
            yield number, at(subject, speaker, crowd, number)


def at(subject: AnySubject, speaker: Crowd, crowd: Crowd, number: int) -> Figures:
    """The figures with so many that listen."""
    assert subject.watch is not None
    time.sleep(1)
    found = []
    for _ in range(MESSAGES):
        time.sleep(PAUSE_S)
        subject.watch.reset()
        begun = subject.cpu_s()
        told = speaker.do("tell")
        at = crowd.do("counted", frames=number)["at"]
        found.append((subject.cpu_s() - begun, at - told["at"], subject.watch.read()))
    spent = statistics.median(each[0] for each in found)
    return {
        "cpu_ms": spent * 1000,
        "cpu_us": spent * 1e6 / number,
        "all_ms": statistics.median(each[1] for each in found) * 1000,
        "busy_ms": statistics.median(each[2].busy_ms for each in found),
        "late_ms": statistics.median(each[2].late_ms for each in found),
    }


SCENARIO = Scenario(
    "fan-out",
    "a message from one satellite to N others, sealed for each",
    "satellites",
    (
        Figure("cpu_ms", "processor time of a message to all, ms", most=100),
        Figure("cpu_us", "processor time for each receiver, µs"),
        Figure("all_ms", "until the last has it, ms"),
        Figure("busy_ms", "loop at one thing at most, processor ms", most=10),
        Figure("late_ms", "loop late at most, ms"),
    ),
    dict.fromkeys((OURS, RELEASED, BARE), POINTS),
    measure,
)
