"""util: the helpers applications import by name."""

from __future__ import annotations

import json
import zlib
from types import SimpleNamespace
from typing import Any

import pytest

from hivemind_bus_client import encryption, util
from hivemind_bus_client.exceptions import DecryptionKeyError, InvalidJson
from hivemind_bus_client.message import HiveMessage, Message

BODY: dict[str, Any] = {"type": "x", "data": {"a": "é"}, "context": {"b": 1}}
BUS = Message.deserialize(dict(BODY))
ENVELOPE = HiveMessage("bus", BUS)
BINARY = HiveMessage("bin", b"ab")
KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (BUS, BODY),
        (ENVELOPE, ENVELOPE.as_dict),
        ({"a": 1, "b": "é"}, {"a": 1, "b": "é"}),
        (SimpleNamespace(q=1), {"q": 1}),
    ],
)
def test_serialize_message(value: Any, expected: Any) -> None:
    assert json.loads(util.serialize_message(value)) == expected


def test_messages_in_a_dict_are_serialized_to_text() -> None:
    assert json.loads(json.loads(util.serialize_message({"a": BUS}))["a"]) == BODY
    with pytest.raises(AttributeError):
        util.serialize_message("text")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (BUS, BODY),
        (ENVELOPE, ENVELOPE.as_dict),
        ({"a": {"b": BUS}, "c": [BUS, {"d": BUS}], "e": "{}"}, {"a": {"b": BODY}, "c": [BODY, {"d": BODY}], "e": "{}"}),
        ('{"a": 1}', {"a": 1}),
    ],
)  # fmt: skip
def test_payload2dict(value: Any, expected: Any) -> None:
    assert util.payload2dict(value) == expected


@pytest.mark.parametrize("value", ["no json", "[]", [1], None, 1, b"{}"])
def test_payload2dict_refuses_what_is_no_object(value: Any) -> None:
    with pytest.raises(AssertionError):
        util.payload2dict(value)


def test_get_payload() -> None:
    assert util.get_payload(BUS) == BODY
    assert util.get_payload(ENVELOPE) == BODY
    assert util.get_payload('{"a": 1}') == {"a": 1}
    assert util.get_payload({"a": 1}) == {"a": 1}
    assert util.get_payload(BINARY) == b"ab"
    assert util.get_payload(HiveMessage("propagate", ENVELOPE)).payload == BUS
    with pytest.raises(json.JSONDecodeError):
        util.get_payload("no json")


def test_get_hivemsg() -> None:
    assert util.get_hivemsg(ENVELOPE) is ENVELOPE
    for value in (BUS, ENVELOPE.as_dict, ENVELOPE.serialize()):
        assert util.get_hivemsg(value).as_dict == ENVELOPE.as_dict
    with pytest.raises(ValueError):
        util.get_hivemsg(dict(BODY))
    with pytest.raises(AssertionError):
        util.get_hivemsg(None)


def test_get_mycroft_msg() -> None:
    named_otherwise = {**BODY, "msg_type": "x"}
    del named_otherwise["type"]
    for value in (BUS, ENVELOPE, BODY, named_otherwise, BUS.serialize()):
        assert util.get_mycroft_msg(value) == BUS
    assert util.get_mycroft_msg('{"type": "x"}') == Message("x")
    assert util.get_mycroft_msg({"type": "y", "msg_type": "x"}) == Message("x")
    with pytest.raises(KeyError):
        util.get_mycroft_msg({"a": 1})
    for refused in (HiveMessage("ping"), None, BINARY):
        with pytest.raises(AssertionError):
            util.get_mycroft_msg(refused)
    with pytest.raises(InvalidJson):
        util.get_mycroft_msg("no json")


def test_bytes_and_compression() -> None:
    assert zlib.decompress(util.compress_payload("é")) == "é".encode()
    assert util.decompress_payload(util.compress_payload(b"ab")) == b"ab"
    assert util.cast2bytes({"a": 1}) == b'{"a": 1}'
    assert util.cast2bytes("é") == "é".encode()
    assert util.cast2bytes(b"ab") == b"ab"
    assert util.decompress_payload(util.cast2bytes({"a": 1}, compressed=True)) == b'{"a": 1}'
    assert util.bytes2str(b"ab") == "ab"
    assert util.bytes2str(util.compress_payload("é"), compressed=True) == "é"
    with pytest.raises(AssertionError):
        util.cast2bytes(1)  # type: ignore[arg-type]
    with pytest.raises(UnicodeDecodeError):
        util.bytes2str(b"\xff")


def test_decompression_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "MAX_FRAME_OUTPUT", 1000)
    assert len(util.decompress_payload(zlib.compress(bytes(1000)))) == 1000
    for broken in (zlib.compress(bytes(1001)), zlib.compress(b"ab")[:-1], b"zz"):
        with pytest.raises(zlib.error):
            util.decompress_payload(broken)


@pytest.mark.parametrize("frame", ['{"a": 1}', b'{"a": 1}', bytearray(b'{"a": 1}'), {"a": 1}])
def test_text_frames_that_are_objects(frame: Any) -> None:
    assert util.parse_text_frame(frame) == {"a": 1}


@pytest.mark.parametrize("frame", ["", "x", "[1]", '"s"', b"\xff", None, 1])
def test_text_frames_that_are_none(frame: Any) -> None:
    assert util.parse_text_frame(frame) is None


def test_only_the_handshake_travels_in_clear() -> None:
    for kind, allowed in (("hello", True), ("shake", True), ("bus", False), (None, False), ([], False)):
        assert util.unencrypted_frame_allowed({"msg_type": kind}, False) is allowed
        assert util.unencrypted_frame_allowed(json.dumps({"msg_type": kind}), False) is allowed
        assert util.unencrypted_frame_allowed({"msg_type": kind}, True) is False
    assert util.unencrypted_frame_allowed("no json", False) is False


def warned(call: Any, *arguments: Any) -> Any:
    with pytest.warns(DeprecationWarning, match=rf"use hivemind_bus_client\.encryption\.{call.__name__}"):
        return call(*arguments)


def test_the_former_names_of_the_ciphers_work_and_warn() -> None:
    hexed, based = warned(util.encrypt_as_json, KEY, {"a": 1}), warned(util.encrypt_as_json, KEY, "text", True)
    assert encryption.decrypt_from_json(KEY, hexed, encoding="JSON-HEX") == '{"a": 1}'
    assert warned(util.decrypt_from_json, KEY, hexed) == '{"a": 1}'
    assert warned(util.decrypt_from_json, KEY, based) == "text"
    assert warned(util.decrypt_bin, KEY, warned(util.encrypt_bin, KEY, "text")) == b"text"
    with pytest.raises(DecryptionKeyError):
        warned(util.decrypt_bin, KEY, bytes(40))
    for envelope in (hexed, based):
        with pytest.raises(DecryptionKeyError):
            warned(util.decrypt_from_json, KEY[::-1], envelope)
