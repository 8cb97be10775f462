"""The WebSocket transport over real sockets, with the real hub behind it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import tracemalloc
import weakref
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Received
from hivemind_bus_client.message import HiveMessage, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core import fairness
from hivemind_core.clients import Client
from hivemind_core.config import CertificateFiles, WebSocketConfig
from hivemind_core.fairness import LoopShare
from hivemind_core.proxies import TrustedProxies, networks
from hivemind_core.testing import MemoryHive, quick_psk
from hivemind_core.transports import BindError
from hivemind_core.transports.websocket import WebSocketTransport

CONFIG = WebSocketConfig(host="127.0.0.1", port=0)


def echo(message: Message) -> Message | None:
    """Answer what was said; of what is very long, only its length."""
    said = message.data.get("utterances")
    if not said:
        return None
    return message.reply("speak", {"utterance": said[0] if len(said[0]) < 1_000_000 else str(len(said[0]))})


class Rig:
    """A hub behind a real socket, and satellites that are a Link each."""

    def __init__(self, hive: MemoryHive, transport: WebSocketTransport, http: aiohttp.ClientSession) -> None:
        self.hive = hive
        self.transport = transport
        self.http = http
        self.url = f"{'https' if transport.address.startswith('wss') else 'http'}://127.0.0.1:{transport.port}/"

    def token(self, key: str) -> str:
        return b64encode(f"ua:{key}".encode()).decode()

    async def connect(self, key: str, **headers: str) -> aiohttp.ClientWebSocketResponse:
        query = {"authorization": self.token(key)}
        return await self.http.ws_connect(self.url, params=query, autoping=False, ssl=False, headers=headers)

    async def join(
        self, name: str, row: Client | None = None, key: bytes | None = None, max_version: int = 3
    ) -> tuple[aiohttp.ClientWebSocketResponse, Link]:
        row = row or self.hive.add_client(name)
        ws = await self.connect(row.api_key)
        hello = {"session": {"session_id": name}}
        versions = {"max_version": max_version, "min_version": max_version, "password": row.password}
        link = Link.client(ClientTerms(key or generate_static_key(), hello, **versions), 0.0)  # type: ignore[arg-type]
        while not link.is_open:
            for event in link.receive(await self.frame(ws), 0.0):
                if isinstance(event, KeyNeeded):
                    made = event.compute() if event.compute else quick_psk(row.password or "", event.node_id)
                    link.key_derived(made, 0.0)
            await self.flush(ws, link)
        return ws, link

    async def frame(self, ws: aiohttp.ClientWebSocketResponse) -> Any:
        """The next frame of the protocol; pings that come before it are answered."""
        while (message := await ws.receive(60)).type is aiohttp.WSMsgType.PING:
            await ws.pong(message.data)
        return message.data

    async def empty(self) -> None:
        """Wait until the hub has no connection left."""
        while self.hive.hub.peers.connections():  # noqa: ASYNC110 - the hub tells nobody
            await asyncio.sleep(0.01)

    async def flush(self, ws: aiohttp.ClientWebSocketResponse, link: Link) -> None:
        for frame in link.frames_to_send():
            await (ws.send_str(frame) if isinstance(frame, str) else ws.send_bytes(frame))

    async def ask(self, ws: aiohttp.ClientWebSocketResponse, link: Link, text: str) -> HiveMessage:
        link.send(HiveMessage("bus", Message("recognizer_loop:utterance", {"utterances": [text]})))
        await self.flush(ws, link)
        while True:
            for event in link.receive(await self.frame(ws), 0.0):
                if isinstance(event, Received):
                    return event.message


@contextlib.asynccontextmanager
async def rigged(config: WebSocketConfig = CONFIG) -> AsyncIterator[Rig]:
    async with MemoryHive() as hive:
        hive.agent.respond = echo
        transport = WebSocketTransport(hive.hub, config)
        await transport.start()
        try:
            async with aiohttp.ClientSession() as http:
                yield Rig(hive, transport, http)
        finally:
            await transport.stop()


async def test_a_conversation_and_its_end() -> None:
    async with rigged() as rig:
        ws, link = await rig.join("kitchen")
        assert (await rig.ask(ws, link, "hi")).payload.data == {"utterance": "hi"}
        await ws.close()
        await rig.empty()
        assert len(rig.hive.agent.of_type("hive.client.disconnect")) == 1


@pytest.mark.parametrize(("key", "reason"), [("nope", "invalid api key"), ("", "invalid authorization")])
async def test_a_refusal_is_a_close_frame_after_the_upgrade(key: str, reason: str) -> None:
    async with rigged() as rig:
        ws = await rig.connect(key)
        message = await ws.receive(60)
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1008, reason)


async def test_other_paths_and_plain_requests() -> None:
    async with rigged() as rig:
        for path, status in (("", 400), ("x", 404), ("_healthz", 204)):
            async with rig.http.get(rig.url + path) as answer:
                assert answer.status == status


async def test_a_frame_larger_than_any_of_the_protocol_ends_one_connection() -> None:
    async with rigged() as rig:
        row, key = rig.hive.add_client("big"), generate_static_key()
        ws, _ = await rig.join("big", row, key)
        await ws.close()
        ws, _ = await rig.join("big", row, key)  # it has met v3 now, and nothing older is possible
        other, link = await rig.join("other")
        await ws.send_bytes(b"x" * 70_000)
        message = await ws.receive(60)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 1009
        assert (await rig.ask(other, link, "fine")).payload.data == {"utterance": "fine"}


async def test_pings_are_answered_and_asked() -> None:
    async with rigged(replace(CONFIG, ping_interval_s=0.1, ping_timeout_s=60.0)) as rig:
        ws, _ = await rig.join("kitchen")
        await ws.ping(b"mine")
        wanted = {aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG}
        while wanted:
            seen = (await ws.receive(60)).type
            assert seen in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG)
            wanted.discard(seen)


async def test_a_peer_that_answers_no_ping_is_cut() -> None:
    async with rigged(replace(CONFIG, ping_interval_s=0.1, ping_timeout_s=1.0)) as rig:
        ws, _ = await rig.join("kitchen")
        await rig.empty()
        assert len(rig.hive.agent.of_type("hive.client.disconnect")) == 1
        await ws.close()


async def test_stopping_says_1001() -> None:
    async with rigged() as rig:
        ws, _ = await rig.join("kitchen")
        stopping = asyncio.ensure_future(rig.transport.stop())
        message = await ws.receive(60)
        assert (message.type, message.data, message.extra) == (
            aiohttp.WSMsgType.CLOSE,
            1001,
            "the hub is shutting down",
        )
        await ws.close()
        await stopping


async def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with MemoryHive() as hive:
            transport = WebSocketTransport(hive.hub, replace(CONFIG, port=port))
            with pytest.raises(BindError, match=f"Port {port} is in use"):
                await transport.start()


# what a stranger brings

UPGRADE = (
    "Host: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
AWKWARD_KEY = "ab>cd?e"
"""With the useragent `ua`, its base64 holds `+`, `/` and `=`."""


async def raw(rig: Rig, query: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Ask for an upgrade with these very bytes as query; what was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.transport.port)
    writer.write(b"GET /?" + query + b" HTTP/1.1\r\n" + UPGRADE.encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    return reader, writer, head.partition(b"\r\n")[0]


async def first_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return opcode and payload of the first frame, which is longer than 125 bytes only if it is the hub's HELLO."""
    head = await asyncio.wait_for(reader.readexactly(2), 60)
    size = head[1] if head[1] < 126 else int.from_bytes(await reader.readexactly(2), "big")
    return head[0] & 15, await asyncio.wait_for(reader.readexactly(size), 60)


