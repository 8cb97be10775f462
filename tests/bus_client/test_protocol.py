import asyncio
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from hivemind_bus_client import protocol as protocol_module
from hivemind_bus_client.encryption import hybrid_encrypt
from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.flood_cache import FloodIdCache
from hivemind_bus_client.hive_map import HiveMapper
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.protocol import (
    QUERY_STREAM_END,
    VERIFIED_SOURCE_PEER_KEY,
    CascadeAggregator,
    HiveMindSlaveInternalProtocol,
    HiveMindSlaveProtocol,
)

BUS, QUERY, CASCADE = HiveMessageType.BUS, HiveMessageType.QUERY, HiveMessageType.CASCADE
PROPAGATE, BROADCAST = HiveMessageType.PROPAGATE, HiveMessageType.BROADCAST
LONG_S = 60.0
WAIT_S = 60.0


class Connection:
    """A transport of somebody's own: the least that a protocol needs."""

    def __init__(self, identity: object = None) -> None:
        self.handlers: dict[str, object] = {}
        self.sent: list[HiveMessage] = []
        self.session_id = "own-session"
        self.identity = identity
        self.crypto_key = self.json_encoding = self.cipher = None
        self.handshake_event = threading.Event()

    def on(self, event: str, handler: object) -> None:
        self.handlers[event] = handler

    def emit(self, message: HiveMessage) -> None:
        self.sent.append(message)

    def comes_in(self, message: HiveMessage) -> object:
        return self.handlers[message.msg_type](message)


class Client(Connection):
    """One that does what our clients do."""

    handles_exchange = True

    def __init__(self, identity: object = None) -> None:
        super().__init__(identity)
        self.delivered: list[Message] = []

    def deliver(self, message: Message) -> None:
        self.delivered.append(message)


def node(folder, name: str) -> NodeIdentity:
    identity = NodeIdentity(folder / name / "_identity.json")
    identity.name = name
    identity.create_keys()
    return identity


@pytest.fixture(scope="module")
def me(tmp_path_factory) -> NodeIdentity:
    return node(tmp_path_factory.mktemp("me"), "sat")


@pytest.fixture(scope="module")
def friend(tmp_path_factory) -> NodeIdentity:
    return node(tmp_path_factory.mktemp("friend"), "friend")


@pytest.fixture
def identity(me) -> NodeIdentity:
    me.trusted_keys = {}
    return me


@pytest.fixture
def connection(identity) -> Connection:
    return Connection(identity)


@pytest.fixture
def heard() -> list[Message]:
    return []


@pytest.fixture
def protocol(connection, heard) -> HiveMindSlaveProtocol:
    protocol = HiveMindSlaveProtocol(connection, site_id="kitchen")
    bus = FakeBus()
    protocol.bind(bus)
    for topic in ("speak", "hive.query.timeout", QUERY_STREAM_END):
        bus.on(topic, heard.append)
    return protocol


def bus(n: int = 1, topic: str = "speak", **context) -> HiveMessage:
    return HiveMessage(BUS, Message(topic, {"n": n}, context))


# --- joining -------------------------------------------------------------------------------------------------


def test_it_listens_to_what_the_mesh_sends(connection, protocol, identity):
    assert set(connection.handlers) == {
        "hello", "broadcast", "propagate", "intercom", "escalate", "shared_bus", "query", "cascade", "bus", "shake",
    }  # fmt: skip
    assert protocol.identity is identity
    assert protocol.internal_protocol.bus is not None


def test_a_client_of_ours_exchanges_keys_and_hands_out_bus_messages_itself(identity):
    client = Client(identity)
    protocol = HiveMindSlaveProtocol(client, site_id="kitchen")
    protocol.bind(FakeBus())
    assert not {"hello", "shake", "bus"} & set(client.handlers)
    assert protocol.handshake is None
    client.comes_in(HiveMessage(BROADCAST, bus(destination="me"), target_site_id="kitchen"))
    assert [(message.msg_type, message.context) for message in client.delivered] == [("speak", {"source": "me"})]


