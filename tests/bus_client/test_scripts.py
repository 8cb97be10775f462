"""`hivemind-client` as a person or a program meets it: its own process, a real hub, private folders."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers.link_hub import NODE_ID, LinkHub, derive, eventually
from hivemind_bus_client import scripts
from hivemind_bus_client.exceptions import NotConnected
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.psk_cache import PskCache

KEY, PASSWORD = "an-access-key", "correct horse battery staple"


@dataclass
class Outcome:
    exit_code: int
    stdout: str
    stderr: str


class Satellite:
    """One account of a machine, and the command in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    @property
    def folder(self) -> Path:
        return self.home / ".config" / "hivemind"

    @property
    def identity(self) -> NodeIdentity:
        return NodeIdentity(self.folder / "_identity.json")

    def set_up(self, hub: LinkHub, key: str = KEY, password: str = PASSWORD) -> None:
        """As set-identity and one earlier connection leave it, without spending their time."""
        identity = self.identity
        identity.access_key, identity.password, identity.public_key = key, password, "PEM"
        identity.default_master, identity.default_port = "ws://127.0.0.1", hub.port
        identity.save()
        PskCache(identity.noise_key).save(key, NODE_ID, derive(password, NODE_ID), password)

    async def start(self, *arguments: str, **options):
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hivemind_bus_client.scripts",
            *arguments,
            env=self.environment,
            **{**dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE), **options},
        )

    async def run(self, *arguments: str, stdin: str = "") -> Outcome:
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        return Outcome(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
def satellite(tmp_path):
    return Satellite(tmp_path)


@pytest.fixture
async def hub():
    async with LinkHub({KEY: PASSWORD}) as running:
        yield running


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run a command in this process, for what needs no hub."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def run(*arguments: str):
        return CliRunner().invoke(scripts.hmclient_cmds, arguments)

    return run


def one_line_error(outcome: Outcome) -> str:
    """The error of a command that failed as all of them must: one line, exit code 1, nothing on stdout after."""
    lines = outcome.stderr.strip().splitlines()
    assert outcome.exit_code == 1, outcome
    assert lines[-1].startswith("Error: ")
    assert sum(line.startswith("Error: ") for line in lines) == 1
    assert "Traceback" not in outcome.stderr
    return lines[-1]


# --- set-identity


def test_the_first_set_identity_makes_keys_and_says_where(invoke, tmp_path):
    result = invoke("set-identity", "--key", "k", "--password", "p", "--siteid", "kitchen")
    path = tmp_path / "hivemind" / "_identity.json"
    assert result.exit_code == 0
    assert result.stdout.startswith("PUBKEY: -----BEGIN PUBLIC KEY-----\n")
    assert result.stdout.endswith(f"-----END PUBLIC KEY-----\nidentity saved: {path}\n")
    stored = json.loads(path.read_text())
    assert stored["secret_key"] == "HiveMindComs.pem"
    assert (stored["access_key"], stored["password"], stored["site_id"]) == ("k", "p", "kitchen")
    assert (stored["default_master"], stored["default_port"]) == ("ws://127.0.0.1", 5678)
    for name in os.listdir(path.parent):
        assert stat.S_IMODE(os.stat(path.parent / name).st_mode) == 0o600


def test_later_ones_change_what_is_given_and_nothing_else(invoke, tmp_path):
    invoke("set-identity", "--key", "k", "--password", "p", "--host", "wss://hub ")
    result = invoke("set-identity", "--port", "5700")
    path = tmp_path / "hivemind" / "_identity.json"
    assert result.stdout == f"identity saved: {path}\n"
    stored = json.loads(path.read_text())
    assert (stored["default_master"], stored["default_port"]) == ("wss://hub", 5700)
    assert (stored["access_key"], stored["password"]) == ("k", "p")
    invoke("set-identity", "--host", "other")
    stored = json.loads(path.read_text())
    assert (stored["default_master"], stored["default_port"]) == ("ws://other", 5700)


def test_a_new_password_drops_the_keys_derived_from_the_old(invoke, tmp_path):
    invoke("set-identity", "--key", "k", "--password", "p")
    identity = NodeIdentity()
    PskCache(identity.noise_key).save("k", "node", bytes(32), "p")
    invoke("set-identity", "--password", "p", "--siteid", "x")
    assert PskCache(identity.noise_key).load("k", "node", "p")
    invoke("set-identity", "--password", "q")
    assert PskCache(identity.noise_key).load("k", "node", "p", trusted=True) is None


def test_an_application_gets_a_file_of_its_own(invoke, tmp_path):
    invoke("set-identity", "--key", "shared")
    invoke("--app", "sat", "set-identity", "--key", "own")
    assert NodeIdentity(app_name="sat").access_key == "own"
    assert NodeIdentity().access_key == "shared"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "please set at least one of key/password/siteid/host[/port]"),
        (["--port", "5678"], "give --host too"),
        (["--host", "ftp://hub"], "host 'ftp://hub'"),
        (["--host", "hub", "--port", "70000"], "port 70000"),
    ],
)
def test_set_identity_says_what_is_wrong_and_stores_nothing(invoke, tmp_path, arguments, text):
    result = invoke("set-identity", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert text in result.stderr
    assert not (tmp_path / "hivemind").exists()


def test_a_damaged_identity_is_named_and_kept(invoke, tmp_path):
    (tmp_path / "hivemind").mkdir()
    (tmp_path / "hivemind" / "_identity.json").write_text("{")
    result = invoke("set-identity", "--key", "k")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "_identity.json" in result.stderr
    assert (tmp_path / "hivemind" / "_identity.json").read_text() == "{"


# --- the others, without a hub


def test_no_command_and_an_unknown_one_show_the_usage(invoke):
    assert invoke().exit_code == 2
    result = invoke("nosuch")
    assert result.exit_code == 2
    assert "No such command 'nosuch'" in result.stderr


SENDERS = ("send-mycroft", "escalate", "propagate")


@pytest.mark.parametrize("command", [*SENDERS, "terminal", "test-identity", "ping"])
def test_without_an_identity_every_command_says_what_to_do(invoke, command):
    arguments = ["--msg", "x"] if command in SENDERS else []
    result = invoke(command, *arguments)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: NodeIdentity not set, please pass key and password or call 'hivemind-client set-identity'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "--msg"),
        (["--msg", "x", "--payload", "{"], "--payload is not JSON"),
        (["--msg", "x", "--payload", "[1]"], "JSON object"),
    ],
)
@pytest.mark.parametrize("command", SENDERS)
def test_arguments_are_checked_before_connecting(invoke, command, arguments, text):
    result = invoke(command, "--key", "k", "--password", "p", "--host", "192.0.2.1", *arguments)
    assert result.exit_code == 1
    assert text in result.stderr


