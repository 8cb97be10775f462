"""WebSocket frames (RFC 6455 5.2), written and read by hand."""

from __future__ import annotations

from collections.abc import Iterator

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def written(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """Return a frame of a client; its mask is zero, so that what it holds can be seen."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([opcode | (0x80 if final else 0)]) + length + bytes(4) + payload


def read(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and payload of each frame that a server has written."""
    while len(data) >= 2:
        size, at = data[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
        assert not data[1] & 0x80, "a server does not mask"
        yield data[0] & 0x0F, data[at : at + size]
        data = data[at + size :]
