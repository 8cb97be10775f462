"""`python -m bench cluster`: a hub alone, and clusters of one, two and three, under the same load in one run.

Processor time is that of all hubs together, or of Redis, for one of what a line names. What crosses goes from the first
hub to the last one; where there is only one, the same line is about what stays inside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from helpers.processes import Children
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

from .cluster_subjects import PASSWORD, Subject
from .plot import Panel, Series, svg
from .process import machine, raise_file_limit
from .report import Figure, Run, finish, new_path
from .satellites import USERAGENT, Keyring, Satellite, close_all, converse, open_all
from .stage import say
from .subjects import commit

SIZES = (0, 1, 2, 3)
LABELS = ("alone", "1 hub", "2 hubs", "3 hubs")
TALKERS_EACH = 4
BURST = 50
PAUSE_S = 0.004


@dataclass(frozen=True)
class Load:
    """What every cluster is put under."""

    satellites: int
    """Those that connect, and then idle."""
    round_trips: int
    messages: int
    """Of each kind that is measured."""
    idle_s: float

    def __str__(self) -> str:
        return (
            f"{self.round_trips} round trips by {TALKERS_EACH} satellites at each hub,"
            f" {self.messages} messages of a kind, {self.satellites} satellites that connect"
        )


WHOLE = Load(satellites=200, round_trips=1500, messages=1000, idle_s=10)


@dataclass(frozen=True)
class Round:
    """The figures of one round, in the units their names say."""

    trip_us: float
    trips_s: float
    trip_p50_ms: float
    said_us: float
    said_redis_us: float
    said_p50_ms: float
    burst_us: float
    burst_redis_us: float
    told_us: float
    told_redis_us: float
    told_p50_ms: float
    connect_us: float
    connect_redis_us: float
    idle_ms_s: float
    idle_redis_ms_s: float
    here_kb: float
    elsewhere_kb: float


FIGURES = (
    Figure("trip_us", "utterance and answer at one hub, µs of hub"),
    Figure("trips_s", "as many a second, all satellites talking"),
    Figure("trip_p50_ms", "lone satellite, p50 of the round trip, ms"),
    Figure("said_us", "answer to a satellite of the last hub, one at a time, µs of hubs"),
    Figure("said_redis_us", "the same, µs of Redis"),
    Figure("said_p50_ms", "the same, p50 from bus to satellite, ms"),
    Figure("burst_us", "the same, fifty at once, µs of hubs"),
    Figure("burst_redis_us", "the same, µs of Redis"),
    Figure("told_us", "PROPAGATE to one satellite at each hub, µs of hubs"),
    Figure("told_redis_us", "the same, µs of Redis"),
    Figure("told_p50_ms", "the same, p50 to the last of them, ms"),
    Figure("connect_us", "satellite connects and leaves, µs of hubs"),
    Figure("connect_redis_us", "the same, µs of Redis"),
    Figure("idle_ms_s", "nothing happens, ms of each hub a second"),
    Figure("idle_redis_ms_s", "nothing happens, ms of Redis a second"),
    Figure("here_kb", "idle satellite, resident kB of its hub"),
    Figure("elsewhere_kb", "the same, of each other hub"),
)


@dataclass(frozen=True)
class Cost:
    """What something cost, for each time it was done."""

    hubs_us: float
    redis_us: float
    seconds: Sequence[float] = ()


async def measure(subject: Subject, keyring: Keyring, load: Load) -> Round:
    """Start the hubs, measure, end them."""
    await asyncio.to_thread(subject.start)
    size = len(subject.hosts)
    talkers = await open_all(subject.devices[: TALKERS_EACH * size], keyring, subject.port, subject.hosts)
    await converse(talkers, 50 * size)
    begun = time.perf_counter()
    trips = await cost(subject, lambda: converse(talkers, load.round_trips), load.round_trips)
    elapsed_s = time.perf_counter() - begun
    lone = [(await talkers[0].say("what time is it")).handled_s for _ in range(100)]
    last = talkers[size - 1]
    async with connect(f"ws://127.0.0.1:{subject.bus_ports[0]}/core", compression=None) as bus:
        draining = asyncio.ensure_future(drain(bus))
        address = subject.peer_id(size - 1, last.session_id, USERAGENT)
        said = await cost(subject, lambda: one_by_one(load.messages, lambda: say_to(bus, last, address)), load.messages)
        burst = await cost(subject, lambda: bursts(bus, last, address, load.messages), load.messages)
        draining.cancel()
    told = await cost(subject, lambda: one_by_one(load.messages, lambda: tell(talkers, size)), load.messages)
    await close_all(talkers)
    connects = await cost(subject, lambda: come_and_go(subject, keyring, load), load.satellites)
    before = subject.resident_kb()
    idle = await open_all(subject.devices[: load.satellites], keyring, subject.port, subject.hosts[:1])
    await asyncio.sleep(2)
    grown = [(now - then) / load.satellites for now, then in zip(subject.resident_kb(), before, strict=True)]
    silence = await cost(subject, lambda: asyncio.sleep(load.idle_s), 1)
    await close_all(idle)
    subject.stop()
    return Round(
        trip_us=trips.hubs_us,
        trips_s=load.round_trips / elapsed_s,
        trip_p50_ms=statistics.median(lone) * 1000,
        said_us=said.hubs_us,
        said_redis_us=said.redis_us,
        said_p50_ms=statistics.median(said.seconds) * 1000,
        burst_us=burst.hubs_us,
        burst_redis_us=burst.redis_us,
        told_us=told.hubs_us,
        told_redis_us=told.redis_us,
        told_p50_ms=statistics.median(told.seconds) * 1000,
        connect_us=connects.hubs_us,
        connect_redis_us=connects.redis_us,
        idle_ms_s=silence.hubs_us / 1000 / load.idle_s / size,
        idle_redis_ms_s=silence.redis_us / 1000 / load.idle_s,
        here_kb=grown[0],
        elsewhere_kb=statistics.mean(grown[1:]) if grown[1:] else 0.0,
    )


async def cost(subject: Subject, work: Callable[[], Awaitable[Any]], count: int) -> Cost:
    """Do something, and say what hubs and Redis spent on each of so many parts of it."""
    before = subject.spent()
    found = await work()
    after = subject.spent()
    seconds = found if isinstance(found, list) and found and isinstance(found[0], float) else ()
    hubs_us, redis_us = (after.hubs - before.hubs) * 1e6, (after.redis - before.redis) * 1e6
    return Cost(hubs_us / count, redis_us / count, seconds)


async def one_by_one(count: int, work: Callable[[], Awaitable[None]]) -> list[float]:
    """Do something so many times, with a short pause between; how long each time took, in seconds."""
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - begun)
        await asyncio.sleep(PAUSE_S)
    return taken


async def say_to(bus: ClientConnection, satellite: Satellite, address: str) -> None:
    await bus.send(spoken(address))
    await satellite.hear(1)


async def bursts(bus: ClientConnection, satellite: Satellite, address: str, count: int) -> None:
    for _ in range(count // BURST):
        for _ in range(BURST):
            await bus.send(spoken(address))
        await satellite.hear(BURST)


def spoken(address: str) -> str:
    data = {"utterance": "it is a quarter past eight", "lang": "en-us"}
    return json.dumps({"type": "speak", "data": data, "context": {"source": "skills", "destination": address}})


async def tell(talkers: Sequence[Satellite], size: int) -> None:
    """A message to all: but for the sender, and whoever else is connected, one satellite at each hub waits for it."""
    inner = HiveMessage(HiveMessageType.BUS, Message("bench.told", {"text": "supper is ready"}))
    await talkers[0].send(HiveMessage(HiveMessageType.PROPAGATE, inner))
    await asyncio.gather(*(satellite.hear(1) for satellite in talkers[1:]))


async def drain(bus: ClientConnection) -> None:
    """Read what the bus gives to everybody."""
    async for _ in bus:
        pass


async def come_and_go(subject: Subject, keyring: Keyring, load: Load) -> None:
    """All connect, at all hubs in turn, and leave."""
    await close_all(await open_all(subject.devices[: load.satellites], keyring, subject.port, subject.hosts))
    await asyncio.sleep(1)


async def measure_all(subjects: Sequence[Subject], load: Load, rounds: int) -> dict[str, list[Round]]:
    """Each in turn, `rounds` times over, so that a change in the machine's mood meets them all."""
    keyring = Keyring(PASSWORD, "bench")
    for subject in subjects:
        subject.know(keyring)
    results: dict[str, list[Round]] = {subject.name: [] for subject in subjects}
    for number in range(1, rounds + 1):
        for subject in subjects:
            say(f"{subject.name}: round {number} of {rounds}")
            results[subject.name].append(await measure(subject, keyring, load))
    return results


