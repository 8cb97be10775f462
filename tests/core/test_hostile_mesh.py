"""What hostile satellites, hubs and services do to a mesh, and what bad luck does."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import randbytes
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from helpers.link_hub import eventually
from helpers.live_hub import LiveHub, send
from hivemind_bus_client.intercom import propagated, seal
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_bus_client.outgoing import MAX_RELAYED_BYTES
from hivemind_bus_client.rsa_keys import load_announced
from hivemind_core.authors import MAX_KNOWN, MAX_KNOWN_EACH, Authors
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.peers import Registry
from hivemind_core.shares import Share
from hivemind_core.testing import FakeClock, MemoryHive, MemorySatellite, MemoryUplink
from hivemind_core.transports.http_sessions import Bounds, HTTPSession

UTTERANCE = "recognizer_loop:utterance"


def rsa_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public.decode(), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


HUB_PEM, HUB_KEY = rsa_pair()
OWN_PEM, OWN_KEY = rsa_pair()


@pytest.fixture
async def hives() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def chain(stack: AsyncExitStack, *sites: str) -> list[MemoryHive]:
    """Hubs under hubs, the top first."""
    clock, found = FakeClock(), list[MemoryHive]()
    for site in sites:
        parent = MemoryUplink(found[-1], site) if found else None
        identity = HubIdentity(f"node of the {site}", generate_static_key(), site)
        found.append(await stack.enter_async_context(MemoryHive(identity=identity, parent=parent, clock=clock)))
    return found


def uplink(hive: MemoryHive) -> MemoryUplink:
    assert hive.parent is not None
    return hive.parent


def bus(msg_type: str = "speak", context: dict[str, Any] | None = None, **data: Any) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message(msg_type, data, context))


def asking(**context: Any) -> HiveMessage:
    return bus(UTTERANCE, context, utterances=["what time is it"])


def of(satellite: MemorySatellite, kind: str) -> list[HiveMessage]:
    return [message for message in satellite.messages if message.msg_type == kind]


def errors(satellite: MemorySatellite) -> list[str]:
    found = [message.payload.payload for message in of(satellite, "query")]
    return [message.data["error"] for message in found if message.msg_type == "hive.query.timeout"]


def agent_is_done(hive: MemoryHive, text: str = "") -> None:
    """Let the agent answer every question with a text, or decline it."""

    def respond(message: Message) -> None:
        if message.msg_type == UTTERANCE:
            if text:
                hive.agent.deliver(message.forward("speak", {"utterance": text}))
            hive.agent.deliver(message.forward("ovos.utterance.handled"))

    hive.agent.respond = respond


# --- what is too large, or too much -------------------------------------------------------------------------


async def test_what_the_hub_above_could_not_read_does_not_cost_the_hub_its_place_there(hives: AsyncExitStack) -> None:
    """The hop that this hub adds is what makes it too much."""
    _, child = await chain(hives, "loft", "hall")
    sender, other = await child.join("sender"), await child.join("other")
    values = [0] * 499_966
    for verb in ("propagate", "escalate", "cascade"):
        sender.send(HiveMessage(verb, bus("x", values=values)))
    await child.settle()
    assert [denial["code"] for denial in sender.denials] == ["message_too_large"] * 3
    assert uplink(child).available
    assert (other.messages, sender.closed) == ([], None)


async def test_a_message_that_would_fill_every_queue_is_passed_on_to_nobody(hives: AsyncExitStack) -> None:
    _, child = await chain(hives, "loft", "hall")
    sender, other = await child.join("sender"), await child.join("other")
    sender.send(HiveMessage("propagate", bus("x", text="b" * MAX_RELAYED_BYTES)))
    sender.send(HiveMessage("propagate", bus("x", text="b" * (MAX_RELAYED_BYTES // 2))))
    await child.settle()
    assert [denial["code"] for denial in sender.denials] == ["message_too_large"]
    assert len(of(other, "propagate")) == 1


async def test_who_does_not_keep_up_loses_what_others_say_and_not_what_it_asked_for(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    slow, other, sender = [await hive.join(name) for name in ("slow", "other", "sender")]
    agent_is_done(hive, "four")
    slow.has_room = False
    sender.send(HiveMessage("propagate", bus()))
    slow.send(HiveMessage("query", asking()))
    slow.send(HiveMessage("cascade", asking(), metadata={"query_id": "q"}))
    await hive.settle()
    answer = {**of(other, "cascade")[0].metadata, "is_response": True}
    other.send(HiveMessage("cascade", bus(utterance="mine"), metadata=answer))
    await hive.settle()
    assert (of(slow, "propagate"), len(of(other, "propagate"))) == ([], 1)
    assert [m.payload.payload.data.get("utterance") for m in of(slow, "query")] == ["four", None]
    assert [m.payload.payload.data.get("utterance") for m in of(slow, "cascade")] == ["four", None]
    slow.has_room = True
    sender.send(HiveMessage("propagate", bus()))
    await hive.settle()
    assert len(of(slow, "propagate")) == 1


async def test_nobody_is_put_out_for_what_others_say(tmp_path: Path) -> None:
    """On sockets: one that reads nothing at all, and one that says more than may wait for it."""
    async with LiveHub(tmp_path) as hub:
        hub.add("ear", "walnut lantern orbit cipher")
        hub.add("mouth", "cipher orbit lantern walnut")
        socket, link = await hub.session("ear", "walnut lantern orbit cipher")
        await send(socket, link, bus("x"))
        await eventually(lambda: len(hub.hub.peers) == 1)
        [ear] = hub.hub.peers
        mouth = hub.client("mouth", "cipher orbit lantern walnut")
        await mouth.connect(timeout=20)
        for _ in range(24):
            noise = b64encode(randbytes(750_000)).decode()
            await mouth.emit(HiveMessage("propagate", bus("x", text=noise)))
        await mouth.flush()
        assert (ear.ended, ear.misses_some) == (False, True)
        await mouth.close()
        socket.transport.abort()


def test_others_get_half_of_what_may_wait_over_http() -> None:
    session = HTTPSession("key", "here", Bounds(max_frames=4), 0.0)
    assert session.has_room(100_000)
    assert not session.has_room(200_000)
    session.put(["a", b"b"], 0.0)
    assert session.has_room(10)
    session.put(["a"], 0.0)
    assert not session.has_room(10)
    session.put(["a"], 0.0)
    assert session.ended is None


@pytest.mark.parametrize("more", [{"route": [{"source": "x" * 70_000}]}, {"metadata": {"junk": "x" * 300_000}}])
async def test_what_is_kept_of_a_question_is_bounded(hives: AsyncExitStack, more: dict[str, Any]) -> None:
    [hive] = await chain(hives, "hall")
    asker = await hive.join("asker")
    asker.send(HiveMessage("query", asking(), **more))
    await hive.settle()
    assert [denial["code"] for denial in asker.denials] == ["malformed_payload"]
    assert hive.agent.utterances == []


async def test_what_is_remembered_of_a_question_is_its_way(hives: AsyncExitStack) -> None:
    _, child = await chain(hives, "loft", "hall")
    asker = await child.join("asker")
    agent_is_done(child)
    metadata = {"query_id": "q", "originator_peer": "x" * 5000, "junk": "x" * 50_000}
    asker.send(HiveMessage("query", asking(), metadata=metadata))
    await child.settle()
    [kept] = child.hub.mesh.questions._asked.values()
    assert kept.relayed.metadata == {"query_id": "q", "originator_peer": "x" * 1024}


async def test_a_key_of_any_length_is_not_kept(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    liar = await hive.join("liar")
    liar.send(HiveMessage("hello", {"session": {"session_id": "new"}, "pubkey": "x" * 5000}))
    await hive.settle()
    assert [denial["denied_type"] for denial in liar.denials] == ["hello"]
    assert "intercom_pubkey" not in hive.db.by_id(liar.peer.client.client_id).metadata  # type: ignore[union-attr]


def test_a_key_that_would_hold_up_everybody_is_none() -> None:
    slow = rsa.RSAPublicNumbers(2**3000 + 1, (1 << 3071) + 1).public_key()
    large = rsa.RSAPublicNumbers(65537, (1 << 16383) + 1).public_key()
    for key in (slow, large):
        with pytest.raises(ValueError, match="RSA key"):
            load_announced(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


# --- floods -------------------------------------------------------------------------------------------------


def ping(flood_id: str, node: str, **more: Any) -> HiveMessage:
    return HiveMessage("propagate", HiveMessage("ping", {"flood_id": flood_id, "peer": node, **more}))


async def test_a_ping_tells_the_agents_bus_nothing_but_what_pings_tell(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    liar, other = await hive.join("liar"), await hive.join("other")
    liar.send(ping("f", "liar", site_id="x" * 1000, timestamp={"a": 1}))
    for flood_id, node in (("g" * 300, "liar"), ("h", "n" * 3000)):
        liar.send(ping(flood_id, node))
    await hive.settle()
    [told] = hive.agent.of_type("hive.ping.received")
    assert told.data == {"flood_id": "f", "peer": "liar", "site_id": "x" * 256, "timestamp": None}
    assert len(of(other, "propagate")) == 1


# --- who says what ------------------------------------------------------------------------------------------


def test_what_a_node_says_of_its_key_counts_on_its_own_connection_alone() -> None:
    authors = Authors((), Registry("node"))
    authors.note("hub below", "alice::s1", "the key of alice")
    authors.note("liar", "alice::s1", "the key of the liar")
    assert authors.keys("hub below", ["ua::1::alice::s1"]) == ["the key of alice"]
    assert authors.keys("liar", ["ua::1::alice::s1"]) == ["the key of the liar"]
    assert authors.keys("another", ["ua::1::alice::s1"]) == []
    authors.gone("liar")
    assert authors.keys("liar", ["alice::s1"]) == []


def test_a_client_pushes_out_no_claims_of_others_however_many_connections_it_has() -> None:
    authors, share = Authors((), Registry("node")), Share("client 1")
    for number in range(MAX_KNOWN_EACH):
        authors.note("hub below", f"node {number}", "key", Share("client 2"))
    for number in range(MAX_KNOWN):
        authors.note(f"connection {number % 64}", f"node {number}", "key", share)
    assert all(authors.keys("hub below", [f"node {number}"]) == ["key"] for number in range(MAX_KNOWN_EACH))
    claimed = [authors.keys(f"connection {number % 64}", [f"node {number}"]) for number in range(MAX_KNOWN)]
    assert claimed == [[]] * (MAX_KNOWN - MAX_KNOWN_EACH) + [["key"]] * MAX_KNOWN_EACH


def test_names_of_any_length_cost_nothing() -> None:
    authors = Authors((), Registry("node"))
    authors.note("hub", "alice::s1", "key")
    long = "x::" * 1_000_000 + "alice::s1"
    assert authors.keys("hub", [long, f"-----BEGIN{long}"]) == []
    authors.note("hub", long, "key")
    authors.note("hub", "bob::s2", "k" * 3000)
    assert authors.keys("hub", ["bob::s2"]) == []


async def test_who_is_put_out_has_not_said_what_another_is_going_to_say(hives: AsyncExitStack) -> None:
    """Nor has one that writes another's name into a route."""
    [hive] = await chain(hives, "hall")
    ear, victim = await hive.join("ear"), await hive.join("victim")
    for rights in ({"can_propagate": False}, {}):
        liar = await hive.join("liar", client=hive.add_client("liar", **rights))
        liar.send(HiveMessage("propagate", bus(), route=[{"source": victim.peer_id, "targets": []}]))
        await hive.settle()
    ear.messages.clear()
    victim.send(HiveMessage("propagate", bus()))
    await hive.settle()
    assert len(of(ear, "propagate")) == 1


