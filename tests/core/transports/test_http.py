"""The HTTP transport on a real socket: our Link as the other end, and every row of docs/protocol.md 6."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Received
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.clients import Client
from hivemind_core.config import Config, HTTPConfig
from hivemind_core.database import ClientDatabase
from hivemind_core.hub import Hub
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.roles import DEFAULT_ROLE, ROLES
from hivemind_core.storage.sqlite import SQLiteStore
from hivemind_core.testing import RecordingAgent, quick_psk
from hivemind_core.transports import BindError
from hivemind_core.transports.http import COOKIE, REPLICA_COOKIE, HTTPTransport

KEY, PASSWORD = "an-access-key", "correct horse battery staple 42"
UTTERANCE = "recognizer_loop:utterance"
GONE = {"error": "Client is not connected"}


def token(key: str = KEY, name: str = "device") -> str:
    return base64.b64encode(f"{name}:{key}".encode()).decode()


class Live:
    """A hub behind the HTTP transport alone."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.agent = RecordingAgent()
        settings = Config(path=folder / "server.json", runtime_password_strength_check=False)
        db = ClientDatabase(SQLiteStore(folder / "clients.db"))
        identity = HubIdentity("node", generate_static_key())
        self.hub = Hub(settings, identity, db, self.agent, derive=quick_psk)
        self.transport = HTTPTransport(self.hub, HTTPConfig("127.0.0.1", 0, **config))
        self.row = db.add(Client(0, KEY, "kitchen", password=PASSWORD, allowed_types=ROLES[DEFAULT_ROLE].types))

    async def start(self) -> None:
        await self.hub.start()
        await self.transport.start()

    async def stop(self) -> None:
        await self.transport.stop()
        await self.hub.stop()

    @property
    def sessions(self) -> list[Any]:
        return list(self.transport._sessions)


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    live = Live(tmp_path)
    await live.start()
    yield live
    await live.stop()


