"""What the floors share: a bare aiohttp WebSocket server on uvloop, as the hub is one.

Who connects costs it what the keys of a session between known devices take (Noise KK), a new key and four agreements,
and nothing else of a handshake.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import WSMsgType, web
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from .bare_link import BareCipher

MAX_FRAME = 64 * 1024 * 1024
AGREEMENTS = 4


class Guests(Protocol):
    """What a floor does with those who are connected."""

    def entered(self, guest: Guest) -> None:
        """Take in a connection."""

    async def came(self, guest: Guest, data: bytes) -> None:
        """Take a message, decrypted."""

    def left(self, guest: Guest) -> None:
        """Forget a connection."""


class Guest:
    """One connection."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self.cipher = BareCipher()

    async def send(self, data: bytes) -> None:
        """Encrypt a message and send it."""
        await self._socket.send_bytes(self.cipher.seal(data))


def handler(guests: Guests) -> Callable[[web.Request], Awaitable[web.WebSocketResponse]]:
    """The handler of connections."""
    static = X25519PrivateKey.generate()
    device = X25519PrivateKey.generate().public_key()

    def agree() -> None:
        ephemeral = X25519PrivateKey.generate()
        for number in range(AGREEMENTS):
            (static if number % 2 else ephemeral).exchange(device)

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=MAX_FRAME)
        await socket.prepare(request)
        agree()
        guest = Guest(socket)
        guests.entered(guest)
        async for message in socket:
            if message.type != WSMsgType.BINARY:
                break
            await guests.came(guest, guest.cipher.open(message.data))
        guests.left(guest)
        return socket

    return handle


async def serve(port: int, guests: Guests, background: Awaitable[Any] | None = None) -> None:
    """Listen for ever, or as long as what runs in the background."""
    app = web.Application()
    app.router.add_get("/", handler(guests))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    gc.freeze()
    print("listening", flush=True)
    await (background or asyncio.Event().wait())
