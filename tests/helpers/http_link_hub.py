"""`LinkHub` over HTTP (docs/protocol.md 6), in two manners: as released hubs speak it, and with what ours adds."""

from __future__ import annotations

import asyncio
import base64
import time
from secrets import token_hex
from typing import Any

from aiohttp import web

from hivemind_bus_client.link import Link

from .link_hub import LinkHub, Peer
from .processes import free_port

COOKIE = "hivemind_http_replica"


class HttpPeer(Peer):
    """One session."""

    def __init__(self, hub: HttpLinkHub, link: Link, useragent: str, key: str) -> None:
        super().__init__(None, link, useragent, key)  # type: ignore[arg-type]
        self.hub = hub
        self.cookie = token_hex(8)
        self.queues: dict[str, list[str]] = {"messages": [], "b64_messages": []}
        self.news = asyncio.Event()

    async def flush(self) -> None:
        for frame in self.link.frames_to_send():
            text = frame if isinstance(frame, str) else base64.b64encode(frame).decode()
            self.queues["messages" if isinstance(frame, str) else "b64_messages"].append(text)
        self.news.set()

    async def close(self, code: int, reason: str) -> None:
        self.abort()

    def abort(self) -> None:
        """End the session without a word: over HTTP there is nobody to say it to."""
        if self in self.hub.peers:
            self.hub.peers.remove(self)
        self.news.set()

    async def take(self, queue: str, wait_s: float) -> list[str]:
        end = time.monotonic() + wait_s
        while not self.queues[queue] and self in self.hub.peers and (left_s := end - time.monotonic()) > 0:
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), left_s)
            except asyncio.TimeoutError:
                break
        taken, self.queues[queue] = self.queues[queue], []
        return taken


class HttpLinkHub(LinkHub):
    """One session for each access key. `patient`: it holds a question until there is an answer to it."""

    def __init__(self, clients: dict[str, str], *, binarize: bool = False, patient: bool = True) -> None:
        super().__init__(clients, binarize=binarize)
        self.patient = patient
        self.requests: list[str] = []
        self.failing: dict[str, web.Response] = {}
        """What to answer to a request instead, by its name."""
        self.silent = False
        """Answer nothing any more."""
        self.cookies_seen: list[str | None] = []

    async def start(self) -> None:
        app = web.Application()
        for name in ("connect", "disconnect", "send_message"):
            app.router.add_post(f"/{name}", self._serve)
        for name in ("get_messages", "get_binary_messages"):
            app.router.add_get(f"/{name}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        self.port = self.port or free_port()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        await self.kill()

    def freeze(self) -> None:
        self.silent = True

    async def _serve(self, request: web.Request) -> web.Response:  # type: ignore[override]
        name = request.path[1:]
        self.requests.append(name)
        self.cookies_seen.append(request.cookies.get(COOKIE))
        if self.silent:
            await asyncio.sleep(30)
        if name in self.failing:
            return self.failing[name]
        useragent, key = base64.b64decode(request.query["authorization"]).decode().split(":", 1)
        if key not in self.clients and name in ("connect", "send_message"):
            return web.json_response({"error": "Invalid authorization"}, status=403)
        peer = next((each for each in self.peers if each.key == key), None)
        return await getattr(self, f"_{name}")(request, peer, (useragent, key))

    async def _connect(self, request: web.Request, peer: Any, who: tuple[str, str]) -> web.Response:
        if peer is None:
            self.connections += 1
            if self.refuse_with is not None:
                return web.json_response({"error": self.refuse_with[1]}, status=503)
            peer = HttpPeer(self, self._link(who[1]), *who)
            self.peers.append(peer)
            await peer.flush()
        reply = web.json_response({"status": "Connected"})
        reply.set_cookie(COOKIE, peer.cookie)
        return reply

    async def _disconnect(self, request: web.Request, peer: Any, who: tuple[str, str]) -> web.Response:
        if peer is None:
            return web.json_response({"error": "Already Disconnected"})
        peer.abort()
        return web.json_response({"status": "Disconnected"})

    async def _send_message(self, request: web.Request, peer: Any, who: tuple[str, str]) -> web.Response:
        if peer is None:
            return web.json_response({"error": "Client is not connected"}, status=409)
        form = await request.post()
        text = str(form["message"])
        frame = base64.b64decode(text) if form.get("binary") == "1" else text
        for event in peer.link.receive(frame, time.monotonic()):
            await self._handle(peer, event)
        await peer.flush()
        if peer not in self.peers:
            return web.json_response({"error": "Message sending failed"}, status=500)
        return web.json_response({"status": "message sent"})

    async def _get_messages(self, request: web.Request, peer: Any, who: Any, queue: str = "messages") -> web.Response:
        wait_s = float(request.query.get("wait", 0)) if self.patient else 0.0
        taken = await peer.take(queue, wait_s) if peer is not None else []
        if peer not in self.peers:
            return web.json_response({"error": "Client is not connected"})
        return web.json_response({"status": "messages retrieved", queue: taken})

    async def _get_binary_messages(self, request: web.Request, peer: Any, who: Any) -> web.Response:
        return await self._get_messages(request, peer, who, "b64_messages")
