"""What comes from the mesh, at both clients, through a real socket: the protocol as the clients bind it."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from helpers.link_hub import NODE_ID, LinkHub, derive, eventually
from hivemind_bus_client.async_client import AsyncHiveMessageBusClient
from hivemind_bus_client.client import HiveMessageBusClient
from hivemind_bus_client.decorators import on_query
from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.hive_map import HiveMapper
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.protocol import VERIFIED_SOURCE_PEER_KEY
from hivemind_bus_client.psk_cache import PskCache

PASSWORD = "correct horse battery staple"
BUS, PING, PROPAGATE = HiveMessageType.BUS, HiveMessageType.PING, HiveMessageType.PROPAGATE


class Satellite:
    """A client, what its buses hear, and the hub's end of its connection."""

    def __init__(self, cls: type, folder, hub: LinkHub, key: str) -> None:
        self.hub, self.key = hub, key
        self.identity = NodeIdentity(folder / key / "_identity.json")
        self.identity.name = key
        self.identity.create_keys()
        PskCache(self.identity.noise_key).save(key, NODE_ID, derive(PASSWORD, NODE_ID), PASSWORD)
        self.client = cls(key, PASSWORD, host="ws://127.0.0.1", port=hub.port, identity=self.identity)
        self.agent_bus = FakeBus()
        self.heard: list[tuple[str, Message]] = []
        for name, on in (("agent", self.agent_bus.on), ("client", self.client.on_mycroft)):
            for topic in ("speak", "hive.query.timeout", "hive.query.complete"):
                on(topic, lambda message, name=name: self.heard.append((name, message)))

    async def run(self, method, *args, **options):
        """Call a client's method without stopping the hub, which is in this loop."""
        if inspect.iscoroutinefunction(method):
            return await asyncio.wait_for(method(*args, **options), 60)
        return await asyncio.wait_for(asyncio.to_thread(method, *args, **options), 60)

    async def connect(self, **options) -> None:
        await self.run(self.client.connect, self.agent_bus, site_id="kitchen", **options)
        await eventually(lambda: self.peer is not None)

    @property
    def peer(self):
        return next((peer for peer in self.hub.peers if peer.key == self.key and peer.hello is not None), None)

    @property
    def protocol(self):
        return self.client.protocol

    async def gets(self, message: HiveMessage) -> None:
        await self.peer.send(message)

    async def hears(self, count: int = 1) -> list[Message]:
        """What each of the two buses hears: the same."""
        by_bus = {name: [message for bus, message in self.heard if bus == name] for name in ("agent", "client")}
        if len(by_bus["agent"]) < count or len(by_bus["client"]) < count:
            await eventually(lambda: len(self.heard) >= 2 * count)
            return await self.hears(count)
        assert by_bus["agent"] == by_bus["client"]
        return by_bus["agent"]

    async def is_deaf_to(self, *messages: HiveMessage) -> None:
        """Nothing of this is heard; what follows is."""
        before = len(self.heard)
        for message in messages:
            await self.gets(message)
        await self.gets(HiveMessage(BUS, Message("speak", {"n": "last"})))
        await eventually(lambda: len(self.heard) >= before + 2)
        assert [message.data for _, message in self.heard[before:]] == [{"n": "last"}] * 2
        del self.heard[before:]


@pytest.fixture
async def hub():
    async with LinkHub({"one": PASSWORD, "two": PASSWORD}) as running:
        yield running


@pytest.fixture(params=[HiveMessageBusClient, AsyncHiveMessageBusClient], ids=["threads", "asyncio"])
async def satellites(request, tmp_path, hub):
    made = [Satellite(request.param, tmp_path, hub, key) for key in ("one", "two")]
    yield made
    for satellite in made:
        await satellite.run(satellite.client.close)


@pytest.fixture
async def satellite(satellites):
    await satellites[0].connect()
    return satellites[0]


def speak(n: int = 1, topic: str = "speak") -> HiveMessage:
    return HiveMessage(BUS, Message(topic, {"n": n}, {"destination": "sat"}))


