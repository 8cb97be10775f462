"""A client whose socket the program runs, and objects made without the constructor, as embedding programs make them."""

from __future__ import annotations

import json
import sys
import threading
import types
from typing import Any

import pytest

from hivemind_bus_client.async_client import AsyncHiveMessageBusClient
from hivemind_bus_client.client import HiveMessageBusClient, HiveMessageWaiter, HivePayloadWaiter
from hivemind_bus_client.encryption import (
    SupportedCiphers,
    SupportedEncodings,
    decrypt_bin,
    decrypt_from_json,
    encrypt_as_json,
    encrypt_bin,
)
from hivemind_bus_client.exceptions import NoiseTransportFailed, NotConnected
from hivemind_bus_client.fakebus import FakeBus
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from hivemind_bus_client.protocol import HiveMindSlaveProtocol
from hivemind_bus_client.serialization import decode_bitstring, get_bitstring

KEY = bytes(range(32))
SPEAK = HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": "hi"}))
HELLO = HiveMessage(HiveMessageType.HELLO, {"pubkey": "PEM"})


class Socket:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.closed = False

    def send(self, *frame: Any) -> None:
        self.sent.append(frame)

    def close(self) -> None:
        self.closed = True


class Identity:
    """As little of an identity as a client needs."""

    def __init__(self, **known: Any) -> None:
        self.access_key = self.password = self.site_id = self.default_master = self.default_port = None
        vars(self).update(known)


def bare(**known: Any) -> HiveMessageBusClient:
    """A client that was never constructed."""
    client = object.__new__(HiveMessageBusClient)
    for name, value in known.items():
        setattr(client, name, value)
    return client


def open_client(**known: Any) -> tuple[HiveMessageBusClient, Socket]:
    client = bare(client=Socket(), **known)
    client.on_open()
    return client, client.client


# --- what comes in


def heard_by(client: HiveMessageBusClient, *events: str) -> list[Any]:
    heard: list[Any] = []
    for event in events:
        client.on(event, lambda *args, event=event: heard.append((event, *args)))
    return heard


def test_an_envelope_reaches_waiters_handlers_and_the_internal_bus() -> None:
    client = bare()
    heard = heard_by(client, "bus", "speak")
    waiter = HivePayloadWaiter(client, "speak")
    client._handle_hive_protocol(SPEAK)
    assert [event for event, _ in heard] == ["speak", "bus"]
    assert heard[0][1].data == {"utterance": "hi"}
    assert waiter.wait(0) is SPEAK


def test_the_text_of_an_envelope_that_comes_in_is_an_event_of_its_own() -> None:
    client = bare()
    heard = heard_by(client, "bus", "speak")
    client.emitter.on("message", lambda text: heard.append(("message", json.loads(text)["msg_type"])))
    client.on_message(SPEAK.serialize())
    assert [event for event, *_ in heard] == ["message", "speak", "bus"]
    client._handle_hive_protocol(SPEAK)
    assert [event for event, *_ in heard][3:] == ["speak", "bus"]


def test_only_binary_messages_are_handed_to_the_binary_callbacks() -> None:
    with pytest.raises(AssertionError, match="not a BINARY message"):
        bare()._handle_binary(SPEAK)


class Beginner:
    """Begins a handshake that ends when it has begun so often."""

    def __init__(self, client: HiveMessageBusClient, needed: int) -> None:
        self.client, self.needed, self.begun = client, needed, 0

    def start_handshake(self) -> None:
        self.begun += 1
        if self.begun == self.needed:
            self.client.handshake_event.set()


@pytest.mark.parametrize(("needed", "begun"), [(1, 1), (2, 2), (3, 2)])
def test_a_handshake_on_the_programs_own_socket_is_asked_for_again(needed: int, begun: int) -> None:
    client, _ = open_client()
    client.protocol = Beginner(client, needed)
    if needed > begun:
        with pytest.raises(RuntimeError, match="timed out waiting for handshake"):
            client.wait_for_handshake(0.01, max_retries=2)
    else:
        client.wait_for_handshake(0.01, max_retries=2)
    assert client.protocol.begun == begun


def test_while_the_programs_own_socket_is_down_nothing_is_asked_for() -> None:
    client = bare(client=Socket())
    client.protocol = Beginner(client, 1)
    with pytest.raises(RuntimeError):
        client.wait_for_handshake(0.01, max_retries=2)
    assert client.protocol.begun == 0


