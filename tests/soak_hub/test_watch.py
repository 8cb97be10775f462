"""What memory does with the number of messages, and whether that is a leak."""

from __future__ import annotations

import random

import pytest

from helpers.flatness import Sample, kb_per_thousand
from soak_hub.watch import KB_PER_THOUSAND, KEPT_BLOCKS, Watch


def samples(leaked_bytes: float, *, seconds: int = 300, per_s: int = 1500) -> list[Sample]:
    """Memory that goes up and down, takes a step for good, is taken by something large for a while, and leaks."""
    chance = random.Random(1)
    found = []
    for second in range(seconds):
        by_the_way = chance.gauss(0, 300) + (20_000 if second > 200 else 0) + (60_000 if 50 < second < 70 else 0)
        found.append((second * per_s, round(100_000 + by_the_way + second * per_s * leaked_bytes / 1024)))
    return found


def test_a_leak_is_told_from_what_memory_does_by_the_way() -> None:
    assert abs(kb_per_thousand(samples(0))) < KB_PER_THOUSAND
    assert kb_per_thousand(samples(50)) > KB_PER_THOUSAND


def test_without_messages_nothing_can_be_told() -> None:
    assert kb_per_thousand([]) == kb_per_thousand([(5, 100), (5, 200)]) == 0


@pytest.mark.parametrize("leaked_bytes", [0, 50])
def test_what_is_judged_is_from_when_there_was_nothing_but_traffic(leaked_bytes: int) -> None:
    watch = Watch()
    for messages, kb in samples(500):
        watch.messages.append(messages)
        watch.memory_kb.append(kb)
    watch.warm = len(watch.memory_kb)
    assert watch.verdicts(5, 5) == []
    watch.is_alone(5)
    for messages, kb in samples(leaked_bytes):
        watch.messages.append(messages)
        watch.memory_kb.append(kb)
    watch.warm = len(watch.memory_kb)
    watch.ends(5 + round(KEPT_BLOCKS * watch.alone()[-1][0]))
    assert len(watch.verdicts(5, 5)) == (leaked_bytes > 0)
    assert 20 <= len(watch.intervals()) <= 25
    watch.blocks[-1] *= 2
    assert "leaves" in watch.verdicts(5, 5)[-1]
