"""How an input becomes what a target wants: choices from its front, and pieces of its rest."""

from __future__ import annotations

BREAK = b"\xff\xfe"
"""Between pieces; no text in UTF-8 has it."""


class Choices:
    """Reads an input from its front; beyond its end everything is 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """Return the next byte."""
        found = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return found

    def below(self, end: int) -> int:
        """Return a number below `end`, of two bytes where one is too few."""
        number = self.byte() if end <= 256 else self.byte() << 8 | self.byte()
        return number % end

    def take(self, size: int) -> bytes:
        """Return so many bytes, or those that are left."""
        found = self._data[self._at : self._at + size]
        self._at += size
        return found

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._data)

    def rest(self) -> bytes:
        """Return what is left."""
        return self.take(len(self._data))


def pieces(data: bytes, most: int) -> list[bytes]:
    """Return what stands between breaks."""
    return data.split(BREAK, most)[:most] if data else []


def as_frame(piece: bytes) -> bytes | str:
    """Return a piece as a WebSocket message: binary where it begins with a zero byte, or is no text."""
    if piece[:1] == b"\0":
        return piece[1:]
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return piece


HOSTILE_JSON = (
    b"[" * 1500,
    b"[" * 1500 + b"]" * 1500,
    b'{"a":' * 1200 + b"1" + b"}" * 1200,
    b'{"a": ' + b"1" * 4400 + b"}",
    b'{"a": 1e400, "b": NaN, "c": -Infinity}',
    b'{"a": "\\ud800"}',
    b'{"\\udfff": 1}',
    b"\xef\xbb\xbf{}",
    b'{"a": "\xff"}',
    b'{"a": "\\u0000\\u2028\\r\\n"}',
    b"[]",
    b"null",
    b"",
)
"""What JSON readers stumble over."""
