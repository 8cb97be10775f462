from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.listening import Listening
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.protocol import HiveMindSlaveProtocol
from hivemind_bus_client.protocol_binding import Binding, default_protocol

QUERY = HiveMessage(HiveMessageType.QUERY, HiveMessage(HiveMessageType.BUS, Message("ask")))
PING = HiveMessage(HiveMessageType.PING, {})


class Whole:
    """A protocol that wants to be told everything."""

    def __init__(self, client: Listening) -> None:
        self.client = client
        self.internal_protocol = SimpleNamespace(node_id="")
        self.told: list[Any] = []

    def bind(self, bus: Any) -> None:
        self.client.on(HiveMessageType.QUERY, self.told.append)
        self.client.on("speak", self.told.append)

    def sending(self, message: HiveMessage) -> None:
        self.told.append(message)

    def connection_opened(self) -> None:
        self.told.append("opened")

    def announcement(self, message: HiveMessage) -> HiveMessage:
        return PING

    def reset_connection_state(self) -> None:
        self.told.append("lost")


def test_a_protocol_is_told_of_the_connection() -> None:
    client = Listening()
    protocol = Whole(client)
    binding = Binding(client, protocol, FakeBus())
    binding.opened({"pubkey": "PEM", "node_id": "hub"}, True)
    assert (protocol.mpubkey, protocol.binarize, protocol.internal_protocol.node_id) == ("PEM", True, "hub")  # type: ignore[attr-defined]
    binding.opened({"pubkey": None, "node_id": "another"}, False)
    assert (protocol.mpubkey, protocol.binarize, protocol.internal_protocol.node_id) == ("PEM", False, "hub")  # type: ignore[attr-defined]
    binding.sending(QUERY)
    binding.lost()
    assert protocol.told == ["opened", "opened", QUERY, "lost"]
    assert binding.ahead_of(QUERY) is PING


def test_what_a_protocol_lacks_is_not_asked_of_it() -> None:
    binding = Binding(Listening(), SimpleNamespace(bind=lambda bus: None), FakeBus())
    binding.opened({}, True)
    binding.sending(QUERY)
    assert binding.ahead_of(QUERY) is None
    binding.lost()
    assert binding.protocol.binarize


def test_undoing_takes_back_what_the_protocol_listens_to_and_nothing_else() -> None:
    client = Listening()
    protocol = Whole(client)
    binding = Binding(client, protocol, FakeBus())
    heard: list[Any] = []
    client.on(HiveMessageType.QUERY, heard.append)
    binding.undo()
    client.emitter.emit("query", QUERY)
    client.internal_bus.emit(Message("speak"))
    assert protocol.told == []
    assert heard == [QUERY]


def test_a_bind_that_fails_leaves_the_client_usable() -> None:
    def fail(bus: Any) -> None:
        raise OSError("no bus")

    client = Listening()
    with pytest.raises(OSError, match="no bus"):
        Binding(client, SimpleNamespace(bind=fail), FakeBus())
    client.on("speak", print)
    assert client._noted is None


def test_another_bus_silences_the_protocol_on_the_first() -> None:
    sent: list[Any] = []
    client = Listening()
    for name, value in {
        "emit": sent.append,
        "session_id": "s",
        "identity": SimpleNamespace(),
        "handles_exchange": True,
    }.items():
        setattr(client, name, value)
    protocol = HiveMindSlaveProtocol(client, shared_bus=True)
    bus = FakeBus()
    binding = Binding(client, protocol, bus)
    bus.emit(Message("x"))
    assert len(sent) == 1
    binding.undo()
    bus.emit(Message("x"))
    bus.emit(Message("hive.send.upstream", {"msg_type": "bus", "payload": {"type": "y"}}))
    assert len(sent) == 1


def test_the_default_protocol_uses_the_clients_identity() -> None:
    client = SimpleNamespace(identity=object())
    made = default_protocol(client)
    assert isinstance(made, HiveMindSlaveProtocol)
    assert (made.hm, made.identity) == (client, client.identity)
