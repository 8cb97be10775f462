"""Sessions that this hub holds, asked for by way of another hub of the cluster (see `http_elsewhere`).

What is taken from a queue for such a request is kept until that hub says what became of it. If it never does, the
session ends: to deliver twice, or not at all, would be worse than to have the client begin anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hivemind_bus_client.refusals import NORMAL

from .http_connection import HTTPConnection
from .http_elsewhere import ASK, BEGUN, LOOK, SETTLE, Body, Handler
from .http_requests import Asked, Reply, asked_elsewhere, not_connected
from .http_sessions import Frame, HTTPSessions, hub_of

log = logging.getLogger(__name__)

MAX_PASSED_BYTES = 1024 * 1024
"""What one answer by way of another hub holds, unless its first frame is longer."""
MAX_PASSED_FRAME = 4 * MAX_PASSED_BYTES
"""A frame that is longer does not travel between hubs; its session ends."""
MAX_WAITING = 3000
"""Requests by way of other hubs that may wait for messages at once; further ones are answered at once."""
KEPT_S = 45.0
"""How long what was taken is kept for another hub that says nothing; longer than a client may take to read it."""


@dataclass(frozen=True)
class Taken:
    """What is on its way to another hub."""

    session: HTTPConnection
    queue: str
    frames: list[Frame]
    timer: asyncio.TimerHandle


class Held:
    """Answers other hubs. `handlers` is to be given to `Elsewhere.start`."""

    def __init__(
        self,
        sessions: HTTPSessions[HTTPConnection],
        serve: Callable[[Asked], Awaitable[Reply | None]],
        is_at: Callable[[str, str, str, int], None],
    ) -> None:
        """`serve` answers a request, or finds no session for it; `is_at` is told which hub has begun the session of an
        access key and an address, and when (`HTTPSession.since_ms`).
        """
        self._sessions = sessions
        self._serve = serve
        self._is_at = is_at
        self._serving: dict[str, asyncio.Task[Any]] = {}
        self._taken: dict[str, Taken] = {}
        self.handlers: Mapping[str, Handler] = {
            LOOK: self._look,
            ASK: self._ask,
            SETTLE: self._settle,
            BEGUN: self._begun,
        }

    async def _look(self, whose: Body) -> dict[str, Any]:
        session = self._sessions.find(whose["key"], whose["cookie"], whose["remote"])
        if session is None:
            return {"held": False}
        return {"held": True, "open": session.is_open, "since": session.since_ms}

    async def _ask(self, told: Body) -> dict[str, Any]:
        asked = asked_elsewhere(told, MAX_PASSED_BYTES)
        if len(self._serving) >= MAX_WAITING:
            asked.wait_s = 0.0
        task = asyncio.current_task()
        assert task is not None
        self._serving[told["n"]] = task
        try:
            reply = await self._serve(asked)
        finally:
            del self._serving[told["n"]]
        if reply is None:
            return {"held": False}
        return self._passed(told["n"], asked.session, reply)

    def _passed(self, number: str, session: HTTPConnection | None, reply: Reply) -> dict[str, Any]:
        """Return what the other hub has to know of an answer, and keep what was taken for it."""
        if session is not None and reply.frames:
            self._keep(number, session, reply)
            if len(reply.frames[0]) > MAX_PASSED_FRAME:
                self._lose(number)
                reply = not_connected(session.ended).reply
        return {
            "held": True,
            "status": reply.status,
            "body": reply.body,
            "cookie": reply.cookie,
            "taken": bool(reply.frames),
            "open": session is not None and session.is_open,
            "stands": session is not None and session.ended is None,
        }

    def _keep(self, number: str, session: HTTPConnection, reply: Reply) -> None:
        timer = asyncio.get_running_loop().call_later(KEPT_S, self._lose, number)
        self._taken[number] = Taken(session, reply.queue, reply.frames, timer)
        session.passes(reply.queue)

    def _lose(self, number: str) -> None:
        taken = self._taken.pop(number)
        taken.session.lose()
        taken.session.passed(taken.queue)

    async def _settle(self, told: Body) -> dict[str, Any]:
        """Learn what became of an answer; one that is still waited for is not wanted any more."""
        serving = self._serving.get(told["n"])
        if serving is not None:
            serving.cancel()
        taken = self._taken.pop(told["n"], None)
        if taken is not None:
            taken.timer.cancel()
            if not told["arrived"]:
                taken.session.put_back(taken.queue, taken.frames)
            taken.session.passed(taken.queue)
        return {}

    async def _begun(self, told: Body) -> dict[str, Any]:
        """End the session of an address that has begun another at that hub, unless the one here is the newer."""
        key, remote, since_ms, hub = told["key"], told["remote"], told["since"], told["hub"]
        known = self._sessions.find(key, "", remote)
        if known is not None and (known.since_ms, hub_of(known.cookie)) > (since_ms, hub):
            return {}
        if known is not None:
            known.close(NORMAL, "connected again")
            self._sessions.remove(known)
        self._is_at(hub, key, remote, since_ms)
        return {}
