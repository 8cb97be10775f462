"""The hub is stopped and started again; every satellite comes back by itself, with the delays of the real one."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..report import OURS, Figure
from ..stage import Figures, Scenario, Stage
from ..subjects import RELEASED

AT_ONCE_FIRST = 50
POINTS = (100, 1_000)


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    for number in points:
        with stage.running(name, number) as subject, stage.crowd(subject) as crowd:
            crowd.do("open", first=0, count=number, at_once=AT_ONCE_FIRST)
            crowd.do("watch")
            time.sleep(1)
            begun = time.monotonic()
            subject.stop()
            stopped = time.monotonic()
            subject.start(settles=False)
            accepting, before = time.monotonic(), subject.cpu_s()
            found = crowd.do("back")
            yield (
                number,
                {
                    "back_s": found["at"] - accepting,
                    "away_s": found["at"] - begun,
                    "stop_s": stopped - begun,
                    "start_s": accepting - stopped,
                    "cpu_us": (subject.cpu_s() - before) * 1e6 / number,
                    "tries": found["tries"],
                },
            )


SCENARIO = Scenario(
    "restart",
    "the hub restarts; N satellites come back by themselves, waiting 0.5 s, 1 s, 2 s … as satellites do",
    "satellites",
    (
        Figure("back_s", "from accepting until the last is back, s", most=5),
        Figure("away_s", "from the order to stop until the last is back, s"),
        Figure("stop_s", "the hub's end, s"),
        Figure("start_s", "its start to accepting, s"),
        Figure("cpu_us", "processor time of a satellite that comes back, µs"),
        Figure("tries", "attempts of a satellite"),
    ),
    dict.fromkeys((OURS, RELEASED), POINTS),
    measure,
)
