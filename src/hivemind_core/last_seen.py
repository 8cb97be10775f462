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


class SeenWriter:
    """Of one hub; each client's row is written at most once in ``interval_s`` seconds."""

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

    def note(self, peers: Iterable[Peer], *, leaving: bool = False) -> None:
        """Write for those that are due; who leaves does not wait."""
        seen = self._due.due(peers, self._clocks.monotonic(), leaving=leaving)
        if seen:
            self._spawn(self._store(seen, self._clocks.wall()))

    async def _store(self, client_ids: list[int], wall: float) -> None:
        try:
            await self._workers.database(self._db.touch, client_ids, wall)
        except StorageError as error:
            log.error("could not store when clients were seen: %s", error)
