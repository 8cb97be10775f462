"""One satellite says something to everybody (PROPAGATE), then the assistant does (BROADCAST, asked for on its bus):
encrypted anew for each. Receivers only count frames."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..loop_watch import LoopKept
from ..names import BARE, EMBEDDED, FLOORS, OURS, OVOS_BUS, RELEASED, RELEASED_OVOS_BUS
from ..report import Figure
from ..stage import Crowd, Figures, Scenario, Stage
from ..subjects import AnySubject, Subject

MESSAGES = 4
AT_ONCE_FIRST = 50
PAUSE_S = 0.3
POINTS = (50, 500, 5_000)
ASK = "hive.send.downstream"
SAID = {"type": "speak", "data": {"utterance": "supper is ready", "lang": "en-us"}, "context": {}}
FOR_ALL = {"msg_type": "broadcast", "payload": {"msg_type": "bus", "payload": SAID}}
"""What the assistant asks its hub to send to everybody."""


@dataclass(frozen=True)
class Told:
    """What one message to all took."""

    cpu_s: float
    all_s: float
    kept: LoopKept


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    running = stage.running(name, max(points) + 1, watched=True)
    with running as subject, stage.crowd(subject) as speaker, stage.crowd(subject) as crowd:
        speaker.do("open", first=0, count=1)
        for number in points:
            crowd.do("open", first=1, count=number, at_once=AT_ONCE_FIRST)
            crowd.do("count")
            time.sleep(1)
            found = by_satellite(subject, speaker, crowd, number)
            if name not in FLOORS:
                found |= by_assistant(subject, speaker, crowd, number)
            yield number, found


def by_satellite(subject: AnySubject, speaker: Crowd, crowd: Crowd, number: int) -> Figures:
    """The figures where a satellite says it, and so many listen."""
    found = rounds(subject, crowd, lambda: float(speaker.do("tell")["at"]), number)
    return {
        "cpu_ms": middle(each.cpu_s for each in found) * 1000,
        "cpu_us": middle(each.cpu_s for each in found) * 1e6 / number,
        "all_ms": middle(each.all_s for each in found) * 1000,
        "busy_ms": middle(each.kept.busy_ms for each in found),
        "late_ms": middle(each.kept.late_ms for each in found),
    }


def by_assistant(subject: AnySubject, speaker: Crowd, crowd: Crowd, number: int) -> Figures:
    """The figures where the assistant says it on its bus; the satellite that spoke before hears it, too."""
    assert isinstance(subject, Subject)
    voice = subject.voice()
    found = rounds(subject, crowd, lambda: voice.say(ASK, FOR_ALL), number)
    voice.close()
    return {
        "bus_cpu_ms": middle(each.cpu_s for each in found) * 1000,
        "bus_all_ms": middle(each.all_s for each in found) * 1000,
        "bus_busy_ms": middle(each.kept.busy_ms for each in found),
    }


def rounds(subject: AnySubject, crowd: Crowd, tell: Callable[[], float], number: int) -> list[Told]:
    """Some messages to all, one after the other; the first, which finds everything cold, does not count."""
    found = []
    for _ in range(MESSAGES + 1):
        time.sleep(PAUSE_S)
        assert subject.watch is not None
        subject.watch.reset()
        begun, said_at = subject.cpu_s(), tell()
        came_at = crowd.do("counted", frames=number)["at"]
        found.append(Told(subject.cpu_s() - begun, came_at - said_at, subject.watch.read()))
    return found[1:]


def middle(values: Iterable[float]) -> float:
    return statistics.median(values)


SCENARIO = Scenario(
    "fan-out",
    "a message from one satellite, and from the assistant's bus, to N others, sealed for each",
    "satellites",
    (
        Figure("cpu_ms", "processor time of a message to all, ms", most=100, at=5_000),
        Figure("cpu_us", "processor time for each receiver, µs"),
        Figure("all_ms", "until the last has it, ms"),
        Figure("busy_ms", "loop at one thing at most, processor ms", most=10, at=5_000),
        Figure("late_ms", "loop late at most, ms"),
        Figure("bus_cpu_ms", "from the bus: processor time of a message to all, ms"),
        Figure("bus_all_ms", "from the bus: until the last has it, ms"),
        Figure("bus_busy_ms", "from the bus: loop at one thing at most, processor ms"),
    ),
    {
        **dict.fromkeys((OURS, RELEASED), POINTS),
        **dict.fromkeys((EMBEDDED, OVOS_BUS), POINTS[1:]),
        RELEASED_OVOS_BUS: POINTS[1:2],
        BARE: POINTS,
    },
    measure,
    cannot={RELEASED_OVOS_BUS: "not measured with 5,000, which take it half a minute to let in", BARE: "has no bus"},
)
