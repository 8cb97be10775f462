"""What is done to the cluster, one thing after the other or two at once, in an order that the seed decides."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from helpers.hub_cluster import HubCluster
from helpers.processes import Child
from helpers.redis_server import RedisServer

from .ledger import CUT, KILL, PAUSE, REDIS, UNPLUG, Fault, Ledger
from .network import Lan

REDIS_HOST = "db"
CALM_S = (6.0, 12.0)
OVERLAP = 0.25
"""How often the next fault does not wait for the end of one."""
NOBODY = frozenset[int]()


@dataclass(frozen=True)
class Done:
    """A fault as it was: what, to whom, and when it was over."""

    what: str
    fault: Fault


@dataclass
class Scene:
    """What faults happen to."""

    lan: Lan
    cluster: HubCluster
    redis: RedisServer
    ledger: Ledger
    starting: Callable[[int], None]
    """Told of each hub that is started."""
    processes: list[tuple[int, Child]] = field(default_factory=list)
    """Every process of a hub that there was, with the hub's number."""

    def start(self, hub: int) -> None:
        """Start a hub; returns at once."""
        member = self.cluster.hubs[hub]
        self.starting(hub)
        member.start(waited_for=False)
        self.processes.append((hub, member.running))

    def host(self, hub: int) -> str:
        """The host that a hub is on."""
        return self.cluster.hubs[hub].name

    @property
    def backup(self) -> Path:
        """A copy of what Redis had when all satellites had come."""
        return self.redis.home.path / "backup"

    def back_up(self) -> None:
        """Make that copy."""
        shutil.copytree(self.redis.home.path / "appendonlydir", self.backup)

    def restore(self) -> None:
        """Put that copy in the place of what Redis has; it must not run."""
        shutil.rmtree(self.redis.home.path / "appendonlydir")
        shutil.copytree(self.backup, self.redis.home.path / "appendonlydir")


Act = Callable[["Faults"], Awaitable[None]]


class Faults:
    """Does them; `done` is what was done so far."""

    def __init__(self, scene: Scene, chance: random.Random) -> None:
        self.done: list[Done] = []
        self._scene = scene
        self._random = chance
        self._busy: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def go_on(self, until: float) -> None:
        """Do one after the other until a time (monotonic), then wait until the last is over."""
        deck: list[Act] = []
        while time.monotonic() < until:
            if not deck:
                deck = [*ACTS]
                self._random.shuffle(deck)
            task = asyncio.get_running_loop().create_task(deck.pop()(self))
            self._tasks.add(task)
            if self._random.random() >= OVERLAP:
                await asyncio.gather(*self._tasks)
                self._tasks.clear()
                await asyncio.sleep(self._random.uniform(*CALM_S))
            else:
                await asyncio.sleep(self._random.uniform(0.5, 4.0))
        await asyncio.gather(*self._tasks)

    def _for(self, least: float, most: float) -> Awaitable[None]:
        return asyncio.sleep(self._random.uniform(least, most))

    def _hubs(self, count: int) -> list[int]:
        """Choose hubs to which nothing is being done."""
        free = [hub for hub in range(len(self._scene.cluster.hubs)) if hub not in self._busy]
        chosen = self._random.sample(free, min(count, len(free)))
        self._busy.update(chosen)
        return chosen

    def _note(self, what: str, kind: str, hubs: list[int], begun: Fault) -> None:
        """The fault is over: its end was open until now."""
        fault = Fault(kind, frozenset(hubs), begun.start, time.time())
        self._scene.ledger.faults[self._scene.ledger.faults.index(begun)] = fault
        self._busy.difference_update(hubs)
        self.done.append(Done(what, fault))

    def _begin(self, kind: str, hubs: list[int]) -> Fault:
        fault = Fault(kind, frozenset(hubs), time.time(), float("inf"))
        self._scene.ledger.faults.append(fault)
        return fault

    # to a hub

    async def kill(self) -> None:
        """kill -9, and start it again after a while."""
        hubs = self._hubs(1)
        for hub in hubs:
            begun = self._begin(KILL, hubs)
            self._scene.cluster.hubs[hub].kill()
            await self._for(0.2, 6)
            self._scene.start(hub)
            await self._ready(hub)
            self._note("kill -9 a hub", KILL, hubs, begun)

    async def _ready(self, hub: int) -> None:
        await asyncio.to_thread(self._scene.cluster.hubs[hub].wait_ready)

    async def pause(self) -> None:
        """SIGSTOP."""
        hubs = self._hubs(1)
        for hub in hubs:
            begun = self._begin(PAUSE, hubs)
            self._scene.cluster.hubs[hub].pause()
            await self._for(2, 20)
            self._scene.cluster.hubs[hub].resume()
            self._note("pause a hub", PAUSE, hubs, begun)

    async def unplug(self) -> None:
        """Take a hub off the network."""
        hubs = self._hubs(1)
        for hub in hubs:
            begun = self._begin(UNPLUG, hubs)
            self._scene.lan.unplug(self._scene.host(hub))
            await self._for(2, 15)
            self._scene.lan.plug(self._scene.host(hub))
            self._note("unplug a hub", UNPLUG, hubs, begun)

    # between hubs and Redis

    async def cut_one(self) -> None:
        """Cut the network between a hub and Redis."""
        await self._cut(1, "cut a hub from Redis")

    async def cut_two(self) -> None:
        """Cut it for two hubs at once."""
        await self._cut(2, "cut two hubs from Redis")

    async def _cut(self, count: int, what: str) -> None:
        hubs = self._hubs(count)
        begun = self._begin(CUT, hubs) if hubs else None
        for hub in hubs:
            self._scene.lan.cut(self._scene.host(hub), REDIS_HOST)
        if begun is not None:
            await self._for(1, 15)
            for hub in hubs:
                self._scene.lan.mend(self._scene.host(hub), REDIS_HOST)
            self._note(what, CUT, hubs, begun)

    # to Redis

    async def kill_redis(self) -> None:
        """kill -9, and start it again with what it has on its disk."""
        await self._kill_redis("kill -9 Redis", lambda: None)

    async def restore_redis(self) -> None:
        """The same, with an old copy in the place of what it had."""
        await self._kill_redis("restore Redis from a backup", self._scene.restore)

    async def _kill_redis(self, what: str, meanwhile: Callable[[], None]) -> None:
        if -1 in self._busy:
            return
        self._busy.add(-1)
        begun = self._begin(REDIS, [])
        self._scene.redis.kill()
        meanwhile()
        await self._for(0.2, 8)
        await asyncio.to_thread(self._scene.redis.start)
        self._note(what, REDIS, [], begun)
        self._busy.discard(-1)

    async def pause_redis(self) -> None:
        """SIGSTOP."""
        if -1 in self._busy:
            return
        self._busy.add(-1)
        begun = self._begin(REDIS, [])
        self._scene.redis.pause()
        await self._for(1, 10)
        self._scene.redis.resume()
        self._note("pause Redis", REDIS, [], begun)
        self._busy.discard(-1)


ACTS: list[Act] = [
    Faults.kill,
    Faults.pause,
    Faults.unplug,
    Faults.cut_one,
    Faults.cut_two,
    Faults.kill_redis,
    Faults.restore_redis,
    Faults.pause_redis,
]
