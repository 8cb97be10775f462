"""Clients in Redis: as released hubs leave them and read on, shared with them, and damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from helpers.redis_server import RedisServer
from helpers.stores import dump
from hivemind_core.clients import REVOKED, Client, tombstone
from hivemind_core.database import ClientDatabase
from hivemind_core.storage import DuplicateKey, StorageError
from hivemind_core.storage import redis as redis_store
from hivemind_core.storage.redis import RedisStore, is_there, read_redis
from hivemind_core.storage.redis_settings import RedisSettings, read_settings

RECORD = {
    "allowed_types": [],
    "api_key": "k1",
    "can_broadcast": True,
    "can_escalate": True,
    "can_propagate": True,
    "client_id": 1,
    "description": "",
    "is_admin": False,
    "last_seen": -1,
    "metadata": {},
    "name": "kitchen é",
    "password": "p",
}
RELEASED = {
    "client:api_key:k1": {"1"},
    "client:client:1": json.dumps(RECORD, ensure_ascii=False),
    "client:count": "1",
    "client:idx:1": {"name": "kitchen é", "api_key": "k1"},
    "client:name:kitchen é": {"1"},
    "client:schema_version": "2",
}
"""What hub 5.3.10a1 with plugin 0.1.1a8 leaves after adding a client, when the copy of the record has expired."""
OURS = {"client:changes", "client:id_seq"}
TOMBSTONE = {**RECORD, "api_key": REVOKED, "name": "", "password": None, "is_admin": True, "metadata": {"x": 1}}
"""As the released hub leaves the record of an administrator that it deletes."""


@pytest.fixture
def settings(redis_server: RedisServer) -> RedisSettings:
    return read_settings(redis_server.options())


@pytest.fixture
def opened(settings: RedisSettings) -> Iterator[Callable[[], RedisStore]]:
    running: list[RedisStore] = []

    def another() -> RedisStore:
        running.append(RedisStore(settings))
        return running[-1]

    yield another
    for store in running:
        store.close()


@pytest.fixture
def compares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are compared at each look."""
    monkeypatch.setattr(redis_store, "COMPARE_EVERY_S", 0)
    monkeypatch.setattr(redis_store, "COMPARE_SHARE", 0)


def put(server: RedisServer, contents: Mapping[str, Any]) -> None:
    """Write keys as somebody who knows nothing of us."""
    client = server.client()
    for key, value in contents.items():
        if isinstance(value, set):
            client.sadd(key, *value)
        elif isinstance(value, dict):
            client.hset(key, mapping=value)
        else:
            client.set(key, value)


def stored(server: RedisServer) -> dict[str, Any]:
    return dump(server.client())


def record(server: RedisServer, client_id: int = 1) -> dict[str, Any]:
    return dict(json.loads(server.call("GET", f"client:client:{client_id}")))


def setting(**columns: Any) -> Callable[[Client], Mapping[str, Any]]:
    return lambda row: columns


# as released hubs have it


def test_a_new_client_is_stored_as_the_released_hub_stores_it(
    redis_server: RedisServer, opened: Callable[[], RedisStore]
) -> None:
    opened().insert(Client(0, "k1", "kitchen é", password="p"))
    found = stored(redis_server)
    assert {key: value for key, value in found.items() if key not in OURS} == RELEASED
    assert found.keys() - RELEASED.keys() == OURS


def test_opening_and_reading_what_it_left_writes_nothing(
    redis_server: RedisServer, opened: Callable[[], RedisStore], settings: RedisSettings
) -> None:
    put(redis_server, RELEASED)
    store = opened()
    assert store.load() == [Client(1, "k1", "kitchen é", password="p")] == read_redis(settings)
    store.version()
    assert stored(redis_server) == RELEASED


def test_opening_where_nothing_is_writes_nothing(
    redis_server: RedisServer, opened: Callable[[], RedisStore], settings: RedisSettings
) -> None:
    assert opened().load() == []
    assert stored(redis_server) == {}
    assert not is_there(settings)


def test_a_change_keeps_what_nobody_knows_and_ends_the_copy(
    redis_server: RedisServer, opened: Callable[[], RedisStore]
) -> None:
    put(redis_server, RELEASED)
    theirs = {**RECORD, "future": {"x": [1]}, "crypto_key": "c"}
    put(redis_server, {"client:client:1": json.dumps(theirs), "client:api_key_record:k1": json.dumps(theirs)})
    store = opened()
    store.edit(1, setting(is_admin=True))
    assert record(redis_server) == {**theirs, "is_admin": True}
    assert "client:api_key_record:k1" not in stored(redis_server)

    put(redis_server, {"client:api_key_record:k1": json.dumps(theirs)})
    store.touch({1: 5.0})
    assert record(redis_server) == {**theirs, "is_admin": True, "last_seen": 5.0}
    assert "client:api_key_record:k1" not in stored(redis_server)


