"""Every line that the client library's README promises, through public names and commands alone.

What arrives at the agent, at the hub above or at other satellites is the proof. `helpers.street` has the hubs.
"""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from helpers.default_port import alone_with_default_port
from helpers.pair import cannot_run
from helpers.processes import Children, port_open, wait_until
from helpers.street import BIN, UTTERANCE, WAIT_S, Resident, Street
from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.hive_map import HiveMapper
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

BUS, PROPAGATE, CASCADE = HiveMessageType.BUS, HiveMessageType.PROPAGATE, HiveMessageType.CASCADE
QUIET_S = 0.5
LONG_S = 120.0
"""Longer than anything here takes: what comes before did not wait for it."""

# Where `ovos_bus_client` is installed, its Message is as good: tests/test_packaging.py.
QUICK_START = """
from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.message import Message

client = HiveMessageBusClient(host="ws://localhost", port={port})
client.connect()
client.on_mycroft("speak", lambda msg: print(msg.data["utterance"]))
client.emit(HiveMessage(HiveMessageType.BUS,
    Message("recognizer_loop:utterance",
            {{"utterances": ["hello house"]}})))
"""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with alone_with_default_port() as port, Children(tmp_path_factory.mktemp("street")) as children:
        made = Street(children, port=0 if port_open(port) else port)
        try:
            made.open()
            yield made
        except AssertionError:
            print(children.report())
            raise


def bus(topic: str, **data: Any) -> HiveMessage:
    return HiveMessage(BUS, Message(topic, data))


def utterance(words: str) -> HiveMessage:
    return bus(UTTERANCE, utterances=[words], lang="en-us")


def payload(words: str) -> tuple[str, str, str, str]:
    """The options of the commands that send one message."""
    return "--msg", UTTERANCE, "--payload", json.dumps({"utterances": [words]})


class Heard(list[Any]):
    """What handlers got; `wait` for so many."""

    def wait(self, count: int = 1) -> list[Any]:
        wait_until(lambda: len(self) >= count, WAIT_S, f"{count} messages, not {len(self)}")
        return list(self)


def hearing(client: HiveMessageBusClient, *topics: str) -> Heard:
    heard = Heard()
    for topic in topics:
        client.on_mycroft(topic, heard.append)
    return heard


def envelopes(client: HiveMessageBusClient, kind: HiveMessageType) -> Heard:
    """The HiveMessages of a type that come in, but for PINGs."""
    heard = Heard()

    def note(message: HiveMessage) -> None:
        if message.payload.msg_type != HiveMessageType.PING:
            heard.append(message)

    client.on(kind, note)
    return heard


# --- quick start, message types --------------------------------------------------------------------------------


def test_quick_start(street: Street) -> None:
    code = QUICK_START.format(port=street.house.hub.port)
    assert street["hall"].program(code) == "house says: hello house\n"
    assert street.house.hears("hello house")["data"] == {"utterances": ["hello house"]}


def test_bus_goes_both_ways(street: Street) -> None:
    with street["hall"].joined() as client:
        spoken = hearing(client, "speak")
        client.emit(utterance("good morning house"))
        (answer,) = spoken.wait()
    asked = street.house.hears("good morning house")
    assert asked["context"]["source"].endswith(f"::{client.session_id}")
    assert answer.data["utterance"] == "house says: good morning house"


def test_escalate_goes_up(street: Street) -> None:
    with street["hall"].joined() as client, street["kitchen"].joined() as other:
        seen = envelopes(other, HiveMessageType.ESCALATE)
        client.emit(HiveMessage(HiveMessageType.ESCALATE, utterance("to the street"), target_site_id="street"))
        street.street.hears("to the street")
    assert street.house.heard("to the street") == []
    assert seen == []


@pytest.mark.parametrize("who", ["house", "street"])
def test_the_first_node_that_knows_answers_a_query(street: Street, who: str) -> None:
    with street["hall"].joined() as client:
        spoken, parts = hearing(client, "speak"), envelopes(client, HiveMessageType.QUERY)
        client.emit(HiveMessage(HiveMessageType.QUERY, utterance(f"ask the {who}")))
        (answer,) = spoken.wait()
        assert answer.data["utterance"] == f"{who} says: ask the {who}"
        parts.wait(2)
        time.sleep(QUIET_S)
        assert [part.payload.payload.msg_type for part in parts] == ["speak", "hive.query.complete"]
    node = getattr(street, who).node_id
    assert {part.metadata["responder_peer"] for part in parts} == {node}
    assert len(street.street.heard(f"ask the {who}")) == (1 if who == "street" else 0)


