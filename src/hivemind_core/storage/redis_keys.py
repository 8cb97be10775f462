"""The clients in Redis, in the keys of the released hub: how they are called, and what a change writes into them.

P is the prefix. `P:client:<id>` is a record as JSON; all else follows from the records: `P:name:<name>` and
`P:api_key:<key>` are sets of ids (those of deleted clients are in `P:api_key:revoked`), `P:idx:<id>` holds both for
searches, `P:api_key_record:<key>` is a copy that released hubs keep for a minute. `P:count` and `P:id_seq` number new
clients, `P:schema_version` is "2". `P:changes` is ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..clients import REVOKED, Client
from .records import SCHEMA_VERSION, Record, client_of, record_of

BEING_MADE = b"__hivemind_creating__"
"""Stands in the place of a record while a released hub adds it."""
ID_DIGITS = 18
_GLOB = str.maketrans({character: f"\\{character}" for character in "*?[]^-\\"})
_RIGHTS = ("is_admin", "can_broadcast", "can_escalate", "can_propagate")


@dataclass(frozen=True)
class Keys:
    """Names of the keys under a prefix."""

    prefix: str

    def client(self, client_id: int) -> str:
        return f"{self.prefix}:client:{client_id}"

    def index(self, client_id: int) -> str:
        return f"{self.prefix}:idx:{client_id}"

    def name(self, name: str) -> str:
        return f"{self.prefix}:name:{name}"

    def api_key(self, api_key: str) -> str:
        return f"{self.prefix}:api_key:{api_key}"

    def copy(self, api_key: str) -> str:
        return f"{self.prefix}:api_key_record:{api_key}"

    @property
    def count(self) -> str:
        return f"{self.prefix}:count"

    @property
    def last_id(self) -> str:
        return f"{self.prefix}:id_seq"

    @property
    def schema_version(self) -> str:
        return f"{self.prefix}:schema_version"

    @property
    def changes(self) -> str:
        return f"{self.prefix}:changes"

    @property
    def all_clients(self) -> str:
        """The pattern that the keys of records match."""
        return f"{self.prefix.translate(_GLOB)}:client:*"

    def id_of(self, key: bytes) -> int | None:
        """Return whose record is under a key; None where there can be none."""
        text = key[len(self.client(0).encode()) - 1 :].decode("ascii", "replace")
        return int(text) if is_id(text) else None


def is_id(text: str) -> bool:
    """Tell whether this is a number of a client as it is written in keys."""
    return text.isascii() and text.isdecimal() and len(text) <= ID_DIGITS and text == str(int(text))


def number(stored: bytes | None) -> int:
    """Return a stored number; 0 where there is none, and for anything else."""
    text = (stored or b"").decode("ascii", "replace")
    return int(text) if is_id(text) else 0


# records


def encoded(record: Record) -> str:
    """Return a record as it is stored."""
    return json.dumps(record, sort_keys=True, ensure_ascii=False)


def decoded(client_id: int, stored: bytes) -> Record | None:
    """Return a record; None for what is none, and for that of another client."""
    try:
        record = json.loads(stored.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("api_key"), str):
        return None
    told = record.get("client_id", client_id)
    return record if type(told) is int and told == client_id else None


def read_client(client_id: int, stored: bytes) -> Client | None:
    """Return a client; None where there is no record of one. Of a deleted one nothing is left but its id.

    Released hubs leave their rights and metadata in the records of clients that they delete.
    """
    record = decoded(client_id, stored)
    if record is None:
        return None
    return Client(client_id, REVOKED) if record["api_key"] == REVOKED else client_of(client_id, record)


def buried(client_id: int) -> Record:
    """Return the record of a deleted client, which has no right a connection of it could go on with."""
    return {**record_of(Client(client_id, REVOKED)), **dict.fromkeys(_RIGHTS, False)}


# what a change writes


@dataclass
class Commit:
    """Writes that are done as one step, if what was looked at before is still so; see schema/commit.lua."""

    keys: Keys
    looks: list[tuple[str, str]] = field(default_factory=list)
    """Keys, and what must be found there."""
    records: list[tuple[str, ...]] = field(default_factory=list)
    """Commands, their key second; they come first."""
    indexes: list[tuple[str, ...]] = field(default_factory=list)

    def expect(self, key: str, stored: bytes | None) -> None:
        """Do it only while a key holds this text; None: while there is no such key."""
        self.looks.append((key, "" if stored is None else f"={stored.decode()}"))

    def expect_members(self, key: str, members: int) -> None:
        """Do it only while a set has so many members."""
        self.looks.append((key, f"#{members}"))

    def add(self, record: Record) -> None:
        """Put the record of a new client, and that this is the version."""
        self._set(record)
        self._enter(record)
        self._drop_copy(record)

    def number(self, count: int, last_id: int) -> None:
        """Say how many there have been, for the numbers of those to come; released hubs go by the first."""
        self.records += [("SET", self.keys.count, str(count)), ("SET", self.keys.last_id, str(last_id))]
        self.records.append(("SET", self.keys.schema_version, str(SCHEMA_VERSION)))

    def replace(self, before: Record, after: Record) -> None:
        """Put another record in the place of one."""
        self._set(after)
        self._drop_copy(before)
        if any(before.get(key) != after.get(key) for key in ("name", "api_key")):
            client_id = str(after["client_id"])
            self.indexes.append(("SREM", self.keys.name(_text(before, "name")), client_id))
            self.indexes.append(("SREM", self.keys.api_key(before["api_key"]), client_id))
            self._enter(after)
            self._drop_copy(after)

    def touch(self, record: Record) -> None:
        """Put a record whose client is called as before."""
        self._set(record)
        self._drop_copy(record)

    def words(self) -> tuple[list[str], list[str]]:
        """Return the keys and the arguments for the script."""
        commands = [*self.records, *self.indexes]
        keys = list(dict.fromkeys([self.keys.changes, *(key for key, _ in self.looks), *(c[1] for c in commands)]))
        numbers = {key: str(place) for place, key in enumerate(keys, 1)}
        words = [str(len(self.looks))]
        for key, wanted in self.looks:
            words += [numbers[key], wanted]
        for name, key, *rest in commands:
            words += [str(2 + len(rest)), name, numbers[key], *rest]
        return keys, words

    def _set(self, record: Record) -> None:
        self.records.append(("SET", self.keys.client(record["client_id"]), encoded(record)))

    def _enter(self, record: Record) -> None:
        client_id, name, api_key = record["client_id"], _text(record, "name"), record["api_key"]
        if name:
            self.indexes.append(("SADD", self.keys.name(name), str(client_id)))
        self.indexes.append(("SADD", self.keys.api_key(api_key), str(client_id)))
        self.indexes.append(("HSET", self.keys.index(client_id), "name", name, "api_key", api_key))

    def _drop_copy(self, record: Record) -> None:
        self.indexes.append(("DEL", self.keys.copy(record["api_key"])))


def _text(record: Record, key: str) -> str:
    return str(record.get(key) or "")


def records_of(clients: Iterable[Client]) -> list[Record]:
    """Return records of clients, those of deleted ones included."""
    return [buried(one.client_id) if one.is_revoked else record_of(one) for one in clients]


def ids(members: Iterable[Any]) -> list[int]:
    """Return the numbers in an index; anything else in it is passed over."""
    return [int(text) for text in (bytes(member).decode("ascii", "replace") for member in members) if is_id(text)]
