"""Small conversions that applications import."""

from __future__ import annotations

import json

import pytest

from hivemind_bus_client import util
from hivemind_bus_client.exceptions import InvalidJson, MalformedWirePayload
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

KEY = "0123456789abcdef"
BUS = {"type": "speak", "data": {"utterance": "olá"}, "context": {}}
MESSAGE = Message("speak", {"utterance": "olá"})
HIVE = HiveMessage(HiveMessageType.BUS, MESSAGE)


class Thing:
    def __init__(self):
        self.a = MESSAGE
        self.b = (1, 2)


class Serialisable:
    def serialize(self):
        return '{"x":1}'


def test_serialize_message():
    assert json.loads(util.serialize_message(HIVE)) == HIVE.as_dict
    assert json.loads(util.serialize_message({"m": MESSAGE, "s": [Serialisable()]})) == {"m": BUS, "s": [{"x": 1}]}
    assert json.loads(util.serialize_message(Thing())) == {"a": BUS, "b": [1, 2]}


@pytest.mark.parametrize("payload", [BUS, json.dumps(BUS), json.dumps(BUS).encode(), MESSAGE])
def test_payload2dict(payload):
    assert util.payload2dict(payload) == util.get_payload(payload) == BUS


def test_get_payload_of_a_message():
    assert util.get_payload(HIVE) == BUS
    assert util.payload2dict(HIVE) == HIVE.as_dict


def test_what_is_no_payload():
    for payload in ("[]", [1], 5):
        with pytest.raises(MalformedWirePayload):
            util.payload2dict(payload)
    with pytest.raises(InvalidJson):
        util.payload2dict("{")


@pytest.mark.parametrize("message", [HIVE, HIVE.serialize(), HIVE.as_dict, MESSAGE])
def test_get_hivemsg(message):
    assert util.get_hivemsg(message).as_dict == HIVE.as_dict


@pytest.mark.parametrize("message", [HIVE, MESSAGE, BUS, json.dumps(BUS), {"msg_type": "speak", "data": BUS["data"]}])
def test_get_mycroft_msg(message):
    assert util.get_mycroft_msg(message) == MESSAGE


def test_get_mycroft_msg_of_another_type():
    with pytest.raises(MalformedWirePayload):
        util.get_mycroft_msg(HiveMessage(HiveMessageType.PING, {}))


@pytest.mark.parametrize("compressed", [False, True])
def test_bytes_and_back(compressed):
    assert util.bytes2str(util.cast2bytes("olá", compressed), compressed) == "olá"
    assert json.loads(util.bytes2str(util.cast2bytes(HIVE, compressed), compressed)) == HIVE.as_dict
    assert util.bytes2str(util.cast2bytes(b"abc", compressed), compressed) == "abc"


def test_compression():
    packed = util.compress_payload("olá" * 50)
    assert util.decompress_payload(packed) == util.decompress_payload(packed.hex()) == ("olá" * 50).encode()


def test_parse_text_frame():
    assert util.parse_text_frame('{"a":1}') == util.parse_text_frame(b'{"a":1}') == util.parse_text_frame({"a": 1})
    assert util.parse_text_frame("[]") is util.parse_text_frame("{") is None


def test_what_may_come_unencrypted():
    for name in ("hello", "shake"):
        assert util.unencrypted_frame_allowed({"msg_type": name}, False)
        assert not util.unencrypted_frame_allowed({"msg_type": name}, True)
    for frame in ({"msg_type": "bus"}, {}, "nonsense", '{"msg_type":["hello"]}'):
        assert not util.unencrypted_frame_allowed(frame, False)


def test_older_spellings_work_and_warn():
    def warned(function, *arguments):
        with pytest.deprecated_call():
            return function(*arguments)

    for b64 in (False, True):
        sealed = warned(util.encrypt_as_json, KEY, {"a": 1}, b64)
        assert json.loads(warned(util.decrypt_from_json, KEY, sealed)) == {"a": 1}
    assert warned(util.decrypt_bin, KEY, warned(util.encrypt_bin, KEY, b"x")) == b"x"
