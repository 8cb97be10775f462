"""Hubs of one cluster that serve HTTP on real sockets, and a load balancer that knows nothing of sessions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp import web

from hivemind_core.cluster.steering import Steering
from hivemind_core.config import HTTPConfig
from hivemind_core.proxies import TrustedProxies
from hivemind_core.testing import MemoryHive
from hivemind_core.transports.http import HTTPTransport

from .memory_cluster import MemoryCluster

HOST = "127.0.0.1"
BELIEVED = TrustedProxies((ip_network("127.0.0.0/8"),))
_NOT_PASSED_ON = ("host", "connection", "content-length", "transfer-encoding", "date", "server")


class Balancer:
    """Passes each request on to the next of its backends; an async context manager."""

    def __init__(self, backends: list[str]) -> None:
        """`backends` are addresses; the list may be changed meanwhile."""
        self.backends = backends
        self.turn = itertools.count()
        self.choose: Callable[[web.BaseRequest], str] = lambda request: self.next()
        self.passed: list[tuple[str, str]] = []
        """Backend and path of each request."""

    def next(self) -> str:
        return self.backends[next(self.turn) % len(self.backends)]

    async def __aenter__(self) -> Balancer:
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)
        self._server = web.Server(self._pass_on, access_log=None, handler_cancellation=True)
        self._listener = await asyncio.get_running_loop().create_server(self._server, HOST, 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        self.address = f"http://{HOST}:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        await self._server.shutdown(1)
        await self._http.close()

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        backend, body = self.choose(request), await request.read()
        self.passed.append((backend, request.path))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
        headers.setdefault("X-Forwarded-For", request.remote or "")
        try:
            async with self._http.request(
                request.method, f"{backend}{request.path_qs}", headers=headers, data=body, skip_auto_headers=["Accept"]
            ) as answer:
                kept = [(n, v) for n, v in answer.headers.items() if n.lower() not in _NOT_PASSED_ON]
                response = web.Response(status=answer.status, body=await answer.read())
                response.headers.clear()
                response.headers.extend(kept)
                return response
        except aiohttp.ClientError:
            return web.Response(status=502)


class HTTPCluster(MemoryCluster):
    """A `MemoryCluster` whose hubs serve HTTP, and believe proxies on this machine."""

    def __init__(self, folder: Path, size: int = 2, **options: Any) -> None:
        super().__init__(folder, size, **options)
        self.transports: list[HTTPTransport] = []
        self.balancer = Balancer([])

    async def __aenter__(self) -> HTTPCluster:
        await super().__aenter__()
        await self._stack.enter_async_context(self.balancer)
        return self

    async def add(self, hub: str, **options: Any) -> MemoryHive:
        """Start one more hub; the balancer knows it."""
        hive = await super().add(hub, **options)
        for cluster in self.clusters:
            cluster.tick()
        transport = HTTPTransport(hive.hub, HTTPConfig(HOST, 0, proxies=BELIEVED), Steering(self.clusters[-1], 0.05))
        await transport.start()
        self._stack.push_async_callback(transport.stop)
        self.transports.append(transport)
        self.balancer.backends.append(transport.address)
        return hive

    async def kill(self, number: int) -> None:
        """End a hub without a word; the others miss it at once, and so does the balancer."""
        self.redis.kill(self.clusters[number].hub)
        transport = self.transports[number]
        self.balancer.backends.remove(transport.address)
        for session in list(transport._sessions):
            session.peer = None
        await transport.stop()
        for other in self.clusters:
            if other.hub in self.redis.wires:
                other._forget(self.clusters[number].hub, "it was killed")

    @property
    def held(self) -> list[int]:
        """How many sessions each hub holds."""
        return [len(list(transport._sessions)) for transport in self.transports]
