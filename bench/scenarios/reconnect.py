"""All satellites but ten connect again at the same moment, with known keys, while those ten talk."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..names import BARE, EMBEDDED, OURS, OVOS_BUS, RELEASED, RELEASED_OVOS_BUS
from ..report import Figure
from ..stage import TALKING, Crowd, Figures, Scenario, Stage, others, talking
from ..subjects import AnySubject

QUIET_S = 2.0
SETTLED_S = 0.3
"""Whatever follows a session at the hub is through by then."""
AT_ONCE_FIRST = 50
NICENESS = 10
"""Of those who come back: the others are not to wait for the processor of this machine, but for the hub."""
POINTS = (100, 300, 1_000)


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    running = stage.running(name, TALKING + max(points), watched=True)
    with running as subject, others(stage, subject) as talkers:
        for number in points:
            with stage.crowd(subject, niceness=NICENESS) as crowd:
                yield number, at(subject, talkers, crowd, number)


def at(subject: AnySubject, talkers: Crowd, crowd: Crowd, number: int) -> Figures:
    """The figures with so many that come back."""
    assert subject.watch is not None
    crowd.do("open", first=TALKING, count=number, at_once=AT_ONCE_FIRST)  # the hub meets them
    spent = cpu_of_return(subject, crowd, number)
    with talking(talkers):
        time.sleep(QUIET_S)
        quiet = talkers.do("mark")
        leave(crowd)
        talkers.do("mark")
        subject.watch.reset()
        found = crowd.do("open", first=TALKING, count=number, at_once=number)
        meanwhile, kept = talkers.do("mark"), subject.watch.read()
    return {
        "cpu_us": spent * 1e6 / number,
        "back_s": found["seconds"],
        "others_p99_ms": meanwhile["p99_ms"],
        "others_p50_ms": meanwhile["p50_ms"],
        "quiet_p99_ms": quiet["p99_ms"],
        "busy_ms": kept.busy_ms,
    }


def cpu_of_return(subject: AnySubject, crowd: Crowd, number: int) -> float:
    """Processor time while all come back and nobody talks, in seconds; that they ask whether they are in is no part."""
    leave(crowd)
    begun = subject.cpu_s()
    crowd.do("open", first=TALKING, count=number, at_once=number, confirm=False)
    time.sleep(SETTLED_S)
    spent = subject.cpu_s() - begun
    crowd.do("confirm")
    return spent


def leave(crowd: Crowd) -> None:
    crowd.do("close")
    time.sleep(1)


SCENARIO = Scenario(
    "reconnect",
    "N satellites connect again at the same moment, with known keys, while ten others talk",
    "satellites",
    (
        Figure("cpu_us", "processor time of a reconnect, µs", most=600, at=1_000),
        Figure("back_s", "until all are back, s", most=5, at=1_000),
        Figure("others_p99_ms", "others' round trip meanwhile, p99, ms", most=50, at=1_000),
        Figure("others_p50_ms", "others' round trip meanwhile, p50, ms"),
        Figure("quiet_p99_ms", "others' round trip before, p99, ms"),
        Figure("busy_ms", "loop at one thing at most, processor ms"),
    ),
    {
        **dict.fromkeys((OURS, RELEASED), POINTS),
        **dict.fromkeys((EMBEDDED, OVOS_BUS, RELEASED_OVOS_BUS), POINTS[-1:]),
        BARE: POINTS,
    },
    measure,
    rounds=3,
    once=frozenset((RELEASED, EMBEDDED, OVOS_BUS, RELEASED_OVOS_BUS, BARE)),
    cannot={BARE: "knows nobody: a connection takes the upgrade, a new key and four key agreements, as a session does"},
)
