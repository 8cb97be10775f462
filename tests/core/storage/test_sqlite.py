"""The SQLite file: as the released hub makes it, of older and later versions, damaged, and its owner's alone."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hivemind_core.clients import Client, tombstone
from hivemind_core.storage import StorageError
from hivemind_core.storage.sqlite import SQLiteStore, read_sqlite

TABLE_V1 = """CREATE TABLE clients (
    client_id INTEGER PRIMARY KEY, api_key VARCHAR(255) NOT NULL, name VARCHAR(255), description VARCHAR(255),
    is_admin BOOLEAN DEFAULT FALSE, last_seen REAL DEFAULT -1, intent_blacklist TEXT, skill_blacklist TEXT,
    message_blacklist TEXT, allowed_types TEXT, crypto_key VARCHAR(16), password TEXT,
    can_broadcast BOOLEAN DEFAULT TRUE, can_escalate BOOLEAN DEFAULT TRUE, can_propagate BOOLEAN DEFAULT TRUE)"""
TABLE_V2 = TABLE_V1.replace(" crypto_key VARCHAR(16),", "").replace("TRUE)", "TRUE, metadata TEXT)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "clients.db"


def make(path: Path, table: str, version: int, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute(table)
        db.execute("CREATE INDEX idx_clients_api_key ON clients(api_key)")
        for row in rows:
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO clients ({', '.join(row)}) VALUES ({marks})", (*row.values(),))
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()


def ask(path: Path, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(question).fetchall()


def load(path: Path) -> dict[int, Client]:
    with closing(SQLiteStore(path)) as store:
        return {row.client_id: row for row in store.load()}


def refused(path: Path) -> str:
    """Return why the file is not opened; it must be left as it was."""
    before = path.read_bytes(), path.stat().st_mode
    with pytest.raises(StorageError) as raised:
        SQLiteStore(path)
    assert (path.read_bytes(), path.stat().st_mode) == before
    assert str(path) in str(raised.value)
    return str(raised.value)


# the released file


def test_a_new_file_is_as_the_released_hub_makes_it(path: Path) -> None:
    load(path)
    made = ask(path, "SELECT name, type, dflt_value, pk FROM pragma_table_info('clients')")
    released = path.with_name("released.db")
    make(released, TABLE_V2, 2)
    assert made == ask(released, "SELECT name, type, dflt_value, pk FROM pragma_table_info('clients')")
    assert ask(path, "PRAGMA user_version") == [(2,)]
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]
    assert ask(path, "SELECT name FROM sqlite_master WHERE type = 'index'") == [("idx_clients_api_key",)]


def test_rows_of_the_released_hub_are_read(path: Path) -> None:
    make(
        path,
        TABLE_V2,
        2,
        {"client_id": 1, "api_key": "revoked", "name": "", "description": "", "allowed_types": "[]", "metadata": "{}"},
        {
            "client_id": 2,
            "api_key": "k",
            "name": "zz",
            "is_admin": 1,
            "allowed_types": '["x.y"]',
            "password": "p",
            "can_escalate": 0,
            "metadata": '{"role": "guest"}',
        },
    )
    assert load(path) == {
        1: tombstone(1),
        2: Client(
            2,
            "k",
            "zz",
            is_admin=True,
            allowed_types=("x.y",),
            password="p",
            can_escalate=False,
            metadata={"role": "guest"},
        ),
    }


def test_rows_are_written_as_the_released_hub_writes_them(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        store.insert(Client(0, "gone"))
        store.insert(Client(0, "k", "zz", password="p", allowed_types=("x.y",), metadata={"é": 1}))
        store.delete(1)
    assert ask(path, "SELECT * FROM clients") == [
        (1, "revoked", "", "", 0, -1.0, None, None, None, "[]", None, 1, 1, 1, "{}"),
        (2, "k", "zz", "", 0, -1.0, None, None, None, '["x.y"]', "p", 1, 1, 1, '{"\\u00e9": 1}'),
    ]


def test_a_row_full_of_garbage_is_read_without_rights_and_hides_no_other(path: Path) -> None:
    """The released hub could not be started, or any command run, with one such row."""
    make(
        path,
        TABLE_V2,
        2,
        {"client_id": 1, "api_key": "a", "allowed_types": "garbage", "metadata": "[" * 100_000, "can_escalate": None},
        {"client_id": 2, "api_key": "b", "allowed_types": '["x", 3]', "metadata": "null"},
    )
    rows = load(path)
    assert (rows[1].allowed_types, rows[1].metadata, rows[1].can_escalate) == ((), {}, False)
    assert (rows[2].allowed_types, rows[2].metadata) == (("x",), {})


def test_columns_of_other_versions_are_kept_and_a_deleted_row_loses_them(path: Path) -> None:
    table = TABLE_V1.replace("TRUE)", "TRUE, metadata TEXT)")
    make(path, table, 2, {"client_id": 1, "api_key": "a", "crypto_key": "k"})
    with closing(SQLiteStore(path)) as store:
        assert store.load()[0].metadata == {"crypto_key": "k"}
        store.edit(1, lambda row: {"name": "x", "metadata": {**row.metadata, "role": "guest"}})
        assert ask(path, "SELECT crypto_key FROM clients") == [("k",)]
        store.delete(1)
        assert ask(path, "SELECT crypto_key FROM clients") == [(None,)]


def test_what_is_taken_from_the_metadata_does_not_come_back_from_a_column_of_another_version(path: Path) -> None:
    make(path, TABLE_V1, 1, {"client_id": 1, "api_key": "a", "crypto_key": "k", "skill_blacklist": '["s"]'})
    with closing(SQLiteStore(path)) as store:
        store.edit(1, lambda row: {"metadata": {"skill_blacklist": ["t"]}})
        assert store.load()[0].metadata == {"skill_blacklist": ["t"]}
    assert ask(path, "SELECT crypto_key, metadata FROM clients") == [(None, '{"skill_blacklist": ["t"]}')]


def test_reading_alone_upgrades_nothing_and_sees_what_is_not_in_the_main_file_yet(path: Path) -> None:
    make(path, TABLE_V1, 1, {"client_id": 1, "api_key": "a", "skill_blacklist": '["s"]'})
    with closing(sqlite3.connect(path)) as released:
        released.execute("PRAGMA journal_mode = WAL")
        released.execute("INSERT INTO clients (client_id, api_key) VALUES (2, 'b')")
        released.commit()
        before = path.read_bytes()
        rows = read_sqlite(path)
        assert path.read_bytes() == before
    assert [(row.api_key, row.metadata) for row in rows] == [("a", {"skill_blacklist": ["s"]}), ("b", {})]


def test_reading_alone_refuses_what_opening_refuses(path: Path) -> None:
    make(path, TABLE_V2, 3, {"client_id": 1, "api_key": "a"})
    with pytest.raises(StorageError, match=r"clients\.db has schema version 3"):
        read_sqlite(path)
    path.write_text("these are the notes of somebody who needs them " * 100)
    with pytest.raises(StorageError, match=r"clients\.db: file is not a database"):
        read_sqlite(path)


# version 1


@pytest.mark.parametrize("version", [0, 1])
def test_a_file_of_version_1_is_upgraded_as_the_released_hub_does(path: Path, version: int) -> None:
    make(
        path,
        TABLE_V1,
        version,
        {"client_id": 1, "api_key": "a", "skill_blacklist": '["s"]', "intent_blacklist": '["i"]', "crypto_key": "c"},
        {"client_id": 2, "api_key": "b", "skill_blacklist": "[]", "message_blacklist": '["m"]'},
        {"client_id": 7, "api_key": "c", "skill_blacklist": "garbage", "intent_blacklist": '{"a": 1}'},
    )
    rows = load(path)
    assert ask(path, "PRAGMA user_version") == [(2,)]
    assert set(ask(path, "SELECT skill_blacklist, intent_blacklist, message_blacklist FROM clients")) == {(None,) * 3}
    assert rows[1].metadata == {"skill_blacklist": ["s"], "intent_blacklist": ["i"], "crypto_key": "c"}
    assert (rows[2].metadata, rows[7].metadata) == ({}, {})


def test_metadata_wins_over_the_columns_of_version_1(path: Path) -> None:
    metadata = {"skill_blacklist": ["own"], "message_blacklist": ["m"], "role": {"é": 1.5}}
    make(
        path,
        TABLE_V2,
        1,
        {
            "client_id": 1,
            "api_key": "a",
            "metadata": json.dumps(metadata),
            "skill_blacklist": '["s"]',
            "intent_blacklist": '["i"]',
        },
        {"client_id": 2, "api_key": "b", "metadata": "garbage", "skill_blacklist": '["s"]'},
    )
    rows = load(path)
    assert rows[1].metadata == {"skill_blacklist": ["own"], "intent_blacklist": ["i"], "role": {"é": 1.5}}
    assert rows[2].metadata == {"skill_blacklist": ["s"]}


def test_a_missing_metadata_column_is_added_in_any_version(path: Path) -> None:
    make(path, TABLE_V1, 2, {"client_id": 1, "api_key": "a"})
    with closing(SQLiteStore(path)) as store:
        store.edit(1, lambda row: {"metadata": {"x": 1}})
        assert store.load()[0].metadata == {"x": 1}


# files that are refused


def test_a_later_version_is_refused(path: Path) -> None:
    make(path, TABLE_V2, 3, {"client_id": 1, "api_key": "a"})
    assert "schema version 3; this hub knows up to 2" in refused(path)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("these are the notes of somebody who needs them " * 100)
    assert "not a database" in refused(path)


def test_a_damaged_page_is_an_error_and_not_an_empty_store(path: Path) -> None:
    make(path, TABLE_V2, 2, {"client_id": 1, "api_key": "a"})
    (size,) = ask(path, "PRAGMA page_size")[0]
    (root,) = ask(path, "SELECT rootpage FROM sqlite_master WHERE name = 'clients'")[0]
    damaged = bytearray(path.read_bytes())
    damaged[(root - 1) * size : root * size] = b"\xff" * size
    path.write_bytes(damaged)
    with closing(SQLiteStore(path)) as store:
        with pytest.raises(StorageError, match="malformed"):
            store.load()
        with pytest.raises(StorageError, match="malformed"):
            store.insert(Client(0, "key"))


def test_one_that_was_cut_off_is_an_error_and_nobody_is_missing(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        for number in range(200):
            store.insert(Client(0, f"key-{number}", metadata={"filler": "x" * 200}))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StorageError, match="put back a copy"), closing(SQLiteStore(path)) as store:
        store.load()


def test_one_that_was_emptied_beside_its_log_is_refused_and_the_log_stays(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        store.insert(Client(0, "key"))
        log = Path(f"{path}-wal").read_bytes()
        os.truncate(path, 0)
        copy = path.parent / "copy" / path.name
        copy.parent.mkdir()
        copy.touch()
        Path(f"{copy}-wal").write_bytes(log)
    with pytest.raises(StorageError, match="is empty, but not the log beside it"):
        SQLiteStore(copy)
    assert Path(f"{copy}-wal").read_bytes() == log


def test_it_waits_less_for_others_where_it_is_told_to(path: Path) -> None:
    with closing(SQLiteStore(path)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.serve(0.01)
        with pytest.raises(StorageError, match="locked"):
            store.insert(Client(0, "key"))
        other.rollback()


def test_the_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE moz_places (id INTEGER)")
        db.commit()
    assert "another program" in refused(path)


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "clients.db"):
        with pytest.raises(StorageError, match="Could not open the client database"):
            SQLiteStore(path)


def test_a_file_that_may_only_be_read_is_read_and_refuses_writes(path: Path) -> None:
    make(path, TABLE_V2, 2, {"client_id": 1, "api_key": "a"})
    with closing(SQLiteStore(path)) as store:
        store._db.execute("PRAGMA query_only = ON")
        assert [row.api_key for row in store.load()] == ["a"]
        with pytest.raises(StorageError, match="readonly"):
            store.insert(Client(0, "key"))
        with pytest.raises(StorageError, match="readonly"):
            store.delete(1)
    assert set(load(path)) == {1}


def test_text_that_cannot_be_stored_is_an_error(path: Path) -> None:
    with closing(SQLiteStore(path)) as store, pytest.raises(StorageError, match="surrogates"):
        store.insert(Client(0, "key", "\udcff"))


def test_a_database_somebody_else_keeps_locked_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_core.storage.sqlite.BUSY_TIMEOUT_S", 0.01)
    with closing(SQLiteStore(path)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            store.insert(Client(0, "key"))
        other.rollback()
        assert store.insert(Client(0, "key")).client_id == 1


# who may read it


def modes(path: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}


def test_the_log_beside_a_small_file_stays_small(path: Path) -> None:
    """A small disk would be full of it, and then nothing can be written that would make it shorter."""
    with closing(SQLiteStore(path)) as store:
        ids = [store.insert(Client(0, f"key-{number}", allowed_types=["x" * 1000])).client_id for number in range(40)]
        for second in range(30):
            store.touch(dict.fromkeys(ids, second))
        written = Path(f"{path}-wal").stat().st_size
        assert [row.last_seen for row in store.load()] == [29] * len(ids)
    assert written < 1_000_000


def test_its_files_are_their_owners_alone(path: Path) -> None:
    umask = os.umask(0)
    try:
        with closing(SQLiteStore(path)) as store:
            store.insert(Client(0, "key", password="secret"))
            assert modes(path) == {"clients.db": 0o600, "clients.db-wal": 0o600, "clients.db-shm": 0o600}
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(umask)


def test_the_files_of_a_released_hub_become_so_while_it_is_running(path: Path) -> None:
    make(path, TABLE_V2, 2)
    with closing(sqlite3.connect(path)) as released:
        released.execute("PRAGMA journal_mode = WAL")
        released.execute("INSERT INTO clients (client_id, api_key) VALUES (1, 'a')")
        released.commit()
        for file in path.parent.iterdir():
            file.chmod(0o644)
        with closing(SQLiteStore(path)) as store:
            assert len(store.load()) == 1
            assert modes(path) == {"clients.db": 0o600, "clients.db-wal": 0o600, "clients.db-shm": 0o600}


# in memory


def test_without_a_path_rows_are_kept_in_memory() -> None:
    with closing(SQLiteStore(None)) as store:
        assert store.insert(Client(0, "key")) == store.load()[0]


def test_a_database_that_is_restored_meanwhile_is_the_one_in_use(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    make(backup, TABLE_V2, 2, {"client_id": 7, "api_key": "from the backup"})
    with closing(SQLiteStore(path)) as store:
        store.insert(Client(0, "gone"))
        before = store.version()
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        backup.replace(path)
        assert store.version() != before
        assert [row.api_key for row in store.load()] == ["from the backup"]
        assert store.insert(Client(0, "next")).client_id == 8
    assert set(load(path)) == {7, 8}


def test_a_database_that_was_away_is_used_again_when_it_is_back(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        store.insert(Client(0, "key"))
        away = path.with_suffix(".away")
        path.rename(away)
        path.mkdir()
        for _ in range(2):
            with pytest.raises(StorageError, match="unable to open"):
                store.version()
        path.rmdir()
        away.rename(path)
        assert store.version() != 0
        assert [row.api_key for row in store.load()] == ["key"]
        assert store.insert(Client(0, "next")).client_id == 2


def test_a_database_that_was_deleted_is_an_error_not_a_success(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        path.unlink()
        with pytest.raises(StorageError):
            store.insert(Client(0, "key"))
        with pytest.raises(StorageError):
            store.version()
    assert not path.exists()