@pytest.mark.parametrize("early", [True, False])
def test_a_refusal_on_the_programs_own_socket_ends_the_wait(early: bool) -> None:
    client, _ = open_client()
    heard: list[str] = []
    client.emitter.on("auth_rejected", heard.append)
    client.protocol = Beginner(client, 9)
    if early:
        client.latch_refusal("not this one")
    else:
        client.protocol.start_handshake = lambda: client.latch_refusal("not this one")
    with pytest.raises(ConnectionRefusedError, match="not this one"):
        client.wait_for_handshake(0.01, max_retries=3)
    assert ["not this one" in text for text in heard] == [True]
    assert client.stopping


async def test_a_refusal_on_an_asyncio_programs_own_socket_is_told() -> None:
    client = object.__new__(AsyncHiveMessageBusClient)
    heard: list[str] = []
    client.emitter.on("auth_rejected", heard.append)
    client.latch_refusal("not this one")
    assert ["not this one" in text for text in heard] == [True]
    assert client.stopping


def test_a_program_may_send_in_its_own_way() -> None:
    sent: list[Any] = []
    client = bare(emit=sent.append)
    client.emit_mycroft(Message("x"))
    assert [(message.msg_type, message.payload.msg_type) for message in sent] == [("bus", "x")]


def test_the_hubs_session_state_is_sent_back() -> None:
    client, socket = open_client(session_id="s1")
    session = {"session_id": "s1", "active_handlers": ["a"]}
    client.on_message(HiveMessage(HiveMessageType.BUS, Message("speak", {}, {"session": session})).serialize())
    client.emit(Message("ask"))
    assert json.loads(socket.sent[0][0])["payload"]["context"]["session"]["active_handlers"] == ["a"]


def test_a_program_may_forget_the_hubs_session_state() -> None:
    client, socket = open_client(session_id="s1", hub_session=None)
    client.emit(Message("ask"))
    assert json.loads(socket.sent[0][0])["payload"]["context"]["session"]["session_id"] == "s1"


@pytest.mark.parametrize("same", [True, False])
def test_one_of_the_client_and_its_protocol_delivers(same: bool) -> None:
    client, _ = open_client()
    heard = heard_by(client, "speak")
    bus = client.internal_bus if same else FakeBus()
    protocol = HiveMindSlaveProtocol(client, identity=Identity(private_key="", trusted_keys={}), handshake=object())
    protocol.bind(bus)
    client.protocol = protocol
    client.on_message(SPEAK.serialize())
    assert len(heard) == 1


def test_only_this_node_says_that_it_verified_a_source() -> None:
    client = bare()
    heard = heard_by(client, "x")
    client.on_message(
        HiveMessage(HiveMessageType.BUS, Message("x", {}, {"hivemind_verified_source_peer": "forged"})).serialize()
    )
    assert heard[0][1].context == {}


def test_frames_in_clear() -> None:
    client = bare()
    heard = heard_by(client, "speak", "hello")
    client.on_message(HELLO.serialize())
    client.on_message("the socket", SPEAK.serialize())
    client.on_message(get_bitstring(HiveMessageType.BUS, Message("speak")).bytes)
    assert [event for event, _ in heard] == ["hello", "speak", "speak"]


@pytest.mark.parametrize("frame", ["no json", "[]", b"\xff\xff", '{"msg_type": "nonsense"}', '{"ciphertext": "ff"}'])
def test_what_cannot_be_read_is_logged_and_dropped(frame: str | bytes, caplog: pytest.LogCaptureFixture) -> None:
    client = bare()
    everything: list[str] = []
    client.emitter.on("message", everything.append)
    client.on_message(frame)
    assert everything == []
    assert "could not be read" in caplog.text or "no key" in caplog.text