def test_forgetting_a_server(invoke):
    assert "host not set" in invoke("forget-server").stderr
    NodeIdentity().pin_noise_key("hub:5678", "ab")
    result = invoke("forget-server", "--host", "ws://other")
    assert result.stdout == "no pinned key for other:5678\npinned servers: hub:5678\n"
    result = invoke("forget-server", "--host", "hub")
    assert result.stdout == ("forgot pinned key for hub:5678\nthe next connection will trust and pin the key it sees\n")
    assert invoke("forget-server", "--host", "hub").stdout.endswith("pinned servers: none\n")


def test_new_rsa_keys(invoke, tmp_path):
    invoke("set-identity", "--key", "k")
    old = NodeIdentity().public_key
    result = invoke("reset-pgp")
    assert result.stdout.startswith(f"PUBKEY: {NodeIdentity().public_key}\nidentity saved: ")
    assert NodeIdentity().public_key != old


def test_commands_can_be_used_by_their_own(tmp_path, monkeypatch):
    """Without the group around them they fail in the same way."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    result = CliRunner().invoke(scripts.identity_set, [])
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: please set at least one of key/password/siteid/host[/port]\n",
    )
    with pytest.raises(ValueError, match="please set at least one of"):
        scripts.identity_set.callback("", "", "", None, "")
    assert CliRunner().invoke(scripts.identity_set, ["--key", "k"]).exit_code == 0
    assert "PUBKEY" in CliRunner().invoke(scripts.reset_keys).stdout
    arguments = ["--key", "k", "--password", "p", "--host", "127.0.0.1", "--port", "1", "--timeout", "0.1"]
    result = CliRunner().invoke(scripts.test_identity, arguments)
    assert result.exit_code == 1
    assert "Error: could not reach HiveMind within 0.1s." in result.stderr


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError("HiveMind refused this identity: no"), "HiveMind refused this identity: no"),
        (
            RuntimeError("timed out waiting for handshake"),
            "could not reach HiveMind within 30s. Check the host and port in the identity file, and that"
            " hivemind-core is listening.",
        ),
    ],
)
def test_how_connecting_fails_is_one_line(invoke, monkeypatch, error, text):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(scripts.HiveMessageBusClient, "connect", fail)
    result = invoke("test-identity", "--key", "k", "--password", "p", "--host", "127.0.0.1")
    assert (result.exit_code, result.stderr) == (1, f"Error: {text}\n")


def test_a_failure_nobody_thought_of_is_one_line_too(invoke, monkeypatch):
    def broken(*_, **__):
        raise KeyError("odd")

    monkeypatch.setattr(scripts, "NodeIdentity", broken)
    result = invoke("reset-pgp")
    assert (result.exit_code, result.stderr) == (1, "Error: KeyError: 'odd'\n")
    assert isinstance(invoke("--debug", "reset-pgp").exception, KeyError)


def test_the_log_steers_no_terminal(invoke, monkeypatch):
    def loud(*_, **__):
        logging.getLogger("hivemind_bus_client.driver").debug("the hub says %s", "\x1b[31mred\a")
        raise NotConnected("not there")

    monkeypatch.setattr(scripts, "NodeIdentity", loud)
    logger = logging.getLogger("hivemind_bus_client")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    logged = invoke("--debug", "reset-pgp").stderr
    assert "the hub says \\x1b[31mred\\x07\n" in logged


# --- test-identity


async def test_an_identity_that_works(satellite, hub):
    satellite.set_up(hub)
    outcome = await satellite.run("test-identity")
    assert outcome == Outcome(0, "== Identity successfully connected to HiveMind!\n", "")


async def test_a_wrong_key_says_so_at_once(satellite, hub):
    satellite.set_up(hub, key="unknown")
    error = one_line_error(await satellite.run("test-identity"))
    assert error.startswith("Error: HiveMind refused this identity: The hub does not know this access key.")
    assert "hivemind-core add-client" in error


async def test_a_wrong_password_says_so_at_once(satellite, hub):
    satellite.set_up(hub)
    error = one_line_error(await satellite.run("test-identity", "--password", "wrong"))
    assert "The password does not match" in error
    assert hub.connections == 2  # the hub may try the other of two passwords (docs/protocol.md 7.5)
    assert PskCache(satellite.identity.noise_key).load(KEY, NODE_ID, PASSWORD)  # the stored password is still right


async def test_another_hub_at_the_address_says_so(satellite, hub):
    satellite.set_up(hub)
    satellite.identity.pin_noise_key(f"127.0.0.1:{hub.port}", "ab" * 32)
    error = one_line_error(await satellite.run("test-identity"))
    assert "presents another key" in error
    assert "hivemind-client forget-server" in error


async def test_another_device_with_this_key_says_so(satellite, hub):
    satellite.set_up(hub)
    hub.pins[KEY] = bytes(range(32))
    error = one_line_error(await satellite.run("test-identity"))
    assert "from another device" in error


async def test_nobody_there_says_so_in_time(satellite, hub):
    satellite.set_up(hub)
    await hub.stop()
    outcome = await satellite.run("test-identity", "--timeout", "3")
    error = one_line_error(outcome)
    assert error.startswith("Error: could not reach HiveMind within 3s. Nothing answers at the hub's address.")
    assert "Trying for 3 s" in outcome.stderr
    await hub.start()


# --- send-mycroft

SEND = ("send-mycroft", "--msg", "recognizer_loop:utterance", "--payload", '{"utterances": ["hello"]}')


async def test_sending_a_message(satellite, hub):
    satellite.set_up(hub)
    assert await satellite.run(*SEND) == Outcome(0, "== connected to HiveMind\n", "")
    assert hub.received[0].body["data"] == {"utterances": ["hello"]}
    await satellite.run(*SEND, "--siteid", "attic")
    assert hub.utterances[1].body["context"]["session"]["site_id"] == "attic"


@pytest.mark.parametrize("kind", ["escalate", "propagate"])
async def test_sending_a_message_to_others(satellite, hub, kind):
    satellite.set_up(hub)
    arguments = (kind, *SEND[1:])
    assert await satellite.run(*arguments) == Outcome(0, "== connected to HiveMind\n", "")
    assert await satellite.run(*arguments, "--siteid", "attic") == Outcome(0, "== connected to HiveMind\n", "")
    carrying_bus = [message for message in hub.received if message.payload.msg_type == "bus"]
    for sent, site in zip(carrying_bus, ["unknown", "attic"], strict=True):
        assert (sent.msg_type, sent.payload.msg_type, sent.target_site_id) == (kind, "bus", site)
        assert sent.payload.body["type"] == "recognizer_loop:utterance"
        assert sent.payload.body["data"] == {"utterances": ["hello"]}


async def test_a_hub_that_ends_the_connection_over_a_message_is_quoted(satellite, hub):
    satellite.set_up(hub)

    async def refuse(peer, message):
        await peer.close(4003, "not permitted")

    hub.received_hook = refuse
    error = one_line_error(await satellite.run("escalate", "--msg", "x"))
    assert "permi" in error


async def test_what_is_propagated_is_announced(satellite, hub):
    """Those who trust this satellite's key learn that what comes next is its own."""
    satellite.set_up(hub)
    await satellite.run("propagate", *SEND[1:])
    announced, sent = hub.received
    claim = announced.payload.body
    assert (announced.payload.msg_type, sent.payload.msg_type) == ("ping", "bus")
    assert (claim["public_key"], bool(claim["flood_id"])) == ("PEM", True)
    assert claim["peer"].startswith("unnamed-node::")


