"""A message bus, and what else the tests of the agents need around one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from .bus_stub import keeps_silent

Socket = aiohttp.ClientWebSocketResponse
Habit = Callable[[dict[str, Any]], list[dict[str, Any]]]
PATIENCE_S = 60.0
_WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def eventually(condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
    """Wait, within bounds, until a condition holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while not condition():
        assert loop.time() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


class EchoBus:
    """What every OVOS bus does: all frames to all clients. ``frames`` holds what came in.

    `habit` is what an assistant on it sends after each message, see `bus_stub.HABITS`.
    """

    def __init__(self, port: int, habit: Habit = keeps_silent) -> None:
        self.port = port
        self._habit = habit
        self.frames: list[str] = []
        self.clients: list[web.WebSocketResponse] = []
        self._runner: web.AppRunner | None = None

    async def start(self) -> EchoBus:
        app = web.Application()
        app.router.add_get("/core", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def stop(self) -> None:
        for client in list(self.clients):
            await client.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def push(self, frame: str) -> None:
        """Send anything to every client."""
        for client in list(self.clients):
            await client.send_str(frame)

    def types(self) -> list[str]:
        return [json.loads(frame)["type"] for frame in self.frames]

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        self.clients.append(ws)
        try:
            async for frame in ws:
                self.frames.append(frame.data)
                await self.push(frame.data)
                for answer in self._habit(json.loads(frame.data)):
                    await self.push(json.dumps(answer))
        finally:
            self.clients.remove(ws)
        return ws


@asynccontextmanager
async def echo_bus(port: int, habit: Habit = keeps_silent) -> AsyncIterator[EchoBus]:
    bus = await EchoBus(port, habit).start()
    try:
        yield bus
    finally:
        await bus.stop()


@asynccontextmanager
async def stopped_bus(port: int = 0) -> AsyncIterator[int]:
    """The port of a bus that greets WebSockets and then reads nothing, like a process under SIGSTOP."""
    writers: list[asyncio.StreamWriter] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(line.split()[1] for line in request.splitlines() if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + _WS_GUID).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]

    server = await asyncio.start_server(greet, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def bus_client(port: int, **options: Any) -> AsyncIterator[Socket]:
    """One service on a bus."""
    async with aiohttp.ClientSession() as session:
        ws = await session.ws_connect(f"ws://127.0.0.1:{port}/core", max_msg_size=0, **options)
        try:
            yield ws
        finally:
            await ws.close()


async def receive(ws: Socket) -> dict[str, Any]:
    """The next message of a bus."""
    frame = await ws.receive(PATIENCE_S)
    assert frame.type is aiohttp.WSMsgType.TEXT, frame
    return dict(json.loads(frame.data))


async def receive_types(ws: Socket, count: int) -> list[str]:
    """The types of the next messages of a bus."""
    return [(await receive(ws))["type"] for _ in range(count)]
