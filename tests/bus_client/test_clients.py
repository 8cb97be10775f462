"""One suite over both clients, against a small hub on a real socket."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import socket
import stat
import sys
import threading
import types
from pathlib import Path

import pytest

from helpers.link_hub import NODE_ID, LinkHub, derive, eventually, silent_port
from hivemind_bus_client import base_client
from hivemind_bus_client.async_client import AsyncHiveMessageBusClient
from hivemind_bus_client.client import BinaryDataCallbacks, HiveMessageBusClient
from hivemind_bus_client.driver import HandshakeTimedOut
from hivemind_bus_client.encryption import SupportedCiphers, SupportedEncodings, hybrid_decrypt
from hivemind_bus_client.exceptions import IdentityFileCorrupted, NotConnected
from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.link import Opened
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from hivemind_bus_client.protocol import HiveMindSlaveProtocol
from hivemind_bus_client.psk_cache import PskCache
from hivemind_bus_client.refusals import HiveMindRefused
from hivemind_bus_client.trust import signer

KEY, PASSWORD = "an-access-key", "correct horse battery staple"


def utterance(text: str = "hello", **context) -> Message:
    return Message("recognizer_loop:utterance", {"utterances": [text]}, context)


def private_pem(identity: NodeIdentity) -> str:
    return Path(identity.private_key).read_text(encoding="ascii")


class Clients:
    """Makes clients of one kind and closes them in the end."""

    def __init__(self, kind: str, folder, hub: LinkHub) -> None:
        self.is_async = kind == "asyncio"
        self.folder = folder
        self.hub = hub
        self.made: list = []

    def identity(self, name: str = "sat") -> NodeIdentity:
        return NodeIdentity(self.folder / name / "_identity.json")

    def keep_psk(self, name: str = "sat", password: str = PASSWORD) -> None:
        """Spare a test the derivation."""
        PskCache(self.identity(name).noise_key).save(KEY, NODE_ID, derive(password, NODE_ID), password)

    def new(self, name: str = "sat", **options):
        cls = AsyncHiveMessageBusClient if self.is_async else HiveMessageBusClient
        given = {
            "key": KEY,
            "password": PASSWORD,
            "host": "ws://127.0.0.1",
            "port": self.hub.port,
            "identity": self.identity(name),
        }
        client = cls(**{**given, **options})
        self.made.append(client)
        return client

    async def run(self, method, *args, **options):
        """Call a client's method without stopping the hub, which is in this loop."""
        if inspect.iscoroutinefunction(method):
            return await asyncio.wait_for(method(*args, **options), 60)
        return await asyncio.wait_for(asyncio.to_thread(method, *args, **options), 60)

    async def connected(self, name: str = "sat", **options):
        self.keep_psk(name)
        client = self.new(name, **options)
        await self.run(client.connect)
        return client


@pytest.fixture
async def hub():
    async with LinkHub({KEY: PASSWORD}) as running:
        yield running


@pytest.fixture(params=["threads", "asyncio"])
async def clients(request, tmp_path, hub, monkeypatch):
    monkeypatch.setattr("hivemind_bus_client.reconnect.FIRST_DELAY_S", 0.05)
    made = Clients(request.param, tmp_path, hub)
    yield made
    for client in made.made:
        await made.run(client.close)


# --- connecting


async def test_a_conversation(clients, hub):
    client = clients.new()
    heard: list = []
    client.on_mycroft("speak", heard.append)
    await clients.run(client.connect, site_id="kitchen")
    await clients.run(client.emit, HiveMessage(HiveMessageType.BUS, utterance("what time is it")))
    await eventually(lambda: heard)
    assert heard[0].data["utterance"] == "you said what time is it"
    sent = hub.received[0].body["context"]
    assert sent["session"] == {"session_id": client.session_id, "site_id": "kitchen"}
    assert hub.peers[0].hello == {
        "pubkey": None,
        "session": {"session_id": client.session_id, "site_id": "kitchen"},
        "site_id": "kitchen",
    }
    assert client.connected_event.is_set()
    assert client.handshake_event.is_set()


async def test_a_message_that_cannot_be_taken_in_does_not_end_the_satellite(clients, hub, monkeypatch, caplog):
    client = await clients.connected()
    heard: list = []
    client.on_mycroft("speak", heard.append)

    def failing(message):
        if message.body["type"] == "bad":
            raise TypeError("unhashable type")

    monkeypatch.setattr(client, "_see", failing)
    await hub.peers[0].tell("bad")
    await clients.run(client.emit_mycroft, utterance("and now"))
    await eventually(lambda: heard)
    assert client.connected
    assert hub.connections == 1
    assert "could not be taken in" in caplog.text


async def test_first_contact_pins_and_keeps_the_key_then_kk_follows(clients, hub):
    first = clients.new()
    await clients.run(first.connect)
    identity = clients.identity()
    assert identity.get_pinned_noise_key(f"127.0.0.1:{hub.port}") is not None
    assert PskCache(identity.noise_key).load(KEY, NODE_ID, PASSWORD) == derive(PASSWORD, NODE_ID)
    for name in os.listdir(clients.folder / "sat"):
        assert stat.S_IMODE(os.stat(clients.folder / "sat" / name).st_mode) == 0o600
    await clients.run(first.close)
    await clients.run(clients.new().connect)
    assert hub.patterns == ["XXpsk2", "KKpsk0"]


async def test_credentials_come_from_the_identity(clients, hub):
    identity = clients.identity()
    identity.access_key, identity.password = KEY, PASSWORD
    identity.default_master, identity.default_port, identity.site_id = "ws://127.0.0.1", hub.port, "hall"
    client = clients.new(key=None, password=None, host=None, port=None, identity=identity)
    await clients.run(client.connect)
    assert hub.peers[0].hello["site_id"] == "hall"
    assert identity.IDENTITY_FILE.get("password") == PASSWORD