# --- query and cascade


def parts(kind: str, *said: tuple[str, str], end: str = "hive.query.complete"):
    """Answer as hubs do: what each of them says, and that this is all."""

    async def answer(peer, message):
        if message.msg_type != kind:
            return
        metadata = {**message.metadata, "is_response": True}
        for responder, utterance in said:
            await peer.send(response(kind, {**metadata, "responder_peer": responder}, "speak", utterance=utterance))
        await peer.send(response(kind, metadata, end, error="no_answer"))

    return answer


def response(kind: str, metadata: dict, topic: str, **data) -> HiveMessage:
    return HiveMessage(kind, HiveMessage("bus", Message(topic, data)), metadata=metadata)


async def test_a_query_prints_the_answer_as_it_comes(satellite, hub):
    satellite.set_up(hub)
    hub.received_hook = parts("query", ("", "It is noon."), ("", "Or so."))
    outcome = await satellite.run("query", "--msg", "what time is it")
    assert outcome == Outcome(0, "== connected to HiveMind\n>  It is noon.\n>  Or so.\n", "")
    (asked,) = hub.received
    assert (asked.msg_type, asked.payload.msg_type) == ("query", "bus")
    assert asked.payload.body["data"] == {"utterances": ["what time is it"]}
    assert asked.payload.body["type"] == "recognizer_loop:utterance"


