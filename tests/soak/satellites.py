"""Many light satellites in one loop: a WebSocket and a Link each, which goes to any other hub when it loses its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from hivemind_bus_client.denials import DENIED
from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Opened, Received, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key

from .ledger import TO_ALL, UTTERANCE, Ledger, Sent

USERAGENT = "Soak"
PING_EVERY_S, PONG_S, OPEN_S = 2.0, 3.0, 3.0
FIRST_WAIT_S, WAIT_S = 3.0, 0.6
"""At most so long a satellite waits before it connects: the first time, and after a loss."""
TOLD, SPOKEN = "soak.told", "speak"
ANSWERS_EVERY = 25
"""Every so manyth satellite answers a CASCADE."""


@dataclass(frozen=True)
class Hive:
    """What all satellites know."""

    uris: Sequence[str]
    """Of the hubs, up to the path."""
    psk: bytes = field(repr=False)
    ledger: Ledger
    numbers: Callable[[], int]
    """Gives the number of the next message."""
    random: random.Random


class Refusal(Exception):
    """A hub refused a satellite."""


class Satellite:
    """One device. `number` counts from 0; its row in the client database is one higher."""

    def __init__(self, hive: Hive, number: int) -> None:
        self.number = number
        self.hub: int | None = None
        """Where it is connected."""
        self.told_ids: dict[int, list[str]] = {}
        """Hub -> how it calls connections of this satellite that it believes in, the latest last."""
        self.refusals: list[str] = []
        self.sent_at: dict[str, float] = {}
        """When it last sent a message of a kind that travels."""
        self._hive = hive
        self._session = {"session_id": str(uuid.UUID(int=hive.random.getrandbits(128))), "lang": "en-us"}
        self._static_key = generate_static_key()
        self._hub_key: bytes | None = None
        self._socket: ClientConnection | None = None
        self._link: Link | None = None
        self._writing = asyncio.Lock()

    @property
    def name(self) -> str:
        """Its access key, and its name."""
        return access_key(self.number)

    @property
    def peer_id(self) -> str:
        """How its hub calls it; empty where that is not known. It is the same at each hub, but where the hub has not
        noticed yet that an older connection of it is dead."""
        told = self.told_ids.get(-1 if self.hub is None else self.hub)
        return told[-1] if told else ""

    async def live(self) -> None:
        """Be connected, for ever."""
        last: int | None = None
        await asyncio.sleep(self._hive.random.uniform(0, FIRST_WAIT_S))
        while True:
            others = [hub for hub in range(len(self._hive.uris)) if hub != last]
            last = self.number % len(self._hive.uris) if last is None else self._hive.random.choice(others)
            with contextlib.suppress(OSError, WebSocketException, asyncio.TimeoutError, Refusal):
                await self._be_at(last)
            await asyncio.sleep(self._hive.random.uniform(0.05, WAIT_S))

    async def _be_at(self, hub: int) -> None:
        token = quote(b64encode(f"{USERAGENT}:{self.name}".encode()).decode(), safe="")
        options: dict[str, Any] = {"ping_interval": PING_EVERY_S, "ping_timeout": PONG_S, "open_timeout": OPEN_S}
        uri = f"{self._hive.uris[hub]}/?authorization={token}"
        async with connect(uri, compression=None, proxy=None, close_timeout=0.1, **options) as socket:
            try:
                await self._follow(socket, hub)
            finally:
                if self.hub is not None:
                    self.hub = None
                    self._hive.ledger.down(self.number, time.time())

    async def _follow(self, socket: ClientConnection, hub: int) -> None:
        terms = ClientTerms(self._static_key, {"session": self._session}, pinned_key=self._hub_key)
        self._socket, self._link = socket, Link.client(terms, time.monotonic())
        await asyncio.wait_for(self._shake_hands(socket), OPEN_S)
        self.hub = hub
        self._hive.ledger.up(self.number, hub, time.time())
        async for frame in socket:
            self._take(frame)
            await self._flush()

    async def _shake_hands(self, socket: ClientConnection) -> None:
        while self._link is not None and not self._link.is_open:
            self._take(await socket.recv())
            await self._flush()
        await (await socket.ping())

    async def _flush(self) -> None:
        assert self._socket is not None
        assert self._link is not None
        async with self._writing:
            for frame in self._link.frames_to_send():
                await self._socket.send(frame)

    async def move(self) -> None:
        """End the connection; it goes to another hub."""
        if self._socket is not None:
            await self._socket.close()

    # what comes

    def _take(self, frame: bytes | str) -> None:
        assert self._link is not None
        events = list(self._link.receive(frame, time.monotonic()))
        while events:
            event = events.pop(0)
            if isinstance(event, KeyNeeded):
                events += self._link.key_derived(self._hive.psk, time.monotonic())
            elif isinstance(event, Opened):
                self._hub_key = event.remote_key
            elif isinstance(event, Received):
                self._received(event.message)
            elif isinstance(event, Refused):
                self.refusals.append(f"{event.code}: {event.reason}")
                raise Refusal(event.code)

    def _received(self, message: HiveMessage) -> None:
        if message.msg_type == HiveMessageType.BUS:
            self._heard(message.body)
        elif message.msg_type in TO_ALL:
            body = message.payload.body
            if body.get("type") == TOLD:
                self._came(body["data"]["n"])
                if message.msg_type == HiveMessageType.CASCADE and not message.metadata.get("is_response"):
                    self._answer(message)

    def _heard(self, body: dict[str, Any]) -> None:
        data = body.get("data") or {}
        if body["type"] == SPOKEN and "n" in data:
            self._came(data["n"])
        elif body["type"] == DENIED:
            kind = {"recognizer_loop:utterance": UTTERANCE}.get(data["denied_type"], data["denied_type"])
            self._hive.ledger.denied(self.number, kind)

    def _came(self, number: int) -> None:
        self._hive.ledger.came(number, self.number, time.time())

    def _answer(self, question: HiveMessage) -> None:
        if self.number % ANSWERS_EVERY or self._link is None:
            return
        asked = self._hive.ledger.sent.get(question.payload.body["data"]["n"])
        if asked is None or asked.sender is None or self.hub is None:
            return
        number = self._note("answer", (asked.sender,))
        self._hive.ledger.sent[number].question = asked.number
        metadata = {**question.metadata, "is_response": True, "responder_peer": self.name}
        self._link.send(HiveMessage(HiveMessageType.CASCADE, _told(number), metadata=metadata))

    # what it sends

    def _note(self, kind: str, receivers: tuple[int, ...] = ()) -> int:
        assert self.hub is not None
        number, now = self._hive.numbers(), time.time()
        source = f"satellite {self.number}"
        self._hive.ledger.note(Sent(number, kind, now, source, self.hub, receivers, self.number))
        self.sent_at[kind] = now
        return number

    async def say(self) -> None:
        """Say something to the assistant."""
        if self.hub is not None and self._link is not None:
            number = self._note(UTTERANCE)
            context = {"source": USERAGENT, "destination": "HiveMind", "session": self._session}
            body = {"type": "recognizer_loop:utterance", "data": {"utterances": [str(number)]}, "context": context}
            await self._send(HiveMessage(HiveMessageType.BUS, body))

    async def tell(self, kind: str) -> None:
        """Send a message that travels to all."""
        if self.hub is not None and self._link is not None:
            number = self._note(kind)
            metadata = {"query_id": f"soak-{number}"} if kind == "cascade" else {}
            await self._send(HiveMessage(HiveMessageType(kind), _told(number), metadata=metadata))

    async def _send(self, message: HiveMessage) -> None:
        assert self._link is not None
        self._link.send(message)
        with contextlib.suppress(OSError, WebSocketException):
            await self._flush()


def access_key(number: int) -> str:
    """The access key of a satellite."""
    return f"soak-{number:04}"


def _told(number: int) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message(TOLD, {"n": number}))
