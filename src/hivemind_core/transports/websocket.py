"""The WebSocket transport (docs/protocol.md 5), on aiohttp: one task a connection, pings for all from one timer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from aiohttp import WSMsgType, web

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import GOING_AWAY, REFUSALS

from ..admission import Visitor, refused
from ..config import WebSocketConfig
from ..greeting import MAX_FRAME_BYTES
from ..hub import Hub
from ..peers import Peer
from ..refusal_log import RefusalLog
from .intake import Intake, IntakeServer
from .listening import Listening
from .origin_gate import OriginGate
from .outbox import Outbox, run_now
from .requests import can_upgrade, client_address, health, let_go, token_of
from .turnstile import Turnstile

log = logging.getLogger(__name__)

CLOSE_WITHIN_S = 2.0
UNREAD_LOOK_S = 0.05
SWEEPS_PER_INTERVAL = 4


class WebSocketConnection:
    """One socket; the hub's `Connection`."""

    def __init__(self, ws: web.WebSocketResponse, intake: Intake, remote: str, refusals: RefusalLog) -> None:
        assert intake.transport is not None
        self.remote = remote
        self.peer: Peer | None = None
        self._refusals = refusals
        self._ws = ws
        self._intake = intake
        self._transport = intake.transport
        self._outbox = Outbox(ws, self._transport, self._close_for)
        self._closing: asyncio.Task[None] | None = None
        self.heard_at = 0.0
        self.pinged_at: float | None = None

    def send(self, frames: list[bytes | str]) -> None:
        self._outbox.send(frames)

    def has_room(self, size: int) -> bool:
        return self._outbox.has_room(size)

    @property
    def queued(self) -> int:
        return self._outbox.queued

    @property
    def is_counted(self) -> bool:
        """What it sends is counted: it has no session yet."""
        return self._intake.is_stranger

    def opened(self) -> None:
        """It has a session: stop counting what it sends."""
        self._intake.opened()

    def _close_for(self, code: str) -> None:
        refusal = refused(code)
        if self.peer is not None:
            self._refusals.satellite(self.peer, refusal)
        self.close(refusal.close_code, refusal.reason)

    def close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._outbox.stop()
            self._closing = asyncio.get_running_loop().create_task(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        """Say why, give the other end a moment to read it, then cut."""
        try:
            await asyncio.wait_for(self._say_why(code, reason), CLOSE_WITHIN_S)
        except (asyncio.TimeoutError, ConnectionError):
            log.debug("%s did not take the close frame", self.remote)
        finally:
            if self._intake.transport is not None:  # it is not lost yet
                self._transport.abort()

    async def _say_why(self, code: int, reason: str) -> None:
        await self._ws.close(code=code, message=reason.encode())
        while self._intake.transport is not None:  # a slow reader has much to read before it comes to the close frame
            if not self._transport.get_write_buffer_size():
                return
            await asyncio.sleep(UNREAD_LOOK_S)

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
        self._server: IntakeServer | None = None
        self._listening = Listening(config, "Choose one with --port.")
        self._connections: set[WebSocketConnection] = set()
        self._pinger: asyncio.Task[None] | None = None
        self._gate = OriginGate(config.origins, hub.refusals)
        self._turnstile = Turnstile()
        self._paths = {"/": self._serve, "/_healthz": self._health}

    @property
    def address(self) -> str:
        """``ws://host:port`` as bound, or ``wss://host:port``."""
        return self._listening.address

    @property
    def port(self) -> int:
        """The port as bound."""
        return self._listening.port

    async def start(self) -> None:
        count, proxies = self._hub.meter.refusals.count, self._config.proxies
        self._server = IntakeServer(self._answer, count, self._turnstile, proxies=proxies)
        await self._listening.open(self._server)
        self._pinger = asyncio.get_running_loop().create_task(self._ping_all())

    async def stop(self) -> None:
        if self._pinger is not None:
            self._pinger.cancel()
        self._listening.close()
        for connection in list(self._connections):
            connection.close(GOING_AWAY, REFUSALS["shutting_down"].wire_reason)
        await asyncio.gather(*(connection.closed() for connection in list(self._connections)))
        if self._server is not None:
            await self._server.shutdown(CLOSE_WITHIN_S)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        intake = request.protocol
        assert isinstance(intake, Intake)
        intake.asked()
        serve = self._paths.get(request.path)
        answer: web.StreamResponse | None = None
        if "Origin" in request.headers:
            answer = self._gate.turned_away(request, client_address(request, self._config.proxies))
        if answer is None:
            answer = await serve(request, intake) if serve else web.Response(status=404)
        if not isinstance(answer, web.WebSocketResponse):
            answer.force_close()
        return answer

    async def _health(self, request: web.BaseRequest, intake: Intake) -> web.StreamResponse:
        answer = health(request)
        ws = web.WebSocketResponse(compress=False, timeout=CLOSE_WITHIN_S)
        if answer.status != 204 or not can_upgrade(request):
            return answer
        await ws.prepare(request)
        node_id = self._hub.identity.node_id
        await ws.send_json({"msg_type": "hello", "payload": {"pubkey": node_id, "node_id": node_id}})
        await ws.close()
        return ws

    async def _serve(self, request: web.BaseRequest, intake: Intake) -> web.StreamResponse:
        if request.method != "GET" or not can_upgrade(request):
            return web.Response(status=400, text='Can "Upgrade" only to "WebSocket".')
        remote = client_address(request, self._config.proxies)
        found = await self._hub.identify(token_of(request), remote)
        if isinstance(found, Refused):
            await self._turnstile.enter()  # a crowd of strangers is looked up, and known, at one moment
        size = found.max_frame_bytes if isinstance(found, Visitor) else MAX_FRAME_BYTES
        ws = web.WebSocketResponse(compress=False, autoping=False, max_msg_size=size)
        try:
            await ws.prepare(request)
        except ConnectionError:
            return web.Response(status=400)  # nobody is there any more to read it
        connection = WebSocketConnection(ws, intake, remote, self._hub.refusals)
        self._connections.add(connection)
        try:
            await self._converse(ws, connection, found)
        finally:
            await connection.closed()
            let_go(ws)
            connection.peer = None  # each has the other: so that both go at once, and not when garbage is looked for
            self._connections.discard(connection)
        return ws

    async def _converse(
        self, ws: web.WebSocketResponse, connection: WebSocketConnection, found: Visitor | Refused
    ) -> None:
        connection.heard_at = asyncio.get_running_loop().time()
        if isinstance(found, Refused):
            self._hub.turn_away(connection, found)
            return
        peer = connection.peer = self._hub.connect(connection, found)
        try:
            await self._read(ws, connection, peer)
        finally:
            self._hub.closed(peer)

    async def _read(self, ws: web.WebSocketResponse, connection: WebSocketConnection, peer: Peer) -> None:
        time, receive = asyncio.get_running_loop().time, self._hub.receive
        while not ws.closed:
            message = await ws.receive()
            connection.heard_at = began = time()
            connection.pinged_at = None
            kind = message.type
            if kind is WSMsgType.BINARY or kind is WSMsgType.TEXT:
                if not peer.registered:
                    await self._turnstile.enter()
                    began = time()  # in line it took nothing from the others
                receive(peer, message.data)
                if connection.is_counted and peer.link.is_open:
                    connection.opened()
            elif kind is WSMsgType.PING:
                connection.pong(message.data)
                self._hub.heard(peer)
            elif kind is WSMsgType.PONG:
                self._hub.heard(peer)
            else:
                return
            pause_s = peer.loop_share.pause_after(began, time())
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
