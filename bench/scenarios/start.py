"""The hub's start, with more and more clients in its database. It is installed for this alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from helpers.processes import Children

from ..names import BARE, OURS, RELEASED
from ..report import Figure
from ..stage import Figures, Scenario, Stage
from ..subjects import AnySubject, make

STARTS = 3
SETTLE_S = 0.5
POINTS = (1, 1_000, 10_000)


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    with Children(stage.children.folder / f"start-{name}") as children:
        subject = make(children, name, stage.buses)
        for number in points:
            subject.provide(number)
            yield number, at(subject)


def at(subject: AnySubject) -> Figures:
    """The figures of some starts one after the other, the first of which does not count: files are read then."""
    found = []
    for _ in range(STARTS + 1):
        taken = subject.accept()
        spent = subject.cpu_s()
        time.sleep(SETTLE_S)
        found.append((taken, spent, subject.memory().rss / 1024))
        subject.stop()
    start_s, spent_s, megabytes = map(statistics.median, zip(*found[1:], strict=True))
    return {"start_s": start_s, "cpu_ms": spent_s * 1000, "hub_mb": megabytes}


SCENARIO = Scenario(
    "start",
    "the hub starts, with N clients in its database",
    "clients",
    (
        Figure("start_s", "hub start to accepting, s", most=0.5),
        Figure("cpu_ms", "processor time until then, ms"),
        Figure("hub_mb", "hub after its start, resident MB"),
    ),
    {OURS: POINTS, RELEASED: POINTS, BARE: (1,)},
    measure,
    cannot={BARE: "has no database; what it takes is Python and aiohttp"},
)
