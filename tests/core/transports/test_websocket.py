"""The WebSocket transport over real sockets, with the real hub behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from hivemind_bus_client.link import ClientTerms, KeyNeeded, Link, Received
from hivemind_bus_client.message import HiveMessage, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.config import WebSocketConfig
from hivemind_core.testing import MemoryHive, quick_psk
from hivemind_core.transports import BindError
from hivemind_core.transports.websocket import WebSocketTransport

CONFIG = WebSocketConfig(host="127.0.0.1", port=0)


def echo(message: Message) -> Message | None:
    said = message.data.get("utterances")
    return message.reply("speak", {"utterance": said[0]}) if said else None


class Rig:
    """A hub behind a real socket, and satellites that are a Link each."""

    def __init__(self, hive: MemoryHive, transport: WebSocketTransport, http: aiohttp.ClientSession) -> None:
        self.hive = hive
        self.transport = transport
        self.http = http
        self.url = f"http://127.0.0.1:{transport.port}/"

    def token(self, key: str) -> str:
        return b64encode(f"ua:{key}".encode()).decode()

    async def connect(self, key: str) -> aiohttp.ClientWebSocketResponse:
        return await self.http.ws_connect(self.url, params={"authorization": self.token(key)}, autoping=False)

    async def join(self, name: str) -> tuple[aiohttp.ClientWebSocketResponse, Link]:
        row = self.hive.add_client(name)
        ws = await self.connect(row.api_key)
        link = Link.client(ClientTerms(generate_static_key(), {"session": {"session_id": name}}), 0.0)
        while not link.is_open:
            for event in link.receive((await ws.receive(5)).data, 0.0):
                if isinstance(event, KeyNeeded):
                    link.key_derived(quick_psk(row.password or "", event.node_id), 0.0)
            await self.flush(ws, link)
        return ws, link

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
            for event in link.receive((await ws.receive(5)).data, 0.0):
                if isinstance(event, Received):
                    return event.message


@contextlib.asynccontextmanager
async def rigged(config: WebSocketConfig = CONFIG) -> AsyncIterator[Rig]:
    async with MemoryHive() as hive:
        hive.agent.respond = echo
        transport = WebSocketTransport(hive.hub, config)
        await transport.start()
        async with aiohttp.ClientSession() as http:
            yield Rig(hive, transport, http)
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
        message = await ws.receive(5)
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1008, reason)


async def test_other_paths_and_plain_requests() -> None:
    async with rigged() as rig:
        for path, status in (("", 400), ("x", 404), ("_healthz", 204)):
            async with rig.http.get(rig.url + path) as answer:
                assert answer.status == status


async def test_a_frame_larger_than_any_of_the_protocol_ends_one_connection() -> None:
    async with rigged() as rig:
        ws, _ = await rig.join("big")
        other, link = await rig.join("other")
        await ws.send_bytes(b"x" * 70_000)
        message = await ws.receive(5)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 1009
        assert (await rig.ask(other, link, "fine")).payload.data == {"utterance": "fine"}


async def test_pings_are_answered_and_asked() -> None:
    async with rigged(replace(CONFIG, ping_interval_s=0.1, ping_timeout_s=5.0)) as rig:
        ws, _ = await rig.join("kitchen")
        await ws.ping(b"mine")
        seen = {(await ws.receive(5)).type for _ in range(2)}
        assert seen == {aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG}


async def test_a_peer_that_answers_no_ping_is_cut() -> None:
    async with rigged(replace(CONFIG, ping_interval_s=0.1, ping_timeout_s=0.2)) as rig:
        ws, _ = await rig.join("kitchen")
        await rig.empty()
        assert len(rig.hive.agent.of_type("hive.client.disconnect")) == 1
        await ws.close()


async def test_stopping_says_1001() -> None:
    async with rigged() as rig:
        ws, _ = await rig.join("kitchen")
        stopping = asyncio.ensure_future(rig.transport.stop())
        message = await ws.receive(5)
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
