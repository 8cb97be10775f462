"""A satellite that asks the hubs of a cluster over HTTP, each request another one, and what they are told then."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import aiohttp

from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Received
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.clients import Client
from hivemind_core.roles import DEFAULT_ROLE, ROLES
from hivemind_core.testing import quick_psk
from hivemind_core.transports.http_connection import HTTPConnection

from .http_cluster import HTTPCluster
from .link_hub import eventually

KEY, PASSWORD = "an-access-key", "correct horse battery staple 42"
UTTERANCE = "recognizer_loop:utterance"
GONE = {"error": "Client is not connected"}


def token(key: str = KEY) -> str:
    return base64.b64encode(f"device:{key}".encode()).decode()


def answer(message: Message) -> Message | None:
    if message.msg_type != UTTERANCE:
        return None
    return message.reply("speak", {"utterance": message.data["utterances"][0]})


def prepare(cluster: HTTPCluster, key: str = KEY, password: str = PASSWORD) -> None:
    """Let the agents say back what they are told, and a client be known."""
    for hive in cluster.hives:
        hive.agent.respond = answer
    cluster.hives[0].db.add(Client(0, key, "kitchen", password=password, allowed_types=ROLES[DEFAULT_ROLE].types))


class Device:
    """The HTTP half of a satellite, and its Link. Each request goes to `at`, or else to the next hub."""

    def __init__(
        self, cluster: HTTPCluster, *, cookies: bool = True, address: str = "192.0.2.1", key: str = KEY
    ) -> None:
        jar: Any = aiohttp.CookieJar(unsafe=True) if cookies else aiohttp.DummyCookieJar()
        self.http = aiohttp.ClientSession(cookie_jar=jar, headers={"X-Forwarded-For": address})
        self.cluster = cluster
        self.key = key
        self.at: int | None = None
        self.static_key = generate_static_key()
        self.begin()

    def begin(self) -> None:
        hello = {"session": {"session_id": f"session of {id(self)}"}, "site_id": None}
        self.link = Link.client(ClientTerms(self.static_key, hello), 0.0)

    async def __aenter__(self) -> Device:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    def url(self, path: str) -> str:
        return (self.cluster.balancer.next() if self.at is None else self.cluster.transports[self.at].address) + path

    async def ask(self, method: str, path: str, data: Any = None, **query: Any) -> tuple[int, Any]:
        query = {"authorization": token(self.key), **query}
        async with self.http.request(method, self.url(path), params=query, data=data) as response:
            self.replica = response.headers["X-HiveMind-HTTP-Replica"]
            return response.status, await response.json()

    async def post(self, frame: bytes | str) -> tuple[int, Any]:
        if isinstance(frame, str):
            return await self.ask("POST", "/send_message", {"message": frame})
        form = {"message": base64.b64encode(frame).decode(), "binary": "1"}
        return await self.ask("POST", "/send_message", form)

    async def flush(self) -> None:
        for frame in self.link.frames_to_send():
            status, body = await self.post(frame)
            assert (status, "error" in body) == (200, False), body

    async def fetch(self, wait: float = 0) -> list[str]:
        new: list[str] = []
        was_open = self.link.is_open
        for path, queue in (("/get_messages", "messages"), ("/get_binary_messages", "b64_messages")):
            waits = wait if was_open == (queue == "b64_messages") else 0
            status, body = await self.ask("GET", path, wait=waits)
            assert (status, body.get("status")) == (200, "messages retrieved"), body
            new += await self.take(body[queue], queue)
        return new

    async def take(self, texts: list[str], queue: str) -> list[str]:
        new: list[str] = []
        for text in texts:
            new += self._follow(self.link.receive(text if queue == "messages" else base64.b64decode(text), 0.0))
        await self.flush()
        return new

    def _follow(self, events: list[Any]) -> list[str]:
        found: list[str] = []
        for event in events:
            if isinstance(event, KeyNeeded):
                key = event.compute() if event.compute else quick_psk(PASSWORD, event.node_id)
                found += self._follow(self.link.key_derived(key, 0.0))
            elif isinstance(event, Received):
                if event.message.msg_type == HiveMessageType.BUS:
                    found.append(event.message.payload.data["utterance"])
            else:
                assert "Refused" not in type(event).__name__, event
        return found

    async def connect(self) -> None:
        assert await self.ask("POST", "/connect") == (200, {"status": "Connected"})
        for _ in range(10):
            await self.fetch(wait=5)
            if self.link.is_open:
                return
        raise AssertionError("no session")

    async def say(self, text: str) -> None:
        self.link.send(HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": [text]})))
        await self.flush()


def speak(cluster: HTTPCluster, *utterances: str) -> None:
    """Let the agent of the hub that holds the one satellite say something."""
    [(hive, peer)] = [(hive, peer) for hive in cluster.hives for peer in hive.hub.peers]
    for text in utterances:
        hive.agent.deliver(Message("speak", {"utterance": text}, {"destination": peer.peer_id}))


def sessions(cluster: HTTPCluster) -> list[HTTPConnection]:
    return [session for transport in cluster.transports for session in transport._sessions]


def calls(cluster: HTTPCluster, what: str) -> int:
    return sum(frame["what"] == f"http.{what}" for frame in cluster.redis.of_type("ask"))


def asks(cluster: HTTPCluster) -> list[Any]:
    return [frame for frame in cluster.redis.of_type("ask") if frame["what"] == "http.ask"]


async def waiting_fetch(device: Device) -> asyncio.Task[tuple[int, Any]]:
    """A fetch that waits at the hub that holds the session."""
    before = sessions(device.cluster)[0].requests
    waiting = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=60))
    await eventually(lambda: sessions(device.cluster)[0].requests > before)
    return waiting


async def connected_at_the_first(device: Device) -> None:
    """Connect at hub 0; what is asked from now on is asked at hub 1."""
    device.at = 0
    await device.connect()
    device.at = 1
    await device.fetch()


class KeptBack:
    """Frames to a hub that are kept back on the wire."""

    def __init__(self, cluster: HTTPCluster, hub: str, which: Callable[[Any], bool]) -> None:
        self.frames: list[Any] = []
        self._wire = cluster.redis.wires[hub]
        self._take = self._wire.take

        def take(sender: str, frame: Any) -> None:
            if which(frame):
                self.frames.append((sender, frame))
            else:
                self._take(sender, frame)

        self._wire.take = take  # type: ignore[method-assign]

    def let_go(self) -> None:
        self._wire.take = self._take  # type: ignore[method-assign]
        for sender, frame in self.frames:
            self._take(sender, frame)


def is_settling(frame: Any) -> bool:
    return frame.get("what") == "http.settle"


def is_answer(frame: Any) -> bool:
    return frame["t"] == "told"
