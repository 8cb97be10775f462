"""The HTTP transport (docs/protocol.md 6): frames are posted and fetched, and a fetch may wait until there are some."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

from aiohttp import web

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import GOING_AWAY, NORMAL, REFUSALS

from ..admission import parse_token, refused
from ..config import HTTPConfig
from ..hub import Hub
from .http_connection import HTTPConnection
from .http_requests import (
    SENDING_FAILED,
    Asked,
    Reply,
    Told,
    fetched,
    json_response,
    lacks_part,
    not_connected,
    page,
    refusal,
)
from .http_sessions import BINARY, TEXT, Bounds, Ending, HTTPSessions
from .intake import Intake, IntakeServer
from .listening import Listening
from .requests import client_address, health, no_delay, token_of

log = logging.getLogger(__name__)

COOKIE = "hivemind_http_session"
REPLICA_COOKIE = "hivemind_http_replica"
MAX_REQUESTS = 16
"""Requests of one session that are served at once."""
FETCH_COSTS_S = 0.0003
"""What a fetch is counted as in its client's share of the loop."""
ANSWER_WITHIN_S = 30.0
"""How long a client may take to read an answer."""
SWEEP_S = 1.0
LEFT_BEHIND_S = 30.0
"""A session that was silent for so long ends when the same device has a new one."""
STOP_WITHIN_S = 2.0
CONNECTED = {"status": "Connected"}


@dataclass(frozen=True)
class Endpoint:
    """One thing to ask for."""

    method: str
    failure: str
    """What is said where serving it fails."""
    serve: Callable[[Asked], Awaitable[Reply]]


class _Stranger:
    """The hub's `Connection` for one that is turned away: the answer says why."""

    def __init__(self, remote: str) -> None:
        self.remote = remote

    def send(self, frames: list[bytes | str]) -> None:
        return None

    def has_room(self, size: int) -> bool:
        return False

    def close(self, code: int, reason: str) -> None:
        return None


