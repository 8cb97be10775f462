"""Binary frames: a HiveMessage as bits (docs/protocol.md 4).

Header and metadata of every type but BINARY fall on whole bytes; BINARY has four bits more and is therefore shifted
by half a byte up to its payload, which is aligned again. No general bit string is needed.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from . import codec
from .exceptions import (
    InvalidJson,
    MalformedBinaryFrame,
    MalformedWirePayload,
    MetadataTooLarge,
    UnsupportedProtocolVersion,
)
from .message import (
    ROUTED_TYPES,
    HiveMessage,
    HiveMessageType,
    HiveMindBinaryPayloadType,
    Message,
    is_bus_message,
)

PROTOCOL_VERSION = 1
MAX_METADATA_BYTES = 255
MAX_FRAME_OUTPUT = 32 * 1024 * 1024
MAX_METADATA_OUTPUT = 64 * 1024
"""Inflated metadata; 255 bytes of zlib can become a quarter of a megabyte."""

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
_TYPE2INT: dict[str, int] = {kind.value: code for code, kind in _INT2TYPE.items()}
BINARY_ENCODABLE_TYPES = frozenset(_TYPE2INT)
_ALWAYS_TEXT = frozenset({HiveMessageType.HELLO, HiveMessageType.HANDSHAKE, HiveMessageType.INTERCOM})
_BINARY_CODE = _TYPE2INT[HiveMessageType.BINARY]


class Bits:
    """A finished frame: `bytes`, and its length in bits as ``len()``."""

    __slots__ = ("bytes",)

    def __init__(self, data: bytes) -> None:
        self.bytes = data

    def __len__(self) -> int:
        return len(self.bytes) * 8

    def __bytes__(self) -> bytes:
        return self.bytes


# --- encoding -----------------------------------------------------------------------------------------------


def _metadata_json(metadata: dict[str, Any]) -> bytes:
    return json.dumps(metadata).encode("ascii") if metadata else b"{}"


def _fitting(stored: bytes) -> bytes:
    if len(stored) > MAX_METADATA_BYTES:
        raise MetadataTooLarge(f"metadata of {len(stored)} bytes; a binary frame holds {MAX_METADATA_BYTES}")
    return stored


def _header(code: int, compressed: bool, versioned: bool, metadata: bytes) -> bytes:
    kind = code << 1 | compressed
    if not versioned:
        return bytes((0x80 | kind, len(metadata))) + metadata
    bits = 0b11 << 14 | PROTOCOL_VERSION << 6 | kind
    return bits.to_bytes(2, "big") + bytes((len(metadata),)) + metadata


def _text_frame(code: int, payload: bytes, metadata: bytes, compressed: bool, versioned: bool) -> bytes:
    if compressed:
        metadata, payload = zlib.compress(metadata), zlib.compress(payload)
    return _header(code, compressed, versioned, _fitting(metadata)) + payload


def _binary_frame(payload: bytes, subtype: int, metadata: bytes, compressed: bool, versioned: bool) -> bytes:
    head = _header(_BINARY_CODE, compressed, versioned, _fitting(zlib.compress(metadata) if compressed else metadata))
    shifted = int.from_bytes(head, "big") << 4 | subtype
    return shifted.to_bytes(len(head) + 1, "big") + payload


def _smaller(build: Any) -> bytes:
    """Return the shorter of both forms, the uncompressed one on a tie, or the only one whose metadata fits."""
    candidates = []
    for compressed in (False, True):
        try:
            candidates.append(build(compressed))
        except MetadataTooLarge:
            continue
    if not candidates:
        return bytes(build(True))
    return bytes(min(candidates, key=len))


def _build(
    code: int, payload: bytes, metadata: bytes, compressed: bool | None, subtype: int = 0, versioned: bool = False
) -> bytes:
    def form(flag: bool) -> bytes:
        if code == _BINARY_CODE:
            return _binary_frame(payload, subtype, metadata, flag, versioned)
        return _text_frame(code, payload, metadata, flag, versioned)

    return _smaller(form) if compressed is None else form(compressed)


def is_binary_encodable(message: HiveMessage) -> bool:
    """Tell whether a frame would carry all of a message; if not it travels as text (docs/protocol.md 4.6)."""
    kind = message.msg_type
    if kind == HiveMessageType.BINARY:
        return True
    if kind in _ALWAYS_TEXT or kind not in _TYPE2INT:
        return False
    if message.target_site_id or message.target_public_key:
        return False
    route = message.route
    if route and not (kind in ROUTED_TYPES and message.body.get("route") == route):
        return False
    # What matters is the stored size; over the limit uncompressed is rare enough to go as text.
    return not message.metadata or len(_metadata_json(message.metadata)) <= MAX_METADATA_BYTES


def encode_frame(message: HiveMessage, compressed: bool | None = None) -> bytes:
    """Return the frame of a message; `compressed` None takes the shorter form.

    Raises ValueError for a type without a code, MetadataTooLarge.
    """
    code = _TYPE2INT.get(message.msg_type)
    if code is None:
        raise ValueError(f"{message.msg_type} has no binary form")
    metadata = _metadata_json(message.metadata)
    if code == _BINARY_CODE:
        return _build(code, message.body, metadata, compressed, int(message.bin_type))
    return _build(code, codec.dumps_bytes(message.body), metadata, compressed)


def _payload_bytes(payload: Any) -> bytes:
    """Return the JSON of whatever may be a payload, spelled as released packages spell it (docs/protocol.md 4.3)."""
    if isinstance(payload, str):
        payload = codec.loads(payload)
    if isinstance(payload, HiveMessage):
        return json.dumps(payload.as_dict, ensure_ascii=False).encode("utf-8")
    if is_bus_message(payload):
        body = {"type": payload.msg_type, "data": payload.data, "context": payload.context}
        return json.dumps(body, ensure_ascii=False).encode("utf-8")
    if payload is None:
        return b"{}"
    if not isinstance(payload, dict):
        raise MalformedWirePayload(f"a payload is an object, not {type(payload).__name__}")
    return json.dumps(payload).encode("ascii")


def _raw_bytes(payload: Any) -> bytes:
    data = getattr(payload, "bytes", payload)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise MalformedWirePayload(f"binary data is bytes, not {type(payload).__name__}")
    return bytes(data)


def get_bitstring(
    hive_type: HiveMessageType | str = HiveMessageType.BUS,
    payload: Any = None,
    compressed: bool | None = None,
    hivemeta: dict[str, Any] | None = None,
    binary_type: HiveMindBinaryPayloadType | int = HiveMindBinaryPayloadType.UNDEFINED,
    proto_version: int = PROTOCOL_VERSION,
    versioned: bool = False,
) -> Bits:
    """Return the frame of a payload. Raises ValueError, MetadataTooLarge, UnsupportedProtocolVersion."""
    if proto_version > PROTOCOL_VERSION:
        raise UnsupportedProtocolVersion(f"Max Supported Version: {PROTOCOL_VERSION}")
    code = _TYPE2INT.get(hive_type)
    if code is None:
        raise ValueError(f"{hive_type} has no binary form")
    body = _raw_bytes(payload) if code == _BINARY_CODE else _payload_bytes(payload)
    return Bits(_build(code, body, _metadata_json(hivemeta or {}), compressed, int(binary_type), versioned))


def mycroft2bitstring(message: Message | str, compressed: bool = False) -> Bits:
    """Return the BUS frame of a bus message, its context as metadata."""
    bus = Message.deserialize(message) if isinstance(message, str) else message
    return get_bitstring(HiveMessageType.BUS, bus, compressed, bus.context)


# --- decoding -----------------------------------------------------------------------------------------------


def _inflate(data: bytes, limit: int) -> bytes:
    """Inflate, never to more than `limit` bytes; what follows the zlib stream is ignored."""
    stream = zlib.decompressobj()
    try:
        output = stream.decompress(data, limit)
    except zlib.error as error:
        raise MalformedBinaryFrame(f"not a zlib stream: {error}") from None
    if not stream.eof:
        too_large = bool(stream.unconsumed_tail) or len(output) >= limit
        raise MalformedBinaryFrame("inflates beyond the limit" if too_large else "the zlib stream is cut short")
    return output


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = codec.loads(data)
    except InvalidJson as error:
        raise MalformedBinaryFrame(f"the {what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedWirePayload(f"the {what} is not an object")
    return value


class _Head:
    """The fixed fields of a frame, read from its first bits."""

    __slots__ = ("bits_after", "code", "compressed", "metadata_size")

    def __init__(self, data: bytes, start: int) -> None:
        """`start` is the position of the start bit, counted from the left."""
        window = int.from_bytes(data[start // 8 : start // 8 + 5].ljust(5, b"\0"), "big")
        offset = start % 8

        def field(position: int, width: int) -> int:
            return window >> (40 - offset - position - width) & ((1 << width) - 1)

        versioned = field(1, 1)
        if versioned and field(2, 8) > PROTOCOL_VERSION:
            raise UnsupportedProtocolVersion(f"Max Supported Version: {PROTOCOL_VERSION}")
        base = 10 if versioned else 2
        self.code = field(base, 5)
        self.compressed = bool(field(base + 5, 1))
        self.metadata_size = field(base + 6, 8)
        self.bits_after = start + base + 14


def _slice_bits(data: bytes, start: int, size: int) -> bytes:
    """Return `size` bytes that begin at bit `start`; it is on a byte or half a byte."""
    first, offset = divmod(start, 8)
    if not offset:
        return data[first : first + size]
    window = int.from_bytes(data[first : first + size + 1], "big") >> (8 - offset)
    return (window & ((1 << 8 * size) - 1)).to_bytes(size, "big")


def _start_bit(data: bytes) -> int:
    stripped = data.lstrip(b"\0")
    if not stripped:
        raise MalformedBinaryFrame("no start bit")
    return (len(data) - len(stripped)) * 8 + 8 - stripped[0].bit_length()


def decode_frame(data: bytes, max_output: int = MAX_FRAME_OUTPUT) -> HiveMessage:
    """Read a frame. Nothing inflates to more than `max_output` bytes.

    Raises MalformedBinaryFrame, MalformedWirePayload or UnsupportedProtocolVersion, and nothing else.
    """
    head = _Head(data, _start_bit(data))
    kind = _INT2TYPE.get(head.code)
    if kind is None:
        raise MalformedBinaryFrame(f"no message type has the code {head.code}")
    is_binary = kind is HiveMessageType.BINARY
    metadata_end = head.bits_after + 8 * head.metadata_size
    payload_start = metadata_end + (4 if is_binary else 0)
    if payload_start > 8 * len(data):
        raise MalformedBinaryFrame("cut short")
    if payload_start % 8:
        raise MalformedBinaryFrame("the payload is not a whole number of bytes")
    metadata = _metadata(_slice_bits(data, head.bits_after, head.metadata_size), head.compressed)
    payload = data[payload_start // 8 :]
    if is_binary:
        # The four bits before the payload; unassigned subtypes read as UNDEFINED.
        subtype = data[payload_start // 8 - 1] & 0x0F
        known = subtype if subtype <= max(HiveMindBinaryPayloadType) else 0
        return HiveMessage(kind, payload, metadata=metadata, bin_type=known)
    body = _object(_inflate(payload, max_output) if head.compressed else payload, "payload")
    return HiveMessage(kind, body, metadata=metadata, route=_inner_route(kind, body))


def _metadata(stored: bytes, compressed: bool) -> dict[str, Any]:
    if not stored:
        return {}
    return _object(_inflate(stored, MAX_METADATA_OUTPUT) if compressed else stored, "metadata")


def _inner_route(kind: HiveMessageType, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the outer route, which a frame does not carry: relays keep both equal (docs/protocol.md 4.6)."""
    route = body.get("route") if kind in ROUTED_TYPES else None
    return list(route) if isinstance(route, list) else []


def decode_bitstring(data: Any) -> HiveMessage:
    """Read a frame given as bytes or as an object with `bytes`; see `decode_frame`."""
    return decode_frame(_raw_bytes(data))
