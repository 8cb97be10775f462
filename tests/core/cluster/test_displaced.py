"""A satellite that connected elsewhere while its old connection stands: dead most often, but not always."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from helpers.memory_cluster import MemoryCluster, said, share_a_bus
from hivemind_core.cluster.cluster import HERE_EVERY_S
from hivemind_core.cluster.members import LEASE_S
from hivemind_core.peers import LATE_S
from hivemind_core.testing import MemorySatellite


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[MemoryCluster]:
    async with MemoryCluster(tmp_path, 2) as made:
        yield made


async def twins(pair: MemoryCluster) -> tuple[MemorySatellite, MemorySatellite]:
    """Two connections of one client, at two hubs, that call themselves the same."""
    row = pair.hives[0].add_client("twin")
    await pair.hives[1].hub.refresh()
    first = await pair.hives[0].join("twin", client=row, session_id="the one")
    pair.clock.advance(1)
    second = MemorySatellite(pair.hives[1], row.password or "", first.session)
    second.static_key = first.static_key
    await pair.hives[1].hub.refresh()
    await pair.hives[1].connect(second, row, "twin")
    await pair.settle()
    assert first.peer.peer_id == second.peer.peer_id
    return first, second


async def test_one_that_goes_on_talking_is_answered_itself(pair: MemoryCluster) -> None:
    first, second = await twins(pair)
    await pair.pass_time(LATE_S)
    for number, each in enumerate((first, second)):
        each.say("hello")
        await pair.settle()
        [asked] = pair.hives[number].agent.of_type("recognizer_loop:utterance")
        for hive in pair.hives:  # wherever its answer is heard
            hive.agent.deliver(asked.reply("speak", {"utterance": f"to {number} by {pair.hives.index(hive)}"}))
    await pair.settle()
    assert sorted(first.heard) == ["to 0 by 0", "to 0 by 1"]
    assert sorted(second.heard) == ["to 1 by 0", "to 1 by 1"]


async def test_what_it_said_before_it_moved_is_answered_where_it_is_now(pair: MemoryCluster) -> None:
    first, second = await twins(pair)
    first.say("hello")
    await pair.settle()
    [asked] = pair.hives[0].agent.of_type("recognizer_loop:utterance")
    pair.hives[0].agent.deliver(asked.reply("speak", {"utterance": "hi"}))
    await pair.settle()
    assert (first.heard, second.heard) == ([], ["hi"])


@pytest.mark.parametrize("shows_life", [MemorySatellite.pong, lambda each: each.say("hello")], ids=["pong", "message"])
async def test_one_that_lives_has_its_name_back_when_the_other_has_left(
    pair: MemoryCluster, shows_life: Callable[[MemorySatellite], None]
) -> None:
    first, second = await twins(pair)
    name = first.peer_id
    second.leave()
    await pair.settle()
    await pair.pass_time(LATE_S)
    shows_life(first)
    await pair.settle()
    for number, hive in enumerate(pair.hives):
        hive.agent.deliver(said(f"by {number}", first))
    await pair.settle()
    assert (first.peer_id, first.heard) == (name, ["by 0", "by 1"])


async def test_one_that_only_listens_stays_what_it_is_while_the_other_is_there(pair: MemoryCluster) -> None:
    first, second = await twins(pair)
    await pair.pass_time(LATE_S)
    first.pong()
    await pair.settle()
    pair.hives[0].agent.deliver(said("hi", second))
    await pair.settle()
    assert (first.heard, second.heard) == ([], ["hi"])


async def test_what_it_had_under_way_is_no_sign_of_life(pair: MemoryCluster) -> None:
    first, second = await twins(pair)
    second.leave()
    await pair.settle()
    await pair.pass_time(1)
    first.pong()
    await pair.settle()
    assert not pair.hives[0].hub.peers.get(first.peer_id)


async def test_a_dead_connection_draws_nothing_while_the_hub_of_its_satellite_is_out_of_sight(
    pair: MemoryCluster,
) -> None:
    _, second = await twins(pair)
    pair.redis.set_available(False, ["hub1"])
    await pair.pass_time(LEASE_S + LATE_S)
    assert not pair.clusters[0].has(second.peer_id)
    pair.redis.set_available(True, ["hub1"])
    await pair.pass_time(HERE_EVERY_S + 1)
    for number, hive in enumerate(pair.hives):
        hive.agent.deliver(said(f"by {number}", second))
    await pair.settle()
    assert sorted(second.heard) == ["by 0", "by 1"]


async def test_on_a_shared_bus_it_has_not_left_when_its_old_connection_ends(pair: MemoryCluster) -> None:
    share_a_bus(pair)
    await pair.pass_time(HERE_EVERY_S + 1)
    first, second = await twins(pair)
    first.leave()
    await pair.settle()
    assert not any(hive.agent.of_type("hive.client.disconnect") for hive in pair.hives)
    second.leave()
    await pair.settle()
    assert len(pair.hives[1].agent.of_type("hive.client.disconnect")) == 1
