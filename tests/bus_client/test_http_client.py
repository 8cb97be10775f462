"""The satellite over HTTP: what the clients' suite says of it, and what is its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from aiohttp import web
from click.testing import CliRunner

from helpers.http_link_hub import HttpLinkHub
from helpers.link_hub import eventually
from hivemind_bus_client import scripts
from hivemind_bus_client.address import Address, authorization
from hivemind_bus_client.driver import HandshakeTimedOut
from hivemind_bus_client.exceptions import NotConnected
from hivemind_bus_client.http_client import MAX_UNREAD, MAX_UNREAD_BYTES, HiveMindHTTPClient, Unread
from hivemind_bus_client.http_wire import open_http
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from hivemind_bus_client.serialization import decode_bitstring
from hivemind_bus_client.wire import Dial, Polling, WireClosed

from . import test_clients as shared

KEY, PASSWORD = shared.KEY, shared.PASSWORD
utterance = shared.utterance


class Clients(shared.Clients):
    """Makes HTTP clients."""

    def new(self, name="sat", **options):
        where = {"host": "http://127.0.0.1", "port": self.hub.port, "identity": self.identity(name)}
        client = HiveMindHTTPClient(**{"key": KEY, "password": PASSWORD, **where, **options})
        self.made.append(client)
        return client


@pytest.fixture
async def hub(request):
    """A hub that holds questions until it has an answer, or one that answers them at once."""
    async with HttpLinkHub({KEY: PASSWORD}, patient=request.param) as running:
        yield running


@pytest.fixture
async def clients(tmp_path, hub, monkeypatch):
    monkeypatch.setattr("hivemind_bus_client.reconnect.FIRST_DELAY_S", 0.05)
    made = Clients("threads", tmp_path, hub)
    yield made
    for client in made.made:
        await made.run(client.close)


SHARED = """
    a_conversation first_contact_pins_and_keeps_the_key_then_kk_follows credentials_come_from_the_identity
    what_is_found_nowhere_is_named making_a_client_begins_nothing
    a_protocol_of_the_application_is_bound_before_anything_is_received what_was_agreed_on_can_be_seen
    an_application_may_end_it_as_the_hub_does a_sealed_message a_wrong_password a_wrong_password_where_kk_was_possible
    a_password_changed_on_both_sides the_hub_presents_another_key the_device_presents_another_key the_hub_lost_its_pin
    a_refusal_that_comes_later_ends_it_too nothing_there something_else_there a_hub_that_comes_up_later_is_found
    a_busy_hub_is_asked_again it_is_back_after_the_hub_was_restarted emitting_while_down_fails_at_once
    emitting_while_down_waits_if_it_was_told_to dropping_the_connection_makes_a_new_one
    closing_is_for_good_and_can_be_undone closing_ends_a_connect_that_is_under_way close_ends_run_forever
    an_utterance_is_answered handlers_are_called_in_order_and_one_that_fails_hurts_nobody once_and_remove
    what_comes_in_is_made_local large_messages_go_both_ways many_threads_or_tasks_may_emit_at_once binary_data
    a_binarized_link what_cannot_be_sent_is_refused_and_harms_nothing secrets_do_not_show
""".split()  # noqa: SIM905
globals().update({f"test_{name}": vars(shared)[f"test_{name}"] for name in SHARED})
AS_RELEASED_TOO = """
    a_conversation a_wrong_password_where_kk_was_possible the_hub_lost_its_pin
    nothing_is_asked_again_and_again_while_nothing_happens what_the_hub_says_by_itself_is_heard
    an_answer_does_not_wait_for_the_interval a_session_that_is_gone_is_made_anew a_silent_hub_is_noticed
    the_commands_take_an_http_host
