"""``clients.json``: read, or refused and left as it is; its clients can knock, and what is changed comes back."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from fuzz.inputs import HOSTILE_JSON, Choices
from fuzz.place import emptied, write
from fuzz.sayings import check_sentence
from fuzz.small_hub import SmallHub
from hivemind_core.clients import CLIENT_FIELDS, REVOKED, Client
from hivemind_core.database import ClientDatabase
from hivemind_core.storage import DuplicateKey, StorageError
from hivemind_core.storage.json import JSONStore

VERSIONS = (b"2", b"1", b"3", b"", b"two", b"\xff", b"99999999999999999999")
MAX_ROWS = 8

WORDS: tuple[str, ...] = (*(f'"{name}": ' for name in CLIENT_FIELDS),)


def seeds() -> Iterator[bytes]:
    row = {
        "client_id": 1,
        "api_key": "key",
        "name": "kitchen",
        "description": "",
        "is_admin": False,
        "last_seen": -1,
        "allowed_types": ["recognizer_loop:utterance"],
        "password": "walnut lantern orbit cipher",
        "can_broadcast": True,
        "can_escalate": True,
        "can_propagate": True,
        "metadata": {"crypto_key": "0123456789abcdef", "skill_blacklist": ["x"]},
    }
    for version in range(len(VERSIONS)):
        yield bytes([version]) + json.dumps({"1": row}).encode()
    for text in HOSTILE_JSON:
        yield b"\0" + text
        yield b'\0{"1": {"api_key": "k", "client_id": 1, "metadata": ' + text + b"}}"
        yield (
            b'\1{"1": {"api_key": "k", "client_id": 1, "metadata": {"crypto_key": ' + text + b'}, "x": ' + text + b"}}"
        )
    tombstone = {"2": {"client_id": 2, "api_key": REVOKED}}
    yield b"\0" + json.dumps({"1": row, **tombstone, "5": {**row, "client_id": 5, "api_key": "other"}}).encode()
    yield b"\1" + json.dumps({"1": {**row, "skill_blacklist": ["a"], "message_blacklist": ["b"], "extra": 1}}).encode()
    yield b"\0{}"
    yield b"\0// a comment\n{}"


def run(data: bytes) -> None:
    choices = Choices(data)
    place = emptied("clients")
    version, text = choices.byte(), choices.rest()
    path = write(place / "clients.json", text)
    if version < len(VERSIONS):
        write(path.with_suffix(".schema_version"), VERSIONS[version])
    try:
        store = JSONStore(path)
    except StorageError as error:
        check_sentence(str(error))
        assert path.read_bytes() == text, "a file that could not be read was changed"
        return
    try:
        _use(store, path)
    finally:
        store.close()


def _use(store: JSONStore, path: Path) -> None:
    try:
        db = ClientDatabase(store)
    except StorageError as error:
        check_sentence(str(error))
        return
    rows = db.all()
    _knock(rows[:MAX_ROWS])
    try:
        added = db.add(Client(0, "a key of its own", "new", password="p", metadata={"a": [1]}))
        db.patch_metadata(added.client_id, {"b": None})
        for row in rows[:MAX_ROWS]:
            db.update(row.client_id, {"name": "another", "is_admin": True})
        db.touch({row.client_id: 5.0 for row in rows})
    except DuplicateKey:
        return
    except StorageError as error:
        check_sentence(str(error))
        return
    after = ClientDatabase(JSONStore(path))
    assert _told(after.all()) == _told(db.all()), "what was written is not what is read"
    assert len(after) == len(rows) + 1, "a client was lost"
    after.close()


def _told(rows: list[Client]) -> list[str]:
    """Not a number equals nothing, itself included."""
    return [repr(row) + json.dumps([row.password, row.metadata], sort_keys=True) + row.api_key for row in rows]


def _knock(rows: list[Client]) -> None:
    """Nothing that a row holds makes a hub fail when its client comes."""
    tokens = [b64encode(b"fuzz:" + row.api_key.encode("utf-8", "replace")).decode() for row in rows]
    SmallHub(rows).visits(tokens)
