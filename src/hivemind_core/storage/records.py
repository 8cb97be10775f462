"""A client as one JSON object, as the released hub has it in its file and in Redis.

What a record holds that no client has any more stays there until it is taken from the client's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..clients import CLIENT_FIELDS, Client, client_from_record

SCHEMA_VERSION = 2
_LISTS = ("skill_blacklist", "intent_blacklist")
_DISCARDED = "message_blacklist"
Record = dict[str, Any]


def client_of(client_id: int, record: Record) -> Client:
    """Return the client of a record of any version."""
    return client_from_record({**upgraded(record), "client_id": client_id})


def record_of(client: Client) -> Record:
    """Return the record of a client."""
    record = {name: getattr(client, name) for name in CLIENT_FIELDS}
    return {**record, "allowed_types": list(client.allowed_types), "metadata": dict(client.metadata)}


def upgraded(record: Record) -> Record:
    """Move what version 1 had at the top into the metadata, which wins where it has it already."""
    kept = {key: value for key, value in record.items() if key not in (*_LISTS, _DISCARDED)}
    metadata = dict(record["metadata"]) if isinstance(record.get("metadata"), dict) else {}
    metadata.pop(_DISCARDED, None)
    moved = {key: record[key] for key in _LISTS if record.get(key) and isinstance(record[key], list)}
    return {**kept, "metadata": {**moved, **metadata}}


def put(record: Record, columns: Mapping[str, Any]) -> None:
    """Write columns into a record; what the new metadata no longer has must not come back from outside it."""
    record.update(json.loads(json.dumps(dict(columns))))
    if "metadata" in columns:
        for key in record.keys() - {*CLIENT_FIELDS, *columns["metadata"]}:
            del record[key]
