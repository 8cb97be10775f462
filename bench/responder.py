"""The assistant of `bus_stub`, as a client of a bus that somebody else serves: `python -m bench.responder --port N`.

It says at once that a frame came. The bus of OVOS holds small frames back until then (Nagle), and what is measured is
not how long an assistant lets it wait.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket

from websockets.asyncio.client import connect

from helpers.bus_stub import MAX_FRAME, answers


async def run(port: int) -> None:
    uri = f"ws://127.0.0.1:{port}/core"
    async with connect(uri, compression=None, max_size=MAX_FRAME, ping_interval=None, proxy=None) as bus:
        print(json.dumps({"event": "joined"}), flush=True)
        line = bus.transport.get_extra_info("socket")
        async for frame in bus:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # the kernel forgets it
            for message in answers(json.loads(frame)):
                await bus.send(json.dumps(message))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(run(parser.parse_args().port))


if __name__ == "__main__":
    main()
