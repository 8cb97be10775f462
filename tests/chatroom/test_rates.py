"""Token buckets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_chatroom.rates import Buckets


def test_a_burst_passes_and_then_the_rate() -> None:
    buckets = Buckets(0.5, 3)
    assert [buckets.take("a", 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a", 100.0) == pytest.approx(2.0)
    assert buckets.take("a", 101.0) == pytest.approx(1.0)
    assert buckets.take("a", 102.0) == 0.0
    assert buckets.take("a", 102.0) == pytest.approx(2.0)


def test_being_refused_costs_nothing() -> None:
    buckets = Buckets(1.0, 1)
    buckets.take("a", 0.0)
    for _ in range(100):
        assert buckets.take("a", 0.5) == pytest.approx(0.5)
    assert buckets.take("a", 1.0) == 0.0


def test_everybody_has_their_own() -> None:
    buckets = Buckets(1.0, 1)
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.0) > 0


def test_a_bucket_never_holds_more_than_a_burst() -> None:
    buckets = Buckets(10.0, 2)
    buckets.take("a", 0.0)
    assert [buckets.take("a", 1_000.0) for _ in range(2)] == [0.0, 0.0]
    assert buckets.take("a", 1_000.0) > 0


def test_full_buckets_are_forgotten() -> None:
    buckets = Buckets(1.0, 5)
    for number in range(100):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 100
    buckets.take("late", 1.0)
    assert len(buckets) == 1


def test_the_longest_unused_makes_room() -> None:
    buckets = Buckets(0.001, 1, most=2)
    for key in ("a", "b", "a", "c"):  # b is the longest unused
        buckets.take(key, 0.0)
    assert len(buckets) == 2
    assert buckets.take("a", 0.0) > 0
    assert buckets.take("b", 0.0) == 0.0


@pytest.mark.parametrize(
    ("rate_per_s", "burst", "most"),
    [(0, 1, 1), (-1, 1, 1), (math.nan, 1, 1), (math.inf, 1, 1), (1, 0.5, 1), (1, math.nan, 1), (1, 1, 0)],
)
def test_a_bucket_that_nobody_could_take_from_is_refused(rate_per_s: float, burst: float, most: int) -> None:
    with pytest.raises(ValueError):
        Buckets(rate_per_s, burst, most)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    buckets = Buckets(1.0, 2)
    buckets.take("a", 10.0)
    buckets.take("a", 10.0)
    assert buckets.take("a", 5.0) == pytest.approx(1.0)


@given(st.floats(0.01, 100), st.floats(1, 50), st.floats(0, 1e7), st.lists(st.floats(0, 10), max_size=60))
def test_never_more_than_burst_and_rate_and_never_longer_than_told(
    rate_per_s: float, burst: float, start: float, pauses: list[float]
) -> None:
    buckets, now, taken = Buckets(rate_per_s, burst), start, 0
    for pause in pauses:
        now += pause
        wait_s = buckets.take("a", now)
        taken += wait_s == 0.0
        if wait_s:
            now += wait_s
            assert buckets.take("a", now) == 0.0
            taken += 1
    assert taken <= burst + (now - start) * rate_per_s + 0.01
