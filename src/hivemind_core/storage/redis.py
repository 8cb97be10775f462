"""Client records in Redis, in the keys of the released hub. Writes touch only the fields they mean.

Each write is one step on the server, done only while what was read before is still so, and counted; that is how hubs
tell each other. Released hubs and tools do not count: records are compared with what they were every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import TypeVar

from ..clients import REVOKED, Client, numbered
from . import Change, DuplicateKey, StorageError
from .checks import check_columns, check_same
from .records import SCHEMA_VERSION, Record, client_of, put, record_of, upgraded
from .redis_connection import PATIENT_S, RedisConnection
from .redis_keys import BEING_MADE, Commit, Keys, buried, decoded, encoded, ids, number, read_client, records_of
from .redis_settings import RedisSettings

ATTEMPTS = 100
COMPARE_EVERY_S = 5.0
COMPARE_SHARE = 20
"""How many times longer than a comparison takes the time until the next one is at least."""
SPARSE = 1000
"""How many numbers that nobody has are asked for, before all keys are gone through instead."""
T = TypeVar("T")
Stored = dict[int, bytes]


class RedisStore:
    """The clients under one prefix; see `Store`."""

    name = "RedisDB"

    def __init__(self, settings: RedisSettings) -> None:
        """Connect, and upgrade what a released hub of an earlier version left. Raises ConfigError, StorageError.

        Where there is nothing yet, nothing is written. What a later version wrote is left as it is.
        """
        self.settings = settings
        self._keys = Keys(settings.prefix)
        self._redis = RedisConnection(settings)
        self._others = 0
        """How often it was seen that somebody else had written."""
        self._clients: dict[tuple[int, bytes], Client | None] = {}
        """What was read of records as they were last loaded."""
        try:
            with self._redis.errors("open"):
                self._changes = self._counted()
                self._stored = _all_stored(self._redis, self._keys)
                self._upgrade(_schema_version(self._redis, self._keys, settings))
        except BaseException:
            self._redis.close()
            raise
        self._compared(0.0)

    def _upgrade(self, version: int) -> None:
        if version == SCHEMA_VERSION or not self._stored:
            return
        for client_id in list(self._stored):
            self._write_one(client_id, lambda record: upgraded(record) if record["api_key"] != REVOKED else None)
        commit = Commit(self._keys)
        commit.records.append(("SET", self._keys.schema_version, str(SCHEMA_VERSION)))
        self._commit(commit)

    # reading

    def load(self) -> list[Client]:
        with self._redis.errors("read"):
            self._stored = self._not_lost(self._known_stored())
        known, self._clients = self._clients, {}
        for record in sorted(self._stored.items()):
            self._clients[record] = known[record] if record in known else read_client(*record)
        return [row for row in self._clients.values() if row is not None]

    def version(self) -> int:
        with self._redis.errors("read"):
            self._note_changes(self._counted())
            if time.monotonic() >= self._compare_at:
                self._compare()
        return self._others

    def _counted(self) -> int:
        return number(self._redis.texts([self._keys.changes])[0])

    def _note_changes(self, changes: int) -> None:
        self._others += changes != self._changes
        self._changes = changes

    def _note_stored(self, client_id: int, stored: bytes | None) -> None:
        self._others += stored != self._stored.get(client_id)

    def _compare(self) -> None:
        begun = time.monotonic()
        stored = self._not_lost(_all_stored(self._redis, self._keys))
        self._others += stored != self._stored
        self._stored = stored
        self._compared(time.monotonic() - begun)

    def _not_lost(self, stored: Stored) -> Stored:
        """Refuse a database that has no records any more: not even deleting all clients leaves none."""
        if self._stored and not stored:
            raise StorageError(
                f"The client database {self.settings} has lost its clients: no key {self._keys.prefix}:client:* is"
                " left. Put back a copy of the data of Redis, or restart the hub to begin without clients."
            )
        return stored

    def _compared(self, took_s: float) -> None:
        self._compare_at = time.monotonic() + max(COMPARE_EVERY_S, COMPARE_SHARE * took_s)

    def _known_stored(self) -> Stored:
        """Return the records without going through all keys: clients are numbered, and how far, is stored."""
        count, last_id = self._redis.texts([self._keys.count, self._keys.last_id])
        last = max(number(count), number(last_id))
        if last > 2 * len(self._stored) + SPARSE:
            return _all_stored(self._redis, self._keys)
        return _stored(self._redis, self._keys, sorted({*self._stored, *range(1, last + 1)}))

    def _read(self, client_id: int) -> bytes | None:
        (stored,) = self._redis.texts([self._keys.client(client_id)])
        self._note_stored(client_id, stored)
        return stored

    # writing

    def _until_done(self, attempt: Callable[[], T | None]) -> T:
        """Try until nobody else has written in between what is read and what is written."""
        with self._redis.errors("write"):
            for _ in range(ATTEMPTS):
                done = attempt()
                if done is not None:
                    return done
            raise OSError("other processes write to it all the time")

    def _commit(self, commit: Commit, stored: dict[int, str] | None = None) -> bool:
        return self._done(self._redis.commit(commit), stored or {})

    def _done(self, changes: int | None, stored: dict[int, str]) -> bool:
        """Note what a commit has written, unless it has written nothing."""
        if changes is None:
            return False
        self._changes += 1
        self._note_changes(changes)
        self._stored.update((client_id, text.encode()) for client_id, text in stored.items())
        return True

    def _write_one(self, client_id: int, change: Callable[[Record], Record | None]) -> Record | None:
        """Change one record; return it as it is then, or None where there is none to change."""

        def attempt() -> tuple[Record | None] | None:
            stored = self._read(client_id)
            before = decoded(client_id, stored) if stored is not None else None
            if stored is None or before is None or before["api_key"] == REVOKED:
                return (None,)
            after = change(before)
            if after is None:
                return (before,)
            commit = Commit(self._keys)
            commit.expect(self._keys.client(client_id), stored)
            after = {**after, "client_id": client_id}
            commit.replace(before, after)
            return (after,) if self._commit(commit, {client_id: encoded(after)}) else None

        return self._until_done(attempt)[0]

    def insert(self, client: Client) -> Client:
        return self._until_done(lambda: self._inserted(client))

    def _inserted(self, client: Client) -> Client | None:
        numbers = self._redis.texts([self._keys.count, self._keys.last_id])
        named = self._redis.members(self._keys.api_key(client.api_key))
        self._refuse_duplicate(client.api_key, ids(named))
        next_id = max(*map(number, numbers), *self._stored, 0) + 1
        while self._redis.exists(self._keys.client(next_id)):
            next_id += 1
        row = numbered(client, next_id)
        record = record_of(row)
        commit = Commit(self._keys)
        commit.expect(self._keys.count, numbers[0])
        commit.expect(self._keys.last_id, numbers[1])
        commit.expect(self._keys.client(next_id), None)
        commit.expect_members(self._keys.api_key(client.api_key), len(named))
        commit.add(record)
        commit.number(next_id, next_id)
        return row if self._commit(commit, {next_id: encoded(record)}) else None

    def _refuse_duplicate(self, api_key: str, indexed: Iterable[int]) -> None:
        known = (client_id for client_id, stored in self._stored.items() if api_key.encode() in stored)
        for client_id, stored in sorted(_stored(self._redis, self._keys, sorted({*indexed, *known})).items()):
            row = read_client(client_id, stored)
            if row is not None and row.api_key == api_key:
                raise DuplicateKey(row)

    def restore(self, clients: Iterable[Client]) -> None:
        rows = list(clients)
        records = records_of(rows)
        texts = {record["client_id"]: encoded(record) for record in records}
        with self._redis.errors("write"):
            numbers = self._redis.texts([self._keys.count, self._keys.last_id, self._keys.changes])
            if _all_stored(self._redis, self._keys):
                raise StorageError(f"The client database {self.settings} is not empty.")
            back = (read_client(client_id, text.encode()) for client_id, text in texts.items())
            check_same(rows, [row for row in back if row is not None], self.settings)
            commit = Commit(self._keys)
            for key, stored in zip((self._keys.count, self._keys.last_id, self._keys.changes), numbers, strict=True):
                commit.expect(key, stored)
            for record in records:
                commit.expect(self._keys.client(record["client_id"]), None)
                commit.add(record)
            last = max(*map(number, numbers[:2]), *texts, 0)
            commit.number(last, last)
            with closing(RedisConnection(self.settings, PATIENT_S)) as patient:
                changes = patient.commit(commit)
            if not self._done(changes, texts):
                raise StorageError(f"Somebody has written to the client database {self.settings} meanwhile.")

    def edit(self, client_id: int, change: Change) -> Client | None:
        def edited(record: Record) -> Record | None:
            columns = change(client_of(client_id, record))
            check_columns(columns)
            after = dict(record)
            put(after, columns)
            return None if after == record else after

        record = self._write_one(client_id, edited)
        return None if record is None else client_of(client_id, record)

    def touch(self, seen: Mapping[int, float]) -> None:
        wanted = sorted(seen)

        def attempt() -> bool | None:
            commit, texts = Commit(self._keys), {}
            for client_id, stored in _stored(self._redis, self._keys, wanted).items():
                self._note_stored(client_id, stored)
                record = decoded(client_id, stored)
                if record is not None and record["api_key"] != REVOKED:
                    after = {**record, "client_id": client_id, "last_seen": seen[client_id]}
                    commit.expect(self._keys.client(client_id), stored)
                    commit.touch(after)
                    texts[client_id] = encoded(after)
            return True if not texts or self._commit(commit, texts) else None

        self._until_done(attempt)

    def delete(self, client_id: int) -> bool:
        record = self._write_one(client_id, lambda record: buried(client_id))
        return record is not None

    def serve(self, patience_s: float) -> None:
        """Nothing is to be done: Redis keeps nobody waiting."""

    def close(self) -> None:
        self._redis.close()


def is_there(settings: RedisSettings) -> bool:
    """Tell whether there is a client database, with clients in it or without. Raises ConfigError, StorageError."""
    keys = Keys(settings.prefix)
    with closing(RedisConnection(settings)) as connection, connection.errors("read"):
        return connection.exists(keys.schema_version) or bool(_all_stored(connection, keys))


def read_redis(settings: RedisSettings) -> list[Client]:
    """Return every row; nothing is written. Raises ConfigError, StorageError, and that for a strange entry too."""
    keys = Keys(settings.prefix)
    with closing(RedisConnection(settings)) as connection, connection.errors("read"):
        version, stored = _schema_version(connection, keys, settings), _all_stored(connection, keys)
        if not stored and version == 1:
            raise StorageError(f"There is no client database {settings}, under keys that begin with {keys.prefix}:.")
        rows = {client_id: read_client(client_id, text) for client_id, text in sorted(stored.items())}
    for client_id, row in rows.items():
        if row is None:
            raise StorageError(f"In the client database {settings}, {keys.client(client_id)} is no record of a client.")
    return [row for row in rows.values() if row is not None]


def _schema_version(connection: RedisConnection, keys: Keys, settings: RedisSettings) -> int:
    """Return the version, 1 where none is told. Raises StorageError for one that nobody here knows yet."""
    version = number(connection.texts([keys.schema_version])[0]) or 1
    if version > SCHEMA_VERSION:
        raise StorageError(
            f"The client database {settings} has schema version {version}; this hub knows up to {SCHEMA_VERSION}."
            " Update hivemind-mesh."
        )
    return version


def _all_stored(connection: RedisConnection, keys: Keys) -> Stored:
    found = {keys.id_of(key) for key in connection.matching(keys.all_clients)}
    return _stored(connection, keys, sorted(client_id for client_id in found if client_id is not None))


def _stored(connection: RedisConnection, keys: Keys, client_ids: list[int]) -> Stored:
    """Return what is stored in the place of records, but for what a released hub is about to make."""
    texts = connection.texts([keys.client(client_id) for client_id in client_ids])
    found = zip(client_ids, texts, strict=True)
    return {client_id: text for client_id, text in found if text not in (None, BEING_MADE)}
