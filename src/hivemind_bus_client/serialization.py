"""Binary frames: a HiveMessage as bits (docs/protocol.md 4).

Header and metadata of every type but BINARY fall on whole bytes; BINARY has four bits more and is therefore shifted
by half a byte up to its payload, which is aligned again. No general bit string is needed.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from . import codec
from .exceptions import (
    InvalidJson,
    MalformedBinaryFrame,
    MalformedWirePayload,
    MetadataTooLarge,
    UnsupportedProtocolVersion,
)
from .message import (
    HiveMessage,
    HiveMessageType,
    HiveMindBinaryPayloadType,
    Json,
    Message,
    as_message,
    is_bus_message,
)

__all__ = [
    "BINARY_ENCODABLE_TYPES",
    "MAX_FRAME_OUTPUT",
    "MAX_METADATA_BYTES",
    "PROTOCOL_VERSION",
    "Bits",
    "HiveMessage",
    "HiveMessageType",
    "HiveMindBinaryPayloadType",
    "decode_bitstring",
    "decode_frame",
    "encode_frame",
    "get_bitstring",
    "is_binary_encodable",
    "mycroft2bitstring",
]

PROTOCOL_VERSION = 1
MAX_METADATA_BYTES = 255

MAX_FRAME_OUTPUT = 32 * 1024 * 1024
"""Default limit of an inflated payload, in bytes; ours."""
MAX_METADATA_OUTPUT = 64 * 1024
"""Limit of inflated metadata, in bytes; ours. 255 bytes of zlib can become a quarter of a megabyte."""

INFLATE_FREE, INFLATE_RATIO = 1024 * 1024, 32
"""What a compressed frame from a satellite may become at our hubs: so many bytes, and so many for each of its own. The
first is half a minute of a muted microphone, as text."""

_INT2TYPE: dict[int, HiveMessageType] = {
    0: HiveMessageType.HANDSHAKE,
    1: HiveMessageType.BUS,
    2: HiveMessageType.SHARED_BUS,
    3: HiveMessageType.BROADCAST,
    4: HiveMessageType.PROPAGATE,
    5: HiveMessageType.ESCALATE,
    6: HiveMessageType.HELLO,
    7: HiveMessageType.QUERY,
    8: HiveMessageType.CASCADE,
    9: HiveMessageType.PING,
    10: HiveMessageType.RENDEZVOUS,
    11: HiveMessageType.THIRDPRTY,
    12: HiveMessageType.BINARY,
}
_TYPE2INT: dict[str, int] = {kind: code for code, kind in _INT2TYPE.items()}
_BINARY_CODE = _TYPE2INT[HiveMessageType.BINARY]
_SUBTYPES = frozenset(HiveMindBinaryPayloadType)
_ALWAYS_TEXT = frozenset({HiveMessageType.HELLO, HiveMessageType.HANDSHAKE, HiveMessageType.INTERCOM})
BINARY_ENCODABLE_TYPES = frozenset(_INT2TYPE.values())


class Bits:
    """A finished frame, for those who do not use the ``bitstring`` package: its length is counted in bits."""

    __slots__ = ("bytes",)

    def __init__(self, data: bytes) -> None:
        self.bytes = data

    @property
    def bin(self) -> str:
        """The bits as binary digits."""
        return "".join(f"{byte:08b}" for byte in self.bytes)

    @property
    def hex(self) -> str:
        """The bytes as hexadecimal digits."""
        return self.bytes.hex()

    def tobytes(self) -> bytes:
        """Return the bytes."""
        return self.bytes

    def __len__(self) -> int:
        return len(self.bytes) * 8

    def __bytes__(self) -> bytes:
        return self.bytes

    def __iter__(self) -> Iterator[bool]:
        return (digit == "1" for digit in self.bin)

    def __getitem__(self, index: int) -> bool:
        return self.bin[index] == "1"

    def __eq__(self, other: object) -> bool:
        data = getattr(other, "bytes", other)
        return self.bytes == data if isinstance(data, bytes) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as theirs, which can be changed

    def __repr__(self) -> str:
        return f"Bits('0x{self.hex}')"


def _frame_object(frame: bytes) -> Any:
    """Return the frame as a ``BitArray`` where the application imported ``bitstring``, else as `Bits`."""
    return getattr(sys.modules.get("bitstring"), "BitArray", Bits)(frame)


# --- encoding -----------------------------------------------------------------------------------------------


class _Parts(NamedTuple):
    """The fields of a frame before compression."""

    code: int
    payload: bytes
    metadata: bytes
    subtype: int = 0
    versioned: bool = False
    to_hub: bool = False
    """What says the same over and over is only stored in its zlib stream, for a hub would take it for a bomb."""


def _metadata_json(metadata: Json | None) -> bytes:
    return codec.spaced(metadata, ascii_only=True).encode("ascii") if metadata else b"{}"


def _frame(parts: _Parts, compressed: bool) -> bytes:
    metadata = zlib.compress(parts.metadata) if compressed else parts.metadata
    if len(metadata) > MAX_METADATA_BYTES:
        raise MetadataTooLarge(f"metadata of {len(metadata)} bytes; a binary frame holds {MAX_METADATA_BYTES}")
    kind = parts.code << 1 | compressed
    first = (0b11 << 14 | PROTOCOL_VERSION << 6 | kind).to_bytes(2, "big") if parts.versioned else bytes((0x80 | kind,))
    head = first + bytes((len(metadata),)) + metadata
    if parts.code != _BINARY_CODE:
        return head + (_deflate(parts) if compressed else parts.payload)
    shifted = int.from_bytes(head, "big") << 4 | parts.subtype
    return shifted.to_bytes(len(head) + 1, "big") + parts.payload


def _deflate(parts: _Parts) -> bytes:
    """Return the payload as a zlib stream."""
    packed = zlib.compress(parts.payload)
    is_bomb = parts.to_hub and len(parts.payload) > INFLATE_FREE + INFLATE_RATIO * len(packed)
    return zlib.compress(parts.payload, 0) if is_bomb else packed


def _shortest_frame(parts: _Parts) -> bytes:
    """Return the shorter form, the uncompressed one on a tie, or the only one that holds the metadata."""
    forms = []
    for compressed in (False, True):
        with suppress(MetadataTooLarge):
            forms.append(_frame(parts, compressed))
    if not forms:
        raise MetadataTooLarge(f"metadata does not fit {MAX_METADATA_BYTES} bytes, compressed or not")
    return min(forms, key=len)


def is_binary_encodable(message: HiveMessage) -> bool:
    """Tell whether a frame would carry all of a message; if not it travels as text (docs/protocol.md 4.6)."""
    kind = message.msg_type
    if kind == HiveMessageType.BINARY:
        return True
    if kind in _ALWAYS_TEXT or message.target_site_id or message.target_public_key:
        return False
    if len(_metadata_json(message.metadata)) > MAX_METADATA_BYTES:
        return False
    # The receiver takes the outer route from the inner message.
    carried = message.body.get("route") if isinstance(message.body, dict) else None
    return message.route == (carried or [])


def _subtype(value: int) -> int:
    """Return what is written for a subtype: unassigned ones are UNDEFINED (docs/protocol.md 4.4)."""
    return int(value) if value in _SUBTYPES else 0


def encode_frame(message: HiveMessage, compressed: bool | None = None, *, to_hub: bool = False) -> bytes:
    """Return the frame of a message.

    `compressed` None takes the shorter form; a form that cannot hold the metadata gives way to the one that can. A
    frame `to_hub` never inflates to more than our hubs take.
    Raises MetadataTooLarge when none can, MalformedWirePayload for a payload that is no object, and ValueError for
    a type that has no code.
    """
    code = _TYPE2INT.get(message.msg_type)
    if code is None:
        raise ValueError(f"{message.msg_type} has no binary form: send it as text")
    body = message.body
    if code != _BINARY_CODE:
        if not isinstance(body, dict):
            raise _no_object(message.msg_type, body)
        body = codec.dumps_bytes(body)
    parts = _Parts(code, body, _metadata_json(message.metadata), _subtype(message.bin_type), to_hub=to_hub)
    if compressed is None:
        return _shortest_frame(parts)
    try:
        return _frame(parts, compressed)
    except MetadataTooLarge:
        return _frame(parts, not compressed)


def _no_object(kind: Any, payload: Any) -> MalformedWirePayload:
    return MalformedWirePayload(f"{kind} payload must be a JSON object, got {type(payload).__name__}")


def _payload_bytes(kind: Any, payload: Any) -> bytes:
    """Return the JSON of whatever may be a payload, as released packages spell it (docs/protocol.md 4.3)."""
    if isinstance(payload, HiveMessage):
        return codec.spaced(payload.as_dict).encode("utf-8")
    if is_bus_message(payload):
        return codec.spaced(as_message(payload).as_dict).encode("utf-8")
    if isinstance(payload, dict):
        return codec.spaced(payload, ascii_only=True).encode("ascii")
    text = payload.serialize() if hasattr(payload, "serialize") else payload
    if not isinstance(text, str):
        raise _no_object(kind, payload)
    try:
        value = codec.loads(text)
    except InvalidJson as error:
        raise MalformedWirePayload(f"{kind} payload is text that is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _no_object(kind, value)
    return text.encode("utf-8")


def _raw_bytes(data: Any) -> bytes:
    data = getattr(data, "bytes", data)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise MalformedWirePayload(f"a BINARY payload is bytes, got {type(data).__name__}")
    return bytes(data)


def get_bitstring(
    hive_type: HiveMessageType | str = HiveMessageType.BUS,
    payload: Any = None,
    compressed: bool | None = None,
    hivemeta: Json | None = None,
    binary_type: HiveMindBinaryPayloadType | int = HiveMindBinaryPayloadType.UNDEFINED,
    proto_version: int = PROTOCOL_VERSION,
    versioned: bool = False,
) -> Any:
    """Return the frame of a payload: a message, anything with ``serialize()``, a dict, JSON text, or bytes.

    What is returned has ``bytes`` and a length in bits: `Bits`, or ``bitstring.BitArray`` in an application that
    imported that package.

    Raises ValueError, MalformedWirePayload, MetadataTooLarge, UnsupportedProtocolVersion.
    """
    if proto_version > PROTOCOL_VERSION:
        raise UnsupportedProtocolVersion(f"Max Supported Version: {PROTOCOL_VERSION}")
    code = _TYPE2INT.get(hive_type)
    if code is None:
        raise ValueError(f"{hive_type} has no binary form: send it as text")
    metadata = _metadata_json(hivemeta)
    if code == _BINARY_CODE:
        parts = _Parts(code, _raw_bytes(payload), metadata, _subtype(binary_type), versioned)
    else:
        parts = _Parts(code, _payload_bytes(hive_type, payload), metadata, 0, versioned)
    return _frame_object(_shortest_frame(parts) if compressed is None else _frame(parts, compressed))


def mycroft2bitstring(msg: Message | str, compressed: bool = False) -> Any:
    """Return the BUS frame of a bus message, its context as metadata. Raises as `get_bitstring` does."""
    bus = Message.deserialize(msg) if isinstance(msg, str) else msg
    return get_bitstring(HiveMessageType.BUS, bus, compressed, bus.context)


# --- decoding -----------------------------------------------------------------------------------------------


def _inflate(data: bytes, limit: int) -> bytes:
    """Inflate, never to more than `limit` bytes; what follows the zlib stream is ignored."""
    stream = zlib.decompressobj()
    try:
        output = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise MalformedBinaryFrame(f"not a zlib stream: {error}") from None
    if len(output) > limit:
        raise MalformedBinaryFrame(f"inflates to more than {limit} bytes")
    if not stream.eof:
        raise MalformedBinaryFrame("the zlib stream is cut short")
    return output


def _object(data: bytes, what: str) -> Json:
    try:
        value = codec.loads(data)
    except InvalidJson as error:
        raise MalformedBinaryFrame(f"the {what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedBinaryFrame(f"the {what} is not an object")
    return value


class _Head(NamedTuple):
    """The fixed fields of a frame."""

    kind: HiveMessageType
    compressed: bool
    metadata_size: int
    bits: int
    """Where the metadata begins, in bits from the left."""


def _start_bit(data: bytes) -> int:
    stripped = data.lstrip(b"\0")
    if not stripped:
        raise MalformedBinaryFrame("no start bit")
    return (len(data) - len(stripped)) * 8 + 8 - stripped[0].bit_length()


def _head(data: bytes) -> _Head:
    """Read the fixed fields; those cut off read as zeros."""
    start = _start_bit(data)
    first, offset = divmod(start, 8)
    window = int.from_bytes(data[first : first + 5].ljust(5, b"\0"), "big") << offset & (1 << 40) - 1
    versioned = window >> 38 & 1
    if versioned and window >> 30 & 0xFF > PROTOCOL_VERSION:
        raise UnsupportedProtocolVersion(f"Max Supported Version: {PROTOCOL_VERSION}")
    fields = window >> (16 if versioned else 24)
    kind = _INT2TYPE.get(fields >> 9 & 0x1F)
    if kind is None:
        raise MalformedBinaryFrame(f"unassigned message type code {fields >> 9 & 0x1F}")
    return _Head(kind, bool(fields >> 8 & 1), fields & 0xFF, start + (24 if versioned else 16))


def _slice_bits(data: bytes, start: int, size: int) -> bytes:
    """Return `size` bytes that begin at bit `start`."""
    first, offset = divmod(start, 8)
    if not offset:
        return data[first : first + size]
    window = int.from_bytes(data[first : first + size + 1], "big") >> (8 - offset)
    return (window & ((1 << 8 * size) - 1)).to_bytes(size, "big")


def _metadata(stored: bytes, compressed: bool) -> Json:
    if not stored:
        return {}
    return _object(_inflate(stored, MAX_METADATA_OUTPUT) if compressed else stored, "metadata")


def _inner_route(body: Json) -> list[Any]:
    """Return the outer route, which a frame does not carry: relays keep both equal (docs/protocol.md 4.6)."""
    route = body.get("route")
    return list(route) if isinstance(route, list) else []


def decode_frame(data: bytes, max_output: int = MAX_FRAME_OUTPUT) -> HiveMessage:
    """Read a frame. Nothing inflates to more than `max_output` bytes.

    Raises MalformedBinaryFrame or UnsupportedProtocolVersion, and nothing else (docs/protocol.md 4.7).
    """
    return unpack_frame(data, max_output)[0]


def unpack_frame(data: bytes, max_output: int = MAX_FRAME_OUTPUT) -> tuple[HiveMessage, bytes]:
    """`decode_frame`, with the bytes of the payload as they were once inflated."""
    head = _head(data)
    is_binary = head.kind is HiveMessageType.BINARY
    payload_bit = head.bits + 8 * head.metadata_size + (4 if is_binary else 0)
    payload_at, beyond = divmod(payload_bit, 8)
    if payload_at + bool(beyond) > len(data):
        raise MalformedBinaryFrame("cut short")
    if beyond:
        raise MalformedBinaryFrame("the payload is not a whole number of bytes")
    metadata = _metadata(_slice_bits(data, head.bits, head.metadata_size), head.compressed)
    payload = data[payload_at:]
    if is_binary:
        subtype = _subtype(data[payload_at - 1] & 0x0F)  # the half byte before the payload
        return HiveMessage(head.kind, payload, metadata=metadata, bin_type=subtype), payload
    text = _inflate(payload, max_output) if head.compressed else payload
    body = _object(text, "payload")
    return HiveMessage(head.kind, body, metadata=metadata, route=_inner_route(body)), text


def decode_bitstring(bitstr: Any) -> HiveMessage:
    """Read a frame given as bytes, as `Bits` or as an object of the ``bitstring`` package, of any length in bits.

    Raises as `decode_frame` does, and MalformedWirePayload for anything else.
    """
    if hasattr(bitstr, "bin") and len(bitstr) % 8:
        return decode_frame(int(bitstr.bin, 2).to_bytes(len(bitstr) // 8 + 1, "big"))
    return decode_frame(_raw_bytes(bitstr))
