"""The HTTP transport on a real socket: our Link as the other end, and every row of docs/protocol.md 6."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Received
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_bus_client.return_hints import wait_in
from hivemind_core import door
from hivemind_core.clients import Client
from hivemind_core.config import CertificateFiles, Config, HTTPConfig
from hivemind_core.database import ClientDatabase
from hivemind_core.hub import Clocks, Hub
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.limits_config import LimitsConfig, Rate
from hivemind_core.proxies import TrustedProxies
from hivemind_core.roles import DEFAULT_ROLE, ROLES
from hivemind_core.storage.sqlite import SQLiteStore
from hivemind_core.testing import RecordingAgent, quick_psk
from hivemind_core.transports import BindError, http, http_answers, http_connection, http_requests, intake
from hivemind_core.transports.http import HTTPTransport
from hivemind_core.transports.http_answers import REPLICA_COOKIE
from hivemind_core.transports.http_connection import HTTPConnection
from hivemind_core.transports.http_requests import COOKIE

KEY, PASSWORD = "an-access-key", "correct horse battery staple 42"
UTTERANCE = "recognizer_loop:utterance"
GONE = {"error": "Client is not connected"}


def token(key: str = KEY, name: str = "device") -> str:
    return base64.b64encode(f"{name}:{key}".encode()).decode()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Live:
    """A hub behind the HTTP transport alone; its clock can be moved. Proxies on this machine are believed."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.agent = RecordingAgent()
        self.ahead_s = 0.0
        settings = Config(path=folder / "server.json", runtime_password_strength_check=False)
        db = ClientDatabase(SQLiteStore(folder / "clients.db"))
        identity = HubIdentity("node", generate_static_key())
        self.clock = time.monotonic
        clocks = Clocks(lambda: self.clock() + self.ahead_s)
        self.hub = Hub(settings, identity, db, self.agent, derive=quick_psk, clocks=clocks)
        believed = TrustedProxies((ip_network("127.0.0.0/8"),))
        self.transport = HTTPTransport(self.hub, HTTPConfig("127.0.0.1", 0, proxies=believed, **config))
        self.row = db.add(Client(0, KEY, "kitchen", password=PASSWORD, allowed_types=ROLES[DEFAULT_ROLE].types))

    async def start(self) -> None:
        await self.hub.start()
        await self.transport.start()

    async def stop(self) -> None:
        await self.transport.stop()
        await self.hub.stop()

    @property
    def url(self) -> str:
        return self.transport.address

    @property
    def sessions(self) -> list[HTTPConnection]:
        return list(self.transport._sessions)

    def speak(self, *utterances: str) -> None:
        """Let the agent say something to the one satellite there is."""
        [peer] = self.hub.peers
        for text in utterances:
            self.agent.deliver(Message("speak", {"utterance": text}, {"destination": peer.peer_id}))

    async def remove_client(self) -> None:
        await eventually(lambda: not self.hub._tasks)  # its key may just be being pinned
        self.hub.db.delete(self.row.client_id)
        self.hub._apply_row(self.row.client_id)

    def stand_still(self) -> None:
        """Let no time pass but what `pass_` lets pass, however long the machine takes."""
        now = self.clock()
        self.clock = lambda: now

    def pass_(self, seconds: float) -> None:
        """Let time pass for hub and transport."""
        self.ahead_s += seconds
        self.hub.tick()
        self.transport.sweep()


@contextlib.asynccontextmanager
async def living(folder: Path, **config: Any) -> AsyncIterator[Live]:
    live = Live(folder, **config)
    await live.start()
    try:
        yield live
    finally:
        await live.stop()


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with living(tmp_path) as live:
        yield live


