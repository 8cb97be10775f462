"""The hub is stopped and started again; every satellite comes back by itself, with the delays of the real one. Ten
others are the first at the hub and talk from then on."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..names import BARE, EMBEDDED, OURS, OVOS_BUS, RELEASED
from ..report import Figure
from ..stage import TALK_PER_S, TALKING, Crowd, Figures, Scenario, Stage
from ..subjects import AnySubject

AT_ONCE_FIRST = 50
NICENESS = 10
"""Of those who come back: the others are not to wait for the processor of this machine, but for the hub."""
POINTS = (100, 1_000)


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    for number in points:
        running = stage.running(name, TALKING + number, watched=True)
        with running as subject, stage.crowd(subject) as talkers, stage.crowd(subject, niceness=NICENESS) as crowd:
            talkers.do("open", first=0, count=TALKING)
            talkers.do("converse", talking=TALKING, round_trips=TALKING * 20)
            crowd.do("open", first=TALKING, count=number, at_once=AT_ONCE_FIRST)
            yield number, at(subject, talkers, crowd, number)


def at(subject: AnySubject, talkers: Crowd, crowd: Crowd, number: int) -> Figures:
    """The figures with so many that come back."""
    talkers.do("close")
    crowd.do("watch")
    time.sleep(1)
    begun = time.monotonic()
    subject.stop()
    stopped = time.monotonic()
    start_s = subject.start(watched=True, settles=False)
    assert subject.watch is not None
    subject.watch.reset()
    accepting = stopped + start_s
    talkers.do("open", first=0, count=TALKING, at_once=TALKING)
    talkers.do("begin", talking=TALKING, per_second=TALK_PER_S)
    before = subject.cpu_s()
    found = crowd.do("back")
    spent, others = subject.cpu_s() - before, talkers.do("mark")
    busy_ms = subject.watch.read().busy_ms
    talkers.do("hush")
    return {
        "back_s": found["at"] - accepting,
        "others_p99_ms": others["p99_ms"],
        "others_p50_ms": others["p50_ms"],
        "busy_ms": busy_ms,
        "away_s": found["at"] - begun,
        "stop_s": stopped - begun,
        "start_s": start_s,
        "cpu_us": spent * 1e6 / number,
        "tries": found["tries"],
    }


SCENARIO = Scenario(
    "restart",
    "the hub restarts; N satellites come back by themselves, waiting 0.5 s, 1 s, 2 s … as satellites do, while ten"
    " others, who came first, talk",
    "satellites",
    (
        Figure("back_s", "from accepting until the last is back, s", most=5, at=1_000),
        Figure("others_p99_ms", "others' round trip meanwhile, p99, ms", most=50, at=1_000),
        Figure("others_p50_ms", "others' round trip meanwhile, p50, ms"),
        Figure("busy_ms", "loop at one thing at most, processor ms"),
        Figure("away_s", "from the order to stop until the last is back, s"),
        Figure("stop_s", "the hub's end, s"),
        Figure("start_s", "its start to accepting, s"),
        Figure("cpu_us", "processor time for each, with what the others say, µs"),
        Figure("tries", "attempts of a satellite"),
    ),
    {**dict.fromkeys((OURS, RELEASED, BARE), POINTS), OVOS_BUS: POINTS[-1:]},
    measure,
    rounds=3,
    once=frozenset((RELEASED, OVOS_BUS, BARE)),
    cannot={
        EMBEDDED: "not measured: its bus restarts with it, and until an assistant has joined that nobody answers",
        BARE: "knows nobody: a connection takes the upgrade, a new key and four key agreements, as a session does",
    },
)