async def test_a_question_with_all_its_data(satellite, hub):
    satellite.set_up(hub)
    hub.received_hook = parts("query", ("", "Bom dia."))
    payload = '{"utterances": ["olá"], "lang": "pt-PT"}'
    assert (await satellite.run("query", "--payload", payload)).exit_code == 0
    assert (await satellite.run("query", "--msg", "ovos.utterance.handle", "--payload", payload)).exit_code == 0
    assert [asked.payload.body["type"] for asked in hub.received] == [
        "recognizer_loop:utterance",
        "ovos.utterance.handle",
    ]
    assert hub.received[0].payload.body["data"] == {"utterances": ["olá"], "lang": "pt-PT"}


async def test_a_query_for_programs_prints_json_alone(satellite, hub):
    satellite.set_up(hub)
    hub.received_hook = parts("query", ("PEM of a hub", "It is noon."))
    outcome = await satellite.run("query", "--msg", "what time is it", "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "== connected to HiveMind\n")
    found = json.loads(outcome.stdout)
    assert found["answers"] == [{"utterance": "It is noon.", "lang": None, "responder": "PEM of a hub"}]
    assert found["query_id"] == hub.received[0].metadata["query_id"]


async def test_a_query_without_an_answer_fails(satellite, hub):
    satellite.set_up(hub)
    hub.received_hook = parts("query", end="hive.query.timeout")
    outcome = await satellite.run("query", "--msg", "what time is it")
    assert one_line_error(outcome) == "Error: nobody answered: no assistant that was asked has an answer"
    outcome = await satellite.run("query", "--msg", "what time is it", "--json")
    assert (outcome.exit_code, json.loads(outcome.stdout)["answers"]) == (1, [])
    hub.received_hook = lambda peer, message: asyncio.sleep(0)
    outcome = await satellite.run("query", "--msg", "what time is it", "--timeout", "0.2")
    assert one_line_error(outcome) == "Error: nobody answered within 0.2 s"


async def test_a_cascade_prints_what_everybody_says(satellite, hub):
    satellite.set_up(hub)
    hub.received_hook = parts("cascade", ("near", "It is noon."), ("far", "It is night."))
    outcome = await satellite.run("cascade", "--msg", "what time is it", "--timeout", "2.5")
    assert outcome == Outcome(0, "== connected to HiveMind\n>  It is noon.\n>  It is night.\n", "")
    outcome = await satellite.run("cascade", "--msg", "what time is it", "--timeout", "2.5", "--json")
    assert [answer["responder"] for answer in json.loads(outcome.stdout)["answers"]] == ["near", "far"]
    hub.received_hook = parts("cascade")
    outcome = await satellite.run("cascade", "--msg", "what time is it", "--timeout", "0.2")
    assert one_line_error(outcome) == "Error: nobody answered within 0.2 s"


@pytest.mark.parametrize("command", ["query", "cascade"])
async def test_a_question_that_the_hub_does_not_permit(satellite, hub, command):
    satellite.set_up(hub)

    async def deny(peer, message):
        data = {"denied_type": "recognizer_loop:utterance", "code": "acl_disallowed_type", "reason": "no"}
        await peer.tell("hive.policy.denied", data)

    hub.received_hook = deny
    error = one_line_error(await satellite.run(command, "--msg", "what time is it"))
    assert "the hub denied recognizer_loop:utterance" in error
    hub.received_hook = lambda peer, message: peer.close(4003, "QUERY is not allowed for this client")
    assert "permi" in one_line_error(await satellite.run(command, "--msg", "what time is it"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "please say what to ask with --msg"),
        (["--msg", " "], "please say what to ask with --msg"),
        (["--msg", "recognizer_loop:utterance"], "asks nothing"),
        (["--payload", "{"], "--payload is not JSON"),
    ],
)
@pytest.mark.parametrize("command", ["query", "cascade"])
def test_questions_are_checked_before_connecting(invoke, command, arguments, text):
    result = invoke(command, "--key", "k", "--password", "p", "--host", "192.0.2.1", *arguments)
    assert result.exit_code == 1
    assert text in result.stderr