def test_another_name_and_key_move_in_the_indexes(redis_server: RedisServer, opened: Callable[[], RedisStore]) -> None:
    put(redis_server, RELEASED)
    opened().edit(1, setting(name="bedroom", api_key="k2"))
    assert {key: value for key, value in stored(redis_server).items() if key not in OURS} == {
        "client:api_key:k2": {"1"},
        "client:client:1": json.dumps({**RECORD, "name": "bedroom", "api_key": "k2"}),
        "client:count": "1",
        "client:idx:1": {"name": "bedroom", "api_key": "k2"},
        "client:name:bedroom": {"1"},
        "client:schema_version": "2",
    }


def test_a_deleted_client_is_revoked_for_a_released_hub_and_has_no_right_left(
    redis_server: RedisServer, opened: Callable[[], RedisStore]
) -> None:
    """W3: there, a connection of a deleted client keeps every right that its record keeps."""
    put(redis_server, RELEASED)
    put(redis_server, {"client:api_key_record:k1": RELEASED["client:client:1"]})
    assert opened().delete(1)
    left = record(redis_server)
    rights = ("is_admin", "can_broadcast", "can_escalate", "can_propagate")
    assert left == {**RECORD, "api_key": REVOKED, "name": "", "password": None, **dict.fromkeys(rights, False)}
    assert {key: value for key, value in stored(redis_server).items() if key not in OURS} == {
        "client:api_key:revoked": {"1"},
        "client:client:1": json.dumps(left),
        "client:count": "1",
        "client:idx:1": {"name": "", "api_key": "revoked"},
        "client:schema_version": "2",
    }


def test_what_a_released_hub_leaves_of_a_deleted_client_is_not_taken_in(
    redis_server: RedisServer, opened: Callable[[], RedisStore]
) -> None:
    put(redis_server, {"client:client:1": json.dumps(TOMBSTONE), "client:count": "1", "client:schema_version": "2"})
    store = opened()
    assert store.load() == [tombstone(1)]
    assert not store.delete(1)
    assert store.edit(1, setting(api_key="back")) is None
    assert record(redis_server) == TOMBSTONE


def test_version_1_is_upgraded(redis_server: RedisServer, opened: Callable[[], RedisStore]) -> None:
    old = {**RECORD, "skill_blacklist": ["s"], "intent_blacklist": [], "message_blacklist": ["m"], "crypto_key": "c"}
    gone = {**TOMBSTONE, "client_id": 2}
    put(redis_server, {**RELEASED, "client:client:1": json.dumps(old), "client:client:2": json.dumps(gone)})
    redis_server.call("DEL", "client:schema_version")
    rows = opened().load()
    assert [row.metadata for row in rows] == [{"skill_blacklist": ["s"], "crypto_key": "c"}, {}]
    assert record(redis_server) == {**RECORD, "crypto_key": "c", "metadata": {"skill_blacklist": ["s"]}}
    assert record(redis_server, 2) == gone
    assert stored(redis_server)["client:schema_version"] == "2"


def test_what_a_later_version_wrote_is_left_as_it_is(redis_server: RedisServer, settings: RedisSettings) -> None:
    put(redis_server, {**RELEASED, "client:schema_version": "3"})
    before = stored(redis_server)
    for call in (RedisStore, read_redis):
        with pytest.raises(StorageError, match=r"has schema version 3.*Update hivemind-mesh"):
            call(settings)
    assert stored(redis_server) == before


# numbers


@pytest.mark.parametrize(
    ("numbers", "next_id"),
    [
        ({"client:count": "1"}, 2),
        ({"client:count": "7"}, 8),
        ({"client:count": "0"}, 2),
        ({"client:count": "1", "client:id_seq": "4"}, 5),
        ({"client:count": "1", "client:client:2": "__hivemind_creating__"}, 3),
        ({"client:count": "1", "client:client:2": {"a list"}}, 3),
        ({"client:count": "1", "client:client:9": json.dumps({"client_id": 9, "api_key": REVOKED})}, 10),
    ],
)
def test_a_number_that_anybody_used_is_not_used_again(
    redis_server: RedisServer, opened: Callable[[], RedisStore], numbers: dict[str, Any], next_id: int
) -> None:
    put(redis_server, {**RELEASED, **numbers})
    store = opened()
    assert store.insert(Client(0, "k2")).client_id == next_id
    assert store.insert(Client(0, "k3")).client_id == next_id + 1
    found = stored(redis_server)
    assert found["client:count"] == found["client:id_seq"] == str(next_id + 1)


