"""Utterances of a given size, and their answers, which are as long; one satellite, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from ..names import BARE, EMBEDDED, OURS, OVOS_BUS, RELAY, RELEASED, RELEASED_OVOS_BUS
from ..report import Figure
from ..stage import Figures, Scenario, Stage

ROUND_TRIPS = 100
POINTS = (200, 2_000, 20_000, 200_000)


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    with stage.running(name, 1) as subject, stage.crowd(subject) as crowd:
        crowd.do("open", first=0, count=1)
        for size in points:
            crowd.do("converse", talking=1, round_trips=20, text_bytes=size)
            begun = subject.cpu_s()
            found = crowd.do("converse", talking=1, round_trips=stage.some(ROUND_TRIPS, 20), text_bytes=size)
            spent = subject.cpu_s() - begun
            yield size, {"cpu_us": spent * 1e6 / found["trips"], "p50_ms": found["p50_ms"], "p99_ms": found["p99_ms"]}


SCENARIO = Scenario(
    "large-messages",
    "an utterance of N bytes and an answer as long, one satellite",
    "bytes",
    (
        Figure("cpu_us", "processor time of a round trip, µs"),
        Figure("p50_ms", "latency, p50, ms"),
        Figure("p99_ms", "latency, p99, ms"),
    ),
    {
        **dict.fromkeys((OURS, RELEASED), POINTS),
        **dict.fromkeys((EMBEDDED, OVOS_BUS, RELEASED_OVOS_BUS), POINTS[-2:]),
        **dict.fromkeys((BARE, RELAY), POINTS),
    },
    measure,
)
