"""The WebSocket transport (docs/protocol.md 5), on aiohttp: one task a connection, pings for all from one timer."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Coroutine
from typing import Any

from aiohttp import WSMsgType, web

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import GOING_AWAY, REFUSALS

from ..admission import Visitor
from ..config import WebSocketConfig
from ..fairness import LoopShare
from ..hub import Hub
from ..peers import Peer
from . import BindError
from .outbox import Outbox, run_now

log = logging.getLogger(__name__)

MAX_FRAME_BYTES = 65_536
"""Frames of protocol v3 never exceed 65,535 bytes, those of a handshake neither."""
CLOSE_WITHIN_S = 2.0
SWEEPS_PER_INTERVAL = 4


class WebSocketConnection:
    """One socket; the hub's `Connection`."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        assert request.transport is not None
        self.remote = request.remote or "?"
        self._ws = ws
        self._transport = request.transport
        self._outbox = Outbox(ws, self._transport, self._close_for)
        self._closing: asyncio.Task[None] | None = None
        self.heard_at = 0.0
        self.pinged_at: float | None = None

    def send(self, frames: list[bytes | str]) -> None:
        self._outbox.send(frames)

    def _close_for(self, code: str) -> None:
        row = REFUSALS[code]
        log.warning("closing %s: %s", self.remote, row)
        self.close(row.close_code, row.wire_reason)

    def close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._outbox.stop()
            self._closing = asyncio.get_running_loop().create_task(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        """Say why, give the other end a moment to read it, then cut."""
        try:
            await asyncio.wait_for(self._ws.close(code=code, message=reason.encode()), CLOSE_WITHIN_S)
        except (asyncio.TimeoutError, ConnectionError):
            log.debug("%s did not take the close frame", self.remote)
        finally:
            self._transport.abort()

    async def closed(self) -> None:
        """Wait until a close that was begun is through."""
        self._outbox.stop()
        if self._closing is not None:
            await asyncio.wait({self._closing}, timeout=CLOSE_WITHIN_S + 1)

    def ping(self, now: float) -> None:
        """Ask for a sign of life; where nothing leaves, there is none to expect either."""
        self.pinged_at = now
        self._control(self._ws.ping())

    def pong(self, data: bytes) -> None:
        """Answer a ping; one that does not read its answers gets none (RFC 6455 5.5.3 allows to skip them)."""
        self._control(self._ws.pong(data))

    def _control(self, frame: Coroutine[Any, Any, None]) -> None:
        if self._outbox.is_full:
            frame.close()
            return
        try:
            run_now(frame)
        except ConnectionError:
            self._transport.abort()

    def cut(self) -> None:
        """End a connection that is dead: there is nobody to read a close frame."""
        self._transport.abort()


class WebSocketTransport:
    """Serves ``/`` for satellites and ``/_healthz`` for supervisors."""

    def __init__(self, hub: Hub, config: WebSocketConfig) -> None:
        self._hub = hub
        self._config = config
        self._runner: web.AppRunner | None = None
        self._connections: set[WebSocketConnection] = set()
        self._pinger: asyncio.Task[None] | None = None
        self._port = config.port

    @property
    def address(self) -> str:
        """``ws://host:port`` as bound."""
        return f"ws://{self._config.host}:{self._port}"

    @property
    def port(self) -> int:
        """The port as bound."""
        return self._port

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/", self._serve)
        app.router.add_get("/_healthz", self._health)
        # access_log: the query carries access keys. keepalive: a plain request is answered and closed.
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=5.0)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._config.host, self._config.port, backlog=1024)
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise BindError(self._why(error)) from None
        self._port = int(self._runner.addresses[0][1])
        self._pinger = asyncio.get_running_loop().create_task(self._ping_all())

    def _why(self, error: OSError) -> str:
        where = f"{self._config.host}:{self._config.port}"
        if error.errno == errno.EADDRINUSE:
            return f"Port {self._config.port} is in use: another hub may be running. Choose one with --port."
        return f"Could not listen at {where}: {error.strerror or error}."

    async def stop(self) -> None:
        if self._pinger is not None:
            self._pinger.cancel()
        for connection in list(self._connections):
            connection.close(GOING_AWAY, REFUSALS["shutting_down"].wire_reason)
        await asyncio.gather(*(connection.closed() for connection in list(self._connections)))
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        """204 for this machine's supervisors, nothing for others."""
        return web.Response(status=204 if request.remote in ("127.0.0.1", "::1") else 404)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(compress=False, autoping=False, max_msg_size=MAX_FRAME_BYTES)
        if not ws.can_prepare(request).ok:
            return web.Response(status=400, text='Can "Upgrade" only to "WebSocket".')
        found = await self._hub.identify(request.query.get("authorization", ""))
        await ws.prepare(request)
        _no_delay(request)
        connection = WebSocketConnection(ws, request)
        self._connections.add(connection)
        try:
            await self._converse(ws, connection, found)
        finally:
            await connection.closed()
            self._connections.discard(connection)
        return ws

    async def _converse(
        self, ws: web.WebSocketResponse, connection: WebSocketConnection, found: Visitor | Refused
    ) -> None:
        connection.heard_at = asyncio.get_running_loop().time()
        if isinstance(found, Refused):
            self._hub.turn_away(connection, found)
            return
        peer = self._hub.connect(connection, found)
        try:
            await self._read(ws, connection, peer)
        finally:
            self._hub.closed(peer)

    async def _read(self, ws: web.WebSocketResponse, connection: WebSocketConnection, peer: Peer) -> None:
        time, receive = asyncio.get_running_loop().time, self._hub.receive
        share = LoopShare()
        while not ws.closed:
            message = await ws.receive()
            connection.heard_at = began = time()
            connection.pinged_at = None
            kind = message.type
            if kind is WSMsgType.BINARY or kind is WSMsgType.TEXT:
                receive(peer, message.data)
            elif kind is WSMsgType.PING:
                connection.pong(message.data)
            elif kind is not WSMsgType.PONG:
                return
            pause_s = share.pause_after(began, time())
            if pause_s is not None:
                await asyncio.sleep(pause_s)

    async def _ping_all(self) -> None:
        interval, timeout = self._config.ping_interval_s, self._config.ping_timeout_s
        if interval <= 0:
            return
        pause = max(0.05, min(interval, timeout or interval) / SWEEPS_PER_INTERVAL)
        time = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(pause)
            now = time()
            for connection in list(self._connections):
                if connection.pinged_at is None:
                    if now - connection.heard_at >= interval:
                        connection.ping(now)
                elif timeout and now - connection.pinged_at >= timeout:
                    log.info("%s does not answer pings", connection.remote)
                    connection.cut()


def _no_delay(request: web.Request) -> None:
    """Send small frames at once; and let a dead peer's socket go without lingering."""
    assert request.transport is not None
    sock = request.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


