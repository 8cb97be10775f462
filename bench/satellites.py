"""Satellites as thin as they can be: a WebSocket and a Link. The same ones load every hub."""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect

from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Opened, Received, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.noise import derive_psk, generate_static_key

USERAGENT = "Bench"
HOST = "127.0.0.1"
CONNECT_AT_ONCE = 10
ANSWER_TIMEOUT_S = 30


class SatelliteFailed(Exception):
    """The hub refused a satellite of the measurement or did not answer it."""


@dataclass
class Device:
    """What a satellite keeps from one connection to the next."""

    access_key: str
    static_key: bytes = field(default_factory=generate_static_key, repr=False)
    hub_key: bytes | None = None


@dataclass
class Keyring:
    """One password for all devices, derived once for each hub, and the RSA public key they all announce."""

    password: str = field(repr=False)
    public_pem: str
    _derived: dict[str, bytes] = field(default_factory=dict, repr=False)

    def keep(self, node_id: str, psk: bytes) -> None:
        """Take a key that has been derived elsewhere."""
        self._derived[node_id] = psk

    def psk(self, node_id: str) -> bytes:
        if node_id not in self._derived:
            self._derived[node_id] = derive_psk(self.password, node_id)
        return self._derived[node_id]


@dataclass(frozen=True)
class RoundTrip:
    """How long one utterance took, in seconds."""

    speak_s: float
    """Until the answer was there."""
    handled_s: float
    """Until its end was announced: the whole round trip."""


class Satellite:
    """One connection of one device."""

    def __init__(self, device: Device, keyring: Keyring) -> None:
        self._device = device
        self._keyring = keyring
        self._session = {"session_id": str(uuid.uuid4()), "site_id": "bench", "lang": "en-us"}
        self._socket: ClientConnection | None = None
        hello = {"pubkey": keyring.public_pem, "session": self._session, "site_id": "bench"}
        terms = ClientTerms(static_key=device.static_key, hello=hello, pinned_key=device.hub_key)
        self._link = Link.client(terms, time.monotonic())

    @property
    def session_id(self) -> str:
        """The id of its session."""
        return self._session["session_id"]

    async def open(self, port: int, host: str = HOST) -> None:
        """Connect, shake hands and wait for the pong that proves admission."""
        token = quote(base64.b64encode(f"{USERAGENT}:{self._device.access_key}".encode()).decode(), safe="")
        uri = f"ws://{host}:{port}/?authorization={token}"
        self._socket = await connect(uri, compression=None, ping_interval=None)
        while not self._link.is_open:
            await self._receive()
        await (await self._socket.ping())

    async def close(self) -> None:
        if self._socket:
            await self._socket.close()

    async def say(self, text: str) -> RoundTrip:
        """Say something and wait for the whole answer."""
        begun = spoken = time.perf_counter()
        self._link.send(self._utterance(text))
        await self._flush()
        while True:
            for message in await self._receive():
                kind = message.body["type"]
                if kind == "speak":
                    spoken = time.perf_counter()
                elif kind == "ovos.utterance.handled":
                    return RoundTrip(spoken - begun, time.perf_counter() - begun)
                else:
                    raise SatelliteFailed(f"the hub answered {message.body}")

    async def send(self, message: HiveMessage) -> None:
        """Send any message."""
        self._link.send(message)
        await self._flush()

    async def hear(self, count: int) -> None:
        """Wait for so many messages, whatever they are."""
        while count > 0:
            count -= len(await self._receive())

    def _utterance(self, text: str) -> HiveMessage:
        context = {
            "source": USERAGENT,
            "platform": USERAGENT,
            "destination": "HiveMind",
            "session": self._session,
        }
        data = {"utterances": [text], "lang": "en-us"}
        payload = {"type": "recognizer_loop:utterance", "data": data, "context": context}
        return HiveMessage(HiveMessageType.BUS, payload)

    async def _receive(self) -> list[HiveMessage]:
        assert self._socket is not None
        frame = await asyncio.wait_for(self._socket.recv(), ANSWER_TIMEOUT_S)
        messages = list(self._handle(self._link.receive(frame, time.monotonic())))
        await self._flush()
        return messages

    def _handle(self, events: Sequence[Any]) -> Iterator[HiveMessage]:
        for event in events:
            if isinstance(event, KeyNeeded):
                psk = self._keyring.psk(event.node_id)
                yield from self._handle(self._link.key_derived(psk, time.monotonic()))
            elif isinstance(event, Opened):
                self._device.hub_key = event.remote_key
            elif isinstance(event, Received):
                yield event.message
            elif isinstance(event, Refused):
                raise SatelliteFailed(f"{event.code}: {event.reason}")

    async def _flush(self) -> None:
        assert self._socket is not None
        for frame in self._link.frames_to_send():
            await self._socket.send(frame)


async def open_all(
    devices: Sequence[Device], keyring: Keyring, port: int, hosts: Sequence[str] = (HOST,)
) -> list[Satellite]:
    """Connect all of them, a few at a time, to the hosts in turn."""
    satellites = [Satellite(device, keyring) for device in devices]
    gate = asyncio.Semaphore(CONNECT_AT_ONCE)

    async def open_one(satellite: Satellite, host: str) -> None:
        async with gate:
            await satellite.open(port, host)

    await asyncio.gather(*map(open_one, satellites, itertools.cycle(hosts)))
    return satellites


async def close_all(satellites: Sequence[Satellite]) -> None:
    await asyncio.gather(*(satellite.close() for satellite in satellites))


async def converse(satellites: Sequence[Satellite], round_trips: int) -> list[RoundTrip]:
    """All of them talk at once, each its share of `round_trips`, one utterance after the other."""

    async def talk(satellite: Satellite) -> list[RoundTrip]:
        return [await satellite.say("what time is it") for _ in range(round_trips // len(satellites))]

    shares = await asyncio.gather(*(talk(satellite) for satellite in satellites))
    return [trip for share in shares for trip in share]
