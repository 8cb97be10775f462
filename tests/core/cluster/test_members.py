"""Who is a member, and who leads."""

from __future__ import annotations

import pytest

from hivemind_core.cluster.members import LEASE_S, MAX_MEMBERS, MAX_NAME, Member, Members, member_told

ME = Member("me", "me", 200)


def test_the_oldest_leads_and_among_equals_the_same_for_all() -> None:
    members = Members()
    assert members.leader(ME) == ME
    for hub, since in (("young", 300), ("old", 100), ("also old", 100)):
        members.beat(Member(hub, hub, since), 0.0)
    assert members.leader(ME).hub == "also old"
    assert [each.hub for each in members.others()] == ["also old", "old", "young"]


def test_who_is_silent_for_too_long_is_missed() -> None:
    members = Members()
    assert members.beat(Member("a", "a", 1), 0.0)
    assert not members.beat(Member("a", "a", 1), 1.0)
    assert members.silent(LEASE_S) == []
    assert members.silent(1.0 + LEASE_S) == ["a"]
    members.wait_for_all(3.0)
    assert members.silent(1.0 + LEASE_S) == []
    assert members.gone("a")
    assert not members.gone("a")
    assert members.silent(100.0) == []


def test_there_are_only_so_many() -> None:
    members = Members()
    for number in range(MAX_MEMBERS + 5):
        members.beat(Member(str(number), "", number), 0.0)
    assert len(members.others()) == MAX_MEMBERS


def test_what_one_tells_of_itself_comes_back() -> None:
    member = Member("a", "attic", 7, True, True, 3)
    assert member_told("a", member.told()) == member


@pytest.mark.parametrize("told", [{}, {"name": 1, "since": "x", "agent": 1, "parent": "yes", "peers": None}])
def test_nonsense_reads_as_nothing(told: dict[str, object]) -> None:
    assert member_told("a", told) == Member("a", "", 0)


def test_a_long_name_is_cut() -> None:
    assert len(member_told("a", {"name": "x" * 1000}).name) == MAX_NAME
