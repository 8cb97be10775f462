"""Satellites as thin as they can be: a WebSocket and a Link. The same ones load every hub."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Opened, Received, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.noise import derive_psk

from .bare_link import BareLink
from .thin_socket import SocketFailed, ThinSocket

USERAGENT = "Bench"
HOST = "127.0.0.1"
CONNECT_AT_ONCE = 10
ANSWER_TIMEOUT_S = 60.0
PEM = "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----"
QUESTION = "what time is it"


class SatelliteFailed(Exception):
    """The hub refused a satellite of the measurement or did not answer it."""


def access_key(number: int) -> str:
    """The access key of a device."""
    return f"bench-key-{number:05}"


@dataclass
class Device:
    """What a satellite keeps from one connection to the next. Its own key follows from its access key, so that every
    process that plays it is the same device."""

    access_key: str
    hub_key: bytes | None = None

    @property
    def static_key(self) -> bytes:
        """Its private Noise key."""
        return hashlib.sha256(f"device {self.access_key}".encode()).digest()


@dataclass
class Keyring:
    """What devices prove: one password for all, derived once for each hub, or a key of its own for each access key. And
    the RSA public key that they all announce."""

    password: str = field(repr=False)
    public_pem: str
    own: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Access key -> pre-shared key."""
    _derived: dict[str, bytes] = field(default_factory=dict, repr=False)

    def keep(self, node_id: str, psk: bytes) -> None:
        """Take a key that has been derived elsewhere."""
        self._derived[node_id] = psk

    def settings(self, own: Mapping[str, bytes]) -> dict[str, Any]:
        """Everything, for another process."""
        known = {node_id: psk.hex() for node_id, psk in self._derived.items()}
        keys = {key: psk.hex() for key, psk in own.items()}
        return {"password": self.password, "pem": self.public_pem, "keys": keys, "known": known}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Keyring:
        """What `settings` gave away."""
        own = {key: bytes.fromhex(psk) for key, psk in settings["keys"].items()}
        known = {node_id: bytes.fromhex(psk) for node_id, psk in settings["known"].items()}
        return cls(settings["password"], settings["pem"], own, known)

    @property
    def node_ids(self) -> list[str]:
        """The hubs that a key was derived for."""
        return list(self._derived)

    def psk(self, node_id: str, of: str = "") -> bytes:
        """The pre-shared key of an access key at a hub."""
        if of in self.own:
            return self.own[of]
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


def utterance(text: str, session: Mapping[str, Any]) -> HiveMessage:
    """What a satellite says, in a session."""
    context = {"source": USERAGENT, "platform": USERAGENT, "destination": "HiveMind", "session": session}
    data = {"utterances": [text], "lang": "en-us"}
    payload = {"type": "recognizer_loop:utterance", "data": data, "context": context}
    return HiveMessage(HiveMessageType.BUS, payload)


