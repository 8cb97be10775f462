"""Stores of client records: the interface, and how they fail.

To add one: a module here with a class of the shape of `Store`, and a line in `KINDS` of database_places.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from ..clients import Client

Change = Callable[[Client], Mapping[str, Any]]
"""Given a row as it is stored now, the columns to write and their values; empty writes nothing.

Runs while the store is locked: it must be quick and must not call the store.
"""


class StorageError(Exception):
    """The store could not be read or written. Never means that a client does not exist."""


class DuplicateKey(StorageError):
    """Another client has this access key."""

    def __init__(self, other: Client) -> None:
        super().__init__(
            f"A client already exists for access key '{other.api_key}'"
            f" (Node ID: {other.client_id}, Friendly Name: {other.name})."
        )
        self.other = other


class Store(Protocol):
    """Keeps the rows. Every call may block and may raise StorageError; all of one hub come from one thread."""

    name: str
    """What `add-client` calls it."""

    def load(self) -> list[Client]:
        """Return every row, tombstones included, in order of ids."""

    def version(self) -> int:
        """Return a cheap stamp that differs when anyone but this store has written since.

        What this store wrote itself its caller has been told already.
        """

    def insert(self, client: Client) -> Client:
        """Add a row under the next free id, whatever id it brings, and return it. Raises DuplicateKey.

        Tombstones count: no id is ever used again.
        """

    def restore(self, clients: Iterable[Client]) -> None:
        """Put rows into a store that has none, tombstones too, each under its own id; all of them or nothing.

        Raises StorageError also where a row would not come back exactly as it was.
        """

    def edit(self, client_id: int, change: Change) -> Client | None:
        """Change columns of a row and nothing else, as one step; return the row as it is stored then.

        None, and nothing written, where there is no such row or only its tombstone.
        """

    def touch(self, seen: Mapping[int, float]) -> None:
        """Write when each client was seen (Unix time), all in one step; rows that are gone are passed over."""

    def delete(self, client_id: int) -> bool:
        """Make the row a tombstone: only its id is left. False where there was none to delete."""

    def serve(self, patience_s: float) -> None:
        """Be the store of a hub: wait only so long for others who hold it locked, since who waits is tried again.

        Raises StorageError where nothing could be written: it is better said now.
        """

    def close(self) -> None:
        """Let go of the store."""
