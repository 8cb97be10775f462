"""Rooms: one numbering, nothing missed, nothing private shown, everything bounded."""

from __future__ import annotations

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from helpers.chatroom_core import draft
from hivemind_chatroom.messages import ChatMessage, Media, State
from hivemind_chatroom.rooms import IDLE_S, MOST_CHARACTERS, SHARE, Rooms, TooManyRooms

ALL = 1_000_000


def texts(found: list[ChatMessage]) -> list[str]:
    return [message.text for message in found]


def test_numbers_grow_with_every_line_and_change() -> None:
    rooms = Rooms(most=2, history=10, first=100)
    first, second = rooms.post(draft("a"), 0), rooms.post(draft("b", "kitchen"), 0)
    changed = rooms.change(first.id, state=State.SENT)
    assert changed is not None
    assert (first.id, first.seq, second.id, changed.id, changed.seq) == (101, 101, 102, 101, 103)
    assert rooms.newest == 103


def test_a_change_is_kept_and_keeps_the_rest() -> None:
    rooms = Rooms(1, 10, 0)
    media = Media("Blue")
    posted = rooms.post(draft("a", media=media, owner="me", private=True), 0)
    rooms.change(posted.id, state=State.FAILED, note="because")
    found = rooms.get(posted.id)
    assert found is not None
    assert (found.state, found.note, found.text, found.media, found.owner) == (
        State.FAILED,
        "because",
        "a",
        media,
        "me",
    )


def test_what_is_no_longer_kept_cannot_be_changed() -> None:
    rooms = Rooms(1, 1, 0)
    gone = rooms.post(draft("a"), 0)
    rooms.post(draft("b"), 0)
    before = rooms.newest
    assert rooms.change(gone.id, state=State.SENT) is None
    assert rooms.change(999, state=State.SENT) is None
    assert rooms.get(gone.id) is None
    assert rooms.newest == before


def test_a_room_keeps_its_newest_lines() -> None:
    rooms = Rooms(2, 3, 0)
    for number in range(5):
        rooms.post(draft(str(number)), 0)
    rooms.post(draft("elsewhere", "kitchen"), 0)
    assert texts(rooms.since("flask", 0, "", ALL)) == ["2", "3", "4"]


def test_since_tells_what_is_new_and_what_has_changed_oldest_line_first() -> None:
    rooms = Rooms(2, 10, 0)
    a, b, c = (rooms.post(draft(text), 0) for text in "abc")
    seen = rooms.newest
    assert rooms.since("flask", seen, "", ALL) == []
    rooms.change(b.id, state=State.SENT)
    rooms.change(a.id, state=State.SENT)
    rooms.post(draft("d"), 0)
    assert texts(rooms.since("flask", seen, "", ALL)) == ["a", "b", "d"]
    assert texts(rooms.since("flask", c.id, "", ALL)) == ["a", "b", "d"]


def test_a_limit_leaves_the_newest() -> None:
    rooms = Rooms(2, 10, 0)
    for text in "abcd":
        rooms.post(draft(text), 0)
    assert texts(rooms.since("flask", 0, "", 2)) == ["c", "d"]
    assert rooms.since("flask", 0, "", 0) == []


def test_all_rooms_together_are_in_the_order_of_time() -> None:
    rooms = Rooms(2, 10, 0)
    for number in range(6):
        rooms.post(draft(str(number), "flask" if number % 2 else "kitchen"), 0)
    assert texts(rooms.since(None, 0, "", ALL)) == ["0", "1", "2", "3", "4", "5"]


def test_a_private_line_is_for_its_own_browser_only() -> None:
    rooms = Rooms(2, 10, 0)
    rooms.post(draft("public"), 0)
    rooms.post(draft("secret", private=True, owner="mine"), 0)
    for name in ("flask", None):
        assert texts(rooms.since(name, 0, "mine", ALL)) == ["public", "secret"]
        assert texts(rooms.since(name, 0, "other", ALL)) == ["public"]
        assert texts(rooms.since(name, 0, "", ALL)) == ["public"]


def test_an_unknown_room_is_empty_and_is_not_made_by_asking() -> None:
    rooms = Rooms(1, 10, 0)
    assert rooms.since("nowhere", 0, "", ALL) == []
    assert rooms.names() == []


