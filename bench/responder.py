"""The assistant of `bus_stub`, as a client of a bus that somebody else serves:
`python -m bench.responder --port N [--level NAME] [--record FILE]`.

It says at once that a frame came. The bus of OVOS holds small frames back until then (Nagle), and what is measured is
not how long an assistant lets it wait. With `--level` it is the one of that level of nested hubs, which declines what
names neither it nor everybody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
from pathlib import Path
from typing import Any, TextIO

from websockets.asyncio.client import connect

from helpers.bus_stub import MAX_FRAME, answers

EVERYBODY = "everybody"


def said(message: dict[str, Any], level: str) -> list[dict[str, Any]]:
    """What the assistant of a level says to a message; of no level: as `bus_stub` does."""
    found: list[dict[str, Any]] = answers(message)
    if found and level and not {level, EVERYBODY} & set(message["data"]["utterances"][0].split()):
        return found[1:]
    return found


async def run(port: int, level: str, record: TextIO | None) -> None:
    uri = f"ws://127.0.0.1:{port}/core"
    async with connect(uri, compression=None, max_size=MAX_FRAME, ping_interval=None, proxy=None) as bus:
        print(json.dumps({"event": "joined"}), flush=True)
        line = bus.transport.get_extra_info("socket")
        async for frame in bus:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # the kernel forgets it
            message = json.loads(frame)
            if record is not None:
                print(json.dumps(message), file=record, flush=True)
            for answer in said(message, level):
                await bus.send(json.dumps(answer))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--level", default="")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    record = options.record.open("w", encoding="utf-8") if options.record else None
    asyncio.run(run(options.port, options.level, record))


if __name__ == "__main__":
    main()
