from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core.actions import (
    PARENT,
    Action,
    Answer,
    Ask,
    Deny,
    Flood,
    Here,
    Kick,
    Mail,
    Origin,
    Register,
    Relay,
    Shared,
    ToAgent,
    ToBinary,
    Unseal,
)
from hivemind_core.clients import Client
from hivemind_core.hops import MAX_HOPS
from hivemind_core.routing import RULES, addressees, bus_message
from hivemind_core.routing import route as route_from

HERE = Here("HUB", "hall")
ALL = Client(1, "key", is_admin=True)
SENDER = "ua::1::kitchen::s1"
SPEAK = {"type": "speak", "data": {"utterance": "hi"}, "context": {"session": {"session_id": "s1"}}}
BUS = {"msg_type": "bus", "payload": SPEAK}
HOP = {"source": SENDER, "targets": [SENDER]}
OWN_HOP = {"source": "HUB", "targets": ["HUB"]}
VERBS = ("escalate", "propagate", "broadcast", "query", "cascade")


def route(message: HiveMessage, client: Client | None = ALL, sender: str = SENDER) -> list[Action]:
    return route_from(message, Origin(sender if client else PARENT, client), HERE)


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


def test_a_bare_ping_is_taken_without_effect() -> None:
    assert route(HiveMessage("ping", {"flood_id": "f"})) == []


def test_a_type_that_is_not_routed_is_denied_not_swallowed() -> None:
    [action] = route(HiveMessage("3rdparty", {}))
    assert isinstance(action, Deny)
    assert (action.denied_type, action.code) == ("3rdparty", "unsupported_type")


def test_what_is_shared_is_shown_and_goes_nowhere() -> None:
    assert route(HiveMessage("shared_bus", SPEAK)) == [Shared(Message("speak", {"utterance": "hi"}, SPEAK["context"]))]
    [action] = route(HiveMessage("shared_bus", {}))
    assert isinstance(action, Deny)


def test_mail_is_for_the_mailbox() -> None:
    assert route(HiveMessage("rendezvous", {"cmd": "collect"})) == [Mail({"cmd": "collect"})]


# --- rights -------------------------------------------------------------------------------------------------

LACKS = {
    "escalate": Client(1, "key", can_escalate=False),
    "propagate": Client(1, "key", can_propagate=False),
    "broadcast": Client(1, "key"),
    "broadcast, an admin": Client(1, "key", is_admin=True, can_broadcast=False),
    "query": Client(1, "key", can_escalate=False),
    "cascade": Client(1, "key", can_propagate=False),
}


@pytest.mark.parametrize("case", LACKS)
def test_who_lacks_the_right_is_put_out(case: str) -> None:
    verb = case.split(",")[0]
    assert route(HiveMessage(verb, BUS), LACKS[case]) == [Kick(verb)]
    answer = HiveMessage(verb, BUS, metadata={"is_response": True, "query_id": "q"})
    assert route(answer, LACKS[case]) == [Kick(verb)]


def test_the_hub_above_needs_no_right() -> None:
    assert not any(isinstance(action, Kick) for verb in VERBS for action in route(HiveMessage(verb, BUS), None))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "inner",
    [{"type": "speak"}, {}, {"msg_type": "bus", "payload": {}}, {"msg_type": "propagate", "payload": {"type": "x"}}],
)
def test_a_wrapper_of_what_is_no_message_is_denied(verb: str, inner: dict[str, Any]) -> None:
    for client in (ALL, Client(1, "key", can_escalate=False, can_propagate=False)):
        [action] = route(HiveMessage(verb, inner), client)
        assert isinstance(action, Deny)
        assert (action.denied_type, action.code) == (verb, "malformed_payload")


# --- passing on ---------------------------------------------------------------------------------------------


def relayed(verb: str, *, client: Client | None = ALL, **fields: Any) -> list[Relay]:
    return [x for x in route(HiveMessage(verb, BUS, **fields), client) if isinstance(x, Relay)]


def test_propagate_goes_to_all_others_and_up_with_the_hops_it_took() -> None:
    [relay] = relayed("propagate", metadata={"m": 1}, target_site_id="zzz", target_pubkey="PEM", source_peer="liar")
    assert (relay.down, relay.up) == (True, True)
    onward = relay.message.as_dict
    assert onward["payload"]["payload"] == SPEAK
    assert onward["route"] == onward["payload"]["route"] == [HOP, OWN_HOP]
    assert (onward["payload"]["source_peer"], onward["source_peer"]) == ("HUB", None)
    assert (onward["metadata"], onward["target_site_id"], onward["target_pubkey"]) == ({"m": 1}, "zzz", "PEM")


def test_escalate_only_goes_up_and_broadcast_only_down() -> None:
    [relay] = relayed("escalate")
    assert (relay.down, relay.up, relay.message.route) == (False, True, [HOP, OWN_HOP])
    [relay] = relayed("broadcast")
    assert (relay.down, relay.up, relay.message.route) == (True, False, [HOP])


def test_from_above_everything_only_goes_down() -> None:
    above = {"source": "ABOVE", "targets": ["ABOVE"]}
    [relay] = relayed("propagate", client=None, route=[above])
    assert (relay.down, relay.up, relay.message.route) == (True, False, [above, OWN_HOP])
    message = HiveMessage("broadcast", BUS, route=[above])
    assert route(message, None) == [Relay(message, down=True)]
    assert route(HiveMessage("escalate", BUS), None) == []


