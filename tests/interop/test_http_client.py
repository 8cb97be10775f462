"""Our satellite over HTTP at a released hub, which knows neither long polling nor how to say why it ends a session."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from helpers import bus_stub
from helpers.hub_process import HOST, HubProcess
from helpers.pair import KEY, OTHER_PASSWORD, PASSWORD, programs
from helpers.processes import Children, free_port, wait_until
from hivemind_bus_client.address import authorization
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.refusals import HiveMindRefused

RECONNECT_S = 60


class ReleasedHub(HubProcess):
    """Hub 5.3.10a1 with its HTTP transport besides, and a bus stub behind it."""

    def __init__(self, children: Children) -> None:
        stub: list[str | Path] = [sys.executable, bus_stub.__file__, "--record", str(children.folder / "bus.jsonl")]
        bus_port = children.spawn("bus", stub).expect("ready")["port"]
        super().__init__(children, programs("released-hub-http") / "hivemind-core", bus_port)
        self.http_port = free_port()
        transports = {"websocket": self.port, "http": self.http_port}
        network = {f"hivemind-{name}-plugin": {"host": HOST, "port": port} for name, port in transports.items()}
        self.configure({"network_protocol": network})
        self.add_client(KEY, PASSWORD)

    def start_both(self) -> None:
        self.start().wait_port(self.http_port)


@pytest.fixture
def hub(children: Children) -> ReleasedHub:
    hub = ReleasedHub(children)
    hub.start_both()
    return hub


@pytest.fixture
def made(hub: ReleasedHub, tmp_path: Path) -> Iterator[Any]:
    """Makes clients: one device has one identity."""
    clients: list[HiveMindHTTPClient] = []

    def make(device: str = "device", **options: Any) -> HiveMindHTTPClient:
        identity = NodeIdentity(tmp_path / device / "_identity.json")
        given = {"key": KEY, "password": PASSWORD, "host": HOST, "port": hub.http_port, "identity": identity}
        clients.append(HiveMindHTTPClient(**{**given, **options}))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def talk(client: HiveMindHTTPClient, text: str) -> None:
    """Say something and hear the answer."""
    message = Message("recognizer_loop:utterance", {"utterances": [text], "lang": "en-us"})
    answer = client.wait_for_response(message, "speak", timeout=60)
    assert answer is not None
    assert answer.payload.data["utterance"] == f"you said: {text}"


def test_a_conversation_and_the_next_one(made: Any) -> None:
    client = made()
    client.connect()
    assert client.noise_transport.pattern == "XXpsk2"
    talk(client, "what time is it")
    talk(client, "wie spät ist es? 🕰 今何時ですか")
    assert client.disconnect() == {"status": "Disconnected"}
    again = made()
    again.connect()
    assert again.noise_transport.pattern == "KKpsk0"
    talk(again, "and now")
    again.disconnect()  # two at once with one key end each other's sessions there
    client.connect()
    assert client.noise_transport.pattern == "KKpsk0"


def test_long_messages_travel_in_parts(made: Any) -> None:
    client = made()
    client.connect()
    talk(client, "tell me more " * 16_000)


def test_many_messages_at_once(made: Any) -> None:
    client = made()
    client.connect()
    heard: list[str] = []
    client.on_mycroft("speak", lambda message: heard.append(message.data["utterance"]))
    for number in range(30):
        client.emit(Message("recognizer_loop:utterance", {"utterances": [str(number)]}))
    wait_until(lambda: len(heard) == 30, 60, "30 answers")
    assert heard == [f"you said: {number}" for number in range(30)]


def test_a_binary_message_harms_nothing(made: Any) -> None:
    client = made()
    client.connect()
    lost: list[object] = []
    client.on("close", lambda: lost.append(1))
    client.emit(HiveMessage(HiveMessageType.BINARY, hashlib.sha256(b"x").digest() * 5_000))
    client.flush()
    talk(client, "still there")
    assert lost == []


def test_a_denied_type_is_told(made: Any) -> None:
    client = made()
    client.connect()
    denied: list[Any] = []
    client.on_mycroft("hive.policy.denied", denied.append)
    client.emit(Message("mycroft.stop"))
    wait_until(lambda: denied, 60, "the denial")
    assert denied[0].data["denied_type"] == "mycroft.stop"


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_it_is_back_after_a_hub_restart(hub: ReleasedHub, made: Any, end: str) -> None:
    client = made()
    client.connect()
    talk(client, "hello")
    getattr(hub, end)()
    wait_until(lambda: not client.connected, RECONNECT_S, "the loss")
    hub.start_both()
    assert client.connected.wait(RECONNECT_S)
    talk(client, "are you back")
    assert client.noise_transport.pattern == "KKpsk0"


def test_a_session_that_somebody_ends_is_made_anew(hub: ReleasedHub, made: Any) -> None:
    """At a released hub whoever knows the access key can end it."""
    client = made()
    client.connect()
    url = f"http://{HOST}:{hub.http_port}/disconnect?authorization={authorization('anybody', KEY)}"
    with urlopen(Request(url, method="POST"), timeout=60):
        pass
    wait_until(lambda: not client.connected, RECONNECT_S, "the loss")
    assert client.connected.wait(RECONNECT_S)
    talk(client, "here again")


def test_a_wrong_key_is_refused_for_good(made: Any) -> None:
    with pytest.raises(HiveMindRefused) as info:
        made(key="nobody-has-this-key").connect()
    assert info.value.code == "invalid_key"


def test_a_wrong_password_is_refused_for_good(made: Any) -> None:
    with pytest.raises(HiveMindRefused) as info:
        made(password=OTHER_PASSWORD).connect()
    assert info.value.code == "wrong_password"


def test_a_wrong_password_later_is_refused_for_good(made: Any) -> None:
    right = made()
    right.connect()
    right.close()
    with pytest.raises(HiveMindRefused) as info:
        made(password=OTHER_PASSWORD).connect()
    assert info.value.code == "wrong_password"


def test_another_device_with_the_same_key_is_refused(made: Any) -> None:
    first = made()
    first.connect()
    first.close()
    with pytest.raises(HiveMindRefused) as info:
        made("another device").connect()
    assert info.value.code == "client_key_mismatch"
