"""The verbs at a hub and at hubs under hubs, in memory: who gets what, and what it looks like when it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hivemind_bus_client.intercom import propagated, seal
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import generate_static_key
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.testing import FakeClock, MemoryHive, MemorySatellite, MemoryUplink

UTTERANCE = "recognizer_loop:utterance"


def speak(text: str = "hi") -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": text}))


def asking(text: str = "what time is it", topic: str = UTTERANCE) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message(topic, {"utterances": [text]}))


def rsa_pair() -> tuple[str, str]:
    """A public and a private key, as PEM."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return public.decode(), private.decode()


HUB_PEM, HUB_KEY = rsa_pair()
OWN_PEM, OWN_KEY = rsa_pair()


def hub_at(site: str, *, rsa_key: bool = False) -> HubIdentity:
    node_id, key = (HUB_PEM, HUB_KEY) if rsa_key else (f"node of the {site}", None)
    return HubIdentity(node_id, generate_static_key(), site, key)


@pytest.fixture
async def hives() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def chain(stack: AsyncExitStack, *sites: str) -> list[MemoryHive]:
    """Hubs under hubs, the top first."""
    clock, found = FakeClock(), list[MemoryHive]()
    for site in sites:
        parent = MemoryUplink(found[-1], site) if found else None
        found.append(await stack.enter_async_context(MemoryHive(identity=hub_at(site), parent=parent, clock=clock)))
    return found


def of(satellite: MemorySatellite, kind: str) -> list[HiveMessage]:
    return [message for message in satellite.messages if message.msg_type == kind]


def answers(satellite: MemorySatellite, kind: str = "query") -> list[tuple[str, Any]]:
    found = [message.payload.payload for message in of(satellite, kind)]
    return [(bus.msg_type, bus.data.get("utterance") or bus.data.get("error")) for bus in found]


def agent_says(hive: MemoryHive, *texts: str) -> None:
    """Let the agent answer every utterance like this, and say that it is done."""

    def respond(message: Message) -> None:
        if message.msg_type == UTTERANCE:
            for text in texts:
                hive.agent.deliver(message.forward("speak", {"utterance": text, "lang": "en-us"}))
            hive.agent.deliver(message.forward("ovos.utterance.handled"))

    hive.agent.respond = respond


# --- fan-out ------------------------------------------------------------------------------------------------


