"""Satellites that are connected and say nothing. The hub has met them before, and has been restarted since."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..names import BARE, EMBEDDED, OURS, OVOS_BUS, RELEASED
from ..report import Figure
from ..stage import Figures, Scenario, Stage

AT_ONCE_FIRST = 50
SETTLE_S = 2.0
WATCHED_S = 5.0
POINTS = (100, 1_000, 10_000)


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    with stage.running(name, max(points) + 1) as subject, stage.crowd(subject) as crowd:
        crowd.do("open", first=0, count=max(points) + 1, at_once=AT_ONCE_FIRST)
        crowd.do("close")
        subject.stop()
        subject.start()
        crowd.do("open", first=0, count=1)
        time.sleep(SETTLE_S)
        before = subject.memory()
        for number in points:
            crowd.do("open", first=1, count=number)
            time.sleep(SETTLE_S)
            after, begun = subject.memory(), subject.cpu_s()
            time.sleep(stage.seconds(WATCHED_S))
            yield (
                number,
                {
                    "rss_kb": (after.rss - before.rss) / number,
                    "anonymous_kb": (after.anonymous - before.anonymous) / number,
                    "total_mb": after.rss / 1024,
                    "cpu_ms_s": (subject.cpu_s() - begun) * 1000 / stage.seconds(WATCHED_S),
                },
            )


SCENARIO = Scenario(
    "idle",
    "satellites that are connected and say nothing, in one process",
    "satellites",
    (
        Figure("rss_kb", "memory of an idle satellite, resident kB", most=22, at=10_000),
        Figure("anonymous_kb", "memory of an idle satellite, anonymous kB"),
        Figure("total_mb", "whole process, resident MB"),
        Figure("cpu_ms_s", "nobody speaks: processor time, ms a second"),
    ),
    {OURS: POINTS, RELEASED: POINTS[:2], BARE: POINTS},
    measure,
    cannot={
        RELEASED: "not measured with 10,000, which take it minutes to let in",
        **dict.fromkeys((EMBEDDED, OVOS_BUS), "not measured: who says nothing has nothing to do with a bus"),
    },
)
