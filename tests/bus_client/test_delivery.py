from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.bus_context import Speaker
from hivemind_bus_client.delivery import BinaryDataCallbacks, Delivery, bus_calls, handle_binary
from hivemind_bus_client.dispatch import Emitter
from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message


class Heard(BinaryDataCallbacks):
    """Two buses, an emitter and callbacks, and what came to them in order."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []
        self.emitter, self.agent, self.own = Emitter(), FakeBus(), FakeBus()
        for name, bus in (("agent", self.agent), ("own", self.own)):
            for topic in ("speak", "ovos.utterance.speak"):
                bus.on(topic, lambda m, name=name: self.log.append((f"{name} {m.msg_type}", m.context)))
        self.emitter.on("message", lambda text: self.log.append(("text", text)))
        for kind in ("bus", "bin", "query"):
            self.emitter.on(kind, lambda m, kind=kind: self.log.append((kind, m)))
        speaker = Speaker("agent", "s1", "attic")
        self.delivery = Delivery(self.emitter, lambda: [self.agent, self.own], lambda: speaker, lambda: self)

    def handle_receive_tts(self, *args: Any) -> None:
        self.log.append(("tts", args))

    def take(self, message: HiveMessage) -> list[str]:
        for call in self.delivery.received(message):
            call()
        return [name for name, _ in self.log]


def bus_message(topic: str, **context: Any) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message(topic, {"utterance": "hi"}, context))


def test_a_bus_message_comes_to_every_handler_under_both_names() -> None:
    heard = Heard()
    assert heard.take(bus_message("speak", destination="me", source="hive")) == [
        "text",
        "bus",
        "agent speak",
        "agent ovos.utterance.speak",
        "own speak",
        "own ovos.utterance.speak",
    ]
    assert heard.log[2][1] == {"source": "me"}


class ForeignBus:
    """A bus of another library: it knows nothing of a message's other name."""

    def __init__(self) -> None:
        self.emitted: list[Any] = []

    def emit(self, message: Any) -> None:
        self.emitted.append(message)


class BridgingBus(ForeignBus):
    """One of those that do."""

    _translator = object()


@pytest.mark.parametrize(
    ("made", "names"),
    [(ForeignBus, ["speak", "ovos.utterance.speak"]), (BridgingBus, ["speak"])],
)
def test_a_bus_that_knows_both_names_is_given_one(made: type[ForeignBus], names: list[str]) -> None:
    bus = made()
    delivery = Delivery(Emitter(), lambda: [bus], lambda: Speaker("agent", "s1", "attic"), BinaryDataCallbacks)
    for call in delivery.received(bus_message("speak")):
        call()
    assert [message.msg_type for message in bus.emitted] == names
    assert [bool(message.context.get("_namespace_compat_twin")) for message in bus.emitted] == [False, True][
        : len(names)
    ]


def test_a_marked_twin_of_what_was_delivered_is_not_delivered_again() -> None:
    heard = Heard()
    heard.take(bus_message("speak"))
    before = len(heard.log)
    assert heard.take(bus_message("ovos.utterance.speak", _namespace_compat_twin=True))[before:] == ["text", "bus"]


def test_other_envelopes_come_to_their_handlers_alone() -> None:
    assert Heard().take(HiveMessage(HiveMessageType.QUERY, bus_message("speak"))) == ["text", "query"]


def test_what_another_brings_comes_to_the_buses_alone() -> None:
    heard = Heard()
    for call in heard.delivery.injected(Message("speak", {}, {"hivemind_verified_source_peer": "PEM"})):
        call()
    assert [name for name, _ in heard.log][::2] == ["agent speak", "own speak"]
    assert heard.log[0][1] == {"hivemind_verified_source_peer": "PEM"}


def test_binary_data_comes_to_its_callback_and_is_never_text() -> None:
    sound = HiveMessage(HiveMessageType.BINARY, b"x", bin_type=HiveMindBinaryPayloadType.TTS_AUDIO)
    heard = Heard()
    assert heard.take(sound) == ["tts", "bin"]
    assert heard.log[0][1] == (b"x", None, None, None)


@pytest.mark.parametrize("kind", list(HiveMindBinaryPayloadType))
def test_by_default_binary_data_is_mentioned_in_the_log(
    kind: HiveMindBinaryPayloadType, caplog: pytest.LogCaptureFixture
) -> None:
    handle_binary(HiveMessage(HiveMessageType.BINARY, b"x", bin_type=kind), BinaryDataCallbacks())
    assert "nothing handles" in caplog.text


def test_a_bus_of_another_make_gets_the_message_itself() -> None:
    class Foreign:
        def __init__(self) -> None:
            self.emitted: list[Any] = []

        def emit(self, message: Any) -> None:
            self.emitted.append(message)

    bus = Foreign()
    for call in bus_calls(bus, Message("x")):
        call()
    assert bus.emitted == [Message("x")]
