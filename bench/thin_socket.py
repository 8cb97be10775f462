"""The satellite's end of a WebSocket (RFC 6455), as thin as it can be, so that thousands cost the machine little.

Knows what hubs send: whole messages without extensions. Masks with zeros, which hubs can not tell from any other mask.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from typing import Final, cast

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
MASKED = 0x80
NO_MASK = bytes(4)
ENDED = 1006
"""The close code of a connection that ended without one."""


class SocketFailed(Exception):
    """The other end did not open a WebSocket."""


class ThinSocket(asyncio.Protocol):
    """One connection. `on_frame` gets each message, `on_end` once the close code and its reason."""

    def __init__(self, on_frame: Callable[[bytes | str], None], on_end: Callable[[int, str], None]) -> None:
        self.on_frame = on_frame
        self._on_end: Callable[[int, str], None] | None = on_end
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._upgraded: asyncio.Future[None] | None = None
        self._is_open = False
        self._pong: asyncio.Future[None] | None = None

    async def open(self, host: str, port: int, target: str) -> None:
        """Connect and upgrade. Raises SocketFailed, or OSError."""
        loop = asyncio.get_running_loop()
        self._upgraded = loop.create_future()
        await loop.create_connection(lambda: self, host, port)
        assert self._transport is not None
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {host}:{port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        self._transport.write("\r\n".join([*lines, "", ""]).encode())
        await self._upgraded

    def send(self, frame: bytes | str) -> None:
        """Send a message."""
        kind, data = (TEXT, frame.encode()) if isinstance(frame, str) else (BINARY, frame)
        self._write(kind, data)

    async def ping(self) -> None:
        """Send a ping and wait for its pong."""
        self._pong = asyncio.get_running_loop().create_future()
        self._write(PING, b"")
        await self._pong

    def close(self) -> None:
        """Say goodbye; the other end then closes."""
        if self._is_open:
            self._write(CLOSE, struct.pack(">H", 1000))
        elif self._transport is not None:
            self._transport.abort()

    def _write(self, kind: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = bytes((0x80 | kind, MASKED | size))
        elif size < 65_536:
            head = struct.pack(">BBH", 0x80 | kind, MASKED | 126, size)
        else:
            head = struct.pack(">BBQ", 0x80 | kind, MASKED | 127, size)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head + NO_MASK + data)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open and not self._upgrade():
            return
        while self._take():
            pass

    def connection_lost(self, error: Exception | None) -> None:
        self._end(ENDED, str(error or ""))

    def _upgrade(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._upgraded is None or self._upgraded.done():
            return False
        status = bytes(self._buffer[: self._buffer.find(b"\r\n")]).decode()
        if status.split()[1:2] != ["101"]:
            self._upgraded.set_exception(SocketFailed(status))
            return False
        del self._buffer[: end + 4]
        self._is_open = True
        self._upgraded.set_result(None)
        return True

    def _take(self) -> bool:
        """Handle one frame; False where there is no whole one."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, start = buffer[1], 2
        if size == 126:
            size, start = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < start + size:
            return False
        kind, data = buffer[0] & 15, bytes(buffer[start : start + size])
        del buffer[: start + size]
        self._handle(kind, data)
        return True

    def _handle(self, kind: int, data: bytes) -> None:
        if kind == BINARY:
            self.on_frame(data)
        elif kind == TEXT:
            self.on_frame(data.decode())
        elif kind == PING:
            self._write(PONG, data)
        elif kind == PONG and self._pong is not None and not self._pong.done():
            self._pong.set_result(None)
        elif kind == CLOSE:
            self._write(CLOSE, data[:2])
            code = int.from_bytes(data[:2], "big") if len(data) >= 2 else ENDED
            self._end(code, data[2:].decode("utf-8", "replace"))

    def _end(self, code: int, reason: str) -> None:
        self._is_open = False
        failed = SocketFailed(f"closed with {code} {reason}")
        for waiting in (self._upgraded, self._pong):
            if waiting is not None and not waiting.done():
                waiting.set_exception(failed)
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(code, reason)
        if self._transport is not None:
            self._transport.close()
