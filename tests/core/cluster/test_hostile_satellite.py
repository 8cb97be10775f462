"""What one satellite of a cluster may try against the others, by way of the hubs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from helpers.memory_cluster import MemoryCluster, answered, carrying, of_type, one_each, said
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core.cluster.cluster import HERE, LISTEN_S
from hivemind_core.testing import MemoryHive, MemorySatellite

CASCADE, PROPAGATE, QUERY = HiveMessageType.CASCADE, HiveMessageType.PROPAGATE, HiveMessageType.QUERY


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[MemoryCluster]:
    async with MemoryCluster(tmp_path, 2) as made:
        yield made


def question(kind: HiveMessageType, query_id: str) -> HiveMessage:
    inner = HiveMessage(HiveMessageType.BUS, Message("recognizer_loop:utterance", {"utterances": ["?"], "lang": "en"}))
    return HiveMessage(kind, inner, metadata={"query_id": query_id})


def answer(asked: HiveMessage, text: str) -> HiveMessage:
    inner = HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": text}))
    return HiveMessage(asked.msg_type, inner, metadata={**asked.metadata, "is_response": True, "responder_peer": text})


async def test_one_that_calls_itself_a_hub_does_not_answer_for_the_hub_above(tmp_path: Path) -> None:
    async with MemoryHive() as above, MemoryCluster(tmp_path, 2, above) as pair:
        await pair.pass_time(LISTEN_S + 2)
        for hive in pair.hives:
            hive.agent.available = False
        above.agent.respond = lambda message: None
        alice, _ = await one_each(pair)
        row = pair.hives[0].add_client("mallory")
        mallory = MemorySatellite(pair.hives[0], row.password or "", {"session_id": "s>"})
        await pair.hives[0].connect(mallory, row, "<hub hub1")
        await pair.settle()
        assert mallory.peer.peer_id.startswith("<hub hub1::")
        alice.send(question(QUERY, "q1"))
        await pair.settle()
        mallory.send(answer(question(QUERY, "q1"), "forged"))
        await pair.settle()
        assert answered(alice, QUERY) == []
        mallory.send(carrying(PROPAGATE))
        await pair.settle()
        assert len(of_type(alice, PROPAGATE)) == 1
        assert mallory.closed is None


async def test_one_that_says_a_hub_shares_its_assistant_is_not_believed(pair: MemoryCluster) -> None:
    alice, bob = await one_each(pair, is_admin=True, allowed_types=[HERE])
    alice.emit(HERE, {"hub": "hub1"})
    await pair.settle()
    [heard] = [each for each in pair.hives[0].agent.of_type(HERE) if each.context["source"] == alice.peer.peer_id]
    pair.hives[0].agent.deliver(heard)
    pair.hives[0].agent.deliver(said("hello", bob))
    await pair.settle()
    assert bob.heard == ["hello"]


async def test_one_that_asks_very_often_takes_no_answers_from_others_of_its_hub(pair: MemoryCluster) -> None:
    alice, bob = await one_each(pair)
    mallory = await pair.hives[0].join("mallory")
    alice.send(question(CASCADE, "the question"))
    await pair.settle()
    for number in range(300):
        mallory.send(question(CASCADE, f"q{number}"))
    await pair.settle()
    bob.send(answer(of_type(bob, CASCADE)[0], "the answer"))
    await pair.settle()
    assert "the answer" in answered(alice, CASCADE)


async def test_one_has_one_share_for_all_its_connections_at_all_hubs(tmp_path: Path) -> None:
    """Of the memory of another hub, and of the one that is joined to the hub above for all."""
    async with MemoryHive() as above, MemoryCluster(tmp_path, 2, above) as pair:
        await pair.pass_time(LISTEN_S + 2)
        assert [hive.hub.company.leads for hive in pair.hives] == [True, False]  # type: ignore[attr-defined]
        row = pair.hives[0].add_client("mallory")
        connections = [await pair.hives[0].join(row.name, client=row)]
        for hive in [pair.hives[1]] * 3:
            await hive.hub.refresh()
            connections.append(MemorySatellite(hive, row.password or ""))
            connections[-1].static_key = connections[0].static_key
            await hive.connect(connections[-1], row, row.name)
        pair.hives[1].agent.available = False
        for number, connection in enumerate(connections):
            connection.send(question(CASCADE, f"c{number}"))
            connection.send(question(QUERY, f"q{number}"))
        await pair.settle()
        for hive in pair.hives:
            held = hive.hub.mesh.questions._ways._open._all.values()
            assert {share.name for _, share, _ in held} == {f"client {row.client_id}"}
        lifted = [frame["m"]["metadata"]["query_id"] for frame in pair.redis.of_type("up")]
        assert lifted == ["c1", "q1", "c2", "q2", "c3", "q3"]


async def test_one_that_pings_very_often_keeps_no_others_of_its_hub_from_it(pair: MemoryCluster) -> None:
    alice, bob = await one_each(pair)
    mallory = await pair.hives[0].join("mallory")

    def ping(flood_id: str, node: str) -> HiveMessage:
        return HiveMessage(PROPAGATE, HiveMessage(HiveMessageType.PING, {"flood_id": flood_id, "peer": node}))

    for number in range(100):
        mallory.send(ping(f"f{number}", "mallory"))
    await pair.settle()
    alice.send(ping("the flood", "alice"))
    await pair.settle()
    assert "alice" in [each.payload.body["peer"] for each in of_type(bob, PROPAGATE)]
