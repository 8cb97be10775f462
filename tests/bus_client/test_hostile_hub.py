"""What a hub that is none, is broken or means harm does to a satellite, on real sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from helpers.link_hub import LinkHub, eventually
from helpers.live_hub import HOST, satellite
from hivemind_bus_client.driver import HandshakeTimedOut
from hivemind_bus_client.link import Link
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.rsa_keys import verifies

KEY, PASSWORD = "an-access-key", "correct horse battery staple 42"
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3


@pytest.mark.parametrize("place", ["wss://127.0.0.1:{port}/", "ws://127.0.0.1:99999999/", "ws://..:1/", "ws://[::1/"])
async def test_nobody_can_send_a_satellite_elsewhere(tmp_path: Path, place: str) -> None:
    asked = 0

    def redirect(connection: ServerConnection, request: Request) -> Response:
        nonlocal asked
        asked += 1
        return Response(HTTPStatus.FOUND, "Found", Headers(Location=place.format(port=port)))

    async def never(connection: ServerConnection) -> None:
        raise AssertionError("it was accepted")

    async with serve(never, HOST, 0, process_request=redirect) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = satellite(tmp_path, port, KEY, PASSWORD)
        client.start()
        await eventually(lambda: asked > 1)  # it tries again, and did not follow
        assert client._driver is not None
        assert client._driver.failure is None
        assert "HTTP 302" in client.problem
        await client.close()


class Insistent(LinkHub):
    """Says everything twice before the session."""

    def _link(self, key: str) -> Link:
        link = super()._link(key)
        link._out.extend(link._out[:])
        return link


async def test_a_second_hello_and_offer_are_ignored(tmp_path: Path) -> None:
    """docs/protocol.md 7.9."""
    async with Insistent({KEY: PASSWORD}) as hub:
        client = satellite(tmp_path, hub.port, KEY, PASSWORD)
        await client.connect(timeout=60)
        await client.close()
        assert hub.patterns == ["XXpsk2"]


async def test_no_other_connection_is_made_while_the_last_one_is_closed(tmp_path: Path) -> None:
    """The hub does not answer the close frame, and the socket ends in the moment the driver is cancelled."""
    connections = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key.split(b":")[1].strip() + ACCEPT).digest())
        writer.write(
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, HOST, 0)
    client = satellite(tmp_path, server.sockets[0].getsockname()[1], KEY, PASSWORD)
    with pytest.raises(HandshakeTimedOut):
        await client.connect(timeout=3)
    assert connections == 1
    server.close()


async def test_what_waits_counts_as_what_it_takes_not_as_what_came(tmp_path: Path) -> None:
    """One megabyte of the same letter comes in a kilobyte; a stuck handler must not let a thousand of them in."""
    stuck = asyncio.Event()

    async def wait(_: Any) -> None:
        await stuck.wait()

    async with LinkHub({KEY: PASSWORD}, binarize=True) as hub:
        client = satellite(tmp_path, hub.port, KEY, PASSWORD)
        client.on("speak", wait)
        await client.connect(timeout=60)
        (peer,) = hub.peers
        bomb = HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": "x" * 2**20}))
        for _ in range(3):
            await peer.send(bomb)
        await eventually(lambda: len(client._handlers._backlog) == 2)
        assert client._handlers._backlog._bytes > 2 * 2**20
        stuck.set()
        await client.close()


def test_a_hub_key_of_an_unknown_kind_signed_nothing() -> None:
    """Its algorithm is 1.2.3.4."""
    pem = "-----BEGIN PUBLIC KEY-----\nMA0wBQYDKgMEAwQAYWJj\n-----END PUBLIC KEY-----\n"
    assert not verifies(pem, b"signature", b"data")
