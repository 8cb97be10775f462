"""The key exchange of a protocol bound to a connection that is not one of our clients."""

import threading
from types import SimpleNamespace

import pytest

from helpers.link_pair import HELLO, HUB_KEY, HUB_PUBLIC, offer
from hivemind_bus_client.encryption import SupportedCiphers, SupportedEncodings
from hivemind_bus_client.exchange import HubNoise, NoiseTerms
from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.key_exchange import handles_exchange
from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.noise import derive_psk
from hivemind_bus_client.noise_line import NoiseLine
from hivemind_bus_client.poorman_handshakes import HandShake, PasswordHandShake
from hivemind_bus_client.protocol import HiveMindSlaveProtocol


class Connection:
    """A transport of somebody's own: the least that a protocol needs."""

    def __init__(self, password: str | None = None, crypto_key: object = None) -> None:
        self.handlers: dict[str, object] = {}
        self.sent: list[HiveMessage] = []
        self.session_id = "me"
        self.password = password
        self.crypto_key = crypto_key
        self.json_encoding: object = "as before"
        self.cipher: object = "as before"
        self.handshake_event = threading.Event()

    def on(self, event: str, handler: object) -> None:
        self.handlers[event] = handler

    def emit(self, message: HiveMessage) -> None:
        self.sent.append(message)

    def comes_in(self, kind: HiveMessageType, **payload: object) -> None:
        self.handlers[kind](HiveMessage(kind, payload))

    def offer(self, **more: object) -> None:
        legacy = {"handshake": False, "max_protocol_version": 1, "preshared_key": False, "password": False}
        self.comes_in(HiveMessageType.HANDSHAKE, **{**legacy, **more})


@pytest.fixture
def identity(tmp_path):
    return SimpleNamespace(
        name="sat", private_key=str(tmp_path / "key.pem"), public_key="PEM", password=None, trusted_keys={}
    )


def bound(connection: Connection, identity) -> HiveMindSlaveProtocol:
    protocol = HiveMindSlaveProtocol(connection, identity=identity, site_id="kitchen")
    protocol.bind(FakeBus())
    return protocol


@pytest.mark.parametrize(("value", "is_ours"), [(True, True), (False, False), (None, False), (1, False)])
def test_which_connections_exchange_keys_themselves(value, is_ours):
    assert handles_exchange(SimpleNamespace(handles_exchange=value)) is is_ours
    assert handles_exchange(SimpleNamespace()) is False


def test_the_hub_introduces_itself(identity):
    protocol = bound(connection := Connection(), identity)
    connection.comes_in(HiveMessageType.HELLO, pubkey="HUB", node_id="one", peer="x")
    connection.comes_in(HiveMessageType.HELLO, pubkey="HUB2", node_id="two")
    connection.comes_in(HiveMessageType.HELLO, pubkey=3, node_id=None)
    assert (protocol.mpubkey, protocol.node_id) == ("HUB2", "one")
    assert HiveMindSlaveProtocol(connection).node_id == ""


def test_with_a_password(identity):
    protocol = bound(connection := Connection("pass"), identity)
    connection.offer(password=True, binarize=True)
    assert protocol.binarize is True
    wish = connection.sent[0].payload
    assert connection.sent[0].msg_type == HiveMessageType.HANDSHAKE
    assert wish["binarize"] is True
    assert wish["encodings"] == [encoding.value for encoding in SupportedEncodings]
    assert set(wish["ciphers"]) == {cipher.value for cipher in SupportedCiphers}
    hub = PasswordHandShake("pass")
    assert hub.receive_and_verify(wish["envelope"])
    connection.comes_in(
        HiveMessageType.HANDSHAKE, envelope=hub.generate_handshake(), cipher="CHACHA20-POLY1305", encoding="JSON-B64"
    )
    assert connection.crypto_key == hub.secret
    assert (connection.cipher, connection.json_encoding) == ("CHACHA20-POLY1305", "JSON-B64")
    hello = connection.sent[1]
    session = {"session_id": "me", "site_id": "kitchen"}
    assert (hello.msg_type, hello.payload) == ("hello", {"pubkey": "PEM", "session": session, "site_id": "kitchen"})
    assert connection.handshake_event.is_set()


def test_the_password_may_be_the_identitys(identity):
    identity.password = "pass"
    bound(connection := Connection(), identity)
    connection.offer(password=True)
    assert PasswordHandShake("pass").receive_and_verify(connection.sent[0].payload["envelope"])


