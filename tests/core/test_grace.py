"""Two passwords of one client: what stands in the row, which of them counts when, and which is tried first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hivemind_core.client_metadata import KNOWN, is_secret, problem_with, shown, without_secrets
from hivemind_core.clients import Client
from hivemind_core.grace import KEYS, MOVED, PASSWORD, UNTIL, USED, Choices, ended, ended_by, grace_of, rotated

HEX = "0a" * 32
HOME, ELSEWHERE = "192.0.2.1", "192.0.2.2"
ROW = Client(
    1,
    "key",
    "kitchen",
    password="old",
    metadata={"noise_psk": HEX, "noise_psk_for": HEX, "noise_pubkey": HEX, "allow_weak_password": True, "age": 7},
)


def after(row: Client, password: str, until: float | None, *, allow_weak: bool = False) -> Client:
    return replace(row, **rotated(row, password, until, allow_weak=allow_weak))


def test_the_previous_password_keeps_what_belongs_to_it() -> None:
    row = after(ROW, "new", 200.0)
    assert row.password == "new"
    assert row.metadata == {
        "noise_pubkey": HEX,
        "age": 7,
        PASSWORD: "old",
        UNTIL: 200.0,
        **dict.fromkeys(("previous_noise_psk", "previous_noise_psk_for"), HEX),
        "previous_allow_weak_password": True,
    }
    assert problem_with(row.metadata) is None


def test_it_is_valid_until_its_time_and_no_longer() -> None:
    row = after(ROW, "new", 200.0)
    valid = grace_of(row, 199.9)
    assert valid is not None
    assert (valid.password, valid.until, valid.used) == ("old", 200.0, None)
    assert grace_of(row, 200.0) is None
    assert "old" not in repr(valid)


def test_without_a_grace_nothing_of_the_old_password_is_kept() -> None:
    row = after(ROW, "new", None, allow_weak=True)
    assert row.metadata == {"noise_pubkey": HEX, "age": 7, "allow_weak_password": True}


def test_a_second_rotation_ends_the_password_before_the_previous_one() -> None:
    once = after(ROW, "new", 200.0)
    used = replace(once, metadata={**once.metadata, USED: 150.0, "noise_psk": "0b" * 32})
    twice = after(used, "newer", 190.0)
    valid = grace_of(twice, 180.0)
    assert valid is not None
    assert (valid.password, valid.until, valid.used) == ("new", 190.0, None)
    assert "old" not in map(str, twice.metadata.values())
    assert twice.metadata["previous_noise_psk"] == "0b" * 32
    assert "previous_noise_psk_for" not in twice.metadata
    assert grace_of(after(used, "newer", None), 180.0) is None


def test_a_row_that_had_no_password_has_no_previous_one() -> None:
    assert after(replace(ROW, password=None, metadata={}), "new", 200.0).metadata == {}


def test_ending_takes_out_all_that_was_kept_and_nothing_else() -> None:
    row = after(ROW, "new", 200.0)
    assert ended_by(row, 199.0) == {}
    assert ended_by(row, 200.0) == ended(row) == {"metadata": {"noise_pubkey": HEX, "age": 7}}
    assert ended(ROW) == ended_by(ROW, 200.0) == {}


@pytest.mark.parametrize("until", [None, "200", True, float("nan"), float("inf"), [200]])
def test_a_time_that_is_none_makes_no_password_valid(until: Any) -> None:
    row = replace(ROW, metadata={PASSWORD: "old", UNTIL: until})
    assert grace_of(row, 100.0) is None
    assert ended_by(row, 100.0) == {"metadata": {}}


@pytest.mark.parametrize("password", [None, "", 7, ["old"]])
def test_what_is_no_password_is_none(password: Any) -> None:
    assert grace_of(replace(ROW, metadata={PASSWORD: password, UNTIL: 200.0}), 100.0) is None


def test_nobody_is_shown_what_is_kept() -> None:
    row = after(ROW, "new", 200.0)
    assert "old" not in repr(row)
    for seen in (shown(row.metadata), without_secrets(row.metadata)):
        assert not {"old", HEX} & {value for key, value in seen.items() if key != "noise_pubkey"}
    assert set(KEYS) <= KNOWN.keys()
    assert all(is_secret(key) for key in (PASSWORD, MOVED["noise_psk"], MOVED["noise_psk_for"]))


# which one is tried first


@pytest.fixture
def row() -> Client:
    return after(ROW, "new", 200.0)


def test_the_new_one_is_first(row: Client) -> None:
    assert not Choices().previous_first(row, HOME, "old")


def test_after_a_failure_it_is_the_others_turn_at_that_address(row: Client) -> None:
    choices = Choices()
    tried = []
    for _ in range(4):
        previous = choices.previous_first(row, HOME, "old")
        tried.append(previous)
        choices.failed(row, HOME, "old" if previous else "new")
    assert tried == [False, True, False, True]
    assert not choices.previous_first(row, ELSEWHERE, "old")


def test_a_device_that_begins_anew_each_time_is_remembered(row: Client) -> None:
    choices = Choices()
    choices.came_in(ROW, HOME, "old", anew=True)  # before there was a new one
    assert choices.previous_first(row, HOME, "old")
    assert choices.previous_first(row, ELSEWHERE, "old")
    choices.failed(row, HOME, "old")
    assert not choices.previous_first(row, HOME, "old")
    choices.came_in(row, HOME, "new", anew=True)
    assert not choices.previous_first(row, HOME, "old")


def test_a_device_that_knows_the_hub_says_nothing_of_one_that_begins_anew(row: Client) -> None:
    choices = Choices()
    choices.came_in(ROW, HOME, "old", anew=True)
    choices.came_in(row, HOME, "old", anew=False)
    assert not choices.previous_first(row, HOME, "old")


def test_success_settles_what_failed(row: Client) -> None:
    choices = Choices()
    choices.failed(row, HOME, "new")
    choices.came_in(row, HOME, "old", anew=False)
    assert not choices.previous_first(row, HOME, "old")


def test_a_failure_with_a_password_that_is_gone_says_nothing(row: Client) -> None:
    choices = Choices()
    choices.failed(row, HOME, "older")
    assert not choices.previous_first(row, HOME, "old")
    choices.failed(row, HOME, "new")
    assert not choices.previous_first(after(row, "newer", 300.0), HOME, "new")
