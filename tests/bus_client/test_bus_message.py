"""bus_message: the light OVOS message."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from hivemind_bus_client.bus_message import (
    Message,
    as_message,
    build_bus_message,
    is_bus_message,
    message_class,
)
from hivemind_bus_client.exceptions import InvalidJson, MalformedWirePayload


class ForeignMessage:
    """What ovos_bus_client's class looks like from outside, in a release that replaces empty dicts."""

    def __init__(self, msg_type: str, data: Any = None, context: Any = None) -> None:
        self.msg_type, self.data, self.context = msg_type, data or {}, context or {}


def test_data_and_context_are_kept_not_copied() -> None:
    data: dict[str, Any] = {}
    context: dict[str, Any] = {}
    message = Message("speak", data, context)
    assert message.data is data
    assert message.context is context
    assert Message("speak").data == {}


@pytest.mark.parametrize("arguments", [(1,), ("x", []), ("x", "text"), ("x", {}, "text"), (None,)])
def test_anything_but_a_type_and_dicts_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        Message(*arguments)


def test_the_other_class_counts_as_ours_once_the_application_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = ForeignMessage("x", {"a": 1})
    assert isinstance(Message("x"), Message)
    assert not isinstance(foreign, Message)
    module = ModuleType("ovos_bus_client.message")
    module.Message = ForeignMessage  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ovos_bus_client.message", module)
    assert isinstance(foreign, Message)
    assert not isinstance({"type": "x"}, Message)
    assert type(as_message(foreign)) is Message


def test_messages_compare_by_content() -> None:
    assert Message("x", {"a": 1}) == Message("x", {"a": 1})
    assert Message("x", {"a": 1}) == ForeignMessage("x", {"a": 1})
    assert Message("x") != Message("y")
    assert Message("x") != Message("x", {}, {"source": "a"})
    assert Message("x") != "x"
    with pytest.raises(TypeError):
        hash(Message("x"))


def test_json_form_round_trips() -> None:
    message = Message("speak", {"utterance": "olá €"}, {"source": "a"})
    text = message.serialize()
    assert "olá €" in text
    assert Message.deserialize(text) == message
    assert Message.deserialize(text.encode()) == message
    assert Message.deserialize(message.as_dict) == message


@pytest.mark.parametrize("text", ['{"type": "x"}', '{"type": "x", "data": null, "context": null, "more": 1}'])
def test_absent_and_null_parts_read_as_empty(text: str) -> None:
    assert Message.deserialize(text) == Message("x")


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"type": 1}', '{"type": "x", "data": []}', '{"type": "x", "context": "c"}', '"x"']
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(MalformedWirePayload):
        Message.deserialize(text)


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidJson):
        Message.deserialize("{")


def test_repr_shows_no_values() -> None:
    assert repr(Message("x", {"password": "hunter2"})) == "Message('x', data keys ['password'])"


def test_forward_copies_the_context() -> None:
    message = Message("x", {}, {"session": {"session_id": "s"}, "list": [{}]})
    other = message.forward("y", {"a": 1})
    other.context["session"]["session_id"] = "t"
    other.context["list"][0]["b"] = 1
    assert other.msg_type == "y"
    assert other.data == {"a": 1}
    assert message.context == {"session": {"session_id": "s"}, "list": [{}]}


@pytest.mark.parametrize(
    ("context", "overlay", "answer"),
    [
        ({}, None, {}),
        ({"source": "s", "destination": "d"}, None, {"source": "d", "destination": "s"}),
        ({"source": "s", "destination": ["d", "e"]}, None, {"source": "d", "destination": "s"}),
        ({"source": ["s", "t"], "destination": "d"}, None, {"source": "d", "destination": ["s", "t"]}),
        ({"source": "s"}, None, {"source": "s", "destination": "s"}),
        ({"destination": "d"}, None, {"source": "d", "destination": "d"}),
        ({"source": None, "destination": "d"}, None, {"source": "d", "destination": "d"}),
        ({"source": "s", "destination": []}, None, {"source": "s", "destination": "s"}),
        ({"source": "s"}, {"destination": "D"}, {"source": "D", "destination": "s"}),
        ({"x": 1, "y": {"z": 1}}, {"x": 2}, {"x": 2, "y": {"z": 1}}),
    ],
)
def test_a_reply_goes_the_other_way(context: Any, overlay: Any, answer: Any) -> None:
    """The table was measured on released ovos-bus-client."""
    before = dict(context)
    reply = Message("x", {}, context).reply("y", {"a": 1}, overlay)
    assert (reply.msg_type, reply.data, reply.context) == ("y", {"a": 1}, answer)
    assert context == before


def test_response_is_a_reply_with_its_own_type() -> None:
    reply = Message("x", {}, {"source": "s", "destination": "d"}).response({"a": 1}, {"b": 2})
    assert reply == Message("x.response", {"a": 1}, {"source": "d", "destination": "s", "b": 2})


def test_as_message_takes_foreign_messages_and_nothing_else() -> None:
    own, foreign = Message("x"), ForeignMessage("y", {"a": 1}, {"b": 2})
    assert as_message(own) is own
    converted = as_message(foreign)
    assert converted == Message("y", {"a": 1}, {"b": 2})
    assert converted.data is foreign.data
    assert is_bus_message(SimpleNamespace(msg_type="x", data={}, context={}))
    for other in ({"type": "x"}, "x", None, SimpleNamespace(msg_type="x")):
        with pytest.raises(TypeError):
            as_message(other)


def test_the_class_is_that_of_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ovos_bus_client.message", raising=False)
    assert message_class() is Message
    module = ModuleType("ovos_bus_client.message")
    monkeypatch.setitem(sys.modules, "ovos_bus_client.message", module)
    assert message_class() is Message  # still being imported
    module.Message = ForeignMessage  # type: ignore[attr-defined]
    assert message_class() is ForeignMessage


@pytest.mark.parametrize("cls", [Message, ForeignMessage])
def test_a_built_message_shares_its_dicts_with_the_body(cls: Any) -> None:
    body: dict[str, Any] = {"type": "x", "data": {}, "context": None}
    message = build_bus_message(body, cls)
    message.context["source"] = "a"
    message.data["b"] = 1
    assert body == {"type": "x", "data": {"b": 1}, "context": {"source": "a"}}
