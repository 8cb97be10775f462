"""Waiting for answers with timers: the choice among the answers to a CASCADE, and QUERYs that get none
(docs/protocol.md 13.2, 13.3). Callbacks are called outside all locks, in the thread of the timer or of the caller.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from .answers import responders
from .message import HiveMessage

LOG = logging.getLogger(__name__)

Select = Callable[[list[HiveMessage]], HiveMessage | None]


class CascadeAggregator:
    """Collects the answers to one CASCADE and passes on the one chosen.

    It waits ``timeout`` seconds after the first answer, less when ``expected_responses`` nodes have answered before.
    ``select_callback`` gets all answers and returns one, or None to drop them all (default: a random one). What comes
    later is dropped.
    """

    def __init__(
        self,
        timeout: float,
        select_callback: Select | None,
        emit_callback: Callable[[HiveMessage], None],
        expected_responses: int | None = None,
    ) -> None:
        self.timeout = timeout
        self.select_callback: Select = select_callback or random.choice
        self.emit_callback = emit_callback
        self.expected_responses = expected_responses
        self.responses: list[HiveMessage] = []
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._resolved = False

    def add_response(self, message: HiveMessage) -> None:
        """Take an answer; the one that makes them complete is followed by the choice, in this thread."""
        with self._lock:
            if self._resolved:
                return
            self.responses.append(message)
            complete = bool(self.expected_responses) and responders(self.responses) >= (self.expected_responses or 0)
            if not complete and self._timer is None:
                self._timer = _timer(self.timeout, self._resolve)
        if complete:
            self._resolve()

    def cancel(self) -> None:
        """Drop all answers, those to come too."""
        self._finish()

    def _finish(self) -> list[HiveMessage]:
        """End the wait and return what was collected; nothing if it has ended before."""
        with self._lock:
            self._resolved = True
            found, self.responses = self.responses, []
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        return found

    def _resolve(self) -> None:
        found = self._finish()
        if not found:
            return
        try:
            chosen = self.select_callback(found)
            if chosen is not None:
                self.emit_callback(chosen)
        except Exception:
            LOG.exception("no answer to a CASCADE could be passed on")


class QueryLivenessTimer:
    """Tells when a QUERY has got no answer for ``timeout`` seconds: calls ``on_timeout`` with its id, once.

    A query whose id the hub has yet to give has the id "" until the first answer names it.
    """

    def __init__(self, timeout: float, on_timeout: Callable[[str], None]) -> None:
        self.timeout = timeout
        self.on_timeout = on_timeout
        self._timers: dict[str, threading.Timer] = {}
        self._lock = threading.Lock()

    @property
    def query_id(self) -> str:
        """The query that was heard of last, of those that wait."""
        with self._lock:
            return next(reversed(self._timers), "")

    @property
    def _timer(self) -> threading.Timer | None:
        with self._lock:
            return next(reversed(self._timers.values()), None)

    def waits_for(self, query_id: str) -> bool:
        """Tell whether this query, or one whose id is not known yet, waits for an answer."""
        with self._lock:
            return query_id in self._timers or "" in self._timers

    def arm(self, query_id: str = "") -> None:
        """Begin to wait, or begin anew, for an answer to this query."""
        with self._lock:
            self._drop(query_id)
            self._timers[query_id] = _timer(self.timeout, lambda: self._expire(query_id))

    def cancel(self, query_id: str | None = None) -> None:
        """Wait for this query, or for any, no more."""
        with self._lock:
            for known in list(self._timers) if query_id is None else [query_id]:
                self._drop(known)

    def _drop(self, query_id: str) -> None:
        """Forget a query, and one without an id if there is none of this id: it is taken to be the same."""
        timer = self._timers.pop(query_id, None) or self._timers.pop("", None)
        if timer is not None:
            timer.cancel()

    def _expire(self, query_id: str) -> None:
        with self._lock:
            timer = self._timers.get(query_id)
            if timer is not threading.current_thread():
                return  # armed anew meanwhile
            del self._timers[query_id]
        self.on_timeout(query_id)

    def expire_now(self) -> bool:
        """Tell of all queries that wait, as when the connection is lost; False if none does."""
        with self._lock:
            waiting, self._timers = self._timers, {}
        for query_id, timer in waiting.items():
            timer.cancel()
            self.on_timeout(query_id)
        return bool(waiting)


def _timer(timeout_s: float, call: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(timeout_s, call)
    timer.daemon = True
    timer.start()
    return timer
