"""The HTTP transport (docs/protocol.md 6): frames are posted and fetched, and a fetch may wait until there are some."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import GOING_AWAY, NORMAL, REFUSALS

from ..admission import parse_token, refused
from ..config import HTTPConfig
from ..hub import Hub
from .http_answers import Answers
from .http_connection import HTTPConnection
from .http_elsewhere import Elsewhere, Passing
from .http_held import Held
from .http_requests import (
    CONNECT,
    CONNECTED,
    COOKIE,
    DISCONNECT,
    MAX_REQUESTS,
    SEND,
    SENDING_FAILED,
    TOO_MANY,
    Asked,
    Reply,
    Told,
    ended_by_it,
    fetched,
    lacks_part,
    not_connected,
    page,
    read_form,
    refusal,
    too_many_requests,
    wait_of,
)
from .http_sessions import BINARY, TEXT, Bounds, Ending, HTTPSessions
from .intake import Intake, IntakeServer
from .listening import Listening
from .origin_gate import OriginGate
from .requests import client_address, health, token_of

log = logging.getLogger(__name__)

FETCH_COSTS_S = 0.0003
"""What a fetch is counted as in its client's share of the loop."""
SWEEP_S = 1.0
LEFT_BEHIND_S = 30.0
"""A session that was silent for so long ends when the same device has a new one."""
STOP_WITHIN_S = 2.0


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

    @property
    def queued(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None:
        return None


class HTTPTransport:
    """Serves sessions of satellites, and ``/_healthz`` for supervisors."""

    def __init__(self, hub: Hub, config: HTTPConfig, elsewhere: Elsewhere | None = None) -> None:
        """`elsewhere` are the other hubs of a cluster; None where this one is alone."""
        self._hub = hub
        self._config = config
        self._bounds = Bounds(
            config.max_undelivered, config.undelivered_ttl_s, config.queue_ttl_s, config.session_ttl_s
        )
        self._clock = hub.clocks.monotonic
        self._sessions: HTTPSessions[HTTPConnection] = HTTPSessions()
        self._passing = Passing(elsewhere, self._clock) if elsewhere is not None else None
        self._gate = OriginGate(config.origins, hub.refusals)
        self._answers = Answers(self._passing, self._gate, secure=config.tls is not None)
        self._server: IntakeServer | None = None
        self._listening = Listening(config, "Choose another `port` of `hivemind-http-plugin` in server.json.")
        self._sweeper: asyncio.Task[None] | None = None
        self._endpoints = {
            CONNECT: Endpoint("POST", "Connection failed", self._connect),
            DISCONNECT: Endpoint("POST", "Disconnection failed", self._disconnect),
            SEND: Endpoint("POST", SENDING_FAILED, self._send),
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
        if self._passing is not None:
            held = Held(self._sessions, self._serve_passed, self._passing.is_at)
            await self._passing.start(held.handlers)
        # A fetch whose connection is lost must take nothing out of its queue.
        count, proxies = self._hub.meter.refusals.count, self._config.proxies
        self._server = IntakeServer(self._answer, count, proxies=proxies, handler_cancellation=True)
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
            session.peer = None  # each has the other: so that both go at once, and not when garbage is looked for

    # a request

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        intake = request.protocol
        assert isinstance(intake, Intake)
        intake.asked()
        endpoint = self._endpoints.get(request.path)
        remote = client_address(request, self._config.proxies)
        is_served = endpoint is not None and request.method == endpoint.method
        besides = self._gate.turned_away(request, remote) or (None if is_served else self._besides(request, endpoint))
        if besides is not None:
            besides.force_close()
            return besides
        asked = Asked(request.path, remote, request.cookies.get(COOKIE, ""), wait_of(request))
        reply = await self._served(asked, self._take(asked, request, intake))
        if asked.is_open:
            intake.opened()
        return await self._answers.write(asked, reply, request, intake)

    def _besides(self, request: web.BaseRequest, endpoint: Endpoint | None) -> web.Response:
        if request.path == "/_healthz":
            return health(request)
        if endpoint is None:
            return page(404, "Not Found")
        return self._gate.preflight(request) or page(405, "Method Not Allowed", {"Allow": endpoint.method})

    async def _served(self, asked: Asked, serving: Awaitable[Reply]) -> Reply:
        """Return the answer to a request, also where serving it fails."""
        try:
            return await serving
        except Told as told:
            if told.reply.status == TOO_MANY and "code" not in told.reply.body:
                self._hub.refusals.stranger(asked.remote, refused("too_many_requests"))
            return told.reply
        except Exception:  # top of a request
            log.exception("a request over HTTP failed")
            row = REFUSALS["internal_error"]
            if asked.session is not None:
                asked.session.close(row.close_code, row.wire_reason)
            failure = self._endpoints[asked.path].failure
            return Told(500, failure, Ending(row.close_code, row.wire_reason)).reply
        finally:
            if asked.session is not None:
                asked.session.finish(self._clock())

    async def _take(self, asked: Asked, request: web.BaseRequest, intake: Intake) -> Reply:
        """Serve a request that came to this hub. Raises Told."""
        await self._read(asked, request, intake)
        reply = None
        if asked.far is not None and self._passing is not None:
            reply = await self._passing.pass_on(asked)
        return reply or await self._endpoints[asked.path].serve(asked)

    async def _serve_passed(self, asked: Asked) -> Reply | None:
        """Serve a request that came to another hub; None where its session is not held here."""
        try:
            self._find_here(asked)
        except Told as told:
            return told.reply
        if asked.session is None:
            return None
        return await self._served(asked, self._endpoints[asked.path].serve(asked))

    async def _read(self, asked: Asked, request: web.BaseRequest, intake: Intake) -> None:
        """Read a request and find whose it is. Raises Told."""
        asked.token = token_of(request)
        await self._find(asked, intake)
        if request.method == "POST":
            asked.form = await read_form(request, intake)
            if not asked.token:
                asked.token = asked.form.get("authorization", "")
                await self._find(asked, intake)
        if not asked.token:
            raise Told(400, "Missing authorization")
        if not asked.key:
            raise self._unreadable(asked)

    async def _find(self, asked: Asked, intake: Intake) -> None:
        """Find the session of a request, wherever it is. Raises Told."""
        self._find_here(asked)
        if asked.session is None and asked.key and self._passing is not None:
            with intake.in_doubt():
                asked.far = await self._passing.find(asked)
        if asked.is_open:
            intake.opened()  # what it sends is bounded by its session from now on

    def _find_here(self, asked: Asked) -> None:
        """Find the session of a request, by its token and cookie. Raises Told."""
        parsed = parse_token(asked.token)
        if parsed is None:
            return
        asked.key = parsed[1]
        session = self._sessions.find(asked.key, asked.cookie, asked.remote)
        if session is None:
            return
        if session.requests >= MAX_REQUESTS:
            raise too_many_requests()
        session.begin(self._clock())
        asked.session = session

    def _unreadable(self, asked: Asked) -> Told:
        """Return the answer to a token that cannot be read."""
        if lacks_part(asked.token):
            return Told(200, "Missing authorization")
        why = refused("invalid_authorization")
        self._hub.turn_away(_Stranger(asked.remote), why)
        return Told(500, self._endpoints[asked.path].failure, Ending(why.close_code, why.reason))

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
        session = self._new_session(asked)
        session.max_frame_bytes = found.max_frame_bytes
        self._sessions.add(session, bound=bool(asked.cookie))
        session.begin(self._clock())
        asked.session = session
        session.peer = self._hub.connect(session, found)
        if self._passing is not None and not self._sessions.is_bound(session):
            await self._passing.begun(session.key, session.remote, session.since_ms)
        return Reply(CONNECTED, cookie=session.cookie)

    def _new_session(self, asked: Asked) -> HTTPConnection:
        who, passing = (asked.key, asked.remote), self._passing
        session = HTTPConnection(who, self._bounds, self._clock, self._ended, passing.hub if passing else "")
        session.since_ms = passing.newest(*who) if passing else 0
        session.refusals = self._hub.refusals
        return session

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
            raise not_connected(None)
        session.fetched_at = self._clock()
        if session.peer is not None:
            self._hub.heard(session.peer)
        await session.settled(queue)
        if session.peer is not None:
            now = asyncio.get_running_loop().time()
            pause_s = session.peer.loop_share.pause_after(now - FETCH_COSTS_S, now)
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        is_mine = await session.news(queue, asked.wait_s)
        session.fetched_at = self._clock()
        if session.ended is not None and not session.has(queue):
            raise not_connected(session.ended)
        return fetched(queue, session.take(queue, session.fetched_at, asked.most_bytes) if is_mine else [])

    async def _send(self, asked: Asked) -> Reply:
        session = asked.session
        if session is None:
            raise not_connected(None, 409)
        async with session.turn:  # one frame after the other, and nobody reads on while this client has to wait
            peer = session.peer
            if session.ended is not None or peer is None:
                raise not_connected(session.ended, 409)
            frame, time = asked.frame(session), asyncio.get_running_loop().time
            began = time()
            self._hub.receive(peer, frame)
            if session.ended is not None:
                raise ended_by_it(session.ended)
            if session.is_open and not session.was_open:
                session.was_open = True
                self._end_left_behind(session)
            pause_s = peer.loop_share.pause_after(began, time())
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
