"""Stands beside an Open Voice OS that has no screen, no audio and no network, and writes down its bus.

`python ovos_attendant.py --port N --record FILE` answers what OVOS asks the missing parts, for which it would wait
seconds each, and prints a JSON line: `joined` each time it is on the bus, `ready` when the skills are loaded. Every
frame goes into the file, one a line. It joins again whenever the bus comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any, TextIO

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

MAX_FRAME = 25 * 1024 * 1024
LOOK_EVERY_S, ASK_AFTER_S, ASK_EVERY_S = 0.1, 60.0, 1.0
READY, IS_READY = "mycroft.skills.initialized", "mycroft.skills.is_ready"
ANSWERS = {
    "ovos.PHAL.internet_check": {"internet_connected": True, "network_connected": True},
    "gui.status.request": {"connected": False},
}


class Attendant:
    def __init__(self, port: int, record: TextIO) -> None:
        self._url = f"ws://127.0.0.1:{port}/core"
        self._record = record
        self._ready = False

    async def run(self) -> None:
        while True:
            try:
                async with connect(self._url, compression=None, max_size=MAX_FRAME) as bus:
                    say("joined")
                    await self._attend(bus)
            except (OSError, WebSocketException):
                await asyncio.sleep(LOOK_EVERY_S)

    async def _attend(self, bus: ClientConnection) -> None:
        asking = asyncio.create_task(self._ask(bus))
        try:
            async for frame in bus:
                await self._take(bus, json.loads(frame))
        finally:
            asking.cancel()

    async def _ask(self, bus: ClientConnection) -> None:
        """Whoever was ready before we came says so when asked; asked early, it says so before it is."""
        await asyncio.sleep(ASK_AFTER_S)
        while not self._ready:
            await bus.send(json.dumps({"type": IS_READY, "data": {}, "context": {}}))
            await asyncio.sleep(ASK_EVERY_S)

    async def _take(self, bus: ClientConnection, message: dict[str, Any]) -> None:
        self._record.write(json.dumps(message) + "\n")
        self._record.flush()
        topic, data = message.get("type"), message.get("data") or {}
        if topic in ANSWERS:
            answer = {"type": f"{topic}.response", "data": ANSWERS[topic], "context": message.get("context") or {}}
            await bus.send(json.dumps(answer))
        elif topic == READY or (topic == f"{IS_READY}.response" and data.get("status") and not self._ready):
            self._ready = True
            say("ready")


def say(event: str) -> None:
    print(json.dumps({"event": event}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", type=Path, required=True)
    options = parser.parse_args()
    with options.record.open("w", encoding="utf-8") as record:
        asyncio.run(Attendant(options.port, record).run())


if __name__ == "__main__":
    main()