def test_defaults(connection):
    protocol = HiveMindSlaveProtocol(connection)
    assert (protocol.mpubkey, protocol.shared_bus, protocol.binarize, protocol.site_id) == ("", False, False, "unknown")
    assert (protocol.cascade_timeout, protocol.query_timeout) == (5.0, 30.0)
    for name in [
        "identity",
        "handshake",
        "pswd_handshake",
        "internal_protocol",
        "cascade_select_callback",
        "hive_mapper",
        "cascade_aggregator",
        "query_liveness",
        "noise_handshake",
    ]:
        assert getattr(protocol, name) is None


def test_without_an_identity_the_users_own_is_used(monkeypatch):
    monkeypatch.setattr(protocol_module, "NodeIdentity", lambda: SimpleNamespace(private_key=None))
    protocol = HiveMindSlaveProtocol(Connection())
    protocol.bind(FakeBus())
    assert protocol.identity.private_key is None


@pytest.mark.parametrize("shared", [True, False])
def test_sharing_the_bus(connection, shared):
    """The released protocol never passes this on."""
    protocol = HiveMindSlaveProtocol(connection, shared_bus=shared)
    bus_ = FakeBus()
    protocol.bind(bus_)
    bus_.emit(Message("x"))
    assert [message.msg_type for message in connection.sent] == ["shared_bus"] * shared


def test_it_can_be_bound_anew(connection, protocol):
    first, second = protocol.internal_protocol.bus, FakeBus()
    protocol.bind(second)
    protocol.internal_protocol.node_id = "hub"
    for each in (first, second):
        each.emit(Message("x", {}, {"destination": "hub"}))
    assert len(connection.sent) == 1


def test_an_internal_protocol_may_be_given(connection):
    internal = HiveMindSlaveInternalProtocol(connection, node_id="hub")
    protocol = HiveMindSlaveProtocol(connection, internal_protocol=internal)
    protocol.bind(bus_ := FakeBus())
    assert protocol.internal_protocol is internal
    assert internal.bus is bus_
    assert protocol.node_id == "hub"


def test_without_a_bus_the_ovos_bus_is_connected_to(connection, monkeypatch):
    class MessageBusClient(FakeBus):
        def run_in_thread(self) -> None:
            self.ran = True

    package = ModuleType("ovos_bus_client")
    package.MessageBusClient = MessageBusClient
    monkeypatch.setitem(sys.modules, "ovos_bus_client", package)
    protocol = HiveMindSlaveProtocol(connection)
    protocol.bind()
    assert protocol.internal_protocol.bus.ran
    monkeypatch.setitem(sys.modules, "ovos_bus_client", None)
    with pytest.raises(RuntimeError, match=r"hivemind-mesh\[ovos\]"):
        HiveMindSlaveProtocol(connection).bind()


# --- BUS -----------------------------------------------------------------------------------------------------


def test_a_bus_message_is_made_local(connection, protocol, heard):
    own = {"session_id": "own-session", "site_id": "elsewhere"}
    given = bus(destination="sat", source="hive", session=own, **{VERIFIED_SOURCE_PEER_KEY: "forged"})
    connection.comes_in(given)
    assert heard[0].context == {"source": "sat", "session": {"session_id": "own-session", "site_id": "kitchen"}}
    assert given.payload.context["destination"] == "sat"


def test_the_session_of_another_is_left_alone(connection, protocol, heard):
    connection.comes_in(bus(session={"session_id": "other", "site_id": "elsewhere"}))
    assert heard[0].context == {"session": {"session_id": "other", "site_id": "elsewhere"}}


@pytest.mark.parametrize("outer", [QUERY, CASCADE, PROPAGATE])
def test_the_message_around_it_may_be_given_too(protocol, heard, outer):
    protocol.handle_bus(HiveMessage(outer, bus(7)))
    assert [message.data for message in heard] == [{"n": 7}]


def test_who_wrote_it_can_be_told(protocol, heard):
    protocol.handle_bus(bus(), verified_source="PEM")
    assert heard[0].context == {VERIFIED_SOURCE_PEER_KEY: "PEM"}


@pytest.mark.parametrize("message", [HiveMessage("ping", {}), HiveMessage(PROPAGATE, HiveMessage("ping", {}))])
def test_nothing_else_is_a_bus_message(protocol, message):
    with pytest.raises(AssertionError):
        protocol.handle_bus(message)


