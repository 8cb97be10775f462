"""One run: everything is set up, talks for so many minutes while faults happen, comes to rest, and is accounted for."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from helpers.block_count import BlockCount
from helpers.fault_scene import PASSWORD, Disk, FaultScene
from helpers.processes import Children
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.noise import derive_psk
from hivemind_core.clients import Client
from hivemind_core.keys import psk_binding
from hivemind_core.roles import DEFAULT_ROLE, ROLES
from soak.ledger import UTTERANCE
from soak.satellites import Hive, Satellite, access_key

from .alone import Alone
from .faults import Done, Faults, start_bus
from .ledger import HubLedger
from .watch import ENOUGH_SAMPLES, Watch

MISBEHAVING = 8
UTTERANCES_PER_S, TO_ALL_PER_S = 40.0, 0.5
PING_S = 5.0
ALL_UP_S, REST_S, CALM_S = 60.0, 50.0, 8.0
STUCK_S = 60.0
"""Where no message was sent for so long, none will be."""
FILES = 8192
AWAY = re.compile(r"^(\S+ \S+) WARNING \S+ The message bus at \S+ is away", re.MULTILINE)
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Plan:
    """What is run."""

    minutes: float
    satellites: int
    seed: int
    pace: float = 1.0
    """How many times the usual traffic."""
    alone: bool = True
    """Whether hubs of their own are killed and damaged meanwhile."""
    messages: int = 0
    """Not 0: how many are sent, instead of how long. Faults happen in the first half of them, each at least once; in
    the second there is nothing but traffic."""


@dataclass(frozen=True)
class Outcome:
    """What a run leaves."""

    plan: Plan
    ledger: HubLedger
    done: list[Done]
    alone: Alone
    watch: Watch
    files: tuple[int, int]
    """Descriptors of the hub before the first fault, and after the last."""
    wrong: list[str]
    seconds: float


def run(plan: Plan, folder: Path) -> Outcome:
    """Run it, as root."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    with Children(folder) as children:
        scene = FaultScene(children, clients=MISBEHAVING, ping_s=PING_S)
        with Disk(scene.folder, folder / "image") as disk:
            try:
                return asyncio.run(_Run(plan, scene, disk, folder).go())
            finally:
                children.stop()


