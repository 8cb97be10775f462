from __future__ import annotations

import pytest

from hivemind_core.cluster.outgoing import BATCH_BYTES, MAX_BYTES, MAX_FRAMES, UNDELIVERED_S, WRITE_BYTES, Outgoing


@pytest.fixture
def out() -> Outgoing:
    return Outgoing(5)


def written(out: Outgoing) -> list[tuple[int, list[bytes]]]:
    return [(batch.number, batch.frames) for batch in out.due()]


def test_what_is_put_before_a_write_goes_together_and_later_things_apart(out: Outgoing) -> None:
    out.put(b"a", 0)
    out.put(b"b", 0)
    assert written(out) == [(5, [b"a", b"b"])]
    out.put(b"c", 0)
    assert written(out) == [(6, [b"c"])]
    assert written(out) == []


def test_what_was_written_is_the_same_when_it_is_written_again(out: Outgoing) -> None:
    out.put(b"a", 0)
    out.due()
    out.put(b"b", 0)
    out.rewind()
    assert written(out) == [(5, [b"a"]), (6, [b"b"])]


def test_only_what_is_asked_for_is_written_again(out: Outgoing) -> None:
    for frame in (b"a", b"b", b"c"):
        out.put(frame, 0)
        out.due()
    out.rewind(6)
    assert written(out) == [(6, [b"b"]), (7, [b"c"])]
    out.arrived(6)
    out.rewind(2)
    assert written(out) == [(7, [b"c"])]
    out.rewind(99)
    assert written(out) == []


def test_what_arrived_is_forgotten_and_what_was_not_written_cannot_arrive(out: Outgoing) -> None:
    out.put(b"a", 0)
    assert not out.arrived(99)
    out.due()
    assert out.is_waiting
    assert out.arrived(5)
    assert not out.arrived(5)
    assert (out.is_empty, out.is_waiting, out.base) == (True, False, 6)


def test_batches_and_writes_are_bounded(out: Outgoing) -> None:
    half = bytes(BATCH_BYTES // 2)
    for frame in (half, half, b"x", bytes(2 * WRITE_BYTES), b"y"):
        assert out.put(frame, 0)
    sizes = []
    while out.has_due:
        sizes.append([batch.size for batch in out.due()])
    assert sizes == [[2 * len(half)], [1, 2 * WRITE_BYTES], [1]]


def test_so_many_frames_may_wait(out: Outgoing) -> None:
    assert all(out.put(b"", 0) for _ in range(MAX_FRAMES))
    assert not out.put(b"", 0)
    out.due()
    assert not out.put(b"", 0)
    out.arrived(5)
    assert out.put(b"", 0)


def test_so_many_bytes_may_wait_but_for_a_single_frame(out: Outgoing) -> None:
    assert out.put(bytes(MAX_BYTES + 1), 0)
    assert not out.put(b"", 0)
    out.clear()
    assert out.put(bytes(MAX_BYTES), 0)
    assert not out.put(b"x", 0)


def test_what_waits_too_long_is_given_up_whether_it_was_written_or_not(out: Outgoing) -> None:
    out.put(b"a", 0)
    out.put(b"b", 1)
    out.due()
    out.put(b"c", 2)
    assert out.overdue(UNDELIVERED_S - 0.1) == []
    assert [batch.frames for batch in out.overdue(UNDELIVERED_S)] == [[b"a", b"b"]]
    assert [batch.frames for batch in out.overdue(UNDELIVERED_S + 2)] == [[b"c"]]
    out.put(b"d", 0)
    assert written(out) == [(7, [b"d"])]


def test_what_the_other_end_refuses_is_given_up(out: Outgoing) -> None:
    for frame in (b"a", b"b", b"c"):
        out.put(frame, 0)
        out.due()
    assert [batch.number for batch in out.give_up(6)] == [5, 6]
    assert out.oldest() is not None
    assert out.base == 7


def test_what_waits_of_one_kind_keeps_no_other_back(out: Outgoing) -> None:
    assert out.put(b"x" * (MAX_BYTES + 1), 0, "flood")
    assert not out.put(b"flood", 0, "flood")
    assert out.put(b"answer", 0, "answer")
    for _ in range(MAX_FRAMES - 1):
        assert out.put(b"a", 0, "answer")
    assert not out.put(b"one too many", 0, "answer")
    out.due()
    out.arrived(5)
    assert out.put(b"flood", 0, "flood")
    assert not out.put(b"still one too many", 0, "answer")
