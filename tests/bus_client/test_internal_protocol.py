from types import SimpleNamespace

import pytest

from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.internal_protocol import HiveMindSlaveInternalProtocol
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message


class Connection:
    def __init__(self) -> None:
        self.sent: list[HiveMessage] = []

    def emit(self, message: HiveMessage) -> None:
        self.sent.append(message)


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def internal(connection) -> HiveMindSlaveInternalProtocol:
    internal = HiveMindSlaveInternalProtocol(connection, bus=FakeBus(), node_id="hub")
    internal.register_bus_handlers()
    return internal


def sent(connection: Connection) -> list[tuple]:
    return [(message.msg_type, message.payload.msg_type) for message in connection.sent]


@pytest.mark.parametrize("destination", ["hub", ["skills", "hub"]])
def test_what_is_addressed_to_the_hub_is_sent(internal, connection, destination):
    internal.bus.emit(Message("x", {"n": 1}, {"destination": destination}))
    assert sent(connection) == [("bus", "x")]
    assert connection.sent[0].payload.data == {"n": 1}


@pytest.mark.parametrize("destination", [None, "", "hub2", [], ["other"]])
def test_what_is_not_stays_here(internal, connection, destination):
    internal.bus.emit(Message("x", {}, {"destination": destination}))
    internal.bus.emit(Message("x"))
    assert connection.sent == []


def test_before_the_hub_is_known_nothing_is_addressed_to_it(internal, connection):
    internal.node_id = ""
    internal.bus.emit(Message("x", {}, {"destination": ""}))
    assert connection.sent == []


def test_a_shared_bus_is_copied(internal, connection):
    internal.share_bus = True
    internal.bus.emit(Message("x"))
    internal.bus.emit(Message("y", {}, {"destination": "hub"}))
    assert sent(connection) == [("shared_bus", "x"), ("shared_bus", "y"), ("bus", "y")]


def test_text_and_objects_are_taken(internal, connection):
    message = Message("x", {}, {"destination": "hub"})
    internal.handle_outgoing_mycroft(message)
    internal.handle_outgoing_mycroft(message.serialize())
    internal.handle_outgoing_mycroft(SimpleNamespace(msg_type="x", data={}, context={"destination": "hub"}))
    assert sent(connection) == [("bus", "x")] * 3


def test_a_client_that_echoes_on_the_same_bus_is_no_loop(internal, connection):
    connection.internal_bus = internal.bus
    connection.emit = lambda message: (connection.sent.append(message), internal.bus.emit(message.payload))
    internal.bus.emit(Message("x", {}, {"destination": "hub"}))
    assert sent(connection) == [("bus", "x")]


def ask(internal, **data) -> None:
    internal.bus.emit(Message("hive.send.upstream", data))


def test_messages_to_send_are_asked_for(internal, connection):
    inner = {"msg_type": "bus", "payload": {"type": "x", "data": {}, "context": {}}}
    ask(internal, msg_type="escalate", payload=inner)
    ask(internal, msg_type="propagate", payload={"type": "x"})
    ask(internal, msg_type="bus", payload={"type": "x"})
    assert [message.msg_type for message in connection.sent] == ["escalate", "propagate", "bus"]
    assert [message.payload.payload.msg_type for message in connection.sent[:2]] == ["x", "x"]


@pytest.mark.parametrize(
    "data",
    [{}, {"payload": {}}, {"msg_type": "broadcast", "payload": {}}, {"msg_type": HiveMessageType.BROADCAST},
     {"msg_type": "nonsense"}, {"msg_type": "escalate", "payload": "no json"}],
)  # fmt: skip
def test_what_cannot_be_sent_is_ignored(internal, connection, data):
    internal.bus.emitter.on("hive.send.upstream", lambda _: None)
    internal.handle_send(Message("hive.send.upstream", data))
    assert connection.sent == []


def test_it_listens_to_one_bus_at_a_time(internal, connection):
    first, internal.bus = internal.bus, FakeBus()
    internal.register_bus_handlers()
    internal.register_bus_handlers()
    for bus in (first, internal.bus):
        bus.emit(Message("x", {}, {"destination": "hub"}))
    assert sent(connection) == [("bus", "x")]
    internal.remove_bus_handlers()
    internal.bus.emit(Message("x", {}, {"destination": "hub"}))
    assert len(connection.sent) == 1


async def test_a_connection_may_be_asynchronous(connection):
    import asyncio

    done = asyncio.Event()

    async def emit(message: HiveMessage) -> None:
        done.set()

    internal = HiveMindSlaveInternalProtocol(SimpleNamespace(emit=emit), bus=FakeBus(), node_id="hub")
    internal.register_bus_handlers()
    internal.bus.emit(Message("x", {}, {"destination": "hub"}))
    await asyncio.wait_for(done.wait(), 60)
