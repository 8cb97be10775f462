"""What a service manager is told of the hub."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from hivemind_core.supervision import Supervision
from hivemind_core.testing import MemoryHive


class Listener:
    """Stands in for a notifier and keeps what it is told."""

    is_heard = True
    every_s = 0.01

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def ready(self, status: str) -> None:
        self.told.append(("ready", status))

    def alive(self, status: str) -> None:
        self.told.append(("alive", status))

    def stopping(self, status: str) -> None:
        self.told.append(("stopping", status))

    async def heard(self, count: int) -> None:
        while len(self.told) < count:  # noqa: ASYNC110 - it is told by nobody
            await asyncio.sleep(0.005)


class Above:
    """Stands in for the hub above."""

    available = False


async def watched(hive: MemoryHive, listener: Any) -> Supervision:
    return Supervision(hive.hub, listener, "ws://here:1")


async def test_from_start_to_end() -> None:
    async with MemoryHive() as hive:
        listener = Listener()
        supervision = await watched(hive, listener)
        supervision.start()
        await listener.heard(3)
        supervision.stop()
        await asyncio.sleep(0.05)
    kinds = [kind for kind, _ in listener.told]
    assert kinds[0] == "ready"
    assert set(kinds[1:-1]) == {"alive"}
    assert kinds[-1] == "stopping"


async def test_a_loop_that_is_stuck_is_silent() -> None:
    async with MemoryHive() as hive:
        listener = Listener()
        supervision = await watched(hive, listener)
        supervision.start()
        await listener.heard(2)
        before = len(listener.told)
        time.sleep(0.1)  # noqa: ASYNC251 - the loop is to be stuck
        assert len(listener.told) == before
        await listener.heard(before + 1)
        supervision.stop()


async def test_one_report_that_fails_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with MemoryHive() as hive:
        listener = Listener()
        supervision = await watched(hive, listener)
        supervision.start()
        with monkeypatch.context() as broken:
            broken.setattr(supervision, "status", lambda: 1 / 0)
            while not caplog.records:  # noqa: ASYNC110 - a log tells nobody
                await asyncio.sleep(0.005)
        await listener.heard(len(listener.told) + 1)
        supervision.stop()


async def test_where_nobody_listens_there_is_no_task() -> None:
    async with MemoryHive() as hive:
        listener = Listener()
        listener.is_heard = False
        supervision = await watched(hive, listener)
        before = asyncio.all_tasks()
        supervision.start()
        assert asyncio.all_tasks() == before
        supervision.stop()


async def test_the_status_says_who_is_there() -> None:
    async with MemoryHive() as hive:
        supervision = await watched(hive, Listener())
        assert supervision.status() == "Listening on ws://here:1, 0 satellites, assistant recording answers"
        await hive.join("kitchen")
        hive.agent.available = False
        assert supervision.status() == "Listening on ws://here:1, 1 satellite, assistant recording is not there"
        hive.hub.parent = Above()
        assert supervision.status().endswith(", no way to the hub above")
        hive.hub.parent.available = True
        assert supervision.status().endswith(", joined to the hub above")
        hive.hub.parent = None
