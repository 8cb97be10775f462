"""What every store checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..clients import CLIENT_FIELDS, Client, tombstone
from . import StorageError


def check_columns(columns: Iterable[str]) -> None:
    """Raise ValueError for a column that rows do not have."""
    unknown = set(columns).difference(CLIENT_FIELDS)
    if unknown:
        raise ValueError(f"clients have no column {', '.join(sorted(unknown))}")


def check_same(wanted: Sequence[Client], stored: Sequence[Client], place: object) -> None:
    """Raise StorageError unless a client database holds these rows and no others, in order of ids or not.

    Of a deleted client nothing counts but its id.
    """
    left, right = ({row.client_id: _comparable(row) for row in rows} for rows in (wanted, stored))
    if len(left) != len(wanted):
        raise StorageError(f"Two rows for the client database {place} have the same id.")
    different = sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
    if different:
        raise StorageError(f"The client database {place} does not give back client {different[0]} as it was.")


def _comparable(row: Client) -> tuple[Client, str]:
    """Metadata as text: what is not a number equals nothing, itself included."""
    row = tombstone(row.client_id) if row.is_revoked else row
    return replace(row, metadata={}), json.dumps(row.metadata, sort_keys=True)
