"""Records: how stored ones are read, what a new and a deleted one are."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from hivemind_core.clients import REVOKED, Client, client_from_record, numbered, tombstone

SECRET = "not for the log"


def read(**fields: object) -> Client:
    return client_from_record({"client_id": 1, "api_key": "key", **fields})


def test_absent_fields_are_those_of_a_new_client() -> None:
    assert read() == Client(1, "key")


def test_all_fields_are_read() -> None:
    fields = {
        "name": "kitchen",
        "description": "by the door",
        "is_admin": True,
        "last_seen": 12.5,
        "allowed_types": ["speak"],
        "password": "p",
        "can_broadcast": False,
        "can_escalate": 0,
        "can_propagate": 1,
        "metadata": {"role": "guest"},
    }
    assert read(**fields) == Client(
        1, "key", "kitchen", "by the door", True, 12.5, ("speak",), "p", False, False, True, {"role": "guest"}
    )


def test_unknown_fields_are_kept_in_the_metadata_which_wins() -> None:
    row = read(crypto_key="0123", role="admin", nothing=None, metadata={"role": "guest"})
    assert row.metadata == {"crypto_key": "0123", "role": "guest"}


def test_blacklists_of_old_records_are_found_and_that_of_messages_is_dropped() -> None:
    row = read(skill_blacklist=["s.a"], intent_blacklist=["i.a"], message_blacklist=["m"])
    assert (row.skill_blacklist, row.intent_blacklist) == (["s.a"], ["i.a"])
    assert "message_blacklist" not in row.metadata


@pytest.mark.parametrize("garbage", [None, "text", 7, [], {"a": 1}, b"\xff"])
def test_garbage_grants_nothing(garbage: object) -> None:
    flags = dict.fromkeys(("is_admin", "can_broadcast", "can_escalate", "can_propagate"), garbage)
    row = read(allowed_types=garbage, password=garbage, metadata=garbage, last_seen=garbage, **flags)
    assert (row.is_admin, row.can_broadcast, row.can_escalate, row.can_propagate) == (False,) * 4
    assert row.allowed_types == ()
    assert row.password in (None, "text")
    assert row.metadata in ({}, {"a": 1})


def test_names_in_lists_are_texts() -> None:
    row = read(allowed_types=["speak", 3, None], metadata={"skill_blacklist": ["s.a", 1], "intent_blacklist": "i"})
    assert row.allowed_types == ("speak",)
    assert (row.skill_blacklist, row.intent_blacklist) == (["s.a"], [])


def test_a_new_client_is_named_after_its_id_unless_it_has_a_name() -> None:
    assert numbered(Client(0, "key"), 3) == Client(3, "key", "HiveMind-Node-2")
    assert numbered(Client(0, "key", "kitchen"), 3) == Client(3, "key", "kitchen")


def test_a_tombstone_keeps_the_id_alone() -> None:
    assert tombstone(4) == Client(4, REVOKED, "", "", False, -1, (), None, True, True, True, {})
    assert tombstone(4).is_revoked


def test_secrets_are_not_shown_and_records_do_not_change() -> None:
    row = Client(1, SECRET, "kitchen", password=SECRET, metadata={"noise_psk": SECRET})
    assert SECRET not in repr(row)
    with pytest.raises(FrozenInstanceError):
        row.name = "other"  # type: ignore[misc]
