"""Whose session a request belongs to, what waits in it, and when it is over; no clock, no socket."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hivemind_core.transports.http_sessions import (
    BINARY,
    MAX_ENDED,
    MAX_HELD_BYTES,
    MAX_TAKEN_BYTES,
    REMEMBERED_S,
    TEXT,
    Bounds,
    HTTPSession,
    HTTPSessions,
    hub_of,
)

HOME, AWAY = "192.0.2.1", "198.51.100.1"
BOUNDS = Bounds(max_frames=3, undelivered_s=10, unfetched_s=20, silent_s=40)


def session(key: str = "key", remote: str = HOME, bounds: Bounds = BOUNDS) -> HTTPSession:
    return HTTPSession(key, remote, bounds, 0.0)


@pytest.fixture
def sessions() -> HTTPSessions[HTTPSession]:
    return HTTPSessions()


# queues


def test_each_kind_has_its_queue_and_its_order() -> None:
    one = session()
    assert one.put(["a", b"1", "b", b"2"], 0)
    assert (one.has(TEXT), one.has(BINARY)) == (True, True)
    assert one.take(TEXT, 0) == ["a", "b"]
    assert (one.has(TEXT), one.has(BINARY)) == (False, True)
    assert one.take(BINARY, 0) == [b"1", b"2"]
    assert one.take(BINARY, 0) == []


def test_the_bounds_are_for_each_queue_and_for_the_bytes_of_both() -> None:
    assert session().put(["a", b"1"] * 3, 0)
    assert not session().put(["a"] * 4, 0)
    many = Bounds(max_frames=256)
    assert session(bounds=many).put([bytes(65_535)] * 256, 0), "as many as there may be of protocol v3"
    half = "x" * (MAX_HELD_BYTES // 2)
    one = session()
    assert one.put([half], 0)
    assert one.put([half.encode()], 0)
    assert not one.put(["x"], 0)


def test_what_was_taken_makes_room() -> None:
    one = session()
    for _ in range(5):
        assert one.put(["a" * (MAX_HELD_BYTES // 2), "a", "a"], 0)
        while one.has(TEXT):
            one.take(TEXT, 0)


def test_an_answer_holds_so_much_and_at_least_one_frame() -> None:
    one = session()
    half, long = bytes(MAX_TAKEN_BYTES // 2), bytes(MAX_TAKEN_BYTES + 1)
    assert one.put([half, half, b"rest"], 0)
    assert one.take(BINARY, 0) == [half, half]
    assert one.take(BINARY, 0) == [b"rest"]
    assert one.put([long, b"rest"], 0)
    assert one.take(BINARY, 0) == [long]
    assert one.take(BINARY, 0) == [b"rest"]


def test_what_did_not_arrive_is_the_first_of_the_next_answer() -> None:
    one = session()
    one.put(["a", "b"], 0)
    taken = one.take(TEXT, 0)
    one.put(["c"], 0)
    one.put_back(TEXT, taken)
    assert one.take(TEXT, 0) == ["a", "b", "c"]
    one.put(["d"], 0)
    one.drop()
    assert not one.has(TEXT)
    assert one.put(["x" * MAX_HELD_BYTES], 0), "what was dropped is counted no more"


# time


def touch(one: HTTPSession, at: float, *, fetch: bool) -> None:
    one.begin(at)
    if fetch:
        one.fetched_at = at
    one.finish(at)


OVERDUE: dict[str, tuple[Callable[[HTTPSession], object], float, str]] = {
    "nothing asked": (lambda one: None, 20, "nothing was fetched"),
    "only sent": (lambda one: touch(one, 15, fetch=False), 20, "nothing was fetched"),
    "fetched": (lambda one: touch(one, 15, fetch=True), 35, "nothing was fetched"),
    "a frame waits": (lambda one: one.put(["a"], 5), 15, "a message was not fetched"),
    "the other queue is fetched": (
        lambda one: (one.put(["a"], 5), touch(one, 9, fetch=True), one.take(BINARY, 9)),
        15,
        "a message was not fetched",
    ),
    "of frames the oldest counts": (lambda one: (one.put(["a"], 5), one.put(["b"], 12)), 15, "a message was not"),
}


@pytest.mark.parametrize("case", OVERDUE)
def test_it_ends_at_its_time_and_not_before(case: str) -> None:
    prepare, at, why = OVERDUE[case]
    one = session()
    prepare(one)
    assert one.overdue(at - 0.1) == ""
    assert one.overdue(at).startswith(why)


def test_a_client_that_waits_is_not_silent() -> None:
    one = session()
    one.begin(0)
    assert one.overdue(1000) == ""
    one.finish(1000)
    assert one.overdue(1000) == "nothing was fetched"


def test_it_may_be_silent_for_so_long_altogether() -> None:
    one = session(bounds=Bounds(unfetched_s=0, silent_s=40))
    assert one.overdue(39.9) == ""
    assert one.overdue(40) == "nothing was asked for"


def test_zero_seconds_are_for_ever() -> None:
    one = session(bounds=Bounds(undelivered_s=0, unfetched_s=0, silent_s=0))
    one.put(["a"], 0)
    assert one.overdue(1e9) == ""


# whose


def test_the_access_key_and_the_address_find_it_until_the_cookie_came_back(
    sessions: HTTPSessions[HTTPSession],
) -> None:
    mine = session()
    sessions.add(mine)
    assert sessions.find("key", "", HOME) is mine
    assert not sessions.is_bound(mine)
    assert [sessions.find("key", "", AWAY), sessions.find("other", "", HOME)] == [None, None]
    assert sessions.find("key", mine.cookie, AWAY) is mine
    assert sessions.is_bound(mine)
    assert sessions.find("key", "", HOME) is None
    assert sessions.find("key", mine.cookie, HOME) is mine


def test_a_cookie_opens_nothing_of_another_key_and_a_wrong_one_nothing_at_all(
    sessions: HTTPSessions[HTTPSession],
) -> None:
    mine = session()
    sessions.add(mine)
    assert sessions.find("other", mine.cookie, HOME) is None
    assert sessions.find("key", "guessed", HOME) is None
    assert not sessions.is_bound(mine)


def test_one_that_is_bound_from_the_start_leaves_the_address_to_others(sessions: HTTPSessions[HTTPSession]) -> None:
    first, second = session(), session()
    sessions.add(first)
    sessions.add(second, bound=True)
    assert sessions.find("key", "", HOME) is first
    assert sessions.find("key", second.cookie, HOME) is second
    sessions.remove(second)
    assert sessions.find("key", "", HOME) is first
    assert sessions.find("key", second.cookie, HOME) is None


def test_cookies_are_long_and_each_is_another() -> None:
    cookies = {session().cookie for _ in range(100)}
    assert len(cookies) == 100
    assert min(map(len, cookies)) >= 43
    assert not any(cookie in repr(session()) for cookie in cookies)


def test_how_one_ended_is_remembered_for_a_while(sessions: HTTPSessions[HTTPSession]) -> None:
    mine = session()
    sessions.add(mine)
    sessions.end(mine, 1013, "slow reader", 100)
    sessions.end(mine, 1000, "later", 101)
    assert list(sessions) == []
    found = sessions.find("key", "", HOME)
    assert found is mine
    assert found.ended == (1013, "slow reader")
    sessions.forget_ended(100 + REMEMBERED_S - 0.1)
    assert sessions.find("key", "", HOME) is mine
    sessions.forget_ended(100 + REMEMBERED_S)
    assert sessions.find("key", "", HOME) is None
    assert sessions.find("key", mine.cookie, HOME) is None


def test_so_many_that_ended_are_remembered(sessions: HTTPSessions[HTTPSession]) -> None:
    made = [session(remote=str(number)) for number in range(MAX_ENDED + 1)]
    for one in made:
        sessions.add(one)
        sessions.end(one, 1000, "", 0)
    assert sessions.find("key", "", "0") is None
    assert sessions.find("key", "", "1") is made[1]


def test_one_that_was_removed_is_not_remembered(sessions: HTTPSessions[HTTPSession]) -> None:
    mine = session()
    sessions.add(mine)
    sessions.remove(mine)
    sessions.end(mine, 1000, "", 0)
    sessions.remove(mine)
    assert sessions.find("key", mine.cookie, HOME) is None
    assert sessions._ended == {}


# the hubs of a cluster


def test_in_a_cluster_a_cookie_begins_with_the_id_of_its_hub() -> None:
    one = HTTPSession("key", HOME, BOUNDS, 0.0, "0123456789abcdef")
    assert one.cookie.startswith("0123456789abcdef.")
    assert hub_of(one.cookie) == "0123456789abcdef"
    assert hub_of(session().cookie) == ""


@pytest.mark.parametrize(("cookie", "hub"), [("", ""), (".", ""), ("hub.", "hub"), ("hub.a.b", "hub"), (".a", "")])
def test_a_cookie_of_any_kind_can_be_read(cookie: str, hub: str) -> None:
    assert hub_of(cookie) == hub


def test_an_answer_may_hold_less() -> None:
    one = session()
    one.put(["a" * 10, "b" * 10, "c" * 10], 0)
    assert [len(one.take(TEXT, 0, 20)) for _ in range(3)] == [2, 1, 0]
    one.put(["d" * 30, "e"], 0)
    assert one.take(TEXT, 0, 20) == ["d" * 30]