def test_an_index_that_is_behind_does_not_hide_an_access_key(
    redis_server: RedisServer, opened: Callable[[], RedisStore]
) -> None:
    put(redis_server, RELEASED)
    redis_server.call("DEL", "client:api_key:k1")
    store = opened()
    with pytest.raises(DuplicateKey):
        store.insert(Client(0, "k1"))
    put(redis_server, {"client:api_key:k9": {"1", "5", "x"}})
    assert store.insert(Client(0, "k9")).client_id == 2


# damage


@pytest.mark.parametrize(
    "garbage", ["", "{", "[]", '{"api_key": 1}', '{"client_id": 7, "api_key": "a"}', b"\xff", {"a", "set"}]
)
def test_a_garbage_record_does_not_take_the_others_down(
    redis_server: RedisServer, opened: Callable[[], RedisStore], garbage: Any
) -> None:
    put(redis_server, {**RELEASED, "client:client:2": garbage, "client:client:x": "x", "client:count": "2"})
    store = opened()
    assert [row.client_id for row in store.load()] == [1]
    assert store.edit(1, setting(name="x")) is not None
    store.touch({1: 5.0, 2: 5.0})
    assert store.edit(2, setting(name="x")) is None
    assert not store.delete(2)
    assert store.insert(Client(0, "k3")).client_id == 3
    assert redis_server.call("EXISTS", "client:client:2") == 1


def test_an_index_of_the_wrong_kind_gives_way(redis_server: RedisServer, opened: Callable[[], RedisStore]) -> None:
    put(redis_server, {**RELEASED, "client:name:x": "no set", "client:api_key:k2": "no set"})
    store = opened()
    store.edit(1, setting(name="x"))
    store.insert(Client(0, "k2"))
    found = stored(redis_server)
    assert (found["client:name:x"], found["client:api_key:k2"]) == ({"1"}, {"2"})


def test_what_a_released_hub_is_about_to_add_is_no_record_yet(
    redis_server: RedisServer, opened: Callable[[], RedisStore], settings: RedisSettings
) -> None:
    put(redis_server, {**RELEASED, "client:client:2": "__hivemind_creating__"})
    assert [row.client_id for row in opened().load()] == [1]
    assert [row.client_id for row in read_redis(settings)] == [1]


# others


def test_what_a_released_hub_writes_is_noticed_by_comparing(
    redis_server: RedisServer, opened: Callable[[], RedisStore], compares: None
) -> None:
    store = opened()
    stamps = [store.version()]
    for contents in (
        RELEASED,
        {"client:client:1": json.dumps({**RECORD, "is_admin": True})},
        {"client:client:2": json.dumps({**RECORD, "client_id": 2}), "client:count": "2"},
        {"client:client:2000": json.dumps({**RECORD, "client_id": 2000})},
    ):
        put(redis_server, contents)
        stamps.append(store.version())
        store.load()
    redis_server.call("DEL", "client:client:2")
    stamps.append(store.version())
    assert len(set(stamps)) == len(stamps)
    assert [row.client_id for row in store.load()] == [1, 2000]


def test_own_writes_are_not_taken_for_theirs(opened: Callable[[], RedisStore], compares: None) -> None:
    store = opened()
    stamp = store.version()
    store.insert(Client(0, "a"))
    store.insert(Client(0, "b"))
    store.edit(1, setting(name="x"))
    store.touch({1: 5.0, 2: 5.0})
    store.delete(2)
    assert store.version() == stamp


def test_between_comparisons_a_look_asks_for_one_number(
    redis_server: RedisServer, opened: Callable[[], RedisStore]
) -> None:
    """W24: there, each unknown key made the hub go through all keys, and write them anew."""
    put(redis_server, RELEASED)
    store = opened()
    redis_server.call("CONFIG", "RESETSTAT")
    for _ in range(10):
        store.version()
    counted = redis_server.client().info("commandstats")
    assert counted["cmdstat_mget"]["calls"] == 10
    assert {name for name in counted if "scan" in name or "eval" in name} == set()