class Satellite:
    """One connection of one device; with `bare` to a floor of that kind, which is no hub."""

    def __init__(self, device: Device, keyring: Keyring, *, bare: str = "") -> None:
        self.device = device
        self._keyring = keyring
        self._session = {"session_id": str(uuid.uuid4()), "site_id": "bench", "lang": "en-us"}
        hello = {"pubkey": keyring.public_pem, "session": self._session, "site_id": "bench"}
        terms = ClientTerms(static_key=device.static_key, hello=hello, pinned_key=device.hub_key)
        self._link: Link | BareLink = BareLink(bare) if bare else Link.client(terms, time.monotonic())
        self.socket = ThinSocket(self._on_frame, self._on_end)
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why the connection ended, once it has."""
        self._messages: deque[HiveMessage] = deque()
        self._waiter: asyncio.Future[None] | None = None

    @property
    def session_id(self) -> str:
        """The id of its session."""
        return self._session["session_id"]

    async def open(self, port: int, host: str = HOST, *, confirm: bool = True) -> None:
        """Connect, shake hands and wait for the pong that proves admission. Raises SatelliteFailed.

        Without `confirm` it is for the caller to ask for that pong (`confirm`).
        """
        token = quote(base64.b64encode(f"{USERAGENT}:{self.device.access_key}".encode()).decode(), safe="")
        try:
            await self.socket.open(host, port, f"/?authorization={token}")
            while not self._link.is_open:
                await self._wait()
        except (OSError, SocketFailed) as error:
            raise SatelliteFailed(str(error)) from error
        if confirm:
            await self.confirm()

    async def confirm(self) -> None:
        """Wait for the pong that proves admission. Raises SatelliteFailed."""
        try:
            await self.socket.ping()
        except (OSError, SocketFailed) as error:
            raise SatelliteFailed(str(error)) from error

    async def close(self) -> None:
        """Leave, and wait until that is through."""
        self.socket.close()
        await asyncio.wait([self.lost], timeout=10)

    async def say(self, text: str) -> RoundTrip:
        """Say something and wait for the whole answer."""
        begun = spoken = time.perf_counter()
        self._link.send(utterance(text, self._session))
        self._flush()
        while True:
            kind = (await self.next()).body["type"]
            if kind == "speak":
                spoken = time.perf_counter()
            elif kind == "ovos.utterance.handled":
                return RoundTrip(spoken - begun, time.perf_counter() - begun)
            else:
                raise SatelliteFailed(f"the hub answered {kind}")

    async def send(self, message: HiveMessage) -> None:
        """Send any message."""
        self.send_now(message)

    def send_now(self, message: HiveMessage) -> None:
        """Send any message."""
        self._link.send(message)
        self._flush()

    async def next(self) -> HiveMessage:
        """The next message."""
        while not self._messages:
            await self._wait()
        return self._messages.popleft()

    async def hear(self, count: int) -> None:
        """Wait for so many messages, whatever they are."""
        for _ in range(count):
            await self.next()

    async def _wait(self) -> None:
        """Until something came."""
        if self.lost.done():
            raise SatelliteFailed(self.lost.result())
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _on_frame(self, frame: bytes | str) -> None:
        self._handle(self._link.receive(frame, time.monotonic()))
        self._flush()
        self._wake()

    def _handle(self, events: Sequence[Any]) -> None:
        for event in events:
            if isinstance(event, Received):
                self._messages.append(event.message)
            elif isinstance(event, KeyNeeded):
                psk = self._keyring.psk(event.node_id, self.device.access_key)
                self._handle(self._link.key_derived(psk, time.monotonic()))
            elif isinstance(event, Opened):
                self.device.hub_key = event.remote_key
            elif isinstance(event, Refused):
                self._on_end(event.close_code, f"{event.code}: {event.reason}")

    def _on_end(self, code: int, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(f"the connection ended with {code} {reason}")
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(SatelliteFailed(f"the connection ended with {code} {reason}"))
            self._waiter.exception()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _flush(self) -> None:
        for frame in self._link.frames_to_send():
            self.socket.send(frame)


async def open_all(
    devices: Sequence[Device], keyring: Keyring, port: int, hosts: Sequence[str] = (HOST,)
) -> list[Satellite]:
    """Connect all of them, a few at a time, to the hosts in turn."""
    satellites = [Satellite(device, keyring) for device in devices]
    gate = asyncio.Semaphore(CONNECT_AT_ONCE)

    async def open_one(satellite: Satellite, host: str) -> None:
        async with gate:
            await asyncio.wait_for(satellite.open(port, host), ANSWER_TIMEOUT_S)

    await asyncio.gather(*map(open_one, satellites, itertools.cycle(hosts)))
    return satellites


async def close_all(satellites: Sequence[Satellite]) -> None:
    await asyncio.gather(*(satellite.close() for satellite in satellites))


async def converse(satellites: Sequence[Satellite], round_trips: int, text: str = QUESTION) -> list[RoundTrip]:
    """All of them talk at once, each its share of `round_trips`, one utterance after the other."""

    async def talk(satellite: Satellite) -> list[RoundTrip]:
        return [await satellite.say(text) for _ in range(round_trips // len(satellites))]

    shares = await asyncio.gather(*(talk(satellite) for satellite in satellites))
    return [trip for share in shares for trip in share]
