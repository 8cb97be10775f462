"""The HTTP transport (docs/protocol.md 6): frames are posted and fetched, and a fetch may wait until there are some."""

from __future__ import annotations

import asyncio
import errno
import logging
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from aiohttp import web

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import GOING_AWAY, REFUSALS

from ..admission import Visitor, parse_token
from ..config import HTTPConfig
from ..fairness import LoopShare
from ..hub import Hub
from . import BindError
from .http_sessions import BINARY, TEXT, Ending, HTTPSession, HTTPSessions
from .intake import Intake, IntakeServer
from .requests import client_address, health, no_delay, token_of
from .tls import server_context

log = logging.getLogger(__name__)

COOKIE = "hivemind_http_session"
REPLICA_COOKIE = "hivemind_http_replica"
MAX_BODY_BYTES = 1024 * 1024
BODY_WITHIN_S = 10.0
TLS_WITHIN_S = 10.0
MAX_WAIT_S = 60.0
"""How long a fetch may wait for messages."""
SWEEP_S = 1.0
STALE_S = 10.0
"""A session that was silent for so long is begun anew where its client connects again."""
REMEMBERED_S = 30.0
"""How long it is told why a session has ended."""
STOP_WITHIN_S = 2.0
NOT_CONNECTED = "Client is not connected"


class _Told(Exception):
    """The answer to a request that cannot be served."""

    def __init__(self, status: int, error: str, ending: Ending | None = None) -> None:
        self.status = status
        self.body: dict[str, Any] = {"error": error}
        if ending is not None:
            self.body |= {"code": ending[0], "reason": ending[1]}


@dataclass
class Request:
    """A request, as far as all of them are alike."""

    raw: web.BaseRequest
    form: Mapping[str, Any]
    token: str
    key: str
    remote: str
    session: HTTPSession | None


Serve = Callable[[Request], Awaitable[dict[str, Any]]]