def test_an_admin_broadcasts_down(street: Street) -> None:
    with street["admin"].joined() as admin, street["hall"].joined() as hall, street["kitchen"].joined() as kitchen:
        told, not_told = hearing(hall, "speak"), hearing(kitchen, "speak")
        seen = envelopes(kitchen, HiveMessageType.BROADCAST)
        order = bus("speak", utterance="dinner is ready")
        admin.emit(HiveMessage(HiveMessageType.BROADCAST, order, target_site_id="hall"))
        (message,) = told.wait()
        seen.wait()
    assert message.data["utterance"] == "dinner is ready"
    assert not_told == []
    assert not street.street.heard("dinner is ready", "speak")


def test_nobody_else_broadcasts(street: Street) -> None:
    with street["hall"].joined() as hall, street["guest"].joined() as guest:
        seen, refused = envelopes(hall, HiveMessageType.BROADCAST), Heard()
        guest.on("reconnecting", lambda: refused.append(guest.problem))
        guest.emit(HiveMessage(HiveMessageType.BROADCAST, bus("speak", utterance="x"), target_site_id="hall"))
        (problem,) = refused.wait()
    assert "permi" in problem
    assert seen == []


def test_propagate_reaches_everybody(street: Street) -> None:
    with street["kitchen"].joined() as sender, street["hall"].joined() as hall, street["cellar"].joined() as cellar:
        seen = [envelopes(peer, PROPAGATE) for peer in (hall, cellar)]
        sender.emit(HiveMessage(PROPAGATE, utterance("to one and all"), target_site_id="street"))
        for heard in seen:
            (message,) = heard.wait()
            assert message.payload.payload.data["utterances"] == ["to one and all"]
        street.street.hears("to one and all")
        sender.emit(HiveMessage(PROPAGATE, utterance("to the agent here"), target_site_id="house"))
        street.house.hears("to the agent here")
    assert street.house.heard("to one and all") == []


# --- security --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cipher", ["AES-GCM", "CHACHA20-POLY1305"])
def test_a_link_is_encrypted_with_a_cipher_that_both_ends_know(street: Street, cipher: str) -> None:
    """The street's hub knows one cipher, the house's both: it takes what the client prefers."""
    place = street.street if cipher == "AES-GCM" else street.house
    name = f"link-{cipher}"
    place.admit(name)
    client = HiveMessageBusClient(
        name,
        "orbital-walnut-cipher-93-lantern",
        host="ws://127.0.0.1",
        port=place.hub.port,
        identity=NodeIdentity(app_name=name),
        max_protocol_version=2,
    )
    client.connect(timeout=60)
    try:
        spoken = hearing(client, "speak")
        client.emit(utterance(f"hello everybody by {cipher}"))
        spoken.wait()
        agreed = str(client.cipher.value)
    finally:
        client.close()
    assert agreed in (cipher, "AES-GCM")
    place.hears(f"hello everybody by {cipher}")


