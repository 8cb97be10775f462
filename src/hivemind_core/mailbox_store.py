"""Deposits in SQLite, in a file of their own. Every call blocks; all come from one thread.

A file that cannot be used is left as it is: nothing is moved away, and nothing that waits in it is lost.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

from hivemind_bus_client.identity_file import make_private

from . import mailbox
from .mailbox import Deposit, Kept, Refused, Released, Standing
from .mailbox_config import Limits
from .storage import StorageError, cures

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 2.0
"""Nobody else writes to this file; whoever locks it does not hold up everybody for long."""
FILE_MODE = 0o600
WAL_BYTES = 4 * 1024 * 1024
"""What is kept of the write-ahead log once it is empty."""

_INSERT = "INSERT INTO deposits (deposit_id, box, sender, payload, size, expires_at) VALUES (?, ?, ?, ?, ?, ?)"


class MailboxStore:
    """One file. Every call may raise StorageError, and then has done nothing. Times are Unix time, in seconds."""

    is_shared = False

    def __init__(self, path: Path) -> None:
        """Open the file, making it if it is missing. Raises StorageError."""
        self.path = path
        self.name = str(path)
        with self._errors("open"):
            _make_file(path)
            self._open()

    def _open(self) -> None:
        self._db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise
        self._file = _identity(self.path)

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        tables = self._db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'deposits'").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"The mailbox {self.path} has schema version {version}; this hub knows up to {SCHEMA_VERSION}."
                " Update hivemind-mesh."
            )
        if version and not tables:
            raise StorageError(f"{self.path} is the database of another program: it has no table of deposits.")
        if not version:
            self._create()
        self._db.execute("PRAGMA journal_mode = WAL")
        # FULL: what was answered with "ok" outlives a power cut.
        for setting in ("synchronous = FULL", f"journal_size_limit = {WAL_BYTES}"):
            self._db.execute(f"PRAGMA {setting}")
        for suffix in ("", "-wal", "-shm"):
            make_private(f"{self.path}{suffix}")

    def _create(self) -> None:
        if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StorageError(f"{self.path} is the database of another program: it has no table of deposits.")
        self._db.execute("PRAGMA auto_vacuum = FULL")
        with self._transaction():
            for statement in _statements("mailbox.sql"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeError, OverflowError) as error:
            why = cures.told(error, self.path)
            raise StorageError(f"Could not {doing} the mailbox {self.path}: {why}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write everything or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # the first error is the one to tell
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _writing(self, now: float) -> Iterator[None]:
        """Write, without what has expired by now."""
        with self._errors("write"):
            self._follow_file()
            with self._transaction():
                self._db.execute("DELETE FROM deposits WHERE expires_at <= ?", (now,))
                yield

    def _follow_file(self) -> None:
        """Work on the file that is there now: SQLite would go on writing to one that was replaced or deleted."""
        if _identity(self.path) != self._file:
            self._db.close()
            _make_file(self.path)
            self._open()

    # requests

    def deposit(self, sender: str, deposit: Deposit, limits: Limits, now: float) -> str | Refused:
        """Keep a message and return its id, unless that would be over a limit."""
        deposit_id = str(uuid4())
        with self._writing(now):
            over = mailbox.refusal(deposit, self._standing(deposit.box, sender), limits)
            if over is not None:
                return over
            row = (deposit_id, deposit.box, sender, deposit.payload, deposit.size, now + deposit.ttl_s)
            self._db.execute(_INSERT, row)
        return deposit_id

    def _standing(self, box: str, sender: str) -> Standing:
        one = self._db.execute
        pending = one("SELECT pending FROM boxes WHERE box = ?", (box,)).fetchone() or (0,)
        of_sender = one("SELECT count(*), total(size) FROM deposits WHERE sender = ?", (sender,)).fetchone()
        return Standing(*pending, *of_sender, *one("SELECT count(*), total(bytes) FROM boxes").fetchone())

    def collect(self, box: str, now: float) -> list[Kept]:
        """Return the oldest messages that wait in a box, as many as one reply holds. Nothing is written."""
        found: list[Kept] = []
        room = mailbox.MAX_COLLECTED_BYTES
        with self._errors("read"):
            self._follow_file()
            rows = self._db.execute(
                "SELECT deposit_id, payload, size FROM deposits WHERE box = ? AND expires_at > ? ORDER BY number",
                (box, now),
            )
            for deposit_id, payload, size in rows:
                room -= size
                if found and room < 0:
                    break
                found.append(Kept(deposit_id, payload))
            rows.close()
        return found

    def ack(self, box: str, deposit_ids: frozenset[str], now: float) -> int:
        """Remove messages of a box, and return how many there were."""
        with self._writing(now):
            waiting = self._db.execute("SELECT number, deposit_id FROM deposits WHERE box = ?", (box,)).fetchall()
            numbers = [(number,) for number, deposit_id in waiting if deposit_id in deposit_ids]
            self._db.executemany("DELETE FROM deposits WHERE number = ?", numbers)
        return len(numbers)

    # what a released hub kept

    def has_imported(self, source: str) -> bool:
        """Tell whether a file was taken over."""
        with self._errors("read"):
            return bool(self._db.execute("SELECT 1 FROM imported WHERE source = ?", (source,)).fetchone())

    def take_over(self, source: str, messages: list[Released]) -> None:
        """Keep what was in a file, and note that it was taken over."""
        rows = [
            (one.deposit_id, one.box, "", one.payload, mailbox.size_of(one.payload), one.expires_at) for one in messages
        ]
        with self._errors("write"), self._transaction():
            self._db.execute("INSERT INTO imported VALUES (?, ?)", (source, len(rows)))
            self._db.executemany(_INSERT, rows)

    def close(self) -> None:
        """Let go of the file."""
        with self._errors("close"):
            self._db.close()


def _statements(script: str) -> Iterator[str]:
    """Return the statements of a file one by one: `executescript` would end the transaction they belong to."""
    statement = ""
    text = (files(__package__) / "storage" / "schema" / script).read_text("utf-8")
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _make_file(path: Path) -> None:
    """Make the file its owner's alone before anything is in it; SQLite gives its companions the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell files of one name apart; None where there is none."""
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