def test_a_room_in_use_does_not_make_way() -> None:
    rooms = Rooms(1, 10, 0)
    rooms.post(draft("a"), 0)
    with pytest.raises(TooManyRooms):
        rooms.post(draft("b", "kitchen"), 10 * IDLE_S, in_use={"flask"})
    with pytest.raises(TooManyRooms):
        rooms.post(draft("b", "kitchen"), IDLE_S)
    assert rooms.names() == ["flask"]


def test_a_room_where_nobody_has_been_for_long_makes_way() -> None:
    rooms = Rooms(2, 10, 0)
    old = rooms.post(draft("a", "old"), 0)
    rooms.post(draft("b", "newer"), 1)
    rooms.post(draft("c", "newest"), 2 + IDLE_S)
    assert sorted(rooms.names()) == ["newer", "newest"]
    assert rooms.get(old.id) is None
    assert rooms.change(old.id, state=State.SENT) is None


def test_an_empty_room_makes_way_at_once() -> None:
    rooms = Rooms(1, 10, 0)
    rooms.enter("empty", 0)
    rooms.post(draft("a"), 0)
    assert rooms.names() == ["flask"]


def test_a_room_that_comes_back_starts_empty_with_larger_numbers() -> None:
    rooms = Rooms(1, 10, 0)
    first = rooms.post(draft("a"), 0)
    rooms.post(draft("b", "kitchen"), 2 * IDLE_S)
    again = rooms.post(draft("c"), 4 * IDLE_S)
    assert texts(rooms.since("flask", 0, "", ALL)) == ["c"]
    assert again.id > first.id


def test_an_earlier_run_is_taken_up() -> None:
    earlier = Rooms(2, 10, 500)
    for text in "abc":
        earlier.post(draft(text), 0)
    rooms = Rooms(2, 2, 100)
    rooms.restore(earlier.all())
    assert texts(rooms.since("flask", 0, "", ALL)) == ["b", "c"]
    assert rooms.post(draft("d"), 0).id > earlier.newest


def test_an_earlier_run_with_more_rooms_is_taken_up_in_part() -> None:
    earlier = Rooms(5, 10, 500)
    for name in ("one", "two", "three"):
        earlier.post(draft("a", name), 0)
    rooms = Rooms(2, 10, 100)
    rooms.restore(earlier.all())
    assert rooms.names() == ["one", "two"]
    assert rooms.newest == earlier.newest  # or a new line would take the number of one that is kept in the file


def filled(most: int, opener: str) -> Rooms:
    """Every room there is, opened by one address a moment ago."""
    rooms = Rooms(most, 10, 0)
    for number in range(most):
        rooms.post(draft("spam", f"room {number}"), number / 1000, opener=opener)
    return rooms


def test_who_opened_most_rooms_makes_way_for_another_address() -> None:
    rooms = filled(8, "hostile")
    rooms.post(draft("hello", "flask"), 1, opener="10.0.0.1")
    assert "flask" in rooms.names()
    assert "room 0" not in rooms.names()


def test_who_opened_most_rooms_opens_no_more() -> None:
    rooms = filled(8, "hostile")
    with pytest.raises(TooManyRooms):
        rooms.post(draft("hello", "flask"), 1, opener="hostile")


def test_a_room_that_somebody_looks_at_stays_whoever_opened_it() -> None:
    rooms = filled(8, "hostile")
    with pytest.raises(TooManyRooms):
        rooms.post(draft("hello", "flask"), 1, in_use=rooms.names(), opener="10.0.0.1")


def test_one_address_does_not_sweep_away_all_idle_rooms() -> None:
    rooms = Rooms(20, 10, 0)
    for number in range(20):
        rooms.post(draft("hello", f"home {number}"), 0, opener=f"10.0.0.{number}")
    for number in range(100):
        try:
            rooms.post(draft("spam", f"spam {number}"), IDLE_S + 1, opener="hostile")
        except TooManyRooms:
            continue
    assert sum(name.startswith("home") for name in rooms.names()) >= 20 - 20 // SHARE - 1


