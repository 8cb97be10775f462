"""Faults that happen to hubs of their own, while the other one goes on: the tests of the short suite, over and over."""

from __future__ import annotations

import asyncio
import random
import shutil
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from e2e import test_faults_clock, test_faults_database
from helpers.fault_scene import JSON, SQLITE, Disk, FaultScene, answered
from helpers.kill_rounds import KillRounds
from helpers.processes import Children

ROUNDS = 12
MAILBOX = {"enabled": True, "max_pending_per_sender": 100_000}
Element = Callable[[Children, random.Random], Awaitable[str]]


def kills(store: str) -> Element:
    """`kill -9` at random moments, a dozen times."""

    async def element(children: Children, chance: random.Random) -> str:
        scene = FaultScene(children, store=store, rendezvous=MAILBOX).start()
        rounds = KillRounds(scene, chance)
        for _ in range(ROUNDS):
            await rounds.one()
        assert rounds.lost == [], rounds.lost
        await answered(await rounds.session("key-4"))
        await scene.hang_up()
        return f"{ROUNDS} rounds, {len(rounds.added)} clients and {len(rounds.deposited)} deposits acknowledged"

    return element


def damage(store: str) -> Element:
    async def element(children: Children, chance: random.Random) -> str:
        await test_faults_database.test_damage_under_the_hub_and_the_way_back(FaultScene(children, store=store))
        return ""

    return element


def disk(store: str, test: Callable[[FaultScene, Disk], Awaitable[None]]) -> Element:
    async def element(children: Children, chance: random.Random) -> str:
        scene = FaultScene(children, store=store)
        with Disk(scene.folder, children.folder / "image") as failing:
            try:
                await test(scene, failing)
            finally:
                children.stop()
        return ""

    return element


async def log_damage(children: Children, chance: random.Random) -> str:
    await test_faults_database.test_a_damaged_log_costs_what_was_last_written_and_no_more(children)
    return ""


async def clock(children: Children, chance: random.Random) -> str:
    await test_faults_clock.test_jumps_of_the_clock(children, children.folder)
    return ""


ELEMENTS: dict[str, Element] = {
    "kill -9, SQLite": kills(SQLITE),
    "kill -9, JSON": kills(JSON),
    "damaged database, SQLite": damage(SQLITE),
    "damaged database, JSON": damage(JSON),
    "damaged log": log_damage,
    "full disk, SQLite": disk(SQLITE, test_faults_database.test_a_full_disk),
    "full disk, JSON": disk(JSON, test_faults_database.test_a_full_disk),
    "failing disk, SQLite": disk(SQLITE, test_faults_database.test_a_disk_that_fails_under_the_hub),
    "failing disk, JSON": disk(JSON, test_faults_database.test_a_disk_that_fails_under_the_hub),
    "jumping clock": clock,
}


class Alone:
    """Does them one after the other; `done` says what came of each, `failures` what must be empty."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.done: list[str] = []
        self.failures: list[str] = []
        self._folder = folder
        self._random = chance

    async def go_on(self, is_over: Callable[[], bool]) -> None:
        """In an order that the seed decides, until it is over."""
        deck: list[str] = []
        while not is_over():
            if not deck:
                deck = self._random.sample(sorted(ELEMENTS), len(ELEMENTS))
            await self._one(deck.pop())

    async def _one(self, name: str) -> None:
        folder = self._folder / f"alone-{len(self.done)}"
        chance = random.Random(self._random.random())
        try:
            # In a thread and a loop of its own: tests wait for processes without looking at any loop.
            outcome = await asyncio.to_thread(_run, ELEMENTS[name], folder, chance)
            self.done.append(f"{name}: {outcome or 'well'}")
            shutil.rmtree(folder, ignore_errors=True)
        except pytest.skip.Exception as skipped:
            self.done.append(f"{name}: cannot be here ({skipped})")
        except BaseException as error:  # the top of an element; the others go on
            self.done.append(f"{name}: FAILED")
            self.failures.append(f"{name}: {''.join(traceback.format_exception(error)[-3:])}")
            if not isinstance(error, Exception):
                raise


def _run(element: Element, folder: Path, chance: random.Random) -> str:
    folder.mkdir(parents=True)
    with Children(folder) as children:
        return asyncio.run(element(children, chance))
