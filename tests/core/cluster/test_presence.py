"""Who is where, as each hub comes to know it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hivemind_core.cluster.presence import CHUNK, Presence


def test_a_satellite_is_found_at_the_hub_that_named_it() -> None:
    presence = Presence("me")
    presence.here("other", [("kitchen", 1)])
    presence.here("me", [("hall", 1)])
    assert presence.where("kitchen") == "other"
    assert presence.where("hall") == ""
    assert presence.where("nobody") == ""
    assert presence.number_here == 1


def test_who_took_it_in_last_has_it() -> None:
    presence = Presence("me")
    assert presence.here("me", [("kitchen", 5)]) == []
    assert presence.here("old", [("kitchen", 4)]) == []
    assert presence.where("kitchen") == ""
    assert presence.here("new", [("kitchen", 6)]) == ["kitchen"]
    assert presence.where("kitchen") == "new"
    assert presence.number_here == 0


def test_one_that_is_taken_in_now_is_here_whatever_the_clocks_say() -> None:
    presence = Presence("me")
    presence.here("fast clock", [("kitchen", 10_000)])
    presence.here("me", [("kitchen", presence.newest("kitchen", 9_000))])
    assert presence.where("kitchen") == ""


def test_only_the_hub_that_has_it_can_lose_it() -> None:
    presence = Presence("me")
    presence.here("other", [("kitchen", 2)])
    presence.left("third", ["kitchen", "nobody"])
    assert presence.where("kitchen") == "other"
    presence.left("other", ["kitchen"])
    assert presence.where("kitchen") == ""


def test_a_hub_that_is_gone_has_nobody() -> None:
    presence = Presence("me")
    presence.here("other", [("kitchen", 2), ("hall", 3)])
    presence.here("third", [("hall", 4)])
    presence.forget("other")
    assert (presence.where("kitchen"), presence.where("hall")) == ("", "third")
    assert len(presence) == 1


def test_all_are_named_in_chunks_and_nobody_too() -> None:
    presence = Presence("me")
    assert list(presence.own()) == [[]]
    everybody = [(f"{number:05}", number) for number in range(2 * CHUNK + 1)]
    presence.here("me", everybody)
    chunks = list(presence.own())
    assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK, 1]
    assert [each for chunk in chunks for each in chunk] == everybody


HUBS = st.sampled_from(["a", "b", "c"])
CLAIMS = st.lists(st.tuples(HUBS, st.sampled_from(["p", "q"]), st.integers(0, 5)), max_size=12)


@given(CLAIMS, st.data())
def test_in_whichever_order_they_hear_all_come_to_the_same(claims: list[tuple[str, str, int]], data: Any) -> None:
    """A hub names its own satellites later and later, and is heard in the order in which it speaks."""
    last: dict[tuple[str, str], int] = {}
    told: dict[str, list[tuple[str, str, int]]] = {"a": [], "b": [], "c": []}
    for hub, peer_id, since in claims:
        last[hub, peer_id] = max(last.get((hub, peer_id), 0), since)
        told[hub].append((hub, peer_id, last[hub, peer_id]))
    observers = []
    for _ in range(2):
        left = {hub: list(said) for hub, said in told.items() if said}
        presence = Presence("observer")
        while left:
            hub = data.draw(st.sampled_from(sorted(left)))
            sender, peer_id, since = left[hub].pop(0)
            presence.here(sender, [(peer_id, since)])
            left = {each: said for each, said in left.items() if said}
        observers.append([presence.where(peer_id) for peer_id in ("p", "q")])
    assert observers[0] == observers[1]


def test_who_came_after_a_time_is_known_of_this_hub() -> None:
    presence = Presence("me")
    assert presence.came_after(0) == frozenset()
    for peer_id, at in (("kitchen", 5), ("hall", 7)):
        presence.here("me", [(peer_id, 1)])
        presence.arrived(peer_id, at)
    presence.here("other", [("cellar", 9000)])
    assert [presence.came_after(at) for at in (4, 5, 7)] == [{"kitchen", "hall"}, {"hall"}, set()]
    presence.arrived("kitchen", 8)  # on another connection
    assert presence.came_after(5) == {"hall"}
    presence.left("me", ["hall"])
    assert presence.came_after(4) == {"kitchen"}
    presence.here("other", [("kitchen", 9000)])
    assert presence.came_after(4) == frozenset()


def test_who_is_named_again_is_there_all_the_while_and_who_is_not_has_left() -> None:
    presence = Presence("me")
    presence.here("other", [("kitchen", 2), ("hall", 3), ("attic", 4)])
    presence.begin_naming("other")
    presence.here("other", [("kitchen", 2)])
    assert presence.where("hall") == "other"
    presence.here("other", [("hall", 3)])
    presence.end_naming("other")
    assert [presence.where(each) for each in ("kitchen", "hall", "attic")] == ["other", "other", ""]


def test_who_comes_while_all_are_named_is_not_struck_off() -> None:
    presence = Presence("me")
    presence.here("other", [("kitchen", 2)])
    presence.begin_naming("other")
    presence.left("other", ["kitchen"])
    presence.here("third", [("kitchen", 5)])
    presence.end_naming("other")
    assert presence.where("kitchen") == "third"
