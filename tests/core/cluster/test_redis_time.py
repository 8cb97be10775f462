from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_core.cluster.redis_time import ASK_EVERY_S, AT_MOST_MS, RedisTime


def asked(time: RedisTime, redis_s: float, asked_at: float, now: float) -> None:
    seconds, micros = divmod(round(redis_s * 1_000_000), 1_000_000)
    time.told([b"%d" % seconds, b"%d" % micros], asked_at, now)


def test_before_redis_is_asked_the_own_clock_counts_for_little() -> None:
    time = RedisTime(10.0, 5_000)
    assert time.ms(12.5) == 7_500
    assert time.error_ms(12.5) == AT_MOST_MS
    assert time.is_due(10.0)


def test_redis_said_it_half_way_between_question_and_answer() -> None:
    time = RedisTime(10.0, 5_000)
    asked(time, 1000.5, 10.0, 10.5)
    assert time.ms(10.25) == 1_000_500
    assert time.ms(20.25) == 1_010_500
    assert time.error_ms(10.5) == pytest.approx(250.25)


def test_it_is_asked_now_and_then() -> None:
    time = RedisTime(10.0, 5_000)
    asked(time, 1000, 10.0, 10.0)
    assert not time.is_due(10.0 + ASK_EVERY_S - 0.1)
    assert time.is_due(10.0 + ASK_EVERY_S)


def test_a_slow_answer_counts_only_where_there_is_no_better_one() -> None:
    time = RedisTime(10.0, 5_000)
    asked(time, 1000, 10.0, 12.0)
    assert time.ms(11.0) == 1_000_000
    asked(time, 1002.001, 13.0, 13.002)
    asked(time, 1003.9, 14.0, 16.0)
    assert time.ms(13.001) == 1_002_001
    assert time.error_ms(16.0) == pytest.approx(1 + 1.5)
    asked(time, 1_005_000.0, 17.0, 18.0)
    assert time.ms(17.5) == 1_005_000_000  # it was set


def test_in_time_the_best_answer_is_too_old() -> None:
    time = RedisTime(10.0, 5_000)
    asked(time, 1000, 10.0, 10.0)
    asked(time, 1100.04, 110.0, 110.08)
    assert time.error_ms(110.08) == pytest.approx(40.04)
    assert time.ms(110.04) == 1_100_040


ANSWERS = st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1), st.floats(0.001, 100)), min_size=1, max_size=20)


@given(ANSWERS, st.floats(-0.0004, 0.0004))
def test_it_is_never_more_wrong_than_it_says(answers: list[tuple[float, float, float]], drift: float) -> None:
    """Each answer takes a while, is given at some time in between, and is followed by a pause."""

    def redis(at: float) -> float:
        return 1000 + at * (1 + drift)

    time, now = RedisTime(0.0, 77), 0.0
    for took, given_at, pause in answers:
        asked(time, redis(now + took * given_at), now, now + took)
        now += took
        for then in (now, now + pause / 2, now + pause):
            true_ms = redis(then) * 1000
            assert true_ms <= time.latest_ms(then) + 0.01
            assert time.passed_s(int(true_ms), then) <= 0.002
            assert time.passed_s(time.latest_ms(then), then) <= 0
        now += pause