def spellings() -> list[str]:
    token = b64encode(f"ua:{AWKWARD_KEY}".encode()).decode()
    assert all(sign in token for sign in "+/=")
    return [
        token,
        quote(token, safe=""),
        quote(token, safe="/="),
        token.replace("=", "%3D"),
        token.replace("/", "%2f").replace("+", "%2b"),
        token.replace("+", " ").replace(" ", "%20"),
    ]


@pytest.mark.parametrize("spelling", spellings())
async def test_a_token_is_read_however_it_is_escaped(spelling: str) -> None:
    """Released clients put the base64 into the URL as it is; others escape it."""
    async with rigged() as rig:
        rig.hive.add_client("kitchen", api_key=AWKWARD_KEY)
        reader, writer, status = await raw(rig, f"authorization={spelling}".encode())
        opcode, payload = await first_frame(reader)
        assert (status.split()[1], opcode) == (b"101", 1), payload
        assert b'"hello"' in payload
        writer.close()


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"authorization",
        b"authorization=",
        b"Authorization=dWE6a2V5",
        b"authorization=dWE6a2V5&authorization=dWE6a2V5",
        b"authorization=" + b64encode(b"ua:" + b"k" * 4000),
        b"authorization=dWE6a2V5%C3%A9",
        b"authorization=dWE6a2V5%FF%00",
        b"authorization=%",
    ],
)
async def test_a_token_that_is_none_is_refused(query: bytes) -> None:
    async with rigged() as rig:
        rig.hive.add_client("kitchen", api_key="key")
        reader, writer, _ = await raw(rig, query)
        opcode, payload = await first_frame(reader)
        assert (opcode, payload) == (8, (1008).to_bytes(2, "big") + b"invalid authorization")
        writer.close()


