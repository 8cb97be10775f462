from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_core.shares import Shares

MOST, EACH = 8, 3
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "pop"]), st.integers(0, 30).map(str), st.sampled_from("abcdefghijkl")),
    max_size=80,
)


def shares(*held: str, most: int = MOST, most_each: int = EACH) -> Shares[str]:
    """What is held after a value of each of these holders was put, in order; `a1` is the first value of `a`."""
    found: Shares[str] = Shares(most, most_each)
    for key in held:
        found.put(key, key[0], key)
    return found


@given(STEPS)
def test_neither_all_nor_one_hold_more_than_they_may(steps: list[tuple[str, str, str]]) -> None:
    held, model = shares(), dict[str, str]()
    for step, key, holder in steps:
        if step == "pop":
            assert held.pop(key) == model.pop(key, None)
            continue
        held.put(key, holder, holder)
        model.pop(key, None)
        model[key] = holder
        model = {key: model[key] for key in model if held.get(key) is not None}
        assert held.get(key) == holder
        counts = Counter(held.values())
        assert len(held) == counts.total() <= MOST
        assert max(counts.values()) <= EACH
        assert held.values() == list(model.values())
        assert all(held.of(one) == [one] * counts[one] for one in counts)
    assert held.oldest() == next(iter(model.values()), None)


def crowded(holders: list[str]) -> Shares[str]:
    held = shares()
    for number, holder in enumerate(holders):
        held.put(str(number), holder, holder)
    return held


@given(st.lists(st.sampled_from("abcdefg"), max_size=200))
def test_a_newcomer_finds_room_however_greedy_the_others_are(holders: list[str]) -> None:
    held = crowded(holders)
    counts = Counter(held.values())
    is_full = len(held) == MOST
    assert held.has_room("newcomer")
    gone = held.put("new", "newcomer", "newcomer")
    assert (gone is not None) is is_full
    if gone is not None:
        assert counts[gone] == max(counts.values())
    assert held.of("newcomer") == ["newcomer"]


@given(st.lists(st.sampled_from("abcdef"), max_size=200), st.sampled_from("abcdef"))
def test_whoever_wants_it_gets_an_equal_part(holders: list[str], holder: str) -> None:
    held = crowded(holders)
    for number in range(MOST):
        if held.has_room(holder):
            held.put(f"more {number}", holder, holder)
    parts = Counter(held.values())
    assert parts[holder] >= min(EACH, MOST // len(parts))


@given(st.lists(st.sampled_from("abcdef"), max_size=200), st.sampled_from("abcdef"))
def test_room_is_never_at_the_cost_of_who_holds_less(holders: list[str], holder: str) -> None:
    held = crowded(holders)
    if held.has_room(holder):
        gone = held.put("one more", holder, holder)
        assert gone is None or len(held.of(gone)) >= len(held.of(holder))


def test_the_own_oldest_goes_for_the_own_newest() -> None:
    held = shares("a1", "b1", "a2", "a3")
    assert not held.has_room("a")
    assert held.put("a4", "a", "a4") == "a1"
    assert held.values() == ["b1", "a2", "a3", "a4"]


def test_the_oldest_of_all_goes_where_everybody_holds_one() -> None:
    held = shares("a1", "b1", "c1", most=3)
    assert not held.has_room("d")
    assert held.put("d1", "d", "d1") == "a1"
    assert held.values() == ["b1", "c1", "d1"]


def test_what_is_put_again_is_the_newest_and_may_change_hands() -> None:
    held = shares("a1", "b1")
    held.put("a1", "b", "mine now")
    assert (held.of("a"), held.of("b"), held.oldest()) == ([], ["b1", "mine now"], "b1")


@pytest.mark.parametrize("key", ["a1", "x"])
def test_nothing_is_left_of_what_goes(key: str) -> None:
    held = shares("a1")
    assert held.pop(key) == (key if key == "a1" else None)
    assert held.pop(key) is None
    assert (held.get(key), len(held)) == (None, int(key != "a1"))
