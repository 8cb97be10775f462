from __future__ import annotations

import pytest

from hivemind_bus_client.exceptions import NoiseTransportFailed
from hivemind_bus_client.parts import CHUNK_SIZE, PartsBudget, Reassembler, split_message

LONG = bytes(3 * CHUNK_SIZE)


def test_parts_make_the_message_again() -> None:
    parts = Reassembler()
    results = [parts.feed(frame) for frame in split_message(LONG, True)]
    assert results == [None, None, (LONG, True)]
    assert not parts.is_waiting


def test_unfinished_messages_share_a_budget() -> None:
    budget = PartsBudget(2 * CHUNK_SIZE)
    one, other = Reassembler(budget=budget), Reassembler(budget=budget)
    first, second, _ = split_message(LONG, False)
    assert one.feed(first) is None
    assert one.feed(second) is None
    with pytest.raises(NoiseTransportFailed, match="too much"):
        other.feed(first)
    one.drop()
    other.drop()
    assert budget.take(2 * CHUNK_SIZE)
    assert not budget.take(1)


def test_a_finished_message_gives_back_what_it_took() -> None:
    budget = PartsBudget(len(LONG))
    parts = Reassembler(budget=budget)
    for _ in range(3):
        assert [parts.feed(frame) for frame in split_message(LONG, False)][-1] == (LONG, False)
    assert budget.take(len(LONG))


def test_a_message_that_is_refused_holds_no_more_than_before() -> None:
    budget = PartsBudget(10 * CHUNK_SIZE)
    parts = Reassembler(limit=CHUNK_SIZE, budget=budget)
    first, second, _ = split_message(LONG, False)
    parts.feed(first)
    with pytest.raises(NoiseTransportFailed, match="larger"):
        parts.feed(second)
    parts.drop()
    assert budget.take(10 * CHUNK_SIZE)
