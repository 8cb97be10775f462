"""The JSON file: as the released hub makes it, of older and later versions, damaged, and its owner's alone."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hivemind_core.clients import Client, tombstone
from hivemind_core.storage import StorageError
from hivemind_core.storage.json import JSONStore, read_json

NEW_ROW = """{
    "1": {
        "client_id": 1,
        "api_key": "kz",
        "name": "né",
        "description": "",
        "is_admin": false,
        "last_seen": -1,
        "allowed_types": [
            "x.y"
        ],
        "password": "p",
        "can_broadcast": true,
        "can_escalate": true,
        "can_propagate": true,
        "metadata": {}
    }
}"""
"""As a released hub 5.3.10a1 writes a client it adds."""
V1_ROW = {
    "client_id": 1,
    "api_key": "key-1",
    "name": "kitchen",
    "description": "",
    "is_admin": False,
    "last_seen": -1,
    "intent_blacklist": None,
    "skill_blacklist": None,
    "message_blacklist": None,
    "allowed_types": ["speak"],
    "crypto_key": "2babb75316c90c2c",
    "password": "p",
    "can_broadcast": True,
    "can_escalate": False,
    "can_propagate": True,
    "metadata": {},
}
"""As a released hub 4.0.0 writes one."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "clients.json"


def make(path: Path, document: Any, version: str | None = "2") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    if version is not None:
        path.with_suffix(".schema_version").write_text(version)


def load(path: Path) -> dict[int, Client]:
    with closing(JSONStore(path)) as store:
        return {row.client_id: row for row in store.load()}


def document(path: Path) -> dict[str, dict[str, Any]]:
    return dict(json.loads(path.read_text("utf-8")))


def files(path: Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in path.parent.iterdir() if item.suffix != ".lock"}


# the released file


def test_a_new_client_is_written_as_the_released_hub_writes_it(path: Path) -> None:
    with closing(JSONStore(path)) as store:
        store.insert(Client(0, "kz", "né", password="p", allowed_types=("x.y",)))
    assert path.read_text("utf-8") == NEW_ROW
    assert path.with_suffix(".schema_version").read_text() == "2"


def test_a_deleted_row_is_a_fresh_record_with_nothing_but_its_id(path: Path) -> None:
    """A released hub 5.3.10a1 leaves the crypto key of a client it deletes in the file."""
    make(path, {"1": V1_ROW})
    with closing(JSONStore(path)) as store:
        store.delete(1)
    assert document(path)["1"] == {
        **json.loads(NEW_ROW)["1"],
        "api_key": "revoked",
        "name": "",
        "allowed_types": [],
        "password": None,
    }


def test_a_write_touches_only_the_fields_it_means(path: Path) -> None:
    rows: dict[str, Any] = {
        "1": {"client_id": 1, "api_key": "a", "crypto_key": "c", "future": {"x": [1]}},
        "2": {"client_id": 2, "api_key": "b", "future": None},
        "notes": "of somebody else",
    }
    make(path, rows)
    with closing(JSONStore(path)) as store:
        store.edit(1, lambda row: {"name": "x"})
        store.touch({2: 5.0})
    assert document(path) == {
        "1": {**rows["1"], "name": "x"},
        "2": {**rows["2"], "last_seen": 5.0},
        "notes": "of somebody else",
    }


def test_a_field_nobody_knows_is_metadata_until_it_is_taken_from_there(path: Path) -> None:
    make(path, {"1": {"client_id": 1, "api_key": "a", "crypto_key": "c", "future": 1}})

    def without(key: str) -> Mapping[str, Any]:
        return {"metadata": {name: value for name, value in row.metadata.items() if name != key}}

    with closing(JSONStore(path)) as store:
        (row,) = store.load()
        assert row.metadata == {"crypto_key": "c", "future": 1}
        store.edit(1, lambda row: without("future"))
        assert store.load()[0].metadata == {"crypto_key": "c"}
    assert document(path)["1"] == {"client_id": 1, "api_key": "a", "crypto_key": "c", "metadata": {"crypto_key": "c"}}