async def eventually(condition: Any) -> None:
    """Wait until something is so; nobody tells."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


class Device:
    """The HTTP half of a satellite, and its Link."""

    def __init__(
        self, live: Live, *, cookies: bool = True, key: str = KEY, static_key: bytes | None = None, at: str = ""
    ) -> None:
        """`at` is the address it comes from, through a proxy."""
        jar: Any = aiohttp.CookieJar(unsafe=True) if cookies else aiohttp.DummyCookieJar()
        headers = {"X-Forwarded-For": at} if at else {}
        self.http = aiohttp.ClientSession(
            live.url, cookie_jar=jar, headers=headers, connector=aiohttp.TCPConnector(ssl=False)
        )
        self.key = key
        self.static_key = static_key or generate_static_key()
        self.older: dict[str, Any] = {}
        self.messages: list[HiveMessage] = []
        self.begin()

    def begin(self) -> None:
        hello = {"pubkey": None, "session": {"session_id": "s"}, "site_id": None}
        self.link = Link.client(ClientTerms(self.static_key, hello, **self.older), 0.0)

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
            await self.flush()
        self.messages += new
        return new

    def _take(self, events: list[Any]) -> list[HiveMessage]:
        found: list[HiveMessage] = []
        for event in events:
            if isinstance(event, KeyNeeded):
                key = event.compute() if event.compute else quick_psk(PASSWORD, event.node_id)
                found += self._take(self.link.key_derived(key, 0.0))
            elif isinstance(event, Received):
                found.append(event.message)
        return found

    async def connect(self) -> None:
        assert await self.ask("POST", "/connect") == (200, {"status": "Connected"})
        for _ in range(10):
            await self.fetch(wait=5)
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
        waiting = asyncio.create_task(device.fetch(wait=60))
        await eventually(lambda: live.sessions[0].requests)
        assert not waiting.done()
        live.speak("ding", "dong")
        assert [message.payload.data["utterance"] for message in await asyncio.wait_for(waiting, 30)] == [
            "ding",
            "dong",
        ]


async def test_a_fetch_that_waits_is_told_of_the_end(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        waiting = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=60))
        await eventually(lambda: live.sessions[0].requests)
        await live.remove_client()
        status, body = await asyncio.wait_for(waiting, 30)
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


ENDPOINTS = {
    "/connect": ("POST", "Connection failed"),
    "/disconnect": ("POST", "Disconnection failed"),
    "/send_message": ("POST", "Message sending failed"),
    "/get_messages": ("GET", "Retrieving messages failed"),
    "/get_binary_messages": ("GET", "Retrieving messages failed"),
}
UNREADABLE = {"code": 1008, "reason": "invalid authorization"}
TOKENS: dict[str, tuple[str, int, str, dict[str, Any]]] = {
    "absent": ("", 400, "Missing authorization", {}),
    "not base64": ("%%%", 500, "", UNREADABLE),
    "without a colon": (b64("justakey"), 500, "", UNREADABLE),
    "without a key": (b64("name:"), 200, "Missing authorization", {}),
    "without a name": (b64(":key"), 200, "Missing authorization", {}),
}


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("case", TOKENS)
async def test_a_token_that_names_nobody(case: str, path: str, live: Live) -> None:
    given, status, error, more = TOKENS[case]
    method, failure = ENDPOINTS[path]
    async with Device(live) as device:
        assert await device.ask(method, path, authorization=given) == (status, {"error": error or failure, **more})


ALREADY = {"error": "Already Disconnected"}
WITHOUT_A_SESSION = {"/disconnect": (200, ALREADY), "/send_message": (409, GONE)}


@pytest.mark.parametrize("path", ["/disconnect", "/send_message", "/get_messages", "/get_binary_messages"])
@pytest.mark.parametrize("key", [KEY, "nobody-has-this-key"])
async def test_without_a_session_nothing_tells_which_keys_there_are(key: str, path: str, live: Live) -> None:
    async with Device(live, key=key) as device:
        answer = await device.ask(ENDPOINTS[path][0], path, {"message": "x"} if path == "/send_message" else None)
        assert answer == WITHOUT_A_SESSION.get(path, (200, GONE))


async def test_a_refusal_is_told_at_once(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """A permanent one as a released hub does, with the reason beside; one that passes with another status."""
    live.hub.db.add(Client(0, "without-password", "old"))
    invalid = {"error": "Invalid authorization", "code": 1008}
    async with (
        Device(live, key="nope") as stranger,
        Device(live, key="without-password") as old,
        Device(live) as device,
    ):
        assert await stranger.ask("POST", "/connect") == (403, {**invalid, "reason": "invalid api key"})
        reason = "this node requires protocol v3 (the Noise handshake)"
        assert await old.ask("POST", "/connect") == (403, {**invalid, "reason": reason})
        monkeypatch.setattr(door, "MAX_HANDSHAKES", 0)
        async with device.http.post("/connect", params={"authorization": token()}) as answer:
            told = await answer.json()
            wait_s = wait_in(told.pop("reason"))
            assert (answer.status, told) == (503, {"error": "Connection failed", "code": 1013})
            assert 1 <= wait_s <= 3
            assert answer.headers["Retry-After"] == f"{wait_s:.0f}"
    assert [row.code for row in live.hub.rejections.recent()][::-1] == ["invalid_key", "no_password", "busy"]
    assert live.sessions == []


IN_A_SESSION = {
    "no message": ({}, 400, "Missing message"),
    "an empty message": ({"message": ""}, 400, "Missing message"),
    "too many fields": ({**{str(n): "" for n in range(20)}, "message": "x"}, 400, "Missing message"),
    "bad base64": ({"message": "§", "binary": "true"}, 400, "Malformed binary frame"),
    "base64 with a blank": ({"message": "AA AA", "binary": "Yes"}, 400, "Malformed binary frame"),
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


async def test_a_body_that_is_not_a_form_holds_no_message(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for body, headers in ((b'{"message": "x"}', {"Content-Type": "application/json"}), (b"message=%ff", form)):
            query = {"authorization": token()}
            async with device.http.post("/send_message", params=query, data=body, headers=headers) as answer:
                assert (answer.status, await answer.json()) == (400, {"error": "Missing message"})


async def test_other_paths_and_methods(live: Live) -> None:
    async with Device(live) as device:
        for method, path, status, text in (
            ("GET", "/connect", 405, "405: Method Not Allowed"),
            ("POST", "/get_messages", 405, "405: Method Not Allowed"),
            ("OPTIONS", "/connect", 405, "405: Method Not Allowed"),
            ("GET", "/other", 404, "404: Not Found"),
            ("GET", "/connect/", 404, "404: Not Found"),
            ("GET", "/_healthz", 204, ""),
        ):
            told, body = await device.ask(method, path)
            page = f"<html><title>{text}</title><body>{text}</body></html>"
            assert (told, body or "") == (status, text and page), path


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
    """As released clients do not: the access key alone opens nothing from elsewhere."""
    answering(live)
    async with (
        Device(live, cookies=False, at="192.0.2.1") as device,
        Device(live, cookies=False, at="192.0.2.2") as thief,
    ):
        await device.connect()
        await device.say("secret")
        assert await thief.ask("GET", "/get_binary_messages") == (200, GONE)
        assert await thief.ask("POST", "/disconnect") == (200, ALREADY)
        assert (await thief.post("x"))[0] == 409
        await thief.ask("POST", "/connect")
        assert await thief.ask("GET", "/get_binary_messages") == (
            200,
            {"status": "messages retrieved", "b64_messages": []},
        )
        assert [one.remote for one in live.sessions] == ["192.0.2.1", "192.0.2.2"]
        assert len(await device.fetch()) == 1


async def test_a_cookie_is_good_from_anywhere(live: Live) -> None:
    async with Device(live, at="192.0.2.1") as device:
        await device.connect()
        device.http.headers["X-Forwarded-For"] = "192.0.2.2"
        assert (await device.ask("GET", "/get_messages"))[1]["status"] == "messages retrieved"


async def test_who_connects_again_is_not_told_the_cookie(live: Live) -> None:
    """It may be somebody else at the same address, who would shut the first one out with it."""
    async with Device(live, cookies=False) as device, Device(live) as other:
        await device.ask("POST", "/connect")
        async with other.http.post("/connect", params={"authorization": token()}) as response:
            assert COOKIE not in response.cookies
            assert REPLICA_COOKIE in response.cookies
        assert len(live.sessions) == 1


async def test_a_client_without_cookies_that_connects_again_is_greeted_again(live: Live) -> None:
    """One that was killed would wait for a greeting that its session has had."""
    async with Device(live, cookies=False, at="192.0.2.1") as device, Device(live, cookies=False) as elsewhere:
        await device.connect()
        await elsewhere.ask("POST", "/connect")
        [first, other] = live.sessions
        device.begin()
        await device.connect()
        assert first not in live.sessions
        assert other in live.sessions
        await eventually(lambda: len(live.hub.peers) == 1)


async def test_it_is_greeted_again_whatever_it_had_not_fetched(live: Live) -> None:
    """Below v3 answers are text, too."""
    answering(live)
    async with Device(live, cookies=False) as device:
        device.older = {"max_version": 2, "min_version": 2, "password": PASSWORD}
        device.begin()
        await device.connect()
        await device.say("nobody will fetch the answer")
        device.begin()
        await device.connect()
        await device.say("hello")
        [answer] = await device.fetch()
        assert answer.payload.data == {"utterance": "hello"}


async def test_what_a_device_left_behind_ends_when_it_is_back(live: Live) -> None:
    async with Device(live) as first, Device(live, static_key=first.static_key) as again:
        await first.connect()
        left, _ = live.sessions[0], live.pass_(http.LEFT_BEHIND_S)
        assert left.ended is None
        await again.connect()
        assert left.ended == (1000, "connected again")
        assert len(live.sessions) == 1


async def test_two_that_connect_at_once_have_one_session(live: Live) -> None:
    async with Device(live, cookies=False) as device:
        answers = await asyncio.gather(*(device.ask("POST", "/connect") for _ in range(5)))
        assert answers == [(200, {"status": "Connected"})] * 5
        assert len(live.sessions) == 1


async def test_a_wrong_cookie_opens_nothing(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        async with Device(live, cookies=False) as thief:
            query, cookie = {"authorization": token()}, {"Cookie": f"{COOKIE}=guessed"}
            async with thief.http.get("/get_binary_messages", params=query, headers=cookie) as response:
                assert await response.json() == GONE


# --- the ends of sessions -----------------------------------------------------------------------------------


async def test_a_queue_that_overflows_ends_its_session_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with living(tmp_path, max_undelivered=8) as live, Device(live) as device:
        await device.connect()
        live.speak(*map(str, range(8)))
        assert len(await device.fetch()) == 8
        live.speak(*map(str, range(9)))
        _, told = await device.post(b"x")
        assert re.fullmatch("slow reader, try again in [1-3] s", told["reason"])
        assert told == {**GONE, "code": 1013, "reason": told["reason"]}
        assert await device.ask("GET", "/get_binary_messages") == (200, told)
        assert "refused device::1::kitchen::s: This connection does not read fast enough" in caplog.text
        assert live.hub.meter.refusals.of("slow_reader") == 1
        assert len(live.hub.peers) == 0
        device.begin()
        await device.connect()


async def test_a_session_that_nobody_asks_for_ends(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", http.__name__)
    async with Device(live) as device:
        await device.connect()
        live.stand_still()
        live.pass_(240)
        assert len(live.hub.peers) == 1
        live.pass_(61)
        assert live.sessions == []
        assert await device.ask("GET", "/get_messages") == (
            200,
            {**GONE, "code": 1000, "reason": "nothing was fetched"},
        )
        assert len(live.hub.peers) == 0
        assert "ends: nothing was fetched in time" in caplog.text
        live.pass_(31)
        assert await device.ask("GET", "/get_messages") == (200, GONE)


async def test_a_frame_that_nobody_fetches_ends_its_session(tmp_path: Path) -> None:
    async with living(tmp_path, undelivered_ttl_s=5) as live, Device(live) as device:
        await device.connect()
        live.speak("ding")
        live.pass_(6)
        _, body = await device.ask("GET", "/get_binary_messages")
        assert body["reason"] == "a message was not fetched"


async def test_a_handshake_that_is_not_finished_in_time_is_told(live: Live) -> None:
    async with Device(live) as device:
        await device.ask("POST", "/connect")
        await device.ask("GET", "/get_messages")
        live.pass_(31)
        status, told = await device.ask("GET", "/get_messages")
        assert re.fullmatch("handshake timed out, try again in [3-8] s", told["reason"])
        assert (status, told) == (200, {**GONE, "code": 1013, "reason": told["reason"]})


async def test_what_was_sent_before_the_end_can_be_fetched_after_it(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        live.speak("last words")
        await live.remove_client()
        await eventually(lambda: not live.hub.peers.connections())
        status, body = await device.ask("GET", "/get_binary_messages")
        assert (status, len(body["b64_messages"])) == (200, 1)
        assert (await device.ask("GET", "/get_binary_messages"))[1]["reason"] == "invalid api key"


async def test_a_failure_of_the_hub_ends_one_session(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    def fail(message: Message) -> None:
        raise ZeroDivisionError

    async with Device(live) as device, Device(live, static_key=device.static_key) as other:
        await device.connect()
        await other.connect()
        live.agent.respond = fail
        [answer] = await device.say("boom")
        live.agent.respond = lambda message: None
        assert answer == (500, {"error": "Message sending failed", "code": 1011, "reason": "internal error"})
        assert "ZeroDivisionError" in caplog.text
        assert await other.say("fine") == [(200, {"status": "message sent"})]


# --- fetches ------------------------------------------------------------------------------------------------


async def test_a_fetch_whose_connection_is_lost_takes_nothing(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        waiting = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=60))
        await eventually(lambda: live.sessions[0].requests)
        waiting.cancel()
        await eventually(lambda: not live.sessions[0].requests)
        live.speak("ding")
        assert [message.payload.data["utterance"] for message in await device.fetch()] == ["ding"]


async def test_a_fetch_ends_the_one_before_it(live: Live) -> None:
    """A client asks again only when it has given up."""
    async with Device(live) as device:
        await device.connect()
        first = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=60))
        await eventually(lambda: live.sessions[0].requests)
        second = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=60))
        assert (await asyncio.wait_for(first, 30))[1]["b64_messages"] == []
        live.speak("ding")
        assert len((await asyncio.wait_for(second, 30))[1]["b64_messages"]) == 1


async def test_a_fetch_waits_for_its_own_queue_and_its_time(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
        waiting = asyncio.create_task(device.ask("GET", "/get_messages", wait=0.2))
        await eventually(lambda: live.sessions[0].requests)
        live.speak("ding")
        assert await asyncio.wait_for(waiting, 30) == (200, {"status": "messages retrieved", "messages": []})


@pytest.mark.parametrize("wait", ["-5", "x", "nan", ""])
async def test_a_wait_that_makes_no_sense_is_none(live: Live, wait: str) -> None:
    async with Device(live) as device:
        await device.connect()
        answer = await asyncio.wait_for(device.ask("GET", "/get_messages", wait=wait), 30)
        assert answer == (200, {"status": "messages retrieved", "messages": []})


async def test_an_answer_that_cannot_be_written_keeps_its_frames(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client reads the first bytes of a long answer and goes."""
    async with Device(live) as device:
        await device.connect()
        live.speak(*["x" * 60_000] * 60)
        cookie = f"Cookie: {COOKIE}={live.sessions[0].cookie}\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", live.transport.port, limit=1024)
        request = f"GET /get_binary_messages?authorization={quote(token())} HTTP/1.1\r\nHost: x\r\n{cookie}\r\n"
        with monkeypatch.context() as impatient:
            impatient.setattr(http_answers, "ANSWER_WITHIN_S", 0.3)
            writer.write(request.encode())
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            await eventually(lambda: len(live.transport._server.connections) == 1)  # type: ignore[union-attr]
        writer.transport.abort()
        assert len(await device.fetch()) == 60


