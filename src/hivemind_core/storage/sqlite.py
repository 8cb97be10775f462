"""Client records in SQLite, in the schema and file of the released hub. Writes touch only the columns they mean."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from hivemind_bus_client.identity_file import make_private

from ..clients import CLIENT_FIELDS, REVOKED, Client, client_from_record, numbered, tombstone
from . import Change, DuplicateKey, StorageError, cures
from .checks import check_columns, check_same

SCHEMA_VERSION = 2
BUSY_TIMEOUT_S = 10.0
LOG_PAGES = 100
"""So many are put into the file again: the log of a small database is not to fill a small disk."""
FILE_MODE = 0o600
NO_FILE = (-1, -1)
"""The identity of none: what could not be opened is opened anew, even where the same file comes back."""
_JSON_COLUMNS = ("allowed_types", "metadata", "skill_blacklist", "intent_blacklist")
_LEGACY = ("skill_blacklist", "intent_blacklist", "message_blacklist")
_LIVE = "client_id = ? AND api_key <> ?"


class SQLiteStore:
    """One database file; see `Store`."""

    name = "SQLiteDB"

    def __init__(self, path: Path | None, *, copy_of: Path | None = None) -> None:
        """Open the file, making or upgrading it; None keeps the rows in memory. Raises StorageError.

        A file that is not a client database, or one of a later version, is left as it is. `copy_of` is a file to
        begin with a copy of, and is left as it is in any case.
        """
        self.path = path
        self._origin = copy_of
        self._patience_s = BUSY_TIMEOUT_S
        self._openings = 0
        with self._errors("open"):
            if path is not None:
                _make_file(path)
            self._open()

    def _open(self) -> None:
        if self.path is not None and _lost_its_head(self.path):
            raise StorageError(f"The client database {self.path} is empty, but not the log beside it. {cures.DAMAGED}")
        self._db = sqlite3.connect(
            self.path or ":memory:", timeout=self._patience_s, isolation_level=None, check_same_thread=False
        )
        try:
            if self._origin is not None:
                _copy(self._origin, self._db)
            self._prepare()
        except BaseException:
            self._db.close()
            raise
        self._openings += 1
        self._file = _identity(self.path)

    def _follow_file(self) -> None:
        """Work on the file that is there now: SQLite would go on writing to one that was replaced or deleted."""
        if _identity(self.path) != self._file:
            self._db.close()
            self._file = NO_FILE
            self._open()

    def serve(self, patience_s: float) -> None:
        with self._errors("open"):
            cures.check_writable(self.path)
            self._patience_s = patience_s
            self._db.execute(f"PRAGMA busy_timeout = {round(patience_s * 1000)}")

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeError, OverflowError) as error:
            why = cures.told(error, self._told)
            raise StorageError(f"Could not {doing} the client database {self._told}: {why}") from error

    @property
    def _told(self) -> Path | None:
        return self.path or self._origin

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Lock other writers out from before the first read, and write everything or nothing."""
        with self._errors(doing):
            if self._openings:
                self._follow_file()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # the first error is the one to tell
                    self._db.execute("ROLLBACK")
                raise

    # the file

    def _prepare(self) -> None:
        self._db.row_factory = sqlite3.Row
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"The client database {self._told} has schema version {version}; this hub knows up to"
                f" {SCHEMA_VERSION}. Update hivemind-mesh."
            )
        tables = {row["name"] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "clients" not in tables:
            raise StorageError(f"{self._told} is the database of another program: it has no table of clients.")
        # Fails while another process switches the same new file, which then serves us too.
        with suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        if version < SCHEMA_VERSION or "metadata" not in self._columns():
            with self._transaction("upgrade"):
                self._upgrade()
        if self.path is not None:
            for suffix in ("", "-wal", "-shm"):
                make_private(f"{self.path}{suffix}")

    def _upgrade(self) -> None:
        self._run("clients.sql")
        if "metadata" not in self._columns():
            self._db.execute("ALTER TABLE clients ADD COLUMN metadata TEXT")
        self._run("upgrade_1_to_2.sql")
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _run(self, script: str) -> None:
        """Run a file of statements inside the transaction, which `executescript` would end."""
        statement = ""
        text = (files(__package__) / "schema" / script).read_text("utf-8")
        for line in text.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self._db.execute(statement)
                statement = ""

    def _columns(self) -> list[str]:
        return [row["name"] for row in self._db.execute("PRAGMA table_info(clients)")]

    # reading

    def load(self) -> list[Client]:
        with self._errors("read"):
            self._check()
            return [_client(row) for row in self._db.execute("SELECT * FROM clients ORDER BY client_id")]

    def _check(self) -> None:
        """Look for damage: of a file that was cut off SQLite gives what is left, and those missing would be taken for
        removed."""
        found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StorageError(f"The client database {self._told} is malformed: {found}. {cures.DAMAGED}")

    def version(self) -> int:
        with self._errors("read"):
            self._follow_file()
            return self._openings << 32 | int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def _live(self, client_id: int) -> Client | None:
        row = self._db.execute(f"SELECT * FROM clients WHERE {_LIVE}", (client_id, REVOKED)).fetchone()
        return _client(row) if row else None

    # writing

    def insert(self, client: Client) -> Client:
        with self._transaction("write") as db:
            same = db.execute("SELECT * FROM clients WHERE api_key = ?", (client.api_key,)).fetchone()
            if same is not None:
                raise DuplicateKey(_client(same))
            highest = db.execute("SELECT coalesce(max(client_id), 0) FROM clients").fetchone()[0]
            stored = numbered(client, highest + 1)
            self._add(stored)
        return stored

    def _add(self, client: Client) -> None:
        columns = _encoded({name: getattr(client, name) for name in CLIENT_FIELDS})
        marks = ", ".join("?" * len(columns))
        self._db.execute(f"INSERT INTO clients ({', '.join(columns)}) VALUES ({marks})", (*columns.values(),))

    def restore(self, clients: Iterable[Client]) -> None:
        rows = []
        with self._transaction("write"):
            if self.load():
                raise StorageError(f"The client database {self.path} is not empty.")
            for row in clients:
                self._add(row)
                rows.append(row)
            check_same(rows, self.load(), self.path)

    def edit(self, client_id: int, change: Change) -> Client | None:
        with self._transaction("write"):
            row = self._live(client_id)
            columns = _encoded(change(row)) if row is not None else {}
            if not columns:
                return row
            if "metadata" in columns:
                columns.update(self._taken_out(json.loads(columns["metadata"])))
            self._write(client_id, columns)
            return self._live(client_id)

    def _taken_out(self, metadata: Mapping[str, Any]) -> dict[str, None]:
        """Return the columns of other versions to blank: what the metadata no longer has must not come back there."""
        return dict.fromkeys(set(self._columns()) - {*CLIENT_FIELDS, *_LEGACY, *metadata})

    def touch(self, seen: Mapping[int, float]) -> None:
        with self._transaction("write") as db:
            rows = [(last_seen, client_id, REVOKED) for client_id, last_seen in seen.items()]
            db.executemany(f"UPDATE clients SET last_seen = ? WHERE {_LIVE}", rows)

    def delete(self, client_id: int) -> bool:
        gone = tombstone(client_id)
        with self._transaction("write"):
            blank = dict.fromkeys(self._columns(), None)
            fresh = _encoded({name: getattr(gone, name) for name in CLIENT_FIELDS})
            return self._write(client_id, {**blank, **fresh})

    def _write(self, client_id: int, columns: Mapping[str, Any]) -> bool:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        done = self._db.execute(
            f"UPDATE clients SET {assignments} WHERE {_LIVE}", (*columns.values(), client_id, REVOKED)
        )
        return done.rowcount == 1

    def close(self) -> None:
        with self._errors("close"):
            self._db.close()


def read_sqlite(path: Path) -> list[Client]:
    """Return every row of a file that is left exactly as it is. Raises StorageError."""
    with closing(SQLiteStore(None, copy_of=path)) as store:
        return store.load()


def _copy(path: Path, into: sqlite3.Connection) -> None:
    """Copy a file that others may be writing to, without making any beside it where nobody is."""
    unused = _is_unused(path)
    how = "mode=ro&immutable=1" if unused else "mode=ro"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=BUSY_TIMEOUT_S)) as origin:
        origin.backup(into)
    if unused and not _is_unused(path):
        _copy(path, into)


def _is_unused(path: Path) -> bool:
    return not any(os.path.exists(f"{path}{suffix}") for suffix in ("-wal", "-journal"))


def _make_file(path: Path) -> None:
    """Make the file its owner's alone before anything is in it; SQLite gives its companions the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))


def _lost_its_head(path: Path) -> bool:
    """Tell whether the file was emptied by something else than SQLite, which would now throw its log away, too."""
    return Path(f"{path}-wal").exists() and path.stat().st_size == 0  # a log is made after the first page


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Tell files of one name apart. Raises FileNotFoundError."""
    if path is None:
        return None
    found = path.stat()
    return found.st_dev, found.st_ino


def _client(row: sqlite3.Row) -> Client:
    record = dict(row)
    for name in _JSON_COLUMNS:
        if name in record:
            record[name] = _parsed(record[name])
    return client_from_record(record)


def _parsed(text: object) -> Any:
    """Return stored JSON; NULL and garbage read as None."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _encoded(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as they are stored. Raises ValueError for a column that rows do not have."""
    check_columns(columns)
    return {name: json.dumps(value) if name in _JSON_COLUMNS else value for name, value in columns.items()}
