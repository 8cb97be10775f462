"""What the HTTP transport needs of the other hubs, so that each request reaches the one that holds its session."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from .calls import Handler
from .cluster import Cluster
from .members import BEAT_S

Body = Mapping[str, Any]

LISTEN_S = 1.5 * BEAT_S
"""Long enough to hear a beat of everybody who is there."""
TELL_WITHIN_S, TRIES = 5.0, 3
_KIND = "http."


class Steering:
    """See `transports.http_elsewhere.Elsewhere`."""

    def __init__(self, cluster: Cluster, listen_s: float = LISTEN_S) -> None:
        """`listen_s` is how long (seconds) the transport waits for the others to be known before it listens."""
        self._cluster = cluster
        self._listen_s = listen_s
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def hub(self) -> str:
        return self._cluster.hub

    @property
    def available(self) -> bool:
        return self._cluster.available

    async def start(self, handlers: Mapping[str, Handler]) -> None:
        for what, handler in handlers.items():
            self._cluster.serve(_KIND + what, handler)
        await asyncio.sleep(self._listen_s)

    def others(self) -> list[str]:
        return [member.hub for member in self._cluster.others()]

    def time_ms(self) -> int:
        return self._cluster.time_ms()

    async def ask(self, hub: str, what: str, body: Body, timeout_s: float) -> dict[str, Any] | None:
        return await self._cluster.call(hub, _KIND + what, body, timeout_s)

    async def ask_all(self, hubs: list[str], what: str, body: Body, timeout_s: float) -> dict[str, Body]:
        answers = await asyncio.gather(*(self.ask(hub, what, body, timeout_s) for hub in hubs))
        return {hub: answer for hub, answer in zip(hubs, answers, strict=True) if answer is not None}

    def tell(self, hub: str, what: str, body: Body) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(hub, what, body))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, hub: str, what: str, body: Body) -> None:
        for _ in range(TRIES):
            if hub not in self.others():
                return
            began = asyncio.get_running_loop().time()
            if await self.ask(hub, what, body, TELL_WITHIN_S) is not None:
                return
            await asyncio.sleep(max(0.0, began + TELL_WITHIN_S / TRIES - asyncio.get_running_loop().time()))
