from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_core.shares import Share, Shares

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


# --- shares of several holders, and their addresses -----------------------------------------------------------

PLACES = [(holder, Share(holder[0], holder[1])) for holder in ("aX1", "aX2", "aY1", "bX1", "cX1", "dX1", "eY1", "fZ1")]
AT = 6


def spread(places: list[tuple[str, Share]]) -> Shares[Share]:
    """What is held after each of these connections, of a client and at an address, has put a value."""
    held: Shares[Share] = Shares(MOST, EACH, AT)
    for number, (holder, share) in enumerate(places):
        if held.has_room(holder, share):
            held.put(str(number), holder, share, share)
    return held


@given(st.lists(st.sampled_from(PLACES), max_size=60))
def test_no_share_and_no_address_holds_more_than_it_may(places: list[tuple[str, Share]]) -> None:
    held = spread(places)
    for number, (holder, share) in enumerate(places):
        held.put(f"more {number}", holder, share, share)
    for figure, most in ((lambda share: share.name, EACH), (lambda share: share.at, AT)):
        assert max(Counter(map(figure, held.values())).values(), default=0) <= most
    assert len(held) <= MOST
    for holder, _ in PLACES:
        held.drop(holder)
    assert (len(held), held._of, held._at, held._shares._of, held._addresses._of) == (0, {}, {}, {}, {})


@given(st.lists(st.sampled_from(PLACES), max_size=60))
def test_a_client_has_one_share_whatever_number_of_connections(places: list[tuple[str, Share]]) -> None:
    held = spread([("a", share) if share.name == "a" else (holder, share) for holder, share in places])
    assert Counter(spread(places).values()) == Counter(held.values())


def test_what_is_of_one_connection_goes_with_it_and_not_with_the_others_of_its_client() -> None:
    held = shares(most=4, most_each=3)
    for key in ("one 1", "two 1", "one 2"):
        held.put(key, key[:3], key, Share("client"))
    assert not held.has_room("three", Share("client"))
    held.drop("one")
    assert (held.of("one"), held.of("two"), held.values()) == ([], ["two 1"], ["two 1"])
    assert held.has_room("three", Share("client"))


@given(st.integers(1, 30))
def test_many_clients_at_one_address_do_not_keep_out_who_comes_from_another(crowd: int) -> None:
    held: Shares[str] = Shares(MOST, EACH)
    for number in range(crowd):
        held.put(str(number), str(number), "crowd", Share(str(number), "here"))
    for where in ("there", ""):
        assert held.has_room("newcomer", Share(f"newcomer {where}", where))
        held.put(where, "newcomer", "newcomer", Share(f"newcomer {where}", where))
    assert held.of("newcomer") == ["newcomer"] * 2


def test_the_greedy_at_an_address_make_room_for_their_neighbours() -> None:
    held: Shares[str] = Shares(MOST, EACH, most_at=3)
    for number in range(3):
        held.put(str(number), "greedy", f"greedy {number}", Share("greedy", "here"))
    assert held.has_room("modest", Share("modest", "here"))
    assert held.put("m", "modest", "modest", Share("modest", "here")) == "greedy 0"
    assert held.values() == ["greedy 1", "greedy 2", "modest"]
    held.put("n", "another", "another", Share("another", "here"))
    assert not held.has_room("late", Share("late", "here")), "where everybody has one, nobody has to go"
    assert held.has_room("late", Share("late", "there"))
    assert held.put("l", "late", "late", Share("late", "here")) == "greedy 2", "the oldest of the address"