def test_what_the_hub_does_not_name_is_taken_as_it_ever_was(identity):
    bound(connection := Connection("pass"), identity)
    connection.offer(password=True)
    connection.comes_in(HiveMessageType.HANDSHAKE, envelope=PasswordHandShake("pass").generate_handshake())
    assert (connection.cipher, connection.json_encoding) == ("AES-GCM", "JSON-HEX")


@pytest.mark.parametrize(
    "answer",
    [{"envelope": PasswordHandShake("other").generate_handshake()}, {"envelope": "nonsense"}, {"envelope": None},
     {"envelope": PasswordHandShake("pass").generate_handshake(), "cipher": "ROT13"}],
    ids=["other password", "nonsense", "nothing", "unknown cipher"],
)  # fmt: skip
def test_an_answer_that_is_not_sound_makes_no_session(identity, answer):
    bound(connection := Connection("pass"), identity)
    refusals: list = []
    connection.latch_refusal = refusals.append
    connection.offer(password=True)
    connection.comes_in(HiveMessageType.HANDSHAKE, **answer)
    assert connection.crypto_key is None
    assert (connection.cipher, connection.json_encoding) == ("as before", "as before")
    assert len(connection.sent) == 1
    assert not connection.handshake_event.is_set()
    assert bool(refusals) is ("cipher" not in answer)


def test_an_answer_to_nothing(identity):
    protocol = HiveMindSlaveProtocol(connection := Connection("pass"), identity=identity)
    assert protocol.receive_handshake(PasswordHandShake("pass").generate_handshake()) is False
    assert connection.crypto_key is None


def test_a_key_is_not_replaced_unasked(identity):
    protocol = bound(connection := Connection("pass", crypto_key=b"k" * 16), identity)
    protocol.pswd_handshake = PasswordHandShake("pass")
    connection.comes_in(HiveMessageType.HANDSHAKE, envelope=PasswordHandShake("pass").generate_handshake())
    assert connection.crypto_key == b"k" * 16
    assert connection.sent == []


def test_with_rsa_keys_when_asked_to(identity):
    protocol = bound(connection := Connection(), identity)
    hub = HandShake()
    connection.comes_in(HiveMessageType.HELLO, pubkey=hub.pubkey, node_id="hub")
    connection.offer(handshake=True)
    assert connection.sent == []
    protocol.start_handshake()
    wish = connection.sent[0].payload
    assert "envelope" not in wish
    connection.comes_in(HiveMessageType.HANDSHAKE, envelope=hub.generate_handshake(wish["pubkey"]))
    assert connection.crypto_key == hub.secret
    assert connection.handshake_event.is_set()


def test_a_signature_of_another_hub(identity):
    protocol = bound(connection := Connection(), identity)
    connection.comes_in(HiveMessageType.HELLO, pubkey=HandShake().pubkey, node_id="hub")
    connection.offer(handshake=True)
    protocol.start_handshake()
    envelope = HandShake().generate_handshake(connection.sent[0].payload["pubkey"])
    connection.comes_in(HiveMessageType.HANDSHAKE, envelope=envelope)
    assert connection.crypto_key is None


def test_with_a_key_shared_before(identity):
    bound(connection := Connection(crypto_key="0123456789abcdef"), identity)
    connection.offer(preshared_key=True, handshake=True)
    assert connection.sent == []
    connection.offer(preshared_key=True)
    assert connection.sent[0].msg_type == HiveMessageType.HELLO
    assert connection.handshake_event.is_set()


def test_before_the_offer_there_is_nothing_to_begin_with(identity):
    protocol = bound(connection := Connection("pass"), identity)
    protocol.start_handshake()
    assert connection.sent == []
    connection.offer(password=True)
    protocol.start_handshake()
    assert [message.msg_type for message in connection.sent] == ["shake", "shake"]
    assert connection.sent[0].payload["envelope"] != connection.sent[1].payload["envelope"]
    for forget in (protocol.connection_opened, protocol.reset_connection_state):
        connection.offer()
        forget()
        protocol.start_handshake()
    assert len(connection.sent) == 2
    assert protocol.kk_attempt_failed() is False


# --- protocol v3 --------------------------------------------------------------------------------------------


class NoiseConnection(Connection):
    """One that can have a v3 session."""

    def __init__(self, identity: NodeIdentity, **config: object) -> None:
        super().__init__("pass")
        self.max_protocol_version = 3
        self.noise_transport = None
        self.key = "key"
        self.config = SimpleNamespace(host="hub", port=5678)
        self.refusals: list[str] = []
        self.latch_refusal = self.refusals.append


