"""Satellites as a process of their own, under remote control: JSON commands on standard input, JSON events on standard
output. `python -m bench.crowd --port N --settings FILE [--bare KIND] [--nice N]`; the file holds a `Keyring`.

Every command is answered by an event of its name, or by `failed` with a text. Times are those of `time.monotonic`,
which all processes of a machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.reconnect import Backoff

from .microphones import stream
from .pace import Pace, quantiles
from .process import raise_file_limit
from .satellites import (
    CONNECT_AT_ONCE,
    QUESTION,
    Device,
    Keyring,
    Satellite,
    SatelliteFailed,
    access_key,
    close_all,
    converse,
)

LIMIT_S = 150.0
ENDS = ("hive.query.complete", "hive.query.timeout")


class Crowd:
    """The satellites of one process."""

    def __init__(self, port: int, keyring: Keyring, bare: str) -> None:
        self._port = port
        self._keyring = keyring
        self._bare = bare
        self._devices: dict[int, Device] = {}
        self._satellites: dict[int, Satellite] = {}
        self._pace: Pace | None = None
        self._returned: asyncio.Task[list[float]] | None = None
        self._counted = 0
        self._counted_at = 0.0
        self._ids = itertools.count()

    def _some(self, count: int) -> list[Satellite]:
        return list(self._satellites.values())[:count]

    async def open(
        self, first: int, count: int, at_once: int = CONNECT_AT_ONCE, confirm: bool = True
    ) -> dict[str, Any]:
        """Connect devices that are not here, so many at a time. When the last of them was admitted.

        Without `confirm`: when the last of them had its session; `confirm` is to be called then.
        """
        wanted = [number for number in range(first, first + count) if number not in self._satellites]
        gate = asyncio.Semaphore(at_once)
        begun = time.monotonic()

        async def one(number: int) -> float:
            async with gate:
                await self._open(number, confirm=confirm)
                return time.monotonic() - begun

        took = await asyncio.gather(*(one(number) for number in wanted))
        gc.freeze()
        return {"seconds": max(took, default=0.0), **quantiles(took)}

    async def confirm(self) -> dict[str, Any]:
        """Wait until all who are here know that they are admitted."""
        await asyncio.gather(*(satellite.confirm() for satellite in self._satellites.values()))
        return {}

    async def _open(self, number: int, *, confirm: bool = True) -> None:
        device = self._devices.setdefault(number, Device(access_key(number)))
        satellite = Satellite(device, self._keyring, bare=self._bare)
        try:
            await satellite.open(self._port, confirm=confirm)
        except SatelliteFailed:
            satellite.socket.close()
            raise
        self._satellites[number] = satellite

    async def close(self) -> dict[str, Any]:
        """All leave."""
        satellites, self._satellites = list(self._satellites.values()), {}
        await close_all(satellites)
        return {}

    async def watch(self) -> dict[str, Any]:
        """From now on everybody who loses the connection comes back, with the delays of the released satellite."""
        self._returned = asyncio.ensure_future(self._come_back())
        return {}

    async def back(self) -> dict[str, Any]:
        """Wait until all are back: when the last one was, and how often they tried."""
        assert self._returned is not None
        at = await self._returned
        return {"at": max(at), "tries": self._tries / len(at)}

    async def _come_back(self) -> list[float]:
        self._tries = 0
        return list(await asyncio.gather(*(self._one_comes_back(number) for number in self._satellites)))

    async def _one_comes_back(self, number: int) -> float:
        await self._satellites[number].lost
        backoff = Backoff()
        while True:
            await asyncio.sleep(backoff.next())
            self._tries += 1
            with contextlib.suppress(SatelliteFailed):
                await self._open(number)
                return time.monotonic()

    async def converse(self, talking: int, round_trips: int, text_bytes: int = 0) -> dict[str, Any]:
        """So many talk at once, each one utterance after the other."""
        text = "x" * text_bytes if text_bytes else QUESTION
        begun = time.monotonic()
        trips = await converse(self._some(talking), round_trips, text)
        return {
            "trips": len(trips),
            "seconds": time.monotonic() - begun,
            **quantiles([trip.handled_s for trip in trips]),
        }

    async def begin(self, talking: int, per_second: float) -> dict[str, Any]:
        """So many begin to talk at a steady pace, all together so often a second."""
        self._pace = Pace(self._some(talking), per_second)
        return {}

    async def mark(self) -> dict[str, Any]:
        """How long utterances took since the last mark; those on the way count as long as they have taken."""
        assert self._pace is not None
        return self._pace.mark()

    async def hush(self) -> dict[str, Any]:
        """They stop."""
        assert self._pace is not None
        await self._pace.stop()
        return {}

    async def count(self, most: int = 1_000_000) -> dict[str, Any]:
        """From now on frames are only counted, not decrypted: no session survives that."""
        for satellite in self._some(most):
            satellite.socket.on_frame = self._count
        self._counted = 0
        return {}

    def _count(self, frame: bytes | str) -> None:
        self._counted += 1
        self._counted_at = time.monotonic()

    async def counted(self, frames: int) -> dict[str, Any]:
        """Wait for so many frames: when the last one came."""
        while self._counted < frames:  # noqa: ASYNC110 - an event for each frame would cost what is not measured
            await asyncio.sleep(0.005)
        self._counted -= frames
        return {"at": self._counted_at}

    async def tell(self, text_bytes: int = 0) -> dict[str, Any]:
        """The first says something to everybody: when."""
        data = {"utterance": "x" * text_bytes or "supper is ready", "lang": "en-us"}
        inner = HiveMessage(HiveMessageType.BUS, Message("speak", data))
        at = time.monotonic()
        self._some(1)[0].send_now(HiveMessage(HiveMessageType.PROPAGATE, inner))
        return {"at": at}

    async def ask(self, verb: str, words: str, count: int, answers: int) -> dict[str, Any]:
        """The first asks the hive, one question after the other, and awaits so many answers to each."""
        (satellite,) = self._some(1)
        took = []
        for _ in range(count):
            begun = time.perf_counter()
            await self._ask(satellite, verb, words, answers)
            took.append(time.perf_counter() - begun)
        return quantiles(took)

    async def _ask(self, satellite: Satellite, verb: str, words: str, answers: int) -> None:
        data = {"utterances": [words], "lang": "en-us"}
        inner = HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", data))
        query_id = f"bench-{next(self._ids)}"
        satellite.send_now(HiveMessage(verb, inner, metadata={"query_id": query_id}))
        while answers:
            body = (await satellite.next()).as_dict
            kind = str((body["payload"].get("payload") or body["payload"]).get("type"))
            if kind == ENDS[1] or kind.startswith("hive.policy"):
                raise SatelliteFailed(f"the hive answered {json.dumps(body)[:2000]}")
            answers -= kind == ENDS[0]

    async def stream(self, count: int, seconds: float) -> dict[str, Any]:
        """So many microphones stream sound: how many frames they sent."""
        return await stream(self._some(count), seconds)


async def obey(crowd: Crowd, command: dict[str, Any]) -> None:
    name = command.pop("command")
    method: Callable[..., Coroutine[Any, Any, dict[str, Any]]] = getattr(crowd, name)
    try:
        said = await asyncio.wait_for(method(**command), LIMIT_S)
    except (SatelliteFailed, asyncio.TimeoutError) as error:
        print(json.dumps({"event": "failed", "text": f"{name}: {error!r}"}), flush=True)
    else:
        print(json.dumps({"event": name, **said}), flush=True)


async def run(crowd: Crowd) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"event": "ready"}), flush=True)
    while line := await reader.readline():
        await obey(crowd, json.loads(line))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--bare", default="", help="the floor that this is no hub but")
    parser.add_argument("--nice", type=int, default=0)
    options = parser.parse_args()
    os.nice(options.nice)
    raise_file_limit()
    keyring = Keyring.of(json.loads(options.settings.read_text("utf-8")))

    async def start() -> None:
        await run(Crowd(options.port, keyring, options.bare))

    uvloop.run(start())


if __name__ == "__main__":
    main()
