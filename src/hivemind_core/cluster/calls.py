"""What hubs of a cluster ask each other, and wait for."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)

Frame = dict[str, Any]
Handler = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
MAX_CALLS = 4096
"""Calls of other hubs that are answered at once; further ones get no answer."""


class Calls:
    """Questions to other hubs and theirs to this one. `send` hands a frame to a hub, or says that it cannot."""

    def __init__(self, hub: str, send: Callable[[str, Frame], bool]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[str, asyncio.Future[dict[str, Any] | None]]] = {}
        self._handlers: dict[str, Handler] = {}
        self._answering: set[asyncio.Task[None]] = set()

    def serve(self, what: str, handler: Handler) -> None:
        """Answer calls of a kind; what the handler raises is logged, and the caller gets no answer."""
        self._handlers[what] = handler

    async def call(self, hub: str, what: str, body: Mapping[str, Any], timeout_s: float) -> dict[str, Any] | None:
        """Ask a hub and wait for its answer; None where it cannot be reached, or does not answer in time."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._open[number] = (hub, answer)
        try:
            if not self._send(hub, {"t": "ask", "n": number, "what": what, "b": dict(body)}):
                return None
            return await asyncio.wait_for(answer, timeout_s)
        except asyncio.TimeoutError:
            return None
        finally:
            del self._open[number]

    def asked(self, hub: str, frame: Frame) -> None:
        """Take a call of another hub."""
        handler = self._handlers.get(frame["what"])
        if handler is None or len(self._answering) >= MAX_CALLS:
            log.warning("hub %s asks for %.50r, and gets no answer", hub, frame["what"])
            return
        task = asyncio.get_running_loop().create_task(self._answer(hub, frame, handler))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, hub: str, frame: Frame, handler: Handler) -> None:
        try:
            body = await handler(frame["b"])
        except Exception:  # top of a task
            log.exception("could not answer what hub %s asks", hub)
            return
        self._send(hub, {"t": "told", "n": frame["n"], "b": body})

    def told(self, hub: str, frame: Frame) -> None:
        """Take an answer."""
        asked, answer = self._open.get(frame["n"], ("", None))
        if answer is not None and asked == hub and not answer.done():
            answer.set_result(frame["b"])

    def gone(self, hub: str) -> None:
        """Give up what a hub was asked: it is gone."""
        for asked, answer in list(self._open.values()):
            if asked == hub and not answer.done():
                answer.set_result(None)

    def stop(self) -> None:
        """Answer nothing more."""
        for task in self._answering:
            task.cancel()
