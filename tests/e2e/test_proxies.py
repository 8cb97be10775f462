"""Hub and chatroom behind the reverse proxies that `deploy/` shows how to set up: everything passes, and who comes is
known by the address of their own, which they cannot choose."""

from __future__ import annotations

import json
import re
import ssl
from functools import partial
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from helpers.chatroom_process import BIN, KEY, PASSWORD, ChatroomProcess
from helpers.hub_process import HOST, HubProcess
from helpers.processes import Children, free_port, wait_until
from helpers.proxies import CHATROOM, HUB, HUB_HTTP, Proxy
from hivemind_bus_client import websocket_wire
from hivemind_bus_client.client import HiveMessageBusClient
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import Message

CALLER, SPOOFED = "127.0.0.7", "203.0.113.9"
UTTERANCE = Message("recognizer_loop:utterance", {"utterances": ["what time is it"], "lang": "en-us"})


@pytest.fixture(params=["nginx", "caddy"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Site:
    """A hub with both transports, a proxy in front of it, and satellites that come from an address of their own and
    pretend to come from another."""

    def __init__(self, children: Children, kind: str, trusted: str, room_port: int = 9) -> None:
        self.folder = children.folder
        self.hub = HubProcess(children, BIN / "hivemind-core", free_port())
        http_port = free_port()
        block = {"host": HOST, "trusted_proxy_cidrs": trusted}
        network = {
            "hivemind-websocket-plugin": {**block, "port": self.hub.port},
            "hivemind-http-plugin": {**block, "port": http_port},
        }
        self.hub.configure({"agent_protocol": {"module": "builtin"}, "network_protocol": network})
        self.hub.add_client(KEY, PASSWORD)
        self.running = self.hub.start()
        self.running.wait_port(http_port)
        self.proxy = Proxy(children, kind, {HUB: self.hub.port, HUB_HTTP: http_port, CHATROOM: room_port})
        self.port = self.proxy.ports["hub.example.org"]

    def seen(self) -> set[str]:
        """The addresses that satellites came from, as the hub has them."""
        return set(re.findall(r"joined from (\S+)", self.running.output()))


@pytest.fixture(autouse=True)
def liars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Satellites of this process say in a header that they are somewhere else."""
    headers = {"X-Forwarded-For": SPOOFED, "X-Real-IP": SPOOFED}
    dial = partial(websocket_wire.ConnectHere, local_addr=(CALLER, 0), additional_headers=headers)
    monkeypatch.setattr(websocket_wire, "ConnectHere", dial)
    connector = partial(aiohttp.TCPConnector, local_addr=(CALLER, 0))
    monkeypatch.setattr(aiohttp, "TCPConnector", connector)
    monkeypatch.setattr(aiohttp, "ClientSession", partial(aiohttp.ClientSession, headers=headers))


def converse(client: Any) -> str:
    client.connect()
    try:
        answer = client.wait_for_response(UTTERANCE, "speak", timeout=60)
        assert answer is not None
        return str(answer.payload.data["utterance"])
    finally:
        client.close()


def satellite(site: Site, transport: str) -> Any:
    identity = NodeIdentity(site.folder / "satellite" / "_identity.json")
    known = {"key": KEY, "password": PASSWORD, "port": site.port, "identity": identity}
    if transport == "wss":
        return HiveMessageBusClient(host="wss://localhost", **known)
    return HiveMindHTTPClient(host="https://localhost", **known)


@pytest.mark.parametrize(("trusted", "seen"), [("127.0.0.1,::1", CALLER), ("", "127.0.0.1")])
def test_satellites_join_and_come_from_where_they_are(children: Children, kind: str, trusted: str, seen: str) -> None:
    site = Site(children, kind, trusted)
    for transport in ("wss", "https"):
        assert converse(satellite(site, transport)).startswith("It is ")
    wait_until(lambda: site.running.output().count("joined from") >= 2, 60, "both in the hub's log")
    assert site.seen() == {seen}


def test_straight_to_the_hub_no_header_is_believed(children: Children) -> None:
    site = Site(children, "nginx", "10.0.0.0/8")
    site.port = site.hub.port
    identity = NodeIdentity(site.folder / "satellite" / "_identity.json")
    client = HiveMessageBusClient(host=HOST, port=site.hub.port, key=KEY, password=PASSWORD, identity=identity)
    assert converse(client).startswith("It is ")
    assert site.seen() == {CALLER}


def test_no_access_key_stands_in_its_logs_and_nothing_else_is_reached(children: Children, kind: str) -> None:
    site = Site(children, kind, "127.0.0.1")
    assert converse(satellite(site, "wss")).startswith("It is ")
    assert ask(site.port, "/_healthz")[0] == 404
    assert ask(site.port, "/connect")[0] == 405, "the hub answers: this is asked with POST"
    site.hub.stop()
    client = satellite(site, "wss")
    with pytest.raises(RuntimeError):
        client.connect(timeout=2)
    client.close()
    site.proxy.child.stop()
    assert "authorization" not in site.proxy.logs()


# --- the chatroom ---------------------------------------------------------------------------------------------


def ask(port: int, path: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, str]:
    connection = HTTPSConnection("localhost", port, timeout=60, context=ssl._create_unverified_context())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, {"X-Forwarded-For": SPOOFED, **named})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def room(children: Children, kind: str, request: pytest.FixtureRequest) -> tuple[ChatroomProcess, int]:
    """A chatroom without a hub, behind a proxy."""
    made = ChatroomProcess(children, free_port(), "--host", HOST, *getattr(request, "param", ()))
    made.start(linked=False)
    proxy = Proxy(children, kind, {CHATROOM: made.port, HUB: 9, HUB_HTTP: 9})
    return made, proxy.ports["chat.example.org"]


TRUSTED = pytest.mark.parametrize("room", [("--trusted-proxy", "127.0.0.1")], indirect=True)


@TRUSTED
def test_the_page_what_is_said_and_the_news(room: tuple[ChatroomProcess, int]) -> None:
    chatroom, port = room
    status, page = ask(port, "/chatroom/alice/hall/en")
    assert (status, "data-room" in page) == (200, True)
    said = json.dumps({"username": "alice", "site_id": "hall", "lang": "en", "message": "hello"})
    headers = {"Content_Type": "application/json", "Origin": f"https://localhost:{port}"}
    assert ask(port, "/send_message", "POST", said, **headers)[0] == 202
    assert ask(port, "/send_message", "POST", said, **{**headers, "Origin": "https://evil.example"})[0] == 403
    connection = HTTPSConnection("localhost", port, timeout=60, context=ssl._create_unverified_context())
    connection.request("GET", "/events?room=hall", headers={"Accept": "text/event-stream"})
    stream = connection.getresponse()
    assert stream.status == 200
    lines = [stream.readline().decode() for _ in range(4)]
    assert any("event: hello" in line for line in lines), lines
    connection.close()
    assert f"{SPOOFED} " not in chatroom.log()


def test_without_the_option_nobody_is_let_in_by_a_proxy(room: tuple[ChatroomProcess, int]) -> None:
    status, text = ask(room[1], "/chatroom/alice/hall/en")
    assert status == 403
    assert "--trusted-proxy" in text


def test_what_the_examples_say_of_the_hub_is_what_it_reads(tmp_path: Path) -> None:
    """The piece of server.json in the comment."""
    from helpers.proxies import DEPLOY
    from hivemind_core.config import load_config, warnings

    text = (DEPLOY / "nginx" / "hivemind.conf").read_text("utf-8")
    document = "".join(line[4:] for line in text.splitlines() if line.startswith("#   "))
    (tmp_path / "server.json").write_text(document)
    config = load_config(tmp_path / "server.json")
    assert list(warnings(config)) == []
    assert config.http is not None
    for block in (config.websocket, config.http):
        assert block.host == "127.0.0.1"
        assert block.proxies.client_address("127.0.0.1", lambda _: [CALLER]) == CALLER
