"""The client database: a store, and the clients in it in memory. A deleted client is not seen above it.

Reads (`by_key`, `by_id`, `all`, `len`) never do I/O and may come from the event loop; everything else blocks and is
to be called from one thread. Records are frozen; the maps are replaced, or one value in them is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from .clients import REVOKED, Client
from .config import SQLITE_MODULE, Config, ConfigError
from .database_places import FILES, JSON_MODULE, KINDS, FilePlace, file_place, place_of
from .storage import Change, DuplicateKey, StorageError, Store

__all__ = ["Client", "ClientDatabase", "DuplicateKey", "StorageError", "open_database"]


class _Rows(NamedTuple):
    by_id: dict[int, Client]
    by_key: dict[str, Client]

    @classmethod
    def of(cls, rows: Iterable[Client]) -> _Rows:
        by_id = {row.client_id: row for row in rows if not row.is_revoked}
        by_key: dict[str, Client] = {}
        for row in by_id.values():
            by_key.setdefault(row.api_key, row)
        return cls(by_id, by_key)


class ClientDatabase:
    """See the module. There is one for a store. Its blocking calls raise StorageError."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.changed: Callable[[Client | None, Client | None], None] = lambda before, after: None
        """Told of each change made through this object: the row before, None for a new one, and after, None for a
        deleted one. It must not raise."""
        self.noticed: Callable[[Client | None, Client | None], None] = lambda before, after: None
        """Told in the same way of what others have changed, when that is read here. It must not raise."""
        self.write_problem = ""
        """Why the last write failed; empty where it did not, or none was tried."""
        self._version = store.version()
        self._rows = _Rows.of(store.load())
        self._overtaken: set[int] = set()  # rows whose change by another process came with a write of ours

    # reading

    def by_key(self, api_key: str) -> Client | None:
        """Return the client with this access key."""
        return self._rows.by_key.get(api_key)

    def by_id(self, client_id: int) -> Client | None:
        """Return the client with this id."""
        return self._rows.by_id.get(client_id)

    def all(self) -> list[Client]:
        """Return the clients in order of ids."""
        return list(self._rows.by_id.values())

    def __len__(self) -> int:
        return len(self._rows.by_id)

    # blocking

    def refresh(self) -> set[int]:
        """Take in what other processes wrote; return the ids of clients that are new, changed or gone.

        Nothing is read while nobody else wrote. When it fails, everything stays as it was.
        """
        version = self.store.version()
        if version == self._version:
            return set()
        before, after = self._rows.by_id, _Rows.of(self.store.load())
        changed = {key for key in before.keys() | after.by_id.keys() if before.get(key) != after.by_id.get(key)}
        self._rows, self._version = after, version
        for key in sorted(changed):
            self.noticed(before.get(key), after.by_id.get(key))
        changed |= self._overtaken
        self._overtaken = set()
        return changed

    def add(self, client: Client) -> Client:
        """Add a client under the next free id, and return it. Raises DuplicateKey.

        Without a name it gets one made of its id. Raises ValueError for an access key that no client can have.
        """
        if client.api_key in ("", REVOKED):
            raise ValueError(f"{client.api_key!r} cannot be an access key")
        with self._writing():
            stored = self.store.insert(client)
        self._rows = _Rows.of([*self.all(), stored])
        self.changed(None, stored)
        return stored

    def edit(self, client_id: int, change: Change) -> Client | None:
        """Change columns that depend on what is in the row, and nothing else; None where there is no such client."""

        before: list[Client] = []
        known = self.by_id(client_id)

        def watched(row: Client) -> Mapping[str, Any]:
            before[:] = [row]
            if row != known:
                self._overtaken.add(client_id)
            return change(row)

        with self._writing():
            row = self.store.edit(client_id, watched)
        if row is not None:
            self._keep(row)
            if before[0] != known:
                self.noticed(known, before[0])
            self.changed(before[0], row)
        return row

    def update(self, client_id: int, columns: Mapping[str, Any]) -> Client | None:
        """Change these columns and nothing else; None where there is no such client."""
        return self.edit(client_id, lambda row: columns)

    def patch_metadata(
        self,
        client_id: int,
        put: Mapping[str, Any],
        unset: Iterable[str] = (),
        *,
        only_if_absent: bool = False,
        only_if_key: str | None = None,
    ) -> dict[str, Any] | None:
        """Change these keys of the metadata and nothing else; return the metadata as it is then.

        `only_if_absent` leaves alone the keys that are there. `only_if_key` does nothing, and returns None, unless
        the row still belongs to that access key. None also where there is no such client.
        """
        dropped = set(unset)

        def change(row: Client) -> Mapping[str, Any]:
            if only_if_key not in (None, row.api_key):
                return {}
            merged = {**put, **row.metadata} if only_if_absent else {**row.metadata, **put}
            metadata = {key: value for key, value in merged.items() if key not in dropped}
            return {} if metadata == row.metadata else {"metadata": metadata}

        row = self.edit(client_id, change)
        return dict(row.metadata) if row is not None and only_if_key in (None, row.api_key) else None

    def touch(self, seen: Mapping[int, float]) -> None:
        """Write when each of these clients was seen (Unix time, seconds), all in one step."""
        with self._writing():
            self.store.touch(seen)
        for client_id, last_seen in seen.items():
            row = self.by_id(client_id)
            if row is not None:
                self._keep(replace(row, last_seen=last_seen))

    def delete(self, client_id: int) -> bool:
        """Revoke a client for good; its id is not used again. False where there was none."""
        before = self.by_id(client_id)
        with self._writing():
            deleted = self.store.delete(client_id)
        self._rows = _Rows.of(row for row in self.all() if row.client_id != client_id or not deleted)
        if deleted:
            self.changed(before, None)
        return deleted

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Remember whether writing works."""
        try:
            yield
        except DuplicateKey:
            raise
        except StorageError as error:
            self.write_problem = str(error)
            raise
        self.write_problem = ""

    def _keep(self, row: Client) -> None:
        by_id, by_key = self._rows
        known = by_id.get(row.client_id)
        if known is None or known.api_key != row.api_key:
            self._rows = _Rows.of(sorted((*self.all(), row), key=lambda one: one.client_id))
            return
        by_id[row.client_id] = row
        if by_key[row.api_key] is known:
            by_key[row.api_key] = row


def chosen_module(config: Config) -> str:
    """Return the name of the database in use: the one server.json names, else the one that has files.

    Where nobody named one, it is SQLite unless there is a file of JSON and none of SQLite. Raises ConfigError.
    """
    if not config.database_is_open:
        return config.database_module
    there = [module for module in (SQLITE_MODULE, JSON_MODULE) if file_place(module, {}).is_there()]
    return there[0] if there else SQLITE_MODULE


def open_database(config: Config) -> ClientDatabase:
    """Open the database that server.json names. Raises ConfigError, StorageError."""
    module = chosen_module(config)
    if module not in KINDS:
        raise ConfigError(
            f"{config.path}: `database.module` is {module!r}, and this hub reads only: {', '.join(KINDS)}."
            f" Copy the clients with `hivemind-core migrate-db --from {module} --to {SQLITE_MODULE}` of the"
            " released hub, then name that one."
        )
    place = place_of(module, {} if config.database_is_open else config.database)
    if isinstance(place, FilePlace):
        _check_not_passed_over(config, _passed_over(place))
    store = place.open()
    try:
        if not isinstance(place, FilePlace) and not store.load():
            _check_not_passed_over(config, _left_in_files())
        return ClientDatabase(store)
    except BaseException:
        store.close()
        raise


def _passed_over(place: FilePlace) -> dict[str, FilePlace]:
    """Return the files of other kinds beside the one that would be made."""
    if place.is_there():
        return {}
    others = {module: FilePlace(place.path.with_suffix(kind.suffix), kind) for module, kind in FILES.items()}
    return {module: other for module, other in others.items() if other != place and other.is_there()}


def _left_in_files() -> dict[str, FilePlace]:
    """Return the files, where they are by default, that have clients in them."""
    places = {module: file_place(module, {}) for module in FILES}
    return {
        module: place
        for module, place in places.items()
        if place.is_there() and not all(row.is_revoked for row in place.read())
    }


def _check_not_passed_over(config: Config, others: Mapping[str, FilePlace]) -> None:
    """Raise ConfigError where the clients are in another kind of database than the one that would be used."""
    for module, other in others.items():
        raise ConfigError(
            f"The clients are in {other}, but {config.path} names {config.database_module}. Copy them with"
            f" `hivemind-core migrate-db --from {module} --to {config.database_module}`, name {module} there, or"
            " move that file away to begin without clients."
        )