def test_the_applications_session_manager_is_told(protocol, connection, monkeypatch, caplog):
    noted: list = []
    package = ModuleType("ovos_bus_client.session")
    package.Session = SimpleNamespace(from_message=lambda message: message.context["session"])
    package.SessionManager = SimpleNamespace(update=noted.append)
    monkeypatch.setitem(sys.modules, "ovos_bus_client.session", package)
    connection.comes_in(bus(session={"session_id": "x"}))
    connection.comes_in(bus())
    assert noted == [{"session_id": "x"}]
    package.SessionManager.update = lambda session: 1 / 0
    connection.comes_in(bus(session={"session_id": "x"}))
    assert "ZeroDivisionError" in caplog.text


async def test_a_bus_may_be_asynchronous(connection):
    done = asyncio.Event()

    class AsyncBus(FakeBus):
        async def emit(self, message: object) -> None:
            done.set()

    HiveMindSlaveProtocol(connection).bind(AsyncBus())
    connection.comes_in(bus())
    await asyncio.wait_for(done.wait(), 60)


# --- BROADCAST and PROPAGATE ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("site", "arrives"), [("kitchen", True), ("cellar", False), ("", False), (None, False)])
def test_a_broadcast_is_for_one_site(connection, protocol, heard, site, arrives):
    connection.comes_in(HiveMessage(BROADCAST, bus(), target_site_id=site))
    assert bool(heard) is arrives


@pytest.mark.parametrize("kind", [BROADCAST, PROPAGATE])
@pytest.mark.parametrize("inner", ["hello", "escalate", "rendezvous", "3rdparty"])
def test_other_things_inside_are_ignored(connection, protocol, heard, kind, inner):
    connection.comes_in(HiveMessage(kind, HiveMessage(inner, {}), target_site_id="kitchen"))
    assert heard == connection.sent == []


@pytest.mark.parametrize("kind", [BROADCAST, PROPAGATE, QUERY, CASCADE])
@pytest.mark.parametrize("payload", [{}, {"type": "speak"}, {"msg_type": "nonsense", "payload": {}}])
def test_what_carries_no_message_is_dropped(connection, protocol, heard, caplog, kind, payload):
    connection.comes_in(HiveMessage(kind, payload, target_site_id="kitchen"))
    assert heard == []
    assert "carries no message" in caplog.text


@pytest.mark.parametrize("kind", ["escalate", "shared_bus"])
def test_what_only_goes_up_is_dropped(connection, protocol, heard, caplog, kind):
    connection.comes_in(HiveMessage(kind, bus() if kind == "escalate" else Message("speak")))
    assert heard == []
    assert "it only goes up" in caplog.text


def hop(peer: str) -> dict:
    return {"source": peer, "targets": [peer]}


SENDER = "agent::3::friend::5f"


def propagated(source: str = SENDER, site: str | None = "kitchen", hub: str = "hub") -> HiveMessage:
    return HiveMessage(PROPAGATE, bus(), target_site_id=site, route=[hop(source), hop(hub)])


def ping(peer: str, key: str | None, flood_id: str = "flood", **more) -> HiveMessage:
    payload = {"flood_id": flood_id, "peer": peer, "public_key": key, "timestamp": 1.0, **more}
    return HiveMessage(PROPAGATE, HiveMessage("ping", payload), route=[hop(SENDER), hop("hub")])


def test_a_stranger_may_not_act_here(connection, protocol, heard, identity, friend, caplog):
    identity.trusted_keys = {"friend": friend.public_key}
    connection.comes_in(propagated())
    assert heard == []
    assert "Dropping untrusted PROPAGATE(BUS)" in caplog.text


def test_a_trusted_node_may_once_a_ping_has_told_who_it_is(connection, protocol, heard, identity, friend):
    identity.trusted_keys = {"friend": friend.public_key}
    connection.comes_in(ping("friend::5f", friend.public_key))
    assert protocol.hive_mapper.is_peer_trusted("friend::5f")
    connection.comes_in(propagated())
    connection.comes_in(propagated(site="cellar"))
    connection.comes_in(propagated(site=None))
    assert len(heard) == 1
    connection.comes_in(propagated("agent::4::stranger::6a"))
    assert len(heard) == 1


def test_what_a_trusted_hub_passes_on_may_act_here(connection, protocol, heard, identity, friend):
    identity.trusted_keys = {"hub": friend.public_key}
    connection.comes_in(propagated(hub=friend.public_key))
    assert len(heard) == 1