def test_garbage_in_a_row_reads_as_no_rights_and_hides_no_other(path: Path) -> None:
    """The released hub could not be started, or any command run, with such a file."""
    rows = {
        "1": {"client_id": 1, "api_key": "a", "allowed_types": "speak", "metadata": 7, "password": 1, "is_admin": "x"},
        "2": 5,
        "x": {"client_id": "9", "api_key": "b"},
        "4": {"api_key": "d"},
        "5": {"client_id": 5},
        "9" * 5000: None,
        "8": {"client_id": 6, "api_key": "f", "name": "elsewhere"},
        "6": {"client_id": 6, "api_key": "f", "name": "at home"},
    }
    make(path, rows)
    with closing(JSONStore(path)) as store:
        assert store.load() == [Client(1, "a"), Client(4, "d"), Client(6, "f", "at home")]
        assert store.insert(Client(0, "new")).client_id == 9
        assert {key: value for key, value in document(path).items() if key != "9"} == rows


# version 1


@pytest.mark.parametrize("version", [None, "1", "", "garbage"])
def test_a_file_of_version_1_is_upgraded_as_the_released_hub_does(path: Path, version: str | None) -> None:
    second = {"client_id": 2, "api_key": "b", "skill_blacklist": ["s"], "intent_blacklist": ["i"], "odd": [1]}
    metadata = {"skill_blacklist": ["own"], "message_blacklist": ["x"], "role": "guest"}
    third = {"client_id": 3, "api_key": "c", "skill_blacklist": ["s"], "message_blacklist": ["m"], "metadata": metadata}
    make(path, {"1": V1_ROW, "2": second, "3": third}, version)
    rows = load(path)
    assert path.with_suffix(".schema_version").read_text() == "2"
    assert document(path) == {
        "1": {key: value for key, value in V1_ROW.items() if "blacklist" not in key},
        "2": {
            "client_id": 2,
            "api_key": "b",
            "odd": [1],
            "metadata": {"skill_blacklist": ["s"], "intent_blacklist": ["i"]},
        },
        "3": {"client_id": 3, "api_key": "c", "metadata": {"skill_blacklist": ["own"], "role": "guest"}},
    }
    assert rows[1].metadata == {"crypto_key": "2babb75316c90c2c"}
    assert not rows[1].can_escalate


def test_rows_a_released_hub_of_version_1_added_later_are_read_too(path: Path) -> None:
    make(path, {"1": {**V1_ROW, "skill_blacklist": ["s"], "intent_blacklist": []}}, "2")
    assert load(path)[1].metadata == {"crypto_key": "2babb75316c90c2c", "skill_blacklist": ["s"]}


def test_reading_alone_upgrades_nothing(path: Path) -> None:
    make(path, {"1": {**V1_ROW, "skill_blacklist": ["s"]}}, None)
    before = files(path)
    (row,) = read_json(path)
    assert row.metadata == {"crypto_key": "2babb75316c90c2c", "skill_blacklist": ["s"]}
    assert {item.name for item in path.parent.iterdir()} == {"clients.json"}
    assert files(path) == before


# files that are refused


