from __future__ import annotations

from hivemind_core.floods import FLOODS_AT_ONCE, Floods, Heard


def test_the_first_ping_begins_a_flood_and_others_answer_it() -> None:
    floods = Floods()
    assert floods.hear("f", "asker", "peer 1", 0) == Heard.BEGINS
    assert floods.hear("f", "kitchen", "peer 2", 0) == Heard.ANSWERS
    assert floods.hear("f", "hall", "peer 3", 0) == Heard.ANSWERS
    assert floods.origin("f") == "peer 1"


def test_a_node_is_heard_once_in_a_flood_whichever_way_it_comes() -> None:
    floods = Floods()
    floods.hear("f", "asker", "peer 1", 0)
    floods.hear("f", "kitchen", "peer 2", 0)
    assert floods.hear("f", "kitchen", "peer 3", 0) == Heard.KNOWN
    assert floods.hear("f", "asker", "peer 2", 0) == Heard.KNOWN


def test_a_ping_without_a_flood_is_nothing() -> None:
    assert Floods().hear("", "asker", "peer 1", 0) == Heard.KNOWN


def test_nobody_begins_floods_without_end() -> None:
    floods = Floods()
    begun = [floods.hear(f"f{number}", "asker", "peer 1", 0) for number in range(FLOODS_AT_ONCE + 5)]
    assert begun.count(Heard.BEGINS) == FLOODS_AT_ONCE
    assert floods.hear("of another", "asker", "peer 2", 0) == Heard.BEGINS
    assert floods.hear("later", "asker", "peer 1", 60) == Heard.BEGINS


def test_what_is_remembered_is_bounded_and_the_oldest_goes() -> None:
    floods = Floods(most=3, most_heard=8)
    for number in range(5):
        floods.hear(f"f{number}", "asker", f"peer {number}", 0)
    assert [floods.origin(f"f{number}") for number in range(5)] == ["", "", "peer 2", "peer 3", "peer 4"]
    for number in range(20):
        floods.hear("f4", f"node {number}", "peer", 0)
    assert floods.origin("f3") == ""
    assert floods.origin("f4") == "peer 4"