async def test_propagate_reaches_all_others_up_and_down(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    above, sender, sibling = await top.join("above"), await child.join("sender"), await child.join("sibling")
    sender.send(HiveMessage("propagate", speak(), metadata={"m": 1}, target_site_id="cellar"))
    await child.settle()
    assert [len(of(one, "propagate")) for one in (above, sender, sibling)] == [1, 0, 1]
    [got] = of(above, "propagate")
    hops = [sender.peer_id, "node of the hall", child.parent.satellite.peer_id, "node of the loft"]  # type: ignore[union-attr]
    assert [hop["source"] for hop in got.route] == hops
    assert (got.metadata, got.target_site_id, got.source_peer) == ({"m": 1}, "cellar", None)
    assert got.payload.payload == speak().payload


async def test_escalate_reaches_the_agents_of_its_site_above_and_no_satellite(hives: AsyncExitStack) -> None:
    top, middle, child = await chain(hives, "loft", "hall", "cellar")
    everyone = [await hive.join("one") for hive in (top, middle, child)]
    sender = await child.join("sender")
    sender.send(HiveMessage("escalate", asking(), target_site_id="loft"))
    await child.settle()
    assert not any(one.messages for one in everyone)
    assert [hive.agent.utterances for hive in (top, middle, child)] == [["what time is it"], [], []]


async def test_broadcast_of_an_admin_goes_down_to_the_last(hives: AsyncExitStack) -> None:
    top, middle, child = await chain(hives, "loft", "hall", "cellar")
    admin = await top.join("admin", client=top.add_client("admin", is_admin=True))
    ears = [await top.join("a"), await middle.join("b"), await child.join("c")]
    admin.send(HiveMessage("broadcast", speak(), target_site_id="cellar"))
    await child.settle()
    assert [len(of(one, "broadcast")) for one in (admin, *ears)] == [0, 1, 1, 1]
    assert [hive.agent.of_type("speak") != [] for hive in (top, middle, child)] == [False, False, True]


async def test_broadcast_from_the_middle_does_not_go_up(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    above = await top.join("above")
    admin = await child.join("admin", client=child.add_client("admin", is_admin=True))
    admin.send(HiveMessage("broadcast", speak()))
    await child.settle()
    assert above.messages == []


async def test_the_sender_without_rights_is_put_out_and_nobody_gets_it(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    other = await hive.join("other")
    sender = await hive.join("sender", client=hive.add_client("sender", can_propagate=False))
    sender.send(HiveMessage("propagate", speak()))
    await hive.settle()
    assert sender.closed == (4003, "PROPAGATE is not allowed for this client")
    assert other.messages == []


async def test_site_delivery_obeys_the_policies_and_leaks_nothing(hives: AsyncExitStack) -> None:
    """W12: what the hub stamps for its agent is in no copy that others get."""
    [hive] = await chain(hives, "hall")
    sender, other = await hive.join("sender"), await hive.join("other")
    sent = HiveMessage(HiveMessageType.BUS, Message(UTTERANCE, {"utterances": ["hi"]}, {"mine": 1}))
    sender.send(HiveMessage("propagate", sent, target_site_id="hall"))
    sender.send(HiveMessage("propagate", HiveMessage("bus", Message("mycroft.stop")), target_site_id="hall"))
    await hive.settle()
    assert [denial["code"] for denial in sender.denials] == ["acl_disallowed_type"]
    [injected] = hive.agent.of_type(UTTERANCE)
    assert (injected.context["source"], injected.context["destination"]) == (sender.peer_id, "hivemind")
    assert of(other, "propagate")[0].payload.body == sent.body


async def test_one_peer_whose_link_broke_does_not_keep_a_message_from_others(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    broken, other, sender = [await hive.join(name) for name in ("broken", "other", "sender")]
    broken.peer.link.close()
    sender.send(HiveMessage("propagate", speak()))
    await hive.settle()
    assert len(of(other, "propagate")) == 1
    assert sender.closed is None


# --- the hub above is down ----------------------------------------------------------------------------------


async def test_what_cannot_go_up_is_answered_and_harms_nobody(hives: AsyncExitStack) -> None:
    """W6"""
    _, child = await chain(hives, "loft", "hall")
    sender, sibling = await child.join("sender"), await child.join("sibling")
    child.parent.cut()  # type: ignore[union-attr]
    for verb in ("escalate", "propagate", "cascade"):
        sender.send(HiveMessage(verb, speak()))
    sender.send(HiveMessage("query", speak(), metadata={"query_id": "q"}))
    await child.settle()
    assert [denial["code"] for denial in sender.denials] == ["upstream_unavailable"] * 3
    assert [denial["denied_type"] for denial in sender.denials] == ["escalate", "propagate", "cascade"]
    assert answers(sender) == [("hive.query.timeout", "upstream_unavailable")]
    assert [len(of(sibling, kind)) for kind in ("propagate", "cascade")] == [1, 1]
    assert sender.closed is None


async def test_who_waits_for_the_hub_above_is_told_that_it_is_gone(hives: AsyncExitStack) -> None:
    _, child = await chain(hives, "loft", "hall")
    sender = await child.join("sender")
    agent_says(child)
    sender.send(HiveMessage("query", asking(), metadata={"query_id": "q"}))
    await child.settle()
    assert answers(sender) == []
    child.parent.cut()  # type: ignore[union-attr]
    await child.settle()
    assert answers(sender) == [("hive.query.timeout", "upstream_unavailable")]


async def test_a_question_that_is_denied_above_is_answered_below(hives: AsyncExitStack) -> None:
    [top] = await chain(hives, "loft")
    uplink = MemoryUplink(top, "hall", allowed_types=("speak",))
    child = await hives.enter_async_context(MemoryHive(identity=hub_at("hall"), parent=uplink))
    agent_says(child)
    asker = await child.join("asker")
    asker.send(HiveMessage("query", asking()))
    await child.settle()
    assert answers(asker) == [("hive.query.timeout", "acl_disallowed_type")]
    assert child.agent.of_type("hive.policy.denied") == []


# --- questions ----------------------------------------------------------------------------------------------


async def test_a_skill_that_waits_until_its_answer_is_spoken_is_told_so(hives: AsyncExitStack) -> None:
    """Nobody plays the answer to a QUERY, and the skill would hold back its end for 15 seconds."""
    [hive] = await chain(hives, "hall")
    asker = await hive.join("asker")

    def respond(message: Message) -> None:
        if message.msg_type == UTTERANCE:
            hive.agent.deliver(message.forward("speak", {"utterance": "four"}))
        elif message.msg_type == "recognizer_loop:audio_output_end":
            [asked] = hive.agent.of_type(UTTERANCE)
            hive.agent.deliver(asked.forward("ovos.utterance.handled"))

    hive.agent.respond = respond
    asker.send(HiveMessage("query", asking(), metadata={"query_id": "q"}))
    await hive.settle()
    assert answers(asker) == [("speak", "four")]
    hive.clock.advance(1)
    hive.hub.tick()
    await hive.settle()
    assert answers(asker) == [("speak", "four"), ("hive.query.complete", None)]
    [start], [end] = (hive.agent.of_type(f"recognizer_loop:audio_output_{each}") for each in ("start", "end"))
    [asked] = hive.agent.of_type(UTTERANCE)
    assert start.context["session"]["session_id"] == asked.context["session"]["session_id"]
    assert end.context["session"] == start.context["session"]


async def test_a_query_is_answered_by_the_agent_in_the_askers_own_session(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    asker, other = await hive.join("asker", lang="de-de"), await hive.join("other")
    agent_says(hive, "four", "o'clock")
    asker.send(HiveMessage("query", asking(), metadata={"query_id": "q"}))
    await hive.settle()
    assert answers(asker) == [("speak", "four"), ("speak", "o'clock"), ("hive.query.complete", None)]
    assert (asker.bus_messages, other.messages) == ([], [])
    assert {"query_id": "q", "originator_peer": asker.peer_id, "responder_peer": "node of the hall"}.items() <= of(
        asker, "query"
    )[0].metadata.items()
    [asked] = hive.agent.of_type(UTTERANCE)
    assert asked.context["session"]["session_id"] == f"{asker.peer.namespace}:{asker.session['session_id']}"
    assert asked.data["lang"] == "de-de"
    assert [event.data["query_id"] for event in hive.agent.of_type("hive.query.received")] == ["q"]


async def test_a_query_goes_up_as_soon_as_the_agent_declines(hives: AsyncExitStack) -> None:
    top, middle, child = await chain(hives, "loft", "hall", "cellar")
    asker = await child.join("asker")
    agent_says(child)
    agent_says(middle)
    agent_says(top, "from the top")
    asker.send(HiveMessage("query", asking()))
    await child.settle()
    assert answers(asker) == [("speak", "from the top"), ("hive.query.complete", None)]


async def test_the_nearest_answer_wins_and_nobody_above_is_asked(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    asker = await child.join("asker")
    agent_says(child, "from the hall")
    agent_says(top, "from the loft")
    asker.send(HiveMessage("query", asking()))
    await child.settle()
    assert answers(asker) == [("speak", "from the hall"), ("hive.query.complete", None)]
    assert top.agent.utterances == []


async def test_a_query_that_nobody_answers_ends(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    asker = await child.join("asker")
    agent_says(child)
    agent_says(top)
    for number in range(3):  # W37: the way back is free again each time
        asker.send(HiveMessage("query", asking(), metadata={"query_id": "the same"}))
        await child.settle()
        assert answers(asker) == [("hive.query.timeout", "no_answer")] * (number + 1)


async def test_an_agent_that_says_nothing_is_waited_for_and_then_given_up(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    agent_says(top, "at last")
    asker = await child.join("asker")
    asker.send(HiveMessage("query", asking()))
    await child.settle()
    assert answers(asker) == []
    child.clock.advance(11)
    child.hub.tick()
    await child.settle()
    assert answers(asker) == [("speak", "at last"), ("hive.query.complete", None)]


async def test_a_denied_question_is_told_and_goes_nowhere(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    asker = await child.join("asker", client=child.add_client("asker", allowed_types=("speak",)))
    for verb in ("query", "cascade"):
        asker.send(HiveMessage(verb, asking()))
    await child.settle()
    assert [denial["code"] for denial in asker.denials] == ["acl_disallowed_type"] * 2
    assert top.agent.of_type("hive.query.received") == []


async def test_nobody_answers_for_somebody_else(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    asker, liar = await hive.join("asker"), await hive.join("liar")
    asker.send(HiveMessage("query", asking(), metadata={"query_id": "q"}))
    await hive.settle()
    forged = {"query_id": "q", "originator_peer": asker.peer_id, "is_response": True}
    liar.send(HiveMessage("query", speak("a lie"), metadata=forged))
    liar.send(HiveMessage("query", asking(), metadata={"query_id": "q"}))
    await hive.settle()
    assert (answers(asker), answers(liar)) == ([], [("hive.query.timeout", "no_answer")])
    assert len(hive.agent.utterances) == 1


async def test_a_cascade_collects_from_every_level(hives: AsyncExitStack) -> None:
    top, middle, child = await chain(hives, "loft", "hall", "cellar")
    for hive, text in ((top, "loft"), (middle, "hall"), (child, "cellar")):
        agent_says(hive, text)
    asker, sibling = await middle.join("asker"), await middle.join("sibling")
    asker.send(HiveMessage("cascade", asking(), metadata={"query_id": "q"}))
    await child.settle()
    spoken = [text for kind, text in answers(asker, "cascade") if kind == "speak"]
    assert sorted(spoken) == ["cellar", "hall", "loft"]
    [asked] = of(sibling, "cascade")
    answer = {**asked.metadata, "is_response": True, "responder_peer": "sibling"}
    sibling.send(HiveMessage("cascade", speak("me too"), metadata=answer))
    await child.settle()
    assert answers(asker, "cascade")[-1] == ("speak", "me too")
    assert of(sibling, "cascade") == [asked]


async def test_the_embedder_may_choose_among_the_answers_to_a_cascade(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    agent_says(top, "from the loft")
    agent_says(child, "from the hall")

    def select(query_id: str, responses: list[Any]) -> Message | None:
        return Message("chosen", {"query_id": query_id, "of": len(responses)}) if len(responses) == 2 else None

    child.hub.mesh.cascade_select_callback = select
    asker = await child.join("asker")
    asker.send(HiveMessage("cascade", asking(), metadata={"query_id": "q"}))
    await child.settle()
    assert [message.data for message in child.agent.of_type("chosen")] == [{"query_id": "q", "of": 2}]
    assert answers(asker, "cascade") == []


def reply_to(asked: HiveMessage, message: Message, kind: str = "query", responder: str = "x") -> HiveMessage:
    """An answer of a satellite, as a hub below would send it."""
    metadata = {**asked.metadata, "is_response": True, "responder_peer": responder}
    return HiveMessage(kind, HiveMessage(HiveMessageType.BUS, message), metadata=metadata)


async def test_a_query_from_above_is_unanswered_only_when_the_last_below_declines(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    agent_says(child)
    one, other = await child.join("one"), await child.join("other")
    question = {"msg_type": "bus", "payload": {"type": UTTERANCE, "data": {"utterances": ["hi"]}, "context": {}}}
    request = {"msg_type": "query", "payload": question, "peer": child.parent.satellite.peer_id}  # type: ignore[union-attr]
    top.agent.deliver(Message("hive.send.downstream", request))
    await child.settle()
    [asked] = of(one, "query")
    one.send(reply_to(asked, Message("hive.query.timeout", {"error": "no_answer"})))
    await child.settle()
    assert top.agent.of_type("hive.query.timeout") == []
    other.send(reply_to(asked, Message("speak", {"utterance": "here"})))
    await child.settle()
    assert [message.data["utterance"] for message in top.agent.of_type("speak")] == ["here"]


async def test_a_cascade_cannot_be_ended_by_one_that_answers(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    asker, rude, other = await hive.join("asker"), await hive.join("rude"), await hive.join("other")
    asker.send(HiveMessage("cascade", asking(), metadata={"query_id": "q"}))
    await hive.settle()
    [asked] = of(other, "cascade")
    rude.send(reply_to(asked, Message("hive.query.complete"), "query"))
    other.send(reply_to(asked, Message("speak", {"utterance": "here"}), "cascade"))
    await hive.settle()
    assert (answers(asker), answers(asker, "cascade")) == ([], [("speak", "here")])


async def test_a_choice_that_fails_harms_nobody_and_one_that_is_made_is_final(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    asker, other = await hive.join("asker"), await hive.join("other")

    def select(query_id: str, responses: list[Any]) -> Message | None:
        if len(responses) == 1:
            raise ValueError("not yet")
        return Message("chosen", {"of": len(responses)})

    hive.hub.mesh.questions.choice.select = select
    for round_ in range(2):
        asker.send(HiveMessage("cascade", asking(), metadata={"query_id": "q"}))
        await hive.settle()
        for _ in range(5):
            other.send(reply_to(of(other, "cascade")[-1], Message("speak", {"utterance": "x"}), "cascade"))
        await hive.settle()
        assert [message.data for message in hive.agent.of_type("chosen")] == [{"of": 2}] * (round_ + 1)
    assert other.closed is None


async def test_a_question_goes_on_at_once_when_the_agent_is_lost(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    agent_says(top, "from the loft")
    asker = await child.join("asker")
    asker.send(HiveMessage("query", asking()))
    await child.settle()
    child.agent.available = False
    child.hub.tick()
    await child.settle()
    asker.send(HiveMessage("query", asking()))
    await child.settle()
    child.clock.advance(11)
    child.hub.tick()
    await child.settle()
    assert answers(asker) == [("speak", "from the loft"), ("hive.query.complete", None)] * 2


async def test_a_question_from_above_cannot_harm_the_agents_bus(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    bad = {"type": UTTERANCE, "data": {"utterances": ["hi"]}, "context": {"session": {"lang": 5}}}
    request = {"msg_type": "query", "payload": {"msg_type": "bus", "payload": bad}}
    request["peer"] = child.parent.satellite.peer_id  # type: ignore[union-attr]
    top.agent.deliver(Message("hive.send.downstream", request))
    await child.settle()
    assert child.agent.utterances == []
    assert [message.data["error"] for message in top.agent.of_type("hive.query.timeout")] == ["no_answer"]


# --- from the agent -----------------------------------------------------------------------------------------


async def test_the_agent_sends_down_to_one_or_to_all(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    one, other = await hive.join("one"), await hive.join("other")
    body = {"msg_type": "bus", "payload": {"type": "speak", "data": {"utterance": "x"}, "context": {}}}
    for kind in ("propagate", "broadcast"):
        hive.agent.deliver(Message("hive.send.downstream", {"msg_type": kind, "payload": body, "site_id": "loft"}))
    hive.agent.deliver(Message("hive.send.downstream", {"msg_type": "escalate", "payload": body}))
    hive.agent.deliver(
        Message("hive.send.downstream", {"msg_type": "bus", "payload": body["payload"], "peer": one.peer_id})
    )
    hive.agent.deliver(Message("hive.send.downstream", {"msg_type": "bus", "payload": body["payload"], "peer": "x"}))
    await hive.settle()
    assert [message.msg_type for message in one.messages] == ["propagate", "broadcast", "bus"]
    assert [message.msg_type for message in other.messages] == ["propagate", "broadcast"]
    got = one.messages[0]
    assert (got.target_site_id, got.route, got.payload.as_dict["payload"]) == ("loft", [], body["payload"])
    assert [error.data["peer"] for error in hive.agent.of_type("hive.client.send.error")] == ["x"]


async def test_the_agent_asks_the_hub_above_and_hears_the_answer(hives: AsyncExitStack) -> None:
    """W26"""
    top, child = await chain(hives, "loft", "hall")
    agent_says(top, "from the loft")
    question = {"msg_type": "bus", "payload": {"type": UTTERANCE, "data": {"utterances": ["hi"]}, "context": {}}}
    child.agent.deliver(Message("hive.send.upstream", {"msg_type": "query", "payload": question}))
    await child.settle()
    assert [message.data["utterance"] for message in child.agent.of_type("speak")] == ["from the loft"]
    top.agent.respond = lambda message: None
    child.agent.deliver(Message("hive.send.upstream", {"msg_type": "query", "payload": question}))
    await child.settle()
    child.parent.cut()  # type: ignore[union-attr]
    assert [message.data["error"] for message in child.agent.of_type("hive.query.timeout")] == ["upstream_unavailable"]
    child.agent.deliver(Message("hive.send.upstream", {"msg_type": "query", "payload": question}))
    assert len(child.agent.of_type("hive.client.send.error")) == 1


# --- floods -------------------------------------------------------------------------------------------------


def ping(flood_id: str, node: str, **more: Any) -> HiveMessage:
    body = {"flood_id": flood_id, "peer": node, "site_id": None, "timestamp": 1.0, **more}
    return HiveMessage("propagate", HiveMessage("ping", body))


async def flood(hives: AsyncExitStack, satellites: int) -> tuple[int, set[str]]:
    """One PING in a hive whose satellites all answer; return the frames it took and who was heard."""
    top, child = await chain(hives, "loft", "hall")
    frames = 0
    asker = await child.join("asker")

    def answer(one: MemorySatellite, name: str) -> None:
        def on_message(message: HiveMessage) -> None:
            nonlocal frames
            frames += 1
            if message.msg_type == "propagate" and message.payload.msg_type == "ping" and name not in told:
                told.add(name)
                frames += 1
                one.send(ping(message.payload.body["flood_id"], name))

        one.on_message = on_message

    told: set[str] = set()
    for number in range(satellites):
        hive = (top, child)[number % 2]
        answer(await hive.join(f"s{number}"), f"s{number}")
    asker.send(ping("f", "asker"))
    for _ in range(4):
        await child.settle()
    heard = {message.payload.body["peer"] for message in of(asker, "propagate")}
    return frames + len(asker.messages), heard


async def test_a_ping_finds_everybody_at_a_cost_that_grows_with_their_number(hives: AsyncExitStack) -> None:
    """W27"""
    cost = {}
    for count in (10, 40):
        cost[count], heard = await flood(hives, count)
        assert heard == {*(f"s{number}" for number in range(count)), "node of the loft", "node of the hall"}
    assert cost[40] <= 4 * cost[10]


async def test_an_answer_from_above_says_what_it_passed(hives: AsyncExitStack) -> None:
    _, child = await chain(hives, "loft", "hall")
    asker = await child.join("asker")
    asker.send(ping("f", "asker"))
    await child.settle()
    routes = {m.payload.body["peer"]: [hop["source"] for hop in m.route] for m in of(asker, "propagate")}
    assert routes == {"node of the hall": [], "node of the loft": ["node of the loft", "node of the hall"]}


async def test_a_ping_is_told_on_the_bus_once(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    one, other = await hive.join("one"), await hive.join("other")
    one.send(ping("f", "me"))
    await hive.settle()
    other.send(ping("f", "me"))
    await hive.settle()
    assert [event.data["peer"] for event in hive.agent.of_type("hive.ping.received")] == ["me"]
    assert len(of(other, "propagate")) == 1


async def test_a_ping_with_somebody_elses_key_is_dropped(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    other = await hive.join("other")
    liar = await hive.join("liar", client=hive.add_client("liar", metadata={"intercom_pubkey": "its own"}))
    liar.send(ping("f", "liar", public_key="another's"))
    await hive.settle()
    assert other.messages == liar.messages == []


# --- sealed messages ----------------------------------------------------------------------------------------


async def sealed_hive(hives: AsyncExitStack) -> tuple[MemoryHive, MemorySatellite, MemorySatellite]:
    hive = await hives.enter_async_context(MemoryHive(identity=hub_at("hall", rsa_key=True)))
    row = hive.add_client("sender", metadata={"intercom_pubkey": OWN_PEM})
    return hive, await hive.join("sender", client=row), await hive.join("other")


@pytest.mark.parametrize("bare", [False, True])
async def test_an_intercom_to_the_hub_is_acted_upon_once(hives: AsyncExitStack, bare: bool) -> None:
    hive, sender, other = await sealed_hive(hives)
    intercom = seal(asking("secret"), HUB_PEM, OWN_KEY)
    for _ in range(2):
        sender.send(intercom if bare else propagated(intercom))
    await hive.settle()
    assert hive.agent.utterances == ["secret"]
    [injected] = hive.agent.of_type(UTTERANCE)
    assert injected.context["hivemind_verified_source_peer"].strip() == OWN_PEM.strip()
    assert other.messages == []


async def test_what_is_sealed_acts_with_the_senders_rights_only(hives: AsyncExitStack) -> None:
    hive, sender, _ = await sealed_hive(hives)
    sender.send(propagated(seal(HiveMessage("broadcast", speak()), HUB_PEM, OWN_KEY)))
    await hive.settle()
    assert sender.closed == (4003, "BROADCAST is not allowed for this client")


async def test_an_intercom_for_another_is_passed_on_as_it_is(hives: AsyncExitStack) -> None:
    hive, sender, other = await sealed_hive(hives)
    foreign, unaddressed = seal(speak(), OWN_PEM, OWN_KEY), seal(speak(), OWN_PEM, OWN_KEY).forward(target_pubkey=None)
    for intercom in (foreign, unaddressed):
        sender.send(propagated(intercom))
    await hive.settle()
    assert [message.payload.body for message in of(other, "propagate")] == [foreign.body, unaddressed.body]


async def test_an_intercom_signed_by_nobody_known_is_dropped(hives: AsyncExitStack) -> None:
    hive, sender, other = await sealed_hive(hives)
    stranger = rsa_pair()[1]
    sender.send(propagated(seal(asking("secret"), HUB_PEM, stranger)))
    await hive.settle()
    assert (hive.agent.utterances, other.messages, sender.closed) == ([], [], None)


async def test_an_intercom_over_several_hubs_is_checked_against_its_author(hives: AsyncExitStack) -> None:
    """W17"""
    top = await hives.enter_async_context(MemoryHive(identity=hub_at("loft", rsa_key=True)))
    below = MemoryHive(identity=hub_at("hall"), parent=MemoryUplink(top, "hall", metadata={"intercom_pubkey": "x"}))
    child = await hives.enter_async_context(below)
    row = child.add_client("sender", metadata={"intercom_pubkey": OWN_PEM})
    sender = await child.join("sender", client=row)
    sender.send(ping("f", f"sender::{sender.session['session_id']}", public_key=OWN_PEM))
    await child.settle()
    sender.send(propagated(seal(asking("from far away"), HUB_PEM, OWN_KEY)))
    await child.settle()
    assert top.agent.utterances == ["from far away"]


SEALED_ABOVE = [
    (speak("hello"), "speak"),
    (HiveMessage("bus", Message("system.shutdown")), ""),
    (HiveMessage("bus", Message("hive.policy.denied", {"denied_type": "query"})), ""),
    (HiveMessage("broadcast", speak("to all"), target_site_id="hall"), ""),
    (HiveMessage("propagate", speak("to the site"), target_site_id="hall"), "speak"),
]


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(("sealed", "heard"), SEALED_ABOVE)
async def test_what_somebody_above_seals_for_a_hub_may_no_more_than_what_it_propagates(
    hives: AsyncExitStack, sealed: HiveMessage, heard: str, trusted: bool
) -> None:
    """Unless the hub's owner trusts its key. Whoever wrote it is named on the agent's bus."""
    [top] = await chain(hives, "loft")
    identity = replace(hub_at("hall", rsa_key=True), trusted_keys=(OWN_PEM,) if trusted else ())
    child = await hives.enter_async_context(MemoryHive(identity=identity, parent=MemoryUplink(top, "hall")))
    above, below = await top.join("above"), await child.join("below")
    above.send(ping("f", f"above::{above.session['session_id']}", public_key=OWN_PEM))
    above.send(propagated(seal(sealed, HUB_PEM, OWN_KEY)))
    await child.settle()
    topic = sealed.payload.msg_type if sealed.msg_type == "bus" else "speak"
    expected = topic if trusted else heard
    came = [message for message in child.agent.received if message.msg_type == topic]
    assert [message.msg_type for message in came] == ([expected] if expected else [])
    assert [message.context.get("hivemind_verified_source_peer") for message in came] == [OWN_PEM] * len(came)
    assert len(of(below, "broadcast")) == (sealed.msg_type == "broadcast" and trusted)


async def test_a_satellite_cannot_claim_a_verified_author(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    sender = await hive.join("sender")
    sender.emit(UTTERANCE, {"utterances": ["hi"]}, {"hivemind_verified_source_peer": "somebody"})
    await hive.settle()
    assert "hivemind_verified_source_peer" not in hive.agent.of_type(UTTERANCE)[0].context


# --- the rest -----------------------------------------------------------------------------------------------


async def test_what_a_satellite_shares_is_shown_to_whoever_watches(hives: AsyncExitStack) -> None:
    [hive] = await chain(hives, "hall")
    seen: list[tuple[str, str]] = []
    hive.hub.mesh.on_shared_bus = lambda peer_id, message: seen.append((peer_id, message.msg_type))
    sender, other = await hive.join("sender"), await hive.join("other")
    sender.send(HiveMessage("shared_bus", Message("speak")))
    await hive.settle()
    assert seen == [(sender.peer_id, "speak")]
    assert (hive.agent.of_type("speak"), other.messages) == ([], [])


async def test_a_bus_message_of_the_hub_above_reaches_the_agent(hives: AsyncExitStack) -> None:
    """W26"""
    top, child = await chain(hives, "loft", "hall")
    peer = child.parent.satellite.peer_id  # type: ignore[union-attr]
    body = {"type": "speak", "data": {"utterance": "x"}, "context": {"destination": peer}}
    top.agent.deliver(Message("hive.send.downstream", {"msg_type": "bus", "payload": body, "peer": peer}))
    await child.settle()
    assert [message.data for message in child.agent.of_type("speak")] == [{"utterance": "x"}]


async def test_who_may_propagate_above_brings_only_some_types_to_the_agent_below(hives: AsyncExitStack) -> None:
    top, child = await chain(hives, "loft", "hall")
    above = await top.join("above")
    for kind in ("speak", "system.shutdown"):
        inner = HiveMessage("bus", Message(kind, {"utterance": "x"}))
        above.send(HiveMessage("propagate", inner, target_site_id="hall"))
    await child.settle()
    assert [
        message.msg_type for message in child.agent.received if message.msg_type in ("speak", "system.shutdown")
    ] == ["speak"]