def test_a_later_version_is_refused_and_left_alone(path: Path) -> None:
    make(path, {"1": V1_ROW}, "3")
    before = files(path)
    for opening in (JSONStore, read_json):
        with pytest.raises(StorageError, match=r"clients\.json has schema version 3; this hub knows up to 2"):
            opening(path)
    assert files(path) == before


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"1": {"client_id": 1, '])
@pytest.mark.parametrize("version", [None, "2"])
def test_a_broken_file_is_an_error_and_left_alone(path: Path, broken: str, version: str | None) -> None:
    """A released hub took it for an empty one, and wrote over it with the next client."""
    make(path, {}, version)
    path.write_text(broken)
    before = files(path)
    for opening in (JSONStore, read_json):
        with pytest.raises(StorageError, match=r"client database .*clients\.json: .*left as it is"):
            opening(path)
    assert files(path) == before


def test_a_file_that_breaks_while_it_is_in_use_is_an_error_and_left_alone(path: Path) -> None:
    with closing(JSONStore(path)) as store:
        store.insert(Client(0, "a"))
        path.write_text("{")
        for call in (store.load, lambda: store.insert(Client(0, "b")), lambda: store.touch({1: 5})):
            with pytest.raises(StorageError, match="left as it is"):
                call()
        assert path.read_text() == "{"


def test_a_file_that_was_deleted_is_an_error_not_an_empty_one(path: Path) -> None:
    with closing(JSONStore(path)) as store:
        store.insert(Client(0, "a"))
        path.unlink()
        for call in (store.load, store.version, lambda: store.insert(Client(0, "b"))):
            with pytest.raises(StorageError, match="No such file"):
                call()
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "clients.json"):
        with pytest.raises(StorageError, match="Could not open the client database"):
            JSONStore(path)


def test_text_that_cannot_be_stored_is_an_error_and_changes_nothing(path: Path) -> None:
    with closing(JSONStore(path)) as store:
        store.insert(Client(0, "a"))
        before = path.read_bytes()
        with pytest.raises(StorageError, match="surrogates"):
            store.insert(Client(0, "key", "\udcff"))
    assert path.read_bytes() == before


def test_an_entry_that_is_no_client_is_not_copied_in_silence(path: Path) -> None:
    make(path, {"1": V1_ROW, "x": 5})
    with pytest.raises(StorageError, match="the entry 'x' is no record of a client"):
        read_json(path)


# others


def test_what_a_released_hub_writes_at_the_same_time_is_not_lost(path: Path) -> None:
    """It does not know our lock, so it may write between our reading and our writing."""
    with closing(JSONStore(path)) as store:
        store.insert(Client(0, "a"))
        seen: list[str] = []

        def change(row: Client) -> Mapping[str, Any]:
            seen.append(row.name)
            if len(seen) == 1:
                theirs = document(path)
                path.write_text(json.dumps({"1": {**theirs["1"], "name": "theirs"}, "2": {**V1_ROW, "client_id": 2}}))
            return {"description": f"of {row.name}"}

        row = store.edit(1, change)
        assert seen == ["HiveMind-Node-0", "theirs"]
        assert row is not None
        assert (row.name, row.description) == ("theirs", "of theirs")
        assert store.load()[0] == row
        assert [row.client_id for row in store.load()] == [1, 2]


def test_the_files_of_a_released_hub_become_their_owners_alone(path: Path) -> None:
    make(path, {"1": V1_ROW})
    path.chmod(0o644)
    assert load(path)[1].api_key == "key-1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_change_of_nothing_does_not_write_the_file(path: Path) -> None:
    with closing(JSONStore(path)) as store:
        store.insert(Client(0, "a", last_seen=5))
        before = path.stat()
        store.touch({1: 5, 7: 5})
        store.edit(1, lambda row: {"name": row.name})
        store.delete(9)
        assert path.stat() == before


def test_a_deleted_row_of_a_released_hub_is_a_tombstone(path: Path) -> None:
    make(path, {"3": {**json.loads(NEW_ROW)["1"], "client_id": 3, "api_key": "revoked", "name": "", "password": None,
                      "allowed_types": []}})  # fmt: skip
    assert load(path) == {3: tombstone(3)}


def test_a_file_that_cannot_be_read_is_let_go_of(tmp_path: Path) -> None:
    (tmp_path / "clients.json").write_text("{")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(StorageError):
            JSONStore(tmp_path / "clients.json")
    assert len(list(Path("/dev/fd").iterdir())) < before + 20
