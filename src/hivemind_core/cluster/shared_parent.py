"""The hub above a cluster: one member is joined to it for all, so that it sees one satellite."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from hivemind_bus_client.message import HiveMessage

from ..surroundings import Parent
from .cluster import Cluster

log = logging.getLogger(__name__)


class SharedParent:
    """The hub above; see `surroundings.Parent`. `make` makes the connection that the leader keeps."""

    def __init__(self, cluster: Cluster, make: Callable[[], Parent]) -> None:
        self._cluster = cluster
        self._make = make
        self._own: Parent | None = None
        self._receive: Callable[[HiveMessage], None] = lambda message: None
        self._lost: Callable[[], None] = lambda: None
        self._by_way_of = ""
        """The other hub that was joined to it last, as far as this one knew."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        cluster.led = self._changed.set
        cluster.has_parent = lambda: self._own is not None and self._own.available

    @property
    def node_id(self) -> str:
        """The public key (PEM) that it announced to this hub."""
        return self._own.node_id if self._own is not None else ""

    @property
    def available(self) -> bool:
        """A message can go up right now."""
        return self._own.available if self._own is not None else self._cluster.leader.has_parent

    def send(self, message: HiveMessage) -> bool:
        """Send a message up, by way of the leader where that is another."""
        return self._own.send(message) if self._own is not None else self._cluster.lift(message)

    async def start(self, receive: Callable[[HiveMessage], None], lost: Callable[[], None]) -> None:
        """Begin to be joined whenever this hub leads."""
        self._receive, self._lost = receive, lost
        self._changed.set()
        self._task = asyncio.get_running_loop().create_task(self._follow_always())

    async def stop(self) -> None:
        """Leave it."""
        if self._task is not None:
            self._task.cancel()
        await self._leave()

    async def _follow_always(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._follow()
            except Exception:  # top of a task
                log.exception("could not take over the connection to the hub above")

    async def _follow(self) -> None:
        leader = self._cluster.leader
        by_way_of = leader.hub if leader.has_parent and leader.hub != self._cluster.hub else ""
        if self._by_way_of not in ("", by_way_of):
            self._lost()
        self._by_way_of = by_way_of
        if self._cluster.leads:
            await self._join()
        else:
            await self._leave()

    async def _join(self) -> None:
        if self._own is None:
            self._own = self._make()
            await self._own.start(self._receive, self._lost)

    async def _leave(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            await own.stop()
            self._lost()
