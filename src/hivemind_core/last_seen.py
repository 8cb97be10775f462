"""Writes down when clients were seen, off the loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from .clocks import Clocks
from .database import ClientDatabase
from .peers import LastSeen, Peer
from .storage import StorageError
from .workers import Workers

log = logging.getLogger(__name__)

RETRY_S = 2.0
"""So long after a write that failed all that could not be written is tried again, in one write."""


class SeenWriter:
    """Of one hub; each client's row is written at most once in ``interval_s`` seconds.

    One write is under way at a time, and what comes meanwhile is written with the next: a database that is locked for
    long is not also kept busy afterwards.
    """

    def __init__(
        self,
        db: ClientDatabase,
        workers: Workers,
        clocks: Clocks,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        interval_s: float,
    ) -> None:
        self._db = db
        self._workers = workers
        self._clocks = clocks
        self._spawn = spawn
        self._due = LastSeen(interval_s)
        self._waiting: dict[int, float] = {}
        self._is_writing = False
        self._not_before = float("-inf")
        self._failed_as = ""

    def note(self, peers: Iterable[Peer], *, leaving: bool = False) -> None:
        """Write for those that are due; who leaves does not wait, and was seen when it was last heard."""
        now, wall = self._clocks.monotonic(), self._clocks.wall()
        if leaving:
            peers = list(peers)
            wall -= now - max((peer.active_at for peer in peers), default=now)
        self._waiting.update(dict.fromkeys(self._due.due(peers, now, leaving=leaving), wall))
        if self._waiting and not self._is_writing and now >= self._not_before:
            self._is_writing = True
            self._spawn(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, {}
                if not await self._store(taken):
                    self._waiting = {**taken, **self._waiting}
                    self._not_before = self._clocks.monotonic() + RETRY_S
                    return
        finally:
            self._is_writing = False

    async def _store(self, seen: dict[int, float]) -> bool:
        """Write what is known of each; False when the database failed."""
        try:
            await self._workers.database(self._db.touch, seen)
        except StorageError as error:
            if str(error) != self._failed_as:
                log.error("could not store when clients were seen: %s It is tried again.", error)
            self._failed_as = str(error)
            return False
        if self._failed_as:
            log.info("when clients were seen is stored again")
        self._failed_as = ""
        return True
