"""message: HiveMessage and its JSON form."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import vectors
from hivemind_bus_client.exceptions import InvalidJson
from hivemind_bus_client.message import (
    HiveMessage,
    HiveMessageType,
    HiveMindBinaryPayloadType,
    MalformedWirePayload,
    Message,
)

BUS = {"type": "speak", "data": {"utterance": "olá €", "lang": "pt-pt"}, "context": {
    "source": "skills", "destination": ["A"], "session": {"session_id": "s-1"}}}  # fmt: skip
ROUTED = ("BROADCAST", "PROPAGATE", "ESCALATE", "QUERY", "CASCADE")


def bus() -> Message:
    return Message.deserialize(json.loads(json.dumps(BUS)))


def hopped(route: list[Any], **fields: Any) -> HiveMessage:
    message = HiveMessage("propagate", HiveMessage("ping"), source_peer="p1", route=route, **fields)
    message.update_hop_data()
    return message


def routed(name: str, payload: Any) -> HiveMessage:
    return HiveMessage(HiveMessageType[name], payload)


# --- vectors ------------------------------------------------------------------------------------------------

ODD_HOPS: list[Any] = [
    {"source": "a"}, {"targets": ["b"]}, "x", {}, {"source": "b", "targets": []},
    {"source": "c", "targets": ["d"], "extra": 1}, {"source": ""}, None,
]  # fmt: skip
FIRST, OTHER = {"source": "p1", "targets": ["p1"]}, {"source": "p0", "targets": ["p0"]}
SERIALIZED: dict[str, Callable[[], HiveMessage]] = {
    "HELLO": lambda: HiveMessage(
        "hello", {"pubkey": "PEM", "session": {"session_id": "s-1"}, "site_id": "kitchen"}
    ),
    "HANDSHAKE": lambda: HiveMessage(HiveMessageType.HANDSHAKE, {"binarize": True}),
    "BUS": lambda: HiveMessage("bus", bus()),
    "SHARED_BUS": lambda: HiveMessage("shared_bus", bus()),
    **{f"{name}(BUS)": partial(routed, name, HiveMessage("bus", bus())) for name in ROUTED},
    **{f"{name}(Message directly)": partial(routed, name, bus()) for name in ROUTED},
    "PROPAGATE(PROPAGATE(BUS))": lambda: HiveMessage(
        "propagate", HiveMessage("propagate", HiveMessage("bus", bus()))
    ),
    "PROPAGATE(PING)": lambda: HiveMessage("propagate", HiveMessage(
        "ping", {"flood_id": "f", "peer": "p", "site_id": "s", "timestamp": 1.5})),
    "INTERCOM": lambda: HiveMessage("intercom", {"ciphertext": "x"}, target_pubkey="PEM"),
    "RENDEZVOUS": lambda: HiveMessage("rendezvous", {"cmd": "collect"}),
    "PING no payload": lambda: HiveMessage("ping"),
    "route filter": lambda: HiveMessage("ping", route=ODD_HOPS),
    "BINARY": lambda: HiveMessage("bin", b"x"),
    "str payload": lambda: HiveMessage("ping", '{"a": 1}'),
    "list payload": lambda: HiveMessage("ping", [1]),
    "3rdparty": lambda: HiveMessage("3rdparty", {"a": 1}),
    "unknown type": lambda: HiveMessage("unknown", {}),
    "update_hop_data empty route": lambda: hopped([]),
    "update_hop_data last hop is me": lambda: hopped([dict(FIRST)]),
    "update_hop_data other last": lambda: hopped([OTHER]),
    "update_hop_data with targets": lambda: hopped([], target_peers=["t1"]),
    "update_hop_data malformed last": lambda: hopped([OTHER, {"targets": []}]),
}  # fmt: skip
WHOLE = "PROPAGATE all fields"  # its input is read from the vector itself


def outcome(build: Callable[[], HiveMessage]) -> Any:
    try:
        return {"json": json.loads(build().serialize())}
    except ValueError as error:
        return {"raises": type(error).__name__}


def test_every_serialize_vector_has_its_input_here() -> None:
    named = {name.partition("/")[2] for name in vectors.cases("envelope", "serialize")}
    assert named == {*SERIALIZED, WHOLE}


@pytest.mark.parametrize("name", SERIALIZED)
def test_what_is_written_is_the_vector(name: str) -> None:
    expected = vectors.expected("envelope", f"serialize/{name}")
    got = outcome(SERIALIZED[name])
    if "json_text" in expected:
        assert got == {"json": json.loads(expected["json_text"])}
    else:
        assert "raises" in got


def test_all_fields_survive_in_their_order() -> None:
    text = vectors.expected("envelope", f"serialize/{WHOLE}")["json_text"]
    written = HiveMessage.from_wire(text).serialize()
    assert json.loads(written) == json.loads(text)
    assert list(json.loads(written)) == list(json.loads(text))


@pytest.mark.parametrize("door", vectors.DOORS)
@pytest.mark.parametrize("name", vectors.cases("envelope", "parse"))
def test_what_is_read_is_the_vector(name: str, door: str) -> None:
    frame = vectors.cases("envelope", "parse")[name]["frame"]
    expected = vectors.expected("envelope", f"{name}/{door}")
    for given_as in (json.dumps(frame), json.dumps(frame).encode(), json.loads(json.dumps(frame))):
        try:
            got = getattr(HiveMessage, door)(given_as).as_dict
        except ValueError:
            got = {"raises": "refused"}
        assert got == ({"raises": "refused"} if "raises" in expected else expected)


HUB_DOOR = "hub_door(core decode builds from all keys)"
REFUSED_HERE = ("parse/no payload hello", "parse/null payload")
READ_HERE = ("parse/unknown key", "parse/unknown msg_type")
"""Where a hub of ours, which has the door that clients have, differs from the released one."""


@pytest.mark.parametrize("name", vectors.cases("envelope", "parse"))
def test_a_hub_reads_what_the_released_one_reads(name: str) -> None:
    case = vectors.cases("envelope", "parse")[name]
    theirs = case[vectors.NEWEST][HUB_DOOR]
    refuses = "raises" in theirs
    try:
        read = HiveMessage.from_wire(json.dumps(case["frame"])).as_dict
    except ValueError:
        assert refuses is (name not in REFUSED_HERE)
    else:
        assert refuses if name in READ_HERE else read == theirs


@pytest.mark.parametrize("name", vectors.cases("envelope", "serialize"))
def test_what_either_released_client_writes_can_be_read(name: str) -> None:
    for version in ("0.7.0a2", vectors.NEWEST):
        written = vectors.cases("envelope", "serialize")[name][version]
        if "json_text" in written:
            assert HiveMessage.from_wire(written["json_text"]).as_dict == json.loads(written["json_text"])


# --- the constructor ----------------------------------------------------------------------------------------


def test_types_are_strings() -> None:
    assert HiveMessageType("bus") is HiveMessageType.BUS
    assert "bus" in list(HiveMessageType)
    assert len(HiveMessageType) == 14
    assert HiveMessage("bus", BUS).msg_type == HiveMessageType.BUS
    assert type(HiveMessage("bus", BUS).msg_type) is str
    assert [int(kind) for kind in HiveMindBinaryPayloadType] == list(range(7))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"msg_type": "BUS"}, "Unknown HiveMessage.msg_type"),
        ({"msg_type": None}, "Unknown HiveMessage.msg_type"),
        ({"msg_type": "bus", "bin_type": 1}, "bin_type can only be set for BINARY message type"),
        ({"msg_type": "bin", "payload": {}}, "expected 'bytes' payload for HiveMessageType.BINARY, got"),
        ({"msg_type": "bin", "payload": "x"}, "expected 'bytes' payload for HiveMessageType.BINARY, got"),
        ({"msg_type": "bin"}, "expected 'bytes' payload for HiveMessageType.BINARY, got"),
        ({"msg_type": "bin", "payload": bytearray(b"x")}, "expected 'bytes' payload for HiveMessageType.BINARY, got"),
        ({"msg_type": "bin", "payload": memoryview(b"x")}, "expected 'bytes' payload for HiveMessageType.BINARY, got"),
    ],
)
def test_a_message_that_cannot_be_is_refused(arguments: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        HiveMessage(**arguments)


def test_payload_text_must_be_json() -> None:
    with pytest.raises(MalformedWirePayload):
        HiveMessage("ping", "no json")


def test_payload_dicts_are_shared_not_copied() -> None:
    message, payload = bus(), {"a": 1}
    assert HiveMessage("bus", message).body["data"] is message.data
    assert HiveMessage("bus", message).body["context"] is message.context
    assert HiveMessage("ping", payload).body is payload


def test_binary_payloads_are_bytes() -> None:
    message = HiveMessage("bin", b"ab", bin_type=HiveMindBinaryPayloadType.FILE)
    assert message.body == message.payload == b"ab"
    assert message.bin_type == 3
    assert HiveMessage("bin", b"").payload == b""
    assert type(HiveMessage("bin", b"", bin_type=3).bin_type) is int
    with pytest.raises(AttributeError):
        message.bin_type = 0  # type: ignore[misc]


# --- payload ------------------------------------------------------------------------------------------------


def test_a_bus_payload_is_built_once_and_shares_the_body() -> None:
    message = HiveMessage.from_wire({"msg_type": "bus", "payload": {"type": "x"}})
    assert message.payload is message.payload
    assert message.payload == Message("x")
    message.payload.context["source"] = "a"
    assert message.body["context"] == {"source": "a"}


def test_a_payload_is_of_the_class_the_application_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign(Message):
        pass

    module = ModuleType("ovos_bus_client.message")
    module.Message = Foreign  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ovos_bus_client.message", module)
    assert type(HiveMessage("bus", BUS).payload) is Foreign


def test_a_routed_payload_is_a_message() -> None:
    message = HiveMessage("propagate", HiveMessage("bus", bus(), target_site_id="kitchen"))
    assert message.payload.target_site_id == "kitchen"
    assert message.payload.payload == bus()
    assert message.payload is message.payload


@pytest.mark.parametrize(
    ("kind", "payload"),
    [("bus", {}), ("bus", {"type": 1}), ("propagate", {}), ("propagate", BUS), ("query", {"msg_type": "no"})],
)
def test_a_payload_that_is_no_message_is_refused_when_asked_for(kind: str, payload: Any) -> None:
    message = HiveMessage(kind, payload)
    with pytest.raises(ValueError):
        _ = message.payload
    assert message.body == payload


def test_the_payload_can_be_replaced() -> None:
    message = HiveMessage("bus", bus())
    assert message.payload.msg_type == "speak"
    message.payload = Message("x")
    assert message.payload == Message("x")
    assert message.body == {"type": "x", "data": {}, "context": {}}
    outer = HiveMessage("propagate", HiveMessage("ping"))
    outer.payload = Message("x")
    assert outer.payload.payload == Message("x")
    outer.payload = HiveMessage("ping", {"a": 1})
    assert outer.payload.body == {"a": 1}
    for raw in ("as given", None, b"x"):
        outer.payload = raw
        assert outer.body == raw


def test_keys_of_an_object_payload_are_items() -> None:
    message = HiveMessage("ping", {"a": 1})
    message["b"] = 2
    assert (message["a"], message["b"], message["c"]) == (1, 2, None)
    with pytest.raises(TypeError):
        HiveMessage("bin", b"x")["a"]
    with pytest.raises(TypeError):
        HiveMessage("bin", b"x")["a"] = 1


def test_text_forms() -> None:
    assert json.loads(str(HiveMessage("ping", {"a": 1})))["payload"] == {"a": 1}
    assert str(HiveMessage("bin", b"abc")) == "HiveMessage(BINARY:3])"
    assert repr(HiveMessage("hello", {"secret": "x"})) == "HiveMessage('hello')"
    message = HiveMessage("propagate", HiveMessage("bus", bus()), metadata={"a": [1, 2]})
    assert message.as_json == message.serialize() == json.dumps(message.as_dict, ensure_ascii=False)


# --- received -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        [], "x", 1, None, {}, {"msg_type": 1, "payload": {}}, {"msg_type": []}, {"msg_type": None},
        {"msg_type": "shake"}, {"msg_type": "ping", "metadata": []}, {"msg_type": "ping", "route": {}},
        {"msg_type": "ping", "node": 1}, {"msg_type": "ping", "source_peer": {}},
        {"msg_type": "ping", "target_site_id": []}, {"msg_type": "ping", "target_pubkey": 0},
        {"msg_type": "ping", "payload": 1}, {"msg_type": "ping", "payload": None},
        {"msg_type": "ping", "target_peers": "p"},
    ],
)  # fmt: skip
def test_the_wire_door_refuses_wrong_shapes(frame: Any) -> None:
    with pytest.raises(MalformedWirePayload):
        HiveMessage.from_wire(json.dumps(frame))


@pytest.mark.parametrize("door", [HiveMessage.from_wire, HiveMessage.deserialize])
@pytest.mark.parametrize("text", ["", "{", b"\xff", '{"msg_type": "ping", "payload": {"a": NaN}}'])
def test_text_that_is_no_strict_json_is_refused(door: Any, text: Any) -> None:
    with pytest.raises(InvalidJson) as refused:
        door(text)
    assert isinstance(refused.value, json.JSONDecodeError)


@pytest.mark.parametrize("frame", [[], "x", {"type": "x", "data": []}, {"msg_type": "ping", "payload": 1}])
def test_the_lenient_door_refuses_broken_messages(frame: Any) -> None:
    with pytest.raises(MalformedWirePayload):
        HiveMessage.deserialize(json.dumps(frame))


@pytest.mark.parametrize("frame", [{"msg_type": [], "payload": {}}, {"msg_type": {}, "type": 1}])
def test_the_lenient_door_takes_odd_types_for_third_party(frame: Any) -> None:
    assert HiveMessage.deserialize(frame).body == frame


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("msg_type", "payload", "metadata", "route", "node", "target_site_id", "target_pubkey", "source_peer",
        "target_peers", "bin_type", "type", "data", "context", "zz")  # fmt: skip
FRAMES = st.dictionaries(
    st.sampled_from(KEYS), JSON | st.sampled_from([kind.value for kind in HiveMessageType]), max_size=8
)


@given(FRAMES)
@settings(max_examples=200, deadline=None)
def test_any_object_is_a_message_or_refused(frame: Any) -> None:
    for door in (HiveMessage.from_wire, HiveMessage.deserialize):
        try:
            message = door(json.loads(json.dumps(frame)))
        except ValueError:
            continue
        assert HiveMessage.from_wire(message.serialize()).as_dict == message.as_dict
        try:
            _ = message.payload
        except ValueError:
            continue


# --- forwarding and route -----------------------------------------------------------------------------------


def test_forward_keeps_every_field_that_is_not_named() -> None:
    message = HiveMessage(
        "propagate", HiveMessage("bus", bus()), "n", "p", [dict(OTHER)], ["t"], "s", "k", metadata={"a": 1}
    )
    same = message.forward()
    assert same.as_dict == message.as_dict
    assert same.target_peers == ["t"]
    same.metadata["b"] = 2
    same["c"] = 3
    same.update_hop_data()
    assert message.metadata == {"a": 1}
    assert message["c"] is None
    assert message.route == [OTHER]
    other = message.forward(HiveMessage("ping"), target_site_id=None, source_peer="q", metadata=None)
    assert other.payload.msg_type == "ping"
    assert (other.target_site_id, other.source_peer, other.metadata) == (None, "q", {})
    assert other.target_public_key == "k"
    assert message.forward(payload=None).body == {}


def test_forward_of_binary_keeps_what_it_is() -> None:
    message = HiveMessage("bin", b"x", bin_type=HiveMindBinaryPayloadType.FILE)
    assert message.forward().bin_type == 3
    assert message.forward(bin_type=None).bin_type == 0
    assert message.forward(b"y").body == b"y"


def test_target_peers_default_to_the_source_and_never_travel() -> None:
    message = HiveMessage("ping", source_peer="p")
    assert message.target_peers == ["p"]
    message.add_target_peer("a")
    message.add_target_peer("b")
    message.remove_target_peer("a")
    message.add_target_peer("b")
    message.remove_target_peer("b")
    message.remove_target_peer("unknown")
    assert message.target_peers == ["b"]
    assert "target_peers" not in message.as_dict
    assert message.update_source_peer("q") is message
    assert message.source_peer == "q"
    assert message.node_id is None


def test_hop_data_is_merged_into_the_last_hop_of_this_message_only() -> None:
    inner = [{"source": "p", "targets": ["a"], "seen": {"x": 1}}]
    message = HiveMessage("ping", source_peer="p", route=inner)
    message.update_hop_data({"seen": {"y": 2}, "targets": ["b"], "empty": "", "new": 1})
    assert message.route == [{"source": "p", "targets": ["b"], "seen": {"x": 1, "y": 2}, "empty": "", "new": 1}]
    assert inner == [{"source": "p", "targets": ["a"], "seen": {"x": 1}}]


def test_hop_data_merge_rules() -> None:
    route = [{"source": "p", "targets": ["a"], "k": 1}]
    message = HiveMessage("ping", source_peer="p", route=route)
    message.update_hop_data({"targets": ["z"], "k": 2, "e": ""}, new_only=True)
    assert message.route == [{"source": "p", "targets": ["a"], "k": 1, "e": ""}]
    message.update_hop_data({"k": None, "targets": [], "z": 0, "o": {}}, skip_empty=True)
    assert message.route == [{"source": "p", "targets": ["a"], "k": 1, "e": "", "z": 0, "o": {}}]
    message.update_hop_data({"targets": ["a", "b"]}, merge_lists=True)
    assert message.route[0]["targets"] == ["a", "b"]
    message.update_hop_data({"targets": ["a"]}, merge_lists=True, no_dupes=False)
    assert message.route[0]["targets"] == ["a", "b", "a"]
    message.replace_route([])
    assert message.route == []


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ([], "not a HiveMind message: it must be a JSON object, got list"),
        ({}, "not a HiveMind message"),
        ({"payload": {}}, "not a HiveMind message"),
        ({"msg_type": "hello"}, "hello message that carries no payload"),
        ({"msg_type": "ping", "payload": "x"}, "ping payload must be a JSON object, got str"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(frame, said):
    with pytest.raises(MalformedWirePayload, match=said):
        HiveMessage.from_wire(frame)
