"""Stores of client records: the interface, and how they fail.

To add one: a module here with a class of the shape of `Store`, and a line in `STORES` of database.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..clients import Client


class StorageError(Exception):
    """The store could not be read or written. Never means that a client does not exist."""


class DuplicateKey(StorageError):
    """Another client has this access key."""

    def __init__(self, other: Client) -> None:
        super().__init__(f"A client already exists for access key '{other.api_key}'")
        self.other = other


class Store(Protocol):
    """Keeps the rows. Every call may block; all of one hub come from one thread."""

    name: str
    """What `add-client` calls it."""

    def load(self) -> list[Client]:
        """Return every row, tombstones included, in order of ids."""

    def version(self) -> int:
        """Return a stamp that moves when another process has written."""

    def insert(self, client: Client) -> Client:
        """Add a row under the next free id, whatever id it brings. Raises DuplicateKey."""

    def update(self, client_id: int, columns: Mapping[str, Any]) -> Client | None:
        """Change these columns of a row and nothing else; return the row, None where there is none."""

    def patch_metadata(
        self,
        client_id: int,
        put: Mapping[str, Any],
        unset: Iterable[str] = (),
        *,
        only_if_absent: bool = False,
        only_if_key: str | None = None,
    ) -> Client | None:
        """Change these keys of a row's metadata and nothing else; return the row.

        `only_if_absent` leaves keys alone that are there; `only_if_key` does nothing and returns None when the row
        does not (any more) belong to that access key.
        """

    def delete(self, client_id: int) -> Client | None:
        """Make the row a tombstone and return it; None where there is none."""

    def close(self) -> None:
        """Let go of the store."""
