"""Binary frames (docs/protocol.md 4), JSON and envelopes (2), the parts of long messages (7.6)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

from fuzz.inputs import BREAK, Choices, pieces
from helpers import vectors
from hivemind_bus_client import codec
from hivemind_bus_client.exceptions import (
    DecodingError,
    InvalidJson,
    MalformedWirePayload,
    MetadataTooLarge,
    NoiseTransportFailed,
    UnsupportedProtocolVersion,
)
from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.parts import PartsBudget, Reassembler, split_message
from hivemind_bus_client.serialization import Bits, decode_bitstring, encode_frame, is_binary_encodable, unpack_frame

LIMIT = 64 * 1024
BUDGET = 2048
MAX_PIECES = 32
WORDS: tuple[str, ...] = (*(f'"{kind.value}"' for kind in HiveMessageType),)


def seeds() -> Iterator[bytes]:
    for group in ("encode", "decode"):
        for case in vectors.cases("bitstring", group).values():
            if "frame_hex" in case:
                yield b"\0" + bytes.fromhex(case["frame_hex"])
    for case in vectors.cases("envelope", "serialize").values():
        text = case[vectors.NEWEST].get("json_text")
        if text is not None:
            yield b"\1" + text.encode()
    for case in vectors.cases("envelope", "parse").values():
        yield b"\1" + codec.dumps_bytes(case["frame"])
    for case in vectors.load("chunking")["receiver"]:
        with suppress(ValueError):  # some are only described
            yield b"\2" + BREAK.join(map(bytes.fromhex, case["plaintext_frames_hex"]))
    yield b"\3\xff\xff" + b"{}\0 "


def run(data: bytes) -> None:
    choices = Choices(data)
    kind = choices.below(len(KINDS))
    KINDS[kind](choices.rest())


def _binary(frame: bytes) -> None:
    try:
        message, text = unpack_frame(frame, LIMIT)
    except (DecodingError, UnsupportedProtocolVersion):
        return
    assert len(text) <= max(LIMIT, len(frame)), "more came out than the limit"
    if len(text) <= LIMIT:
        assert _carried(decode_bitstring(Bits(frame))) == _carried(message)
    _travels(message)
    for compressed in (True, False, None):
        _comes_back(message, compressed)


def _comes_back(message: HiveMessage, compressed: bool | None) -> None:
    try:
        again = unpack_frame(encode_frame(message, compressed))[0]
    except MetadataTooLarge:
        return  # it came compressed, or spelled in fewer characters
    if is_binary_encodable(message):
        assert _carried(again) == _carried(message), "a message is another one after a frame of ours"


def _carried(message: HiveMessage) -> tuple[object, ...]:
    """What a binary frame holds."""
    return message.msg_type, message.body, message.metadata, message.bin_type, message.route


def _bomb(data: bytes) -> None:
    """What is compressed is what the other end says it is, and may be anything."""
    choices = Choices(data)
    times = choices.below(65_536)
    metadata, _, payload = choices.rest().partition(b"\0")
    stored = zlib.compress(metadata)[:255]
    head = bytes((0x80 | 1 << 1 | 1, len(stored)))
    _binary(head + stored + zlib.compress(payload * times))


def _json(text: bytes) -> None:
    outcomes = []
    for loads in (codec.std_loads, codec.loads):
        try:
            outcomes.append(("", loads(text)))
        except InvalidJson:
            outcomes.append(("refused", None))
    assert outcomes[0] == outcomes[1], "msgspec and the standard library differ"
    if outcomes[0][0]:
        return
    value = outcomes[0][1]
    assert codec.loads(codec.dumps_bytes(value)) == value
    assert codec.std_loads(codec.std_dumps_bytes(value)) == value
    _envelope(value)


def _envelope(value: object) -> None:
    try:
        strict = HiveMessage.from_wire(value)
    except (MalformedWirePayload, ValueError):
        strict = None
    if strict is not None:
        _travels(strict)
        if strict.msg_type != HiveMessageType.BINARY and is_binary_encodable(strict):
            _comes_back(strict, None)
    try:
        lenient = HiveMessage.deserialize(value)  # type: ignore[arg-type]
    except (InvalidJson, MalformedWirePayload):
        return
    str(lenient), repr(lenient)


def _travels(message: HiveMessage) -> None:
    if message.msg_type == HiveMessageType.BINARY:
        return
    again = HiveMessage.from_wire(codec.loads(message.serialize()))
    assert again.as_dict == message.as_dict, "a message is another one after its own text"


def _parts(data: bytes) -> None:
    budget = PartsBudget(BUDGET)
    parts = Reassembler(limit=BUDGET, budget=budget)
    for piece in pieces(data, MAX_PIECES):
        try:
            whole = parts.feed(piece)
        except NoiseTransportFailed:
            parts.drop()
            continue
        assert (whole is None) == parts.is_waiting
        assert whole is None or len(whole[0]) <= max(BUDGET, len(piece))
    parts.drop()
    assert budget.take(BUDGET), "what was held is not given back"
    body = data * 40
    frames = list(split_message(body, binary=True))
    whole_again = [Reassembler().feed(frame) for frame in frames] if len(frames) == 1 else _joined(frames)
    assert whole_again[-1] == (body, True)


def _joined(frames: list[bytes]) -> list[tuple[bytes, bool] | None]:
    parts = Reassembler()
    return [parts.feed(frame) for frame in frames]


KINDS: tuple[Callable[[bytes], None], ...] = (_binary, _json, _parts, _bomb)
