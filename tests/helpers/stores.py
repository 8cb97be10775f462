"""The kinds of client database, for what all of them must do: opened, read without being touched, and looked into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import redis

from hivemind_core.clients import Client
from hivemind_core.storage import Store
from hivemind_core.storage.json import JSONStore, read_json
from hivemind_core.storage.redis import RedisStore, read_redis
from hivemind_core.storage.redis_settings import read_settings
from hivemind_core.storage.sqlite import SQLiteStore, read_sqlite

Options = dict[str, Any]


class StoreKind(NamedTuple):
    """A kind of store. Its functions take a folder of the test's own and, for Redis, how to reach the server."""

    open: Callable[[Path, Options], Store]
    """As another process would."""
    read: Callable[[Path, Options], list[Client]]
    contents: Callable[[Path, Options], dict[str, Any]]
    """Everything that is stored, byte by byte."""


def _files(folder: Path, options: Options) -> dict[str, Any]:
    """What is in the files, but for the one in which SQLite counts who is reading."""
    files = (path for path in folder.iterdir() if path.is_file() and path.suffix != ".db-shm")
    return {path.name: path.read_bytes() for path in files}


def dump(client: redis.Redis) -> dict[str, Any]:
    """Everything that is in a Redis, by key."""
    read = {"string": client.get, "set": client.smembers, "hash": client.hgetall}
    return {key: read[client.type(key)](key) for key in client.keys("*")}


def _keys(folder: Path, options: Options) -> dict[str, Any]:
    with redis.Redis(**options, decode_responses=True) as client:
        return dump(client)


STORES = {
    "sqlite": StoreKind(
        lambda folder, options: SQLiteStore(folder / "clients.db"),
        lambda folder, options: read_sqlite(folder / "clients.db"),
        _files,
    ),
    "json": StoreKind(
        lambda folder, options: JSONStore(folder / "clients.json"),
        lambda folder, options: read_json(folder / "clients.json"),
        _files,
    ),
    "redis": StoreKind(
        lambda folder, options: RedisStore(read_settings(options)),
        lambda folder, options: read_redis(read_settings(options)),
        _keys,
    ),
}