class _Run:
    def __init__(self, plan: Plan, scene: FaultScene, disk: Disk, folder: Path) -> None:
        self._plan = plan
        self._scene = scene
        self._random = random.Random(plan.seed)
        self._ledger = HubLedger()
        self._numbers = itertools.count(1).__next__
        self._watch = Watch()
        self._faults = Faults(scene, disk, random.Random(plan.seed), self._watch.is_cold)
        self._alone = Alone(folder, random.Random(plan.seed + 1))
        self._counted = BlockCount(folder / "counting")
        self._crowd: list[Satellite] = []

    async def go(self) -> Outcome:
        plan, scene, ledger = self._plan, self._scene, self._ledger
        await asyncio.to_thread(self._set_up)
        lives = [asyncio.create_task(satellite.live()) for satellite in self._crowd]
        try:
            await self._until(lambda: all(each.hub is not None for each in self._crowd), "all are connected")
            await asyncio.sleep(CALM_S)
            files_before = scene.descriptors()
            length = f"{plan.messages} messages" if plan.messages else f"faults for {plan.minutes:g} minutes"
            say(f"{plan.satellites} satellites are connected; {length}, seed {plan.seed}")
            begun = time.monotonic()
            faults_are_over = self._until_faults_end(begun)
            talking = [asyncio.create_task(work) for work in self._traffic()]
            watching = asyncio.create_task(self._watch.follow(scene, ledger, self._is_quiet))
            alone = asyncio.create_task(self._alone.go_on(lambda: faults_are_over() or not plan.alone))
            await self._faults.go_on(faults_are_over)
            await alone
            await asyncio.sleep(CALM_S)
            await self._traffic_alone()
            for task in talking:
                task.cancel()
            await self._come_to_rest()
            files_after, ended = scene.descriptors(), time.time()
            watching.cancel()
        finally:
            for task in lives:
                task.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
        output = scene.process.output()
        wrong = [*ledger.failures, *ledger.harm(ended), *self._watch.verdicts(files_before, files_after)]
        wrong += [f"{each.what}: {each.problem}" for each in self._faults.done if each.problem]
        wrong += [f"{each.name} was refused: {text}" for each in self._crowd for text in each.refusals]
        wrong += [_trace(output)] if TRACEBACK in output else []
        wrong += [] if scene.process.running else ["the hub ended"]
        wrong += [f"{len(ledger.sent)} messages were sent, no more"] if len(ledger.sent) < plan.messages else []
        files, seconds = (files_before, files_after), time.monotonic() - begun
        return Outcome(plan, ledger, self._faults.done, self._alone, self._watch, files, wrong, seconds)

    def _until_faults_end(self, begun: float) -> Callable[[], bool]:
        plan = self._plan
        if not plan.messages:
            return lambda: time.monotonic() > begun + 60 * plan.minutes

        def are_over() -> bool:
            return not self._scene.process.running or (
                len(self._ledger.sent) >= plan.messages / 2 and self._faults.all_were
            )

        return are_over

    async def _traffic_alone(self) -> None:
        """Let the rest of the messages be sent."""
        if self._plan.messages:
            say(f"{len(self._ledger.sent)} messages so far; from now on nothing but traffic")
            self._watch.is_alone(await self._blocks())
            sent, since = 0, time.monotonic()
            while time.monotonic() < since + STUCK_S and not self._has_all():
                await asyncio.sleep(1)
                if len(self._ledger.sent) > sent:
                    sent, since = len(self._ledger.sent), time.monotonic()
            self._watch.ends(await self._blocks())

    async def _blocks(self) -> int:
        return await asyncio.to_thread(self._counted.of, self._scene.process)

    def _has_all(self) -> bool:
        return len(self._ledger.sent) >= self._plan.messages and len(self._watch.alone()) >= ENOUGH_SAMPLES

    def _is_quiet(self) -> bool:
        return time.monotonic() > self._faults.heavy_until

    def _set_up(self) -> None:
        scene = self._scene
        scene.bus.kill()
        start_bus(scene)
        identity = NodeIdentity(scene.hub.home.config / "hivemind-core" / "_identity.json")
        identity.name = "hivemind-core"
        identity.create_keys()
        identity.save()
        psk, node_id = derive_psk(PASSWORD, identity.public_key), identity.public_key
        metadata = {"noise_psk": psk.hex(), "noise_psk_for": psk_binding(node_id, PASSWORD)}
        types = ROLES[DEFAULT_ROLE].types
        scene.fill()
        with closing(scene.opened()) as database:
            for number in range(self._plan.satellites):
                name = access_key(number)
                more = {"can_propagate": True, "metadata": metadata}
                database.add(Client(0, name, name, password=PASSWORD, allowed_types=types, **more))
        scene.start(self._counted.env)
        uri = f"ws://127.0.0.1:{scene.hub.port}"
        hive = Hive([uri, uri], psk, self._ledger, self._numbers, self._random)
        self._crowd += [Satellite(hive, number) for number in range(self._plan.satellites)]

    # traffic

    def _traffic(self) -> Iterator[Awaitable[None]]:
        yield self._every(UTTERANCES_PER_S, lambda one: one.say(), UTTERANCE)
        yield self._every(TO_ALL_PER_S, lambda one: one.tell("propagate"), "propagate")

    async def _every(self, rate: float, work: Callable[[Satellite], Awaitable[None]], kind: str) -> None:
        due = time.monotonic()
        while True:
            due = max(due + self._random.expovariate(rate * self._plan.pace), time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            one, now = self._random.choice(self._crowd), time.time()
            if one.hub is not None and self._ledger.is_free(one.number, kind, now):
                await work(one)

    # the end

    async def _come_to_rest(self) -> None:
        """Wait until all that is under way has arrived, or has been reported."""
        end = time.monotonic() + REST_S
        while time.monotonic() < end:
            await asyncio.sleep(1)
            self._ledger.bus_losses = [_time(at) for at in AWAY.findall(self._scene.process.output())]
            if not self._ledger.account()[1]:
                break

    @staticmethod
    async def _until(condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + ALL_UP_S
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(what)
            await asyncio.sleep(0.1)


def _time(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").timestamp()


def _trace(text: str) -> str:
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if TRACEBACK in line)
    return "\n".join(lines[max(0, first - 1) : first + 30])


def say(text: str) -> None:
    with suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)
