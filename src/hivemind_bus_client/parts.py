"""Parts of long messages inside a protocol v3 session (docs/protocol.md 7.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .exceptions import NoiseTransportFailed

CHUNK_SIZE = 65_000
MAX_REASSEMBLY_BYTES = 32 * 1024 * 1024

SINGLE_JSON, SINGLE_BINARY, FIRST_JSON, FIRST_BINARY, MORE, LAST = (bytes((marker,)) for marker in range(6))


def split_message(body: bytes, binary: bool) -> Iterator[bytes]:
    """Yield the plaintext frames, marker first, that carry one message."""
    if len(body) <= CHUNK_SIZE:
        yield (SINGLE_BINARY if binary else SINGLE_JSON) + body
        return
    starts: Sequence[int] = range(0, len(body), CHUNK_SIZE)
    for start in starts:
        marker = (FIRST_BINARY if binary else FIRST_JSON) if start == 0 else MORE
        yield (LAST if start == starts[-1] else marker) + body[start : start + CHUNK_SIZE]


class PartsBudget:
    """What the unfinished messages of many connections may hold together, in bytes."""

    __slots__ = ("_left",)

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, size: int) -> bool:
        """Take so much; False, and nothing is taken, when there is not enough left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self._left += size


class Reassembler:
    """Puts the parts of long messages together; at most `limit` bytes are ever held, and taken from `budget`."""

    __slots__ = ("_binary", "_budget", "_limit", "_parts", "_size")

    def __init__(self, limit: int = MAX_REASSEMBLY_BYTES, budget: PartsBudget | None = None) -> None:
        self._limit = limit
        self._budget = budget
        self._parts: list[bytes] | None = None
        self._size = 0
        self._binary = False

    @property
    def is_waiting(self) -> bool:
        """A message has begun and is not complete."""
        return self._parts is not None

    def feed(self, plaintext: bytes) -> tuple[bytes, bool] | None:
        """Take one decrypted frame; return (body, is binary) of a whole message, or None while parts are missing.

        Raises NoiseTransportFailed when parts do not follow each other or are too large together.
        """
        marker = plaintext[:1]
        if self._parts is None:
            if marker in (SINGLE_JSON, SINGLE_BINARY):
                return plaintext[1:], marker == SINGLE_BINARY
            if marker not in (FIRST_JSON, FIRST_BINARY):
                raise NoiseTransportFailed("a part came without its first part")
            self._parts, self._binary = [], marker == FIRST_BINARY
        elif marker not in (MORE, LAST):
            raise NoiseTransportFailed("a message began inside another")
        self._add(self._parts, plaintext[1:])
        if marker != LAST:
            return None
        whole = b"".join(self._parts)
        self.drop()
        return whole, self._binary

    def _add(self, parts: list[bytes], body: bytes) -> None:
        if self._size + len(body) > self._limit:
            raise NoiseTransportFailed("a message is larger than the limit")
        if self._budget is not None and not self._budget.take(len(body)):
            raise NoiseTransportFailed("too much is held for unfinished messages")
        self._size += len(body)
        parts.append(body)

    def drop(self) -> None:
        """Let go of what has come in of an unfinished message."""
        if self._budget is not None:
            self._budget.give_back(self._size)
        self._parts, self._size = None, 0
