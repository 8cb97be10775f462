"""How the HTTP transport writes an answer, and what comes of the frames in it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from aiohttp import web

from .http_elsewhere import Passing
from .http_requests import CONNECTED, COOKIE, Asked, Reply, json_response
from .intake import Intake
from .origin_gate import OriginGate

REPLICA_COOKIE = "hivemind_http_replica"
ANSWER_WITHIN_S = 30.0
"""How long a client may take to read an answer."""


class Answers:
    """Writes answers."""

    def __init__(self, passing: Passing | None, gate: OriginGate, *, secure: bool) -> None:
        """`passing` is there in a cluster; `gate` knows which pages may read; `secure` keeps cookies to HTTPS."""
        self._gate = gate
        self._passing = passing
        self._secure = secure
        self._replica = passing.hub if passing is not None else uuid4().hex

    async def write(self, asked: Asked, reply: Reply, request: web.BaseRequest, intake: Intake) -> web.Response:
        """Write an answer; what it was to deliver is kept where that does not succeed."""
        response = json_response(reply)
        self._label(response, reply)
        self._gate.label(request, response)
        stays = _stays(asked, reply, intake)
        if not stays:
            response.force_close()
        intake.within(ANSWER_WITHIN_S, "it does not read its answer")
        try:
            await response.prepare(request)
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError) as error:
            self._settle(asked, reply, arrived=False)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._settle(asked, reply, arrived=True)
            intake.in_time()
            if stays:
                intake.answered()
        return response

    def _label(self, response: web.Response, reply: Reply) -> None:
        """Say whose answer it is; one to who connects sets cookies."""
        replica = reply.passed.hub if reply.passed is not None else self._replica
        response.headers["X-HiveMind-HTTP-Replica"] = replica
        response.headers["X-HiveMind-HTTP-Session-Backend"] = "memory" if self._passing is None else "redis"
        if reply.body != CONNECTED:
            return
        response.set_cookie(REPLICA_COOKIE, replica, httponly=True, samesite="Lax")
        if reply.cookie:
            response.set_cookie(COOKIE, reply.cookie, httponly=True, samesite="Strict", secure=self._secure)

    def _settle(self, asked: Asked, reply: Reply, *, arrived: bool) -> None:
        """Let who took the frames of an answer out of their queue know whether they have arrived."""
        if self._passing is not None and reply.passed is not None and reply.passed.number:
            self._passing.settle(reply.passed, arrived=arrived)
        elif asked.session is not None and reply.frames and not arrived:
            asked.session.put_back(reply.queue, reply.frames)


def _stays(asked: Asked, reply: Reply, intake: Intake) -> bool:
    """Tell whether a TCP connection stays for the next request of a session."""
    if reply.passed is not None and asked.far is not None:
        return reply.passed.stands and asked.far.kept.keeps(intake, is_open=asked.far.is_open)
    session = asked.session
    return session is not None and session.ended is None and session.kept.keeps(intake, is_open=session.is_open)
