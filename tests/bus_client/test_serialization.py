"""serialization: binary frames."""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
import zlib
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import vectors
from hivemind_bus_client.exceptions import (
    MalformedBinaryFrame,
    MalformedWirePayload,
    MetadataTooLarge,
    UnsupportedProtocolVersion,
)
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from hivemind_bus_client.serialization import (
    BINARY_ENCODABLE_TYPES,
    MAX_METADATA_BYTES,
    decode_bitstring,
    decode_frame,
    encode_frame,
    get_bitstring,
    is_binary_encodable,
    mycroft2bitstring,
)

FUZZ = settings(max_examples=200, deadline=None)
REFUSED = (MalformedBinaryFrame, UnsupportedProtocolVersion)

# --- vectors ------------------------------------------------------------------------------------------------

ENCODE = vectors.cases("bitstring", "encode")
WRITTEN = {name: case for name, case in ENCODE.items() if "frame_hex" in case}
UNNAMED_INPUTS: dict[str, Any] = {"BUS_payload_not_object": [1], "BINARY_payload_str": "text"}
"""Inputs that the file only describes."""


def fields(frame: bytes) -> dict[str, Any]:
    """Read a frame the slow way, as a string of binary digits; compressed fields are inflated."""
    bits = bin(int.from_bytes(frame, "big"))[2:]
    versioned, bits = bits[1] == "1", bits[2:]
    version, bits = (int(bits[:8], 2), bits[8:]) if versioned else (None, bits)
    code, compressed, size, bits = int(bits[:5], 2), bits[5] == "1", int(bits[6:14], 2), bits[14:]
    metadata, bits = bits[: 8 * size], bits[8 * size :]
    subtype, bits = (int(bits[:4], 2), bits[4:]) if code == 12 else (None, bits)

    def content(digits: str, inflate: bool) -> bytes:
        data = int("1" + digits, 2).to_bytes(len(digits) // 8 + 1, "big")[1:]
        return zlib.decompress(data) if inflate else data

    return {
        "version": version,
        "code": code,
        "compressed": compressed,
        "metadata": content(metadata, compressed),
        "subtype": subtype,
        "payload": content(bits, compressed and code != 12),
    }


def given_payload(case: dict[str, Any]) -> Any:
    if "payload_hex" in case:
        return bytes.fromhex(case["payload_hex"])
    payload = case.get("payload", UNNAMED_INPUTS.get(case["name"], {}))
    if isinstance(payload, dict) and "msg_type" in payload:
        return HiveMessage.from_wire(payload)
    if "dict" not in case["name"] and isinstance(payload, dict) and {"type", "data", "context"} <= payload.keys():
        return Message.deserialize(payload)
    return payload


def encoded(case: dict[str, Any]) -> bytes:
    args = case["args"]
    metadata = args.get("metadata", args.get("hivemeta"))
    return get_bitstring(
        case["msg_type"],
        given_payload(case),
        args["compressed"],
        metadata,
        args.get("binary_type", 0),
        versioned=args.get("versioned", False),
    ).bytes


@pytest.mark.parametrize("name", [name for name in WRITTEN if name.endswith("_raw")])
def test_a_plain_frame_is_the_vector_byte_for_byte(name: str) -> None:
    case = ENCODE[name]
    assert encoded(case).hex() == case["frame_hex"]
    assert len(get_bitstring(case["msg_type"], given_payload(case), False, versioned=False)) % 8 == 0


@pytest.mark.parametrize("name", WRITTEN)
def test_a_frame_is_the_vector_after_inflation(name: str) -> None:
    case = ENCODE[name]
    ours, theirs = fields(encoded(case)), fields(bytes.fromhex(case["frame_hex"]))
    if case["args"]["compressed"] is None:  # which form is shorter depends on the zlib build
        ours["compressed"] = theirs["compressed"]
    assert ours == theirs
    if "payload_json_text_bytes_hex" in case:
        assert ours["payload"].hex() == case["payload_json_text_bytes_hex"]


@pytest.mark.parametrize("name", [name for name in ENCODE if name not in WRITTEN])
def test_what_has_no_frame_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as refused:
        encoded(ENCODE[name])
    assert type(refused.value).__name__ == ENCODE[name]["raises"]


def check_decoded(message: HiveMessage, decoded: dict[str, Any]) -> None:
    body = {"payload_hex": message.body.hex()} if isinstance(message.body, bytes) else {"payload": message.body}
    assert {
        "msg_type": message.msg_type,
        "metadata": message.metadata,
        "route": message.route,
        "bin_type": message.bin_type,
        **body,
    } == decoded


@pytest.mark.parametrize("name", WRITTEN)
def test_a_vector_is_read_and_survives_our_own_frame(name: str) -> None:
    case = ENCODE[name]
    message = decode_frame(bytes.fromhex(case["frame_hex"]))
    check_decoded(message, case["decoded"])
    for compressed in (False, True, None):
        check_decoded(decode_frame(encode_frame(message, compressed)), case["decoded"])


@pytest.mark.parametrize("name", vectors.cases("bitstring", "decode"))
def test_a_frame_is_accepted_or_refused_as_the_vector_says(name: str) -> None:
    frame = bytes.fromhex(vectors.cases("bitstring", "decode")[name]["frame_hex"])
    expected = vectors.expected("bitstring", name)
    if "raises" not in expected:
        check_decoded(decode_frame(frame), expected)
        return
    with pytest.raises(REFUSED) as refused:
        decode_frame(frame)
    assert type(refused.value).__name__ == expected["raises"]


# --- limits -------------------------------------------------------------------------------------------------


def text_frame(payload: bytes, compressed: bool = True, metadata: bytes = b"") -> bytes:
    return bytes((0x82 | compressed, len(metadata))) + metadata + payload


def test_a_payload_inflates_to_the_limit_and_not_beyond() -> None:
    frame = text_frame(zlib.compress(json.dumps({"type": "x" * 1000}).encode()))
    size = len(json.dumps({"type": "x" * 1000}))
    assert decode_frame(frame, size).body == {"type": "x" * 1000}
    with pytest.raises(MalformedBinaryFrame, match="inflates"):
        decode_frame(frame, size - 1)


def test_a_zlib_bomb_is_refused_within_the_limit() -> None:
    bomb = text_frame(zlib.compress(b'{"a": "' + bytes(50_000_000) + b'"}', 9))
    assert len(bomb) < 60_000
    tracemalloc.start()
    with pytest.raises(MalformedBinaryFrame, match="inflates"):
        decode_frame(bomb, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_a_metadata_bomb_is_refused() -> None:
    bomb = zlib.compress(b'"' + b" " * 100_000 + b'"', 9)
    assert len(bomb) <= MAX_METADATA_BYTES
    with pytest.raises(MalformedBinaryFrame, match="inflates"):
        decode_frame(text_frame(zlib.compress(b"{}"), metadata=bomb))


def test_many_small_values_are_refused_before_they_become_objects() -> None:
    frame = text_frame(zlib.compress(b'{"a": [' + b"{}," * 2_000_000 + b"{}]}"))
    with pytest.raises(MalformedBinaryFrame, match="values"):
        decode_frame(frame)


def test_a_stream_that_is_cut_short_is_refused() -> None:
    whole = zlib.compress(b'{"type": "x"}')
    for length in range(len(whole)):
        with pytest.raises(MalformedBinaryFrame):
            decode_frame(text_frame(whole[:length]))
    assert decode_frame(text_frame(whole + b"trailing")).body == {"type": "x"}


def test_a_frame_cut_anywhere_is_refused_or_binary() -> None:
    frame = encode_frame(HiveMessage("bus", Message("x"), metadata={"a": 1}), False)
    for length in range(len(frame)):
        with pytest.raises(MalformedBinaryFrame):
            decode_frame(frame[:length])
    binary = encode_frame(HiveMessage("bin", b"abc", metadata={"a": 1}), False)
    for length in range(len(binary) - 3):
        with pytest.raises(MalformedBinaryFrame):
            decode_frame(binary[:length])
    assert decode_frame(binary[:-3]).body == b""


# --- what travels as a frame --------------------------------------------------------------------------------

HOP = {"source": "a", "targets": ["b"]}


def routed(inner_route: Any, route: Any) -> HiveMessage:
    inner = HiveMessage("ping", {"flood_id": "f"}, route=inner_route)
    return HiveMessage("propagate", inner, route=route)


@pytest.mark.parametrize(
    ("message", "encodable"),
    [
        (HiveMessage("bus", Message("x")), True),
        (HiveMessage("ping"), True),
        (HiveMessage("3rdparty"), True),
        (HiveMessage("bus", Message("x"), source_peer="p", metadata={"a": "b" * 240}), True),
        (HiveMessage("bus", Message("x"), metadata={"a": "b" * 256}), False),
        (HiveMessage("bin", b"x", metadata={"a": "b" * 256}), True),
        (HiveMessage("bin", b"x", target_site_id="s"), True),
        (HiveMessage("hello", {}), False),
        (HiveMessage("shake", {}), False),
        (HiveMessage("intercom", {}), False),
        (HiveMessage("propagate", HiveMessage("ping"), target_site_id="s"), False),
        (HiveMessage("propagate", HiveMessage("ping"), target_pubkey="k"), False),
        (HiveMessage("bus", Message("x"), route=[HOP]), False),
        (HiveMessage("propagate", [1], route=[HOP]), False),
        (routed([], []), True),
        (routed([HOP], [HOP]), True),
        (routed([], [HOP]), False),
        (routed([HOP], []), False),
    ],
)
def test_a_message_that_would_lose_something_travels_as_text(message: HiveMessage, encodable: bool) -> None:
    assert is_binary_encodable(message) is encodable


def test_every_type_but_intercom_has_a_code() -> None:
    assert set(HiveMessageType) - set(BINARY_ENCODABLE_TYPES) == {HiveMessageType.INTERCOM}
    with pytest.raises(ValueError, match="no binary form"):
        encode_frame(HiveMessage("intercom", {}))


def test_metadata_takes_the_form_that_holds_it() -> None:
    compressible = {"utterance": "word " * 100}
    frame = encode_frame(HiveMessage("bin", b"x", metadata=compressible), False)
    assert decode_frame(frame).metadata == compressible
    incompressible = {"k": os.urandom(115).hex()}
    for compressed in (True, None):
        frame = encode_frame(HiveMessage("bus", {"type": "x" * 2000}, metadata=incompressible), compressed)
        assert decode_frame(frame).metadata == incompressible
    with pytest.raises(MetadataTooLarge):
        encode_frame(HiveMessage("bin", b"x", metadata={"k": os.urandom(300).hex()}), None)


def test_the_shorter_form_is_taken_and_the_plain_one_on_a_tie() -> None:
    short, long = HiveMessage("ping", {"a": 1}), HiveMessage("ping", {"a": "b" * 500})
    assert encode_frame(short) == encode_frame(short, False)
    assert encode_frame(long) == encode_frame(long, True)


def test_what_is_not_json_is_refused_or_made_json() -> None:
    frame = encode_frame(HiveMessage("ping", {"a": float("nan")}, metadata={"b": float("inf")}), False)
    message = decode_frame(frame)
    assert (message.body, message.metadata) == ({"a": None}, {"b": None})
    for broken in (HiveMessage("ping", {"a": "\ud800"}), HiveMessage("ping", metadata={"a": "\udc00"})):
        with pytest.raises(UnicodeEncodeError):
            encode_frame(broken, False)
    assert decode_frame(encode_frame(HiveMessage("ping", metadata={"a": "𝄞"}), False)).metadata == {"a": "𝄞"}
    with pytest.raises(MalformedWirePayload):
        encode_frame(HiveMessage("ping", [1]))


@pytest.mark.parametrize("subtype", [7, 15, 16, -1])
def test_an_unassigned_subtype_is_written_as_undefined(subtype: int) -> None:
    frame = encode_frame(HiveMessage("bin", b"x", bin_type=subtype), False)
    assert frame == get_bitstring("bin", b"x", False, binary_type=subtype).bytes == get_bitstring("bin", b"x", False)
    assert decode_frame(frame).bin_type == 0


# --- the released names -------------------------------------------------------------------------------------


def test_payloads_of_every_kind_have_a_frame() -> None:
    class Own:
        def serialize(self) -> str:
            return '{"type": "x"}'

    for payload in (Own(), {"type": "x"}, '{"type": "x"}'):
        assert decode_bitstring(get_bitstring("bus", payload, False)).body == {"type": "x"}
    assert get_bitstring("ping", '{ "é":  1}', False).bytes.endswith('{ "é":  1}'.encode())
    with pytest.raises(UnsupportedProtocolVersion, match=r"Max Supported Version: 1"):
        get_bitstring("bus", {}, proto_version=2)


@pytest.mark.parametrize("payload", [None, "no json", "", "[1]", '"x"', [1], 1, b"{}", b""])
def test_only_an_object_is_a_payload(payload: Any) -> None:
    with pytest.raises(MalformedWirePayload, match="bus payload"):
        get_bitstring("bus", payload)


@pytest.mark.parametrize("payload", ["abc", {"a": 1}, [1, 2], None, 5, HiveMessage("bin", b"x"), Message("x")])
def test_only_bytes_are_a_binary_payload(payload: Any) -> None:
    with pytest.raises(MalformedWirePayload, match="BINARY payload"):
        get_bitstring("bin", payload)


def test_our_own_frame_object_can_be_looked_at() -> None:
    bits = get_bitstring("ping", {}, False)
    assert (bits.hex, bits.tobytes()) == ("92027b7d7b7d", bits.bytes)
    assert bits.bin == bin(int(bits.hex, 16))[2:]
    assert list(bits) == [bits[index] for index in range(len(bits))] == [digit == "1" for digit in bits.bin]
    assert bits == get_bitstring("ping", {}, False) == bits.bytes
    assert bits != get_bitstring("bus", {}, False)
    assert repr(bits) == "Bits('0x92027b7d7b7d')"


def test_the_frame_object_is_of_the_class_the_application_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    class BitArray:
        def __init__(self, data: bytes) -> None:
            self.bytes = data

    module = ModuleType("bitstring")
    module.BitArray = BitArray  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bitstring", module)
    assert type(get_bitstring("ping", {})) is BitArray
    assert decode_bitstring(get_bitstring("ping", {"a": 1})).body == {"a": 1}


def test_a_frame_of_a_part_of_a_byte_is_read() -> None:
    class Digits:
        def __init__(self, digits: str) -> None:
            self.bin = digits

        def __len__(self) -> int:
            return len(self.bin)

    digits = get_bitstring("bin", b"abc", False).bin
    for start in (1, 2, 3, 4):
        assert decode_bitstring(Digits(digits[start:])).body == b"abc"
    with pytest.raises(MalformedBinaryFrame):
        decode_bitstring(Digits(digits[:-1]))


def test_binary_payloads_and_frames_come_in_several_classes() -> None:
    bits = get_bitstring("bin", b"abc", False, binary_type=HiveMindBinaryPayloadType.TTS_AUDIO)
    assert bytes(bits) == bits.bytes
    assert len(bits) == 8 * len(bits.bytes) == 64
    for data in (bytearray(b"abc"), memoryview(b"abc")):
        assert get_bitstring("bin", data, False, binary_type=6).bytes == bits.bytes
    for frame in (bits, bits.bytes, bytearray(bits.bytes), memoryview(bits.bytes)):
        assert decode_bitstring(frame).bin_type == HiveMindBinaryPayloadType.TTS_AUDIO
    with pytest.raises(MalformedWirePayload):
        decode_bitstring("text")


def test_a_bus_message_has_its_context_as_metadata() -> None:
    message = Message("speak", {"utterance": "hi"}, {"source": "a"})
    for given_as in (message, message.serialize()):
        decoded = decode_bitstring(mycroft2bitstring(given_as))
        assert decoded.payload == message
        assert decoded.metadata == {"source": "a"}


# --- fuzz ---------------------------------------------------------------------------------------------------

FRAMES = [bytes.fromhex(case["frame_hex"]) for case in WRITTEN.values() if len(case["frame_hex"]) < 2000]
NAMES = st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def check_only_refusals_escape(frame: bytes) -> None:
    try:
        message = decode_frame(frame, 1_000_000)
    except REFUSED:
        return
    check_same(decode_frame(encode_frame(message, None)), message)


def check_same(one: HiveMessage, other: HiveMessage) -> None:
    assert (one.msg_type, one.body, one.metadata, one.route, one.bin_type) == (
        other.msg_type, other.body, other.metadata, other.route, other.bin_type)  # fmt: skip


@given(st.binary(max_size=200))
@FUZZ
def test_random_bytes_are_a_message_or_refused(frame: bytes) -> None:
    check_only_refusals_escape(frame)


@given(st.sampled_from(FRAMES), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
       st.integers(0, 3), st.binary(max_size=6))  # fmt: skip
@FUZZ
def test_mutated_frames_are_a_message_or_refused(
    frame: bytes, changes: list[tuple[int, int]], front: int, tail: bytes
) -> None:
    mutated = bytearray(bytes(front) + frame + tail)
    for position, value in changes:
        mutated[position % len(mutated)] = value
    check_only_refusals_escape(bytes(mutated))


@given(st.integers(0, 31), st.booleans(), st.booleans(), OBJECTS | VALUES, OBJECTS | VALUES)
@FUZZ
def test_well_formed_frames_of_any_content_are_a_message_or_refused(
    code: int, compressed: bool, versioned: bool, metadata: Any, payload: Any
) -> None:
    stored = [json.dumps(part).encode() for part in (metadata, payload)]
    if compressed:
        stored = [zlib.compress(part) for part in stored]
    kind = code << 1 | compressed
    head = (0xC040 | kind & 63, 2) if versioned else (0x80 | kind, 1)
    check_only_refusals_escape(head[0].to_bytes(head[1], "big") + bytes((len(stored[0]) & 255,)) + b"".join(stored))


@given(st.sampled_from(sorted(BINARY_ENCODABLE_TYPES - {HiveMessageType.BINARY})), OBJECTS, OBJECTS,
       st.sampled_from([True, False, None]))  # fmt: skip
@FUZZ
def test_every_object_type_round_trips(kind: HiveMessageType, body: Any, metadata: Any, compressed: Any) -> None:
    message = HiveMessage(kind, body, metadata=metadata)
    if not is_binary_encodable(message) and len(json.dumps(metadata)) > MAX_METADATA_BYTES:
        return
    check_same(decode_frame(encode_frame(message, compressed)), message)


@given(st.binary(max_size=300), st.sampled_from(HiveMindBinaryPayloadType), OBJECTS,
       st.sampled_from([True, False, None]))  # fmt: skip
@FUZZ
def test_binary_round_trips(data: bytes, kind: HiveMindBinaryPayloadType, metadata: Any, compressed: Any) -> None:
    message = HiveMessage("bin", data, bin_type=kind, metadata=metadata)
    try:
        frame = encode_frame(message, compressed)
    except MetadataTooLarge:
        return
    check_same(decode_frame(frame), message)
