from __future__ import annotations

from hivemind_core.cluster.redis_time import ASK_EVERY_S, GOOD_ENOUGH_S, RedisTime


def test_before_redis_is_asked_the_own_clock_counts() -> None:
    time = RedisTime(10.0, 5_000)
    assert time.ms(12.5) == 7_500
    assert time.is_due(10.0)


def test_redis_said_it_half_way_between_question_and_answer() -> None:
    time = RedisTime(10.0, 5_000)
    time.told([b"1000", b"500000"], 10.0, 10.5)
    assert time.ms(10.25) == 1_000_500
    assert time.ms(20.25) == 1_010_500


def test_it_is_asked_now_and_then() -> None:
    time = RedisTime(10.0, 5_000)
    time.told([b"1000", b"0"], 10.0, 10.0)
    assert not time.is_due(10.0 + ASK_EVERY_S - 0.1)
    assert time.is_due(10.0 + ASK_EVERY_S)


def test_a_slow_answer_counts_only_where_there_is_no_better_one() -> None:
    time = RedisTime(10.0, 5_000)
    time.told([b"1000", b"0"], 10.0, 10.0 + 2 * GOOD_ENOUGH_S)
    assert time.ms(11.0) == 1_000_000
    time.told([b"1000", b"0"], 20.0, 20.0 + 2 * GOOD_ENOUGH_S)
    assert time.ms(11.0) == 1_000_000
    time.told([b"2000", b"0"], 30.0, 30.0)
    assert time.ms(30.0) == 2_000_000