@pytest.mark.parametrize("cipher", SupportedCiphers)
def test_an_encrypted_session(cipher: SupportedCiphers) -> None:
    client, socket = open_client(crypto_key=KEY, cipher=cipher, json_encoding=SupportedEncodings.JSON_B64)
    heard = heard_by(client, "speak", "hello")
    client.on_message(encrypt_as_json(KEY, SPEAK.serialize(), cipher, SupportedEncodings.JSON_B64))
    client.on_message(encrypt_bin(KEY, get_bitstring(HiveMessageType.BUS, SPEAK.payload).bytes, cipher))
    assert len(heard) == 2
    client.on_message(SPEAK.serialize())
    assert len(heard) == 2
    client.on_message(HELLO.serialize())
    client.handshake_event.set()
    client.on_message(HELLO.serialize())
    assert len(heard) == 3
    client.emit(HiveMessage(HiveMessageType.BUS, Message("ask")))
    (text,) = socket.sent[0]
    assert json.loads(decrypt_from_json(KEY, text, cipher, SupportedEncodings.JSON_B64))["payload"]["type"] == "ask"
    client.emit(HiveMessage(HiveMessageType.BINARY, b"sound"), HiveMindBinaryPayloadType.RAW_AUDIO)
    frame, opcode = socket.sent[1]
    found = decode_bitstring(decrypt_bin(KEY, frame, cipher))
    assert (found.payload, found.bin_type, opcode) == (b"sound", HiveMindBinaryPayloadType.RAW_AUDIO, 2)


class Noise:
    """A session that turns frames round."""

    def send_message(self, payload: str | bytes, raw_send: Any) -> None:
        raw_send((payload.encode() if isinstance(payload, str) else payload)[::-1])

    def decrypt_frame(self, frame: bytes) -> str | None:
        if frame == b"bad":
            raise NoiseTransportFailed("it does not decrypt")
        return frame[::-1].decode() if frame else None


def test_a_noise_session(caplog: pytest.LogCaptureFixture) -> None:
    client, socket = open_client(noise_transport=Noise())
    heard = heard_by(client, "speak")
    client.on_message(SPEAK.serialize().encode()[::-1])
    client.on_message(b"")
    assert len(heard) == 1
    client.on_message(SPEAK.serialize())
    assert "in clear" in caplog.text
    client.emit(HELLO)
    assert HiveMessage.from_wire(socket.sent[0][0][::-1].decode()).msg_type == "hello"
    client.on_message(b"bad")
    assert socket.closed
    assert len(heard) == 1


class Callbacks:
    def __init__(self) -> None:
        self.got: list[Any] = []

    def handle_receive_tts(self, *args: Any) -> None:
        self.got.append(args)

    def handle_receive_file(self, *args: Any) -> None:
        self.got.append(args)
        raise RuntimeError("the disk is full")


def test_binary_data_goes_to_its_callbacks(caplog: pytest.LogCaptureFixture) -> None:
    client = bare(bin_callbacks=Callbacks())
    about = {"utterance": "hi", "lang": "en", "file_name": "a.wav"}
    for kind in ("TTS_AUDIO", "FILE", "RAW_AUDIO"):
        message = HiveMessage(HiveMessageType.BINARY, b"x", bin_type=HiveMindBinaryPayloadType[kind], metadata=about)
        client._handle_binary(message)
    assert client.bin_callbacks.got == [(b"x", "hi", "en", "a.wav"), (b"x", "a.wav")]
    assert "the disk is full" in caplog.text
    assert "nothing handles" in caplog.text
    client.on_message(get_bitstring(HiveMessageType.BINARY, b"y", hivemeta=about, binary_type=6).bytes)
    assert client.bin_callbacks.got[-1] == (b"y", "hi", "en", "a.wav")


# --- the end of a connection


class Protocol:
    binarize = True

    def __init__(self) -> None:
        self.resets = 0

    def reset_connection_state(self) -> None:
        self.resets += 1


@pytest.mark.parametrize(("method", "event"), [("on_close", "close"), ("on_error", "error")])
@pytest.mark.parametrize("protocol", [None, Protocol()])
def test_when_the_connection_ends_so_does_the_session(method: str, event: str, protocol: Protocol | None) -> None:
    client, _ = open_client(crypto_key=KEY, noise_transport=Noise(), protocol=protocol)
    client.handshake_event.set()
    heard = heard_by(client, event)
    getattr(client, method)("the socket", OSError("gone"))
    assert not client.connected_event.is_set()
    assert not client.handshake_event.is_set()
    assert (client.crypto_key, client.noise_transport) == (None, None)
    assert len(heard) == 1
    assert protocol is None or protocol.resets


# --- what goes out


