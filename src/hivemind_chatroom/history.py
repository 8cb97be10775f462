"""The rooms in SQLite, so that they are there again after a restart.

A file that cannot be used is left as it is. Every call blocks; one thread calls at a time, not always the same one.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from hivemind_bus_client.identity_file import make_private

IN_MEMORY = ":memory:"
SCHEMA_VERSION = 1
APPLICATION_ID = 0x484D4352
"""Marks the file as ours: "HMCR"."""
BUSY_TIMEOUT_S = 2.0
WAL_BYTES = 4 * 1024 * 1024
"""What is kept of the write-ahead log once it is empty."""
MAX_DOCUMENT = 64 * 1024
"""Characters of one line's JSON; a longer one is not kept."""
MOST_ROOMS = 100

_UPSERT = (
    "INSERT INTO messages VALUES (:id, :room, :document)"
    " ON CONFLICT (id) DO UPDATE SET room = excluded.room, document = excluded.document"
)
_NEWEST_ROOMS = "SELECT room FROM messages GROUP BY room ORDER BY max(id) DESC LIMIT ?"
_NEWEST_OF_ROOM = "SELECT id, document FROM messages WHERE room = ? ORDER BY id DESC LIMIT ?"
_PRUNE_ROOM = (
    "DELETE FROM messages WHERE room = :room AND id <="
    " (SELECT id FROM messages WHERE room = :room ORDER BY id DESC LIMIT 1 OFFSET :each)"
)


class HistoryError(Exception):
    """The file cannot be used; the text says which one and why."""


class History:
    """One file, or ``:memory:``; the newest ``rooms`` rooms are kept. Every call may raise HistoryError."""

    def __init__(self, path: Path | str, rooms: int = MOST_ROOMS) -> None:
        self.path = path
        self._most = rooms
        with self._errors("open"):
            if str(path) != IN_MEMORY:
                _make_file(Path(path))
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
                make_private(path)  # only now is it known to be ours
                self._rooms = {room for (room,) in self._db.execute("SELECT DISTINCT room FROM messages")}
            except BaseException:
                self._db.close()
                raise
        self._grown = set(self._rooms)

    def load(self, each: int) -> list[dict[str, Any]]:
        """Return the newest ``each`` lines of every room, oldest first."""
        found: list[tuple[int, str]] = []
        with self._errors("read"):
            rooms = [room for (room,) in self._db.execute(_NEWEST_ROOMS, (self._most,))]
            for room in rooms:
                found += self._db.execute(_NEWEST_OF_ROOM, (room, each))
        return [json.loads(document) for _, document in sorted(found)]

    def save(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Keep lines, each with at least an ``id`` and a ``room``, in place of what had the same id; all or none."""
        rows = [_row(message) for message in messages]
        rows = [row for row in rows if len(row["document"]) <= MAX_DOCUMENT]
        with self._errors("write"), self._transaction():
            self._db.executemany(_UPSERT, rows)
        rooms = {row["room"] for row in rows}
        self._rooms |= rooms
        self._grown |= rooms

    def prune(self, each: int) -> None:
        """Forget all but the newest ``each`` lines of every room, and rooms over the number of those kept."""
        if not self._grown:
            return
        with self._errors("write"), self._transaction():
            self._db.executemany(_PRUNE_ROOM, [{"room": room, "each": each} for room in self._grown])
            if len(self._rooms) > self._most:
                self._rooms = {room for (room,) in self._db.execute(_NEWEST_ROOMS, (self._most,))}
                self._db.execute(f"DELETE FROM messages WHERE room NOT IN ({_NEWEST_ROOMS})", (self._most,))
        self._grown.clear()

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        with self._errors("close"):
            self._db.close()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION_ID and (application or version or tables):
            raise HistoryError(f"{self.path} is the database of another program. Give --history another file.")
        if version > SCHEMA_VERSION:
            raise HistoryError(
                f"{self.path} was written by a newer chatroom (schema {version}; this one knows {SCHEMA_VERSION})."
                " Update hivemind-mesh, or give --history another file."
            )
        if not tables:
            self._create()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")

    def _create(self) -> None:
        with self._transaction():
            for statement in _statements():
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            raise HistoryError(f"Could not {doing} the history {self.path}: {error}.") from error

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


def _row(message: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": message["id"], "room": message["room"], "document": json.dumps(message, separators=(",", ":"))}


def _statements() -> Iterator[str]:
    """Return the statements of the schema one by one: `executescript` would end the transaction they belong to."""
    statement = ""
    for line in (files(__package__) / "schema.sql").read_text("utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _make_file(path: Path) -> None:
    """Make the file its owner's alone before anything is in it; SQLite gives its companions the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