@pytest.mark.parametrize("verb", ["propagate", "escalate"])
def test_what_has_been_here_goes_no_farther_but_still_reaches_its_site(verb: str) -> None:
    message = HiveMessage(verb, BUS, route=[HOP, OWN_HOP, {"source": "ua::2", "targets": ["x"]}], target_site_id="hall")
    [action] = route(message, sender="ua::2")
    assert isinstance(action, ToAgent)


def test_what_has_come_too_far_goes_no_farther() -> None:
    far = [{"source": f"hub {number}", "targets": ["x"]} for number in range(MAX_HOPS)]
    assert relayed("propagate", route=far) == []


@pytest.mark.parametrize("verb", ["propagate", "escalate", "broadcast"])
def test_the_agent_of_the_site_gets_a_copy_of_its_own(verb: str) -> None:
    message = HiveMessage(verb, BUS, target_site_id="hall")
    [action, relay] = route(message)
    assert isinstance(action, ToAgent)
    assert isinstance(relay, Relay)
    assert action.verb == verb
    action.message.context["session"]["session_id"] = "changed"
    action.message.data["utterance"] = "changed"
    assert relay.message.as_dict["payload"]["payload"] == SPEAK
    for elsewhere in (None, "", "loft"):
        assert len(route(HiveMessage(verb, BUS, target_site_id=elsewhere))) == 1


def test_a_hub_without_a_site_is_no_site() -> None:
    message = HiveMessage("propagate", BUS, target_site_id="")
    [action] = route_from(message, Origin(SENDER, ALL), Here("HUB"))
    assert isinstance(action, Relay)


def test_nothing_that_came_is_changed() -> None:
    for verb in VERBS:
        message = HiveMessage(verb, BUS, route=[dict(HOP)], target_site_id="hall", metadata={"query_id": "q"})
        before = message.serialize()
        route(message)
        route(message, None)
        assert message.serialize() == before


# --- sealed messages, floods, questions ---------------------------------------------------------------------


def test_a_sealed_message_is_passed_on_only_if_it_is_not_for_here() -> None:
    sealed = {"msg_type": "intercom", "payload": {"ciphertext": "x"}}
    [action] = route(HiveMessage("propagate", sealed))
    assert isinstance(action, Unseal)
    assert (action.sources, len(action.otherwise)) == ((SENDER,), 1)
    [bare] = route(HiveMessage("intercom", {"ciphertext": "x"}))
    assert isinstance(bare, Unseal)
    assert bare.otherwise == ()


def test_a_ping_is_a_flood_even_when_it_comes_again() -> None:
    ping = {"msg_type": "ping", "payload": {"flood_id": "f", "peer": "p"}}
    [action] = route(HiveMessage("propagate", ping))
    assert isinstance(action, Flood)
    assert (action.direct, action.ping) == (True, ping["payload"])
    [again] = route(HiveMessage("propagate", ping, route=[HOP, OWN_HOP]))
    assert isinstance(again, Flood)
    assert not again.direct


@pytest.mark.parametrize(("verb", "hops"), [("query", [HOP]), ("cascade", [HOP, OWN_HOP])])
def test_a_question_keeps_its_metadata_and_only_a_cascade_gets_a_hop(verb: str, hops: list[Any]) -> None:
    [action] = route(HiveMessage(verb, BUS, metadata={"query_id": "q", "more": 1}))
    assert isinstance(action, Ask)
    assert (action.kind, action.query_id, action.looped) == (verb, "q", False)
    assert (action.relayed.route, action.relayed.metadata) == (hops, {"query_id": "q", "more": 1})


@pytest.mark.parametrize("verb", ["query", "cascade"])
def test_an_answer_is_told_from_a_question(verb: str) -> None:
    answer = HiveMessage(verb, BUS, metadata={"query_id": "q", "is_response": True})
    assert route(answer) == route(answer, None) == [Answer(answer)]
    assert route(HiveMessage(verb, BUS, metadata={"is_response": True})) == []


@pytest.mark.parametrize("odd", ["", 5, [], "x" * 257, "two\nlines"])
def test_the_id_of_a_query_is_short_text(odd: Any) -> None:
    [action] = route(HiveMessage("query", BUS, metadata={"query_id": odd}))
    assert isinstance(action, Deny)


def test_every_type_of_message_has_its_rule() -> None:
    assert set(HiveMessageType) - RULES.keys() == {HiveMessageType.HANDSHAKE, HiveMessageType.THIRDPRTY}


def test_whom_a_message_is_for() -> None:
    assert addressees({"destination": "a"}) == {"a"}
    assert addressees({"destination": ["a", "b", 5, "a"]}) == {"a", "b"}
    for odd in ({}, {"destination": None}, {"destination": {"a": 1}}, {"destination": 5}):
        assert addressees(odd) == set()


def test_what_is_a_bus_message() -> None:
    assert isinstance(bus_message({"type": "x"}), Message)
    for odd in (None, [], {}, {"type": 5}, {"type": "x", "data": []}):
        assert isinstance(bus_message(odd), str)