def test_an_application_may_say_whom_it_trusts(connection, protocol, heard):
    protocol.hive_mapper = HiveMapper()
    protocol.hive_mapper.on_ping(ping("friend::5f", "PEM").payload)
    protocol.hive_mapper.mark_trusted_nodes({"friend": "PEM"})
    connection.comes_in(propagated())
    assert len(heard) == 1


@pytest.mark.parametrize("trusted", [True, False])
def test_an_application_may_bring_its_own_map(connection, protocol, heard, trusted):
    protocol.hive_mapper = SimpleNamespace(nodes={}, is_peer_trusted=lambda peer: trusted and peer == "friend")
    message = propagated().forward(source_peer="friend")
    connection.comes_in(message)
    assert len(heard) == trusted


# --- PING ----------------------------------------------------------------------------------------------------


def test_a_ping_is_answered_once(connection, protocol, identity):
    for _ in range(2):
        connection.comes_in(ping("other::1", "PEM"))
    (answer,) = connection.sent
    assert (answer.msg_type, answer.route, answer.payload.msg_type) == ("propagate", [], "ping")
    said = answer.payload.payload
    assert {**said, "timestamp": 0} == {
        "flood_id": "flood",
        "peer": "sat::own-session",
        "site_id": "kitchen",
        "timestamp": 0,
        "public_key": identity.public_key,
        "lang": None,
    }
    assert said["timestamp"] > 1.0


def test_each_flood_is_answered(connection, protocol):
    for flood_id in ("a", "b", "a"):
        connection.comes_in(ping("other::1", "PEM", flood_id))
    assert [message.payload.payload["flood_id"] for message in connection.sent] == ["a", "b"]


@pytest.mark.parametrize("flood_id", ["", None, 3, ["x"]])
def test_a_ping_without_a_flood_is_not_answered(connection, protocol, flood_id):
    connection.comes_in(ping("other::1", "PEM", flood_id))
    assert connection.sent == []


def test_a_flood_of_our_own_is_mapped_and_not_answered(connection, protocol):
    protocol.sending(HiveMessage(PROPAGATE, HiveMessage("ping", {"flood_id": "mine", "peer": "sat::x"})))
    connection.comes_in(ping("other::1", "PEM", "mine"))
    assert connection.sent == []
    assert "other::1" in protocol.hive_mapper.nodes


def test_the_map_shows_who_passed_it_on_and_how_fast(connection, protocol):
    connection.comes_in(ping("friend::5f", "PEM", site_id="cellar"))
    mapped = protocol.hive_mapper.nodes["friend::5f"]
    assert (mapped.site_id, mapped.public_key) == ("cellar", "PEM")
    assert mapped.latency_ms is not None
    assert protocol.hive_mapper.edges == {"friend::5f": {"hub"}}


def test_a_map_given_is_fed(connection, protocol):
    mapper = protocol.hive_mapper = HiveMapper()
    connection.comes_in(ping("friend::5f", "PEM"))
    assert protocol.hive_mapper is mapper
    assert list(mapper.nodes) == ["friend::5f"]


def test_the_memory_of_floods_can_be_shared(connection, protocol):
    cache = FloodIdCache()
    protocol.bind_flood_cache(cache)
    cache.add("seen elsewhere")
    connection.comes_in(ping("other::1", "PEM", "seen elsewhere"))
    connection.comes_in(ping("other::1", "PEM", "new"))
    assert len(connection.sent) == 1
    assert "new" in cache


def test_with_a_hub_of_the_same_map_a_flood_is_answered_once(connection, protocol):
    mapper = protocol.hive_mapper = HiveMapper()
    mapper.check_flood_id("seen by the hub")
    connection.comes_in(ping("other::1", "PEM", "seen by the hub"))
    assert connection.sent == []


def test_a_nameless_node_has_a_label(connection, protocol):
    protocol.identity = SimpleNamespace(name="", public_key=None, trusted_keys={})
    protocol.handle_ping(ping("other::1", "PEM").payload)
    protocol.handle_ping(HiveMessage(BUS, Message("x")))
    assert [message.payload.payload["peer"] for message in connection.sent] == ["satellite::own-session"]


