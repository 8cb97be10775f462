"""What is done to the hub that lives all the while: to its bus, its database, its descriptors, and by bad peers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import random
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from helpers.fault_scene import PASSWORD, Disk, FaultScene, eventually
from helpers.processes import wait_until
from helpers.target import Session
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.clients import Client
from hivemind_core.door import MAX_CONNECTIONS_OF_KEY
from hivemind_core.roles import DEFAULT_ROLE, ROLES

from . import bus

CALM_S = (2.0, 6.0)
SILENT, UNFINISHED, UNKNOWN = 1200, 40, 200
GIANT_BYTES, RACING = 20_000_000, 8
SLOW = range(1, 4)
"""The numbers of the clients that misbehave as slow readers."""
NOTICED_S, SETTLED_S = 60.0, 3.0


@dataclass(frozen=True)
class Done:
    """A fault as it was."""

    what: str
    start: float
    end: float
    problem: str = ""
    """What did not happen that had to."""


class Harm(Exception):
    """A fault was not taken as it has to be."""


class Faults:
    """Does them; `done` is what was done so far."""

    def __init__(self, scene: FaultScene, disk: Disk, chance: random.Random, warm: Callable[[], None]) -> None:
        """`warm` is told as long as there is one that has not happened yet."""
        self.done: list[Done] = []
        self.heavy_until = 0.0
        """Until when (monotonic) memory is taken by what is being done, and given back."""
        self._warm = warm
        self._scene = scene
        self._disk = disk
        self._random = chance
        self._devices: dict[str, bytes] = {}

    @property
    def all_were(self) -> bool:
        """Every one has happened at least once."""
        return {each.what for each in self.done} >= {*ACTS}

    async def go_on(self, is_over: Callable[[], bool]) -> None:
        """Do one after the other until it is over."""
        deck: list[str] = []
        while not is_over():
            if not deck:
                deck = self._random.sample(sorted(ACTS), len(ACTS))
            await self._one(deck.pop())
            if len(self.done) <= len(ACTS):
                self._warm()
            await asyncio.sleep(self._random.uniform(*CALM_S))

    async def _one(self, what: str) -> None:
        start, problem = time.time(), ""
        self.heavy_until = math.inf if what in HEAVY else self.heavy_until
        try:
            await asyncio.wait_for(ACTS[what](self), 180)
        except (Harm, AssertionError, asyncio.TimeoutError, OSError, WebSocketException, sqlite3.Error) as error:
            problem = f"{type(error).__name__}: {error}"
        await self._scene.hang_up()
        self.done.append(Done(what, start, time.time(), problem))
        self.heavy_until = time.monotonic() + SETTLED_S if what in HEAVY else self.heavy_until

    def _for(self, least: float, most: float) -> Awaitable[None]:
        return asyncio.sleep(self._random.uniform(least, most))

    async def _session(self, key: str, session_id: str = "") -> Session:
        device = self._devices.setdefault(key, generate_static_key())
        return await self._scene.session(key, device=device, session_id=session_id)

    async def _said(self, *texts: str, since: int) -> None:
        """Wait until the hub's log has all of these, from a position on."""
        await asyncio.to_thread(
            wait_until, lambda: all(text in self._scene.process.output()[since:] for text in texts), NOTICED_S, texts[0]
        )

    # peers

    async def slow_readers(self) -> None:
        """Three read nothing while the assistant tells them a lot: all are closed, memory stays bounded."""
        since = len(self._scene.process.output())
        for number in SLOW:
            (await self._session(f"key-{number}")).pause()
        texts = [self._speak(f"raw::{number}::key-{number}::of-key-{number}", 100_000) for number in SLOW]
        async with self._flooding(texts, pause_s=0.005):
            await self._said(*(f"key-{number}::of-key-{number} left" for number in SLOW), since=since)

    async def vanished(self) -> None:
        """Three are silent, their sockets stay open: noticed by their heartbeat, and their ids are free again."""
        since = len(self._scene.process.output())
        sessions = [await self._session(f"key-{number}") for number in SLOW]
        for session in sessions:
            session.pause()
        await self._said(*(f"key-{number}::of-key-{number} left" for number in SLOW), since=since)

    async def crowd(self) -> None:
        """Thousands come from one address; who belongs here gets in."""
        scene = self._scene
        silent = [await asyncio.open_connection("127.0.0.1", scene.hub.port) for _ in range(SILENT)]
        try:
            await asyncio.gather(*(scene.raw("key-4") for _ in range(UNFINISHED)))
            codes = {await scene.refused(f"no-such-key-{number}") for number in range(UNKNOWN)}
            if codes not in ({1008, 1013}, {1013}):  # shortly after the last crowd nobody is looked up at all
                raise Harm(f"unknown keys were answered {codes}")
            await self._session("key-5")
        finally:
            for _, writer in silent:
                writer.transport.abort()
            await asyncio.gather(*(writer.wait_closed() for _, writer in silent), return_exceptions=True)

    async def one_key(self) -> None:
        """As many connections as one key may have, and one more."""
        for number in range(MAX_CONNECTIONS_OF_KEY):
            await self._session("key-6", f"device-{number}")
        if await self._scene.refused("key-6") != 1013:
            raise Harm("one connection too many was not refused")
        await self._session("key-5")

    async def race(self) -> None:
        """Devices come at once with a key that is new: one of them has it from then on."""
        key, scene = f"race-{len(self.done)}", self._scene
        with closing(scene.opened()) as database:
            database.add(Client(0, key, key, password=PASSWORD, allowed_types=ROLES[DEFAULT_ROLE].types))
        sessions = await asyncio.gather(*(scene.session(key, session_id=str(number)) for number in range(RACING)))
        await eventually(lambda: len(_ends(sessions)) == RACING - 1, "that one device is left")
        if set(_ends(sessions)) != {1008}:
            raise Harm(f"those that came too late were told {_ends(sessions)}")
        await self._session("key-5")

    # the bus

    async def bus_paused(self) -> None:
        """SIGSTOP, for less than it takes to be given up."""
        await self._paused(1, 6)

    async def bus_stalled(self) -> None:
        """SIGSTOP, until it is given up."""
        await self._paused(12, 30)

    async def _paused(self, least: float, most: float) -> None:
        os.kill(self._scene.bus.pid, signal.SIGSTOP)
        try:
            await self._for(least, most)
        finally:
            os.kill(self._scene.bus.pid, signal.SIGCONT)
        await self._scene.until_ready("agent")

    async def bus_killed(self) -> None:
        """kill -9, and another one after a while."""
        self._scene.bus.kill()
        await self._for(0.2, 8)
        start_bus(self._scene)
        await self._scene.until_ready("agent")

    async def bus_flooded(self) -> None:
        """Thousands of messages a second, to nobody."""
        async with self._flooding([self._speak("nobody", 50), self._speak(["a", 7, None], 50)] * 50):
            await self._for(3, 8)

    async def giants(self) -> None:
        """Messages of 20 MB, to nobody."""
        async with self._flooding([self._speak("nobody", GIANT_BYTES)], pause_s=0.5):
            await self._for(3, 8)

    @staticmethod
    def _speak(destination: object, size: int) -> str:
        context = {"source": "flood", "destination": destination}
        return json.dumps({"type": "speak", "data": {"utterance": "x" * size}, "context": context})

    @asynccontextmanager
    async def _flooding(self, frames: list[str], pause_s: float = 0.0) -> AsyncIterator[None]:
        url = f"ws://127.0.0.1:{self._scene.bus_port}/core"
        async with connect(url, compression=None, max_size=None, ping_interval=None, close_timeout=1) as socket:

            async def flood() -> None:
                while True:
                    for frame in frames:
                        await socket.send(frame)
                        await asyncio.sleep(pause_s)

            async def read() -> None:
                async for _ in socket:
                    pass

            tasks = [asyncio.create_task(flood()), asyncio.create_task(read())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                with suppress(WebSocketException):
                    await asyncio.gather(*tasks, return_exceptions=True)

    # the database and the descriptors

    async def database_locked(self) -> None:
        """Another process writes for long."""
        with closing(sqlite3.connect(self._scene.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await self._session("key-5")
            await self._for(1, 12)
            other.execute("ROLLBACK")
        await self._scene.until_ready()

    async def disk_full(self) -> None:
        """There is no room for a while."""
        ballast = await asyncio.to_thread(self._disk.fill)
        try:
            await self._session("key-5")
            await self._for(1, 12)
        finally:
            ballast.unlink()
        await self._scene.until_ready()

    async def no_files(self) -> None:
        """It may open no more files, and many want in."""
        pid, before = self._scene.process.pid, self._scene.descriptors()
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (before + 20, limit[1]))
        crowd = []
        try:
            for _ in range(100):
                crowd.append(await asyncio.open_connection("127.0.0.1", self._scene.hub.port))
            spent, began = self._scene.cpu_s(), time.monotonic()
            await self._for(2, 6)
            share = (self._scene.cpu_s() - spent) / (time.monotonic() - began)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
            for _, writer in crowd:
                writer.transport.abort()
            await asyncio.gather(*(writer.wait_closed() for _, writer in crowd), return_exceptions=True)
        if share > 0.8:
            raise Harm(f"{share:.0%} of a processor were used meanwhile")
        await self._until_in("key-5")

    async def _until_in(self, key: str) -> None:
        end = time.monotonic() + NOTICED_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError, WebSocketException):
                await self._session(key)
                return
            await asyncio.sleep(0.2)
        raise Harm(f"{key} cannot come in")


def _ends(sessions: list[Session]) -> list[int]:
    return [one.socket.close_code for one in sessions if one.socket.close_code is not None]


def start_bus(scene: FaultScene) -> None:
    """Start the assistant's bus."""
    scene.bus = scene.children.spawn("bus", [sys.executable, bus.__file__, str(scene.bus_port)])
    scene.bus.expect("ready")


ACTS: dict[str, Callable[[Faults], Awaitable[None]]] = {
    "slow readers": Faults.slow_readers,
    "vanished peers": Faults.vanished,
    "thousands of connects": Faults.crowd,
    "one key, many devices": Faults.one_key,
    "devices that race": Faults.race,
    "bus paused": Faults.bus_paused,
    "bus stalled": Faults.bus_stalled,
    "bus killed": Faults.bus_killed,
    "bus flooded": Faults.bus_flooded,
    "giants on the bus": Faults.giants,
    "database locked": Faults.database_locked,
    "disk full": Faults.disk_full,
    "no more files": Faults.no_files,
}
HEAVY = {*ACTS} - {"vanished peers", "database locked", "disk full", "no more files"}
"""Those for which the hub takes memory: more peers, or more that waits."""
