"""One run: everything is set up, talks for so many minutes while faults happen, comes to rest, and is accounted for."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from helpers.hub_cluster import OWN_ID, HubCluster, Seat
from helpers.processes import Child, Children
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_core.clients import Client
from hivemind_core.roles import DEFAULT_ROLE, ROLES

from .assistants import Assistant
from .faults import REDIS_HOST, Done, Faults, Scene
from .ledger import REPORTED_S, Ledger, Report
from .network import Lan
from .satellites import Hive, Satellite, access_key

HUBS = 3
PORT = 5678
PASSWORD = "correct horse battery staple 42"
ADMIN_EVERY = 10
ALL_UP_S = 60.0
ONE_AT_A_TIME_S = REPORTED_S + 10
"""A satellite sends one message of a kind that travels in so long: then a denial, which names none, is of that one."""
UNDELIVERED = re.compile(r"^(\S+ \S+) WARNING \S+ a frame \((\w+)\) to hub (\w+) may not have arrived", re.MULTILINE)
ONLY_HERE = re.compile(r"^(\S+ \S+) WARNING \S+ a (\w+) reaches only the satellites of this hub", re.MULTILINE)
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Plan:
    """What is run."""

    minutes: float
    satellites: int
    seed: int
    pace: float = 1.0
    """How many times the usual traffic."""


@dataclass(frozen=True)
class Rates:
    """Messages a second, of the whole hive."""

    utterance: float = 12.0
    probe: float = 12.0
    """What assistants say to satellites of other hubs, to all in turn."""
    downstream: float = 3.0
    propagate: float = 0.6
    broadcast: float = 0.2
    cascade: float = 0.3
    move: float = 0.7
    """Satellites that go to another hub of their own accord."""


@dataclass(frozen=True)
class Outcome:
    """What a run leaves."""

    plan: Plan
    ledger: Ledger
    done: list[Done]
    refusals: list[str]
    tracebacks: list[str]
    """What hubs printed of errors of their own."""
    seconds: float


def run(plan: Plan, folder: Path) -> Outcome:
    """Run it. Raises NoNetwork where there can be no hosts."""
    with Lan([*(f"h{number}" for number in range(1, HUBS + 1)), REDIS_HOST]) as lan, Children(folder) as children:
        return asyncio.run(_Run(plan, lan, children).go())


class _Run:
    def __init__(self, plan: Plan, lan: Lan, children: Children) -> None:
        self._plan = plan
        self._lan = lan
        self._children = children
        self._random = random.Random(plan.seed)
        self._ledger = Ledger()
        self._numbers = itertools.count(1).__next__
        self._assistants = [Assistant(hub, self._ledger, self._numbers, self._random) for hub in range(HUBS)]
        self._crowd: list[Satellite] = []

    async def go(self) -> Outcome:
        plan = self._plan
        for assistant in self._assistants:
            await assistant.start(self._lan.own)
        scene = await asyncio.to_thread(self._set_up)
        faults = Faults(scene, random.Random(plan.seed))
        lives = [asyncio.create_task(satellite.live()) for satellite in self._crowd]
        try:
            await self._until(lambda: all(each.hub is not None for each in self._crowd), ALL_UP_S, "all are connected")
            scene.back_up()
            say(f"{plan.satellites} satellites are connected; faults for {plan.minutes:g} minutes, seed {plan.seed}")
            begun = time.monotonic()
            talking = [asyncio.create_task(work) for work in self._traffic()]
            await faults.go_on(begun + 60 * plan.minutes)
            await asyncio.sleep(5)
            for task in talking:
                task.cancel()
            await self._come_to_rest(scene)
            seconds = time.monotonic() - begun
        finally:
            for task in lives:
                task.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
        refusals = [f"{each.name}: {text}" for each in self._crowd for text in each.refusals]
        outputs = [(hub, child.output()) for hub, child in scene.processes]
        traces = [f"hub {hub}: {_trace(text)}" for hub, text in outputs if TRACEBACK in text]
        return Outcome(plan, self._ledger, faults.done, refusals, traces, seconds)

    def _set_up(self) -> Scene:
        lan, children = self._lan, self._children
        setup = RedisSetup(lan.address(REDIS_HOST), "word", appendonly=True, run_in=lan.inside(REDIS_HOST))
        redis = RedisServer(children, setup)
        hosts = [f"h{number}" for number in range(1, HUBS + 1)]
        seats = [
            Seat(host, lan.address(host), PORT, assistant.port, lan.own, lan.inside(host))
            for host, assistant in zip(hosts, self._assistants, strict=True)
        ]
        cluster = HubCluster(children, redis, seats)
        psk = self._add_clients(cluster)
        scene = Scene(lan, cluster, redis, self._ledger, lambda hub: self._assistants[hub].forget())
        uris = [f"ws://{seat.host}:{PORT}" for seat in seats]
        hive = Hive(uris, psk, self._ledger, self._numbers, self._random)
        self._crowd += [Satellite(hive, number) for number in range(self._plan.satellites)]
        for assistant in self._assistants:
            assistant.crowd = self._crowd
        for hub in range(HUBS):
            scene.start(hub)
        for member in cluster.hubs:
            member.wait_ready()
        cluster.wait_together()
        return scene

    def _add_clients(self, cluster: HubCluster) -> bytes:
        """Let all satellites in; the key of their password."""
        types = ROLES[DEFAULT_ROLE].types
        names = [access_key(number) for number in range(self._plan.satellites)]
        rows = [
            Client(0, name, name, is_admin=number % ADMIN_EVERY == 0, allowed_types=types)
            for number, name in enumerate(names)
        ]
        return cluster.add_clients(rows, PASSWORD)

    # traffic

    def _traffic(self) -> Iterator[asyncio.Future[None] | object]:
        rates = Rates()
        pairs = itertools.cycle([(a, b) for a in range(HUBS) for b in range(HUBS) if a != b])
        yield self._every(rates.utterance, lambda: self._any().say())
        yield self._every(rates.probe, lambda: self._probe(*next(pairs)))
        yield self._every(rates.downstream, self._send_down)
        for kind in ("propagate", "broadcast", "cascade"):
            yield self._every(getattr(rates, kind), lambda kind=kind: self._tell(kind))
        yield self._every(rates.move, self._move)

    async def _every(self, rate: float, work) -> None:
        due = time.monotonic()
        while True:
            due += self._random.expovariate(rate * self._plan.pace)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await work()

    def _any(self) -> Satellite:
        return self._random.choice(self._crowd)

    async def _probe(self, hub: int, other: int) -> None:
        there = [satellite for satellite in self._crowd if satellite.hub == other]
        if there and self._assistants[hub].is_joined:
            self._assistants[hub].speak(self._random.choice(there))

    async def _send_down(self) -> None:
        assistant = self._random.choice(self._assistants)
        if assistant.is_joined:
            assistant.send_down(self._any())

    async def _tell(self, kind: str) -> None:
        now = time.time()
        found = [
            each
            for each in self._crowd
            if each.hub is not None
            and now - each.sent_at.get(kind, 0) > ONE_AT_A_TIME_S
            and (kind != "broadcast" or each.number % ADMIN_EVERY == 0)
        ]
        if found:
            await self._random.choice(found).tell(kind)

    async def _move(self) -> None:
        """Let one go that is where most are."""
        where = [each.hub for each in self._crowd if each.hub is not None]
        if where:
            fullest = max(range(HUBS), key=where.count)
            chosen = self._random.choice([each for each in self._crowd if each.hub == fullest])
            _spawned(chosen.move())

    # the end

    async def _come_to_rest(self, scene: Scene) -> None:
        """Wait until all that is under way has arrived, or has been reported."""
        end = time.monotonic() + REPORTED_S
        while time.monotonic() < end:
            await asyncio.sleep(2)
            self._ledger.reports = list(_reports(scene.processes))
            _, lost = self._ledger.account()
            if not lost:
                break

    @staticmethod
    async def _until(condition, patience_s: float, what: str) -> None:
        end = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(what)
            await asyncio.sleep(0.1)


_moving: set[asyncio.Task[None]] = set()


def _spawned(work) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _moving.add(task)
    task.add_done_callback(_moving.discard)


def _reports(processes: list[tuple[int, Child]]) -> Iterator[Report]:
    """Read what hubs have logged of frames that did not arrive."""
    outputs = [(hub, child.output()) for hub, child in processes]
    hubs = {found: hub for hub, text in outputs for found in OWN_ID.findall(text)}
    for hub, text in outputs:
        for at, what, to in UNDELIVERED.findall(text):
            yield Report(_time(at), hub, hubs.get(to), what)
        for at, what in ONLY_HERE.findall(text):
            yield Report(_time(at), hub, None, what)


def _time(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").timestamp()


def _trace(text: str) -> str:
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if TRACEBACK in line)
    return "\n".join(lines[max(0, first - 1) : first + 30])


def say(text: str) -> None:
    with suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)