@pytest.mark.parametrize("query", ["authorization=dWE6a2V5é".encode(), b"authorization=\xff\xfe", b"a=" + b"x" * 9000])
async def test_bytes_that_are_no_query_harm_nobody(query: bytes) -> None:
    async with rigged() as rig:
        rig.hive.add_client("kitchen", api_key="key")
        _, writer, status = await raw(rig, query)
        assert status.split()[1] in (b"101", b"400")
        writer.close()
        ws, link = await rig.join("other")
        assert (await rig.ask(ws, link, "fine")).payload.data == {"utterance": "fine"}


async def test_an_access_key_alone_buys_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    """Its row may speak older protocols, whose frames are long; it has proven nothing yet."""
    async with rigged() as rig:
        row = rig.hive.add_client("kitchen")
        _, writer, _ = await raw(rig, f"authorization={rig.token(row.api_key)}".encode())
        size = 9 * 1024 * 1024
        tracemalloc.start()
        writer.write(b"\x82\xff" + size.to_bytes(8, "big") + bytes(4))
        with contextlib.suppress(ConnectionError):
            for _ in range(size // 65536):
                writer.write(bytes(65536))
                await asyncio.wait_for(writer.drain(), 60)
        await rig.empty()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 * 1024 * 1024
        writer.close()


async def test_a_session_of_an_older_protocol_may_send_long_frames() -> None:
    """Below v3 a message is one frame (docs/protocol.md 5.3)."""
    async with rigged() as rig:
        ws, link = await rig.join("kitchen", max_version=2)
        size = 5 * 1024 * 1024
        assert (await rig.ask(ws, link, "x" * size)).payload.data == {"utterance": str(size)}


async def test_a_session_of_the_newest_protocol_has_short_ones_even_where_older_ones_may_be_long() -> None:
    async with rigged() as rig:
        ws, _ = await rig.join("kitchen")
        await ws.send_bytes(bytes(5 * 1024 * 1024))
        message = await ws.receive(60)
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1008, "invalid message")


# where it comes from


@pytest.mark.parametrize(("trusted", "remote"), [("127.0.0.0/8", "203.0.113.5"), ("10.0.0.0/8", "127.0.0.1")])
async def test_the_address_behind_a_proxy(trusted: str, remote: str) -> None:
    proxies = TrustedProxies(networks(trusted))
    async with rigged(replace(CONFIG, proxies=proxies)) as rig:
        row = rig.hive.add_client("kitchen")
        headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.5"}
        ws = await rig.connect(row.api_key, **headers)
        await ws.receive(60)
        (peer,) = rig.hive.hub.peers.connections()
        assert peer.conn.remote == remote
        async with rig.http.get(rig.url + "_healthz", headers=headers) as answer:
            assert answer.status == 204, "who asks is whoever has the socket"


# TLS


async def test_a_conversation_over_tls(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path / "tls")
    async with rigged(replace(CONFIG, tls=files)) as rig:
        assert rig.transport.address == f"wss://127.0.0.1:{rig.transport.port}"
        assert files.key.exists()
        ws, link = await rig.join("kitchen")
        assert (await rig.ask(ws, link, "hi")).payload.data == {"utterance": "hi"}
        assert (await rig.ask(ws, link, "x" * 200_000)).payload.data == {"utterance": "x" * 200_000}
        await ws.close()
        await rig.empty()


async def test_without_a_usable_certificate_it_does_not_listen(tmp_path: Path) -> None:
    (tmp_path / "hivemind.key").write_text("no key")
    async with MemoryHive() as hive:
        transport = WebSocketTransport(hive.hub, replace(CONFIG, tls=CertificateFiles(tmp_path)))
        with pytest.raises(BindError, match=r"hivemind\.crt beside it is missing"):
            await transport.start()


async def test_plain_text_at_a_tls_port_harms_nobody(tmp_path: Path) -> None:
    async with rigged(replace(CONFIG, tls=CertificateFiles(tmp_path))) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.transport.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), 60)
        writer.close()
        ws, link = await rig.join("kitchen")
        assert (await rig.ask(ws, link, "fine")).payload.data == {"utterance": "fine"}


@pytest.mark.parametrize(
    ("host", "scheme", "address"),
    [("0.0.0.0", "ws", "ws://0.0.0.0:1"), ("::1", "ws", "ws://[::1]:1"), ("::1", "wss", "wss://[::1]:1")],
)
async def test_the_address_is_written_as_people_do(host: str, scheme: str, address: str, tmp_path: Path) -> None:
    tls = CertificateFiles(tmp_path) if scheme == "wss" else None
    async with MemoryHive() as hive:
        assert WebSocketTransport(hive.hub, WebSocketConfig(host, 1, tls=tls)).address == address