@pytest.mark.parametrize(
    ("missing", "text"),
    [("key", "NodeIdentity not set"), ("password", "NodeIdentity not set"), ("host", "host not set")],
)
def test_what_is_found_nowhere_is_named(clients, missing, text):
    with pytest.raises(RuntimeError, match=text):
        clients.new(**{missing: None})


def test_arguments_that_make_no_sense_are_refused(clients):
    with pytest.raises(ValueError, match="host"):
        clients.new(host="http://hub")
    with pytest.raises(ValueError, match="colon"):
        clients.new(useragent="a:b")


def test_making_a_client_begins_nothing(clients, hub):
    threads = set(threading.enumerate())
    client = clients.new()
    assert (hub.connections, set(threading.enumerate()) - threads) == (0, set())
    assert not (clients.folder / "sat").exists()
    assert (client.protocol, client.started_running, client.crypto_key) == (None, False, None)
    assert (client.cipher, client.json_encoding) == (SupportedCiphers.AES_GCM, SupportedEncodings.JSON_HEX)
    assert not client.stopping


def test_a_pre_shared_key_stands_in_for_a_password(clients):
    client = clients.new(password=None, crypto_key="0123456789abcdef", min_protocol_version=0)
    assert client.password is None
    assert client.crypto_key == "0123456789abcdef"


def test_the_port_is_5678_unless_said_otherwise(clients):
    assert clients.new(port=None).config.port == 5678


# --- the protocol


class OwnProtocol:
    """What an application may hand to `connect`."""

    def __init__(self, client):
        self.client = client
        self.bound: list = []
        self.heard: list = []
        self.resets = 0

    def bind(self, bus):
        assert not self.client.connected_event.is_set()
        self.bound.append(bus)
        self.client.on(HiveMessageType.QUERY, self.heard.append)

    def reset_connection_state(self):
        self.resets += 1


async def test_a_protocol_of_the_application_is_bound_before_anything_is_received(clients, hub):
    clients.keep_psk()
    client, bus = clients.new(share_bus=True), FakeBus()
    assert client.protocol is None
    own = OwnProtocol(client)
    await clients.run(client.connect, bus, own, site_id="attic")
    assert client.protocol is own
    assert (own.bound, own.identity, own.site_id, own.shared_bus) == ([bus], client.identity, "attic", True)
    assert (own.mpubkey, own.binarize) == (NODE_ID, False)
    client.site_id = "cellar"
    assert own.site_id == "cellar"
    await hub.peers[0].send(HiveMessage(HiveMessageType.QUERY, HiveMessage(HiveMessageType.BUS, Message("x"))))
    await eventually(lambda: own.heard)
    await clients.run(client.close)
    await eventually(lambda: own.resets)
    await clients.run(client.connect, bus)  # the same one goes on
    assert (client.protocol, own.bound) == (own, [bus])
    await clients.run(client.close)
    await clients.run(client.connect, bus, OwnProtocol(client))
    await hub.peers[-1].send(HiveMessage(HiveMessageType.QUERY, HiveMessage(HiveMessageType.BUS, Message("y"))))
    await eventually(lambda: client.protocol.heard)
    assert len(own.heard) == 1


async def test_without_one_the_client_binds_its_own(clients, hub):
    client = await clients.connected()
    assert isinstance(client.protocol, HiveMindSlaveProtocol)
    assert client.protocol.mpubkey == NODE_ID
    assert client.protocol.identity is client.identity
    assert client.protocol.node_id == NODE_ID


async def test_what_comes_in_other_envelopes_is_heard_as_what_comes_in_bus_ones(clients, hub):
    clients.keep_psk()
    client, agent = clients.new(), FakeBus()
    heard: list = []
    client.on_mycroft("speak", lambda m: heard.append(("own", m.data["utterance"])))
    client.on_mycroft("ovos.utterance.speak", lambda m: heard.append(("twin", m.data["utterance"])))
    agent.on("speak", lambda m: heard.append(("agent", m.data["utterance"])))
    await clients.run(client.connect, agent)
    answer = Message("speak", {"utterance": "42"}, {"destination": "me", "source": "hive"})
    about = {"query_id": "q", "is_response": True}
    wrapped = HiveMessage(HiveMessageType.QUERY, HiveMessage(HiveMessageType.BUS, answer), metadata=about)
    await hub.peers[0].send(wrapped)
    await eventually(lambda: len(heard) == 3)
    assert sorted(heard) == [("agent", "42"), ("own", "42"), ("twin", "42")]


async def test_the_local_bus_is_shared_if_that_is_wanted(clients, hub):
    clients.keep_psk()
    client, agent = clients.new(share_bus=True), FakeBus()
    await clients.run(client.connect, agent)

    def say():
        agent.emit(Message("skill.activated", {"n": 1}))

    await (clients.run(say) if not clients.is_async else asyncio.sleep(0, say()))
    await eventually(lambda: hub.received)
    assert hub.received[0].msg_type == "shared_bus"
    assert hub.received[0].body["data"] == {"n": 1}


async def test_a_question_without_an_answer_is_reported_when_the_connection_is_lost(clients, hub):
    client = await clients.connected()
    heard: list = []
    client.on_mycroft("hive.query.timeout", heard.append)
    question = HiveMessage(
        HiveMessageType.QUERY, HiveMessage(HiveMessageType.BUS, utterance()), metadata={"query_id": "q"}
    )
    await clients.run(client.emit, question)
    await hub.kill()
    await eventually(lambda: heard)
    assert heard[0].data["query_id"] == "q"
    await hub.start()


