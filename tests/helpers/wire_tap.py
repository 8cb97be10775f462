"""A wire between a satellite and a hub that notes what passes: `python wire_tap.py --to PORT [--port N]`.

It copies bytes unchanged, so closes and pings are the two sides' own, and prints one JSON line an event:
`up`, `http` (head of a request or answer), `text`, `binary`, `close` (code, reason), `ping`, `pong`, `down`.
`from` is `satellite` or `hub`, `link` counts the connections.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

CHUNK = 65536
OPCODES = {1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}


def note(link: int, event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "link": link, **fields}), flush=True)


@dataclass
class Frame:
    opcode: int
    final: bool
    body: bytes


def take_frame(data: bytearray) -> Frame | None:
    """Remove the first whole WebSocket frame from `data` (RFC 6455 5.2), if there is one."""
    if len(data) < 2:
        return None
    head, masked, size = 2, data[1] & 0x80, data[1] & 0x7F
    if size >= 126:
        width = 2 if size == 126 else 8
        size = int.from_bytes(data[2 : 2 + width], "big")
        head += width
    mask_at, head = head, head + (4 if masked else 0)
    if len(data) < head + size:
        return None
    body = bytes(data[head : head + size])
    if masked:
        mask = data[mask_at : mask_at + 4] * (size // 4 + 1)
        body = bytes(a ^ b for a, b in zip(body, mask, strict=False))
    frame = Frame(data[0] & 0x0F, bool(data[0] & 0x80), body)
    del data[: head + size]
    return frame


@dataclass
class Reader:
    """One direction of one connection: bytes in, notes out."""

    link: int
    sender: str
    buffer: bytearray = field(default_factory=bytearray)
    upgraded: bool = False
    parts: list[Frame] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        self.buffer += data
        if not self.upgraded:
            self._head()
        while self.upgraded and (frame := take_frame(self.buffer)):
            self._frame(frame)

    def _head(self) -> None:
        head, end, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        if end:
            self.upgraded, self.buffer = True, bytearray(rest)
            note(self.link, "http", **{"from": self.sender}, head=head.decode("latin-1"))

    def _frame(self, frame: Frame) -> None:
        if frame.opcode >= 8:
            self._message(frame.opcode, frame.body)
            return
        self.parts.append(frame)
        if frame.final:
            self._message(self.parts[0].opcode, b"".join(part.body for part in self.parts))
            self.parts = []

    def _message(self, opcode: int, body: bytes) -> None:
        event = OPCODES.get(opcode, "unknown")
        fields: dict[str, Any] = {"from": self.sender, "size": len(body)}
        if event == "text":
            fields["text"] = body.decode("utf-8", "replace")
        if event == "close":
            fields["code"] = int.from_bytes(body[:2], "big") if body else 1005
            fields["reason"] = body[2:].decode("utf-8", "replace")
        note(self.link, event, **fields)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, notes: Reader) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            notes.feed(data)  # before anybody can act on it
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


class Tap:
    def __init__(self, target: int) -> None:
        self._target = target
        self._links = 0

    async def link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links += 1
        number = self._links
        try:
            hub_reader, hub_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        note(number, "up")
        await asyncio.gather(
            copy(reader, hub_writer, Reader(number, "satellite")),
            copy(hub_reader, writer, Reader(number, "hub")),
        )
        note(number, "down")
        for side in (writer, hub_writer):
            side.close()


async def run(port: int, target: int) -> None:
    server = await asyncio.start_server(Tap(target).link, "127.0.0.1", port)
    note(0, "ready", port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--to", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(run(options.port, options.to))


if __name__ == "__main__":
    main()