async def test_a_connection_may_be_asynchronous(identity):
    done = asyncio.Event()
    connection = Connection(identity)

    async def emit(message: HiveMessage) -> None:
        done.set()

    connection.emit = emit
    HiveMindSlaveProtocol(connection).bind(FakeBus())
    connection.comes_in(ping("other::1", "PEM"))
    await asyncio.wait_for(done.wait(), 60)


# --- INTERCOM ------------------------------------------------------------------------------------------------


def private(identity: NodeIdentity) -> str:
    with open(identity.private_key) as file:
        return file.read()


@pytest.fixture
def sealed(me, friend):
    def seal(inner=None, target=True, sign=True, **more) -> HiveMessage:
        text = (inner or bus()).serialize()
        envelope = hybrid_encrypt(me.public_key, text, private(friend) if sign else None)
        pubkey = me.public_key if target is True else target
        return HiveMessage("intercom", envelope, target_pubkey=pubkey, **more)

    return seal


def test_a_sealed_message_of_a_trusted_node(connection, protocol, heard, identity, friend, sealed):
    identity.trusted_keys = {"friend": friend.public_key}
    assert connection.comes_in(sealed()) is True
    assert heard[0].data == {"n": 1}
    assert heard[0].context[VERIFIED_SOURCE_PEER_KEY] == friend.public_key


@pytest.mark.parametrize("kind", [PROPAGATE, BROADCAST, QUERY])
def test_a_sealed_message_inside_another(connection, protocol, heard, identity, friend, sealed, kind):
    identity.trusted_keys = {"friend": friend.public_key}
    connection.comes_in(HiveMessage(kind, sealed()))
    assert len(heard) == 1


def test_a_sealed_message_of_the_hub(connection, protocol, heard, friend, sealed):
    protocol.mpubkey = friend.public_key
    assert connection.comes_in(sealed()) is True
    assert len(heard) == 1


def test_a_bare_ovos_message_may_be_sealed(connection, protocol, heard, friend, sealed):
    protocol.mpubkey = friend.public_key
    assert connection.comes_in(sealed(Message("speak", {"n": 2}))) is True
    assert heard[0].data == {"n": 2}


def test_a_long_message(connection, protocol, heard, friend, sealed):
    protocol.mpubkey = friend.public_key
    assert connection.comes_in(sealed(Message("speak", {"text": "x" * 20_000}))) is True
    assert len(heard[0].data["text"]) == 20_000


def test_what_came_once_does_not_come_again(connection, protocol, heard, friend, sealed):
    protocol.mpubkey = friend.public_key
    message = sealed()
    assert [connection.comes_in(message) for _ in range(2)] == [True, False]
    assert len(heard) == 1


def test_sealed_messages_that_are_dropped(connection, protocol, heard, identity, friend, sealed):
    assert connection.comes_in(sealed()) is False  # a stranger's
    identity.trusted_keys = {"friend": friend.public_key}
    assert connection.comes_in(sealed(sign=False)) is False
    assert connection.comes_in(sealed(target="PEM of another")) is False
    assert connection.comes_in(sealed(target=None)) is False  # for nobody, by way of strangers
    assert connection.comes_in(sealed(HiveMessage("ping", {}))) is False
    assert connection.comes_in(HiveMessage("intercom", {"msg_type": "bus", "payload": {}})) is False
    assert connection.comes_in(HiveMessage("intercom", {"encrypted_key": "%%", "ciphertext": 3})) is False
    other = sealed()
    other.payload["ciphertext"] = "AAAA" + other.payload["ciphertext"][4:]
    assert connection.comes_in(other) is False
    assert heard == []


def test_a_sealed_message_for_nobody_by_way_of_a_trusted_node(connection, protocol, heard, identity, friend, sealed):
    identity.trusted_keys = {"friend": friend.public_key}
    message = sealed(target=None, route=[hop(friend.public_key)])
    assert connection.comes_in(HiveMessage(PROPAGATE, message)) is None
    assert len(heard) == 1


def test_without_a_key_of_its_own_nothing_can_be_opened(connection, protocol, friend, sealed, tmp_path):
    protocol.mpubkey = friend.public_key
    protocol.identity = SimpleNamespace(
        public_key=protocol.identity.public_key, private_key=str(tmp_path / "no.pem"), trusted_keys={}
    )
    assert connection.comes_in(sealed()) is False


