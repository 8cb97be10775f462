"""How much one client, and one address, may send."""

from __future__ import annotations

from hivemind_bus_client.link import Refused
from hivemind_bus_client.return_hints import wait_in
from hivemind_core.limits_config import LimitsConfig, Rate
from hivemind_core.rates import CODE, SMALLEST_PARTS, TAKEN_MESSAGES, UNCOUNTED, Rates, Usage

NOTHING = Rate()
MESSAGES = LimitsConfig(client=Rate(100, 0), address=NOTHING, burst_s=10)
BYTES = LimitsConfig(client=Rate(0, 1000), address=NOTHING, burst_s=10)
ADDRESS = LimitsConfig(client=NOTHING, address=Rate(100, 0), burst_s=10)


def sends(usage: Usage, messages: int, now: float, size: int = 1) -> tuple[int, Refused | None]:
    """How many messages pass, and what the next is refused with."""
    for number in range(messages):
        for event in usage.count(size, now):
            assert isinstance(event, Refused)
            return number, event
    return messages, None


def test_a_burst_passes_and_no_more() -> None:
    passed, refused = sends(Rates().usage(1, "", MESSAGES, 0.0), 5000, 0.0)
    assert 1000 <= passed <= 1000 + TAKEN_MESSAGES
    assert refused is not None
    assert (refused.code, refused.close_code) == (CODE, 1013)
    assert 5 <= wait_in(refused.reason) <= 6, "half of the burst is back by then"


def test_what_stays_within_the_rate_passes_for_ever() -> None:
    usage, now = Rates().usage(1, "", MESSAGES, 0.0), 0.0
    for _ in range(100_000):
        now += 1 / 99
        assert not usage.count(10, now)


def test_what_is_a_little_over_it_does_not() -> None:
    usage, now = Rates().usage(1, "", MESSAGES, 0.0), 0.0
    refused: list[object] = []
    while not refused:
        now += 1 / 150
        refused = list(usage.count(10, now))
    assert 15 < now < 25


def test_bytes_count_as_well() -> None:
    passed, refused = sends(Rates().usage(1, "", BYTES, 0.0), 5000, 0.0, size=100)
    assert 100 <= passed <= 100 + 100 // SMALLEST_PARTS + 1
    assert refused is not None


def test_all_connections_of_a_client_draw_on_the_same() -> None:
    rates = Rates()
    passed = [sends(rates.usage(1, "", MESSAGES, 0.0), 300, 0.0)[0] for _ in range(10)]
    assert 1000 <= sum(passed) <= 1000 + 10 * TAKEN_MESSAGES
    assert sends(rates.usage(2, "", MESSAGES, 0.0), 300, 0.0) == (300, None), "another client is not concerned"


def test_so_do_all_of_an_address() -> None:
    rates = Rates()
    passed = [sends(rates.usage(client, "192.0.2.1", ADDRESS, 0.0), 300, 0.0)[0] for client in range(10)]
    assert 1000 <= sum(passed) <= 1000 + 10 * TAKEN_MESSAGES
    assert sends(rates.usage(1, "192.0.2.2", ADDRESS, 0.0), 300, 0.0) == (300, None)
    assert rates.address_waits("192.0.2.1", 0.0) > 0 == rates.client_waits(1, 0.0)


def test_who_was_sent_away_is_let_in_when_it_was_said() -> None:
    rates = Rates()
    _, refused = sends(rates.usage(1, "", MESSAGES, 0.0), 5000, 0.0)
    assert refused is not None
    wait_s = wait_in(refused.reason)
    assert rates.client_waits(1, 0.0) > 0
    assert rates.client_waits(1, wait_s) == 0
    passed, _ = sends(rates.usage(1, "", MESSAGES, wait_s), 5000, wait_s)
    assert 450 <= passed <= 650, "half of the burst"


def test_ending_the_connection_gives_nothing_back() -> None:
    rates, passed = Rates(), 0
    for _ in range(200):  # connections that say less than what is looked at
        usage = rates.usage(1, "", MESSAGES, 0.0)
        passed += sends(usage, 30, 0.0)[0]
        if usage.settle(0.0):
            break
    assert 1000 <= passed <= 1060


def test_a_small_limit_is_kept_closely() -> None:
    few = LimitsConfig(client=Rate(2, 0), address=NOTHING, burst_s=10)
    passed, _ = sends(Rates().usage(1, "", few, 0.0), 100, 0.0)
    assert 20 <= passed <= 22


def test_without_limits_nothing_is_counted() -> None:
    usage = Rates().usage(1, "192.0.2.1", LimitsConfig(NOTHING, NOTHING), 0.0)
    assert usage is UNCOUNTED
    assert sends(usage, 100_000, 0.0, size=1 << 20) == (100_000, None)


def test_other_limits_count_for_the_next_connection() -> None:
    rates = Rates()
    sends(rates.usage(1, "", MESSAGES, 0.0), 5000, 0.0)
    more = LimitsConfig(client=Rate(1000, 0), address=NOTHING, burst_s=10)
    assert sends(rates.usage(1, "", more, 0.0), 5000, 0.0) == (5000, None)
    assert rates.client_waits(1, 0.0) == 0


def test_only_so_many_are_remembered() -> None:
    rates = Rates(remembered=3)
    for client in range(10):
        sends(rates.usage(client, "", MESSAGES, 0.0), 5000, 0.0)
    assert [client for client in range(10) if rates.client_waits(client, 0.0)] == [7, 8, 9]