PANELS: dict[str, dict[str, str]] = {
    "Utterance and answer, inside a hub, µs": {"hubs": "trip_us"},
    "Answer to the last hub's satellite, µs": {
        "hubs": "said_us",
        "Redis": "said_redis_us",
        "hubs, 50 at once": "burst_us",
    },
    "PROPAGATE, µs": {"hubs": "told_us", "Redis": "told_redis_us"},
    "Connect and leave, µs": {"hubs": "connect_us", "Redis": "connect_redis_us"},
    "Nothing happens, ms/s": {"each hub": "idle_ms_s", "Redis": "idle_redis_ms_s"},
    "Latency, p50, ms": {"in a hub": "trip_p50_ms", "bus to last hub": "said_p50_ms"},
}
"""Chart -> its lines, each with the figure it shows."""


def drawn(run: Run, names: Sequence[str]) -> str:
    """The charts of a run."""
    panels = [
        Panel(
            title,
            [
                Series(line, {float(place): run.median(name, field) for place, name in enumerate(names)})
                for line, field in lines.items()
            ],
        )
        for title, lines in PANELS.items()
    ]
    return svg(panels, {float(place): label for place, label in enumerate(LABELS)})


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench cluster", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes of each cluster")
    parser.add_argument("--satellites", type=int, default=WHOLE.satellites, help="satellites that connect")
    parser.add_argument("--round-trips", type=int, default=WHOLE.round_trips, help="utterances")
    parser.add_argument("--messages", type=int, default=WHOLE.messages, help="messages of each kind")
    parser.add_argument("--idle", type=float, default=WHOLE.idle_s, help="seconds of silence that are measured")
    parser.add_argument("--json", type=Path, help="where the figures go (see `bench.report`)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    chosen = options(arguments)
    raise_file_limit()
    load = Load(chosen.satellites, chosen.round_trips, chosen.messages, chosen.idle)
    facts = machine()
    with tempfile.TemporaryDirectory(prefix="hivemind-bench-") as folder, Children(Path(folder)) as children:
        subjects = [Subject(children, size, chosen.satellites) for size in SIZES]
        results = asyncio.run(measure_all(subjects, load, chosen.rounds))
    run = Run(facts, {"commit": commit()}, load, results, FIGURES)
    path = chosen.json or new_path("cluster", is_whole=load == WHOLE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".svg").write_text(drawn(run, list(results)), "utf-8")
    return finish(run, path, check=False)
