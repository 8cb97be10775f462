"""An OVOS-compatible message bus: what any client sends, every client gets, its sender too, in one order.

Each client has its own bounded queue. One that does not keep up is closed with 1013, and only it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from hivemind_bus_client.exceptions import InvalidJson
from hivemind_bus_client.message import Message
from hivemind_bus_client.refusals import GOING_AWAY, TRY_AGAIN_LATER

from ..bus_frames import MAX_FRAME_BYTES, decode, encode, harm_in, message_of
from ..fairness import LONG_S
from .busclient import FLUSH_S, FRAMES_PER_TURN, BusAddress, BusTuning
from .queues import Outbox

log = logging.getLogger(__name__)

GREETING = encode(Message("connected", {}, {"session": {"session_id": "default"}}))
HEARTBEAT_S = 30.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
VISITOR = "HiveMind-Visitor"
"""Header of a client that only asks, such as `hivemind-core doctor`; it answers nobody, and does not count."""


class _Client:
    """One service on the bus."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request, tuning: BusTuning) -> None:
        self.name = _peer_name(request)
        self.is_visitor = VISITOR in request.headers
        self.outbox = Outbox(tuning.queue)
        self.goodbye: asyncio.Task[None] | None = None
        self._ws = ws
        self._transport = request.transport
        send = partial(ws.send_frame, opcode=WSMsgType.TEXT)
        # Not `self.abort`: both would stay until garbage is looked for.
        self._writer = asyncio.create_task(self.outbox.pump(send, partial(_cut, self._transport), tuning.stall_s))

    def abort(self) -> None:
        """Drop the connection at once, whatever is still buffered."""
        _cut(self._transport)

    async def close(self, code: int, reason: bytes) -> None:
        """Send nothing more but a close frame; drop the connection when that is not answered in a second."""
        self.outbox.clear()
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        try:
            await asyncio.wait_for(self._ws.close(code=code, message=reason), FLUSH_S)
        except asyncio.TimeoutError:
            log.debug("Client %s did not answer the close frame", self.name)
        finally:
            self.abort()

    async def gone(self) -> None:
        """The connection has ended: let go of what belongs to it."""
        if self.goodbye is not None:
            await self.goodbye
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        if self._ws.exception() is not None:
            self.abort()


class BusServer:
    """The bus at one address. ``on_message`` gets what its clients send, in the order they all get it."""

    def __init__(self, address: BusAddress, tuning: BusTuning, on_message: Callable[[Message], None]) -> None:
        self._address = address
        self._tuning = tuning
        self._on_message = on_message
        self._clients: set[_Client] = set()
        self._runner: web.AppRunner | None = None

    @property
    def client_count(self) -> int:
        """How many services are attached, visitors left out."""
        return sum(not client.is_visitor for client in self._clients)

    @property
    def queued(self) -> int:
        """How many frames wait for clients to take them."""
        return sum(len(client.outbox) for client in self._clients)

    async def start(self) -> None:
        """Open the port. Raises OSError when that cannot be."""
        app = web.Application()
        app.router.add_get(self._address.route, self._serve)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=FLUSH_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._address.host, self._address.port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner

    async def stop(self) -> None:
        """Send what is queued, within about a second, then close every client with 1001 and the port."""
        clients = list(self._clients)
        await asyncio.gather(*(client.outbox.drained(FLUSH_S) for client in clients))
        await asyncio.gather(*(client.close(GOING_AWAY, b"the bus is shutting down") for client in clients))
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    def broadcast(self, frame: bytes) -> None:
        """Queue a frame for every client."""
        for client in [client for client in self._clients if not client.outbox.put(frame)]:
            self._turn_away(client)

    def _turn_away(self, client: _Client) -> None:
        log.warning("Client %s of the message bus does not keep up; it is disconnected", client.name)
        self._clients.discard(client)
        client.goodbye = asyncio.create_task(client.close(TRY_AGAIN_LATER, b"does not keep up"))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if not _same_site(request):
            raise web.HTTPForbidden(text="Web pages of other sites may not use this message bus.")
        ws = web.WebSocketResponse(max_msg_size=MAX_FRAME_BYTES + 1, heartbeat=HEARTBEAT_S, compress=False)
        await ws.prepare(request)
        client = _Client(ws, request, self._tuning)
        client.outbox.put(GREETING)
        self._clients.add(client)
        log.info("Client %s joined the message bus", client.name)
        try:
            await self._read(ws, client)
        finally:
            self._clients.discard(client)
            await client.gone()
            log.info("Client %s left the message bus", client.name)
        return ws

    async def _read(self, ws: web.WebSocketResponse, client: _Client) -> None:
        turn, time = 0, asyncio.get_running_loop().time
        async for frame in ws:
            began = time()
            if client.goodbye is None and frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._take(frame.data, client)
            turn += 1
            if turn % FRAMES_PER_TURN == 0 or time() - began >= LONG_S:
                await asyncio.sleep(0)

    def _take(self, data: str | bytes, client: _Client) -> None:
        try:
            value = decode(data)
        except InvalidJson as error:
            log.warning("Dropped a frame of client %s of the message bus: %s", client.name, error)
            return
        harm = harm_in(value)
        if harm is not None:
            log.warning("Dropped a frame of client %s of the message bus: %s", client.name, harm)
            return
        self.broadcast(data.encode() if isinstance(data, str) else data)
        message = message_of(value)
        if message is not None:
            self._on_message(message)


def _cut(transport: asyncio.Transport | None) -> None:
    if transport is not None:
        transport.abort()


def _peer_name(request: web.Request) -> str:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unknown"


def _same_site(request: web.Request) -> bool:
    """Not a web page of another site, which a browser on this machine would let connect here."""
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    try:
        host, own = urlsplit(origin).hostname, urlsplit(f"//{request.host}").hostname
    except ValueError:
        return False
    return host in LOOPBACK or host == own