async def test_idle_sessions_cost_no_task(live: Live) -> None:
    async with Device(live) as device:
        await device.connect()
    before = len(asyncio.all_tasks())
    for number in range(20):
        async with Device(live, static_key=device.static_key, at=f"192.0.2.{number}") as other:
            await other.connect()
    await eventually(lambda: len(asyncio.all_tasks()) <= before)
    assert len(live.hub.peers) == 21


# --- what a connection may take -----------------------------------------------------------------------------


class Raw:
    """A TCP connection to the hub."""

    def __init__(self, live: Live) -> None:
        self.port = live.transport.port

    async def __aenter__(self) -> Raw:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    def send(self, path: str, *headers: str, body: bytes = b"", method: str = "POST") -> None:
        head = [f"{method} {path}?authorization={quote(token())} HTTP/1.1", "Host: hub", *headers]
        self.writer.write("\r\n".join([*head, "", ""]).encode() + body)

    async def answer(self) -> bytes:
        """Return the next answer; nothing when the hub has ended the connection."""
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
            size = int(head.lower().partition(b"content-length:")[2].split()[0])
            return head + await asyncio.wait_for(self.reader.readexactly(size), 30)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def is_cut(self) -> bool:
        return await self.answer() == b""


FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.mark.parametrize("length", ["Content-Length: 1100000", "Transfer-Encoding: chunked"])
async def test_a_body_of_more_than_a_mebibyte_cuts_the_connection(live: Live, length: str) -> None:
    async with Device(live) as device, Raw(live) as raw:
        await device.connect()
        cookie = f"Cookie: {COOKIE}={live.sessions[0].cookie}"
        raw.send("/send_message", FORM, length, cookie)
        with contextlib.suppress(ConnectionError):
            for _ in range(18):
                piece = b"x" * 65_536
                raw.writer.write(b"10000\r\n" + piece + b"\r\n" if "chunked" in length else piece)
                await raw.writer.drain()
        assert await raw.is_cut()
        assert await device.say("still here") == [(200, {"status": "message sent"})]


