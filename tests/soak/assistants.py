"""The assistants: a message bus for each hub, on which an assistant answers, and says things nobody asked for."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import WSMsgType, web

from .ledger import ASSISTANT, Ledger, Sent
from .satellites import SPOKEN, Satellite

GREETING = {"type": "connected", "data": {}, "context": {"session": {"session_id": "default"}}}
CONNECT, DISCONNECT = "hive.client.connect", "hive.client.disconnect"
ALSO_TO_ANOTHER = 0.2
"""How often an answer is said to somebody else, too."""


class Assistant:
    """The bus of one hub."""

    def __init__(self, hub: int, ledger: Ledger, numbers: Callable[[], int], chance: random.Random) -> None:
        self.hub = hub
        self.port = 0
        self.crowd: Sequence[Satellite] = ()
        self._ledger = ledger
        self._numbers = numbers
        self._random = chance
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._runner: web.AppRunner | None = None
        self._socket: web.WebSocketResponse | None = None

    async def start(self, host: str) -> None:
        """Listen at a port of its own."""
        app = web.Application()
        app.router.add_get("/core", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def is_joined(self) -> bool:
        """Its hub is on the bus."""
        return self._socket is not None

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await socket.send_json(GREETING)
        self._socket, self._waiting = socket, asyncio.Queue()
        self._ledger.bus_up(self.hub, time.time())
        writing = asyncio.get_running_loop().create_task(self._write(socket, self._waiting))
        try:
            async for frame in socket:
                if frame.type == WSMsgType.TEXT:
                    self._heard(json.loads(frame.data))
        finally:
            writing.cancel()
            if self._socket is socket:
                self._socket = None
                self._ledger.bus_down(self.hub, time.time())
        return socket

    @staticmethod
    async def _write(socket: web.WebSocketResponse, waiting: asyncio.Queue[str]) -> None:
        while True:
            await socket.send_str(await waiting.get())

    def _heard(self, message: dict[str, Any]) -> None:
        data, context = message.get("data") or {}, message.get("context") or {}
        if message["type"] == "recognizer_loop:utterance":
            number = int(data["utterances"][0])
            self._ledger.came(number, ASSISTANT, time.time())
            asked = self._ledger.sent.get(number)
            if asked is not None and asked.sender is not None:
                self.speak(self.crowd[asked.sender], context["source"])
            if self._random.random() < ALSO_TO_ANOTHER:
                self.speak(self._random.choice(self.crowd))
        elif message["type"] == "hive.client.send.error" and "n" in context:
            self._ledger.told(context["n"])
        elif message["type"] in (CONNECT, DISCONNECT):
            self._noticed(data["peer"], message["type"] == CONNECT)

    def _noticed(self, peer_id: str, has_come: bool) -> None:
        """Note how the hub calls a satellite."""
        client_id = int(peer_id.split("::")[1])
        ids = self.crowd[client_id - 1].told_ids.setdefault(self.hub, [])
        if has_come:
            ids.append(peer_id)
        elif peer_id in ids:
            ids.remove(peer_id)

    def forget(self) -> None:
        """The hub begins anew, and knows nobody."""
        for satellite in self.crowd:
            satellite.told_ids.pop(self.hub, None)

    # what it says

    def speak(self, to: Satellite, address: str = "") -> None:
        """Say something to a satellite, if it is known how to address it."""
        if not (address or to.peer_id):
            return
        number = self._note(SPOKEN, to)
        context = {"source": "skills", "destination": address or to.peer_id, "n": number}
        self._put(SPOKEN, {"utterance": str(number), "n": number}, context)

    def send_down(self, to: Satellite) -> None:
        """Have a message sent to a satellite."""
        if not to.peer_id:
            return
        number = self._note("downstream", to)
        payload = {"type": SPOKEN, "data": {"utterance": str(number), "n": number}, "context": {}}
        self._put("hive.send.downstream", {"msg_type": "bus", "payload": payload, "peer": to.peer_id}, {"n": number})

    def _note(self, kind: str, to: Satellite) -> int:
        number = self._numbers()
        self._ledger.note(Sent(number, kind, time.time(), f"assistant {self.hub}", self.hub, (to.number,)))
        return number

    def _put(self, msg_type: str, data: dict[str, Any], context: dict[str, Any]) -> None:
        self._waiting.put_nowait(json.dumps({"type": msg_type, "data": data, "context": context}))
