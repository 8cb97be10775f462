from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.dispatch import ThreadDispatcher
from hivemind_bus_client.listening import Listening
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

SPEAK = HiveMessage(HiveMessageType.BUS, Message("speak"))


@pytest.mark.parametrize(
    "event", ["bus", HiveMessageType.BUS, "open", "close", "error", "reconnecting", "auth_rejected"]
)
def test_envelopes_and_the_connection_are_heard_by_the_emitter(event: str) -> None:
    client, heard = Listening(), []
    client.on(event, heard.append)
    client.once(event, heard.append)
    for _ in range(2):
        client.emitter.emit(event, "it")
    assert heard == ["it"] * 3
    client.remove(event, heard.append)
    assert not client.emitter.emit(event, "it")


@pytest.mark.parametrize("event", ["speak", "message", "anything.else"])
def test_everything_else_is_heard_on_the_internal_bus(event: str) -> None:
    client = Listening()
    heard: list[Any] = []
    client.on(event, heard.append)
    client.once(event, heard.append)
    message = Message("speak" if event == "message" else event)
    for _ in range(2):
        client.internal_bus.emit(message)
    expected = message.serialize() if event == "message" else message
    assert heard == [expected] * 3
    client.remove(event, heard.append)
    client.internal_bus.emit(message)
    assert len(heard) == 3


def test_listening_again_while_being_called() -> None:
    """As listeners do that are called once and arm themselves anew."""
    client = Listening()
    heard: list[Any] = []

    def again(message: Any) -> None:
        heard.append(message)
        client.once(HiveMessageType.BUS, again)

    client.once(HiveMessageType.BUS, again)
    for _ in range(3):
        client.emitter.emit("bus", SPEAK)
    assert len(heard) == 3


def test_all_listeners_of_an_event_can_go() -> None:
    client = Listening()
    heard: list[Any] = []
    for event in ("bus", "speak"):
        client.on(event, heard.append)
        client.remove_all_listeners(event)
    client.emitter.emit("bus", SPEAK)
    client.internal_bus.emit(Message("speak"))
    assert heard == []


def test_what_is_listened_to_can_be_noted() -> None:
    client = Listening()
    noted: list[Any] = []
    client.note_listeners(noted)
    client.on("speak", print)
    client.note_listeners(None)
    client.on("bus", print)
    assert noted == [("speak", print)]


def test_coroutine_functions_on_a_bus_of_another_make() -> None:
    """They are handed to the client's own dispatcher, since that bus would not run them."""

    class Foreign:
        def __init__(self) -> None:
            self.handlers: list[Any] = []

        def on(self, event: str, func: Any) -> None:
            self.handlers.append(func)

        def remove(self, event: str, func: Any) -> None:
            self.handlers.remove(func)

    client = Listening()
    client.internal_bus = Foreign()
    client._dispatcher = dispatcher = ThreadDispatcher()
    heard: list[Any] = []

    async def handler(message: Any) -> None:
        heard.append(message)

    client.on_mycroft("x", handler)
    client.internal_bus.handlers[0]("it")
    dispatcher.start()
    dispatcher.stop()
    assert heard == ["it"]
    client.remove("x", handler)
    assert client.internal_bus.handlers == []
