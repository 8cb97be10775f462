"""What needs no Redis; the rest: test_wire."""

from __future__ import annotations

from hivemind_core.cluster.entries import BEGINNING
from hivemind_core.cluster.session import LATE_S, MAX_READ_ENTRIES, READ_BYTES, TICK_S, Patience, Place


def test_patience_ends_after_so_many_ticks_without_an_answer() -> None:
    patience = Patience(LATE_S)
    ticks = int(LATE_S / TICK_S)
    assert not any(patience.tick() for _ in range(2 * ticks))
    patience.begin()
    assert not any(patience.tick() for _ in range(ticks - 1))
    patience.end()
    patience.begin()
    assert [patience.tick() for _ in range(ticks)] == [False] * (ticks - 1) + [True]


def test_the_log_is_read_from_what_comes_first_and_then_on() -> None:
    place = Place()
    place.rejoin(b"100-1")
    assert place.log == b"100-1"
    place.log, place.inbox = b"200-1", b"300-1"
    place.rejoin(b"250-0")
    assert (place.log, place.inbox) == (b"200-1", BEGINNING)


def test_a_log_that_ends_before_what_was_read_is_a_new_one() -> None:
    place = Place()
    place.rejoin(b"100-1")
    place.rejoin(b"99-7")
    assert place.log == BEGINNING


def test_patience_lasts_longer_for_a_large_write_and_for_that_alone() -> None:
    patience = Patience(LATE_S)
    ticks = int(LATE_S / TICK_S)
    patience.begin(2 * TICK_S)
    assert [patience.tick() for _ in range(ticks + 2)] == [False] * (ticks + 1) + [True]
    patience.begin()
    assert [patience.tick() for _ in range(ticks)] == [False] * (ticks - 1) + [True]


def test_as_much_is_read_at_once_as_comes_soon() -> None:
    place = Place()
    for _ in range(10):
        place.was_read(1000)
    assert place.entries == MAX_READ_ENTRIES
    place.was_read(READ_BYTES + 1)
    assert place.entries == MAX_READ_ENTRIES // 2
    for _ in range(10):
        place.was_read(READ_BYTES + 1)
    assert place.entries == 1


def test_after_a_connection_was_lost_reading_begins_with_little() -> None:
    place = Place()
    place.was_read(1000)
    place.rejoin(b"100-1")
    assert place.entries == 1
