"""An answer that comes by several ways is taken once, and one that is said twice is taken twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hivemind_bus_client.message import Message
from hivemind_core.cluster.paths import LATE_S, MAX_KNOWN, Copies


def say(text: str) -> Message:
    return Message("speak", {"utterance": text}, {"destination": "kitchen"})


def test_a_second_way_brings_nothing_new() -> None:
    copies = Copies()
    assert not copies.is_copy(say("hello"), "own bus", 0.0)
    assert copies.is_copy(say("hello"), "hub a", 0.1)
    assert copies.is_copy(say("hello"), "hub b", 0.2)
    assert not copies.is_copy(say("good-bye"), "hub b", 0.2)


def test_what_is_said_again_is_said_again() -> None:
    copies = Copies()
    assert [copies.is_copy(say("beep"), "own bus", 0.0) for _ in range(3)] == [False] * 3
    assert [copies.is_copy(say("beep"), "hub a", 0.0) for _ in range(4)] == [True, True, True, False]


def test_long_afterwards_it_is_new() -> None:
    copies = Copies()
    assert not copies.is_copy(say("hello"), "own bus", 0.0)
    assert not copies.is_copy(say("hello"), "hub a", LATE_S)


def test_only_so_many_are_remembered() -> None:
    copies = Copies()
    for number in range(2 * MAX_KNOWN):
        copies.is_copy(say(str(number)), "own bus", 0.0)
    assert copies.is_copy(say(str(2 * MAX_KNOWN - 1)), "hub a", 0.0)
    assert not copies.is_copy(say("0"), "hub a", 0.0)


@given(st.lists(st.sampled_from("ab"), max_size=12), st.data())
def test_however_the_ways_are_mixed_each_is_taken_as_often_as_it_was_said(said: list[str], data: Any) -> None:
    left = {way: list(said) for way in ("own bus", "hub a", "hub b")}
    copies, taken = Copies(), []
    while any(left.values()):
        way = data.draw(st.sampled_from(sorted(way for way, rest in left.items() if rest)))
        text = left[way].pop(0)
        if not copies.is_copy(say(text), way, 0.0):
            taken.append(text)
    assert sorted(taken) == sorted(said)