def test_frames_are_binary_where_both_want_it() -> None:
    client, socket = open_client(protocol=Protocol(), binarize=True)
    client.emit(SPEAK)
    client.emit(HELLO)
    client.binarize = False
    client.emit(SPEAK)
    assert [type(frame[0]) for frame in socket.sent] == [bytes, str, str]


def test_a_bus_message_is_stamped_in_place_and_echoed() -> None:
    client, socket = open_client(session_id="s1", site_id="attic")
    heard = heard_by(client, "ask")
    message = Message("ask")
    client.emit(message)
    assert message.context["session"] == {"session_id": "s1", "site_id": "attic"}
    assert message.context["destination"] == "HiveMind"
    assert json.loads(socket.sent[0][0])["payload"]["context"] == message.context
    assert heard[0][1].context == message.context


def test_emitting_while_the_socket_is_closed() -> None:
    with pytest.raises(ValueError, match="You must execute run_forever"):
        bare().emit(SPEAK)
    with pytest.raises(NotConnected, match="Can not send messages before opening the websocket connection"):
        bare(client=Socket(), started_running=True).emit(SPEAK)
    with pytest.raises(NotConnected, match="Can not send messages before opening the websocket connection"):
        bare(started_running=True).emit(SPEAK)
    with pytest.raises(ValueError, match="You must execute run_forever"):
        bare(client=Socket()).emit(SPEAK)


def test_the_protocol_is_told_of_a_question_that_is_sent() -> None:
    told: list[HiveMessage] = []
    client, _ = open_client(protocol=types.SimpleNamespace(binarize=False, sending=told.append))
    client.emit(question := HiveMessage(HiveMessageType.QUERY, SPEAK))
    assert told == [question]


def test_a_message_lost_by_websocket_client_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Closed(Exception):
        pass

    module = types.ModuleType("websocket")
    module.WebSocketConnectionClosedException = Closed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "websocket", module)
    client, socket = open_client()

    def fail(*_: Any) -> None:
        raise Closed("gone")

    monkeypatch.setattr(socket, "send", fail)
    client.emit(SPEAK)
    assert "is lost" in caplog.text


async def test_an_asyncio_client_awaits_its_socket() -> None:
    class AsyncSocket:
        def __init__(self) -> None:
            self.sent: list[str] = []

        async def send(self, frame: str) -> None:
            self.sent.append(frame)

    client = object.__new__(AsyncHiveMessageBusClient)
    client.client = AsyncSocket()
    client.on_open()
    await client.emit(SPEAK)
    assert json.loads(client.client.sent[0])["msg_type"] == "bus"


def test_the_socket_is_made_by_websocket_client(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    module = types.ModuleType("websocket")
    module.WebSocketApp = lambda url, **callbacks: made.append((url, callbacks))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "websocket", module)
    client = bare(_host="hub", identity=Identity(access_key="k", password="p"))
    client.init_identity()
    client.create_client()
    ((url, callbacks),) = made
    assert url.startswith("ws://hub:5678/?authorization=")
    assert callbacks["on_message"] == client.on_message
    monkeypatch.setitem(sys.modules, "websocket", None)
    with pytest.raises(ImportError, match="pip install websocket-client"):
        client.create_client()


def test_who_exchanges_keys() -> None:
    assert bare().handles_exchange
    assert not bare(client=Socket()).handles_exchange


# --- waiters on any bus


class AnyBus:
    def __init__(self) -> None:
        self.handlers: list[Any] = []

    def on(self, event: str, handler: Any) -> None:
        self.handlers.append((event, handler))

    def remove(self, event: str, handler: Any) -> None:
        self.handlers.remove((event, handler))


def test_a_bus_of_the_callers_own_is_trusted_to_bring_the_right_envelopes() -> None:
    bus = AnyBus()
    waiter, other = HiveMessageWaiter(bus, "bus"), HivePayloadWaiter(bus, "speak")
    assert [event for event, _ in bus.handlers] == ["bus", HiveMessageType.BUS]
    foreign = types.SimpleNamespace(payload=types.SimpleNamespace(msg_type="speak"))
    unlike = types.SimpleNamespace(payload=types.SimpleNamespace(msg_type="other"))
    for message in (unlike, foreign):
        for _, handler in bus.handlers:
            threading.Thread(target=handler, args=(message,)).run()
    assert waiter.wait(0) is unlike
    assert other.wait(0) is foreign
    assert bus.handlers == []
