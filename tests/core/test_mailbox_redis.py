"""Deposits in a real Redis: several hubs at once, and one that fails. See also test_mailbox_stores.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Barrier

import pytest

from helpers.mailbox_stores import LETTER, NOW, leave, sealed, totals_in_redis, waiting
from helpers.processes import Children
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_core import mailbox_redis
from hivemind_core.cluster_config import ClusterConfig
from hivemind_core.mailbox import Deposit, Limits, Refused, Released, name_of
from hivemind_core.mailbox_redis import REST_S, RedisMailboxStore
from hivemind_core.storage import StorageError

MANY = 1200
"""More than the script handles in one go."""


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def config(redis_server: RedisServer) -> ClusterConfig:
    return ClusterConfig(port=redis_server.port)


@pytest.fixture
def store(config: ClusterConfig) -> Iterator[RedisMailboxStore]:
    with closing(RedisMailboxStore(config)) as opened:
        yield opened


@pytest.fixture
def other(config: ClusterConfig) -> Iterator[RedisMailboxStore]:
    """That of another hub of the same cluster."""
    with closing(RedisMailboxStore(config)) as opened:
        yield opened


def old(count: int, box: str = "bob") -> list[Released]:
    return [Released(box, f"id {n}", LETTER, NOW + 10) for n in range(count)]


# --- several hubs -----------------------------------------------------------------------------------------------


def test_what_is_left_at_hubs_in_turns_is_one_box_in_order(store: RedisMailboxStore, other: RedisMailboxStore) -> None:
    ids = [leave(each, "bob") for _ in range(5) for each in (store, other)]
    assert waiting(store, "bob") == waiting(other, "bob") == ids
    assert other.ack("bob", frozenset(ids[:7]), NOW) == 7
    assert store.ack("bob", frozenset(ids), NOW) == 3
    assert waiting(other, "bob") == []


@pytest.mark.parametrize(
    ("limits", "most", "reason"),
    [
        (Limits(per_box=10), 20, "mailbox_full"),
        (Limits(per_sender=10), 20, "too_many_deposits"),
        (Limits(boxes=1), 30, "too_many_mailboxes"),
        (Limits(total_bytes=10 * len(LETTER)), 10, "mailbox_full"),
    ],
)
def test_limits_hold_for_hubs_that_write_at_once(
    redis_server: RedisServer, config: ClusterConfig, limits: Limits, most: int, reason: str
) -> None:
    """Each of two hubs takes fifteen messages from each of two senders, for each of two boxes."""
    begin = Barrier(2)

    def hub(number: int) -> list[str | Refused]:
        with closing(RedisMailboxStore(config)) as own:
            begin.wait(30)
            letters = [(sender, box) for _ in range(15) for sender in ("alice", "eve") for box in ("bob", "carol")]
            return [own.deposit(sender, Deposit(box, LETTER), limits, NOW) for sender, box in letters]

    with ThreadPoolExecutor(2) as hubs:
        answers = [answer for answers in hubs.map(hub, (1, 2)) for answer in answers]
    assert {answer for answer in answers if isinstance(answer, Refused)} == {Refused(reason)}
    noted, counted = totals_in_redis(redis_server.client(), config)
    assert noted == counted
    taken = [answer for answer in answers if isinstance(answer, str)]
    assert counted[""][0] == len(taken)
    if reason == "too_many_mailboxes":
        assert len([name for name in counted if name.startswith("box ")]) == 1
    else:
        assert len(taken) == most


def test_clusters_of_other_names_are_apart(
    redis_server: RedisServer, store: RedisMailboxStore, config: ClusterConfig
) -> None:
    leave(store, name_of("bob"), name_of("alice"))
    with closing(RedisMailboxStore(replace(config, name="cabin"))) as elsewhere:
        assert waiting(elsewhere, name_of("bob")) == []
        leave(elsewhere, name_of("bob"))
    keys = redis_server.client().keys("*")
    assert {key.rpartition(":")[0] for key in keys} == {"hivemind:{hivemind}:mailbox", "hivemind:{cabin}:mailbox"}


def test_what_a_file_held_is_taken_over_by_one_hub(store: RedisMailboxStore, other: RedisMailboxStore) -> None:
    store.take_over("file", old(2))
    assert other.has_imported("file")
    other.take_over("file", old(2))  # both had asked before
    assert waiting(store, "bob") == ["id 0", "id 1"]


# --- much at once -----------------------------------------------------------------------------------------------


def test_what_has_expired_goes_however_much_it_is(
    redis_server: RedisServer, store: RedisMailboxStore, config: ClusterConfig
) -> None:
    store.take_over("file", old(MANY))
    new = store.deposit("alice", Deposit("bob", LETTER), Limits(per_box=1), NOW + 10)
    assert waiting(store, "bob", NOW + 10) == [new]
    noted, counted = totals_in_redis(redis_server.client(), config)
    assert noted == counted
    assert counted[""] == (1, len(LETTER))


def test_a_box_with_much_in_it(store: RedisMailboxStore) -> None:
    store.take_over("file", old(MANY))
    ids = [f"id {n}" for n in range(MANY)]
    assert waiting(store, "bob") == ids
    assert store.ack("bob", frozenset(ids[1:]), NOW) == MANY - 1
    assert waiting(store, "bob") == ids[:1]


def test_ids_that_are_none_are_passed_over(store: RedisMailboxStore) -> None:
    kept = leave(store, "bob")
    assert store.ack("bob", frozenset({"\ud800", "", "x" * 64}), NOW) == 0
    assert store.ack("bob", frozenset({"\ud800", kept}), NOW) == 1


# --- a Redis that fails -----------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


Away = tuple[RedisServer, RedisMailboxStore]


@pytest.fixture
def away(children: Children, clock: Clock) -> Iterator[Away]:
    """A server of the test's own, which keeps what it acknowledges."""
    server = RedisServer(children, RedisSetup(appendonly=True))
    with closing(RedisMailboxStore(ClusterConfig(port=server.port), clock)) as store:
        yield server, store