def answer(kind: HiveMessageType, n: int, topic: str = "speak") -> HiveMessage:
    return HiveMessage(kind, speak(n, topic), metadata={"query_id": "q", "is_response": True})


def hop(source: str) -> dict:
    return {"source": source, "targets": [source]}


async def test_the_protocol_knows_the_hub(satellite):
    assert (satellite.protocol.mpubkey, satellite.protocol.node_id) == (NODE_ID, NODE_ID)
    assert satellite.protocol.site_id == "kitchen"
    assert satellite.protocol.identity is satellite.identity


async def test_a_bus_message_comes_once(satellite):
    await satellite.gets(speak())
    (heard,) = await satellite.hears()
    assert heard.context == {"source": "sat"}


async def test_a_broadcast(satellite):
    elsewhere = HiveMessage(HiveMessageType.BROADCAST, speak(), target_site_id="cellar")
    await satellite.is_deaf_to(elsewhere, HiveMessage(HiveMessageType.BROADCAST, speak()))
    await satellite.gets(HiveMessage(HiveMessageType.BROADCAST, speak(), target_site_id="kitchen"))
    (heard,) = await satellite.hears()
    assert heard.context == {"source": "sat"}


async def test_a_ping_is_answered_and_says_whom_to_trust(satellite, hub):
    satellite.identity.add_trusted_key("friend", "PEM of a friend")
    friend = "agent::3::friend::5f"
    order = HiveMessage(PROPAGATE, speak(), target_site_id="kitchen", route=[hop(friend), hop(NODE_ID)])
    await satellite.is_deaf_to(order)
    claim = {"flood_id": "f", "peer": "friend::5f", "public_key": "PEM of a friend", "timestamp": 1.0}
    for _ in range(2):
        await satellite.gets(HiveMessage(PROPAGATE, HiveMessage(PING, claim), route=[hop(friend), hop(NODE_ID)]))
    await satellite.gets(order)
    await satellite.hears()
    await eventually(lambda: hub.received)
    (said,) = hub.received
    assert said.payload.payload["peer"] == f"one::{satellite.client.session_id}"
    assert said.payload.payload["public_key"] == satellite.identity.public_key
    assert satellite.protocol.hive_mapper.edges == {"friend::5f": {NODE_ID}}


async def test_a_ping_of_its_own_is_not_answered(satellite, hub):
    payload = {"flood_id": "mine", "peer": "one::x", "timestamp": 1.0}
    await satellite.run(satellite.client.emit, HiveMessage(PROPAGATE, HiveMessage(PING, payload)))
    await satellite.gets(HiveMessage(PROPAGATE, HiveMessage(PING, {**payload, "peer": "other::y"})))
    await eventually(lambda: satellite.protocol.hive_mapper is not None)
    await satellite.is_deaf_to()
    assert [message.payload.payload["peer"] for message in hub.received] == ["one::x"]


@pytest.mark.parametrize("length", [10, 100_000])
async def test_sealed_from_one_to_the_other(satellites, hub, length):
    one, two = satellites
    for satellite in satellites:
        await satellite.connect()

    async def relay(peer, message: HiveMessage) -> None:
        await two.gets(HiveMessage.from_wire(message.serialize()))

    hub.received_hook = relay
    message = Message("speak", {"text": "x" * length})
    await one.run(one.client.emit_intercom, message, two.identity.public_key)
    await eventually(lambda: hub.received)
    await two.is_deaf_to()
    two.identity.add_trusted_key("one", one.identity.public_key)
    await one.run(one.client.emit_intercom, message, two.identity.public_key)
    (heard,) = await two.hears()
    assert heard.data == message.data
    assert heard.context == {VERIFIED_SOURCE_PEER_KEY: one.identity.public_key}


async def test_the_answers_to_a_query(satellite):
    query = HiveMessage(HiveMessageType.QUERY, speak(0, "question"), metadata={"query_id": "q"})
    await satellite.run(satellite.client.emit, query)
    assert satellite.protocol.query_liveness.waits_for("q")
    for n in (1, 2):
        await satellite.gets(answer(HiveMessageType.QUERY, n))
    await satellite.gets(answer(HiveMessageType.QUERY, 3, "hive.query.complete"))
    assert [message.data["n"] for message in await satellite.hears(2)] == [1, 2]
    await eventually(lambda: not satellite.protocol.query_liveness.waits_for("q"))


