"""The clients in memory: what others changed is noticed, what is written here is seen here at once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from helpers.hub_commands import hub_command
from helpers.redis_server import RedisServer
from hivemind_core.clients import REVOKED, Client, tombstone
from hivemind_core.config import Config, ConfigError, data_dir, load_config
from hivemind_core.database import ClientDatabase, open_database
from hivemind_core.storage import DuplicateKey, StorageError
from hivemind_core.storage.json import JSONStore
from hivemind_core.storage.sqlite import SQLiteStore

SQLITE, JSON = "hivemind-sqlite-db-plugin", "hivemind-json-db-plugin"
REDIS = "hivemind-redis-db-plugin"


class CountingStore(SQLiteStore):
    """Counts how often everything is read."""

    loads = 0

    def load(self) -> list[Client]:
        self.loads += 1
        return super().load()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clients.db"


@pytest.fixture
def db(path: Path) -> Iterator[ClientDatabase]:
    with closing(ClientDatabase(CountingStore(path))) as database:
        yield database


@pytest.fixture
def other(path: Path, db: ClientDatabase) -> Iterator[ClientDatabase]:
    """What another process has open."""
    with closing(ClientDatabase(SQLiteStore(path))) as database:
        yield database


def loads(db: ClientDatabase) -> int:
    assert isinstance(db.store, CountingStore)
    return db.store.loads


def test_a_client_is_found_by_key_and_by_id(db: ClientDatabase) -> None:
    kitchen, bedroom = db.add(Client(0, "a", "kitchen")), db.add(Client(0, "b"))
    assert (db.by_key("a"), db.by_id(1), db.by_key("b"), db.by_id(2)) == (kitchen, kitchen, bedroom, bedroom)
    assert (db.by_key("c"), db.by_id(3)) == (None, None)
    assert (db.all(), len(db)) == ([kitchen, bedroom], 2)


def test_what_is_stored_is_there_when_it_is_opened(path: Path, db: ClientDatabase) -> None:
    row = db.add(Client(0, "a", password="p"))
    with closing(ClientDatabase(SQLiteStore(path))) as again:
        assert again.by_key("a") == row


@pytest.mark.parametrize("key", ["", REVOKED])
def test_some_texts_cannot_be_an_access_key(db: ClientDatabase, key: str) -> None:
    with pytest.raises(ValueError, match="cannot be an access key"):
        db.add(Client(0, key))
    assert len(db) == 0


def test_a_key_that_another_process_gave_away_meanwhile_is_refused(db: ClientDatabase, other: ClientDatabase) -> None:
    other.add(Client(0, "a", "theirs"))
    with pytest.raises(DuplicateKey):
        db.add(Client(0, "a", "ours"))
    assert db.refresh() == {1}
    assert [row.name for row in db.all()] == ["theirs"]


def test_of_rows_with_one_key_the_oldest_counts(path: Path, db: ClientDatabase, other: ClientDatabase) -> None:
    first = db.add(Client(0, "a"))
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("INSERT INTO clients (client_id, api_key) VALUES (5, 'a')")
        raw.commit()
    db.refresh()
    assert db.by_key("a") == first


# what others changed is told


def test_what_is_read_of_others_is_told_with_what_was_there(db: ClientDatabase, other: ClientDatabase) -> None:
    noticed: list[Any] = []
    db.add(Client(0, "a", "kitchen"))
    db.noticed = lambda before, after: noticed.append((before, after))
    db.update(1, {"name": "hall"})
    assert (db.refresh(), noticed) == (set(), [])
    before = db.by_id(1)
    other.refresh()
    other.update(1, {"is_admin": True})
    other.add(Client(0, "b"))
    db.refresh()
    assert noticed == [(before, db.by_id(1)), (None, db.by_id(2))]
    other.delete(2)
    gone = db.by_id(2)
    db.refresh()
    assert noticed[2:] == [(gone, None)]


def test_what_comes_with_a_write_of_ours_is_told_apart_from_it(db: ClientDatabase, other: ClientDatabase) -> None:
    told: list[Any] = []
    db.add(Client(0, "a", "kitchen"))
    db.noticed = lambda before, after: told.append(("noticed", before, after))
    db.changed = lambda before, after: told.append(("changed", before, after))
    ours = db.by_id(1)
    other.refresh()
    other.update(1, {"is_admin": True})
    theirs = other.by_id(1)
    db.update(1, {"name": "hall"})
    assert told == [("noticed", ours, theirs), ("changed", theirs, db.by_id(1))]
    assert db.refresh() == {1}
    assert len(told) == 2


# own writes


def test_own_writes_are_seen_at_once_and_not_read_again(db: ClientDatabase) -> None:
    db.add(Client(0, "a"))
    db.update(1, {"name": "kitchen", "allowed_types": ["x"]})
    db.patch_metadata(1, {"role": "guest"})
    db.touch({1: 5.0, 9: 5.0})
    expected = Client(1, "a", "kitchen", allowed_types=("x",), last_seen=5.0, metadata={"role": "guest"})
    assert db.by_key("a") == db.by_id(1) == expected
    assert db.refresh() == set()
    assert loads(db) == 1


def test_changes_are_told_with_the_row_before_and_after(db: ClientDatabase) -> None:
    told: list[tuple[Client | None, Client | None]] = []
    added = db.add(Client(0, "first", "kitchen"))
    db.changed = lambda before, after: told.append((before, after))
    second = db.add(Client(0, "second", "hall"))
    admin = db.update(added.client_id, {"is_admin": True})
    db.touch({added.client_id: 5.0})
    seen = db.by_id(added.client_id)
    db.patch_metadata(added.client_id, {"room": "attic"})
    patched = db.by_id(added.client_id)
    assert db.update(99, {"is_admin": True}) is None
    assert not db.delete(99)
    db.delete(second.client_id)
    assert told == [(None, second), (added, admin), (seen, patched), (second, None)]


def test_a_deleted_client_is_gone_at_once(db: ClientDatabase) -> None:
    db.add(Client(0, "a"))
    assert db.delete(1)
    assert not db.delete(1)
    assert (db.by_key("a"), db.by_key(REVOKED), db.by_id(1), len(db)) == (None, None, None, 0)


def test_a_change_of_the_key_moves_the_client(db: ClientDatabase) -> None:
    db.add(Client(0, "a"))
    db.add(Client(0, "z"))
    row = db.update(1, {"api_key": "b"})
    assert (db.by_key("a"), db.by_key("b")) == (None, row)
    assert [one.client_id for one in db.all()] == [1, 2]


def test_records_handed_out_stay_as_they_were(db: ClientDatabase) -> None:
    before = db.add(Client(0, "a", metadata={"x": 1}))
    db.update(1, {"name": "kitchen"})
    db.patch_metadata(1, {"x": 2})
    assert (before.name, before.metadata) == ("HiveMind-Node-0", {"x": 1})


# others' writes


def test_nothing_is_read_while_nobody_writes(db: ClientDatabase, other: ClientDatabase) -> None:
    for _ in range(3):
        assert db.refresh() == set()
    assert loads(db) == 1


def test_what_others_wrote_is_taken_in_and_named(db: ClientDatabase, other: ClientDatabase) -> None:
    for key in ("a", "b", "c"):
        db.add(Client(0, key))
    other.refresh()
    other.update(1, {"name": "kitchen"})
    other.delete(2)
    other.add(Client(0, "d"))
    assert db.refresh() == {1, 2, 4}
    assert [row.api_key for row in db.all()] == ["a", "c", "d"]
    assert db.refresh() == set()


def test_what_came_with_a_write_of_ours_is_named_too(db: ClientDatabase, other: ClientDatabase) -> None:
    """Else a live connection would keep the rights it has just lost."""
    db.add(Client(0, "a"))
    other.refresh()
    other.update(1, {"is_admin": True})
    db.touch({1: 5.0})
    db.update(1, {"name": "kitchen"})
    row = db.by_id(1)
    assert row is not None
    assert row.is_admin
    assert db.refresh() == {1}


def test_a_client_others_deleted_stays_deleted_and_is_named(db: ClientDatabase, other: ClientDatabase) -> None:
    db.add(Client(0, "a"))
    other.refresh()
    other.delete(1)
    assert db.update(1, {"last_seen": 5.0}) is None
    assert db.patch_metadata(1, {"noise_psk": "00"}, only_if_key="a") is None
    db.touch({1: 6.0})
    assert db.refresh() == {1}
    assert db.by_key("a") is None


def test_a_failed_refresh_leaves_everything_as_it_was(
    db: ClientDatabase, other: ClientDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = other.add(Client(0, "a"))

    def fail() -> list[Client]:
        raise StorageError("no")

    with monkeypatch.context() as patched:
        patched.setattr(db.store, "load", fail)
        with pytest.raises(StorageError):
            db.refresh()
    assert db.by_key("a") is None
    assert db.refresh() == {1}
    assert db.by_key("a") == row


# metadata


def test_metadata_is_changed_key_by_key(db: ClientDatabase, other: ClientDatabase) -> None:
    """The released hub wrote the whole row back: a pin written meanwhile was erased."""
    db.add(Client(0, "a", metadata={"keep": [1], "drop": 1}))
    other.patch_metadata(1, {"intercom_pubkey": "PEM"})
    assert db.patch_metadata(1, {"noise_psk": "00"}, ["drop", "absent"]) == {
        "keep": [1],
        "intercom_pubkey": "PEM",
        "noise_psk": "00",
    }


def test_only_if_absent_keeps_what_is_there(db: ClientDatabase, other: ClientDatabase) -> None:
    db.add(Client(0, "a"))
    other.patch_metadata(1, {"noise_pubkey": "first"})
    patched = db.patch_metadata(1, {"noise_pubkey": "second", "x": 1}, only_if_absent=True)
    assert patched == {"noise_pubkey": "first", "x": 1}


def test_only_if_key_wants_the_row_to_be_the_same_client(db: ClientDatabase) -> None:
    db.add(Client(0, "a"))
    assert db.patch_metadata(1, {"x": 1}, only_if_key="b") is None
    assert db.patch_metadata(1, {"x": 1}, only_if_key="a") == {"x": 1}
    assert db.patch_metadata(9, {"x": 1}) is None


# opening


def config(**database: Any) -> Config:
    return Config(path=Path("server.json"), **database)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({}, "data/hivemind-core/clients.db"),
        ({"database_module": JSON}, "data/hivemind-core/clients.json"),
        ({"database": {"name": "mine", "subfolder": "sub"}}, "data/sub/mine.db"),
        ({"database_module": JSON, "database": {"name": "mine", "subfolder": "sub"}}, "data/sub/mine.json"),
        ({"database": {"db_path": "~/elsewhere.sqlite"}}, "elsewhere.sqlite"),
    ],
)
def test_the_file_is_where_the_released_hub_has_it(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], where: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(own_home / "data"))
    open_database(config(**options)).close()
    assert (own_home / where).is_file()


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (
            {"database_module": "a-db-plugin"},
            f"reads only: {SQLITE}, {JSON}, hivemind-redis-db-plugin.* migrate-db --from a-db-plugin --to {SQLITE}",
        ),
        ({"database": {"password": "secret"}}, "encrypted"),
        ({"database_module": JSON, "database": {"password": "sixteen bytes  !"}}, "encrypted"),
        ({"database": {"name": 5}}, "`name` of the client database must be a text"),
    ],
)
def test_what_cannot_be_opened_is_refused_and_nothing_is_made(
    own_home: Path, chosen: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        open_database(config(**chosen))
    assert list(own_home.iterdir()) == []


def touch(*names: str) -> None:
    folder = data_dir() / "hivemind-core"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("{}" if name.endswith(".json") else "")


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        ([], "SQLiteDB"),
        (["clients.json"], "JsonDB"),
        (["clients.db"], "SQLiteDB"),
        (["clients.json", "clients.db"], "SQLiteDB"),
    ],
)
def test_where_nobody_names_a_database_the_files_decide(there: list[str], kind: str) -> None:
    touch(*there)
    with closing(open_database(load_config())) as db:
        assert db.store.name == kind


@pytest.mark.parametrize(("module", "other"), [(SQLITE, "clients.json"), (JSON, "clients.db")])
def test_clients_in_the_other_kind_of_database_are_not_passed_over_in_silence(
    tmp_path: Path, module: str, other: str
) -> None:
    path = tmp_path / "server.json"
    path.write_text(json.dumps({"database": {"module": module}}))
    touch(other)
    with pytest.raises(ConfigError, match=f"{other}, but .*server.json names {module}.*migrate-db --from .* --to "):
        open_database(load_config(path))
    (data_dir() / "hivemind-core" / other).rename(tmp_path / "away")
    open_database(load_config(path)).close()


# Redis


def use_redis(tmp_path: Path, server: RedisServer, **more: Any) -> Config:
    path = tmp_path / "server.json"
    path.write_text(json.dumps({"database": {"module": REDIS, REDIS: server.options(**more)}}))
    return load_config(path)


def put_away(name: str, *rows: Client) -> None:
    """Leave clients in a file, where it is by default."""
    touch()
    path = data_dir() / "hivemind-core" / name
    with closing(SQLiteStore(path) if name.endswith(".db") else JSONStore(path)) as store:
        store.restore(rows)


def test_clients_in_redis_are_opened(tmp_path: Path, redis_server: RedisServer) -> None:
    config = use_redis(tmp_path, redis_server)
    with closing(open_database(config)) as db:
        assert db.store.name == "RedisDB"
        db.add(Client(0, "a"))
    with closing(open_database(config)) as db:
        assert db.by_key("a") is not None


@pytest.mark.parametrize("file", ["clients.db", "clients.json"])
def test_clients_in_a_file_are_not_passed_over_for_a_redis_that_has_none(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    config = use_redis(tmp_path, redis_server)
    put_away(file, Client(1, "a"))
    with pytest.raises(ConfigError, match=f"{file}, but .*names {REDIS}. Copy them with .*--from .* --to {REDIS}"):
        open_database(config)
    short = "sqlite" if file.endswith(".db") else "json"
    monkeypatch.setenv("HIVEMIND_CONFIG", str(config.path))
    assert hub_command("list-clients").code == 2
    assert hub_command("migrate-db", "--from", short, "--to", "redis").code == 0
    with closing(open_database(config)) as db:
        assert [row.api_key for row in db.all()] == ["a"]


def test_a_file_without_clients_is_passed_over_for_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    """A hub that was started once before Redis was named has left one."""
    put_away("clients.db", tombstone(1))
    with closing(open_database(use_redis(tmp_path, redis_server))) as db:
        assert len(db) == 0


def test_a_redis_that_is_away_is_not_an_empty_one(tmp_path: Path, redis_server: RedisServer) -> None:
    with pytest.raises(StorageError, match="Connection refused"):
        open_database(use_redis(tmp_path, redis_server, port=1))


def test_whether_the_last_write_worked(db: ClientDatabase, path: Path) -> None:
    row = db.add(Client(0, "key"))
    db.store.serve(0.01)
    with closing(sqlite3.connect(path)) as locking:
        locking.execute("BEGIN IMMEDIATE")
        for write in (lambda: db.touch({1: 5.0}), lambda: db.update(1, {"name": "x"}), lambda: db.delete(1)):
            db.write_problem = ""
            with pytest.raises(StorageError):
                write()
            assert "locked" in db.write_problem
        locking.rollback()
    db.touch({row.client_id: 5.0})
    assert db.write_problem == ""
    with pytest.raises(DuplicateKey):
        db.add(Client(0, "key"))
    assert db.write_problem == ""