async def test_a_body_that_does_not_come_cuts_the_connection(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_requests, "BODY_WITHIN_S", 0.1)
    async with Raw(live) as raw:
        raw.send("/connect", FORM, "Content-Length: 10", body=b"x")
        assert await raw.is_cut()


async def test_a_stranger_gets_one_answer_on_a_connection(live: Live) -> None:
    async with Raw(live) as raw:
        raw.send("/get_messages", method="GET")
        assert b"not connected" in await raw.answer()
        assert await raw.is_cut()


async def test_a_session_keeps_its_connections_and_only_so_many(live: Live) -> None:
    async with Device(live) as device, contextlib.AsyncExitStack() as stack:
        await device.connect()
        cookie = f"Cookie: {COOKIE}={live.sessions[0].cookie}"
        await device.http.close()
        raws = [await stack.enter_async_context(Raw(live)) for _ in range(http_connection.MAX_KEPT + 1)]
        for raw in raws:
            raw.send("/get_messages", cookie, method="GET")
            assert b"messages retrieved" in await raw.answer()
        for raw in raws[:-1]:
            raw.send("/get_messages", cookie, method="GET")
            assert b"messages retrieved" in await raw.answer()
        assert await raws[-1].is_cut()


async def test_before_its_session_is_up_a_connection_must_ask_again_soon(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "REQUEST_WITHIN_S", 2.0)
    async with Raw(live) as raw:
        raw.send("/connect", "Content-Length: 0")
        assert b"Connected" in await raw.answer()
        assert await raw.is_cut()