# --- QUERY ---------------------------------------------------------------------------------------------------


def answered(kind=QUERY, n: int = 1, topic: str = "speak", query_id="q", **metadata) -> HiveMessage:
    return HiveMessage(kind, bus(n, topic), metadata={"query_id": query_id, **metadata})


def test_the_parts_of_an_answer(connection, protocol, heard):
    protocol.sending(HiveMessage(QUERY, bus(), metadata={"query_id": "q"}))
    assert protocol.query_liveness.waits_for("q")
    for n in (1, 2):
        connection.comes_in(answered(n=n))
    assert protocol.query_liveness.waits_for("q")
    connection.comes_in(answered(topic=QUERY_STREAM_END))
    assert not protocol.query_liveness.waits_for("q")
    assert [message.data["n"] for message in heard] == [1, 2]


def test_a_hub_that_has_no_answer(connection, protocol, heard):
    protocol.sending(HiveMessage(QUERY, bus()))
    connection.comes_in(answered(topic="hive.query.timeout"))
    assert [message.msg_type for message in heard] == ["hive.query.timeout"]
    assert not protocol.query_liveness.waits_for("q")


def test_a_late_part_is_delivered_and_not_waited_on(connection, protocol, heard):
    protocol.arm_query_timeout("other")
    connection.comes_in(answered())
    assert len(heard) == 1
    assert not protocol.query_liveness.waits_for("q")
    protocol.query_liveness.cancel()


def test_no_answer_in_time(connection, protocol, heard):
    protocol.query_timeout = 0.02
    told = threading.Event()
    protocol.internal_protocol.bus.on("hive.query.timeout", lambda _: told.set())
    protocol.sending(HiveMessage(QUERY, bus(), metadata={"query_id": "q"}))
    assert told.wait(WAIT_S)
    assert [message.data for message in heard] == [{"query_id": "q", "error": "no_answer"}]


def test_a_lost_connection_is_told_at_once(protocol, heard):
    protocol.query_timeout = LONG_S
    for query_id in ("q", "r"):
        protocol.arm_query_timeout(query_id)
    protocol.reset_connection_state()
    assert [message.data["query_id"] for message in heard] == ["q", "r"]
    protocol.reset_connection_state()
    assert len(heard) == 2


def test_who_ends_the_connection_on_purpose_is_not_told(connection, protocol, heard):
    connection.stopping = True
    protocol.query_timeout = LONG_S
    protocol.arm_query_timeout("q")
    protocol.reset_connection_state()
    connection.stopping = False
    protocol.reset_connection_state()
    assert heard == []


def test_a_lost_connection_with_nothing_under_way(protocol, heard):
    protocol.reset_connection_state()
    assert heard == []


def test_waiting_can_be_off(protocol):
    protocol.query_timeout = 0
    protocol.arm_query_timeout("q")
    assert protocol.query_liveness is None


@pytest.mark.parametrize("kind", [QUERY, CASCADE])
def test_what_can_be_no_answer(connection, protocol, heard, kind):
    with pytest.raises(AssertionError):
        connection.comes_in(HiveMessage(kind, HiveMessage("ping", {"flood_id": "f"})))
    assert heard == []


@pytest.mark.parametrize("kind", [QUERY, CASCADE])
@pytest.mark.parametrize("topic", ["recognizer_loop:utterance", "ovos.utterance.handle"])
def test_the_questions_of_others_are_not_for_here(connection, open_protocol, kind, topic):
    """The released protocol takes them for answers: every satellite would act on what another one asked."""
    taken: list[Message] = []
    open_protocol.internal_protocol.bus.on(topic, taken.append)
    connection.comes_in(HiveMessage(kind, bus(topic=topic), metadata={"query_id": "q"}))
    assert (taken, open_protocol.cascade_aggregator) == ([], None)


# --- CASCADE -------------------------------------------------------------------------------------------------


@pytest.fixture
def open_protocol(protocol) -> HiveMindSlaveProtocol:
    """One whose map knows two nodes, and that otherwise waits for long."""
    protocol.cascade_timeout = LONG_S
    protocol.cascade_select_callback = lambda found: found[-1]
    mapper = protocol.hive_mapper = HiveMapper()
    for peer in ("a", "b"):
        mapper.on_ping(HiveMessage("ping", {"flood_id": "f", "peer": peer}))
    return protocol