# --- ping


async def answer_ping(peer, message):
    """As three nodes of a mesh answer, one of them twice."""
    flood_id = message.payload.body["flood_id"]
    for label, site in (("hub::1", None), ("kitchen::2", "kitchen"), ("kitchen::2", "kitchen")):
        inner = HiveMessage(
            HiveMessageType.PING, {"flood_id": flood_id, "peer": label, "site_id": site, "timestamp": 1}
        )
        await peer.send(HiveMessage(HiveMessageType.PROPAGATE, inner))


async def test_ping_draws_a_map_of_who_answers(satellite, hub):
    satellite.set_up(hub)
    hub.received_hook = answer_ping
    outcome = await satellite.run("ping", "--timeout", "2.5")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    assert lines[:5] == [
        "== connected to HiveMind, sending PING (timeout=2.5s)",
        "  PING from hub::1",
        "  PING from kitchen::2  site=kitchen",
        "",
        "== Hive Map ==",
    ]
    assert lines[5].startswith("[self] unnamed-node::")
    assert len(hub.received) == 1  # it does not answer its own


async def test_ping_for_programs_prints_json_alone(satellite, hub):
    satellite.set_up(hub)
    hub.received_hook = answer_ping
    outcome = await satellite.run("ping", "--timeout", "2.5", "--json")
    assert outcome.exit_code == 0
    assert {node["peer"] for node in json.loads(outcome.stdout)["nodes"]} == {"hub::1", "kitchen::2"}
    assert "PING from kitchen::2" in outcome.stderr


