"""The lines of what waits: bounded for each and for all, the oldest sound dropped."""

from __future__ import annotations

import pytest

from hivemind_core.binary.lines import Limits, Lines, Taken


def lines(**limits: int) -> Lines[str, str]:
    return Lines(Limits(**limits))


def everything(waiting: Lines[str, str], key: str) -> list[str]:
    return list(iter(lambda: waiting.take(key), None))


def test_in_order_for_each() -> None:
    waiting = lines()
    for work in ("a1", "b1", "a2", "b2"):
        assert waiting.put(work[0], work, 10) is Taken.YES
    assert everything(waiting, "a") == ["a1", "a2"]
    assert everything(waiting, "b") == ["b1", "b2"]
    assert everything(waiting, "nobody") == []


@pytest.mark.parametrize("limits", [{"waiting": 2}, {"waiting_bytes": 20}, {"all_bytes": 20}])
def test_what_has_no_room_is_not_taken(limits: dict[str, int]) -> None:
    waiting = lines(**limits)
    assert [waiting.put("a", work, 10) for work in "123"] == [Taken.YES, Taken.YES, Taken.NO]
    assert waiting.take("a") == "1"
    assert waiting.put("a", "4", 10) is Taken.YES
    assert everything(waiting, "a") == ["2", "4"]


def test_one_does_not_take_the_room_of_another() -> None:
    waiting = lines(waiting=2)
    for _ in range(5):
        waiting.put("a", "x", 10)
    assert waiting.put("b", "y", 10) is Taken.YES


def test_satellites_of_one_client_share_its_bytes() -> None:
    waiting: Lines[str, str] = Lines(Limits(waiting_bytes=20), client_of=lambda key: key[0])
    assert [waiting.put(key, "x", 10) for key in ("a1", "a2", "a3", "b1")] == [
        Taken.YES,
        Taken.YES,
        Taken.NO,
        Taken.YES,
    ]
    waiting.forget("a1")
    assert waiting.put("a3", "x", 10) is Taken.YES
    assert waiting.take("a2") == "x"
    assert waiting.put("a1", "x", 10) is Taken.YES
    assert waiting.put("a2", "x", 10) is Taken.NO


def test_all_together_have_a_bound_that_is_given_back() -> None:
    waiting = lines(all_bytes=100)
    assert waiting.put("a", "x", 60) is Taken.YES
    assert waiting.put("b", "y", 60) is Taken.NO
    waiting.forget("a")
    assert waiting.put("b", "y", 60) is Taken.YES
    assert waiting.take("b") == "y"
    assert waiting.put("c", "z", 100) is Taken.YES


def test_new_sound_takes_the_place_of_old_sound_and_that_is_said_once() -> None:
    waiting = lines(waiting=3)
    said = [waiting.put("a", str(number), 10, is_stream=True) for number in range(6)]
    assert said == [Taken.YES, Taken.YES, Taken.YES, Taken.PARTLY, Taken.YES, Taken.YES]
    assert everything(waiting, "a") == ["3", "4", "5"]
    assert [waiting.put("a", str(number), 10, is_stream=True) for number in range(4)][-1] is Taken.PARTLY


def test_sound_never_takes_the_place_of_anything_else() -> None:
    waiting = lines(waiting=2)
    waiting.put("a", "file", 10)
    waiting.put("a", "sound 1", 10, is_stream=True)
    assert waiting.put("a", "sound 2", 10, is_stream=True) is Taken.PARTLY
    assert waiting.put("a", "file 2", 10) is Taken.NO
    assert everything(waiting, "a") == ["file", "sound 2"]


def test_sound_that_has_no_room_at_all_is_dropped() -> None:
    waiting = lines(waiting=1)
    waiting.put("a", "file", 10)
    assert waiting.put("a", "sound 1", 10, is_stream=True) is Taken.PARTLY
    assert waiting.put("a", "sound 2", 10, is_stream=True) is Taken.YES
    assert everything(waiting, "a") == ["file"]


def test_more_than_fits_does_not_drop_what_waits_for_nothing() -> None:
    waiting = lines(waiting_bytes=30)
    waiting.put("a", "file", 10)
    assert waiting.put("a", "huge", 31) is Taken.NO
    assert everything(waiting, "a") == ["file"]
