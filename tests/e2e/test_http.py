"""Our hub as a process that serves HTTP, beside the WebSocket or alone; our satellites and commands as processes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import bus_stub
from helpers.hub_process import HOST, HubProcess
from helpers.processes import Child, Children, free_port, wait_until
from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

PROGRAMS = Path(sys.executable).parent
PASSWORD = "orbital-walnut-cipher-93-lantern"
OVER_HTTP, OVER_SOCKET = "key-over-http", "key-over-socket"
UTTERANCE = "recognizer_loop:utterance"
WAIT_S = 60.0


class BothWays(HubProcess):
    """A hub that listens for both, or for HTTP alone, with two clients in its database."""

    def __init__(self, children: Children, *, alone: bool = False) -> None:
        self.children = children
        self.record = children.folder / "bus.jsonl"
        bus = children.spawn("bus", [sys.executable, bus_stub.__file__, "--record", self.record])
        super().__init__(children, PROGRAMS / "hivemind-core", bus.expect("ready")["port"])
        self.http_port = self.port if alone else free_port()
        network = {"hivemind-http-plugin": {"host": HOST, "port": self.http_port}}
        if not alone:
            network["hivemind-websocket-plugin"] = {"host": HOST, "port": self.port}
        self.configure({"network_protocol": network})
        self.made: list[HiveMessageBusClient] = []

    def up(self) -> Child:
        child = self.start()
        child.wait_port(self.http_port)
        return child

    def let_in(self, key: str) -> str:
        """Add a client that may do everything; what the command printed."""
        return self.command("add-client", "--name", key, "--access-key", key, "--password", PASSWORD, "--admin", "true")

    def connected(self, kind: type[HiveMessageBusClient], key: str, port: int) -> HiveMessageBusClient:
        identity = NodeIdentity(self.children.folder / key / "_identity.json")
        client = kind(key, password=PASSWORD, host=HOST, port=port, identity=identity)
        self.made.append(client)
        client.connect(timeout=WAIT_S)
        return client

    def client_command(self, *arguments: str) -> Child:
        """Start `hivemind-client` on a device of its own."""
        argv: list[str | Path] = [PROGRAMS / "hivemind-client", *arguments]
        return self.children.spawn(arguments[0], argv, self.children.home("device"))


@pytest.fixture
def both(children: Children) -> Iterator[BothWays]:
    hub = BothWays(children)
    for key in (OVER_HTTP, OVER_SOCKET):
        hub.let_in(key)
    hub.up()
    yield hub
    for client in hub.made:
        client.close()


@pytest.fixture
def pair(both: BothWays) -> tuple[HiveMindHTTPClient, HiveMessageBusClient]:
    """A satellite over HTTP and one over a WebSocket, at one hub."""
    http = both.connected(HiveMindHTTPClient, OVER_HTTP, both.http_port)
    assert isinstance(http, HiveMindHTTPClient)
    return http, both.connected(HiveMessageBusClient, OVER_SOCKET, both.port)


def utterance(text: str) -> Message:
    return Message(UTTERANCE, {"utterances": [text], "lang": "en-us"})


def talk(client: HiveMessageBusClient, text: str) -> None:
    heard = client.wait_for_response(utterance(text), "speak", timeout=WAIT_S)
    assert heard is not None
    assert heard.payload.data["utterance"] == f"you said: {text}"


def heard_by(client: HiveMessageBusClient, kind: HiveMessageType) -> list[dict[str, Any]]:
    """What comes to a client in envelopes of a kind, from now on."""
    found: list[dict[str, Any]] = []
    client.on(kind, lambda message: found.append(message.payload.payload.data))
    return found


def test_both_addresses_are_told_at_the_start(both: BothWays) -> None:
    assert both.child is not None
    for address in (f"ws://{HOST}:{both.port}", f"http://{HOST}:{both.http_port}"):
        both.child.wait_output(f"listening on {address}")


def test_satellites_over_either_talk_and_propagate_to_each_other(
    pair: tuple[HiveMindHTTPClient, HiveMessageBusClient],
) -> None:
    inboxes = [heard_by(client, HiveMessageType.PROPAGATE) for client in pair]
    for client, inbox in zip(pair, reversed(inboxes), strict=True):
        talk(client, f"hello from {client.OVER_HTTP}")
        data = {"from": client.OVER_HTTP}
        inner = HiveMessage(HiveMessageType.BUS, Message("skill.call", data))
        client.emit(HiveMessage(HiveMessageType.PROPAGATE, inner))
        wait_until(inbox.copy, WAIT_S, f"what was propagated {data}")
        assert inbox == [data]


def test_a_question_is_answered_over_http(both: BothWays) -> None:
    client = both.connected(HiveMindHTTPClient, OVER_HTTP, both.http_port)
    answers = heard_by(client, HiveMessageType.QUERY)
    question = HiveMessage(HiveMessageType.BUS, utterance("what is it like"))
    client.emit(HiveMessage(HiveMessageType.QUERY, question, metadata={"query_id": "q"}))
    wait_until(lambda: len(answers) == 2, WAIT_S, "the answer and its end")
    assert answers[0]["utterance"] == "you said: what is it like"


def test_both_are_back_after_a_hub_restart(
    both: BothWays, pair: tuple[HiveMindHTTPClient, HiveMessageBusClient]
) -> None:
    for client in pair:
        talk(client, "hello")
    assert both.stop() == 0
    wait_until(lambda: not any(client.connected_event.is_set() for client in pair), WAIT_S, "the loss")
    both.up()
    for client in pair:
        assert client.connected_event.wait(WAIT_S)
        talk(client, "are you back")


def test_a_hub_with_http_alone_and_what_add_client_says_to_run(children: Children) -> None:
    hub = BothWays(children, alone=True)
    told = hub.let_in(OVER_HTTP)
    listening = hub.up()
    [line] = re.findall(r"hivemind-client (set-identity .*)", told)
    assert f"--host http://{HOST} --port {hub.http_port}" in line
    assert hub.client_command(*line.split()).wait_exit() == 0
    tested = hub.client_command("test-identity")
    assert tested.wait_exit() == 0, tested.tail()
    assert "listening on ws://" not in listening.output()
    terminal = hub.client_command("terminal")
    terminal.write("what time is it\n")
    terminal.wait_output("you said: what time is it")
    terminal.close_stdin()
    terminal.wait_exit()


def test_the_commands_with_the_address_as_options(both: BothWays) -> None:
    where = ["--key", OVER_HTTP, "--password", PASSWORD, "--host", f"http://{HOST}", "--port", str(both.http_port)]
    tested = both.client_command("test-identity", *where)
    assert tested.wait_exit() == 0, tested.tail()
    data = json.dumps({"utterances": ["from the command line"]})
    sent = both.client_command("send-mycroft", "--msg", UTTERANCE, "--payload", data, *where)
    assert sent.wait_exit() == 0, sent.tail()
    wait_until(lambda: "from the command line" in both.record.read_text("utf-8"), WAIT_S, "the utterance")
    refused = both.client_command("send-mycroft", "--msg", UTTERANCE, "--payload", data, *where, "--key", "nobody")
    assert refused.wait_exit() == 1
    assert "does not know this access key" in refused.output()
