"""A client as a JSON object: what is kept, what is moved, and what does not come back."""

from __future__ import annotations

from hivemind_core.clients import Client
from hivemind_core.storage.records import client_of, put, record_of, upgraded

KITCHEN = Client(3, "key", "kitchen", allowed_types=("speak",), password="p", metadata={"role": "guest"})


def test_a_client_is_read_as_it_was_written() -> None:
    assert client_of(3, record_of(KITCHEN)) == KITCHEN
    assert type(record_of(KITCHEN)["allowed_types"]) is list


def test_the_number_counts_under_which_a_record_is_kept() -> None:
    assert client_of(5, {"client_id": 3, "api_key": "key"}).client_id == 5


def test_what_version_1_had_at_the_top_is_moved_where_the_metadata_has_it_not() -> None:
    old = {"api_key": "a", "skill_blacklist": ["s"], "intent_blacklist": ["i"], "message_blacklist": ["m"], "x": 1}
    new = {"api_key": "a", "x": 1}
    assert upgraded(old) == {**new, "metadata": {"skill_blacklist": ["s"], "intent_blacklist": ["i"]}}
    theirs = {"skill_blacklist": ["own"], "message_blacklist": ["m"]}
    assert upgraded({**old, "metadata": theirs}) == {
        **new,
        "metadata": {"skill_blacklist": ["own"], "intent_blacklist": ["i"]},
    }


def test_a_record_of_version_2_is_upgraded_to_itself() -> None:
    assert upgraded(record_of(KITCHEN)) == record_of(KITCHEN)


def test_writing_a_column_leaves_the_others_and_what_nobody_knows() -> None:
    record = {**record_of(KITCHEN), "future": 1}
    put(record, {"name": "bedroom", "allowed_types": ("x", "y")})
    assert record == {**record_of(KITCHEN), "future": 1, "name": "bedroom", "allowed_types": ["x", "y"]}


def test_what_is_taken_from_the_metadata_does_not_come_back_from_beside_it() -> None:
    record = {"api_key": "a", "crypto_key": "c", "future": 1}
    put(record, {"metadata": {"future": 1}})
    assert record == {"api_key": "a", "future": 1, "metadata": {"future": 1}}
