import asyncio

import pytest

from hivemind_bus_client import decorators
from hivemind_bus_client.decorators import (
    HiveMessageListener,
    HivePayloadListener,
    carried,
    on_cascade,
    on_hello,
    on_hive_message,
    on_mycroft_message,
    on_payload,
    on_propagate,
    on_query,
    on_third_party,
)
from hivemind_bus_client.dispatch import Emitter
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

BY_NAME = {
    "on_mycroft_message": HiveMessageType.BUS,
    "on_shared_bus": HiveMessageType.SHARED_BUS,
    "on_broadcast": HiveMessageType.BROADCAST,
    "on_ping": HiveMessageType.PING,
    "on_propagate": HiveMessageType.PROPAGATE,
    "on_escalate": HiveMessageType.ESCALATE,
    "on_handshake": HiveMessageType.HANDSHAKE,
    "on_hello": HiveMessageType.HELLO,
    "on_query": HiveMessageType.QUERY,
    "on_cascade": HiveMessageType.CASCADE,
    "on_rendezvous": HiveMessageType.RENDEZVOUS,
}


class Client:
    """What decorators need of a client."""

    def __init__(self) -> None:
        self.emitter = Emitter()
        self.on, self.once, self.remove = self.emitter.on, self.emitter.once, self.emitter.remove_listener

    def comes_in(self, message: HiveMessage) -> None:
        self.emitter.emit(message.msg_type, message)

    def bus(self, topic: str = "speak", kind: HiveMessageType = HiveMessageType.BUS) -> None:
        self.comes_in(HiveMessage(kind, Message(topic)))


@pytest.fixture
def client() -> Client:
    return Client()


def test_a_listener_hears_every_message_until_shutdown(client):
    heard: list = []
    listener = HiveMessageListener(client, HiveMessageType.BUS)
    listener.add_handler(heard.append)
    client.bus()
    assert heard == []
    assert listener.listen() is listener
    for _ in range(3):
        client.bus()
    assert [message.msg_type for message in heard] == [HiveMessageType.BUS] * 3
    client.bus(kind=HiveMessageType.SHARED_BUS)
    listener.shutdown()
    client.bus()
    assert len(heard) == 3
    listener.listen()
    client.bus()
    assert len(heard) == 4


def test_handlers_can_be_taken_away(client):
    heard: list = []
    listener = HiveMessageListener(client, HiveMessageType.BUS).listen()
    listener.add_handler(heard.append)
    listener.clear_handlers()
    client.bus()
    assert heard == listener._handlers == []


def test_a_handler_that_fails_concerns_no_other(client, caplog):
    heard: list = []
    listener = HiveMessageListener(client, HiveMessageType.BUS).listen()
    listener.add_handler(lambda _: 1 / 0)
    listener.add_handler(heard.append)
    client.bus()
    client.bus()
    assert len(heard) == 2
    assert caplog.text.count("ZeroDivisionError") == 2


def test_a_message_that_cannot_be_read_does_not_end_it(client, caplog):
    heard: list = []

    @on_propagate("bus", client)
    def handler(payload: HiveMessage) -> None:
        heard.append(payload)

    client.comes_in(HiveMessage(HiveMessageType.PROPAGATE, {"no": "message"}))
    client.comes_in(HiveMessage(HiveMessageType.PROPAGATE, HiveMessage(HiveMessageType.BUS, Message("x"))))
    assert len(heard) == 1


def test_a_handler_may_end_it(client):
    listener = HiveMessageListener(client, HiveMessageType.BUS).listen()
    heard: list = []
    listener.add_handler(lambda message: (heard.append(message), listener.shutdown()))
    client.bus()
    client.bus()
    assert len(heard) == 1
    assert client.emitter.listeners(HiveMessageType.BUS) == []


async def test_coroutine_handlers(client):
    done = asyncio.Event()

    @on_mycroft_message("speak", client)
    async def handler(_: Message) -> None:
        done.set()

    client.bus()
    await asyncio.wait_for(done.wait(), 60)


def test_by_default_a_listener_is_for_messages_of_unknown_kind(client):
    assert HiveMessageListener(client).message_type == HiveMessageType.THIRDPRTY
    assert HivePayloadListener("x", client).message_type == HiveMessageType.THIRDPRTY
    assert HivePayloadListener("x", bus=client, message_type="bus").payload_type == "x"


@pytest.mark.parametrize("name", BY_NAME)
def test_each_decorator_listens_to_its_type(client, name):
    def handler(_: object) -> None: ...

    decorate = getattr(decorators, name)
    assert decorate("x", client)(handler) is handler
    assert len(client.emitter.listeners(BY_NAME[name])) == 1
    handler.shutdown()
    assert client.emitter.listeners(BY_NAME[name]) == []
    assert decorate.__name__ == name


@pytest.mark.parametrize("kind", [HiveMessageType.BUS, HiveMessageType.SHARED_BUS])
def test_the_ovos_message_of_a_type(client, kind):
    heard: list = []

    @on_payload(kind, "speak", client)
    def handler(message: Message) -> None:
        heard.append(message)

    client.bus("speak", kind)
    client.bus("other", kind)
    client.bus("speak", kind)
    assert [(type(message), message.msg_type) for message in heard] == [(Message, "speak")] * 2


def wrapped(kind: HiveMessageType, topic: str = "speak") -> HiveMessage:
    return HiveMessage(kind, HiveMessage(HiveMessageType.BUS, Message(topic)))


@pytest.mark.parametrize("decorator", [on_query, on_cascade, on_propagate])
def test_inside_another_message_both_types_match(client, decorator):
    """The released decorators for QUERY and CASCADE never call a handler for the type of the answer."""
    envelopes: list = []
    messages: list = []

    @decorator("bus", client)
    def by_envelope(message: HiveMessage) -> None:
        envelopes.append(message)

    @decorator("speak", client)
    def by_topic(message: Message) -> None:
        messages.append(message)

    kind = BY_NAME[decorator.__name__]
    client.comes_in(wrapped(kind))
    client.comes_in(wrapped(kind, "other"))
    client.comes_in(HiveMessage(kind, HiveMessage(HiveMessageType.PING, {"flood_id": "1"})))
    assert [message.payload.msg_type for message in envelopes] == ["speak", "other"]
    assert [message.msg_type for message in messages] == ["speak"]


def test_the_message_at_the_very_bottom():
    deep = HiveMessage(HiveMessageType.PROPAGATE, wrapped(HiveMessageType.PROPAGATE))
    assert carried(deep, "speak").msg_type == "speak"
    assert carried(deep, HiveMessageType.PROPAGATE).msg_type == "propagate"
    assert carried(deep, "other") is None


def test_plain_data_is_handed_out_as_it_is(client):
    heard: list = []

    @on_hello("whatever", client)
    def handler(data: dict) -> None:
        heard.append(data)

    client.comes_in(HiveMessage(HiveMessageType.HELLO, {"node_id": "n"}))
    assert heard == [{"node_id": "n"}]


def test_whole_messages(client):
    heard: list = []

    @on_hive_message(HiveMessageType.QUERY, client)
    def any_query(message: HiveMessage) -> None:
        heard.append(message)

    @on_third_party(client)
    def any_other(message: HiveMessage) -> None:
        heard.append(message)

    client.comes_in(wrapped(HiveMessageType.QUERY))
    client.comes_in(HiveMessage(HiveMessageType.THIRDPRTY, {"a": 1}))
    assert [message.msg_type for message in heard] == ["query", "3rdparty"]
    any_other.shutdown()
    assert not hasattr(any_query, "shutdown")