""".split()  # noqa: SIM905


def pytest_generate_tests(metafunc):
    if "hub" in metafunc.fixturenames:
        manners = [True, False] if metafunc.function.__name__.removeprefix("test_") in AS_RELEASED_TOO else [True]
        metafunc.parametrize("hub", manners, ids=["patient", "released"][: len(manners)], indirect=True)


# --- one request for each frame


async def test_the_session_is_that_of_a_cookie_and_is_ended_in_order(clients, hub):
    client = await clients.connected()
    await clients.run(client.emit, utterance())
    await eventually(lambda: hub.received)
    await clients.run(client.close)
    assert hub.requests[:3] == ["disconnect", "connect", "get_messages"]
    assert hub.requests.count("disconnect") == 2
    assert hub.cookies_seen[:2] == [None, None]
    assert len(set(hub.cookies_seen[2:])) == 1
    assert None not in hub.cookies_seen[2:]
    assert hub.peers == []


async def test_a_session_left_behind_is_ended_first(clients, hub):
    """A second `connect` gets no greeting from a released hub (docs/protocol.md 6)."""
    client = await clients.connected()
    old = hub.peers[0]
    again = clients.new()
    client._driver._persistence.backoff._delay_s = 60.0
    await clients.run(again.connect)
    assert old not in hub.peers
    assert hub.connections == 2


async def test_nothing_is_asked_again_and_again_while_nothing_happens(clients, hub):
    await clients.connected(poll_interval=60.0)
    asked = {"send_message": 3, "get_messages": 3, "get_binary_messages": 1 if hub.patient else 5}
    await eventually(lambda: all(hub.requests.count(name) >= times for name, times in asked.items()))
    before = -1
    while before != (before := len(hub.requests)):  # noqa: ASYNC110 - a slow machine may just be asking
        await asyncio.sleep(0.5)
    assert before < 30


async def test_what_the_hub_says_by_itself_is_heard(clients, hub):
    client = await clients.connected(poll_interval=0.2)
    heard: list = []
    client.on_mycroft("x", heard.append)
    for number in range(3):
        await asyncio.sleep(0.3)
        await hub.peers[0].tell("x", {"n": number})
        await eventually(lambda number=number: len(heard) == number + 1)
    assert hub.connections == 1


async def test_an_answer_does_not_wait_for_the_interval(clients, hub):
    client = await clients.connected(poll_interval=60.0)
    answer = await clients.run(client.wait_for_response, utterance(), "speak", timeout=60)
    assert answer.payload.data["utterance"] == "you said hello"


# --- how it ends


async def test_a_session_that_is_gone_is_made_anew(clients, hub):
    client = await clients.connected()
    events: list = []
    for event in ("open", "close", "reconnecting"):
        client.on(event, lambda event=event: events.append(event))
    hub.peers[0].abort()
    await eventually(lambda: hub.connections == 2 and client.connected and events[-2:] == ["reconnecting", "open"])
    assert events[-3:] == ["close", "reconnecting", "open"]
    await clients.run(client.emit, utterance())
    await eventually(lambda: hub.received)


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"error": "Message sending failed"}),
        (409, {"error": "Client is not connected"}),
        (200, {"error": "Client is not connected"}),
        (502, "<html>bad gateway</html>"),
        (302, "elsewhere"),
    ],
)
async def test_a_message_that_is_not_taken_is_reported_and_the_session_made_anew(clients, hub, answer):
    client = await clients.connected()
    status, body = answer
    text = body if isinstance(body, str) else json.dumps(body)
    hub.failing["send_message"] = web.Response(status=status, text=text, headers={"Location": "/connect"})
    with pytest.raises(NotConnected):
        await clients.run(client.emit, utterance())
    await eventually(lambda: not client.connected)
    hub.failing.clear()
    await eventually(lambda: client.connected)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ({"status": "messages retrieved", "b64_messages": "none"}, "no list"),
        ({"status": "messages retrieved", "b64_messages": [1]}, "no list"),
        ({"status": "messages retrieved", "b64_messages": ["*"]}, "not base64"),
        ("x" * (2 << 20), "too long"),
    ],
    ids=["none", "number", "text", "long"],
)
async def test_a_reply_that_makes_no_sense_ends_the_session(hub, monkeypatch, reply, text):
    monkeypatch.setattr("hivemind_bus_client.http_wire.MAX_REPLY_BYTES", 1 << 20)
    token = authorization("agent", KEY)
    wire = await open_http(Dial(Address("127.0.0.1", hub.port, http=True), token, None, {}, 5.0))
    wire.agreed(3)
    hub.failing["get_binary_messages"] = web.Response(text=reply if isinstance(reply, str) else json.dumps(reply))
    for use in (wire.receive, lambda: wire.send("more"), wire.receive):
        with pytest.raises(WireClosed, match=text):
            await use()
    await wire.close()
    await wire.close()
    assert "send_message" not in hub.requests


async def refusal(clients, tries_s=(0.25, 5.0, 30.0), **options) -> tuple[str, bool]:
    """Code of the refusal that a client meets, and whether it gave up for good."""
    clients.keep_psk()
    for timeout_s in tries_s:
        client = clients.new(**options)
        with pytest.raises((HandshakeTimedOut, ConnectionRefusedError)) as info:
            await clients.run(client.connect, timeout=timeout_s)
        await clients.run(client.close)
        if info.value.refusal is not None:
            break
    assert KEY not in str(info.value)
    return info.value.refusal.code, isinstance(info.value, ConnectionRefusedError)


async def test_a_wrong_key(clients, hub):
    assert await refusal(clients, (60.0,), key="unknown") == ("invalid_key", True)
    assert hub.requests.count("connect") == 1


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (400, {"error": "Missing authorization"}, ("invalid_authorization", True)),
        (403, {"error": "Invalid authorization"}, ("invalid_key", True)),
        (403, "<html>a proxy's page</html>", ("not_a_hub", False)),
        (404, {"error": "no such page"}, ("not_a_hub", False)),
        (500, {"error": "Connection failed"}, ("internal_error", False)),
        (503, {"error": "busy"}, ("busy", False)),
        (200, "<html>a router's page</html>", ("not_a_hub", False)),
        (301, "elsewhere", ("not_a_hub", False)),
        (200, "x" * (2 << 20), ("not_a_hub", False)),
    ],
)
async def test_what_is_said_at_the_door(clients, hub, status, body, found):
    text = body if isinstance(body, str) else json.dumps(body)
    hub.failing["connect"] = web.Response(status=status, text=text, headers={"Location": "/get_messages"})
    assert await refusal(clients) == found
    assert "get_messages" not in hub.requests


async def test_a_hub_that_ends_it_before_the_greeting(clients, hub):
    """As the released one does where a row has no password."""
    hub.failing["get_messages"] = web.json_response({"error": "Client is not connected"})
    assert await refusal(clients) == ("no_greeting", False)


async def test_what_is_no_http(clients):
    async def babble(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0 hello\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    try:
        assert await refusal(clients, port=server.sockets[0].getsockname()[1]) == ("not_a_hub", False)
    finally:
        server.close()


async def test_tls_where_there_is_none(clients):
    assert await refusal(clients, host="https://127.0.0.1") == ("tls_mismatch", False)


async def test_a_silent_hub_is_noticed(clients, hub, monkeypatch):
    monkeypatch.setattr("hivemind_bus_client.http_wire.LATE_S", 0.2)
    clients.keep_psk()
    client = clients.new()
    client.polling = Polling(interval_s=0.1, wait_s=0.2, timeout_s=0.5)
    await clients.run(client.connect)
    hub.freeze()
    await eventually(lambda: not client.connected)
    hub.silent = False
    await eventually(lambda: client.connected)


# --- names of its own


@pytest.mark.parametrize(
    ("host", "port", "origin"),
    [
        ("hub", None, "http://hub:5679"),
        ("ws://hub", None, "http://hub:5679"),
        ("wss://hub", 81, "https://hub:81"),
        ("http://hub:80", None, "http://hub:80"),
        ("https://hub", "443", "https://hub:443"),
        ("::1", None, "http://[::1]:5679"),
    ],
)
def test_where_the_hub_is(tmp_path, host, port, origin):
    identity = NodeIdentity(tmp_path / "_identity.json")
    client = HiveMindHTTPClient(KEY, PASSWORD, host=host, port=port, identity=identity)
    assert str(client.address) == origin


@pytest.mark.parametrize(
    ("stored", "port", "origin"),
    [
        ("ws://hub", 5678, "http://hub:5679"),
        ("hub", 8080, "http://hub:8080"),
        ("http://hub", 5678, "http://hub:5678"),
        ("https://hub", 5679, "https://hub:5679"),
    ],
)
def test_the_usual_port_of_a_websocket_is_not_taken_for_one_of_http(tmp_path, stored, port, origin):
    identity = NodeIdentity(tmp_path / "_identity.json")
    identity.default_master, identity.default_port = stored, port
    assert str(HiveMindHTTPClient(KEY, PASSWORD, identity=identity).address) == origin


async def test_the_names_of_the_released_class(clients, hub):
    clients.keep_psk()
    client = clients.new()
    for use in (client.get_messages, client.get_binary_messages, lambda: client.emit(utterance())):
        with pytest.raises(ConnectionAbortedError, match=r"self\.connect\(\) needs to be called first!"):
            use()
    assert not client.is_alive()
    assert await clients.run(client.connect, None, None, "attic") == {"status": "Connected"}
    assert client.connected
    assert client.connected.is_set()
    assert client.handshake_event.is_set()
    assert client.is_alive()
    assert (client.useragent, hub.peers[0].useragent.rstrip("-")) == ("HiveMindHTTPClientV1.0",) * 2
    heard: list = []
    client.on_mycroft("speak", heard.append)
    client.remove_mycroft("speak", heard.append)
    await clients.run(client.wait_for_response, utterance(), "ovos.utterance.handled", timeout=60)
    assert heard == []
    assert await clients.run(client.disconnect) == {"status": "Disconnected"}
    assert await clients.run(client.disconnect) == {"error": "Already Disconnected"}
    assert client.stopped
    assert not client.connected
    client.start()
    assert not client.stopped
    await clients.run(client.wait_for_handshake)
    await clients.run(client.shutdown)
    client.join()
    assert client.stopped


async def test_messages_can_be_fetched_instead_of_listened_to(clients, hub):
    client = await clients.connected()
    await hub.peers[0].tell("x", {"n": 1})
    data = HiveMessage(HiveMessageType.BINARY, b"abc", bin_type=HiveMindBinaryPayloadType.FILE, metadata={"a": "b"})
    seen: list = []
    client.on(HiveMessageType.BINARY, seen.append)
    await hub.peers[0].send(data)
    await eventually(lambda: seen)
    [text] = client.get_messages()
    assert json.loads(text)["payload"]["data"] == {"n": 1}
    [frame] = client.get_binary_messages()
    assert (decode_bitstring(frame).payload, decode_bitstring(frame).metadata) == (b"abc", {"a": "b"})
    assert (client.get_messages(), client.get_binary_messages()) == ([], [])


def test_what_nobody_fetches_is_bounded():
    unread, message = Unread(), HiveMessage(HiveMessageType.BUS, Message("x"))
    for _ in range(MAX_UNREAD + 1):
        unread.add(message, 1)
    assert len(unread.take(binary=False)) == MAX_UNREAD
    unread.add(message, MAX_UNREAD_BYTES)
    unread.add(message, 1)
    assert len(unread.take(binary=False)) == 1
    unread.add(message, MAX_UNREAD_BYTES + 1)
    assert unread.take(binary=False) == []


# --- around it


def test_without_the_package_it_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "from hivemind_bus_client.http_client import HiveMindHTTPClient\n"
        "client = HiveMindHTTPClient('key', 'password', host='127.0.0.1')\n"
        "try:\n    client.connect()\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "the HTTP client needs a package more: pip install 'hivemind-mesh[http]'\n"
    assert done.stderr == ""


async def test_a_program_that_just_ends_leaves_no_session_behind(clients, hub):
    clients.keep_psk()
    code = (
        "import sys\nfrom hivemind_bus_client.http_client import HiveMindHTTPClient as Client\n"
        "from hivemind_bus_client.identity import NodeIdentity\n"
        "client = Client(*sys.argv[1:3], host='127.0.0.1', port=sys.argv[3], identity=NodeIdentity(sys.argv[4]))\n"
        "client.connect()\nraise SystemExit(3)"
    )
    argv = [sys.executable, "-c", code, KEY, PASSWORD, str(hub.port), str(clients.folder / "sat" / "_identity.json")]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    assert (hub.connections, hub.peers) == (1, [])


async def test_the_commands_take_an_http_host(clients, hub):
    clients.keep_psk()
    runner = CliRunner()

    async def run(*arguments):
        return await asyncio.to_thread(runner.invoke, scripts.hmclient_cmds, list(arguments))

    about = ["--key", KEY, "--password", PASSWORD, "--host", "http://127.0.0.1"]
    stored = await run("set-identity", *about, "--port", str(hub.port))
    assert stored.exit_code == 0, stored.output
    found = await run("test-identity")
    assert found.exit_code == 0, found.output
    sent = await run("send-mycroft", "--msg", "a.type", "--host", f"http://127.0.0.1:{hub.port}")
    assert sent.exit_code == 0, sent.output
    assert hub.received[0].payload.msg_type == "a.type"
    hub.denied_types.add("b.type")
    denied = await run("send-mycroft", "--msg", "b.type")
    assert denied.exit_code == 1
    assert "hivemind-core allow-msg b.type" in denied.output
    forgotten = await run("forget-server", "--host", "http://127.0.0.1", "--port", str(hub.port))
    assert f"forgot pinned key for 127.0.0.1:{hub.port}" in forgotten.output
    assert (await run("set-identity", "--host", "ws://127.0.0.1")).exit_code == 0
    assert NodeIdentity().default_master == "ws://127.0.0.1"