@pytest.fixture(scope="module")
def psk() -> bytes:
    return derive_psk("pass", HELLO["node_id"])


@pytest.fixture
def node(tmp_path) -> NodeIdentity:
    identity = NodeIdentity(tmp_path / "_identity.json")
    identity.password = "pass"
    identity.create_keys()
    identity.save()
    return identity


def met(connection: NoiseConnection, psk: bytes) -> NoiseLine:
    """Let a connection meet a hub; returns the hub's end of the session."""
    hub = HubNoise(NoiseTerms(HELLO, offer(pinned=True), HUB_KEY, None, psk))
    connection.comes_in(HiveMessageType.HELLO, **HELLO)
    connection.comes_in(HiveMessageType.HANDSHAKE, **offer(pinned=True))
    step = hub.receive(connection.sent.pop().payload)
    connection.comes_in(HiveMessageType.HANDSHAKE, **step.send[0])
    done = step.established or hub.receive(connection.sent.pop(0).payload).established
    return NoiseLine(done.session, done.remote_key)


def test_a_v3_session(node, psk):
    protocol = bound(connection := NoiseConnection(node), node)
    hub = met(connection, psk)
    assert hub.decrypt_frame(connection.noise_transport.encrypt_frame("hello")) == "hello"
    assert [message.msg_type for message in connection.sent] == ["hello"]
    assert connection.sent[0].payload["pubkey"] == node.public_key
    assert connection.handshake_event.is_set()
    assert connection.crypto_key is None
    assert connection.json_encoding == SupportedEncodings.JSON_B91
    assert node.pinned_noise_keys == {"hub:5678": HUB_PUBLIC.hex()}
    connection.offer(password=True)
    protocol.start_handshake()
    assert len(connection.sent) == 1


def test_a_hub_met_at_v3_is_not_spoken_to_below_it(node, psk):
    protocol = bound(connection := NoiseConnection(node), node)
    met(connection, psk)
    protocol.reset_connection_state()
    connection.sent.clear()
    connection.offer(password=True)
    protocol.start_handshake()
    assert connection.sent == []
    assert len(connection.refusals) == 1


def test_another_password(node):
    bound(connection := NoiseConnection(node), node)
    connection.comes_in(HiveMessageType.HELLO, **HELLO)
    connection.comes_in(HiveMessageType.HANDSHAKE, **offer())
    step = HubNoise(NoiseTerms(HELLO, offer(), HUB_KEY, None, b"x" * 32)).receive(connection.sent.pop().payload)
    connection.comes_in(HiveMessageType.HANDSHAKE, **step.send[0])
    assert connection.sent == []
    assert connection.noise_transport is None
    assert "password" in connection.refusals[0]
    assert not connection.handshake_event.is_set()


def test_a_hub_that_refuses_the_key_it_is_known_by_is_met_once_more(node, psk):
    protocol = bound(connection := NoiseConnection(node), node)
    assert protocol.kk_attempt_failed() is False
    met(connection, psk)
    protocol.reset_connection_state()
    connection.sent.clear()
    connection.comes_in(HiveMessageType.HELLO, **HELLO)
    connection.comes_in(HiveMessageType.HANDSHAKE, **offer(pinned=True))
    assert connection.sent.pop().payload["noise"]["pattern"] == "KKpsk0"
    assert protocol.kk_attempt_failed() is True
    assert protocol.kk_attempt_failed() is False
    protocol.connection_opened()
    met(connection, psk)
    assert connection.handshake_event.is_set()


def test_a_transport_without_a_place_for_the_session_is_given_one(node, psk):
    connection = NoiseConnection(node)
    del connection.noise_transport
    bound(connection, node)
    hub = met(connection, psk)
    assert hub.decrypt_frame(connection.noise_transport.encrypt_frame("hello")) == "hello"


@pytest.mark.parametrize("lacks", ["password", "version"])
def test_connections_that_cannot_have_a_v3_session(node, lacks):
    connection = NoiseConnection(node)
    if lacks == "password":
        connection.password = node.password = None
    else:
        connection.max_protocol_version = 1
    bound(connection, node)
    connection.comes_in(HiveMessageType.HELLO, **HELLO)
    connection.comes_in(HiveMessageType.HANDSHAKE, **offer(pinned=True), password=True)
    assert ["envelope" in message.payload for message in connection.sent] == ([] if lacks == "password" else [True])
