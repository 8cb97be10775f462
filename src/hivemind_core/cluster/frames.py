"""What one entry of a stream holds: a head that keeps both ends in step, and frames as JSON, a line each."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from hivemind_bus_client import codec
from hivemind_bus_client.exceptions import InvalidJson

MAX_FRAME_BYTES = 12 * 1024 * 1024

_HEAD = struct.Struct(">QQQQQ")


class CannotTravel(Exception):
    """A frame that is too large, or that the other end would not read."""


class Head(NamedTuple):
    """What a member says beside its frames; numbers are of entries, 0 is none."""

    at_ms: int
    """When the oldest of the frames was given to be sent, by Redis's clock."""
    base: int = 0
    """The sender sends no entry below this one any more: they arrived, or have been given up."""
    taken: int = 0
    """Every entry of the receiver up to this one has been handed over."""
    refused: int = 0
    """Those after `taken` up to this one came too late, and were not."""
    wanted: int = 0
    """This one and those after it are missing."""


def encode(frame: dict[str, Any]) -> bytes:
    """Write a frame. Raises CannotTravel; TypeError or ValueError where it is not JSON."""
    text = codec.dumps_bytes(frame)
    if len(text) > MAX_FRAME_BYTES:
        raise CannotTravel(f"a frame of {len(text)} bytes")
    if text.count(b"{") + text.count(b"[") > codec.MAX_DEPTH or not codec.is_readable(text):
        try:
            codec.loads(text)
        except InvalidJson as error:
            raise CannotTravel(str(error)) from None
    return text


def decode(text: bytes) -> dict[str, Any]:
    """Read a frame. Raises InvalidJson."""
    frame = codec.loads(text)
    if not isinstance(frame, dict):
        raise InvalidJson("a frame is an object")
    return frame


def pack(head: Head, frames: list[bytes]) -> bytes:
    """Return the content of an entry; none of the frames holds a line break, for compact JSON has none."""
    return _HEAD.pack(*head) + b"\n".join(frames)


def unpack(content: bytes) -> tuple[Head, list[bytes]]:
    """Return what `pack` put together. Raises InvalidJson."""
    if len(content) < _HEAD.size:
        raise InvalidJson("an entry without a head")
    lines = content[_HEAD.size :]
    return Head(*_HEAD.unpack_from(content)), lines.split(b"\n") if lines else []
