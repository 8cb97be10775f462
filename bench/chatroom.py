"""`python -m bench chatroom`: our chatroom and the released one with many browsers, side by side, in one run.

Every round has a fresh process of each. A message counts as seen when the last browser has it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from helpers.processes import Children

from .browsers import ANSWER_TIMEOUT_S, Browser, BrowserFailed, Tab, Watch, some_at_once
from .chatroom_subjects import ROOMS, Room, make_rooms, version
from .process import cpu_s, machine, memory, raise_file_limit, threads
from .report import Figure, Run, finish, new_path
from .stage import say

ROOM = "flask"
SETTLE_S = 4.0
ASKS_AGAIN_S = 0.1
FULL = (1_000, 2_000, 10_000)
"""Messages there have been when browsers look on, when memory is measured, and when it is again."""


@dataclass(frozen=True)
class Load:
    """What every chatroom is put under."""

    browsers: int
    messages: int
    """Messages that are followed to the last browser."""
    pace_s: float
    """Between two of them."""
    idle_s: float
    """How long idle browsers are watched; longer than a heartbeat."""

    def __str__(self) -> str:
        return f"{self.browsers} browsers after {FULL[0]:,} messages, {self.messages} more, one every {self.pace_s:g} s"


WHOLE = Load(browsers=200, messages=60, pace_s=0.5, idle_s=30)


@dataclass(frozen=True)
class Round:
    """The figures of one round, in the units their names say."""

    seen_p50_ms: float
    seen_p99_ms: float
    seen_max_ms: float
    answered_p50_ms: float
    answered_max_ms: float
    cpu_ms: float
    idle_cpu_percent: float
    idle_b_s: float
    open_s: float
    start_s: float
    threads: float
    start_rss_mb: float
    open_rss_mb: float
    rss_2000_mb: float
    rss_10000_mb: float
    grown_mb: float


FIGURES = (
    Figure("seen_p50_ms", "message at the last browser, p50, ms"),
    Figure("seen_p99_ms", "the same, p99, ms"),
    Figure("seen_max_ms", "the same, slowest, ms", most=300),
    Figure("answered_p50_ms", "its answer at the last browser, p50, ms"),
    Figure("answered_max_ms", "the same, slowest, ms"),
    Figure("cpu_ms", "processor time of a message and its answer, ms"),
    Figure("idle_cpu_percent", "nobody speaks: processor, %"),
    Figure("idle_b_s", "nobody speaks: bytes a second to all browsers"),
    Figure("open_s", "all browsers begin to follow at once, s"),
    Figure("start_s", "start to serving with its link up, s"),
    Figure("threads", "threads with all browsers"),
    Figure("start_rss_mb", "resident MB at the start"),
    Figure("open_rss_mb", "resident MB with all browsers"),
    Figure("rss_2000_mb", "resident MB after 2,000 messages"),
    Figure("rss_10000_mb", "resident MB after 10,000 messages"),
    Figure("grown_mb", "grown by 8,000 messages, MB", most=4),
)


@dataclass
class Crowd:
    """The browsers that look on, and one that speaks."""

    room: Room
    size: int
    speaker: Browser = field(init=False)
    tabs: list[Tab] = field(default_factory=list)
    said: int = 0
    """Messages since the chatroom started."""

    def __post_init__(self) -> None:
        self.watch = Watch(self.size)
        self.browsers = [Browser(self.room.port, number, ROOM) for number in range(self.size)]
        self.speaker = Browser(self.room.port, self.size, ROOM)

    async def enter(self) -> None:
        """Open the page everywhere."""
        await some_at_once([browser.enter() for browser in (*self.browsers, self.speaker)])

    async def open(self) -> float:
        """Begin to follow, all at once; the seconds it took."""
        self.tabs = [self.room.tab(browser, self.watch) for browser in self.browsers]
        begun = time.perf_counter()
        await asyncio.gather(*(tab.open() for tab in self.tabs))
        taken = time.perf_counter() - begun
        await asyncio.sleep(SETTLE_S)
        return taken

    async def close(self) -> None:
        await asyncio.gather(*(tab.close() for tab in self.tabs))
        await asyncio.sleep(SETTLE_S)

    def received(self) -> int:
        return sum(tab.received for tab in self.tabs)

    async def tell(self, text: str) -> tuple[float, float]:
        """Say something; the seconds until the last browser has it, and until the last has the answer."""
        self.said += 1
        seen = self.watch.expect(f'"{text}"'.encode())
        answered = self.watch.expect(f'said: {text}"'.encode())
        begun = time.perf_counter()
        await self.speaker.say(text)
        both = asyncio.gather(seen, answered)
        at, answered_at = await asyncio.wait_for(both, ANSWER_TIMEOUT_S)
        return at - begun, answered_at - begun

    async def fill(self, messages: int) -> None:
        """Say so much that there have been so many messages, with nobody looking on."""
        missing = max(0, messages - self.said - 1)
        texts = [f"filler {number:05}" for number in range(self.said, self.said + missing)]
        await some_at_once([self.insist(text) for text in texts])
        self.said += missing
        await self.ask(f"full {messages}")

    async def insist(self, text: str) -> None:
        """Say something, again until it is accepted."""
        end = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                return await self.speaker.say(text)
            except BrowserFailed:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(ASKS_AGAIN_S)

    async def ask(self, text: str) -> None:
        """Say something and wait for the answer."""
        self.said += 1
        await self.insist(text)
        end = time.monotonic() + ANSWER_TIMEOUT_S
        while f"said: {text}".encode() not in await self.speaker.ask("GET", "/messages?limit=500"):
            if time.monotonic() > end:
                raise BrowserFailed(f"no answer to {text!r}")
            await asyncio.sleep(ASKS_AGAIN_S)


def rss_mb(room: Room) -> float:
    return memory(room.pid).rss / 1024


async def talk(crowd: Crowd, load: Load) -> tuple[list[float], list[float]]:
    """Messages at a steady pace, however long each takes; milliseconds until seen, and until answered, sorted."""
    begun = asyncio.get_running_loop().time()

    async def one(number: int) -> tuple[float, float]:
        await asyncio.sleep(begun + number * load.pace_s - asyncio.get_running_loop().time())
        return await crowd.tell(f"message {number:05}")

    times = await asyncio.gather(*(one(number) for number in range(load.messages)))
    return sorted(seen * 1000 for seen, _ in times), sorted(answered * 1000 for _, answered in times)


async def idle(crowd: Crowd, load: Load) -> tuple[float, float]:
    """Nobody says anything; processor in percent, and bytes a second sent to all browsers."""
    begun, cpu, received = time.perf_counter(), cpu_s(crowd.room.pid), crowd.received()
    await asyncio.sleep(load.idle_s)
    taken = time.perf_counter() - begun
    return (cpu_s(crowd.room.pid) - cpu) * 100 / taken, (crowd.received() - received) / taken


async def measure(room: Room, load: Load) -> Round:
    """Start the chatroom, measure, end it."""
    start_s = room.start()
    await asyncio.sleep(SETTLE_S)
    start_rss_mb = rss_mb(room)
    crowd = Crowd(room, load.browsers)
    await crowd.enter()
    await crowd.fill(FULL[0])
    open_s = await crowd.open()
    idle_cpu_percent, idle_b_s = await idle(crowd, load)
    open_rss_mb, threads_open = rss_mb(room), threads(room.pid)
    cpu = cpu_s(room.pid)
    seen, answered = await talk(crowd, load)
    cpu_ms = (cpu_s(room.pid) - cpu) * 1000 / load.messages
    await crowd.close()
    await crowd.fill(FULL[1])
    rss_2000_mb = rss_mb(room)
    await crowd.fill(FULL[2])
    rss_10000_mb = rss_mb(room)
    room.stop()
    return Round(
        seen_p50_ms=statistics.median(seen),
        seen_p99_ms=seen[math.ceil(len(seen) * 0.99) - 1],
        seen_max_ms=seen[-1],
        answered_p50_ms=statistics.median(answered),
        answered_max_ms=answered[-1],
        cpu_ms=cpu_ms,
        idle_cpu_percent=idle_cpu_percent,
        idle_b_s=idle_b_s,
        open_s=open_s,
        start_s=start_s,
        threads=threads_open,
        start_rss_mb=start_rss_mb,
        open_rss_mb=open_rss_mb,
        rss_2000_mb=rss_2000_mb,
        rss_10000_mb=rss_10000_mb,
        grown_mb=rss_10000_mb - rss_2000_mb,
    )


async def measure_all(rooms: Sequence[Room], load: Load, rounds: int) -> dict[str, list[Round]]:
    """Every chatroom in turn, `rounds` times over, so that a change in the machine's mood meets them all."""
    results: dict[str, list[Round]] = {room.name: [] for room in rooms}
    for number, room in itertools.product(range(1, rounds + 1), rooms):
        say(f"{room.name}: round {number} of {rounds}")
        results[room.name].append(await measure(room, load))
    return results


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench chatroom", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--only", choices=list(ROOMS), help="measure only one of the two")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes of each chatroom")
    parser.add_argument("--browsers", type=int, default=WHOLE.browsers, help="browsers that look on")
    parser.add_argument("--messages", type=int, default=WHOLE.messages, help="messages that are followed")
    parser.add_argument("--pace", type=float, default=WHOLE.pace_s, help="seconds between two messages")
    parser.add_argument("--idle", type=float, default=WHOLE.idle_s, help="seconds of silence that are measured")
    parser.add_argument("--json", type=Path, help="where the figures go (see `bench.report`)")
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is missed")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    chosen = options(arguments)
    raise_file_limit()
    names = (chosen.only,) if chosen.only else tuple(ROOMS)
    load = Load(chosen.browsers, chosen.messages, chosen.pace, chosen.idle)
    facts = machine()
    with tempfile.TemporaryDirectory(prefix="hivemind-bench-") as folder, Children(Path(folder)) as children:
        results = asyncio.run(measure_all(make_rooms(children, names), load, chosen.rounds))
    run = Run(facts, {name: version(name) for name in names}, load, results, FIGURES)
    path = chosen.json or new_path("chatroom", is_whole=not chosen.only and load == WHOLE)
    return finish(run, path, chosen.check)
