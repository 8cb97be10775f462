"""An utterance to the assistant and its answer, `speak` and the end of it, back at the satellite."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..names import BARE, EMBEDDED, OURS, OVOS_BUS, RELEASED, RELEASED_OVOS_BUS
from ..report import Figure
from ..stage import Crowd, Figures, Scenario, Stage
from ..subjects import AnySubject

WARM_UP = 200
ROUND_TRIPS, LONE_TRIPS = 2000, 100
LONE_PER_S, MANY_PER_S = 10.0, 100.0
"""Utterances a second while latency is measured: what the released hub can do, too."""
PACED_S = 4.0
POINTS = (1, 50, 500)


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    with stage.running(name, max(points)) as subject, stage.crowd(subject) as crowd:
        for number in points:
            crowd.do("open", first=0, count=number)
            yield number, at(stage, subject, crowd, number)


def at(stage: Stage, subject: AnySubject, crowd: Crowd, number: int) -> Figures:
    """The figures with so many satellites."""
    crowd.do("converse", talking=number, round_trips=max(number, stage.some(WARM_UP)))
    begun = subject.cpu_s()
    wanted = stage.some(LONE_TRIPS if number == 1 else ROUND_TRIPS)
    found = crowd.do("converse", talking=number, round_trips=max(number, wanted))
    spent = subject.cpu_s() - begun
    crowd.do("begin", talking=number, per_second=LONE_PER_S if number == 1 else MANY_PER_S)
    time.sleep(0.5)
    crowd.do("mark")
    begun = subject.cpu_s()
    time.sleep(stage.seconds(PACED_S))
    paced = crowd.do("mark")
    paced_spent = subject.cpu_s() - begun
    crowd.do("hush")
    return {
        "cpu_us": spent * 1e6 / found["trips"],
        "trips_s": found["trips"] / found["seconds"],
        "paced_cpu_us": paced_spent * 1e6 / paced["count"],
        "p50_ms": paced["p50_ms"],
        "p99_ms": paced["p99_ms"],
    }


SCENARIO = Scenario(
    "round-trip",
    "an utterance and its answer, all satellites at once and at a steady pace",
    "satellites",
    (
        Figure("cpu_us", "all at once: processor time of a round trip, µs", most=100, at=50),
        Figure("paced_cpu_us", "paced: processor time of a round trip, µs"),
        Figure("p50_ms", "paced: latency, p50, ms", most=2, at=1),
        Figure("p99_ms", "paced: latency, p99, ms"),
        Figure("trips_s", "all at once: round trips a second", more=True),
    ),
    dict.fromkeys((OURS, RELEASED, EMBEDDED, OVOS_BUS, RELEASED_OVOS_BUS, BARE), POINTS),
    measure,
)
