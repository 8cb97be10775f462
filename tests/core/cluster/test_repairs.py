"""How hubs learn of each other, and again, whatever they missed: what that costs, and by whose clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from helpers.memory_cluster import MemoryCluster, MemoryWire, one_each
from hivemind_core.cluster.cluster import NAMED_AT_ONCE, Cluster
from hivemind_core.testing import RecordingAgent


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[MemoryCluster]:
    async with MemoryCluster(tmp_path, 2) as made:
        yield made


async def test_satellites_of_a_hub_that_is_no_member_are_nowhere(pair: MemoryCluster) -> None:
    pair.clusters[0]._receive("gone", {"t": "here", "p": [["late", 1]]})
    assert not pair.clusters[0].has("late")


async def test_one_whose_first_word_is_of_a_satellite_is_asked_for_all(pair: MemoryCluster) -> None:
    [alice, _] = await one_each(pair)
    pair.clusters[1]._forget("hub0", "it is silent")
    pair.clusters[0]._name_all()
    await pair.settle()
    assert pair.clusters[1].has(alice.peer.peer_id)


async def test_who_is_asked_very_often_names_its_satellites_no_more_often_than_needed(pair: MemoryCluster) -> None:
    alice, _ = await one_each(pair)
    pair.redis.carried.clear()
    for _ in range(10 * NAMED_AT_ONCE):
        pair.clusters[0]._receive("hub1", {"t": "who"})
    assert len(pair.redis.of_type("peers")) <= NAMED_AT_ONCE
    await pair.settle()
    pair.clusters[1]._presence.forget("hub0")
    await pair.pass_time(2)
    assert pair.clusters[1].has(alice.peer.peer_id)


class LateWire(MemoryWire):
    """Does not know Redis's clock before it is there; its machine's own was never set."""

    def time_ms(self) -> int:
        return super().time_ms() if self.available else 1


async def test_how_old_a_hub_is_goes_by_the_clock_of_redis(pair: MemoryCluster) -> None:
    late = Cluster(LateWire(pair.redis, "late"), "late", "late", RecordingAgent(), pair.clock)
    pair.clock.advance(1)
    await late.start(pair.hives[0].hub._reception())
    await pair.pass_time(1)
    assert [each.leader.hub for each in (late, *pair.clusters)] == ["hub0"] * 3
    await late.stop()
