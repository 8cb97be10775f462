"""The client database is full, read-only, locked or damaged: who is connected stays, the cure is said, and it helps.

What a stalled reader of it does is in tests/security (W08, W23), how each store fails by itself in tests/core/storage.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from helpers.fault_scene import JSON, SQLITE, Disk, FaultScene, answered, eventually
from helpers.processes import Children

STORES = (SQLITE, JSON)
CURES = "put back a copy"


@pytest.fixture(params=STORES)
def scene(children: Children, request: pytest.FixtureRequest) -> FaultScene:
    return FaultScene(children, store=request.param)


@pytest.fixture
def disk(scene: FaultScene, tmp_path: Path) -> Iterator[Disk]:
    """The folder of the client database is a small file system."""
    with Disk(scene.folder, tmp_path / "image") as disk:
        yield disk
        scene.children.stop()


def refusal(scene: FaultScene) -> str:
    """What a hub says that does not start."""
    child = scene.children.spawn("hub", [scene.hub._program, "listen"], scene.hub.home)
    assert child.wait_exit() == 1
    text = child.stderr.read_text("utf-8")
    assert "Traceback" not in text
    return text


async def test_a_full_disk(scene: FaultScene, disk: Disk) -> None:
    scene.start()
    known = await scene.session("key-1")
    ballast = disk.fill()
    new = await scene.session("key-2")
    await scene.until_ready(why="Make room on its disk")
    await answered(known, new)
    await eventually(lambda: not list(scene.folder.glob(".*")), "that nothing half written is left")
    ballast.unlink()
    await scene.until_ready()
    await eventually(lambda: scene.rows()["key-2"].last_seen > 0, "what could not be written at first")
    await scene.hang_up()


async def test_a_disk_that_fails_under_the_hub(scene: FaultScene, disk: Disk) -> None:
    scene.start()
    known = await scene.session("key-1")
    await eventually(lambda: "noise_pubkey" in scene.rows()["key-1"].metadata, "the pin")
    disk.fail()
    new = await scene.session("key-2")
    await scene.until_ready(why="Its file system is read-only")
    assert scene.ask("/readyz")[0] == 503
    assert scene.ask("/healthz")[0] == 200
    await answered(known, new)
    await scene.hang_up()
    scene.hub.stop()
    assert "Its file system is read-only" in refusal(scene)
    disk.repair()
    scene.again()
    await answered(await scene.session("key-1", device=known.device), await scene.session("key-2", device=new.device))
    await scene.hang_up()


async def test_somebody_keeps_it_locked_for_long(children: Children) -> None:
    """Longer than a writer waits: who is known talks and comes in, and so do new ones; all is written afterwards."""
    scene = FaultScene(children).start()
    known = await scene.session("key-1")
    await eventually(lambda: "noise_pubkey" in scene.rows()["key-1"].metadata, "the pin")
    with closing(sqlite3.connect(scene.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await answered(await scene.session("key-1", device=known.device), await scene.session("key-2"))
        await scene.until_ready(why="Another process keeps it locked")
        await answered(known)
        other.execute("ROLLBACK")
    await scene.until_ready()
    await eventually(lambda: scene.rows()["key-2"].last_seen > 0, "what could not be written at first")
    await scene.hang_up()


def halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


DAMAGE = {SQLITE: (halved, emptied), JSON: (halved,)}


async def test_damage_under_the_hub_and_the_way_back(scene: FaultScene) -> None:
    """The hub runs on by what it knows; killed, it does not start on the damaged file, but with a copy put back."""
    scene.start()
    known = await scene.session("key-1")
    await eventually(lambda: scene.rows()["key-1"].last_seen > 0, "that it was seen")
    copy = scene.folder.parent / "copy"
    shutil.copytree(scene.folder, copy, ignore=shutil.ignore_patterns(".*"))  # those are gone the next moment
    for damage in DAMAGE[scene.store]:
        scene.put_log_into_file()
        damage(scene.file)
        await answered(known, await scene.session("key-2"))
        await scene.hang_up()
        scene.hub.kill()
        assert CURES in refusal(scene)
        shutil.rmtree(scene.folder)
        shutil.copytree(copy, scene.folder)
        scene.again()
        known = await scene.session("key-1", device=known.device)
        await scene.until_ready()
        await answered(known)
    await scene.hang_up()


async def test_a_damaged_log_costs_what_was_last_written_and_no_more(children: Children) -> None:
    scene = FaultScene(children).start()
    first = await scene.session("key-1")
    await answered(first)
    await eventually(lambda: "noise_pubkey" in scene.rows()["key-1"].metadata, "the pin")
    await scene.hang_up()
    scene.hub.kill()
    with scene.log.open("r+b") as log:
        log.seek(-3000, os.SEEK_END)
        log.write(os.urandom(3000))
    scene.again()
    await answered(await scene.session("key-1", device=first.device))
    await scene.hang_up()