async def test_ping_that_nobody_answers_fails(satellite, hub):
    satellite.set_up(hub)
    outcome = await satellite.run("ping", "--timeout", "0.1")
    assert outcome.exit_code == 1
    assert outcome.stdout.endswith("[No responses received within the timeout window]\n")
    outcome = await satellite.run("ping", "--timeout", "0.1", "--json")
    assert (outcome.exit_code, json.loads(outcome.stdout)) == (1, {"nodes": [], "edges": []})


async def test_ping_that_the_hub_does_not_permit_says_so(satellite, hub):
    satellite.set_up(hub)

    async def refuse(peer, message):
        await peer.close(4003, "not permitted")

    hub.received_hook = refuse
    assert "permi" in one_line_error(await satellite.run("ping", "--timeout", "20"))
    hub.received_hook = lambda peer, message: peer.close(1011, "internal error handling PROPAGATE")
    one_line_error(await satellite.run("ping", "--timeout", "20"))


async def test_a_denial_is_told_with_its_cure(satellite, hub):
    satellite.set_up(hub)
    hub.denied_types.add("mycroft.stop")
    outcome = await satellite.run("send-mycroft", "--msg", "mycroft.stop")
    assert outcome.stdout == "== connected to HiveMind\n"
    assert one_line_error(outcome) == (
        "Error: the hub denied mycroft.stop: mycroft.stop not in allowed_types. "
        "On the hub run `hivemind-core allow-msg mycroft.stop 4`."
    )


async def test_the_command_needs_no_identity_file(satellite, hub):
    options = ("--key", KEY, "--password", PASSWORD, "--host", "127.0.0.1", "--port", str(hub.port))
    outcome = await satellite.run(*SEND, *options)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert satellite.identity.password is None


# --- terminal with lines from a program


async def test_the_answers_to_piped_lines_are_waited_for(satellite, hub):
    satellite.set_up(hub)

    async def take_time(peer, message):
        await asyncio.sleep(0.2)
        await hub.speak(peer, message)

    hub.answer = take_time
    outcome = await satellite.run("terminal", stdin="one\n\n  two  \n")
    assert outcome == Outcome(0, "== connected to HiveMind\n>  you said one\n>  you said two\n", "")


async def test_no_input_ends_quietly(satellite, hub):
    satellite.set_up(hub)
    assert await satellite.run("terminal") == Outcome(0, "== connected to HiveMind\n", "")


