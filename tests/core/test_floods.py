from __future__ import annotations

from hivemind_core.floods import FLOODS_AT_ONCE, Floods, Heard
from hivemind_core.shares import Share


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


def test_the_floods_of_others_are_not_pushed_out() -> None:
    floods = Floods(most=8)
    floods.hear("of another", "asker", "peer 2", 0)
    for number in range(30):
        floods.hear(f"f{number}", "asker", "peer 1", 10.0 * number)
    assert floods.origin("of another") == "peer 2"
    assert [floods.origin(f"f{number}") for number in (27, 28, 29)] == ["", "peer 1", "peer 1"]


def test_the_flood_in_which_most_is_heard_goes_first() -> None:
    floods = Floods(most_heard=8)
    floods.hear("small", "asker", "peer 1", 0)
    floods.hear("large", "asker", "peer 2", 0)
    for number in range(20):
        floods.hear("large", f"node {number}", "peer", 0)
    assert floods.origin("small") == "peer 1"


def test_so_many_nodes_are_heard_in_one_flood_and_their_names_take_no_room() -> None:
    floods = Floods(most_nodes=3)
    heard = [floods.hear("f" * 10_000, "n" * 10_000 + str(number), "peer", 0) for number in range(5)]
    assert heard == [Heard.BEGINS, Heard.ANSWERS, Heard.ANSWERS, Heard.KNOWN, Heard.KNOWN]
    assert sum(len(name) for flood in floods._floods.values() for name in (flood.name, *flood.heard)) < 100


def test_a_client_begins_no_more_for_all_its_connections() -> None:
    floods, share = Floods(), Share("client 1")
    begun = [floods.hear(f"f{number}", "asker", f"peer {number}", 0, share) for number in range(FLOODS_AT_ONCE + 5)]
    assert begun == [Heard.BEGINS] * FLOODS_AT_ONCE + [Heard.KNOWN] * 5
    assert floods.hear("of another", "asker", "peer 99", 0, Share("client 2")) == Heard.BEGINS
    assert floods.hear("rationed elsewhere", "asker", "peer 99", 0, share, is_rationed=False) == Heard.BEGINS


def test_the_floods_of_others_stay_however_many_connections_begin_some() -> None:
    floods = Floods(most=8)
    for number in range(4):
        floods.hear(f"of {number}", "asker", f"another {number}", 0)
    for number in range(30):
        floods.hear(f"f{number}", "asker", f"peer {number}", 10.0 * number, Share("client 1"))
    assert [floods.origin(f"of {number}") for number in range(4)] == [f"another {number}" for number in range(4)]