async def test_one_of_the_answers_to_a_cascade_is_heard(clients, hub):
    client = await clients.connected()
    client.protocol.cascade_timeout = 2.0
    client.protocol.cascade_select_callback = lambda responses: responses[-1]
    heard: list = []
    client.on_mycroft("speak", lambda m: heard.append(m.data["n"]))
    for n in range(3):
        about = {"query_id": "q", "responder_peer": f"p{n}", "is_response": True}
        inner = HiveMessage(HiveMessageType.BUS, Message("speak", {"n": n}))
        await hub.peers[0].send(HiveMessage(HiveMessageType.CASCADE, inner, metadata=about))
    await eventually(lambda: heard)
    await hub.peers[0].tell("end")
    await clients.run(client.wait_for_message, "never", 0.1)
    assert heard == [2]


async def test_a_question_that_was_not_sent_is_not_waited_for(clients, hub):
    client = await clients.connected()
    await hub.kill()
    await eventually(lambda: not client.connected_event.is_set())
    inner = HiveMessage(HiveMessageType.BUS, utterance())
    question = HiveMessage(HiveMessageType.QUERY, inner, metadata={"query_id": "q"})
    with pytest.raises(NotConnected):
        await clients.run(client.emit, question)
    assert not client.protocol.query_liveness.waits_for("q")
    await hub.start()


async def test_what_was_agreed_on_can_be_seen(clients, hub):
    client = await clients.connected()
    assert client.noise_transport.pattern == "XXpsk2"
    assert client.noise_transport.remote_static_key.hex() in client.identity.pinned_noise_keys.values()
    assert client.crypto_key is None
    older = Opened(2, "password", b"", True, {}, cipher="CHACHA20-POLY1305", encoding="JSON-B64", key=bytes(32))
    client._agreed(older)
    assert (client.cipher, client.json_encoding) == (SupportedCiphers.CHACHA20_POLY1305, SupportedEncodings.JSON_B64)
    assert (client.crypto_key, client.protocol.binarize) == (bytes(32), True)
    await clients.run(client.close)
    assert (client.noise_transport, client.crypto_key) == (None, None)


@pytest.mark.parametrize(
    ("reason", "text"), [("invalid api key", "does not know this access key"), ("of no kind", "of no kind")]
)
async def test_an_application_may_end_it_as_the_hub_does(clients, hub, reason, text):
    client = await clients.connected()
    told: list = []
    client.on("auth_rejected", told.append)
    if clients.is_async:
        client.latch_refusal(reason)
    else:
        await asyncio.to_thread(client.latch_refusal, reason)
    await eventually(lambda: told and not hub.peers)
    assert text in told[0]
    assert client.stopping
    with pytest.raises(HiveMindRefused, match=text):
        await clients.run(client.emit, utterance())


async def test_a_sealed_message(clients, hub):
    reader = clients.identity("reader")
    reader.create_keys()
    client = await clients.connected()
    await clients.run(client.emit_intercom, Message("speak", {"utterance": "x" * 6000}), reader.public_key)
    await eventually(lambda: hub.received)
    sent = hub.received[0]
    assert (sent.msg_type, sent.payload.msg_type) == ("propagate", "intercom")
    assert sent.payload.target_public_key == reader.public_key
    opened = json.loads(hybrid_decrypt(private_pem(reader), sent.payload.body))
    assert opened["data"] == {"utterance": "x" * 6000}
    assert signer(sent.payload.body, [client.identity.public_key])
    assert NodeIdentity(clients.folder / "sat" / "_identity.json").public_key


# --- refusals


async def refused(clients, client, code: str) -> HiveMindRefused:
    told: list = []
    client.on("auth_rejected", told.append)
    with pytest.raises(ConnectionRefusedError) as info:
        await clients.run(client.connect)
    error = info.value
    assert isinstance(error, HiveMindRefused)
    assert error.code == code
    assert str(error) == f"HiveMind refused this identity: {error.refusal}"
    await eventually(lambda: told)
    assert told == [str(error.refusal)]
    assert not client.connected_event.is_set()
    with pytest.raises((HiveMindRefused, NotConnected)):
        await clients.run(client.emit, utterance())
    return error


async def test_a_wrong_key(clients, hub):
    await refused(clients, clients.new(key="unknown"), "invalid_key")
    assert hub.connections == 1


async def test_a_wrong_password(clients, hub):
    await refused(clients, clients.new(password="wrong"), "wrong_password")
    assert hub.connections == 2  # a hub that holds two passwords might have gone by the other one
    assert PskCache(clients.identity().noise_key).load(KEY, NODE_ID, "wrong") is None


async def test_a_wrong_password_where_kk_was_possible(clients, hub):
    await clients.run((await clients.connected()).close)
    clients.keep_psk()
    PskCache(clients.identity().noise_key).clear()
    await refused(clients, clients.new(password="wrong"), "wrong_password")
    assert hub.connections == 3  # the refused KKpsk0 and the one XXpsk2 after it


async def test_a_password_changed_on_both_sides(clients, hub):
    """The key kept from the old password fails once and is derived anew."""
    await clients.run((await clients.connected()).close)
    hub.clients[KEY] = "another password"
    await clients.run(clients.new(password="another password").connect)
    assert PskCache(clients.identity().noise_key).load(KEY, NODE_ID, "another password")


async def test_the_hub_presents_another_key(clients, hub):
    await clients.run((await clients.connected()).close)
    pinned = clients.identity().pinned_noise_keys
    hub.static_key = bytes(range(32))
    error = await refused(clients, clients.new(), "key_mismatch")
    assert "forget-server" in str(error)
    assert clients.identity().pinned_noise_keys == pinned


async def test_the_device_presents_another_key(clients, hub):
    await clients.connected("old device")
    error = await refused(clients, clients.new("new device"), "client_key_mismatch")
    assert "reset-noise-pin" in str(error)


async def test_the_hub_lost_its_pin(clients, hub):
    """A refused KKpsk0 is followed by one XXpsk2, which heals the hub's loss."""
    await clients.run((await clients.connected()).close)
    hub.pins[KEY] = bytes(32)
    link = hub._link
    hub._link = lambda key: (link(key), hub.pins.pop(key, None))[0]
    await clients.run(clients.new().connect)
    assert hub.patterns == ["XXpsk2", "XXpsk2"]