async def test_a_query_is_over_when_the_connection_is_lost(satellite):
    query = HiveMessage(HiveMessageType.QUERY, speak(0, "question"), metadata={"query_id": "q"})
    await satellite.run(satellite.client.emit, query)
    satellite.peer.abort()
    (heard,) = await satellite.hears()
    assert heard.data == {"query_id": "q", "error": "no_answer"}


async def test_no_answer_in_time(satellite):
    satellite.protocol.query_timeout = 0.02
    query = HiveMessage(HiveMessageType.QUERY, speak(0, "question"), metadata={"query_id": "q"})
    await satellite.run(satellite.client.emit, query)
    (heard,) = await satellite.hears()
    assert heard.data == {"query_id": "q", "error": "no_answer"}


async def test_time_decides_between_answers_to_a_cascade(satellite):
    satellite.protocol.cascade_timeout = 0.02
    satellite.protocol.cascade_select_callback = lambda found: found[0]
    await satellite.gets(answer(HiveMessageType.CASCADE, 1))
    (heard,) = await satellite.hears()
    assert heard.data == {"n": 1}


async def test_one_answer_to_a_cascade_is_chosen(satellite):
    satellite.protocol.cascade_select_callback = lambda found: found[-1]
    mapper = satellite.protocol.hive_mapper = HiveMapper()
    for peer in ("a", "b"):
        mapper.on_ping(HiveMessage(PING, {"flood_id": "f", "peer": peer}))
    for n in (1, 2, 3):
        await satellite.gets(answer(HiveMessageType.CASCADE, n))
    (heard,) = await satellite.hears()
    assert heard.data == {"n": 2}
    await satellite.is_deaf_to(answer(HiveMessageType.CASCADE, 4))


async def test_decorated_handlers(satellite):
    by_topic: list = []
    by_envelope: list = []

    @on_query("speak", satellite.client)
    def handle_topic(message: Message) -> None:
        by_topic.append(message.data["n"])

    @on_query("bus", satellite.client)
    async def handle_envelope(message: HiveMessage) -> None:
        by_envelope.append(message.payload.data["n"])

    for n in range(5):
        await satellite.gets(answer(HiveMessageType.QUERY, n))
    await eventually(lambda: len(by_topic) == len(by_envelope) == 5)
    assert by_topic == by_envelope == [0, 1, 2, 3, 4]
    handle_topic.shutdown()
    handle_envelope.shutdown()
    await satellite.gets(answer(HiveMessageType.QUERY, 5))
    await satellite.hears(6)
    assert len(by_topic) == len(by_envelope) == 5


async def test_what_cannot_be_read_harms_nothing(satellite):
    await satellite.is_deaf_to(
        HiveMessage(PROPAGATE, {"type": "speak"}, target_site_id="kitchen"),
        HiveMessage(HiveMessageType.QUERY, HiveMessage(PING, {"flood_id": "f"})),
        HiveMessage(HiveMessageType.INTERCOM, {"ciphertext": "%%%", "encrypted_key": "x"}),
        HiveMessage(HiveMessageType.ESCALATE, speak()),
    )


async def test_what_is_propagated_is_announced_first(satellite, hub):
    order = HiveMessage(PROPAGATE, speak(), target_site_id="attic")
    for _ in range(2):
        await satellite.run(satellite.client.emit, order)
    await eventually(lambda: len(hub.received) == 3)
    assert [message.payload.msg_type for message in hub.received] == ["ping", "bus", "bus"]
    shown = hub.received[0].payload.payload
    assert (shown["peer"], shown["public_key"]) == (
        f"one::{satellite.client.session_id}",
        satellite.identity.public_key,
    )
    await satellite.is_deaf_to(HiveMessage(PROPAGATE, HiveMessage(PING, shown)))
    assert len(hub.received) == 3  # its own flood is not answered
