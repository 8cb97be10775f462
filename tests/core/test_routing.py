from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core.routing import Deny, Register, ToAgent, ToBinary, addressees, is_bus_message, route


def test_a_bus_message_goes_to_the_agent() -> None:
    [action] = route(HiveMessage("bus", Message("speak", {"a": 1}, {"b": 2})))
    assert isinstance(action, ToAgent)
    assert action.message == Message("speak", {"a": 1}, {"b": 2})


def test_absent_data_and_context_read_as_empty() -> None:
    [action] = route(HiveMessage("bus", {"type": "x", "data": None}))
    assert isinstance(action, ToAgent)
    assert (action.message.data, action.message.context) == ({}, {})


@pytest.mark.parametrize(
    "body",
    [{}, {"type": 5}, {"type": ""}, {"type": "x", "data": []}, {"type": "x", "context": "no"}, {"data": {}}],
)
def test_a_payload_that_is_no_bus_message_is_denied(body: dict[str, Any]) -> None:
    [action] = route(HiveMessage("bus", body))
    assert isinstance(action, Deny)
    assert (action.denied_type, action.code) == ("bus", "malformed_payload")


def test_hello_announces_session_site_and_key() -> None:
    body = {"session": {"session_id": "s", "lang": None}, "site_id": "hall", "pubkey": "PEM"}
    assert route(HiveMessage("hello", body)) == [Register({"session_id": "s", "site_id": "hall"}, "hall", "PEM")]
    assert route(HiveMessage("hello", {})) == [Register({}, None, None)]


@pytest.mark.parametrize(
    "body",
    [
        {"session": "text"},
        {"session": []},
        {"site_id": 5},
        {"pubkey": {}},
        {"session": {"session_id": 5}},
        {"session": {"session_id": "x" * 257}},
        {"session": {"session_id": "two\nlines"}},
    ],
)
def test_a_malformed_hello_is_denied(body: dict[str, Any]) -> None:
    [action] = route(HiveMessage("hello", body))
    assert isinstance(action, Deny)
    assert (action.denied_type, action.code) == ("hello", "malformed_payload")


def test_binary_data_goes_to_its_handler() -> None:
    message = HiveMessage(HiveMessageType.BINARY, b"abc", bin_type=3, metadata={"file_name": "x"})
    assert route(message) == [ToBinary(b"abc", 3, {"file_name": "x"})]


@pytest.mark.parametrize("kind", ["shared_bus", "ping"])
def test_some_types_are_taken_without_effect(kind: str) -> None:
    assert route(HiveMessage(kind, {})) == []


@pytest.mark.parametrize("kind", ["escalate", "propagate", "broadcast", "query", "cascade", "intercom", "3rdparty"])
def test_a_type_that_is_not_routed_is_denied_not_swallowed(kind: str) -> None:
    [action] = route(HiveMessage(kind, {"msg_type": "bus", "payload": {"type": "x"}}))
    assert isinstance(action, Deny)
    assert (action.denied_type, action.code) == (kind, "unsupported_type")


def test_whom_a_message_is_for() -> None:
    assert addressees({"destination": "a"}) == {"a"}
    assert addressees({"destination": ["a", "b", 5, "a"]}) == {"a", "b"}
    for odd in ({}, {"destination": None}, {"destination": {"a": 1}}, {"destination": 5}):
        assert addressees(odd) == set()


def test_what_is_a_bus_message() -> None:
    assert is_bus_message({"type": "x"})
    for odd in (None, [], {}, {"type": 5}, {"type": "x", "data": []}):
        assert not is_bus_message(odd)
