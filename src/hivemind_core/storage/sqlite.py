"""Client records in SQLite, in the schema and file of the released hub. Writes touch only the columns they mean."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..clients import CLIENT_FIELDS, REVOKED, Client, tombstone
from . import DuplicateKey, StorageError

SCHEMA_VERSION = 2
BUSY_TIMEOUT_MS = 10_000
FILE_MODE = 0o600
_LEGACY_COLUMNS = ("intent_blacklist", "skill_blacklist", "message_blacklist")
_KEPT_FROM_V1 = ("intent_blacklist", "skill_blacklist")
_SELECT = f"SELECT {', '.join(CLIENT_FIELDS)} FROM clients"
_FLAGS = frozenset({"is_admin", "can_broadcast", "can_escalate", "can_propagate"})


def _parsed(text: object, kind: type[Any]) -> Any:
    """Return stored JSON of a kind; anything else, NULL and garbage too, reads as empty."""
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        value = None
    return value if isinstance(value, kind) else kind()


def _client(row: tuple[Any, ...]) -> Client:
    values = dict(zip(CLIENT_FIELDS, row, strict=True))
    for name in _FLAGS:
        values[name] = bool(values[name])
    values["name"] = values["name"] or ""
    values["description"] = values["description"] or ""
    values["last_seen"] = -1 if values["last_seen"] is None else values["last_seen"]
    types = _parsed(values["allowed_types"], list)
    values["allowed_types"] = tuple(item for item in types if isinstance(item, str))
    values["metadata"] = _parsed(values["metadata"], dict)
    return Client(**values)


def _column(name: str, value: Any) -> Any:
    if name == "allowed_types":
        return json.dumps(list(value), ensure_ascii=False)
    if name == "metadata":
        return json.dumps(dict(value), ensure_ascii=False)
    return int(value) if name in _FLAGS else value


class SQLiteStore:
    """One database file; see `Store`."""

    name = "SQLiteDB"

    def __init__(self, path: Path) -> None:
        """Open the file, creating or upgrading it. Raises StorageError."""
        self.path = path
        with self._errors("open"):
            _create_private(path)
            self._db = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"Could not {doing} the client database {self.path}: {error}") from error

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[None]:
        with self._errors(doing):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # the first error is the one to tell
                    self._db.execute("ROLLBACK")
                raise

    # the file

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"The client database {self.path} has schema version {version}; this hub knows up to"
                f" {SCHEMA_VERSION}. Update hivemind-mesh."
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if version < SCHEMA_VERSION:
            with self._transaction("upgrade"):
                self._upgrade()

    def _upgrade(self) -> None:
        # executescript would commit the transaction; the schema has no semicolon inside a statement
        schema = files("hivemind_core.storage").joinpath("schema/clients.sql").read_text("utf-8")
        for statement in _statements(schema):
            self._db.execute(statement)
        columns = {row[1] for row in self._db.execute("PRAGMA table_info(clients)")}
        if "metadata" not in columns:
            self._db.execute("ALTER TABLE clients ADD COLUMN metadata TEXT")
        legacy = [name for name in _LEGACY_COLUMNS if name in columns]
        if legacy:
            self._fold_legacy(legacy)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _fold_legacy(self, legacy: list[str]) -> None:
        """Move version 1's blacklist columns into the metadata, where it does not say otherwise already."""
        names = ", ".join(legacy)
        rows = self._db.execute(f"SELECT client_id, metadata, {names} FROM clients").fetchall()
        for client_id, text, *values in rows:
            metadata = _parsed(text, dict)
            metadata.pop("message_blacklist", None)
            for name, value in zip(legacy, values, strict=True):
                folded = _parsed(value, list)
                if name in _KEPT_FROM_V1 and folded:
                    metadata.setdefault(name, folded)
            cleared = ", ".join(f"{name} = NULL" for name in legacy)
            self._db.execute(
                f"UPDATE clients SET metadata = ?, {cleared} WHERE client_id = ?",
                (json.dumps(metadata, ensure_ascii=False), client_id),
            )

    # reading

    def load(self) -> list[Client]:
        with self._errors("read"):
            return [_client(row) for row in self._db.execute(f"{_SELECT} ORDER BY client_id")]

    def version(self) -> int:
        with self._errors("read"):
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def _one(self, where: str, value: Any) -> Client | None:
        row = self._db.execute(f"{_SELECT} WHERE {where} = ?", (value,)).fetchone()
        return _client(row) if row else None

    # writing

    def insert(self, client: Client) -> Client:
        with self._transaction("write"):
            other = self._one("api_key", client.api_key) if client.api_key != REVOKED else None
            if other is not None:
                raise DuplicateKey(other)
            highest = self._db.execute("SELECT max(client_id) FROM clients").fetchone()[0]
            stored = replace(client, client_id=(highest or 0) + 1)
            marks = ", ".join("?" * len(CLIENT_FIELDS))
            self._db.execute(
                f"INSERT INTO clients ({', '.join(CLIENT_FIELDS)}) VALUES ({marks})",
                [_column(name, getattr(stored, name)) for name in CLIENT_FIELDS],
            )
        return stored

    def update(self, client_id: int, columns: Mapping[str, Any]) -> Client | None:
        with self._transaction("write"):
            self._write(client_id, columns)
            return self._one("client_id", client_id)

    def _write(self, client_id: int, columns: Mapping[str, Any]) -> None:
        unknown = set(columns) - set(CLIENT_FIELDS)
        if unknown or "client_id" in columns:
            raise ValueError(f"not a column to write: {sorted(unknown) or 'client_id'}")
        assignments = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(
            f"UPDATE clients SET {assignments} WHERE client_id = ?",
            [*(_column(name, value) for name, value in columns.items()), client_id],
        )

    def patch_metadata(
        self,
        client_id: int,
        put: Mapping[str, Any],
        unset: Iterable[str] = (),
        *,
        only_if_absent: bool = False,
        only_if_key: str | None = None,
    ) -> Client | None:
        with self._transaction("write"):
            row = self._one("client_id", client_id)
            if row is None or (only_if_key is not None and row.api_key != only_if_key):
                return None
            metadata = {**put, **row.metadata} if only_if_absent else {**row.metadata, **put}
            for name in unset:
                metadata.pop(name, None)
            self._write(client_id, {"metadata": metadata})
            return replace(row, metadata=metadata)

    def delete(self, client_id: int) -> Client | None:
        gone = tombstone(client_id)
        columns = {name: getattr(gone, name) for name in CLIENT_FIELDS if name != "client_id"}
        return self.update(client_id, columns)

    def close(self) -> None:
        with self._errors("close"):
            self._db.close()


def _statements(schema: str) -> list[str]:
    bare = "\n".join(line.split("--")[0] for line in schema.splitlines())
    return [statement for statement in (part.strip() for part in bare.split(";")) if statement]


def _create_private(path: Path) -> None:
    """Make sure that the file, and with it what SQLite puts beside it, is its owner's alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE))
    with suppress(PermissionError):  # somebody else's file that we may still use
        path.chmod(FILE_MODE)
