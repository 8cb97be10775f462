"""One round of measurements of one hub, on a fresh process of it."""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from .process import cpu_s, memory
from .report import Figure
from .satellites import Keyring, RoundTrip, Satellite, close_all, converse, open_all
from .subjects import Subject

WARM_UP = 200
LONE_TRIPS = 100
PAUSE_S = 0.005
SETTLE_S = 2.0


@dataclass(frozen=True)
class Load:
    """What every hub is put under."""

    satellites: int
    """Satellites that idle while memory is measured."""
    talking: int
    """Satellites that talk at once while processor time is measured."""
    round_trips: int
    """Utterances of one measurement of processor time."""

    def __str__(self) -> str:
        return f"{self.round_trips} round trips by {self.talking} satellites, {self.satellites} idle"


@dataclass(frozen=True)
class Round:
    """The figures of one round, in the units their names say."""

    cpu_us: float
    cpu_crowded_us: float
    p50_ms: float
    p50_speak_ms: float
    idle_rss_kb: float
    idle_pss_kb: float
    idle_anonymous_kb: float
    reconnect_cpu_us: float
    start_s: float
    base_rss_mb: float


FIGURES = (
    Figure("cpu_us", "processor time of a round trip, µs", ratio=5),
    Figure("cpu_crowded_us", "the same with the idle ones connected, µs"),
    Figure("p50_ms", "lone satellite, p50 of a round trip, ms", most=3),
    Figure("p50_speak_ms", "lone satellite, p50 until `speak`, ms"),
    Figure("idle_rss_kb", "idle satellite, resident kB", most=30),
    Figure("idle_pss_kb", "idle satellite, proportional kB"),
    Figure("idle_anonymous_kb", "idle satellite, anonymous kB"),
    Figure("reconnect_cpu_us", "reconnect with known keys, µs of processor"),
    Figure("start_s", "start to accepting, s"),
    Figure("base_rss_mb", "hub before the idle ones, resident MB"),
)


async def meet(subject: Subject, keyring: Keyring) -> None:
    """Connect every device once, so that keys are derived and pinned, as they are in a hub in service."""
    subject.start()
    await close_all(await open_all(subject.devices, keyring, subject.hub.port))
    subject.stop()


async def measure(subject: Subject, keyring: Keyring, load: Load) -> Round:
    """Start the hub, measure, end it."""
    start_s = subject.start()
    port = subject.hub.port
    talking = await open_all(subject.devices[: load.talking], keyring, port)
    await converse(talking, WARM_UP)
    cpu_us = await cpu_of_round_trips(subject, talking, load.round_trips)
    lone = await lone_trips(talking[0])
    await asyncio.sleep(SETTLE_S)
    before, cpu_before = memory(subject.pid), cpu_s(subject.pid)
    idle = await open_all(subject.devices[load.talking :], keyring, port)
    reconnect_cpu_us = (cpu_s(subject.pid) - cpu_before) * 1e6 / len(idle)
    await asyncio.sleep(SETTLE_S)
    after = memory(subject.pid)
    cpu_crowded_us = await cpu_of_round_trips(subject, talking, load.round_trips)
    await close_all([*talking, *idle])
    subject.stop()
    return Round(
        cpu_us=cpu_us,
        cpu_crowded_us=cpu_crowded_us,
        p50_ms=statistics.median(trip.handled_s for trip in lone) * 1000,
        p50_speak_ms=statistics.median(trip.speak_s for trip in lone) * 1000,
        idle_rss_kb=(after.rss - before.rss) / len(idle),
        idle_pss_kb=(after.pss - before.pss) / len(idle),
        idle_anonymous_kb=(after.anonymous - before.anonymous) / len(idle),
        reconnect_cpu_us=reconnect_cpu_us,
        start_s=start_s,
        base_rss_mb=before.rss / 1024,
    )


async def cpu_of_round_trips(subject: Subject, talking: Sequence[Satellite], count: int) -> float:
    """Processor time of the hub for one utterance and its answer, in microseconds."""
    begun = cpu_s(subject.pid)
    trips = await converse(talking, count)
    return (cpu_s(subject.pid) - begun) * 1e6 / len(trips)


async def lone_trips(satellite: Satellite) -> list[RoundTrip]:
    """One satellite alone says one thing after the other, with a short pause between them."""
    trips = []
    for _ in range(LONE_TRIPS):
        await asyncio.sleep(PAUSE_S)
        trips.append(await satellite.say("what time is it"))
    return trips


async def measure_all(subjects: Sequence[Subject], keyring: Keyring, load: Load, rounds: int) -> dict[str, list[Round]]:
    """Every hub in turn, `rounds` times over, so that a change in the machine's mood meets them all."""
    results: dict[str, list[Round]] = {subject.name: [] for subject in subjects}
    for subject in subjects:
        say(f"{subject.name}: {len(subject.devices)} satellites meet it for the first time")
        await meet(subject, keyring)
    for number in range(1, rounds + 1):
        for subject in subjects:
            say(f"{subject.name}: round {number} of {rounds}")
            results[subject.name].append(await measure(subject, keyring, load))
    return results


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
