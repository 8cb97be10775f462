"""Client records in a JSON file, in the format of the released hub. Writes touch only the fields they mean.

The file is one object: id as text -> record. Beside it lie its schema version, as text (no such file: version 1), and
a lock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hivemind_bus_client.identity_file import make_private, write_private

from ..clients import REVOKED, Client, numbered, tombstone
from . import Change, DuplicateKey, StorageError, cures
from .checks import check_columns, check_same
from .json_file import BrokenFile, JSONFile
from .records import SCHEMA_VERSION, Record, client_of, put, record_of, upgraded

ATTEMPTS = 100
ID_DIGITS = 18
Document = dict[str, Any]
T = TypeVar("T")


class JSONStore:
    """One file; see `Store`."""

    name = "JsonDB"

    def __init__(self, path: Path) -> None:
        """Open the file, making or upgrading it. Raises StorageError.

        A file that holds no client records, or those of a later version, is left as it is.
        """
        self.path = path
        self._file = JSONFile(path)
        self._closed = False
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        make_private(path)

    def _open(self) -> None:
        with _errors("open", self.path):
            version = _schema_version(self.path)
            with self._file.locked():
                if not self.path.exists():
                    self._file.create()
            self._file.read()
        if version < SCHEMA_VERSION:
            self._change("upgrade", _upgrade)
            with _errors("upgrade", self.path):
                write_private(_sentinel(self.path), str(SCHEMA_VERSION))

    def serve(self, patience_s: float) -> None:
        with self._errors("open"):
            cures.check_writable(self.path)
        self._file.patience_s = patience_s

    # reading

    def load(self) -> list[Client]:
        with self._errors("read"):
            document = self._file.read()
        return _clients(document)

    def version(self) -> int:
        with self._errors("read"):
            return self._file.changes()

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        with _errors(doing, self.path):
            if self._closed:
                raise OSError("it was closed")
            yield

    # writing

    def _change(self, doing: str, change: Callable[[Document], T]) -> T:
        """Change the file as one step. What `change` does is done again, to the newer file, where somebody who does
        not know the lock has written meanwhile: released hubs do not."""
        with self._errors(doing), self._file.locked():
            for _ in range(ATTEMPTS):
                document = self._file.read()
                before = json.dumps(document)
                result = change(document)
                if json.dumps(document) == before or self._file.replace(document):
                    return result
            raise OSError("other processes write to it all the time")

    def insert(self, client: Client) -> Client:
        def add(document: Document) -> Client:
            keys = _keys(document)
            for client_id, key in sorted(keys.items()):
                if document[key]["api_key"] == client.api_key:
                    raise DuplicateKey(client_of(client_id, document[key]))
            highest = max((0, *keys, *(int(key) for key in document if _is_id(key))))
            stored = numbered(client, highest + 1)
            document[str(stored.client_id)] = record_of(stored)
            return stored

        return self._change("write", add)

    def restore(self, clients: Iterable[Client]) -> None:
        rows = list(clients)

        def fill(document: Document) -> None:
            if document:
                raise StorageError(f"The client database {self.path} is not empty.")
            document.update((str(row.client_id), record_of(row)) for row in rows)
            check_same(rows, _clients(json.loads(json.dumps(document))), self.path)

        self._change("write", fill)

    def edit(self, client_id: int, change: Change) -> Client | None:
        def write(document: Document) -> Client | None:
            record = _live(document, client_id)
            if record is None:
                return None
            row = client_of(client_id, record)
            columns = change(row)
            check_columns(columns)
            put(record, columns)
            return client_of(client_id, record)

        return self._change("write", write)

    def touch(self, seen: Mapping[int, float]) -> None:
        def write(document: Document) -> None:
            keys = _keys(document)
            for client_id in seen.keys() & keys.keys():
                record = document[keys[client_id]]
                if record["api_key"] != REVOKED:
                    record["last_seen"] = seen[client_id]

        self._change("write", write)

    def delete(self, client_id: int) -> bool:
        def bury(document: Document) -> bool:
            if _live(document, client_id) is None:
                return False
            document[_keys(document)[client_id]] = record_of(tombstone(client_id))
            return True

        return self._change("write", bury)

    def close(self) -> None:
        self._closed = True
        self._file.close()


def read_json(path: Path) -> list[Client]:
    """Return every row of a file that is left exactly as it is. Raises StorageError, and for a strange entry too."""
    file = JSONFile(path)
    with _errors("read", path):
        _schema_version(path)
        try:
            document = file.read()
        finally:
            file.close()
    strangers = document.keys() - _keys(document).values()
    if strangers:
        raise StorageError(f"In the client database {path}, the entry {min(strangers)!r} is no record of a client.")
    return _clients(document)


# the file


@contextmanager
def _errors(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenFile as error:
        raise StorageError(f"Could not {doing} the client database {path}: {error}. {cures.DAMAGED}") from None
    except (OSError, UnicodeError) as error:
        raise StorageError(f"Could not {doing} the client database {path}: {cures.told(error, path)}") from error


def _sentinel(path: Path) -> Path:
    return path.with_suffix(".schema_version")


def _schema_version(path: Path) -> int:
    """Return the version, 1 where none is told. Raises StorageError for one that nobody here knows yet."""
    try:
        text = _sentinel(path).read_text("utf-8").strip()
    except FileNotFoundError:
        return 1
    version = int(text) if _is_id(text) else 1
    if version > SCHEMA_VERSION:
        raise StorageError(
            f"The client database {path} has schema version {version}; this hub knows up to {SCHEMA_VERSION}."
            " Update hivemind-mesh."
        )
    return version


def _upgrade(document: Document) -> None:
    for key in _keys(document).values():
        document[key] = upgraded(document[key])


# records


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= ID_DIGITS


def _keys(document: Document) -> dict[int, str]:
    """Return under which key each client is. Entries that are no record of a client are passed over, and kept."""
    keys: dict[int, str] = {}
    for key, record in document.items():
        if not isinstance(record, dict) or not isinstance(record.get("api_key"), str):
            continue
        client_id = record.get("client_id", int(key) if _is_id(key) else None)
        if type(client_id) is int and (client_id not in keys or key == str(client_id)):
            keys[client_id] = key
    return keys


def _clients(document: Document) -> list[Client]:
    return [client_of(client_id, document[key]) for client_id, key in sorted(_keys(document).items())]


def _live(document: Document, client_id: int) -> Record | None:
    """Return the record of a client to change, unless it is not there or deleted."""
    key = _keys(document).get(client_id)
    return document[key] if key is not None and document[key]["api_key"] != REVOKED else None