class HTTPTransport:
    """Serves sessions of satellites, and ``/_healthz`` for supervisors."""

    def __init__(self, hub: Hub, config: HTTPConfig) -> None:
        self._hub = hub
        self._config = config
        self._bounds = Bounds(
            config.max_undelivered, config.undelivered_ttl_s, config.queue_ttl_s, config.session_ttl_s
        )
        self._clock = hub.clocks.monotonic
        self._replica = uuid4().hex
        self._sessions: HTTPSessions[HTTPConnection] = HTTPSessions()
        self._server: IntakeServer | None = None
        self._listening = Listening(config, "Choose another `port` of `hivemind-http-plugin` in server.json.")
        self._sweeper: asyncio.Task[None] | None = None
        self._endpoints = {
            "/connect": Endpoint("POST", "Connection failed", self._connect),
            "/disconnect": Endpoint("POST", "Disconnection failed", self._disconnect),
            "/send_message": Endpoint("POST", SENDING_FAILED, self._send),
            "/get_messages": Endpoint("GET", "Retrieving messages failed", self._fetch_text),
            "/get_binary_messages": Endpoint("GET", "Retrieving messages failed", self._fetch_binary),
        }

    @property
    def address(self) -> str:
        """``http://host:port`` as bound, or ``https://host:port``."""
        return self._listening.address

    @property
    def port(self) -> int:
        """The port as bound."""
        return self._listening.port

    # life

    async def start(self) -> None:
        # A fetch whose connection is lost must take nothing out of its queue.
        self._server = IntakeServer(self._answer, handler_cancellation=True)
        await self._listening.open(self._server)
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep_always())

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._listening.close()
        for session in self._sessions:
            session.close(GOING_AWAY, REFUSALS["shutting_down"].wire_reason)
        if self._server is not None:
            await self._server.shutdown(STOP_WITHIN_S)

    async def _sweep_always(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                self.sweep()
            except Exception:  # top of a task
                log.exception("could not look after the sessions over HTTP")

    def sweep(self) -> None:
        """End the sessions whose clients are silent, and forget those that ended a while ago."""
        now = self._clock()
        for session in self._sessions:
            why = session.overdue(now)
            if why:
                log.info("the session of %s ends: %s in time", session.remote, why)
                session.drop()
                session.close(NORMAL, why)
        self._sessions.forget_ended(now)

    def _ended(self, session: HTTPConnection, code: int, reason: str) -> None:
        """Note the end of a session. The hub is told later: it may be in the middle of sending to it."""
        self._sessions.end(session, code, reason, self._clock())
        asyncio.get_running_loop().call_soon(self._tell_hub, session)

    def _tell_hub(self, session: HTTPConnection) -> None:
        if session.peer is not None:
            self._hub.closed(session.peer)

    # a request

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        intake = request.protocol
        assert isinstance(intake, Intake)
        intake.asked()
        endpoint = self._endpoints.get(request.path)
        if endpoint is None or request.method != endpoint.method:
            return self._elsewhere(request, endpoint)
        asked = Asked(request, intake, client_address(request, self._config.proxies))
        try:
            reply = await self._served(asked, endpoint)
        finally:
            if asked.session is not None:
                asked.session.finish(self._clock())
        return await self._write(asked, reply)

    def _elsewhere(self, request: web.BaseRequest, endpoint: Endpoint | None) -> web.Response:
        if request.path == "/_healthz":
            response = health(request)
        elif endpoint is None:
            response = page(404, "Not Found")
        else:
            response = page(405, "Method Not Allowed", {"Allow": endpoint.method})
        response.force_close()
        return response

    async def _served(self, asked: Asked, endpoint: Endpoint) -> Reply:
        try:
            await self._read(asked, endpoint)
            return await endpoint.serve(asked)
        except Told as told:
            return told.reply
        except Exception:  # top of a request
            log.exception("a request over HTTP failed")
            row = REFUSALS["internal_error"]
            if asked.session is not None:
                asked.session.close(row.close_code, row.wire_reason)
            return Told(500, endpoint.failure, Ending(row.close_code, row.wire_reason)).reply

    async def _read(self, asked: Asked, endpoint: Endpoint) -> None:
        """Read a request and find whose it is. Raises Told."""
        asked.token = token_of(asked.raw)
        self._find(asked)
        if endpoint.method == "POST":
            await asked.read_form()
            if not asked.token:
                asked.token = asked.form.get("authorization", "")
                self._find(asked)
        if not asked.token:
            raise Told(400, "Missing authorization")
        if not asked.key:
            raise self._unreadable(asked, endpoint)

    def _find(self, asked: Asked) -> None:
        """Find the session of a request, by its token and cookie. Raises Told."""
        parsed = parse_token(asked.token)
        if parsed is None:
            return
        asked.key, asked.cookie = parsed[1], asked.raw.cookies.get(COOKIE, "")
        session = self._sessions.find(asked.key, asked.cookie, asked.remote)
        if session is None:
            return
        if session.requests >= MAX_REQUESTS:
            raise Told(429, "Too many requests at once")
        session.begin(self._clock())
        asked.session = session
        if session.is_open:
            asked.intake.opened()  # what it sends is bounded by its session from now on

    def _unreadable(self, asked: Asked, endpoint: Endpoint) -> Told:
        """Return the answer to a token that cannot be read."""
        if lacks_part(asked.token):
            return Told(200, "Missing authorization")
        why = refused("invalid_authorization")
        if endpoint is self._endpoints["/connect"]:
            self._hub.turn_away(_Stranger(asked.remote), why)
        return Told(500, endpoint.failure, Ending(why.close_code, why.reason))

    async def _write(self, asked: Asked, reply: Reply) -> web.Response:
        """Write an answer; what it was to deliver is kept where that does not succeed."""
        response, session = json_response(reply), asked.session
        response.headers["X-HiveMind-HTTP-Replica"] = self._replica
        response.headers["X-HiveMind-HTTP-Session-Backend"] = "memory"
        if reply.body == CONNECTED:
            self._set_cookies(response, reply)
        stays = session is not None and session.ended is None and session.keeps(asked.intake)
        if not stays:
            response.force_close()
        no_delay(asked.raw)
        asked.intake.within(ANSWER_WITHIN_S, "it does not read its answer")
        try:
            await response.prepare(asked.raw)
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError) as error:
            if session is not None and reply.frames:
                session.put_back(reply.queue, reply.frames)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            asked.intake.in_time()
            if stays:
                asked.intake.answered()
        return response

    def _set_cookies(self, response: web.Response, reply: Reply) -> None:
        response.set_cookie(REPLICA_COOKIE, self._replica, httponly=True, samesite="Lax")
        if reply.cookie:
            secure = self._config.tls is not None
            response.set_cookie(COOKIE, reply.cookie, httponly=True, samesite="Strict", secure=secure)

    # what there is to ask for

    async def _connect(self, asked: Asked) -> Reply:
        """Begin a session. Its cookie is told once: who connects again to one that stands may be somebody else."""
        known = asked.session
        if known is not None:
            if known.ended is None and not self._begins_anew(asked, known):
                return Reply(CONNECTED)
            self._leave(asked, known, "connected again")
        found = await self._hub.identify(asked.token, asked.remote)
        if isinstance(found, Refused):
            self._hub.turn_away(_Stranger(asked.remote), found)
            raise refusal(found)
        meanwhile = self._sessions.find(asked.key, asked.cookie, asked.remote)
        if meanwhile is not None and meanwhile.ended is None:
            return Reply(CONNECTED)
        session = HTTPConnection((asked.key, asked.remote), self._bounds, self._clock, self._ended)
        session.max_frame_bytes = found.max_frame_bytes
        self._sessions.add(session, bound=bool(asked.cookie))
        session.begin(self._clock())
        asked.session = session
        session.peer = self._hub.connect(session, found)
        return Reply(CONNECTED, cookie=session.cookie)

    def _begins_anew(self, asked: Asked, known: HTTPConnection) -> bool:
        """Tell whether a client that connects again knows nothing of its session, which has been greeted.

        Released clients return no cookie, and one that was killed is often back before its next poll is missed.
        """
        return not asked.cookie and known.is_greeted

    def _leave(self, asked: Asked, session: HTTPConnection, reason: str) -> None:
        """End a session that its client ends; there is nothing to be told of it."""
        session.close(NORMAL, reason)
        self._sessions.remove(session)
        asked.session = None

    async def _disconnect(self, asked: Asked) -> Reply:
        session = asked.session
        if session is None or session.ended is not None:
            return Reply({"error": "Already Disconnected"})
        self._leave(asked, session, "disconnected")
        return Reply({"status": "Disconnected"})

    async def _fetch_text(self, asked: Asked) -> Reply:
        return await self._fetch(asked, TEXT)

    async def _fetch_binary(self, asked: Asked) -> Reply:
        return await self._fetch(asked, BINARY)

    async def _fetch(self, asked: Asked, queue: str) -> Reply:
        session = asked.session
        if session is None:
            raise not_connected(session)
        session.fetched_at = self._clock()
        now = asyncio.get_running_loop().time()
        pause_s = session.share.pause_after(now - FETCH_COSTS_S, now)
        if pause_s is not None:
            await asyncio.sleep(pause_s)
        is_mine = await session.news(queue, asked.wait_s)
        session.fetched_at = self._clock()
        if session.ended is not None and not session.has(queue):
            raise not_connected(session)
        return fetched(queue, session.take(queue, session.fetched_at) if is_mine else [])

    async def _send(self, asked: Asked) -> Reply:
        session = asked.session
        if session is None:
            raise not_connected(session, 409)
        async with session.turn:  # one frame after the other, and nobody reads on while this client has to wait
            peer = session.peer
            if session.ended is not None or peer is None:
                raise not_connected(session, 409)
            frame, time = asked.frame(session), asyncio.get_running_loop().time
            began = time()
            self._hub.receive(peer, frame)
            if session.ended is not None:
                raise Told(500, SENDING_FAILED, session.ended)
            if session.is_open and not session.was_open:
                session.was_open = True
                asked.intake.opened()
                self._end_left_behind(session)
            pause_s = session.share.pause_after(began, time())
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        is_part = isinstance(frame, bytes) and peer.link.is_waiting
        return Reply({"status": "buffered" if is_part else "message sent"})

    def _end_left_behind(self, session: HTTPConnection) -> None:
        """End what the same device has left behind without a word, so that it does not use up its sessions."""
        peer, now = session.peer, self._clock()
        if peer is None or not peer.static_key:
            return
        for other in self._hub.peers.of_client(peer.client.client_id):
            conn = other.conn
            if not isinstance(conn, HTTPConnection) or conn is session or other.static_key != peer.static_key:
                continue
            if not conn.requests and now - conn.asked_at >= LEFT_BEHIND_S:
                conn.close(NORMAL, "connected again")
