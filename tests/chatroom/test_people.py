"""People: a browser under a name; names held, numbered, given back; never more than there may be."""

from __future__ import annotations

import pytest

from hivemind_chatroom.names import MAX_USER_NAME, name_key, user_name
from hivemind_chatroom.people import IDLE_S, NAMES_EACH, SHARE, People, TooManyPeople

SECRET = b"secret"
HELD_S = 1000.0


def people(most: int = 100, secret: bytes = SECRET) -> People:
    return People(secret, most, HELD_S)


def test_one_browser_under_one_name_is_one_person() -> None:
    known = people()
    first = known.claim("a", "alice", 0)
    assert known.claim("a", "alice", 5) is first
    assert first.seen == 5


def test_two_tabs_of_one_browser_may_be_two_people() -> None:
    known = people()
    alice, bob = known.claim("a", "alice", 0), known.claim("a", "bob", 0)
    assert alice.user_id != bob.user_id
    assert alice.session_id != bob.session_id
    assert sorted(known.ids_of("a")) == sorted([alice.user_id, bob.user_id])


def test_a_name_that_another_holds_gets_a_number() -> None:
    known = people()
    known.claim("a", "alice", 0)
    second, third = known.claim("b", "alice", 0), known.claim("c", "alice", 0)
    assert (second.name, third.name) == ("alice 2", "alice 3")
    assert known.claim("b", "alice", 1) is second
    assert known.claim("b", "alice 2", 1) is second
    assert known.claim("d", "alice 2", 1).name == "alice 2 2"


@pytest.mark.parametrize("alike", ["ALICE", "Alice", "  alice", "ａｌｉｃｅ"])
def test_names_that_people_take_for_the_same_are_the_same(alike: str) -> None:
    known = people()
    alice = known.claim("a", "alice", 0)
    assert known.named(alike) is alice
    assert known.claim("b", alike.strip(), 0) is not alice
    assert known.claim("a", alike.strip(), 0) is alice


@pytest.mark.parametrize("name", ["x" * MAX_USER_NAME, "word " * 7 + "wordy"])
def test_a_numbered_name_is_a_name_still(name: str) -> None:
    known = people()
    known.claim("first", name, 0)
    for number in range(2, 13):
        person = known.claim(str(number), name, 0)
        assert person.name.endswith(f" {number}")
        assert user_name(person.name) == person.name
        assert known.claim(str(number), person.name, 0) is person


def test_ids_are_the_same_in_every_run_and_for_nobody_else() -> None:
    one, again, other = (people(secret=secret).claim("a", "alice", 0) for secret in (SECRET, SECRET, b"other"))
    assert (one.user_id, one.session_id) == (again.user_id, again.session_id)
    assert one.user_id != other.user_id
    assert one.session_id != other.session_id
    assert (len(one.user_id), len(one.session_id)) == (16, 32)


def test_browser_and_name_do_not_run_into_each_other() -> None:
    assert people().claim("ab", "c", 0).user_id != people().claim("a", "bc", 0).user_id


def test_nobody_learns_browser_or_session_from_a_log() -> None:
    alice = people().claim("opaque browser", "alice", 0)
    alice.session = {"location": "here"}
    assert "opaque" not in repr(alice)
    assert alice.session_id not in repr(alice)
    assert "here" not in repr(alice)


def test_a_name_is_given_back_after_a_while() -> None:
    known = people()
    first = known.claim("a", "alice", 0)
    assert known.claim("b", "alice", HELD_S).name == "alice 2"
    assert known.claim("c", "alice", HELD_S + 1).name == "alice"
    assert known.of_session(first.session_id) is None
    assert known.claim("a", "alice", HELD_S + 2).name == "alice 3"


def test_who_looks_on_keeps_their_name() -> None:
    known = people()
    alice = known.claim("a", "alice", 0)
    assert known.claim("b", "alice", 10 * HELD_S, here={alice.user_id}).name == "alice 2"


def test_a_conversation_is_somebodys() -> None:
    known = people()
    alice = known.claim("a", "alice", 0)
    assert known.of_session(alice.session_id) is alice
    assert known.of_session("") is None
    assert known.of_session("default") is None


def test_those_longest_away_make_way() -> None:
    known = people(most=2)
    oldest, older = known.claim("a", "alice", 0), known.claim("b", "bob", 1)
    carol = known.claim("c", "carol", IDLE_S + 2)
    assert [known.named(name) for name in ("alice", "bob", "carol")] == [None, older, carol]
    assert known.of_session(oldest.session_id) is None


def test_nobody_who_is_here_or_was_a_moment_ago_makes_way() -> None:
    known = people(most=2)
    alice = known.claim("a", "alice", 0)
    known.claim("b", "bob", IDLE_S)
    with pytest.raises(TooManyPeople):
        known.claim("c", "carol", IDLE_S + 1, here={alice.user_id})
    assert known.claim("a", "alice", IDLE_S + 1) is alice