class HTTPTransport:
    """Serves sessions of satellites, and ``/_healthz`` for supervisors."""

    def __init__(self, hub: Hub, config: HTTPConfig) -> None:
        self._hub = hub
        self._config = config
        self._replica = uuid4().hex
        self._sessions = HTTPSessions()
        self._server: IntakeServer | None = None
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._port = config.port
        self._shares: dict[HTTPSession, LoopShare] = {}
        self._paths: dict[str, tuple[str, str, Serve]] = {
            "/connect": ("POST", "Connection failed", self._connect),
            "/disconnect": ("POST", "Disconnection failed", self._disconnect),
            "/send_message": ("POST", "Message sending failed", self._send),
            "/get_messages": ("GET", "Message retrieval failed", self._fetch_text),
            "/get_binary_messages": ("GET", "Message retrieval failed", self._fetch_binary),
        }

    @property
    def address(self) -> str:
        """``http://host:port`` as bound, or ``https://host:port``."""
        host = self._config.host
        return f"{self._config.scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def port(self) -> int:
        """The port as bound."""
        return self._port

    # life

    async def start(self) -> None:
        loop, config = asyncio.get_running_loop(), self._config
        context = await asyncio.to_thread(server_context, config.tls, config.host) if config.tls else None
        self._server = IntakeServer(self._answer)
        try:
            self._listener = await loop.create_server(
                self._server,
                config.host,
                config.port,
                backlog=1024,
                ssl=context,
                ssl_handshake_timeout=TLS_WITHIN_S if context else None,
            )
        except OSError as error:
            why = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise BindError(
                f"Could not listen at {config.host}:{config.port} for HTTP: {why}. Choose another `port` of"
                " `network_protocol.hivemind-http-plugin` in server.json."
            ) from None
        self._port = int(self._listener.sockets[0].getsockname()[1])
        self._sweeper = loop.create_task(self._sweep_always())

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listener is not None:
            self._listener.close()
        for session in self._sessions:
            self._end(session, GOING_AWAY, REFUSALS["shutting_down"].wire_reason)
        if self._server is not None:
            await self._server.shutdown(STOP_WITHIN_S)

    async def _sweep_always(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(asyncio.get_running_loop().time())

    def sweep(self, now: float) -> None:
        """End the sessions whose clients ask for nothing any more, and forget those that have ended."""
        for session in self._sessions:
            silent_s = now - session.asked_at
            if session.ended is not None and silent_s >= REMEMBERED_S:
                self._forget(session)
            elif session.ended is None and silent_s >= self._config.silence_s:
                log.info("%s has fetched nothing for %d s", session.remote, silent_s)
                self._end(session, 1001, "nothing was fetched")
                self._forget(session)

    def _end(self, session: HTTPSession, code: int, reason: str) -> None:
        session.close(code, reason)
        if session.peer is not None:
            self._hub.closed(session.peer)

    def _forget(self, session: HTTPSession) -> None:
        session.drop()
        self._sessions.remove(session)
        self._shares.pop(session, None)

    def _overflow(self, session: HTTPSession) -> None:
        """End a session whose frames nobody fetches; not at once, since the hub is in the middle of sending them."""
        row = REFUSALS["slow_reader"]
        log.warning("closing %s: %s", session.remote, row)
        session.close(row.close_code, row.wire_reason)
        session.drop()
        asyncio.get_running_loop().call_soon(self._end, session, row.close_code, row.wire_reason)

    # requests

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        intake = request.protocol
        assert isinstance(intake, Intake)
        intake.asked()
        no_delay(request)
        if request.path == "/_healthz":
            return health(request)
        method, failure, serve = self._paths.get(request.path, ("", "", None))
        if serve is None:
            return web.Response(status=404)
        if request.method != method:
            return web.Response(status=405, headers={"Allow": method})
        asked: Request | None = None
        try:
            asked = await self._read(request, intake, failure)
            body, status = await serve(asked), 200
        except _Told as told:
            body, status = told.body, told.status
        return self._response(status, body, asked)

    def _response(self, status: int, body: dict[str, Any], asked: Request | None) -> web.Response:
        response = web.json_response(body, status=status)
        response.headers["X-HiveMind-HTTP-Replica"] = self._replica
        response.headers["X-HiveMind-HTTP-Session-Backend"] = "memory"
        if asked is not None and asked.session is not None and asked.raw.path == "/connect":
            response.set_cookie(REPLICA_COOKIE, self._replica, path="/")
            response.set_cookie(
                COOKIE, asked.session.cookie, path="/", httponly=True, samesite="Strict", secure=bool(self._config.tls)
            )
        return response

    async def _read(self, request: web.BaseRequest, intake: Intake, failure: str) -> Request:
        """Read a request and find whose it is. Raises _Told."""
        form: Mapping[str, Any] = {}
        token, remote = token_of(request), client_address(request, self._config.proxies)
        session = self._of(token, request, remote)
        if session is not None:
            intake.opened()  # what it sends is bounded by its session from now on
        if request.method == "POST":
            form = await self._form(request)
        if not token:
            token = form.get("authorization", "")
            session = self._of(token, request, remote) if isinstance(token, str) and token else None
        if not isinstance(token, str) or not token:
            raise _Told(400, "Missing authorization")
        parsed = parse_token(token)
        if parsed is None:
            raise _Told(200, "Missing authorization") if _lacks_key(token) else _Told(500, failure)
        if session is not None:
            session.asked_at = asyncio.get_running_loop().time()
        return Request(request, form, token, parsed[1], remote, session)

    def _of(self, token: str, request: web.BaseRequest, remote: str) -> HTTPSession | None:
        parsed = parse_token(token) if token else None
        return self._sessions.find(parsed[1], request.cookies.get(COOKIE, ""), remote) if parsed else None

    async def _form(self, request: web.BaseRequest) -> Mapping[str, Any]:
        try:
            return await asyncio.wait_for(request.post(), BODY_WITHIN_S)
        except asyncio.TimeoutError:
            raise _Told(408, "The request did not arrive in time") from None
        except web.HTTPRequestEntityTooLarge:
            raise _Told(413, f"A request holds at most {MAX_BODY_BYTES} bytes") from None
        except ValueError:
            raise _Told(400, "Malformed request") from None

    # what there is to ask for

    async def _connect(self, asked: Request) -> dict[str, Any]:
        now, known = asyncio.get_running_loop().time(), asked.session
        if known is not None and known.ended is None and not self._is_stale(known, now):
            return {"status": "Connected"}
        if known is not None:
            self._end(known, 1000, "connected again")
            self._forget(known)
        found = await self._hub.identify(asked.token, asked.remote)
        session = HTTPSession(asked.key, asked.remote, now, self._config.max_undelivered, self._overflow)
        if isinstance(found, Refused):
            self._hub.turn_away(session, found)
            raise _refusal(found)
        asked.session = session
        session.max_frame_bytes = found.max_frame_bytes
        self._sessions.add(session)
        session.peer = self._hub.connect(session, found)
        return {"status": "Connected"}

    def _is_stale(self, session: HTTPSession, now: float) -> bool:
        """Tell whether a client that connects again seems to know nothing of its session."""
        peer = session.peer
        return peer is not None and peer.link.is_open and not session.is_bound and now - peer.active_at > STALE_S

    async def _disconnect(self, asked: Request) -> dict[str, Any]:
        session = asked.session
        if session is None or session.ended is not None:
            raise _Told(200, "Already Disconnected")
        self._end(session, 1000, "disconnected")
        self._forget(session)
        return {"status": "Disconnected"}

    async def _fetch_text(self, asked: Request) -> dict[str, Any]:
        return await self._fetch(asked, TEXT)

    async def _fetch_binary(self, asked: Request) -> dict[str, Any]:
        return await self._fetch(asked, BINARY)

    async def _fetch(self, asked: Request, queue: str) -> dict[str, Any]:
        session = asked.session
        if session is None:
            raise _Told(200, NOT_CONNECTED)
        await session.news(queue, _seconds(asked.raw.query.get("wait", "")))
        session.asked_at = asyncio.get_running_loop().time()
        if session.ended is not None and not session.has(queue):
            raise _Told(200, NOT_CONNECTED, session.ended)
        if asked.raw.transport is None or asked.raw.transport.is_closing():
            raise _Told(499, NOT_CONNECTED)  # nobody would get them
        return {"status": "messages retrieved", queue: session.take(queue)}

    async def _send(self, asked: Request) -> dict[str, Any]:
        session, text = asked.session, asked.form.get("message")
        if session is None or session.ended is not None or session.peer is None:
            raise await self._not_connected(asked)
        if not isinstance(text, str) or not text:
            raise _Told(400, "Missing message")
        peer, frame = session.peer, self._frame(session, text, asked.form)
        began, share = asyncio.get_running_loop().time(), self._shares.setdefault(session, LoopShare())
        self._hub.receive(peer, frame)
        if session.ended is not None:
            raise _Told(500, "Message sending failed", session.ended)
        pause_s = share.pause_after(began, asyncio.get_running_loop().time())
        if pause_s is not None:
            await asyncio.sleep(pause_s)
        return {"status": "buffered" if isinstance(frame, bytes) and peer.link.is_waiting else "message sent"}

    def _frame(self, session: HTTPSession, text: str, form: Mapping[str, Any]) -> bytes | str:
        """Return the frame in a request. Raises _Told."""
        frame: bytes | str = text
        if str(form.get("binary", "")).lower() in ("1", "true", "yes"):
            if session.peer is None or not session.peer.link.is_open:
                raise _Told(409, "No Noise session; reconnect and handshake")
            try:
                frame = b64decode(text, validate=True)
            except (NotBase64, ValueError):
                raise _Told(400, "Malformed binary frame") from None
        if len(frame) > session.max_frame_bytes:
            raise _Told(400, f"A frame holds at most {session.max_frame_bytes} bytes")
        return frame

    async def _not_connected(self, asked: Request) -> _Told:
        """Say why a message cannot be taken: there is no session, or no such client."""
        if asked.session is not None:
            return _Told(409, NOT_CONNECTED, asked.session.ended)
        found = await self._hub.identify(asked.token, asked.remote)
        return _refusal(found) if isinstance(found, Refused) else _Told(409, NOT_CONNECTED)


def _refusal(refused: Refused) -> _Told:
    """Say that a client is not let in; what passes has another status than what does not."""
    permanent = REFUSALS[refused.code].permanent
    status, error = (403, "Invalid authorization") if permanent else (503, "Connection failed")
    return _Told(status, error, (refused.close_code, refused.reason))


def _lacks_key(token: str) -> bool:
    try:
        return b64decode(token.replace(" ", "+"), validate=True).endswith(b":")
    except (NotBase64, ValueError):
        return False


def _seconds(text: str) -> float:
    try:
        return max(0.0, min(float(text), MAX_WAIT_S)) if text else 0.0
    except ValueError:
        return 0.0


__all__ = ["HTTPTransport", "Visitor"]
