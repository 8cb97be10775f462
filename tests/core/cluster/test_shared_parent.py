"""A cluster under another hub: it is one satellite there, whichever of its hubs is joined."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from helpers.memory_cluster import MemoryCluster, answered, carrying, denials, of_type, one_each
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core.cluster.cluster import LISTEN_S
from hivemind_core.cluster.members import LEASE_S
from hivemind_core.testing import MemoryHive, MemorySatellite

BROADCAST, CASCADE, PROPAGATE, QUERY, ESCALATE = (
    HiveMessageType.BROADCAST,
    HiveMessageType.CASCADE,
    HiveMessageType.PROPAGATE,
    HiveMessageType.QUERY,
    HiveMessageType.ESCALATE,
)


@pytest.fixture
async def above() -> AsyncIterator[MemoryHive]:
    async with MemoryHive() as made:
        yield made


@pytest.fixture
async def three(tmp_path: Path, above: MemoryHive) -> AsyncIterator[MemoryCluster]:
    async with MemoryCluster(tmp_path, 3, above) as made:
        await made.pass_time(LISTEN_S + 2)
        yield made


def joined(above: MemoryHive) -> int:
    return len(list(above.hub.peers))


async def test_one_hub_is_joined_for_all(three: MemoryCluster, above: MemoryHive) -> None:
    assert joined(above) == 1
    assert [hive.hub.parent.available for hive in three.hives] == [True] * 3  # type: ignore[union-attr]
    assert [each.has_parent for each in three.clusters[2].others()] == [True, False]


async def test_the_next_takes_over_when_it_is_gone(three: MemoryCluster, above: MemoryHive) -> None:
    three.redis.kill("hub0")
    await three.pass_time(LEASE_S + 3)
    assert joined(above) == 2  # the one that is cut off does not know
    assert three.clusters[1].leads
    await three.clusters[0].stop()
    assert three.clusters[2].leader.hub == "hub1"


@pytest.mark.parametrize("kind", [PROPAGATE, ESCALATE])
async def test_what_goes_up_goes_up_once(three: MemoryCluster, above: MemoryHive, kind: HiveMessageType) -> None:
    stranger = await above.join("stranger")
    for number, satellite in enumerate(await one_each(three)):
        satellite.send(carrying(kind, f"hello.{number}"))
        await three.settle()
        heard = len(of_type(stranger, PROPAGATE))
        assert heard == (number + 1 if kind == PROPAGATE else 0)
    assert not any(denials(each) for each in [stranger])


async def test_what_comes_down_reaches_all_once(three: MemoryCluster, above: MemoryHive) -> None:
    satellites = await one_each(three)
    admin = await above.join("admin", client=above.add_client("admin", is_admin=True))
    admin.send(carrying(BROADCAST))
    await three.settle()
    assert [len(of_type(each, BROADCAST)) for each in satellites] == [1, 1, 1]
    assert all(len(hive.agent.of_type("hello")) == 0 for hive in three.hives)


def question(kind: HiveMessageType, query_id: str, text: str = "what time is it") -> HiveMessage:
    inner = HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": [text], "lang": "en"}))
    return HiveMessage(kind, inner, metadata={"query_id": query_id})


def answers(message: Message) -> Message | None:
    """An assistant that knows the time."""
    return message.reply("speak", {"utterance": "twelve"}) if message.data.get("utterances") else None


async def test_a_question_nobody_here_can_answer_goes_up_and_the_answer_comes_back(
    three: MemoryCluster, above: MemoryHive
) -> None:
    for hive in three.hives:
        hive.agent.available = False
    above.agent.respond = answers
    for number, satellite in enumerate(await one_each(three)):
        satellite.send(question(QUERY, f"q{number}"))
        await three.settle()
        assert answered(satellite, QUERY)[:1] == ["twelve"]
    assert above.agent.utterances == ["what time is it"] * 3


async def test_a_cascade_goes_up_once_and_down_to_all(three: MemoryCluster, above: MemoryHive) -> None:
    alice, bob, carol = await one_each(three)
    stranger = await above.join("stranger")
    bob.send(question(CASCADE, "q1"))
    await three.settle()
    assert [len(of_type(each, CASCADE)) for each in (alice, carol, stranger)] == [1, 1, 1]
    for each, text in ((alice, "from alice"), (stranger, "from far away")):
        _answer(each, text)
    await three.settle()
    assert sorted(answered(bob, CASCADE)) == ["from alice", "from far away"]


async def test_a_question_from_above_reaches_all_and_the_first_answer_counts(
    three: MemoryCluster, above: MemoryHive
) -> None:
    satellites = await one_each(three)
    for hive in three.hives:
        hive.agent.available = False
    peer_id = next(iter(above.hub.peers)).peer_id
    payload = {"type": "recognizer_loop:utterance", "data": {"utterances": ["who"], "lang": "en"}, "context": {}}
    data = {"msg_type": "query", "payload": {"msg_type": "bus", "payload": payload}, "peer": peer_id}
    above.agent.deliver(Message("hive.send.downstream", data))
    await three.settle()
    assert [len(of_type(each, QUERY)) for each in satellites] == [1, 1, 1]
    _answer(satellites[1], "me", QUERY)
    await three.settle()
    assert [each.data["utterance"] for each in above.agent.of_type("speak")] == ["me"]


def _answer(satellite: MemorySatellite, text: str, kind: HiveMessageType = CASCADE) -> None:
    [asked] = of_type(satellite, kind)
    inner = HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": text}))
    metadata = {**asked.metadata, "is_response": True, "responder_peer": text}
    satellite.send(HiveMessage(kind, inner, metadata=metadata))


async def test_who_waits_for_the_hub_above_is_told_when_its_hub_is_lost(
    three: MemoryCluster, above: MemoryHive
) -> None:
    for hive in three.hives:
        hive.agent.available = False
    above.agent.respond = lambda message: None
    _, bob, _ = await one_each(three)
    bob.send(question(QUERY, "q1"))
    await three.settle()
    three.redis.kill("hub0")
    await three.pass_time(LEASE_S + 2)
    assert answered(bob, QUERY) == ["hive.query.timeout"]


async def test_nobody_can_be_reached_above_while_redis_is_away(three: MemoryCluster) -> None:
    alice, bob, _ = await one_each(three)
    three.redis.set_available(False)
    for each in (alice, bob):
        each.send(carrying(ESCALATE))
    await three.settle()
    assert (denials(alice), denials(bob)) == ([], ["upstream_unavailable"])