def test_one_of_all_answers_is_chosen(connection, open_protocol, heard):
    connection.comes_in(answered(CASCADE, 1))
    assert heard == []
    assert isinstance(open_protocol.cascade_aggregator, CascadeAggregator)
    assert open_protocol.cascade_aggregator.expected_responses == 2
    connection.comes_in(answered(CASCADE, topic=QUERY_STREAM_END))
    connection.comes_in(answered(CASCADE, 2))
    connection.comes_in(answered(CASCADE, 3))
    assert [message.data["n"] for message in heard] == [2]


def test_hubs_are_waited_for_and_satellites_are_not(connection, open_protocol, heard):
    """A satellite shows itself on the map and has no assistant that could answer."""
    hub_pem = "-----BEGIN PUBLIC KEY-----"
    open_protocol.hive_mapper.on_ping(HiveMessage("ping", {"flood_id": "f", "peer": hub_pem, "public_key": hub_pem}))
    connection.comes_in(answered(CASCADE, 1))
    assert [message.data["n"] for message in heard] == [1]


def test_questions_do_not_mix(connection, open_protocol, heard):
    """The released protocol has one collection for all."""
    for n, query_id in ((1, "q"), (2, "r"), (3, "q"), (4, "r")):
        connection.comes_in(answered(CASCADE, n, query_id=query_id))
    assert [message.data["n"] for message in heard] == [3, 4]
    connection.comes_in(answered(CASCADE, 5))
    assert len(heard) == 2


def test_answers_that_name_no_question(connection, open_protocol, heard):
    for n in range(5):
        connection.comes_in(HiveMessage(CASCADE, bus(n)))
    assert [message.data["n"] for message in heard] == [1, 3]
    assert open_protocol.cascade_aggregator.responses[0].payload.payload.data == {"n": 4}
    open_protocol.cascade_aggregator.cancel()


@pytest.mark.parametrize("mapper", [None, HiveMapper()], ids=["no map", "empty map"])
def test_without_a_map_time_decides(connection, protocol, heard, mapper):
    """With an empty map the released protocol delivers every answer."""
    protocol.hive_mapper = mapper
    protocol.cascade_timeout = LONG_S
    for n in range(3):
        connection.comes_in(answered(CASCADE, n))
    assert heard == []
    assert protocol.cascade_aggregator.expected_responses is None
    protocol.cascade_aggregator._resolve()
    assert len(heard) == 1


def test_a_map_made_of_pings_alone_does_not_count(connection, protocol, heard):
    protocol.cascade_timeout = LONG_S
    connection.comes_in(ping("friend::5f", "PEM"))
    connection.comes_in(answered(CASCADE))
    assert heard == []
    protocol.cascade_aggregator.cancel()


def test_open_questions_are_bounded(connection, protocol, monkeypatch, caplog):
    monkeypatch.setattr(protocol_module, "MAX_OPEN_CASCADES", 2)
    protocol.cascade_timeout = LONG_S
    for n in range(3):
        connection.comes_in(answered(CASCADE, query_id=str(n)))
    assert "too many CASCADEs" in caplog.text
    for aggregator in list(protocol._cascades.values()):
        aggregator.cancel()
    connection.comes_in(answered(CASCADE, query_id="9"))
    assert len(protocol.cascade_aggregator.responses) == 1
    protocol.cascade_aggregator.cancel()


# --- announcing ----------------------------------------------------------------------------------------------


def test_what_it_propagates_is_announced_once_a_session(protocol, identity):
    order = HiveMessage(PROPAGATE, bus())
    shown = protocol.announcement(order).payload.payload
    assert (shown["peer"], shown["site_id"]) == (f"sat::{protocol.hm.session_id}", "kitchen")
    assert shown["public_key"] == identity.public_key
    assert protocol.announcement(order) is None
    protocol.connection_opened()
    assert protocol.announcement(order) is not None


def test_it_may_be_told_nothing_of_what_is_sent(protocol):
    protocol.sending(bus())
    protocol.sending(HiveMessage(PROPAGATE, bus()))
    assert protocol.query_liveness is None