def test_one_browser_holds_so_many_names() -> None:
    known = people()
    for number in range(NAMES_EACH + 5):
        known.claim("greedy", f"name {number}", number)
    assert len(known.ids_of("greedy")) == NAMES_EACH
    assert known.named("name 0") is None
    assert known.named(f"name {NAMES_EACH + 4}") is not None


def test_what_is_kept_of_wishes_is_bounded() -> None:
    known = people(most=5)
    for number in range(200):
        known.claim(f"browser {number}", "alice", number * (IDLE_S + 1))
    assert len(known._by_name) <= 5
    assert len(known._wishes) <= 5
    assert len(known._by_session) <= 5


def test_scripts_are_nobodys_browser() -> None:
    known = people()
    script = known.claim("", "alice", 0)
    assert known.claim("", "alice", 1) is script
    assert known.ids_of("") == []


def test_who_was_here_before_is_known() -> None:
    known = people()
    known.claim("a", "alice", 0)
    known.claim("b", "alice", 0)
    assert known.knows("a", "ALICE")
    assert known.knows("b", "alice")
    assert known.knows("b", "alice 2")
    assert not known.knows("c", "alice")
    assert not known.knows("a", "bob")


def test_a_new_wish_goes_before_the_language_the_assistant_chose() -> None:
    alice = people().claim("a", "alice", 0)
    alice.speaks("en")
    alice.lang = "pt-PT"
    alice.speaks("en")
    assert alice.lang == "pt-PT"
    alice.speaks("de")
    assert alice.lang == "de"


def test_the_session_that_goes_out_has_what_the_assistant_said_but_our_ids() -> None:
    alice = people().claim("a", "alice", 0)
    alice.room, alice.lang = "kitchen", "de"
    alice.remember(
        {
            "session_id": "another",
            "site_id": "elsewhere",
            "lang": "xx",
            "active_skills": [["timer", 1]],
            "intent_context": {"timer": 1},
            "pipeline": ["x"],
            "blacklisted_skills": ["y"],
            "system_unit": None,
        }
    )
    assert alice.outgoing_session() == {
        "intent_context": {"timer": 1},
        "session_id": alice.session_id,
        "site_id": "kitchen",
        "lang": "de",
    }


def test_the_last_word_of_the_assistant_counts() -> None:
    alice = people().claim("a", "alice", 0)
    alice.remember({"a": 1})
    alice.remember({"b": 2})
    assert alice.session == {"b": 2}


def test_keys_of_held_names_are_their_own() -> None:
    known = people()
    for browser in "abc":
        person = known.claim(browser, "Straße", 0)
        assert known._by_name[name_key(person.name)] is person


def crowded(most: int, address: str = "hostile") -> People:
    """Every name there is, held by one address under browsers of its own."""
    known = people(most)
    for number in range(most):
        known.claim(f"browser {number}", f"name {number}", number, address=address)
    return known


def test_who_holds_most_names_makes_way_for_another_address() -> None:
    known = crowded(20)
    for number in range(10):
        assert (
            known.claim(f"guest {number}", f"guest {number}", 30, address=f"10.0.0.{number}").name == f"guest {number}"
        )
    assert known.named("name 0") is None
    assert known.named("name 19") is not None


def test_who_holds_most_names_gets_no_more() -> None:
    known = crowded(20)
    with pytest.raises(TooManyPeople):
        known.claim("one more", "one more", 30, address="hostile")


def test_those_who_look_on_stay_whoever_holds_most() -> None:
    known = people(4)
    here = {known.claim(f"b{number}", f"n{number}", 0, address="hostile").user_id for number in range(4)}
    with pytest.raises(TooManyPeople):
        known.claim("guest", "guest", 1, here, "10.0.0.1")


def test_one_address_does_not_push_out_those_away_beyond_its_share() -> None:
    known = people(20)
    for number in range(20):
        known.claim(f"browser {number}", f"name {number}", 0, address=f"10.0.0.{number}")
    for number in range(100):
        try:
            known.claim(f"hostile {number}", f"other {number}", IDLE_S + 1, address="hostile")
        except TooManyPeople:
            continue
    assert sum(known.named(f"name {number}") is not None for number in range(20)) >= 20 - 20 // SHARE - 1


def test_ours_are_told_from_all_other_sessions() -> None:
    known, others = people(), people(secret=b"another")
    session = known.claim("a", "alice", 0).session_id
    assert known.is_ours(session)
    assert people().is_ours(session)  # forgotten, or in another run
    forged = session[:-1] + ("0" if session[-1] != "0" else "1")
    for other in ("", "default", "x" * 32, "\ud800", forged, others.claim("a", "alice", 0).session_id):
        assert not known.is_ours(other)
