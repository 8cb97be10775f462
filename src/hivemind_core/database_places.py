"""Where client databases are: for each kind that server.json can name, how to find it and what can be done there.

To add a kind: a class of the shape of `Place` here, and a line in `KINDS`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .clients import Client
from .config import SQLITE_MODULE, ConfigError, data_dir
from .paths import is_path
from .storage import StorageError, Store
from .storage.json import JSONStore, read_json
from .storage.redis_settings import REDIS_MODULE, RedisSettings, read_settings
from .storage.sqlite import SQLiteStore, read_sqlite

if TYPE_CHECKING:
    from types import ModuleType

JSON_MODULE = "hivemind-json-db-plugin"
INSTALL_REDIS = "pip install 'hivemind-mesh[hub,redis]'"
LEFT_BEHIND = ".lock"


class Place(Protocol):
    """One client database; as text it is what people are told. Everything may block and raise StorageError."""

    @property
    def way_out(self) -> str:
        """What to do where something is in the way there."""

    def is_there(self) -> bool:
        """Whether there is a database, with clients in it or without."""

    def open(self) -> Store:
        """Open it for reading and writing, making or upgrading it. Raises ConfigError, too."""

    def read(self) -> list[Client]:
        """Return every row, tombstones included; nothing is written. Raises StorageError for a strange entry, too."""

    def made(self) -> AbstractContextManager[Place]:
        """Make a new one: give the place to fill, which takes this one's place when all went well."""


class FileKind(NamedTuple):
    """A kind that is a file: what its name ends with, and how it is opened, or read without being touched."""

    suffix: str
    open: Callable[[Path], Store]
    read: Callable[[Path], list[Client]]


FILES = {
    SQLITE_MODULE: FileKind(".db", SQLiteStore, read_sqlite),
    JSON_MODULE: FileKind(".json", JSONStore, read_json),
}


@dataclass(frozen=True)
class FilePlace:
    """A file; see `Place`."""

    path: Path
    kind: FileKind
    way_out: str = "Move that file away first."

    def __str__(self) -> str:
        return str(self.path)

    def is_there(self) -> bool:
        return self.path.exists()

    def open(self) -> Store:
        return self.kind.open(self.path)

    def read(self) -> list[Client]:
        return self.kind.read(self.path)

    @contextmanager
    def made(self) -> Iterator[Place]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{self.path.name}.", dir=self.path.parent) as folder:
            other = FilePlace(Path(folder) / self.path.name, self.kind)
            yield other
            self._take(other.path)

    def _take(self, made: Path) -> None:
        """Move the files of a finished database to where it belongs, the one with the rows last."""
        for file in made.parent.iterdir():
            if file != made and not file.name.endswith(LEFT_BEHIND):
                os.replace(file, self.path.parent / file.name)
        try:
            os.link(made, self.path)
        except FileExistsError:
            raise StorageError(f"Somebody has made {self.path} meanwhile; nothing was copied.") from None


@dataclass(frozen=True)
class RedisPlace:
    """The keys under a prefix in Redis; see `Place`. There, rows are restored all at once or not at all."""

    settings: RedisSettings
    way_out: str = "Name another `index_prefix` or `db` in server.json, or delete those keys, first."

    def __str__(self) -> str:
        return f"{self.settings}, keys {self.settings.prefix}:*"

    def is_there(self) -> bool:
        return bool(_redis().is_there(self.settings))

    def open(self) -> Store:
        store: Store = _redis().RedisStore(self.settings)
        return store

    def read(self) -> list[Client]:
        rows: list[Client] = _redis().read_redis(self.settings)
        return rows

    @contextmanager
    def made(self) -> Iterator[Place]:
        yield self


def _redis() -> ModuleType:
    """Return the module of the store, whose library not every hub has."""
    try:
        from .storage import redis
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigError(
            f"server.json: `database.module` {REDIS_MODULE} needs the Redis client for Python. Run: {INSTALL_REDIS}"
        ) from None
    return redis


def file_place(module: str, options: Mapping[str, Any]) -> FilePlace:
    """Return where a database of `FILES` is that has these settings in server.json. Raises ConfigError."""
    if options.get("password") is not None:
        raise ConfigError("An encrypted client database cannot be opened; decrypt it and remove its `password` key.")
    for key in ("db_path", "subfolder", "name"):
        if not isinstance(options.get(key, ""), str):
            raise ConfigError(f"`{key}` of the client database must be a text.")
        if options.get(key) and not is_path(options[key]):
            raise ConfigError(f"`{key}` of the client database is no path: {options[key]!r}.")
    kind = FILES[module]
    if options.get("db_path"):
        return FilePlace(Path(options["db_path"]).expanduser(), kind)
    folder = data_dir() / (options.get("subfolder") or "hivemind-core")
    return FilePlace(folder / f"{options.get('name') or 'clients'}{kind.suffix}", kind)


KINDS = (*FILES, REDIS_MODULE)
"""What `database.module` may be."""


def place_of(module: str, options: Mapping[str, Any]) -> Place:
    """Return where a database of `KINDS` is that has these settings in server.json. Raises ConfigError."""
    return RedisPlace(read_settings(options)) if module == REDIS_MODULE else file_place(module, options)