def test_a_write_of_theirs_that_came_with_one_of_ours_is_noticed_too(
    redis_server: RedisServer, opened: Callable[[], RedisStore]
) -> None:
    put(redis_server, RELEASED)
    db = ClientDatabase(opened())
    put(redis_server, {"client:client:1": json.dumps({**RECORD, "is_admin": True})})
    db.update(1, {"description": "x"})
    assert db.refresh() == {1}
    row = db.by_id(1)
    assert row is not None
    assert row.is_admin


def test_clients_of_others_are_read_without_going_through_all_keys(
    redis_server: RedisServer, opened: Callable[[], RedisStore]
) -> None:
    ours, theirs = opened(), opened()
    theirs.insert(Client(0, "a"))
    redis_server.call("CONFIG", "RESETSTAT")
    assert [row.api_key for row in ours.load()] == ["a"]
    assert "cmdstat_scan" not in redis_server.client().info("commandstats")


@pytest.mark.parametrize("count", ["99999999999999999", "-5", "x"])
def test_a_number_of_clients_that_cannot_be_is_not_counted_up_to(
    redis_server: RedisServer, opened: Callable[[], RedisStore], count: str
) -> None:
    put(redis_server, {**RELEASED, "client:count": count})
    assert [row.client_id for row in opened().load()] == [1]


@pytest.mark.parametrize("looks", ["at the number of changes", "at all records"])
def test_a_redis_that_was_emptied_is_a_failure_and_no_deletion(
    redis_server: RedisServer, opened: Callable[[], RedisStore], request: pytest.FixtureRequest, looks: str
) -> None:
    """As one does that keeps nothing on a disk and starts anew: every satellite would be told to stay away for good."""
    if looks == "at all records":
        request.getfixturevalue("compares")
    db = ClientDatabase(opened())
    db.add(Client(0, "a"))
    db.delete(db.add(Client(0, "b")).client_id)
    copy = stored(redis_server)
    redis_server.call("FLUSHALL")
    for _ in range(2):
        with pytest.raises(StorageError, match=r"has lost its clients: no key client:client:\* is left"):
            db.refresh()
    assert db.by_key("a") is not None
    put(redis_server, copy)
    assert db.refresh() == set()
    db.delete(1)
    assert (db.refresh(), len(db)) == (set(), 0)


def test_prefixes_keep_clients_apart(redis_server: RedisServer) -> None:
    prefixes = ("client", "client:client", "c*", "c?[a-z]\\", "{tag}")
    stores = [RedisStore(read_settings(redis_server.options(index_prefix=prefix))) for prefix in prefixes]
    for store, prefix in zip(stores, prefixes, strict=True):
        assert store.insert(Client(0, "key", prefix)).client_id == 1
    for prefix in prefixes:
        assert [row.name for row in read_redis(read_settings(redis_server.options(index_prefix=prefix)))] == [prefix]
    for store in stores:
        store.close()


def test_an_edit_sees_what_another_wrote_while_it_was_thinking(opened: Callable[[], RedisStore]) -> None:
    ours, theirs = opened(), opened()
    ours.insert(Client(0, "a"))
    seen: list[str] = []

    def slow(row: Client) -> Mapping[str, Any]:
        seen.append(row.description)
        if len(seen) == 1:
            theirs.edit(1, setting(description="theirs"))
        return {"name": "ours"}

    row = ours.edit(1, slow)
    assert row is not None
    assert (row.name, row.description, seen) == ("ours", "theirs", ["", "theirs"])


def test_a_record_that_never_holds_still_is_told(opened: Callable[[], RedisStore]) -> None:
    ours, theirs = opened(), opened()
    ours.insert(Client(0, "a"))

    def restless(row: Client) -> Mapping[str, Any]:
        theirs.edit(1, lambda row: {"description": row.description + "x"})
        return {"name": "ours"}

    with pytest.raises(StorageError, match="write to it all the time"):
        ours.edit(1, restless)


def test_rows_are_not_restored_where_somebody_adds_one_meanwhile(
    redis_server: RedisServer, opened: Callable[[], RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    read = redis_store._all_stored

    def late(*arguments: Any) -> Any:
        found = read(*arguments)
        put(redis_server, RELEASED)
        return found

    monkeypatch.setattr(redis_store, "_all_stored", late)
    with pytest.raises(StorageError, match="meanwhile"):
        store.restore([Client(5, "a")])
    assert stored(redis_server) == RELEASED
