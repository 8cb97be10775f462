"""The floor: a bare aiohttp WebSocket server that decrypts what comes, encrypts it again and sends it back, and a short
message after it, as a hub answers with two. `python -m bench.bare_echo --port N`.

What is marked as for everybody goes to all the others instead, sealed for each of them. On uvloop, as the hub.
"""

from __future__ import annotations

import argparse
import asyncio
import gc

import uvloop
from aiohttp import WSMsgType, web

from .bare_link import BareCipher

HANDLED = b'{"msg_type":"bus","payload":{"type":"ovos.utterance.handled","data":{},"context":{"source":"hive"}}}'
FOR_ALL = b'"propagate"'
HEAD = 64
"""Bytes of a message in which its type stands."""


async def serve(port: int) -> None:
    connections: dict[web.WebSocketResponse, BareCipher] = {}

    async def handle(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False, max_msg_size=64 * 1024 * 1024)
        await ws.prepare(request)
        cipher = connections[ws] = BareCipher()
        async for message in ws:
            if message.type != WSMsgType.BINARY:
                break
            data = cipher.open(message.data)
            if FOR_ALL in data[:HEAD]:
                for other, its in connections.items():
                    if other is not ws:
                        await other.send_bytes(its.seal(data))
            else:
                await ws.send_bytes(cipher.seal(data))
                await ws.send_bytes(cipher.seal(HANDLED))
        del connections[ws]
        return ws

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    gc.freeze()
    print("listening", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