def private(resident: Resident) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(Path(resident.identity.private_key).read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def trusting(street: Street, who: str, *others: str) -> None:
    """Let a satellite trust others' keys, as the README shows it."""
    identity = street[who].identity
    for alias in list(identity.trusted_keys):
        identity.remove_trusted_key(alias)
    for other in others:
        identity.add_trusted_key(other, street[other].identity.public_key)
    identity.save()
    assert set(street[who].identity.trusted_keys) == set(others)


def test_an_intercom_is_for_one_alone(street: Street) -> None:
    secret = "the key is under the mat " * 300
    trusting(street, "hall", "kitchen")
    with street["kitchen"].joined() as sender, street["hall"].joined() as hall, street["cellar"].joined() as cellar:
        told, overheard, seen = hearing(hall, "secret"), hearing(cellar, "secret"), envelopes(cellar, PROPAGATE)
        for _ in range(2):
            sender.emit_intercom(bus("secret", words=secret), street["hall"].identity.public_key)
        first, second = told.wait(2)
        sealed = [message.payload.payload for message in seen.wait(2)]
        hall.emit_intercom(bus("secret", words="understood"), street["kitchen"].identity.public_key)
        time.sleep(QUIET_S)
    assert first.data == second.data == {"words": secret}
    assert first.context["hivemind_verified_source_peer"] == street["kitchen"].identity.public_key
    assert overheard == []
    assert "under the mat" not in json.dumps([street.house.frames(), street.street.frames(), sealed])
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    keys = {private(street["hall"]).decrypt(b64decode(each["encrypted_key"]), oaep) for each in sealed}
    assert [len(key) for key in keys] == [32, 32]  # AES-256, another one for each message


def test_an_intercom_of_a_stranger_is_dropped_in_silence(street: Street) -> None:
    trusting(street, "hall", "kitchen")
    to = street["hall"].identity.public_key
    with street["guest"].joined() as stranger, street["kitchen"].joined() as friend, street["hall"].joined() as hall:
        told, back = hearing(hall, "secret"), hearing(stranger, "hive.policy.denied")
        stranger.emit_intercom(bus("secret", words="from a stranger"), to)
        stranger.flush()
        friend.emit_intercom(bus("secret", words="from a friend"), to)
        told.wait()
        time.sleep(QUIET_S)
        assert [message.data["words"] for message in told] == ["from a friend"]
        assert back == []
        assert stranger.connected


def test_propagate_acts_where_its_sender_is_trusted(street: Street) -> None:
    """Nobody has pinged anybody before: the sender's key is told on the way."""
    trusting(street, "hall", "kitchen")
    with street["guest"].joined() as stranger, street["kitchen"].joined() as friend, street["hall"].joined() as hall:
        told, back = hearing(hall, "speak"), hearing(stranger, "hive.policy.denied")
        for sender, words in ((stranger, "from a stranger"), (friend, "from a friend")):
            order = bus("speak", utterance=words)
            sender.emit(HiveMessage(PROPAGATE, order, target_site_id="hall"))
            sender.flush()
        told.wait()
        time.sleep(QUIET_S)
        assert [message.data["utterance"] for message in told] == ["from a friend"]
        assert back == []
        assert stranger.connected
        assert hall.connected


def test_what_a_trusted_hub_passes_on_acts(street: Street) -> None:
    """The README's own example: `living-room-hub`."""
    trusting(street, "hall")
    identity = street["hall"].identity
    identity.add_trusted_key("living-room-hub", street.house.node_id)
    identity.save()
    with street["guest"].joined() as sender, street["hall"].joined() as hall:
        told = hearing(hall, "speak")
        sender.emit(HiveMessage(PROPAGATE, bus("speak", utterance="by way of the hub"), target_site_id="hall"))
        (message,) = told.wait()
    assert message.data["utterance"] == "by way of the hub"


# --- answers of many -------------------------------------------------------------------------------------------


def test_a_cascade_collects_from_all_and_one_is_picked(street: Street) -> None:
    with street["hall"].joined() as client:
        offered: list[str] = []

        def pick(responses: list[HiveMessage]) -> HiveMessage | None:
            offered[:] = [response.payload.payload.data["utterance"] for response in responses]
            return next((one for one in responses if one.payload.payload.data["utterance"].startswith("street")), None)

        proto = client.protocol
        proto.cascade_timeout = 2.0
        proto.cascade_select_callback = pick
        spoken = hearing(client, "speak")

        def chosen() -> bool:
            """Ask; whether all have answered in time, which on a slow machine they may not."""
            offered.clear()
            client.emit(HiveMessage(CASCADE, utterance("everybody, who is there")))
            wait_until(lambda: offered, WAIT_S, "answers")
            return len(offered) > 1

        wait_until(chosen, WAIT_S, "the answers of both")
        (answer,) = spoken.wait()
        time.sleep(QUIET_S)
    assert sorted(offered) == ["house says: everybody, who is there", "street says: everybody, who is there"]
    assert [message.data["utterance"] for message in spoken] == ["street says: everybody, who is there"]
    assert answer.data["utterance"].startswith("street")


def test_a_cascade_is_over_once_all_that_the_map_knows_have_answered(street: Street) -> None:
    with street["hall"].joined() as client, street["cellar"].joined():
        mapper = HiveMapper()
        proto = client.protocol
        proto.cascade_timeout = LONG_S
        proto.cascade_select_callback = lambda responses: responses[0]
        proto.hive_mapper = mapper
        ping = {"flood_id": "who-is-there", "peer": "hall", "timestamp": time.time()}
        client.emit(HiveMessage(PROPAGATE, HiveMessage(HiveMessageType.PING, ping)))
        hubs = {street.house.node_id, street.street.node_id}
        wait_until(lambda: hubs < set(mapper.nodes), WAIT_S, "both hubs and a satellite on the map")
        spoken = hearing(client, "speak")
        client.emit(HiveMessage(CASCADE, utterance("everybody, be quick")))
        spoken.wait()
        time.sleep(QUIET_S)
    assert len(spoken) == 1


def test_other_satellites_do_not_act_on_a_question(street: Street) -> None:
    with street["hall"].joined() as client, street["cellar"].joined() as other:
        spoken, acted, seen = hearing(client, "speak"), hearing(other, UTTERANCE, "speak"), envelopes(other, CASCADE)
        other.protocol.cascade_timeout = client.protocol.cascade_timeout = 0.3
        client.emit(HiveMessage(CASCADE, utterance("everybody, shall I")))
        spoken.wait()
        seen.wait()
        time.sleep(2 * QUIET_S)
    assert acted == []


# --- commands --------------------------------------------------------------------------------------------------


def test_terminal(street: Street) -> None:
    hall = street["hall"]
    child = street.children.spawn("terminal", [BIN / "hivemind-client", "terminal", *hall.where], hall.home)
    child.write("house, are you there\n")
    child.close_stdin()
    assert child.wait_exit() == 0
    assert child.lines() == ["== connected to HiveMind", ">  house says: house, are you there"]


def test_ping_draws_every_node_once(street: Street) -> None:
    with street["cellar"].joined() as cellar:
        ping = partial(street["hall"].command, "ping", "--timeout", "2")

        def shown() -> list[str]:
            return ping(*street["hall"].where).split("== Hive Map ==\n")[1].splitlines()

        lines = until_at_least(4, shown)
        nodes = until_at_least(3, lambda: json.loads(ping("--json"))["nodes"])
    label = f"unnamed-node::{cellar.session_id}"
    assert lines[0].startswith("[self] unnamed-node::")
    assert len(lines) == 4
    assert sum(label in line for line in lines) == 1
    assert sum("key:" in line for line in lines) == 2  # the hubs
    assert {node["peer"] for node in nodes} == {street.house.node_id, street.street.node_id, label}
    assert len(nodes) == 3


def until_at_least(count: int, ask: Callable[[], list[Any]]) -> list[Any]:
    """What a command finds, asked again while that is less: it waits a short time only, and the machine may be slow."""
    found: list[Any] = []

    def enough() -> bool:
        found[:] = ask()
        return len(found) >= count

    wait_until(enough, WAIT_S, f"{count} of them")
    return found


@pytest.mark.parametrize("where", ["with --host", "without --host"])
def test_send_mycroft_escalate_propagate(street: Street, where: str) -> None:
    """Without --host it is the hub of the host-less set-identity: ws://127.0.0.1:5678."""
    kitchen = street["kitchen"]
    if where == "without --host" and not street.has_default_port:
        cannot_run("port 5678 is in use")
    options = kitchen.where if where == "with --host" else []
    connected = "== connected to HiveMind\n"
    assert kitchen.command("send-mycroft", *options, *payload(f"house, sent {where}")) == connected
    street.house.hears(f"house, sent {where}")
    up = [*options, "--siteid", "street"]
    assert kitchen.command("escalate", *up, *payload(f"escalated {where}")) == connected
    street.street.hears(f"escalated {where}")
    assert street.house.heard(f"escalated {where}") == []
    trusting(street, "hall", "kitchen")
    with street["hall"].joined() as hall, street["cellar"].joined() as cellar:
        told, seen = hearing(hall, UTTERANCE), envelopes(cellar, PROPAGATE)
        to_hall = [*options, "--siteid", "hall"]
        assert kitchen.command("propagate", *to_hall, *payload(f"propagated {where}")) == connected
        (message,) = told.wait()
        (passed_on,) = seen.wait()
    assert message.data["utterances"] == passed_on.payload.payload.data["utterances"] == [f"propagated {where}"]


def test_set_identity_on_a_fresh_machine(street: Street) -> None:
    home = street.children.home("fresh")
    arguments = ["set-identity", "--key", "KEY", "--password", "PASS", "--siteid", "SITE"]
    printed = street.children.run("set-identity", [BIN / "hivemind-client", *arguments], home)
    path = home.config / "hivemind" / "_identity.json"
    assert printed.endswith(f"identity saved: {path}\n")
    stored = json.loads(path.read_text("utf-8"))
    assert (stored["access_key"], stored["password"], stored["site_id"]) == ("KEY", "PASS", "SITE")
    assert path.stat().st_mode & 0o777 == 0o600


def test_query_and_cascade(street: Street) -> None:
    hall = street["hall"]
    words = "everybody, what is new"
    assert hall.command("query", "--msg", words) == f"== connected to HiveMind\n>  house says: {words}\n"
    cascade = partial(hall.command, "cascade", "--msg", words, "--timeout", "2")
    assert sorted(until_at_least(3, lambda: cascade().splitlines())) == [
        "== connected to HiveMind",
        f">  house says: {words}",
        f">  street says: {words}",
    ]
    up = json.loads(hall.command("query", "--json", "--msg", "street, what is new"))
    assert up["answers"] == [
        {"utterance": "street says: street, what is new", "lang": "en-US", "responder": street.street.node_id}
    ]
    error = hall.fails("query", "--msg", "what nobody knows")
    assert error.output().endswith("Error: nobody answered: no assistant that was asked has an answer\n")
    assert hall.fails("cascade", "--msg", "what nobody knows", "--timeout", "1").output().endswith("within 1 s\n")