async def test_what_is_said_again_and_again_is_heard_after_a_hub_below_came_back(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    ear, sender = await top.join("ear"), await child.join("sender")
    for _ in range(3):
        sender.send(HiveMessage("propagate", bus(utterance="I am here")))
    await child.settle()
    uplink(child).cut()
    await uplink(child).start(child.hub._from_parent, lambda: None)
    for _ in range(3):
        sender.send(HiveMessage("propagate", bus(utterance="I am here")))
    await child.settle()
    assert len(of(ear, "propagate")) == 6


async def test_what_an_agent_sends_to_all_does_not_go_round_for_ever(hives: AsyncExitStack) -> None:
    clock, ring = FakeClock(), list[MemoryHive]()
    for number in range(3):
        identity = HubIdentity(f"node {number}", generate_static_key())
        ring.append(MemoryHive(identity=identity, parent=MemoryUplink(name=f"hub {number}"), clock=clock))
    for number, hive in enumerate(ring):
        uplink(hive).above = ring[number - 1]
    for hive in ring:
        await hives.enter_async_context(hive)
    ears = [await hive.join("ear") for hive in ring]
    for kind in ("broadcast", "propagate"):
        request = {"msg_type": kind, "payload": bus().as_dict}
        ring[0].agent.deliver(Message("hive.send.downstream", request))
        await ring[0].settle()
        assert [len(of(ear, kind)) for ear in ears] == [1, 1, 1]


async def test_a_stranger_above_speaks_in_nobodys_name_and_in_nobodys_session(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    victim, stranger = await child.join("victim"), await top.join("stranger")
    own = {"session_id": f"{victim.peer.namespace}:x", "lang": "de"}
    for context in (
        {"source": victim.peer_id, "peer": victim.peer_id, "session": {"session_id": "default"}},
        {"destination": victim.peer_id, "session": own},
        {},
    ):
        message = Message(UTTERANCE, {"utterances": ["hi"]}, context)
        stranger.send(HiveMessage("propagate", HiveMessage("bus", message), target_site_id="hall"))
    await child.settle()
    heard = child.agent.of_type(UTTERANCE)
    assert len(heard) == 3
    assert {message.context["source"] for message in heard} == {"HiveMind"}
    assert not any({"peer", "destination"} & message.context.keys() for message in heard)
    sessions = [message.context["session"]["session_id"] for message in heard]
    assert sessions[:2] == ["above:default", f"above:{victim.peer.namespace}:x"]
    assert sessions[2].startswith("above:")


# --- questions ----------------------------------------------------------------------------------------------


async def test_an_answer_to_the_agent_brings_nothing_but_answers(hives: AsyncExitStack) -> None:
    """Whoever is asked would else send what it likes, in the session that it likes."""
    [hive] = await chain(hives, "hall")
    asked, victim = await hive.join("asked"), await hive.join("victim")
    request = {"msg_type": "cascade", "payload": asking().as_dict, "peer": asked.peer_id}
    hive.agent.deliver(Message("hive.send.downstream", request))
    await hive.settle()
    metadata = {**of(asked, "cascade")[0].metadata, "is_response": True}
    context = {"source": victim.peer_id, "destination": victim.peer_id, "session": {"session_id": "default"}}
    for topic in ("mycroft.stop", UTTERANCE, "hive.send.downstream", "speak"):
        asked.send(HiveMessage("cascade", bus(topic, context, utterance="x"), metadata=metadata))
    await hive.settle()
    heard = [message for message in hive.agent.received if not message.msg_type.startswith("hive.client.")]
    assert [message.msg_type for message in heard] == ["speak"]
    assert heard[0].context == {"source": "HiveMind", "session": {"session_id": "above:default"}}


async def test_nobody_ends_anothers_question_by_being_denied(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    agent_is_done(child)
    victim, liar = await child.join("victim"), await child.join("liar")
    victim.send(HiveMessage("query", asking()))
    await child.settle()
    escalated = HiveMessage("escalate", asking(session={"lang": 5}), target_site_id="loft")
    liar.send(escalated)
    liar.send(HiveMessage("query", asking(session={"lang": 5})))
    await child.settle()
    assert errors(victim) == []
    [question] = top.agent.of_type(UTTERANCE)
    top.agent.deliver(question.forward("speak", {"utterance": "four"}))
    await child.settle()
    assert [m.payload.payload.data["utterance"] for m in of(victim, "query")] == ["four"]


async def test_a_denial_from_above_is_told_to_whom_it_is_of(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    agent_is_done(child)
    one, other = await child.join("one"), await child.join("other")
    for asker, name in ((one, "q1"), (other, "q2")):
        asker.send(HiveMessage("query", asking(), metadata={"query_id": name}))
    await child.settle()
    assert len(top.agent.utterances) == 2
    data: dict[str, Any] = {"denied_type": "query", "code": "acl_disallowed_type", "data": {"query_id": "q2"}}
    child.hub._from_parent(bus("hive.policy.denied", **data))
    assert (errors(one), errors(other)) == ([], ["acl_disallowed_type"])
    child.hub._from_parent(bus("hive.policy.denied", **{**data, "data": {}}))
    assert errors(one) == ["acl_disallowed_type"]


async def test_who_changes_its_session_is_told_what_becomes_of_its_questions(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    asker = await hive.join("asker")
    asker.send(HiveMessage("query", asking()))
    asker.send(HiveMessage("hello", {"session": {"session_id": "another"}}))
    await hive.settle()
    assert errors(asker) == ["session_changed"]
    asker.leave()
    assert errors(asker) == ["session_changed"]


async def test_a_question_that_comes_round_ends(hives: AsyncExitStack) -> None:
    clock, ring = FakeClock(), list[MemoryHive]()
    for number in range(3):
        identity = HubIdentity(f"node {number}", generate_static_key())
        ring.append(MemoryHive(identity=identity, parent=MemoryUplink(name=f"hub {number}"), clock=clock))
    for number, hive in enumerate(ring):
        uplink(hive).above = ring[number - 1]
    for hive in ring:
        await hives.enter_async_context(hive)
        agent_is_done(hive)
    asker = await ring[0].join("asker")
    asker.send(HiveMessage("query", asking()))
    await ring[0].settle()
    assert errors(asker) == ["no_answer"]


# --- services on the agent's bus ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ([], {}),
        ({}, {}),
        ("broadcast", {"msg_type": "bus", "payload": {"data": 1}}),
        ("propagate", {"msg_type": "escalate", "payload": {"msg_type": "bus", "payload": {}}}),
        ("propagate", bus("x", values=[0] * 500_000).as_dict),
    ],
)
async def test_what_cannot_be_sent_reaches_nobody_and_is_told(hives: AsyncExitStack, kind: Any, payload: Any) -> None:
    [hive] = await chain(hives, "hall")
    one = await hive.join("one")
    hive.agent.deliver(Message("hive.send.downstream", {"msg_type": kind, "payload": payload}))
    await hive.settle()
    assert one.messages == []
    assert len(hive.agent.of_type("hive.client.send.error")) == 1


# --- sealed messages ----------------------------------------------------------------------------------------


async def test_one_that_sends_many_sealed_messages_holds_up_itself(hives: AsyncExitStack) -> None:
    identity = HubIdentity(HUB_PEM, generate_static_key(), "hall", HUB_KEY)
    hive = await hives.enter_async_context(MemoryHive(identity=identity))
    pins = {"intercom_pubkey": OWN_PEM}
    greedy, other = [await hive.join(name, client=hive.add_client(name, metadata=pins)) for name in ("a", "b")]
    derive = hive.hub.workers.derive

    async def slow(call: Any) -> Any:
        for _ in range(10):
            await asyncio.sleep(0)
        return await derive(call)

    hive.hub.workers.derive = slow  # type: ignore[method-assign, assignment]
    for number in range(300):
        said = Message(UTTERANCE, {"utterances": [str(number)]})
        greedy.send(propagated(seal(said, HUB_PEM, OWN_KEY)))
    other.send(propagated(seal(Message(UTTERANCE, {"utterances": ["b"]}), HUB_PEM, OWN_KEY)))
    await hive.settle()
    await hive.settle()
    assert "b" in hive.agent.utterances
    heard = [said for said in hive.agent.utterances if said != "b"]
    assert len(heard) < 50
    assert heard == [str(number) for number in range(len(heard))]
    assert {denial["code"] for denial in greedy.denials} == {"message_too_large"}


async def test_a_client_has_one_line_of_sealed_messages_for_all_its_connections(hives: AsyncExitStack) -> None:
    identity = HubIdentity(HUB_PEM, generate_static_key(), "hall", HUB_KEY)
    hive = await hives.enter_async_context(MemoryHive(identity=identity))
    greedy = hive.add_client("a", metadata={"intercom_pubkey": OWN_PEM})
    crowd = [await hive.join("a", client=greedy)]
    for _ in range(7):
        crowd.append(MemorySatellite(hive, greedy.password or ""))
        crowd[-1].static_key = crowd[0].static_key
        await hive.connect(crowd[-1], greedy, "a")
    other = await hive.join("b", client=hive.add_client("b", metadata={"intercom_pubkey": OWN_PEM}))
    opened, over = list[Any](), asyncio.Event()

    async def slow(call: Any) -> Any:
        opened.append(call)
        await over.wait()
        return call()

    hive.hub.workers.derive = slow  # type: ignore[method-assign, assignment]
    for number in range(40):
        said = Message(UTTERANCE, {"utterances": [str(number)]})
        crowd[number % 8].send(propagated(seal(said, HUB_PEM, OWN_KEY)))
    other.send(propagated(seal(Message(UTTERANCE, {"utterances": ["b"]}), HUB_PEM, OWN_KEY)))
    await eventually(lambda: len(opened) == 2)
    crowd[-1].leave()
    over.set()
    await eventually(lambda: len(opened) == 36)
    await hive.settle()
    assert len(opened) == 36
    assert hive.agent.utterances.index("b") <= 1
    assert hive.hub.mesh._sealed._lines._lines == {}


async def test_an_opened_message_is_not_forgotten_for_those_of_others(hives: AsyncExitStack) -> None:
    identity = HubIdentity(HUB_PEM, generate_static_key(), "hall", HUB_KEY)
    hive = await hives.enter_async_context(MemoryHive(identity=identity))
    sealed = hive.hub.mesh._sealed
    assert sealed._is_new("victim", "its message")
    for number in range(20_000):
        sealed._is_new("liar", str(number))
    assert not sealed._is_new("liar", "its message")
