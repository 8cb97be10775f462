"""When clients were seen: one write at a time, what failed is tried again, who vanished was seen when last heard."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest

from hivemind_core.clocks import Clocks
from hivemind_core.database import ClientDatabase
from hivemind_core.last_seen import RETRY_S, SeenWriter
from hivemind_core.peers import Peer
from hivemind_core.storage import StorageError
from hivemind_core.tasks import Tasks
from hivemind_core.workers import Workers

WALL = 1_000_000.0


class Database:
    """Keeps what is written; fails while it is told to, waits while it is held."""

    def __init__(self) -> None:
        self.rows: dict[int, float] = {}
        self.tried: list[list[int]] = []
        self.problem = ""

    def touch(self, seen: dict[int, float]) -> None:
        self.tried.append(sorted(seen))
        if self.problem:
            raise StorageError(self.problem)
        self.rows.update(seen)


class Scene:
    def __init__(self) -> None:
        self.now = 100.0
        self.db, self.tasks, self.free = Database(), Tasks(), asyncio.Event()
        self.free.set()
        clocks = Clocks(lambda: self.now, lambda: WALL + self.now)
        parts: Any = (self.db, self, clocks, self.tasks.spawn, 60.0)
        self.writer = SeenWriter(cast(ClientDatabase, parts[0]), cast(Workers, parts[1]), *parts[2:])

    async def database(self, call: Any, *args: Any) -> Any:
        """As `Workers` do it."""
        await self.free.wait()
        return call(*args)

    async def note(self, *peers: Peer, leaving: bool = False) -> None:
        self.writer.note(peers, leaving=leaving)
        for _ in range(20):
            await asyncio.sleep(0)


def peer(client_id: int, active_at: float) -> Peer:
    class Client:
        pass

    found: Any = Client()
    found.client, found.active_at = Client(), active_at
    found.client.client_id = client_id
    return cast(Peer, found)


async def test_what_failed_is_written_later_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.db.problem = "the disk is full."
    caplog.set_level(logging.INFO)
    await scene.note(peer(1, 100.0))
    scene.now += RETRY_S - 1
    await scene.note(peer(2, 103.0))
    assert scene.db.tried == [[1]]
    scene.now += 1
    await scene.note()
    scene.db.problem = ""
    scene.now += RETRY_S
    await scene.note()
    assert scene.db.rows == {1: WALL + 100, 2: WALL + 100 + RETRY_S - 1}
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


async def test_there_is_one_write_at_a_time_however_many_leave() -> None:
    scene = Scene()
    scene.free.clear()
    for number in range(1, 51):
        await scene.note(peer(number, scene.now - number), leaving=True)
    assert len(scene.tasks) == 1
    scene.free.set()
    await scene.note()
    assert scene.db.rows == {number: WALL + 100 - number for number in range(1, 51)}
    assert len(scene.db.tried) == 2


async def test_who_vanished_was_seen_when_it_was_last_heard() -> None:
    scene = Scene()
    gone = peer(1, 100.0)
    scene.now += 45  # until the hub notices
    await scene.note(gone, leaving=True)
    assert scene.db.rows == {1: WALL + 100}


async def test_what_was_seen_later_counts_where_the_first_could_not_be_written() -> None:
    scene = Scene()
    scene.db.problem = "locked"
    await scene.note(peer(1, 100.0))
    scene.db.problem = ""
    scene.now += 61
    await scene.note(peer(1, 160.0))
    assert scene.db.rows == {1: WALL + 161}
