"""The clock of the hub's machine jumps while satellites talk (libfaketime): nobody is cut off, and nothing is over."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path

from helpers.fault_scene import FaultScene, answered, eventually
from helpers.pair import cannot_run
from helpers.processes import Children
from helpers.target import closed, first_text

YEAR_S = 365 * 86_400
LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


class Clock:
    """The clock that people see, of one process; `jump` sets it off by seconds."""

    def __init__(self, folder: Path) -> None:
        found = [path for pattern in LIBRARIES for path in Path("/").glob(pattern[1:])]
        if not found:
            cannot_run("there is no libfaketime (on Debian: apt install libfaketime)")
        self._file = folder / "clock"
        self.jump(0)
        self.env = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else threads wait for each other as long as the clock has jumped
        }

    def jump(self, seconds: int) -> None:
        other = self._file.with_suffix(".new")
        other.write_text(f"{seconds:+d}\n", "ascii")
        other.replace(self._file)


def rotate(scene: FaultScene, key: str) -> None:
    """Give a client another password; the one before is valid for an hour."""
    with closing(scene.opened()) as database:
        row = database.by_key(key)
        assert row is not None
        database.update(row.client_id, {"password": "another horse another battery 43"})
        metadata = {"previous_password": row.password, "previous_password_until": time.time() + 3600}
        database.patch_metadata(row.client_id, metadata)


async def test_jumps_of_the_clock(children: Children, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    scene = FaultScene(children, ping_s=10)
    scene.fill()
    rotate(scene, "key-3")
    scene.start(clock.env)
    kitchen, hall = await scene.session("key-1"), await scene.session("key-2")
    await answered(kitchen, hall)
    for seconds in (YEAR_S, -YEAR_S, 10 * YEAR_S):
        joining = await scene.raw("key-4")
        clock.jump(seconds)
        await asyncio.sleep(1.5)  # pings, ticks and a look at all rows meanwhile
        assert await first_text(joining)
        assert await closed(joining, 0.1) is None, "its handshake is not over time"
        await joining.close()
        await answered(kitchen, hall, words=f"at {seconds}")
        assert "previous_password" in scene.rows()["key-3"].metadata, "valid for another hour"
    clock.jump(0)
    assert scene.reason("database") == ""
    await scene.hang_up()
    await eventually(lambda: abs(scene.rows()["key-1"].last_seen - time.time()) < 60, "when it was seen")
