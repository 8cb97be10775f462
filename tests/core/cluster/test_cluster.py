"""Hubs that are one: what crosses between them, and what does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.memory_cluster import MemoryCluster, answered, carrying, denials, of_type, one_each, said, share_a_bus
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core.cluster.cluster import HERE_EVERY_S, SHARED_S
from hivemind_core.cluster.members import LEASE_S
from hivemind_core.testing import MemorySatellite

PROPAGATE, BROADCAST, CASCADE = HiveMessageType.PROPAGATE, HiveMessageType.BROADCAST, HiveMessageType.CASCADE


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[MemoryCluster]:
    async with MemoryCluster(tmp_path, 2) as made:
        yield made


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[MemoryCluster]:
    async with MemoryCluster(tmp_path, 3) as made:
        yield made


# --- who is there, and who is where --------------------------------------------------------------------------


async def test_all_know_of_each_other_and_the_oldest_leads(three: MemoryCluster) -> None:
    for cluster in three.clusters:
        assert {each.hub for each in cluster.others()} == {"hub0", "hub1", "hub2"} - {cluster.hub}
        assert cluster.leader.hub == "hub0"
        assert not cluster.leads
    await three.pass_time(4)
    assert [cluster.leads for cluster in three.clusters] == [True, False, False]


async def test_one_that_stops_is_gone_at_once(three: MemoryCluster) -> None:
    await three.pass_time(4)
    await three.clusters[0].stop()
    await three.settle()
    assert [each.hub for each in three.clusters[1].others()] == ["hub2"]
    assert three.clusters[1].leads


async def test_one_that_is_silent_is_missed_and_its_satellites_with_it(three: MemoryCluster) -> None:
    alice, _, _ = await one_each(three)
    assert three.clusters[1].has(alice.peer.peer_id)
    three.redis.kill("hub0")
    await three.pass_time(LEASE_S - 1)
    assert three.clusters[1].has(alice.peer.peer_id)
    await three.pass_time(2)
    assert [each.hub for each in three.clusters[1].others()] == ["hub2"]
    assert not three.clusters[1].has(alice.peer.peer_id)


async def test_nobody_is_missed_while_redis_is_away(pair: MemoryCluster) -> None:
    alice, _ = await one_each(pair)
    pair.redis.set_available(False)
    await pair.pass_time(10 * LEASE_S)
    assert pair.clusters[1].has(alice.peer.peer_id)
    pair.redis.set_available(True)
    await pair.pass_time(LEASE_S + 2)
    assert pair.clusters[1].has(alice.peer.peer_id)


async def test_who_comes_and_goes_meanwhile_is_told_when_redis_is_back(pair: MemoryCluster) -> None:
    alice, bob = await one_each(pair)
    pair.redis.set_available(False)
    alice.leave()
    carol = await pair.hives[0].join("carol")
    await pair.settle()
    assert pair.clusters[1].has(alice.peer.peer_id)
    pair.redis.set_available(True)
    await pair.settle()
    assert not pair.clusters[1].has(alice.peer.peer_id)
    assert pair.clusters[1].has(carol.peer.peer_id)
    assert pair.clusters[0].has(bob.peer.peer_id)


async def test_one_that_joins_late_learns_of_everybody(pair: MemoryCluster) -> None:
    satellites = await one_each(pair)
    await pair.add("late")
    await pair.settle()
    assert all(pair.clusters[2].has(each.peer.peer_id) for each in satellites)


async def test_a_satellite_is_where_it_connected_last(pair: MemoryCluster) -> None:
    """Its old connection may look alive for a while yet."""
    row = pair.hives[0].add_client("roamer")
    await pair.hives[1].hub.refresh()
    before = await pair.hives[0].join("roamer", client=row, session_id="the one")
    await pair.hives[1].hub.refresh()
    pair.clock.advance(1)
    after = MemorySatellite(pair.hives[1], row.password or "", before.session)
    after.static_key = before.static_key
    await pair.hives[1].connect(after, row, "roamer")
    await pair.settle()
    assert before.peer.peer_id == after.peer.peer_id
    pair.hives[0].agent.deliver(said("hello", after))
    await pair.settle()
    assert (before.heard, after.heard) == ([], ["hello"])
    before.leave()
    await pair.settle()
    pair.hives[0].agent.deliver(said("again", after))
    await pair.settle()
    assert after.heard == ["hello", "again"]


# --- answers ------------------------------------------------------------------------------------------------


async def test_an_answer_reaches_a_satellite_at_another_hub(pair: MemoryCluster) -> None:
    alice, bob = await one_each(pair)
    pair.hives[0].agent.deliver(said("hello bob", bob))
    await pair.settle()
    assert (alice.heard, bob.heard) == ([], ["hello bob"])
    [reply] = [each for each in bob.bus_messages if each.msg_type == "speak"]
    assert reply.context["source"] == "hive"


async def test_one_answer_for_several_reaches_each_where_it_is(three: MemoryCluster) -> None:
    satellites = await one_each(three)
    names = [each.peer.peer_id for each in satellites]
    three.hives[1].agent.deliver(Message("speak", {"utterance": "all"}, {"destination": names, "source": "skills"}))
    await three.settle()
    assert [each.heard for each in satellites] == [["all"]] * 3


async def test_an_answer_under_way_does_not_come_after_a_later_one(pair: MemoryCluster) -> None:
    """It was for the connection that the satellite had at that hub when it was sent."""
    row = pair.hives[0].add_client("roamer")
    await pair.hives[1].hub.refresh()
    stays = [await pair.hives[1].join("roamer", client=row, session_id="the one")]
    await pair.settle()
    pair.redis.hold()
    pair.hives[0].agent.deliver(said("first", stays[0]))
    for hive in pair.hives:  # it goes to the one hub, and back to the other
        await pair.settle()
        stays[-1].leave()
        pair.clock.advance(1)
        stays.append(MemorySatellite(hive, row.password or "", stays[0].session))
        stays[-1].static_key = stays[0].static_key
        await hive.connect(stays[-1], row, "roamer")
        if hive is pair.hives[0]:
            hive.agent.deliver(said("second", stays[0]))
    pair.redis.let_go()
    await pair.settle()
    assert [stay.heard for stay in stays] == [[], ["second"], []]
    pair.hives[0].agent.deliver(said("third", stays[0]))
    await pair.settle()
    assert stays[-1].heard == ["third"]


async def test_the_session_id_loses_its_namespace_there_too(pair: MemoryCluster) -> None:
    _, bob = await one_each(pair)
    bob.say("hello")
    await pair.settle()
    [asked] = pair.hives[1].agent.of_type("recognizer_loop:utterance")
    pair.hives[0].agent.deliver(asked.reply("speak", {"utterance": "hi"}))
    await pair.settle()
    [answer] = [each for each in bob.bus_messages if each.msg_type == "speak"]
    assert answer.context["session"]["session_id"] == bob.session["session_id"]


async def test_hubs_that_share_an_assistant_each_answer_for_their_own(three: MemoryCluster) -> None:
    assistant = share_a_bus(three)
    satellites = await one_each(three)
    await three.pass_time(HERE_EVERY_S + 1)
    three.redis.carried.clear()
    for number in range(3):
        for each in satellites:
            assistant.say(said(f"part {number}", each))
            assistant.say(said("again and again", each))
    await three.settle()
    for each in satellites:
        assert each.heard == [part for number in range(3) for part in (f"part {number}", "again and again")]
    assert not three.redis.of_type("reply")


async def test_an_answer_that_comes_by_two_ways_is_heard_once(pair: MemoryCluster) -> None:
    """Before hubs know that they share an assistant, each passes on what the other hears itself."""
    assistant = share_a_bus(pair)
    _, bob = await one_each(pair)
    for cluster in pair.clusters:
        cluster._sharing.clear()
    for text in ("one", "two", "two"):
        assistant.say(said(text, bob))
    await pair.settle()
    assert bob.heard == ["one", "two", "two"]
    assert len(pair.redis.of_type("reply")) == 3


async def test_an_assistant_that_one_hub_lost_is_heard_through_the_other(pair: MemoryCluster) -> None:
    assistant = share_a_bus(pair)
    _, bob = await one_each(pair)
    await pair.pass_time(HERE_EVERY_S + 1)
    pair.hives[1].agent.available = False
    await pair.pass_time(1)
    assistant.say(said("still here", bob))
    await pair.settle()
    assert bob.heard == ["still here"]


async def test_a_request_on_its_way_to_a_shared_assistant_is_no_answer(pair: MemoryCluster) -> None:
    share_a_bus(pair)
    alice, bob = await one_each(pair)
    alice.emit("recognizer_loop:utterance", {"utterances": ["hi"]}, {"destination": bob.peer.peer_id})
    await pair.settle()
    assert bob.bus_messages == []


async def test_an_answer_that_cannot_cross_is_reported_on_the_bus(pair: MemoryCluster) -> None:
    alice, bob = await one_each(pair)
    pair.redis.set_available(False)
    pair.hives[0].agent.deliver(said("lost", bob))
    pair.hives[0].agent.deliver(said("local", alice))
    await pair.settle()
    assert (alice.heard, bob.heard) == (["local"], [])
    [told] = pair.hives[0].agent.of_type("hive.client.send.error")
    assert told.data["error"].startswith("backend_unavailable")
    assert told.data["peer"] == bob.peer.peer_id


async def test_an_answer_that_may_not_have_arrived_is_reported_too(pair: MemoryCluster) -> None:
    _, bob = await one_each(pair)
    pair.hives[0].agent.deliver(said("lost", bob))
    [frame] = pair.redis.of_type("reply")
    pair.redis.wires["hub0"].undelivered("hub1", frame)
    assert len(pair.hives[0].agent.of_type("hive.client.send.error")) == 1


# --- messages that travel -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PROPAGATE, BROADCAST])
async def test_what_goes_to_all_reaches_all_once(three: MemoryCluster, kind: HiveMessageType) -> None:
    alice, bob, carol = await one_each(three, is_admin=True)
    alice.send(carrying(kind))
    await three.settle()
    assert [len(of_type(each, kind)) for each in (alice, bob, carol)] == [0, 1, 1]
    [there], [here] = of_type(bob, kind), of_type(carol, kind)
    assert there.as_dict == here.as_dict


@pytest.mark.parametrize("kind", [PROPAGATE, BROADCAST])
async def test_what_cannot_cross_reaches_the_others_here_and_the_sender_is_told(
    pair: MemoryCluster, kind: HiveMessageType
) -> None:
    alice, bob = await one_each(pair, is_admin=True)
    carol = await pair.hives[0].join("carol")
    pair.redis.set_available(False)
    alice.send(carrying(kind))
    await pair.settle()
    assert [len(of_type(each, kind)) for each in (bob, carol)] == [0, 1]
    assert denials(alice) == ["backend_unavailable"]


async def test_what_the_assistant_sends_to_all_reaches_all_once(three: MemoryCluster) -> None:
    satellites = await one_each(three)
    payload = {"type": "hello", "data": {}, "context": {}}
    request = Message("hive.send.downstream", {"msg_type": "broadcast", "payload": _bus(payload)})
    three.hives[0].agent.deliver(request)
    await three.settle()
    assert [len(of_type(each, BROADCAST)) for each in satellites] == [1, 1, 1]


async def test_so_it_does_where_they_share_it(three: MemoryCluster) -> None:
    assistant = share_a_bus(three)
    satellites = await one_each(three)
    await three.pass_time(HERE_EVERY_S + 1)
    payload = {"type": "hello", "data": {}, "context": {}}
    assistant.say(Message("hive.send.downstream", {"msg_type": "broadcast", "payload": _bus(payload)}))
    await three.settle()
    assert [len(of_type(each, BROADCAST)) for each in satellites] == [1, 1, 1]


def _bus(payload: dict[str, Any]) -> dict[str, Any]:
    return {"msg_type": "bus", "payload": payload}


@pytest.mark.parametrize("shared", [False, True])
async def test_what_the_assistant_sends_to_one_reaches_it(pair: MemoryCluster, shared: bool) -> None:
    assistant = share_a_bus(pair) if shared else None
    _, bob = await one_each(pair)
    await pair.pass_time(HERE_EVERY_S + 1)
    data = {"msg_type": "bus", "payload": {"type": "hello", "data": {}, "context": {}}, "peer": bob.peer.peer_id}
    request = Message("hive.send.downstream", data)
    (assistant.say if assistant else pair.hives[0].agent.deliver)(request)
    await pair.settle()
    assert [each.msg_type for each in bob.bus_messages] == ["hello"]
    for hive in pair.hives:
        assert not hive.agent.of_type("hive.client.send.error")


async def test_that_nobody_is_there_is_said_once(pair: MemoryCluster) -> None:
    assistant = share_a_bus(pair)
    await pair.pass_time(HERE_EVERY_S + 1)
    data = {"msg_type": "bus", "payload": {"type": "hello", "data": {}, "context": {}}, "peer": "nobody"}
    assistant.say(Message("hive.send.downstream", data))
    await pair.settle()
    assert sum(len(hive.agent.of_type("hive.client.send.error")) for hive in pair.hives) == 1


async def test_who_shares_an_assistant_no_more_is_found_out(pair: MemoryCluster) -> None:
    share_a_bus(pair)
    _, bob = await one_each(pair)
    await pair.pass_time(HERE_EVERY_S + 1)
    for hive in pair.hives:
        hive.agent.respond = lambda message: None
    await pair.pass_time(SHARED_S + 1)
    pair.hives[0].agent.deliver(said("hello bob", bob))
    await pair.settle()
    assert bob.heard == ["hello bob"]


# --- questions ------------------------------------------------------------------------------------------------


async def test_a_cascade_asks_everybody_and_the_answers_come_back(three: MemoryCluster) -> None:
    alice, bob, carol = await one_each(three)
    alice.send(carrying(CASCADE, "recognizer_loop:utterance", metadata={"query_id": "q1"}))
    await three.settle()
    for each in (bob, carol):
        [asked] = of_type(each, CASCADE)
        answer = Message("speak", {"utterance": f"from {each.peer.client.name}"})
        inner = HiveMessage(HiveMessageType.BUS, answer)
        metadata = {**asked.metadata, "is_response": True, "responder_peer": each.peer.client.name}
        each.send(HiveMessage(CASCADE, inner, metadata=metadata))
    await three.settle()
    assert sorted(answered(alice, CASCADE)) == ["from satellite 1", "from satellite 2"]
    assert [len(of_type(each, CASCADE)) for each in (bob, carol)] == [1, 1]


async def test_a_cascade_is_put_to_one_assistant(three: MemoryCluster) -> None:
    alice, _, _ = await one_each(three)
    utterance = Message("recognizer_loop:utterance", {"utterances": ["who is there"], "lang": "en"})
    inner = HiveMessage(HiveMessageType.BUS, utterance)
    alice.send(HiveMessage(CASCADE, inner, metadata={"query_id": "q1"}))
    await three.settle()
    assert [hive.agent.utterances for hive in three.hives] == [["who is there"], [], []]


async def test_a_ping_reaches_everybody_and_their_answers_come_back(three: MemoryCluster) -> None:
    alice, bob, carol = await one_each(three)

    def ping(node: str) -> HiveMessage:
        return HiveMessage(PROPAGATE, HiveMessage(HiveMessageType.PING, {"flood_id": "f1", "peer": node}))

    alice.send(ping("alice"))
    await three.settle()
    for each, name in ((bob, "bob"), (carol, "carol")):
        [asked] = of_type(each, PROPAGATE)
        assert asked.payload.body["peer"] == "alice"
        each.send(ping(name))
    await three.settle()
    heard = [each.payload.body["peer"] for each in of_type(alice, PROPAGATE)]
    assert sorted(heard) == sorted([three.identity.node_id, "bob", "carol"])
    assert [len(of_type(each, PROPAGATE)) for each in (bob, carol)] == [1, 1]


@pytest.mark.parametrize("kind", [PROPAGATE, BROADCAST, CASCADE])
async def test_who_moves_while_a_message_is_under_way_does_not_get_it_again(
    pair: MemoryCluster, kind: HiveMessageType
) -> None:
    alice, bob = await one_each(pair, is_admin=True)
    row = pair.hives[0].add_client("roamer")
    await pair.hives[1].hub.refresh()
    before = await pair.hives[0].join("roamer", client=row, session_id="the one")
    await pair.settle()
    pair.redis.hold()
    alice.send(carrying(kind, metadata={"query_id": "q1"}))
    await pair.settle()
    before.leave()
    pair.clock.advance(1)
    after = MemorySatellite(pair.hives[1], row.password or "", before.session)
    after.static_key = before.static_key
    await pair.hives[1].connect(after, row, "roamer")
    pair.redis.let_go()
    await pair.settle()
    assert [len(of_type(each, kind)) for each in (before, after, bob)] == [1, 0, 1]
    alice.send(carrying(kind, "again", metadata={"query_id": "q2"}))
    await pair.settle()
    assert len(of_type(after, kind)) == 1


@pytest.mark.parametrize("kind", [PROPAGATE, BROADCAST])
async def test_who_moves_before_its_message_is_passed_on_does_not_get_it(
    pair: MemoryCluster, kind: HiveMessageType
) -> None:
    row = pair.hives[0].add_client("roamer", is_admin=True)
    await pair.hives[1].hub.refresh()
    before = await pair.hives[0].join("roamer", client=row, session_id="the one")
    after = MemorySatellite(pair.hives[1], row.password or "", before.session)
    after.static_key = before.static_key
    await pair.hives[1].connect(after, row, "roamer")
    bob = await pair.hives[1].join("bob")
    pair.clock.advance(1)
    before.send(carrying(kind))
    await pair.settle()
    assert [len(of_type(each, kind)) for each in (after, bob)] == [0, 1]


async def test_a_hub_that_was_paused_itself_misses_nobody(pair: MemoryCluster) -> None:
    _, bob = await one_each(pair)
    await pair.pass_time(1)
    pair.clock.advance(2 * LEASE_S)
    pair.clusters[0].tick()
    assert pair.clusters[0].has(bob.peer.peer_id)
    pair.redis.kill("hub1")
    await pair.pass_time(LEASE_S + 1)
    assert not pair.clusters[0].has(bob.peer.peer_id)


async def test_who_was_missed_and_is_found_again_names_its_satellites(pair: MemoryCluster) -> None:
    alice, _ = await one_each(pair)
    pair.redis.hold()
    await pair.pass_time(1)
    for _ in range(int(LEASE_S) + 1):
        pair.clock.advance(1)
        pair.clusters[1].tick()
    assert not pair.clusters[1].has(alice.peer.peer_id)
    pair.redis.let_go()
    pair.clusters[0].tick()
    await pair.settle()
    assert pair.clusters[1].has(alice.peer.peer_id)


async def test_a_satellite_that_came_back_stays_known_when_its_old_connection_ends(pair: MemoryCluster) -> None:
    row = pair.hives[0].add_client("roamer")
    await pair.hives[1].hub.refresh()
    first = await pair.hives[0].join("roamer", client=row, session_id="the one")
    connections = [first]
    for hive in (pair.hives[1], pair.hives[0]):
        pair.clock.advance(1)
        again = MemorySatellite(hive, row.password or "", first.session)
        again.static_key = first.static_key
        await hive.connect(again, row, "roamer")
        await pair.settle()
        connections.append(again)
    first.leave()
    await pair.settle()
    for number, hive in enumerate(pair.hives):
        hive.agent.deliver(said(f"from hub {number}", first))
    await pair.settle()
    assert [each.heard for each in connections] == [[], [], ["from hub 0", "from hub 1"]]
    assert not pair.hives[0].agent.of_type("hive.client.disconnect")