class Device:
    """The HTTP half of a satellite, and its Link."""

    def __init__(self, live: Live, *, cookies: bool = True, key: str = KEY) -> None:
        jar: Any = aiohttp.CookieJar(unsafe=True) if cookies else aiohttp.DummyCookieJar()
        self.http = aiohttp.ClientSession(f"http://127.0.0.1:{live.transport.port}", cookie_jar=jar)
        self.key = key
        self.static_key = generate_static_key()
        self.messages: list[HiveMessage] = []
        self.begin()

    def begin(self) -> None:
        terms = ClientTerms(self.static_key, {"pubkey": None, "session": {"session_id": "s"}, "site_id": None})
        self.link = Link.client(terms, 0.0)

    async def __aenter__(self) -> Device:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def ask(self, method: str, path: str, data: Any = None, **query: Any) -> tuple[int, Any]:
        query = {"authorization": token(self.key), **query}
        async with self.http.request(method, path, params=query, data=data) as response:
            body = await response.json(content_type=None) if "json" in response.content_type else await response.text()
            return response.status, body

    async def post(self, frame: bytes | str) -> tuple[int, Any]:
        if isinstance(frame, str):
            return await self.ask("POST", "/send_message", {"message": frame})
        form = {"message": base64.b64encode(frame).decode(), "binary": "1"}
        return await self.ask("POST", "/send_message", form)

    async def flush(self) -> list[tuple[int, Any]]:
        return [await self.post(frame) for frame in self.link.frames_to_send()]

    async def fetch(self, wait: float = 0) -> list[HiveMessage]:
        new: list[HiveMessage] = []
        was_open = self.link.is_open
        for path, queue in (("/get_messages", "messages"), ("/get_binary_messages", "b64_messages")):
            waits = wait if was_open == (queue == "b64_messages") else 0
            status, body = await self.ask("GET", path, wait=waits)
            assert (status, body["status"]) == (200, "messages retrieved")
            for text in body[queue]:
                frame = text if queue == "messages" else base64.b64decode(text)
                new += self._take(self.link.receive(frame, 0.0))
        self.messages += new
        return new

    def _take(self, events: list[Any]) -> list[HiveMessage]:
        found: list[HiveMessage] = []
        for event in events:
            if isinstance(event, KeyNeeded):
                found += self._take(self.link.key_derived(quick_psk(PASSWORD, event.node_id), 0.0))
            elif isinstance(event, Received):
                found.append(event.message)
        return found

    async def connect(self) -> None:
        assert await self.ask("POST", "/connect") == (200, {"status": "Connected"})
        for _ in range(10):
            await self.fetch(wait=5)
            await self.flush()
            if self.link.is_open:
                return
        raise AssertionError("no session")

    async def say(self, text: str) -> list[tuple[int, Any]]:
        self.link.send(HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": [text]})))
        return await self.flush()


def answering(live: Live) -> None:
    """Let the agent say back what it is told."""
    live.agent.respond = lambda message: (
        message.reply("speak", {"utterance": message.data["utterances"][0]}) if message.msg_type == UTTERANCE else None
    )


async def test_a_conversation(live: Live) -> None:
    answering(live)
    async with Device(live) as device:
        await device.connect()
        assert await device.say("hello") == [(200, {"status": "message sent"})]
        [answer] = await device.fetch()
        assert answer.payload.data == {"utterance": "hello"}
        assert await device.ask("POST", "/disconnect") == (200, {"status": "Disconnected"})
        assert await device.ask("POST", "/disconnect") == (200, {"error": "Already Disconnected"})
    assert [m.msg_type for m in live.agent.received] == ["hive.client.connect", UTTERANCE, "hive.client.disconnect"]


async def test_a_long_message_comes_in_several_requests_and_goes_in_one_answer(live: Live) -> None:
    answering(live)
    async with Device(live) as device:
        await device.connect()
        told = [body["status"] for _, body in await device.say("long " * 40_000)]
        assert told[-1] == "message sent"
        assert set(told[:-1]) == {"buffered"}
        [answer] = await device.fetch()
        assert len(answer.payload.data["utterance"]) == 200_000


async def test_a_fetch_waits_until_there_is_something(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        waiting = asyncio.create_task(device.fetch(wait=30))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        [peer] = live.hub.peers
        live.agent.deliver(Message("speak", {"utterance": "ding"}, {"destination": peer.peer_id}))
        [message] = await asyncio.wait_for(waiting, 10)
        assert message.payload.data == {"utterance": "ding"}


async def test_a_fetch_that_waits_is_told_of_the_end(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        waiting = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=30))
        await asyncio.sleep(0.1)
        live.hub.db.delete(live.row.client_id)
        live.hub._apply_row(live.row.client_id)
        status, body = await asyncio.wait_for(waiting, 10)
        assert (status, body["error"], body["code"]) == (200, GONE["error"], 1008)
        assert body["reason"]


async def test_a_session_is_greeted_once(live: Live) -> None:
    async with Device(live) as device:
        await device.ask("POST", "/connect")
        assert await device.ask("POST", "/connect") == (200, {"status": "Connected"})
        _, body = await device.ask("GET", "/get_messages")
        assert len(body["messages"]) == 2
        await device.ask("POST", "/disconnect")
        await device.ask("POST", "/connect")
        _, body = await device.ask("GET", "/get_messages")
        assert len(body["messages"]) == 2


async def test_every_answer_names_the_replica_and_connecting_sets_cookies(live: Live) -> None:
    async with Device(live) as device:
        async with device.http.post("/connect", params={"authorization": token()}) as response:
            assert response.headers["X-HiveMind-HTTP-Session-Backend"] == "memory"
            assert response.cookies[REPLICA_COOKIE].value == response.headers["X-HiveMind-HTTP-Replica"]
            assert response.cookies[COOKIE]["httponly"]
            assert response.cookies[COOKIE]["samesite"] == "Strict"
        async with device.http.get("/get_messages") as response:
            assert "X-HiveMind-HTTP-Replica" in response.headers
            assert COOKIE not in response.cookies


# --- what is refused ----------------------------------------------------------------------------------------


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


BEFORE_A_SESSION = {
    "no authorization": ("POST", "/connect", {"authorization": ""}, 400, "Missing authorization"),
    "no authorization to fetch with": ("GET", "/get_messages", {"authorization": ""}, 400, "Missing authorization"),
    "not base64": ("POST", "/connect", {"authorization": "%%%"}, 500, "Connection failed"),
    "no colon": ("POST", "/send_message", {"authorization": b64("justakey")}, 500, "Message sending failed"),
    "no key": ("POST", "/connect", {"authorization": b64("name:")}, 200, "Missing authorization"),
    "unknown key": ("POST", "/connect", {"authorization": token("nope")}, 403, "Invalid authorization"),
    "unknown key that sends": ("POST", "/send_message", {"authorization": token("nope")}, 403, "Invalid authorization"),
    "fetching without a session": ("GET", "/get_messages", {}, 200, GONE["error"]),
    "fetching binary without a session": ("GET", "/get_binary_messages", {}, 200, GONE["error"]),
    "sending without a session": ("POST", "/send_message", {}, 409, GONE["error"]),
}


@pytest.mark.parametrize("case", BEFORE_A_SESSION)
async def test_what_is_refused_without_a_session(case: str, live: Live) -> None:
    method, path, query, status, error = BEFORE_A_SESSION[case]
    async with Device(live) as device:
        told, body = await device.ask(method, path, data={"message": "x"} if path == "/send_message" else None, **query)
        assert (told, body["error"]) == (status, error)


IN_A_SESSION = {
    "no message": ({}, 400, "Missing message"),
    "bad base64": ({"message": "§", "binary": "true"}, 400, "Malformed binary frame"),
    "too long": ({"message": b64("x" * 70_000), "binary": "1"}, 400, "A frame holds at most 65536 bytes"),
}


@pytest.mark.parametrize("case", IN_A_SESSION)
async def test_what_is_refused_in_a_session_and_leaves_it_standing(case: str, live: Live) -> None:
    form, status, error = IN_A_SESSION[case]
    answering(live)
    async with Device(live) as device:
        await device.connect()
        live.sessions[0].max_frame_bytes = 65_536
        assert await device.ask("POST", "/send_message", form) == (status, {"error": error})
        await device.say("still here")
        assert len(await device.fetch()) == 1


async def test_binary_frames_need_a_session(live: Live) -> None:
    async with Device(live) as device:
        await device.ask("POST", "/connect")
        answer = await device.ask("POST", "/send_message", {"message": "AAAA", "binary": "YES"})
        assert answer == (409, {"error": "No Noise session; reconnect and handshake"})


async def test_what_would_close_a_websocket_ends_the_session_and_says_why(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        status, body = await device.post(b"\0" * 50)
        assert (status, body) == (500, {"error": "Message sending failed", "code": 1008, "reason": "invalid message"})
        assert await device.ask("GET", "/get_messages") == (
            200,
            {**GONE, "code": 1008, "reason": "invalid message"},
        )
        device.begin()
        await device.connect()


async def test_a_body_has_its_bounds_and_a_path_its_method(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        long = io.BytesIO(b"message=" + b"x" * 1_100_000)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        async with device.http.post(
            "/send_message", params={"authorization": token()}, data=long, headers=form
        ) as answer:
            assert answer.status == 413
        assert (await device.ask("GET", "/connect"))[0] == 405
        assert (await device.ask("GET", "/other"))[0] == 404
        assert (await device.ask("GET", "/_healthz"))[0] == 204


async def test_the_token_may_stand_in_the_form(live: Live) -> None:
    async with Device(live) as device, device.http.post("/connect", data={"authorization": token()}) as response:
        assert await response.json() == {"status": "Connected"}


# --- whose session it is ------------------------------------------------------------------------------------


async def test_the_access_key_alone_neither_drains_nor_ends_a_session(live: Live) -> None:
    """W14"""
    answering(live)
    async with Device(live) as device, Device(live, cookies=False) as thief:
        await device.connect()
        await device.say("secret")
        assert await thief.ask("GET", "/get_binary_messages") == (200, GONE)
        assert await thief.ask("POST", "/disconnect") == (200, {"error": "Already Disconnected"})
        assert (await thief.post("x"))[0] == 409
        assert len(await device.fetch()) == 1


async def test_two_devices_with_one_key_have_a_session_each(live: Live) -> None:
    answering(live)
    async with Device(live) as one, Device(live) as other:
        await one.connect()
        await other.ask("POST", "/connect")
        assert len(live.sessions) == 2
        other.static_key = one.static_key
        other.begin()
        await other.connect()
        await one.say("one")
        await other.say("other")
        assert [m.payload.data["utterance"] for m in await one.fetch()] == ["one"]
        assert [m.payload.data["utterance"] for m in await other.fetch()] == ["other"]


async def test_who_returns_no_cookie_is_known_by_the_address(live: Live) -> None:
    """As released clients do not."""
    answering(live)
    async with Device(live, cookies=False) as device:
        await device.connect()
        await device.say("hello")
        assert len(await device.fetch()) == 1
        live.sessions[0].remote = "192.0.2.7"
        assert await device.ask("GET", "/get_binary_messages") == (200, GONE)


async def test_a_wrong_cookie_opens_nothing(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        async with Device(live, cookies=False) as thief:
            query, cookie = {"authorization": token()}, {"Cookie": f"{COOKIE}=guessed"}
            async with thief.http.get("/get_binary_messages", params=query, headers=cookie) as response:
                assert await response.json() == GONE


# --- the ends of sessions -----------------------------------------------------------------------------------


async def test_a_queue_that_overflows_ends_its_session_loudly(tmp_path: Path) -> None:
    live = Live(tmp_path, max_undelivered=5)
    await live.start()
    try:
        async with Device(live) as device:
            await device.connect()
            [peer] = live.hub.peers
            for number in range(7):
                live.agent.deliver(Message("speak", {"utterance": str(number)}, {"destination": peer.peer_id}))
            status, body = await device.ask("GET", "/get_binary_messages")
            assert (status, body["error"], body["code"]) == (200, GONE["error"], 1013)
            await asyncio.sleep(0)
            assert len(live.hub.peers) == 0
            device.begin()
            await device.connect()
    finally:
        await live.stop()


async def test_a_session_that_nobody_asks_for_ends(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        now = asyncio.get_running_loop().time()
        live.transport.sweep(now + 299)
        assert len(live.hub.peers) == 1
        live.transport.sweep(now + 301)
        assert (len(live.hub.peers), live.sessions) == (0, [])
        assert await device.ask("GET", "/get_messages") == (200, GONE)


async def test_stopping_tells_who_waits(tmp_path: Path) -> None:
    live = Live(tmp_path)
    await live.start()
    async with Device(live) as device:
        await device.connect()
        waiting = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=30))
        await asyncio.sleep(0.1)
        await live.stop()
        _, body = await asyncio.wait_for(waiting, 10)
        assert body["code"] == 1001


async def test_a_port_in_use_is_said(live: Live) -> None:
    other = HTTPTransport(live.hub, HTTPConfig("127.0.0.1", live.transport.port))
    with pytest.raises(BindError, match="it is in use"):
        await other.start()
