from __future__ import annotations

import pytest

from hivemind_core.limits import (
    BURST_S,
    FORGIVEN_AFTER_S,
    FREE_FAILURES,
    KEY_FAILURES_AT_ONCE,
    LONGEST_WAIT_AT_HOME_S,
    LONGEST_WAIT_S,
    REMEMBERED,
    Bursts,
    Limits,
    Rations,
    Remembered,
    neighbourhood,
)

HERE, THERE = "192.0.2.1", "192.0.2.2"


def failing(limits: Limits, times: int, client_id: int = 1, address: str = HERE, now: float = 0.0) -> None:
    for _ in range(times):
        limits.failed(client_id, address, now)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::1", "::1"),
        ("somewhere", "somewhere"),
        ("?", "?"),
    ],
)
def test_an_ipv6_household_counts_as_one(address: str, group: str) -> None:
    assert neighbourhood(address) == group


def test_a_stranger_waits_longer_and_longer() -> None:
    limits, now, waits = Limits(), 0.0, []
    for _ in range(FREE_FAILURES):
        assert not limits.stranger_waits(HERE, now)
        limits.stranger_failed(HERE, now)
    for _ in range(7):
        began = now
        while limits.stranger_waits(HERE, now):
            now += 0.5
        waits.append(now - began)
        limits.stranger_failed(HERE, now)
    assert waits == [1, 2, 4, 8, 16, LONGEST_WAIT_S, LONGEST_WAIT_S]
    assert not limits.stranger_waits(THERE, now)


def test_being_refused_for_waiting_does_not_prolong_the_wait() -> None:
    limits = Limits()
    failing(limits, FREE_FAILURES)
    assert all(limits.waits(1, HERE, moment / 100) for moment in range(100))
    assert not limits.waits(1, HERE, 1.0)


def test_it_is_known_how_long_there_is_to_wait() -> None:
    limits = Limits()
    assert limits.waits(1, HERE, 0.0) == limits.stranger_waits(HERE, 0.0) == 0
    failing(limits, FREE_FAILURES + 3)
    assert [limits.waits(1, HERE, now) for now in (0.0, 7.5, 8.0, 500.0)] == [8.0, 0.5, 0.0, 0.0]
    for _ in range(FREE_FAILURES + 1):
        limits.stranger_failed(HERE, 100.0)
    assert limits.stranger_waits(HERE, 101.5) == 0.5
    for _ in range(KEY_FAILURES_AT_ONCE):
        limits.failed(2, THERE, 0.0)
    limits.failed(2, HERE, 0.0)
    assert limits.waits(2, "192.0.2.3", 0.25) == 0.75, "for the ration of its key"
    assert limits.waits(2, THERE, 0.25) == LONGEST_WAIT_S - 0.25, "the longer of the two"


def test_each_has_a_ration_of_its_own_and_so_many_are_remembered() -> None:
    rations: Rations[str] = Rations(1.0, 2, remembered=2)
    assert [rations.take(whose, 0.0) for whose in ("a", "a", "a", "b")] == [True, True, False, True]
    assert [rations.take(whose, 1.0) for whose in ("a", "a")] == [True, False]
    assert rations.take("c", 1.0)
    assert rations.take("b", 1.0)
    assert rations.take("a", 1.0), "it was forgotten"
    assert len(rations._known) == 2


def test_what_long_ago_failed_is_forgiven() -> None:
    limits = Limits()
    failing(limits, 50)
    limits.failed(1, HERE, FORGIVEN_AFTER_S)
    assert not limits.waits(1, HERE, FORGIVEN_AFTER_S)


def test_one_bad_device_harms_no_other_at_its_address() -> None:
    limits = Limits()
    failing(limits, 50, client_id=1)
    for _ in range(50):
        limits.stranger_failed(HERE, 0.0)
    assert limits.waits(1, HERE, 0.1)
    assert limits.stranger_waits(HERE, 0.1)
    assert not limits.waits(2, HERE, 0.1)


def test_who_fails_with_anothers_key_slows_only_himself() -> None:
    limits = Limits()
    failing(limits, 50, address=THERE)
    assert limits.waits(1, THERE, 0.1)
    assert not limits.waits(1, HERE, 0.1)


def test_success_clears() -> None:
    limits = Limits()
    failing(limits, 50)
    limits.succeeded(1, HERE)
    failing(limits, FREE_FAILURES - 1, now=1.0)
    assert not limits.waits(1, HERE, 1.0)


def test_a_device_is_let_in_soon_where_it_proved_itself() -> None:
    limits = Limits()
    limits.succeeded(1, HERE)
    failing(limits, 50)
    assert limits.waits(1, HERE, LONGEST_WAIT_AT_HOME_S - 0.1)
    assert not limits.waits(1, HERE, LONGEST_WAIT_AT_HOME_S)


def test_a_key_attacked_from_everywhere_is_rationed_but_not_where_it_lives() -> None:
    limits = Limits()
    limits.succeeded(1, HERE)
    for number in range(KEY_FAILURES_AT_ONCE + 1):
        limits.failed(1, f"198.51.100.{number}", 0.0)
    assert limits.waits(1, THERE, 0.5)
    assert not limits.waits(1, HERE, 0.5)
    assert not limits.waits(2, THERE, 0.5)
    assert not limits.waits(1, THERE, 1.0)


def test_a_changed_row_may_try_at_once() -> None:
    limits = Limits()
    failing(limits, KEY_FAILURES_AT_ONCE + 1)
    failing(limits, FREE_FAILURES, client_id=2)
    limits.forgive({1})
    assert not limits.waits(1, HERE, 0.0)
    assert not limits.waits(1, THERE, 0.0)
    assert limits.waits(2, HERE, 0.0)


def test_memory_is_bounded_and_what_is_forgotten_is_let_through() -> None:
    limits = Limits()
    failing(limits, FREE_FAILURES)
    for number in range(REMEMBERED):
        limits.failed(2, str(number), 0.0)
        limits.stranger_failed(str(number), 0.0)
    assert not limits.waits(1, HERE, 0.0)
    assert len(limits._pairs) == len(limits._strangers) == REMEMBERED


def test_a_burst_is_told_once_and_then_summed_up() -> None:
    bursts = Bursts()
    assert [bursts.is_first("a", float(moment)) for moment in range(4)] == [True, False, False, False]
    assert bursts.ended(BURST_S - 1) == []
    assert bursts.ended(BURST_S) == [("a", 3)]
    assert not bursts.is_first("a", BURST_S + 1)
    assert bursts.ended(2 * BURST_S) == [("a", 1)]
    assert bursts.ended(3 * BURST_S) == []
    assert bursts.is_first("a", 3 * BURST_S + 1)


def test_a_flood_from_everywhere_fills_no_log() -> None:
    bursts = Bursts(size=3)
    told = [bursts.is_first(str(number), 1.0) for number in range(1000)]
    assert sum(told) == 3
    assert bursts.ended(1.0 + BURST_S) == [("others", 997)]
    assert bursts.ended(1.0 + BURST_S) == []


def test_what_is_remembered_can_be_taken_out_again() -> None:
    remembered: Remembered[str, int] = Remembered(2)
    remembered.put("one", 1)
    assert (remembered.pop("one"), remembered.pop("one"), remembered.get("one")) == (1, None, None)