async def test_later_it_may_wait_but_not_halfway_in_a_request(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Device(live) as device, Raw(live) as raw:
        await device.connect()
        monkeypatch.setattr(intake, "REQUEST_WITHIN_S", 0.3)
        [cookie] = [f"Cookie: {COOKIE}={one.cookie}" for one in live.sessions if one.is_open]
        raw.send("/get_messages", cookie, method="GET")
        assert b"messages retrieved" in await raw.answer()
        await asyncio.sleep(0.5)
        raw.send("/get_messages", cookie, method="GET")
        assert b"messages retrieved" in await raw.answer()
        raw.writer.write(b"GET /get_mess")
        assert await raw.is_cut()


async def test_a_stranger_cannot_make_the_hub_hold_much(live: Live) -> None:
    async with Raw(live) as raw:
        raw.send("/send_message", FORM, "Content-Length: 1000000")
        with contextlib.suppress(ConnectionError):
            for _ in range(10):
                raw.writer.write(b"x" * 65_536)
                await raw.writer.drain()
        assert await raw.is_cut()


async def test_one_session_is_served_so_many_requests_at_once(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_REQUESTS", 1)
    async with Device(live) as device:
        await device.connect()
        waiting = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=60))
        await eventually(lambda: live.sessions[0].requests)
        async with device.http.get("/get_messages", params={"authorization": token()}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
            assert await answer.json() == {"error": "Too many requests at once"}
        assert live.hub.meter.refusals.of("too_many_requests") == 1
        live.speak("ding")
        assert len((await asyncio.wait_for(waiting, 30))[1]["b64_messages"]) == 1


async def test_who_sends_too_much_is_told_when_to_come_back(live: Live) -> None:
    live.stand_still()
    few = LimitsConfig(client=Rate(1, 0), address=Rate(), burst_s=20)
    live.hub.reconfigure(replace(live.hub.config, limits=few))
    answering(live)
    async with Device(live) as device:
        await device.connect()
        told = [await device.say(str(number)) for number in range(25)]
        [(status, body)] = next(answers for answers in told if answers[0][0] != 200)
        wait_s = wait_in(body["reason"])
        assert (status, body["error"], body["code"]) == (429, "Message sending failed", 1013)
        assert 10 <= wait_s <= 12
        async with device.http.post("/connect", params={"authorization": token()}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, f"{wait_s:.0f}")
        live.pass_(wait_s)
        device.begin()
        await device.connect()
    assert live.hub.meter.refusals.of("too_many_messages") == 2


async def test_who_fetches_all_the_time_waits_and_nobody_else_does(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    live.hub.db.add(replace(live.row, client_id=0, api_key="another-key", name="hall"))
    async with Device(live) as device, Device(live, key="another-key") as other:
        await device.connect()
        await other.connect()
        await asyncio.sleep(1.5)
        monkeypatch.setattr(http, "FETCH_COSTS_S", 1.5)
        greedy = asyncio.create_task(device.ask("GET", "/get_messages"))
        await eventually(lambda: live.sessions[0].requests)
        assert await other.say("hello") == [(200, {"status": "message sent"})]
        assert not greedy.done()
        assert (await asyncio.wait_for(greedy, 30))[0] == 200


async def test_what_one_session_uses_of_the_loop_counts_for_all_of_its_client(live: Live) -> None:
    async with Device(live) as device, Device(live, static_key=device.static_key, at="192.0.2.1") as other:
        await device.connect()
        await other.connect()
        [one, another] = live.hub.peers
        now = asyncio.get_running_loop().time()
        pause_s = one.loop_share.pause_after(now - 0.4, now)
        assert another.loop_share is one.loop_share
        assert pause_s is not None
        assert await other.ask("GET", "/get_messages") == (200, {"status": "messages retrieved", "messages": []})
        assert asyncio.get_running_loop().time() >= now + pause_s, "it was not read before"


# --- besides ------------------------------------------------------------------------------------------------


async def test_over_tls_the_cookie_stays_there(tmp_path: Path) -> None:
    answering_tls = CertificateFiles(tmp_path / "tls")
    async with living(tmp_path, tls=answering_tls) as live, Device(live) as device:
        assert live.url.startswith("https://")
        query = {"authorization": token()}
        async with device.http.post("/connect", params=query) as response:
            assert response.cookies[COOKIE]["secure"]
        await device.connect()
        assert await device.say("hello") == [(200, {"status": "message sent"})]


async def test_a_session_below_v3(live: Live) -> None:
    """Text in the one queue, binary data in the other."""
    answering(live)
    async with Device(live) as device:
        device.older = {"max_version": 2, "min_version": 2, "password": PASSWORD}
        device.begin()
        await device.connect()
        await device.say("as of old")
        [answer] = await device.fetch()
        assert answer.payload.data == {"utterance": "as of old"}
        device.link.send(HiveMessage(HiveMessageType.BINARY, b"sound"))
        assert await device.flush() == [(200, {"status": "message sent"})]
        [denial] = await device.fetch()
        assert denial.payload.data["denied_type"] == "binary"


async def test_stopping_tells_who_waits(tmp_path: Path) -> None:
    live = Live(tmp_path)
    await live.start()
    async with Device(live) as device:
        await device.connect()
        waiting = asyncio.create_task(device.ask("GET", "/get_binary_messages", wait=60))
        await eventually(lambda: live.sessions[0].requests)
        await live.stop()
        _, body = await asyncio.wait_for(waiting, 30)
        assert body["code"] == 1001


async def test_a_port_in_use_is_said(live: Live) -> None:
    other = HTTPTransport(live.hub, HTTPConfig("127.0.0.1", live.transport.port))
    with pytest.raises(BindError, match=r"is in use.* Choose another `port` of `hivemind-http-plugin`"):
        await other.start()
