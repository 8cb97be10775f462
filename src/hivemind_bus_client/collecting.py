"""Asking many at once on an OVOS bus: whoever has an answer says so, and more time is given as long as somebody works.

A question's context names it; handlers say ``<type>.handling`` with how long they may take, then ``<type>.response``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from .bus_message import Message, as_message

COLLECT_ID = "__collect_id__"
"""Context key of the question's id."""
HANDLING_S = 2.0

Stop = Callable[[Any], bool]


class CollectionMessage(Message):
    """A question as its handler gets it: emit what `success`, `failure` or `extend` returns."""

    __slots__ = ("handler_id", "query_id")

    def __init__(self, question: Message, handler_id: str) -> None:
        super().__init__(question.msg_type, question.data, question.context)
        self.query_id = str(question.context.get(COLLECT_ID, ""))
        self.handler_id = handler_id

    def _named(self, **data: Any) -> dict[str, Any]:
        return {**data, "query": self.query_id, "handler": self.handler_id}

    def success(self, data: dict[str, Any] | None = None, context: dict[str, Any] | None = None) -> Message:
        """Return the answer."""
        return self.response(self._named(**(data or {}), succeeded=True), context)

    def failure(self) -> Message:
        """Return the message that there is no answer."""
        return self.response(self._named(succeeded=False))

    def extend(self, timeout: float) -> Message:
        """Return the message that asks for more time, in seconds."""
        return self.forward(f"{self.msg_type}.handling", self._named(timeout=timeout))


def collecting(emit: Callable[[Message], Any], func: Callable[[Any], Any], timeout_s: float) -> Callable[[Any], Any]:
    """Return a handler that says at once that somebody works on a question, then calls a function with it."""

    def handle(message: Any) -> Any:
        question = CollectionMessage(as_message(message), str(uuid4()))
        emit(question.extend(timeout_s))
        return func(question)

    return handle


class Collection:
    """The answers to one question; `note_handling` and `note_response` are told what is said on the bus."""

    def __init__(self, question: Any, stop: Stop | None = None) -> None:
        given = as_message(question)
        self.query_id = str(uuid4())
        self.question = Message(given.msg_type, given.data, {**given.context, COLLECT_ID: self.query_id})
        self.responses: list[Any] = []
        self._stop = stop
        self._stopped = False
        self._deadlines: dict[str, float] = {}
        self._changed = threading.Condition()

    def note_handling(self, message: Any) -> None:
        """Give a handler time."""
        if message.data.get("query") == self.query_id:
            with self._changed:
                self._deadlines[message.data["handler"]] = time.monotonic() + float(message.data.get("timeout", 0))
                self._changed.notify_all()

    def note_response(self, message: Any) -> None:
        """Take an answer."""
        if message.data.get("query") != self.query_id:
            return
        with self._changed:
            self.responses.append(message)
            self._deadlines.pop(message.data.get("handler", ""), None)
            self._stopped = self._stopped or (self._stop is not None and self._stop(message))
            self._changed.notify_all()

    def wait(self, min_timeout_s: float, max_timeout_s: float) -> list[Any]:
        """Return the answers: after the shorter time when nobody works on one any more, at the latest after the
        longer.
        """
        begun = time.monotonic()
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                until = min(max([begun + min_timeout_s, *self._deadlines.values()]), begun + max_timeout_s)
                if now >= until:
                    break
                self._changed.wait(until - now)
            return list(self.responses)