def requests(store: RedisMailboxStore) -> list[tuple[str, Callable[[], object]]]:
    return [
        ("write", lambda: leave(store, "bob")),
        ("read", lambda: store.collect("bob", NOW)),
        ("write", lambda: store.ack("bob", frozenset(), NOW)),
        ("read", lambda: store.has_imported("file")),
        ("write", lambda: store.take_over("file", old(1))),
    ]


def test_one_that_is_killed_comes_back_with_everything(away: Away, clock: Clock) -> None:
    server, store = away
    kept = [leave(store, "bob") for _ in range(20)]
    server.kill()
    for doing, request in requests(store):
        clock.now += REST_S
        with pytest.raises(StorageError, match=f"Could not {doing} the mailbox: .*127.0.0.1.* refuses connections"):
            request()
    server.start()
    clock.now += REST_S
    assert waiting(store, "bob") == kept
    assert leave(store, "bob")
    server.restart()  # one that ends in order says so; the connection is made anew
    assert len(waiting(store, "bob")) == len(kept) + 1


def test_one_that_hangs_is_waited_for_once_in_a_while(
    away: Away, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = away
    monkeypatch.setattr(mailbox_redis, "TIMEOUT_S", 0.3)
    with closing(RedisMailboxStore(ClusterConfig(port=server.port), clock)) as store:
        kept = leave(store, "bob")
        server.pause()
        with pytest.raises(StorageError, match=r"Could not read the mailbox: .* does not answer"):
            waiting(store, "bob")
        server.resume()
        for doing, request in requests(store):  # not asked again yet
            with pytest.raises(StorageError, match=f"Could not {doing} the mailbox: .* does not answer"):
                request()
        clock.now += REST_S
        assert waiting(store, "bob") == [kept]


def test_one_that_is_full_gives_what_waits_and_takes_nothing(
    redis_server: RedisServer, store: RedisMailboxStore, config: ClusterConfig
) -> None:
    kept = leave(store, "bob")
    redis_server.configure("maxmemory", "1")
    try:
        with pytest.raises(StorageError, match=r"is full\. Raise its `maxmemory`"):
            leave(store, "bob", payload=sealed(100_000))
        with pytest.raises(StorageError, match="is full"):
            store.take_over("file", old(3))
        assert waiting(store, "bob") == [kept]
        assert totals_in_redis(redis_server.client(), config)[1][""] == (1, len(LETTER))
        assert store.ack("bob", frozenset({kept}), NOW) == 1
    finally:
        redis_server.configure("maxmemory", "0")
    noted, counted = totals_in_redis(redis_server.client(), config)
    assert noted == counted
    assert not store.has_imported("file")
    assert leave(store, "bob")


def test_a_wrong_password_is_told_and_not_repeated(children: Children) -> None:
    server = RedisServer(children, RedisSetup(password="right"))
    config = ClusterConfig(port=server.port, password="hunter2")
    with closing(RedisMailboxStore(config)) as store, pytest.raises(StorageError, match="refuses the") as raised:
        leave(store, "bob")
    assert "`cluster.password`" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_user_of_the_hubs_own_may_do_all_of_it(redis_server: RedisServer, config: ClusterConfig) -> None:
    rule = ["on", ">word", "~hivemind:{hivemind}:*", "+@all", "-@dangerous", "+info"]  # as in docs/clusters.md
    redis_server.call("ACL", "SETUSER", "hubs", *rule)
    try:
        with closing(RedisMailboxStore(replace(config, username="hubs", password="word"))) as store:
            for _, request in requests(store):
                request()
            assert len(waiting(store, "bob")) == 2
    finally:
        redis_server.call("ACL", "DELUSER", "hubs")
