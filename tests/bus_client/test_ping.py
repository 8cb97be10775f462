from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.listening import Listening
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.ping import Ping


class Client(Listening):
    """Answers a PING as the mesh does."""

    session_id, site_id, problem = "s1", "attic", ""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = answers
        self.sent: list[HiveMessage] = []

    def emit(self, message: HiveMessage) -> None:
        self.sent.append(message)
        flood = {"flood_id": message.payload.body["flood_id"], "timestamp": 1.0}
        for answer in self.answers:
            inner = HiveMessage(HiveMessageType.PING, {**flood, **answer})
            route = [{"source": "hub::1", "targets": ["kitchen::2"]}]
            self.emitter.emit("propagate", HiveMessage(HiveMessageType.PROPAGATE, inner, route=route))


def pinged(*answers: dict[str, Any]) -> tuple[Ping, list[str], bool]:
    told: list[str] = []
    ping = Ping(Client(*answers), "me", told.append)
    return ping, told, ping.run(0.01)


def test_what_is_sent() -> None:
    ping, _, answered = pinged()
    (sent,) = ping._client.sent
    assert (sent.msg_type, sent.payload.msg_type) == ("propagate", "ping")
    body = sent.payload.body
    assert (body["flood_id"], body["peer"], body["site_id"]) == (ping.flood_id, "me::s1", "attic")
    assert body["timestamp"] > 1
    assert not answered


def test_every_answer_is_told_once_and_mapped_with_its_route() -> None:
    ping, told, answered = pinged({"peer": "kitchen::2", "site_id": "kitchen"}, {"peer": "hub::1"}, {"peer": "hub::1"})
    assert answered
    assert told == ["  PING from kitchen::2  site=kitchen", "  PING from hub::1"]
    assert set(ping.mapper.nodes) == {"kitchen::2", "hub::1"}
    assert ping.mapper.edges["hub::1"] == {"kitchen::2"}
    assert ping.root == f"me::{ping.flood_id[:8]}"


@pytest.mark.parametrize("answer", [{"peer": "x", "flood_id": "another"}, {"peer": ""}, {"peer": 5}])
def test_what_is_no_answer(answer: dict[str, Any]) -> None:
    assert pinged(answer)[1:] == ([], False)


def test_other_messages_of_the_mesh_are_passed_over() -> None:
    ping, told, _ = pinged()
    inner = HiveMessage(HiveMessageType.BUS, Message("speak"))
    ping._client.emitter.emit("propagate", HiveMessage(HiveMessageType.PROPAGATE, inner))
    assert told == []


def test_a_refusal_ends_the_wait() -> None:
    client = Client()
    ping = Ping(client, "me", print)
    client.problem = "not permitted"
    client.emitter.emit("auth_rejected", "not permitted")
    assert not ping.run(60)
    assert ping.problem == "not permitted"


def test_a_lost_connection_ends_the_wait() -> None:
    client = Client()
    ping = Ping(client, "me", print)
    client.emitter.emit("reconnecting")
    assert not ping.run(60)
    assert ping.problem == "the connection to the hub was lost"