async def test_a_hub_once_met_at_v3_is_not_spoken_to_below_it(clients, hub):
    await clients.run((await clients.connected()).close)
    client = clients.new(min_protocol_version=0)
    terms = []
    make = type(client._new_driver())._terms

    def note(driver, keys):
        terms.append(make(driver, keys))
        return terms[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hivemind_bus_client.driver.Driver._terms", note)
        await clients.run(client.connect)
    assert terms[0].min_version == 3


async def test_a_refusal_that_comes_later_ends_it_too(clients, hub):
    client = await clients.connected()
    told: list = []
    client.on("auth_rejected", told.append)
    waiting = asyncio.ensure_future(clients.run(client.run_forever))
    del hub.clients[KEY]
    await hub.peers[0].close(1008, "invalid api key")
    with pytest.raises(HiveMindRefused):
        await waiting
    await eventually(lambda: told)
    with pytest.raises(HiveMindRefused):
        await clients.run(client.emit, utterance())


async def test_nothing_there(clients):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        client, error = await tried_in_vain(clients, free.getsockname()[1])
    assert "Nothing answers at the hub's address" in str(error)
    assert isinstance(error, RuntimeError)
    assert error.refusal.code == "unreachable"
    with pytest.raises(NotConnected):
        await clients.run(client.emit, utterance())


async def tried_in_vain(clients, port: int):
    """A client that finds no hub, and its error; it tries for longer if it has found out nothing by then."""
    for timeout_s in (3.0, 30.0):
        client, errors = clients.new(port=port), []
        client.on("error", errors.append)
        with pytest.raises(HandshakeTimedOut) as info:
            await clients.run(client.connect, timeout=timeout_s)
        if info.value.refusal is not None:
            break
    assert errors
    return client, info.value


async def test_retries_bound_the_time_too(clients, monkeypatch):
    monkeypatch.setattr(base_client, "RETRY_S", 0.1)
    async with silent_port() as port:
        with pytest.raises(RuntimeError, match="timed out waiting for handshake"):
            await clients.run(clients.new(port=port).connect, handshake_max_retries=2)


async def test_something_else_there(clients):
    async def web(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    try:
        _, error = await tried_in_vain(clients, server.sockets[0].getsockname()[1])
        assert "not as a HiveMind hub" in str(error)
    finally:
        server.close()


async def test_a_hub_that_comes_up_later_is_found(clients, hub):
    await hub.stop()
    clients.keep_psk()
    client = clients.new()
    connecting = asyncio.ensure_future(clients.run(client.connect))
    await eventually(lambda: client.problem)
    assert "Nothing answers" in client.problem
    await hub.start()
    await connecting
    assert client.problem == ""


async def test_a_busy_hub_is_asked_again(clients, hub):
    hub.refuse_with = (1013, "busy, try again later")
    clients.keep_psk()
    connecting = asyncio.ensure_future(clients.run((client := clients.new()).connect))
    await eventually(lambda: "busy" in client.problem)
    hub.refuse_with = None
    await connecting


async def test_a_damaged_identity_is_told_not_retried(clients, hub):
    identity = clients.identity()
    os.makedirs(clients.folder / "sat")
    (clients.folder / "sat" / "unnamed-node_noise.key").write_text("damaged")
    with pytest.raises(IdentityFileCorrupted):
        await clients.run(clients.new(identity=identity).connect)
    assert hub.connections == 0


async def test_an_identity_that_cannot_be_written_still_connects(clients, hub, monkeypatch, caplog):
    def no_space(*_):
        raise OSError("no space left")

    client = clients.new()
    client.identity.IDENTITY_FILE.store = no_space
    await clients.run(client.connect)
    assert "no space left" in caplog.text


# --- staying connected


async def test_it_is_back_after_the_hub_was_restarted(clients, hub):
    client = await clients.connected()
    events: list = []
    for event in ("open", "close", "reconnecting"):
        client.on(event, lambda event=event: events.append(event))
    await hub.kill()
    await eventually(lambda: not client.connected_event.is_set())
    await hub.start()
    await eventually(client.connected_event.is_set)
    await clients.run(client.emit_mycroft, utterance("again"))
    await eventually(lambda: hub.received)
    await eventually(lambda: "close" in events and "open" in events[events.index("close") :])
    assert events[events.index("close") + 1] == "reconnecting"
    assert hub.patterns == ["XXpsk2", "KKpsk0"]


async def test_a_dead_connection_is_noticed(clients, hub):
    client = await clients.connected(websocket_ping_interval=0.2, websocket_ping_timeout=2.0)
    peer = hub.peers[0]
    hub.freeze()
    await eventually(lambda: not client.connected_event.is_set())
    await eventually(client.connected_event.is_set)
    assert hub.connections > 1
    peer.abort()


async def test_emitting_while_down_fails_at_once(clients, hub):
    client = await clients.connected()
    echoed: list = []
    client.on_mycroft("recognizer_loop:utterance", echoed.append)
    await hub.kill()
    await eventually(lambda: not client.connected_event.is_set())
    with pytest.raises(NotConnected, match="Can not send messages before opening"):
        await clients.run(client.emit, utterance())
    await hub.start()
    await eventually(client.connected_event.is_set)
    assert (hub.received, echoed) == ([], [])


@pytest.mark.parametrize("how", ["constructor", "call"])
async def test_emitting_while_down_waits_if_it_was_told_to(clients, hub, how):
    client = await clients.connected(emit_timeout=60.0 if how == "constructor" else 0.0)
    await hub.kill()
    await eventually(lambda: not client.connected_event.is_set())
    emitting = asyncio.ensure_future(
        clients.run(client.emit, utterance(), **({"timeout": 60.0} if how == "call" else {}))
    )
    await asyncio.sleep(0.05)
    assert not emitting.done()
    await hub.start()
    await emitting
    await eventually(lambda: hub.received)


async def test_waiting_to_emit_has_an_end(clients, hub):
    client = await clients.connected()
    await hub.kill()
    await eventually(lambda: not client.connected_event.is_set())
    with pytest.raises(NotConnected):
        await clients.run(client.emit, utterance(), timeout=0.1)


async def test_emitting_before_starting_is_an_error(clients):
    with pytest.raises(ValueError, match="run_forever"):
        await clients.run(clients.new().emit, utterance())


async def test_a_message_caught_by_the_end_of_the_connection_is_reported(clients, hub):
    """Nothing is lost in silence: a message that could not be handed to the socket raises."""
    client = await clients.connected()
    hub.freeze()
    big = HiveMessage(HiveMessageType.BUS, Message("x", {"text": "x" * 20_000_000}))
    emitting = asyncio.ensure_future(clients.run(client.emit, big))
    await asyncio.sleep(0.3)
    assert not emitting.done()
    hub.peers[0].abort()
    with pytest.raises(NotConnected):
        await emitting


async def test_dropping_the_connection_makes_a_new_one(clients, hub):
    client = await clients.connected()
    await clients.run(client.close_connection)
    await eventually(lambda: hub.connections == 2)
    await eventually(client.connected_event.is_set)


async def test_closing_is_for_good_and_can_be_undone(clients, hub):
    client = await clients.connected()
    assert not client.stopping
    await clients.run(client.close)
    await eventually(lambda: not hub.peers)
    assert client.stopping
    assert not client.connected_event.is_set()
    with pytest.raises(NotConnected):
        await clients.run(client.emit, utterance())
    await clients.run(client.close)
    await clients.run(client.connect)
    assert client.connected_event.is_set()


async def test_closing_ends_a_connect_that_is_under_way(clients, hub):
    await hub.stop()
    client = clients.new()
    connecting = asyncio.ensure_future(clients.run(client.connect))
    await eventually(lambda: client.problem)
    await clients.run(client.close)
    with pytest.raises(NotConnected):
        await connecting
    await hub.start()


async def test_close_ends_run_forever(clients):
    client = await clients.connected()
    running = asyncio.ensure_future(clients.run(client.run_forever))
    await asyncio.sleep(0.05)
    assert not running.done()
    await clients.run(client.close)
    await running


# --- messages


async def test_an_utterance_is_answered(clients):
    client = await clients.connected()
    answer = await clients.run(client.wait_for_response, utterance("hi"), "speak", timeout=60)
    assert isinstance(answer, HiveMessage)
    assert answer.payload.data["utterance"] == "you said hi"


async def answer_in_kind(peer, message):
    await peer.tell(f"{message.msg_type}.response", {"n": 1})


async def test_the_answer_to_a_message_is_its_response_or_its_own_kind(clients, hub):
    client = await clients.connected()
    hub.answer = answer_in_kind
    answer = await clients.run(client.wait_for_response, Message("ask"), timeout=60)
    assert answer.payload.msg_type == "ask.response"
    hub.answer = lambda peer, message: peer.tell(message.msg_type, {"n": 2})
    answer = await clients.run(client.wait_for_response, HiveMessage(HiveMessageType.BUS, Message("ask")), timeout=60)
    assert answer.payload.data == {"n": 2}
    assert await clients.run(client.wait_for_response, Message("ask"), "never", timeout=0.05) is None


async def test_waiting_for_what_comes_by_itself(clients, hub):
    client = await clients.connected()
    wrapped = HiveMessage(HiveMessageType.BROADCAST, HiveMessage(HiveMessageType.BUS, Message("inner")))

    async def waited(method, *args):
        waiting = asyncio.ensure_future(clients.run(method, *args, timeout=60))
        await eventually(lambda: client._taps or waiting.done())
        await hub.peers[0].tell("mycroft.stop", {"n": 1})
        await hub.peers[0].send(wrapped)
        return await waiting

    assert (await waited(client.wait_for_message, "bus")).payload.msg_type == "mycroft.stop"
    assert (await waited(client.wait_for_message, "ovos.stop")).data == {"n": 1}
    assert (await waited(client.wait_for_mycroft, "mycroft.stop")).msg_type == "bus"
    assert (await waited(client.wait_for_payload, "bus", HiveMessageType.BROADCAST)).msg_type == "broadcast"
    await clients.run(client.flush)  # the last wait may have ended at the one before
    assert await clients.run(client.wait_for_message, "bus", 0.01) is None
    assert await clients.run(client.wait_for_message, "x", 0.01) is None


async def test_an_answer_inside_another_envelope(clients, hub):
    client = await clients.connected()
    hub.answer = lambda peer, _: peer.send(
        HiveMessage(HiveMessageType.QUERY, HiveMessage(HiveMessageType.BUS, Message("speak")))
    )
    answer = await clients.run(client.wait_for_payload_response, utterance(), "bus", "query", timeout=60)
    assert answer.msg_type == "query"
    hub.answer = answer_in_kind
    assert await clients.run(client.wait_for_payload_response, Message("x"), "x.response", timeout=60) is not None
    assert await clients.run(
        client.wait_for_response, HiveMessage(HiveMessageType.BUS, Message("x")), "bus", timeout=60
    )


async def test_a_failed_question_leaves_nothing_behind(clients, hub):
    client = await clients.connected()
    await hub.kill()
    await eventually(lambda: not client.connected_event.is_set())
    with pytest.raises(NotConnected):
        await clients.run(client.wait_for_response, utterance())
    assert client._taps == ()
    await hub.start()


async def test_waiting_works_inside_a_handler(clients):
    client = await clients.connected()
    answers: list = []
    if clients.is_async:

        async def ask(_):
            answers.append(await client.wait_for_response(utterance("inner"), "speak", timeout=60))
    else:

        def ask(_):
            answers.append(client.wait_for_response(utterance("inner"), "speak", timeout=60))

    client.on_mycroft("ovos.utterance.handled", ask)
    await clients.run(client.emit_mycroft, utterance("outer"))
    await eventually(lambda: answers)
    client.remove("ovos.utterance.handled", ask)
    assert answers[0].payload.data["utterance"] in ("you said inner", "you said outer")


async def test_handlers_are_called_in_order_and_one_that_fails_hurts_nobody(clients, hub, caplog):
    client = await clients.connected()
    heard: list = []

    async def slow(message):
        await asyncio.sleep(0.01)
        heard.append(message.data["utterance"])

    def failing(message):
        raise KeyError("a handler's own fault")

    client.on(HiveMessageType.BUS, failing)
    client.on_mycroft("speak", failing)
    client.on_mycroft("speak", slow)
    for number in range(5):
        await clients.run(client.emit_mycroft, utterance(str(number)))
    await eventually(lambda: len(heard) == 5)
    assert heard == [f"you said {number}" for number in range(5)]
    assert "a handler's own fault" in caplog.text
    assert client.connected_event.is_set()
    assert hub.connections == 1


async def test_a_slow_handler_delays_neither_pings_nor_reception(clients, hub):
    client = await clients.connected(websocket_ping_interval=0.1, websocket_ping_timeout=60.0)
    release = asyncio.Event() if clients.is_async else threading.Event()
    seen: list = []
    client.on_mycroft("speak", lambda _: release.wait())
    client.add_tap(seen.append)
    for number in range(3):
        await clients.run(client.emit_mycroft, utterance(str(number)))
    await eventually(lambda: len(seen) == 6)
    before = hub.pings
    await eventually(lambda: hub.pings >= before + 4)  # each is sent when the one before it was answered
    assert hub.connections == 1
    release.set()


async def test_once_and_remove(clients, hub):
    client = await clients.connected()
    heard: list = []
    client.once("speak", lambda m: heard.append("once ovos"))
    client.once(HiveMessageType.BUS, lambda m: heard.append("once hive"))
    client.on("bus", lambda m: heard.append("bus") if m.payload.msg_type == "speak" else None)
    removed = client.on("speak", lambda m: heard.append("never"))
    client.remove("speak", removed)
    removed = client.on("bus", lambda m: heard.append("never"))
    client.remove(HiveMessageType.BUS, removed)
    client.on("mycroft.stop", lambda m: heard.append("never"))
    client.remove_all_listeners("mycroft.stop")
    done: list = []
    client.on("ovos.utterance.handled", done.append)
    for _ in range(2):
        await clients.run(client.emit_mycroft, utterance())
    await eventually(lambda: len(done) == 2)
    assert sorted(heard) == ["bus", "bus", "once hive", "once ovos"]
    client.remove_all_listeners("bus")
    assert client.emitter.listeners("bus") == []


async def test_the_connections_events_can_be_listened_to(clients, hub):
    clients.keep_psk()
    client = clients.new()
    events: list = []
    client.on("open", lambda: events.append("open"))
    client.on("close", lambda: events.append("close"))
    client.emitter.on("message", lambda text: events.append(json.loads(text)["msg_type"]))
    await clients.run(client.connect)
    await hub.peers[0].tell("x")
    await eventually(lambda: "bus" in events)
    await clients.run(client.close)
    await eventually(lambda: len(events) >= 3)
    assert events == ["open", "bus", "close"]


async def test_every_bus_message_can_be_listened_to(clients, hub):
    """As on any OVOS bus, type ``message`` is all of them, as JSON text."""
    client = await clients.connected()
    heard: list = []
    client.on("message", lambda text: heard.append(json.loads(text)["type"]))
    await hub.peers[0].tell("x")
    await clients.run(client.emit_mycroft, Message("y"))
    await eventually(lambda: {"x", "y"} <= set(heard))


async def test_own_messages_are_heard_locally(clients):
    client = await clients.connected()
    heard: list = []
    client.on_mycroft("recognizer_loop:utterance", heard.append)
    await clients.run(client.emit_mycroft, utterance())
    await eventually(lambda: heard)
    assert heard[0].context["destination"] == "HiveMind"


async def test_the_callers_message_is_not_changed(clients, hub):
    client = await clients.connected()
    session = {"session_id": "user 7"}
    message = utterance("hi", session=session)
    await clients.run(client.emit, HiveMessage(HiveMessageType.BUS, message))
    assert message.context == {"session": {"session_id": "user 7"}}
    await eventually(lambda: hub.received)
    assert hub.received[0].body["context"]["session"]["session_id"] == "user 7"


async def test_the_session_may_be_assigned_at_any_time(clients, hub):
    client = await clients.connected()
    client.session_id = "another"
    await clients.run(client.emit_mycroft, utterance())
    await eventually(lambda: hub.received)
    assert hub.received[0].body["context"]["session"]["session_id"] == "another"


async def test_the_hubs_session_state_is_sent_back(clients, hub):
    client = await clients.connected()
    await hub.peers[0].tell("x", session={"session_id": client.session_id, "active_handlers": ["a"], "lang": "pt"})
    await hub.peers[0].tell("y", session={"session_id": "somebody else", "active_handlers": ["b"]})
    seen: list = []
    client.on_mycroft("z", seen.append)
    await hub.peers[0].tell("z")
    await eventually(lambda: seen)
    await clients.run(client.emit_mycroft, utterance())
    await eventually(lambda: hub.received)
    assert hub.received[0].body["context"]["session"]["active_handlers"] == ["a"]


async def test_every_session_gets_its_own_state_back(clients, hub):
    client = await clients.connected()
    for user in ("alice", "bob"):
        await hub.peers[0].tell("x", session={"session_id": user, "response_mode": {"skill_id": user}})
    await hub.peers[0].tell("seen", session={"session_id": client.session_id, "active_handlers": ["own"]})
    await eventually(lambda: client.hub_session)
    for user in ("bob", "carol"):
        await clients.run(client.emit_mycroft, utterance(user, session={"session_id": user}))
    await eventually(lambda: len(hub.utterances) == 2)
    bob, carol = (message.body["context"]["session"] for message in hub.utterances)
    assert bob == {"session_id": "bob", "response_mode": {"skill_id": "bob"}, "site_id": client.site_id}
    assert carol == {"session_id": "carol", "site_id": client.site_id}


async def test_what_comes_in_is_made_local(clients, hub):
    client = await clients.connected()
    heard: list = []
    client.on_mycroft("x", heard.append)
    await hub.peers[0].tell("x", source="hive", destination="me", hivemind_verified_source_peer="forged")
    await eventually(lambda: heard)
    assert heard[0].context == {"source": "me"}


async def test_a_bus_given_to_connect_gets_messages_too(clients, hub):
    clients.keep_psk()
    agent, own = FakeBus(), FakeBus("the session of this bus")
    client = clients.new(internal_bus=own)
    assert client.session_id == "the session of this bus"
    heard: list = []
    agent.on("x", lambda m: heard.append("agent"))
    own.on("x", lambda m: heard.append("own"))
    await clients.run(client.connect, agent)
    await hub.peers[0].tell("x")
    await eventually(lambda: len(heard) == 2)
    await clients.run(client.close)
    heard.clear()
    await clients.run(client.connect, bus=own)
    await hub.peers[-1].tell("x")
    await eventually(lambda: heard)
    client._agent_bus = None


async def test_a_foreign_bus_serves_as_internal_bus(clients, hub):
    class Foreign:
        session_id = "default"

        def __init__(self):
            self.handlers = []

        def on(self, event, func):
            self.handlers.append((event, func))

        once = on

        def remove(self, event, func):
            self.handlers.remove((event, func))

        def emit(self, message):
            for event, func in list(self.handlers):
                if event == message.msg_type:
                    func(message)

    heard: list = []

    async def handler(message):
        await asyncio.sleep(0)
        heard.append(message)

    client = await clients.connected(internal_bus=Foreign())
    assert client.session_id != "default"
    client.on_mycroft("x", handler)
    client.once("x", heard.append)
    await hub.peers[0].tell("x")
    await eventually(lambda: len(heard) == 2)
    client.remove("x", handler)
    client.remove("x", heard.append)
    assert client.internal_bus.handlers == []


@pytest.mark.parametrize("sent", [["speak"], ["ovos.utterance.speak"], ["ovos.utterance.speak", "twin"]])
async def test_speech_is_heard_once_under_either_name(clients, hub, sent):
    client = await clients.connected()
    heard: list = []
    client.on_mycroft("speak", lambda m: heard.append(m.data["utterance"]))
    client.on_mycroft("ovos.utterance.speak", lambda m: heard.append(m.data["utterance"].upper()))
    for name in sent:
        mark = {"_namespace_compat_twin": True} if name == "twin" else {}
        await hub.peers[0].tell("speak" if name == "twin" else name, {"utterance": "hi"}, **mark)
    await eventually(lambda: len(heard) >= 2)
    await clients.run(client.wait_for_message, "never", 0.1)
    assert sorted(heard) == ["HI", "hi"]


async def test_large_messages_go_both_ways(clients, hub):
    client = await clients.connected()
    text = "x" * 300_000
    answer = await clients.run(client.wait_for_response, utterance(text), "speak", timeout=60)
    assert answer.payload.data["utterance"] == f"you said {text}"


async def test_many_threads_or_tasks_may_emit_at_once(clients, hub):
    client = await clients.connected()
    await asyncio.gather(
        *(clients.run(client.emit_mycroft, utterance(str(n) + "x" * 100_000 * (n % 2))) for n in range(20))
    )
    await eventually(lambda: len(hub.utterances) == 20)
    assert hub.connections == 1


async def test_binary_data(clients, hub):
    class Callbacks(BinaryDataCallbacks):
        def __init__(self):
            super().__init__()
            self.got: list = []

        def handle_receive_tts(self, bin_data, utterance, lang, file_name):
            self.got.append((bin_data, utterance, lang, file_name))

        async def handle_receive_file(self, bin_data, file_name):
            self.got.append((bin_data, file_name))

    client = await clients.connected()
    await clients.run(
        client.emit,
        HiveMessage(HiveMessageType.BINARY, b"sound", metadata={"lang": "en"}),
        HiveMindBinaryPayloadType.STT_AUDIO_HANDLE,
    )
    await eventually(lambda: hub.received)
    assert hub.received[0].bin_type == HiveMindBinaryPayloadType.STT_AUDIO_HANDLE
    peer = hub.peers[0]

    async def send(kind, **metadata):
        await peer.send(HiveMessage(HiveMessageType.BINARY, b"data", bin_type=kind, metadata=metadata))

    raw: list = []
    client.on(HiveMessageType.BINARY, raw.append)
    await send(HiveMindBinaryPayloadType.FILE, file_name="nobody cares yet")
    await eventually(lambda: raw)
    client.bin_callbacks = Callbacks()
    await send(HiveMindBinaryPayloadType.TTS_AUDIO, utterance="hi", lang="en", file_name="a.wav")
    await send(HiveMindBinaryPayloadType.FILE, file_name="b.txt")
    await send(HiveMindBinaryPayloadType.RAW_AUDIO)
    await eventually(lambda: len(raw) == 4)
    assert client.bin_callbacks.got == [(b"data", "hi", "en", "a.wav"), (b"data", "b.txt")]


async def test_a_binarized_link(clients, hub):
    hub.binarize = True
    client = await clients.connected()
    answer = await clients.run(client.wait_for_response, utterance("hi"), "speak", timeout=60)
    assert answer.payload.data["utterance"] == "you said hi"


async def test_what_cannot_be_sent_is_refused_and_harms_nothing(clients, hub):
    client = await clients.connected()
    with pytest.raises(TypeError):
        await clients.run(client.emit, "not a message")
    with pytest.raises((TypeError, ValueError)):
        await clients.run(client.emit, Message("x", {"a": object()}))
    with pytest.raises(ValueError, match="session"):
        await clients.run(client.emit, Message("x", {}, {"session": "mine"}))
    await clients.run(client.emit, utterance())
    await eventually(lambda: hub.received)


async def test_the_applications_own_message_class_is_handed_out(clients, hub, monkeypatch):
    class Theirs:
        def __init__(self, msg_type, data=None, context=None):
            self.msg_type, self.data, self.context = msg_type, data, context

    module = types.ModuleType("ovos_bus_client.message")
    module.Message = Theirs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ovos_bus_client.message", module)
    client = await clients.connected()
    heard: list = []
    client.on_mycroft("speak", heard.append)
    client.on_mycroft("recognizer_loop:utterance", heard.append)
    await clients.run(client.emit, Theirs("recognizer_loop:utterance", {"utterances": ["hi"]}, {}))
    await eventually(lambda: len(heard) == 2)
    assert [type(message) for message in heard] == [Theirs, Theirs]


async def test_flush_returns_when_the_hub_has_read_all(clients, hub):
    client = await clients.connected()
    await clients.run(client.emit, utterance())
    await clients.run(client.flush)
    assert hub.received
    hub.freeze()
    with pytest.raises(NotConnected, match="did not answer"):
        await clients.run(client.flush, 0.05)
    hub.peers[0].abort()
    await eventually(lambda: not client.connected_event.is_set())
    with pytest.raises(NotConnected):
        await clients.run(client.flush)


async def test_secrets_do_not_show(clients, caplog):
    caplog.set_level("DEBUG")
    client = await clients.connected()
    client.useragent = "renamed"
    with pytest.raises(ValueError, match="colon"):
        client.useragent = "a:b"
    assert (client.key, client.password, client.useragent) == (KEY, PASSWORD, "renamed")
    for text in (repr(client), caplog.text, repr(vars(client._driver))):
        assert PASSWORD not in text
        assert KEY not in text


# --- threads only


async def test_threads_run_in_thread_alone_is_enough(tmp_path, hub):
    made = Clients("threads", tmp_path, hub)
    made.keep_psk()
    client = made.new()
    thread = client.run_in_thread()
    assert client.run_in_thread() is thread
    assert client.started_running
    await made.run(client.emit_mycroft, utterance())
    await eventually(lambda: hub.received)
    await made.run(client.wait_for_handshake)
    await made.run(client.close)
    assert not thread.is_alive()


async def test_threads_collecting_answers(tmp_path, hub):
    """Handlers here and handlers behind the hub are asked alike."""
    made = Clients("threads", tmp_path, hub)
    client = await made.connected()

    async def answer(peer, message):
        if message.msg_type == "who":
            about = {"query": message.context["__collect_id__"], "handler": "h1"}
            await peer.tell("who.handling", {**about, "timeout": 60})
            await asyncio.sleep(2.5)
            await peer.tell("who.response", {**about, "name": "hall", "succeeded": True})

    hub.answer = answer

    def handler(message):
        client.emit(message.success({"name": "kitchen"}))

    client.on_collect("who", handler)
    found = await made.run(client.collect_responses, Message("who"), 2.0, 60)
    assert sorted(answer.data["name"] for answer in found) == ["hall", "kitchen"]
    client.remove("who", handler)
    found = await made.run(client.collect_responses, Message("who"), 60, 60, lambda answer: True)
    assert [answer.data["name"] for answer in found] == ["hall"]
    assert client.internal_bus.emitter.listeners("who.response") == []
    await made.run(client.close)


async def test_threads_closing_leaves_no_thread(tmp_path, hub):
    before = set(threading.enumerate())
    made = Clients("threads", tmp_path, hub)
    client = await made.connected()
    await made.run(client.close)
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not any(name.startswith("hivemind") for name in left)
    assert len(left) <= 4, "only those that asyncio keeps for other tasks"


async def test_threads_close_inside_a_handler(tmp_path, hub):
    made = Clients("threads", tmp_path, hub)
    client = await made.connected()
    closed = threading.Event()

    def handler(_):
        client.close()
        closed.set()

    client.on_mycroft("speak", handler)
    await made.run(client.emit_mycroft, utterance())
    await eventually(closed.is_set)
    await eventually(lambda: not hub.peers)


async def test_threads_context_manager(tmp_path, hub):
    made = Clients("threads", tmp_path, hub)
    made.keep_psk()

    def use():
        with made.new() as client:
            assert client.connected
        assert not client.connected

    await made.run(use)


async def test_asyncio_context_manager(tmp_path, hub):
    made = Clients("asyncio", tmp_path, hub)
    made.keep_psk()
    async with made.new() as client:
        assert client.connected
        await client.wait_for_handshake()
    assert not client.connected


async def test_asyncio_close_inside_a_handler(tmp_path, hub):
    made = Clients("asyncio", tmp_path, hub)
    client = await made.connected()
    closed = asyncio.Event()

    async def handler(_):
        await client.close()
        closed.set()

    client.on_mycroft("speak", handler)
    await client.emit_mycroft(utterance())
    await asyncio.wait_for(closed.wait(), 60)
    await eventually(lambda: not hub.peers)


async def test_asyncio_a_cancelled_emit_does_not_break_the_stream(tmp_path, hub):
    made = Clients("asyncio", tmp_path, hub)
    client = await made.connected()
    for size in (0, 500_000):
        task = asyncio.ensure_future(client.emit(utterance("x" * size)))
        await asyncio.sleep(0)
        task.cancel()
    await made.run(client.emit, utterance("after"))
    await eventually(lambda: hub.utterances and hub.utterances[-1].body["data"] == {"utterances": ["after"]})
    assert hub.connections == 1
    await client.close()
