"""A satellite that connected elsewhere while its old connection stands: dead most often, but not always."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from helpers.memory_cluster import MemoryCluster, said, share_a_bus
from hivemind_core.cluster.cluster import HERE_EVERY_S
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


async def test_one_that_only_listens_has_its_name_back_when_the_other_leaves(pair: MemoryCluster) -> None:
    first, second = await twins(pair)
    second.leave()
    await pair.settle()
    await pair.pass_time(1)
    for number, hive in enumerate(pair.hives):
        hive.agent.deliver(said(f"by {number}", first))
    await pair.settle()
    assert first.heard == ["by 0", "by 1"]


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
