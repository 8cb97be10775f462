"""The keys of the released hub: their names, what is read from them, and what a change writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hivemind_core.clients import REVOKED, Client, tombstone
from hivemind_core.storage.records import record_of
from hivemind_core.storage.redis_keys import (
    Commit,
    Keys,
    buried,
    decoded,
    encoded,
    ids,
    number,
    read_client,
    records_of,
)

KEYS = Keys("client")
KITCHEN = Client(3, "k3", "kitchen", password="p", allowed_types=("speak",))


def test_keys_are_called_as_the_released_hub_calls_them() -> None:
    assert (KEYS.client(3), KEYS.index(3)) == ("client:client:3", "client:idx:3")
    assert (KEYS.name("kü che"), KEYS.api_key("k"), KEYS.copy("k")) == (
        "client:name:kü che",
        "client:api_key:k",
        "client:api_key_record:k",
    )
    assert (KEYS.count, KEYS.last_id, KEYS.schema_version) == ("client:count", "client:id_seq", "client:schema_version")


@pytest.mark.parametrize("prefix", ["client", "client:{tag}", "a*b?c[d]e\\f"])
def test_a_record_is_known_by_its_key(prefix: str) -> None:
    keys = Keys(prefix)
    assert keys.id_of(keys.client(12).encode()) == 12


@pytest.mark.parametrize("end", ["", "x", "01", "-1", "1:client:2", "1" * 19, "¹"])
def test_what_is_no_number_of_a_client_is_no_record(end: str) -> None:
    assert KEYS.id_of(f"client:client:{end}".encode()) is None


def test_the_pattern_stands_for_the_prefix_as_it_is() -> None:
    assert Keys("a*[b]").all_clients == "a\\*\\[b\\]:client:*"


@pytest.mark.parametrize(("stored", "value"), [(None, 0), (b"7", 7), (b"07", 0), (b"x", 0), (b"\xff", 0), (b"-1", 0)])
def test_a_stored_number(stored: bytes | None, value: int) -> None:
    assert number(stored) == value


def test_of_an_index_only_numbers_count() -> None:
    assert ids([b"1", b"x", b"20", b"\xff"]) == [1, 20]


# records


def test_a_record_has_sorted_keys_and_the_letters_as_they_are() -> None:
    text = encoded(record_of(Client(1, "k1", "kitchen é", password="p")))
    assert text == (
        '{"allowed_types": [], "api_key": "k1", "can_broadcast": true, "can_escalate": true, "can_propagate": true, '
        '"client_id": 1, "description": "", "is_admin": false, "last_seen": -1, "metadata": {}, "name": "kitchen é", '
        '"password": "p"}'
    )


def test_a_client_is_read_as_it_was_written() -> None:
    assert read_client(3, encoded(record_of(KITCHEN)).encode()) == KITCHEN
    assert read_client(3, b'{"api_key": "a"}') == Client(3, "a")


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"api_key": 5}',
        b'{"client_id": 3}',
        b'{"client_id": 4, "api_key": "a"}',
        b'{"client_id": "3", "api_key": "a"}',
        b'{"client_id": true, "api_key": "a"}',
        '{"api_key": "a"}'.encode("utf-16"),
    ],
)
def test_what_is_no_record_of_this_client_is_none(stored: bytes) -> None:
    assert decoded(3, stored) is None
    assert read_client(3, stored) is None


def test_of_a_client_that_a_released_hub_deleted_nothing_is_left_but_its_id() -> None:
    theirs = {**record_of(KITCHEN), "api_key": REVOKED, "is_admin": True, "metadata": {"noise_psk": "00"}}
    assert read_client(3, encoded(theirs).encode()) == tombstone(3)


def test_a_deleted_record_has_no_right_a_released_hub_could_read() -> None:
    record = buried(3)
    assert (record["api_key"], record["name"], record["password"]) == (REVOKED, "", None)
    assert (record["allowed_types"], record["metadata"]) == ([], {})
    assert not any(record[right] for right in ("is_admin", "can_broadcast", "can_escalate", "can_propagate"))
    assert record.keys() == record_of(KITCHEN).keys()
    assert records_of([tombstone(3), KITCHEN]) == [buried(3), record_of(KITCHEN)]


# what a change writes


def written(commit: Commit) -> list[list[Any]]:
    """The commands of a commit as the script runs them."""
    keys, words = commit.words()
    assert keys[0] == "client:changes"
    at, commands = 1 + 2 * int(words[0]), []
    while at < len(words):
        count = int(words[at])
        name, key, *rest = words[at + 1 : at + 1 + count]
        commands.append([name, keys[int(key) - 1], *rest])
        at += 1 + count
    return commands


def test_looks_name_their_keys_by_number() -> None:
    commit = Commit(KEYS)
    commit.expect("client:count", b"7")
    commit.expect("client:client:8", None)
    commit.expect_members("client:api_key:k", 2)
    commit.expect("client:count", b"7")
    keys, words = commit.words()
    assert keys == ["client:changes", "client:count", "client:client:8", "client:api_key:k"]
    assert words == ["4", "2", "=7", "3", "", "4", "#2", "2", "=7"]


def test_a_new_client_is_in_every_index() -> None:
    commit = Commit(KEYS)
    commit.add(record_of(KITCHEN))
    commit.number(3, 3)
    assert written(commit) == [
        ["SET", "client:client:3", encoded(record_of(KITCHEN))],
        ["SET", "client:count", "3"],
        ["SET", "client:id_seq", "3"],
        ["SET", "client:schema_version", "2"],
        ["SADD", "client:name:kitchen", "3"],
        ["SADD", "client:api_key:k3", "3"],
        ["HSET", "client:idx:3", "name", "kitchen", "api_key", "k3"],
        ["DEL", "client:api_key_record:k3"],
    ]


def test_other_rights_change_no_index_but_end_the_copy() -> None:
    after = {**record_of(KITCHEN), "is_admin": True}
    commit = Commit(KEYS)
    commit.replace(record_of(KITCHEN), after)
    assert written(commit) == [["SET", "client:client:3", encoded(after)], ["DEL", "client:api_key_record:k3"]]


def test_another_name_and_key_move_in_the_indexes() -> None:
    after = {**record_of(KITCHEN), "name": "bedroom", "api_key": "new"}
    commit = Commit(KEYS)
    commit.replace(record_of(KITCHEN), after)
    assert written(commit)[1:] == [
        ["DEL", "client:api_key_record:k3"],
        ["SREM", "client:name:kitchen", "3"],
        ["SREM", "client:api_key:k3", "3"],
        ["SADD", "client:name:bedroom", "3"],
        ["SADD", "client:api_key:new", "3"],
        ["HSET", "client:idx:3", "name", "bedroom", "api_key", "new"],
        ["DEL", "client:api_key_record:new"],
    ]


def test_a_deleted_client_has_no_name_to_be_found_by() -> None:
    commit = Commit(KEYS)
    commit.replace(record_of(KITCHEN), buried(3))
    commands = written(commit)
    assert json.loads(commands[0][2])["api_key"] == REVOKED
    assert ["SADD", "client:api_key:revoked", "3"] in commands
    assert ["HSET", "client:idx:3", "name", "", "api_key", REVOKED] in commands
    assert not any(command[:2] == ["SADD", "client:name:"] for command in commands)


def test_being_seen_is_a_record_and_its_copy() -> None:
    after = {**record_of(KITCHEN), "last_seen": 5.0}
    commit = Commit(KEYS)
    commit.touch(after)
    assert written(commit) == [["SET", "client:client:3", encoded(after)], ["DEL", "client:api_key_record:k3"]]