async def test_other_methods_are_not_upgraded() -> None:
    async with rigged() as rig:
        async with rig.http.post(rig.url, data=b"x" * 1000) as answer:
            assert answer.status == 400
            assert answer.headers["Connection"] == "close"
        async with rig.http.head(rig.url + "_healthz") as answer:
            assert answer.status == 204


@pytest.mark.parametrize("path", [b"/", b"/_healthz"])
async def test_a_header_that_is_no_text_fails_nothing(path: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with rigged() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.transport.port)
        head = UPGRADE.encode().replace(b"websocket", b"websock\xfft", 1)
        writer.write(b"GET " + path + b" HTTP/1.1\r\n" + head)
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.split()[1] in (b"204", b"400")
        writer.close()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("leaves", ["with a word", "without"])
async def test_what_a_connection_held_goes_with_it(leaves: str) -> None:
    """Not only when cyclic garbage is looked for: with thousands of them that takes long."""
    async with rigged() as rig:
        ws, link = await rig.join("kitchen")
        await rig.ask(ws, link, "hi")
        connection = rig.hive.hub.peers.connections()[0].conn
        held = [weakref.ref(connection), weakref.ref(connection._ws)]  # a peer has slots
        del connection
        gc.disable()
        try:
            if leaves == "without":
                ws._response.close()
            else:
                await ws.close()
            await rig.empty()
            await reached(lambda: not any(each() for each in held))
        finally:
            gc.enable()


async def test_strangers_are_turned_away_in_turn() -> None:
    """They have waited for one look at the database, all of them."""
    async with rigged() as rig:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        rig.transport._turnstile.enter = lambda: turn
        coming = asyncio.ensure_future(rig.connect("a key that nobody has"))
        done, _ = await asyncio.wait({coming}, timeout=0.5)
        assert not done
        turn.set_result(None)
        ws = await coming
        assert (await ws.receive(60)).type is aiohttp.WSMsgType.CLOSE


async def test_waiting_in_line_is_not_held_against_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever comes back in a crowd would not be read for seconds."""
    time = asyncio.get_running_loop().time
    through: list[float] = []
    read: list[float] = []

    def noted(share: LoopShare, began: float, ended: float) -> float | None:
        read.append(began)
        return pause_after(share, began, ended)

    async def enter() -> None:
        await asyncio.sleep(0.01)
        through.append(time())

    pause_after = LoopShare.pause_after
    monkeypatch.setattr(LoopShare, "pause_after", noted)
    async with rigged() as rig:
        rig.transport._turnstile.enter = enter
        await rig.join("kitchen")
        await reached(lambda: len(read) >= len(through) >= 2)
        assert all(began >= end for began, end in zip(read, through, strict=False))


async def test_what_one_connection_uses_of_the_loop_counts_for_all_of_its_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And for nobody else; nor does what a stranger uses who merely knows its access key."""
    monkeypatch.setattr(fairness, "LONGEST_PAUSE_S", 3600.0)
    async with rigged() as rig:
        kitchen, key = rig.hive.add_client("kitchen"), generate_static_key()
        one, other = [await rig.join("kitchen", kitchen, key) for _ in range(2)]
        unproven = await rig.connect(kitchen.api_key)
        hall = await rig.join("hall")
        for ws, link in (one, other, hall):
            assert (await rig.ask(ws, link, "first")).payload.data == {"utterance": "first"}
        peers = rig.hive.hub.peers.of_client(kitchen.client_id)
        [stranger] = [peer for peer in peers if not peer.link.is_open]
        now = asyncio.get_running_loop().time()
        stranger.loop_share.pause_after(now - 500, now)
        assert (await rig.ask(*other, "not held against it")).payload.data == {"utterance": "not held against it"}
        next(peer for peer in peers if peer.link.is_open).loop_share.pause_after(now - 500, now)
        for text in ("the last that is read", "later"):
            for ws, link in (other, hall):
                link.send(HiveMessage("bus", Message("recognizer_loop:utterance", {"utterances": [text]})))
                await rig.flush(ws, link)
        await reached(lambda: rig.hive.agent.utterances.count("later") == 1)
        await reached(lambda: rig.hive.agent.utterances.count("the last that is read") == 2)
        assert rig.hive.agent.utterances.count("later") == 1
        await unproven.close()


async def reached(condition: Callable[[], bool]) -> None:
    """Wait for it; only a test that fails waits long."""
    end = asyncio.get_running_loop().time() + 30
    while not condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.01)
