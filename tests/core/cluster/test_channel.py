"""One end of a channel; both ends over a bus: test_traffic."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hivemind_core.cluster.channel import FENCE_S, MAX_PROBE_S, PROBE_S, REPEAT_S, RETRY_S, Channel, Fence
from hivemind_core.cluster.frames import Head
from hivemind_core.cluster.outgoing import UNDELIVERED_S, Batch, Outgoing


@pytest.fixture
def channel() -> Channel:
    made = Channel("inbox", Outgoing(1), 0.0)
    for frame in (b"a", b"b", b"c"):
        made.out.put(frame, 0.0)
        made.batches(0.0)
    return made


def numbers(channel: Channel, now: float) -> list[int]:
    return [batch.number for batch in channel.batches(now)]


def test_the_oldest_is_asked_after_with_growing_patience(channel: Channel) -> None:
    assert numbers(channel, PROBE_S - 0.1) == []
    asked, now = [], 0.0
    while now < 40:
        now += 0.5
        if numbers(channel, now) == [1]:
            asked.append(now)
    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert asked[0] == PROBE_S
    assert waits[:3] == [2 * PROBE_S, 4 * PROBE_S, 8 * PROBE_S]
    assert max(waits) == MAX_PROBE_S


def test_after_an_answer_to_that_all_the_rest_is_written_again(channel: Channel) -> None:
    assert numbers(channel, PROBE_S) == [1]
    assert channel.told(Head(0, taken=1), PROBE_S) == []
    assert numbers(channel, PROBE_S) == [2, 3]
    assert numbers(channel, 1.9 * PROBE_S) == []
    assert numbers(channel, 2 * PROBE_S) == [2]


def test_what_is_acknowledged_in_time_is_not_asked_after(channel: Channel) -> None:
    channel.told(Head(0, taken=3), 0.5)
    assert numbers(channel, 100.0) == []


def test_what_is_wanted_is_written_again_though_not_twice_at_once(channel: Channel) -> None:
    head = Head(0, taken=1, wanted=2)
    channel.told(head, 0.1)
    assert numbers(channel, 0.1) == [2, 3]
    channel.told(head, 0.2)
    assert numbers(channel, 0.2) == []
    channel.told(head, 0.1 + REPEAT_S)
    assert numbers(channel, 0.1 + REPEAT_S) == [2, 3]


def test_a_missing_inbox_is_tried_again_soon(channel: Channel) -> None:
    channel.missing(2, 0.0)
    channel.missing(3, 0.0)
    assert numbers(channel, RETRY_S - 0.01) == []
    assert numbers(channel, RETRY_S) == [2, 3]


def test_one_that_is_gone_has_a_fence_for_what_was_written(channel: Channel) -> None:
    channel.out.put(b"d", 1.0)
    assert [batch.frames for batch in channel.gone()] == [[b"d"]]
    assert channel.purges
    (fence,) = channel.fences
    fence.cleared_at = 2.0
    assert channel.lost(2.0) == []
    assert [batch.frames for batch in channel.lost(2.0 + FENCE_S)] == [[b"a"], [b"b"], [b"c"]]
    assert channel.fences == []


def test_without_news_of_redis_a_fence_falls_with_age() -> None:
    fence = Fence([Batch(1, 0.0), Batch(2, 1.0)])
    assert [batch.number for batch in fence.passed(UNDELIVERED_S)] == [1]
    assert [batch.number for batch in fence.passed(UNDELIVERED_S + 1)] == [2]


def test_on_a_new_connection_what_may_be_in_redis_is_taken_out_and_all_is_written_again(channel: Channel) -> None:
    channel.missing(3, 0.0)
    channel.rejoined()
    assert channel.purges
    assert numbers(channel, 0.0) == [1, 2, 3]
    channel.told(Head(0, taken=3), 0.0)
    channel.purges = False
    channel.rejoined()
    assert not channel.purges
