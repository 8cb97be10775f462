"""Deposits in SQLite: files that cannot be used. What all stores must do: test_mailbox_stores.py."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from helpers.mailbox_stores import NOW, leave, sealed, waiting
from hivemind_core import mailbox_store
from hivemind_core.mailbox_store import MailboxStore
from hivemind_core.storage import StorageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "mailbox.db"


@pytest.fixture
def store(path: Path) -> Iterator[MailboxStore]:
    with closing(MailboxStore(path)) as opened:
        yield opened


def test_the_file_is_its_owners_alone(path: Path, store: MailboxStore) -> None:
    leave(store, "bob")
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_others_could_read_is_made_private(path: Path, store: MailboxStore) -> None:
    store.close()
    path.chmod(0o644)
    MailboxStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_goes_gives_its_room_back(path: Path, store: MailboxStore) -> None:
    ids = [leave(store, "bob", payload=sealed(100_000)) for _ in range(40)]
    store.ack("bob", frozenset(ids), NOW)
    store.close()
    assert path.stat().st_size < 200_000


@pytest.mark.parametrize("content", [b"not a database at all, " * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_none_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"Could not open the mailbox .*mailbox\.db"):
        MailboxStore(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE clients (x)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="the database of another program"):
        MailboxStore(path)
    assert path.read_bytes() == before


def test_a_later_schema_is_refused(path: Path, store: MailboxStore) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(StorageError, match=r"schema version 2; this hub knows up to 1\. Update"):
        MailboxStore(path)


def test_a_locked_file_is_told_and_nothing_is_lost(
    path: Path, store: MailboxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    deposit_id = leave(store, "bob")
    store.close()
    monkeypatch.setattr(mailbox_store, "BUSY_TIMEOUT_S", 0.05)
    with closing(MailboxStore(path)) as impatient, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for write in (lambda: leave(impatient, "bob"), lambda: impatient.ack("bob", frozenset({deposit_id}), NOW)):
            with pytest.raises(StorageError, match=r"Could not write the mailbox .*: database is locked"):
                write()
        assert waiting(impatient, "bob") == [deposit_id]
        other.execute("ROLLBACK")
        assert waiting(impatient, "bob") == [deposit_id]
        assert leave(impatient, "bob")


def test_a_full_disk_is_told_and_what_waits_can_be_read(path: Path, store: MailboxStore) -> None:
    first = leave(store, "bob")
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite says then is what it says of a full disk
    with pytest.raises(StorageError, match=r"Could not write the mailbox .*: database or disk is full"):
        leave(store, "bob", payload=sealed(100_000))
    assert waiting(store, "bob") == [first]
    store._db.execute("PRAGMA max_page_count = 1000000")
    second = leave(store, "bob", payload=sealed(100_000))
    assert waiting(store, "bob") == [first, second]


def test_damage_inside_is_told(path: Path, store: MailboxStore) -> None:
    for _ in range(50):
        leave(store, "bob", payload=sealed(3000))
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    damaged = path.read_bytes()
    with pytest.raises(StorageError, match=r"mailbox\.db: database disk image is malformed"):
        waiting(MailboxStore(path), "bob")
    assert path.read_bytes() == damaged


def test_a_file_that_is_replaced_or_deleted_meanwhile_is_followed(path: Path, store: MailboxStore) -> None:
    leave(store, "bob")
    for file in path.parent.iterdir():
        file.unlink()
    assert waiting(store, "bob") == []
    kept = leave(store, "bob")
    with closing(MailboxStore(path)) as again:
        assert waiting(again, "bob") == [kept]
    other = path.with_name("other.db")
    with closing(MailboxStore(other)) as filled:
        restored = leave(filled, "bob")
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.replace(other, path)
    assert waiting(store, "bob") == [restored]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Could not open the mailbox"):
        MailboxStore(tmp_path / "file" / "mailbox.db")
