"""The client database: a store, and all of its rows in memory.

Reads (`by_key`, `by_id`, `all`) never do I/O and are safe from any thread; everything else blocks and is to be called
from one thread. The maps are replaced, never changed, and records are frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .clients import REVOKED, Client
from .config import Config, ConfigError, data_dir
from .storage import DuplicateKey, StorageError, Store
from .storage.sqlite import SQLiteStore


class ClientDatabase:
    """See the module."""

    def __init__(self, store: Store) -> None:
        """Load every row. Raises StorageError."""
        self.store = store
        self._version = store.version()
        self._by_id: Mapping[int, Client] = {}
        self._by_key: Mapping[str, Client] = {}
        self._replace(store.load())

    def _replace(self, rows: Iterable[Client]) -> None:
        by_id = {row.client_id: row for row in rows}
        self._by_key = {row.api_key: row for row in by_id.values() if row.api_key != REVOKED}
        self._by_id = by_id

    def _keep(self, row: Client | None) -> Client | None:
        if row is not None:
            self._replace({**self._by_id, row.client_id: row}.values())
        return row

    # reading

    def by_key(self, api_key: str) -> Client | None:
        """Return the client with this access key; a tombstone never matches."""
        return self._by_key.get(api_key)

    def by_id(self, client_id: int) -> Client | None:
        """Return the row with this id, a tombstone too."""
        return self._by_id.get(client_id)

    def all(self) -> list[Client]:
        """Return every row, tombstones too, in order of ids."""
        return sorted(self._by_id.values(), key=lambda row: row.client_id)

    def __len__(self) -> int:
        return len(self._by_id)

    # blocking

    def refresh(self) -> set[int]:
        """Take in what other processes wrote; return the ids of the rows that differ now. Raises StorageError."""
        version = self.store.version()
        if version == self._version:
            return set()
        before, rows = self._by_id, self.store.load()
        self._replace(rows)
        self._version = version
        return {
            client_id
            for client_id in before.keys() | self._by_id.keys()
            if before.get(client_id) != self._by_id.get(client_id)
        }

    def add(self, client: Client) -> Client:
        """Add a client under the next free id and return it. Raises DuplicateKey, StorageError."""
        stored = self.store.insert(client)
        self._keep(stored)
        return stored

    def update(self, client_id: int, columns: Mapping[str, Any]) -> Client | None:
        """Change these columns and nothing else; see `Store.update`."""
        return self._keep(self.store.update(client_id, columns))

    def patch_metadata(
        self, client_id: int, put: Mapping[str, Any], unset: Iterable[str] = (), **conditions: Any
    ) -> Client | None:
        """Change these keys of the metadata and nothing else; see `Store.patch_metadata`."""
        return self._keep(self.store.patch_metadata(client_id, put, unset, **conditions))

    def delete(self, client_id: int) -> Client | None:
        """Revoke a client for good; its id is not used again."""
        return self._keep(self.store.delete(client_id))

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()


def _sqlite(options: Mapping[str, Any]) -> Store:
    if options.get("password") is not None:
        raise ConfigError("This hub cannot open an encrypted client database; remove its `password` key.")
    return SQLiteStore(_path(options, ".db"))


def _path(options: Mapping[str, Any], suffix: str) -> Path:
    explicit = options.get("db_path")
    if explicit:
        return Path(str(explicit)).expanduser()
    folder = str(options.get("subfolder") or "hivemind-core")
    return data_dir() / folder / f"{options.get('name') or 'clients'}{suffix}"


STORES: dict[str, Callable[[Mapping[str, Any]], Store]] = {"hivemind-sqlite-db-plugin": _sqlite}


def open_database(config: Config) -> ClientDatabase:
    """Open the store that server.json names. Raises ConfigError, StorageError."""
    module = config.database_module
    if module not in STORES:
        raise ConfigError(
            f"There is no client database named {module!r} in this version."
            f" The known ones are: {', '.join(STORES)}."
        )
    store = STORES[module](config.database)
    try:
        return ClientDatabase(store)
    except StorageError:
        store.close()
        raise


__all__ = ["Client", "ClientDatabase", "DuplicateKey", "StorageError", "open_database"]