async def test_denied_lines_are_told_and_end_in_failure(satellite, hub):
    satellite.set_up(hub)
    hub.denied_types.add("recognizer_loop:utterance")
    outcome = await satellite.run("terminal", stdin="hello\n")
    assert outcome.exit_code == 1
    assert "the hub denied recognizer_loop:utterance" in outcome.stderr
    assert "hivemind-core allow-msg recognizer_loop:utterance 4" in outcome.stderr


async def test_what_others_say_cannot_steer_the_terminal(satellite, hub):
    satellite.set_up(hub)
    outcome = await satellite.run("terminal", stdin="\x1b[2Jx\n")
    assert outcome.stdout.splitlines()[-1] == ">  you said  [2Jx"


# --- terminal with a person


class Person:
    """Sits at a terminal in which the command runs."""

    def __init__(self, satellite: Satellite) -> None:
        self.satellite = satellite
        self.seen = ""

    async def __aenter__(self) -> Person:
        import pty

        self.master, slave = pty.openpty()
        self.satellite.environment["TERM"] = "xterm"
        self.process = await self.satellite.start("terminal", stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        asyncio.get_running_loop().add_reader(self.master, self._read)
        return self

    def _read(self) -> None:
        try:
            data = os.read(self.master, 4096)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self.master)
        self.seen += data.decode(errors="replace")

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.master)
        os.close(self.master)
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def sees(self, text: str) -> None:
        try:
            await eventually(lambda: text in self.seen)
        except AssertionError:
            raise AssertionError(f"{text!r} is not in {self.seen!r}") from None
        self.seen = self.seen.split(text, 1)[1]

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    async def is_done(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 60)


async def test_a_person_talks_and_leaves(satellite, hub):
    satellite.set_up(hub)
    async with Person(satellite) as person:
        await person.sees("== connected to HiveMind")
        await person.sees("Utterance:")
        person.types("hello pty\n")
        await person.sees(">  you said hello pty")
        await person.sees("Utterance:")
        person.types("\x04")
        assert await person.is_done() == 0
        assert "Traceback" not in person.seen
    history = satellite.home / ".local" / "state" / "hivemind" / "terminal_history"
    assert "hello pty" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


async def test_ctrl_c_leaves_too(satellite, hub):
    satellite.set_up(hub)
    async with Person(satellite) as person:
        await person.sees("Utterance:")
        person.process.send_signal(signal.SIGINT)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(person.process.wait(), 5)
        if person.process.returncode is None:  # it came after the prompt was shown, before Python waited for a line
            person.types("\n")
        assert await person.is_done() == 0


async def test_an_answer_does_not_destroy_the_line_being_typed(satellite, hub):
    satellite.set_up(hub)
    async with Person(satellite) as person:
        await person.sees("Utterance:")
        person.types("half a li")
        await person.sees("half a li")
        await hub.peers[0].tell("speak", {"utterance": "by the way"})
        await person.sees("\r\x1b[K")
        await person.sees(">  by the way")
        await person.sees("Utterance:half a li")
        person.types("ne\n")
        await person.sees(">  you said half a line")


async def test_a_restart_of_the_hub_is_shown(satellite, hub):
    satellite.set_up(hub)
    async with Person(satellite) as person:
        await person.sees("Utterance:")
        await hub.kill()
        await person.sees("reconnecting")
        person.types("too early\n")
        await person.sees("not sent: ")
        await hub.start()
        await person.sees("connected again")
        person.types("now\n")
        await person.sees(">  you said now")


async def test_a_refusal_meanwhile_ends_it(satellite, hub):
    satellite.set_up(hub)
    async with Person(satellite) as person:
        await person.sees("Utterance:")
        del hub.clients[KEY]
        await hub.peers[0].close(1008, "invalid api key")
        await person.sees("Error: HiveMind refused this identity: The hub does not know this access key.")
        assert await person.is_done() == 1