def test_a_room_keeps_so_many_characters() -> None:
    rooms = Rooms(1, 1000, 0)
    for number in range(60):
        rooms.post(draft(f"{number} " + "x" * (MOST_CHARACTERS // 20)), 0)
    kept = rooms.since("flask", 0, "", ALL)
    assert 10 < len(kept) <= 20
    assert kept[-1].text.startswith("59 ")
    last = rooms.post(draft("y" * (2 * MOST_CHARACTERS)), 0)
    assert [line.id for line in rooms.all()] == [last.id]


def test_changes_of_a_line_do_not_add_up() -> None:
    rooms = Rooms(1, 1000, 0)
    first = rooms.post(draft("x" * (MOST_CHARACTERS // 4)), 0)
    for _ in range(20):
        rooms.change(first.id, state=State.SENT)
    rooms.post(draft("y" * (MOST_CHARACTERS // 4)), 0)
    assert rooms.get(first.id) is not None


def test_what_is_listed_at_a_time_has_an_end() -> None:
    rooms = Rooms(10, 1000, 0)
    for number in range(10):
        rooms.post(draft("x" * (MOST_CHARACTERS - 100), f"room {number}"), 0)
    listed = rooms.since(None, 0, "", ALL)
    assert [line.room for line in listed] == [f"room {number}" for number in (8, 9)]


class Following(RuleBasedStateMachine):
    """Readers that ask `since` now and then, against a model that forgets nothing."""

    MOST, HISTORY, FIRST = 3, 4, 1000
    NAMES = st.sampled_from(["one", "two", "three", "four"])
    BROWSERS = st.sampled_from(["", "a", "b"])

    def __init__(self) -> None:
        super().__init__()
        self.rooms = Rooms(self.MOST, self.HISTORY, self.FIRST)
        self.now = 0.0
        self.numbers = [self.FIRST]
        self.latest: dict[int, ChatMessage] = {}
        self.known: dict[tuple[str, str], dict[int, ChatMessage]] = {}
        self.asked: dict[tuple[str, str], int] = {}

    def note(self, message: ChatMessage) -> None:
        self.numbers.append(message.seq)
        self.latest[message.id] = message

    @rule(name=NAMES, owner=BROWSERS, private=st.booleans(), busy=st.booleans())
    def post(self, name: str, owner: str, private: bool, busy: bool) -> None:
        in_use = self.rooms.names() if busy else ()
        try:
            self.note(self.rooms.post(draft("x", name, owner=owner, private=private), self.now, in_use))
        except TooManyRooms:
            assert len(self.rooms.names()) == self.MOST
            assert name not in self.rooms.names()

    @rule(index=st.integers(0, 20), state=st.sampled_from(State))
    def change(self, index: int, state: State) -> None:
        numbers = list(self.latest)
        if numbers:
            number = numbers[-1 - index % len(numbers)]
            kept = self.rooms.get(number) is not None
            changed = self.rooms.change(number, state=state)
            assert (changed is not None) is kept
            if changed is not None:
                assert changed.state is state
                self.note(changed)

    @rule(seconds=st.floats(0, IDLE_S))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=NAMES, browser=BROWSERS)
    def follow(self, name: str, browser: str) -> None:
        reader = (name, browser)
        found = self.rooms.since(name, self.asked.get(reader, 0), browser, ALL)
        assert [message.id for message in found] == sorted(message.id for message in found)
        self.known.setdefault(reader, {}).update({message.id: message for message in found})
        self.asked[reader] = self.rooms.newest
        for message in self.rooms.all():
            if message.room == name and message.visible_to(browser):
                assert self.known[reader][message.id] == self.latest[message.id], "a change was missed"

    @invariant()
    def numbers_only_grow(self) -> None:
        assert self.numbers == sorted(set(self.numbers))

    @invariant()
    def nothing_private_is_known_to_others(self) -> None:
        for (_, browser), messages in self.known.items():
            assert all(not m.private or (browser and m.owner == browser) for m in messages.values())

    @invariant()
    def all_is_bounded(self) -> None:
        assert len(self.rooms.names()) <= self.MOST
        assert sum(1 for _ in self.rooms.all()) <= self.MOST * self.HISTORY
        assert len(self.rooms._where) <= 2 * self.MOST * self.HISTORY + 1


Following.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
TestFollowing = Following.TestCase
