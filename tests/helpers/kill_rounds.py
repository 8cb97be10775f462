"""Rounds in which a hub is killed (`kill -9`) while all that it keeps is being written, and what is there then."""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
import sys
from contextlib import closing, suppress

from websockets.exceptions import WebSocketException

from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.noise import generate_static_key

from . import adder
from .fault_scene import SQLITE, FaultScene
from .target import Session

LONGEST_S = 2.0
IN_A_BOX = 200
PIN = "noise_pubkey"


class KillRounds:
    """What was acknowledged so far; `lost` is what must be empty."""

    def __init__(self, scene: FaultScene, chance: random.Random) -> None:
        """The hub of the scene has a mailbox, and runs."""
        self.lost: list[str] = []
        self.added: list[str] = []
        self.deposited: list[str] = []
        self.pins: dict[str, str] = {}
        self.rounds = 0
        self._scene = scene
        self._random = chance
        self._devices: dict[str, bytes] = {}

    async def one(self) -> None:
        """Kill the hub, start it again and look."""
        scene = self._scene
        if not self._devices:
            await (await self.session("key-1")).close()  # else nothing is left before its first key is made
        self.rounds += 1
        process = [sys.executable, adder.__file__, scene.store, scene.file, f"round-{self.rounds}"]
        adding = scene.children.spawn("adder", process)
        work = [asyncio.create_task(self._deposit()), asyncio.create_task(self._come_and_go())]
        await asyncio.sleep(self._random.uniform(0.1, LONGEST_S))
        scene.hub.kill()
        adding.kill()
        await asyncio.wait_for(asyncio.gather(*work), 60)
        self.added += adding.lines()
        await scene.hang_up()
        self._look()
        scene.again()

    def _look(self) -> None:
        rows = self._scene.rows()
        self.lost += [f"client {key}" for key in self.added if key not in rows]
        found = {key: row.metadata[PIN] for key, row in rows.items() if PIN in row.metadata}
        self.lost += [f"the pin of {key}" for key, pin in self.pins.items() if found.get(key) != pin]
        self.pins = found
        files = [self._scene.folder / "mailbox.db"] + [self._scene.file] * (self._scene.store == SQLITE)
        for file in filter(lambda one: one.exists(), files):
            with closing(sqlite3.connect(file)) as database:
                [damage] = database.execute("PRAGMA integrity_check").fetchone()
                self.lost += [f"{file.name}: {damage}"] if damage != "ok" else []
        if files[0].exists():
            with closing(sqlite3.connect(files[0])) as database:
                waiting = {found for (found,) in database.execute("SELECT deposit_id FROM deposits")}
            self.lost += [f"deposit {one}" for one in self.deposited if one not in waiting]

    async def _deposit(self) -> None:
        """Leave messages for somebody who does not come, one after the other."""
        with suppress(WebSocketException, OSError):
            satellite = await self.session("key-1")
            payload = HiveMessage(HiveMessageType.INTERCOM, {"ciphertext": "x" * 1000}).serialize()
            for number in itertools.count(len(self.deposited)):
                body = {"cmd": "deposit", "target_key": f"nobody-{number // IN_A_BOX}", "payload": payload}
                before = len(satellite.messages)
                await satellite.send(HiveMessage(HiveMessageType.RENDEZVOUS, body))
                while len(satellite.messages) == before:
                    await satellite.socket.ping()
                    await asyncio.sleep(0.005)
                for message in satellite.messages[before:]:
                    if message.msg_type == HiveMessageType.RENDEZVOUS and message.payload.get("status") == "ok":
                        self.deposited.append(message.payload["deposit_id"])

    async def _come_and_go(self) -> None:
        """Come for the first time, and again and again: keys and pins are written, and when it was seen."""
        key = f"key-{2 + self.rounds % 3}"
        with suppress(WebSocketException, OSError):
            while True:
                satellite = await self.session(key)
                await satellite.say("x")
                await satellite.close()

    async def session(self, key: str) -> Session:
        """A satellite; each key has one device, which the hub may have pinned before it was killed."""
        device = self._devices.setdefault(key, generate_static_key())
        return await self._scene.session(key, device=device)
