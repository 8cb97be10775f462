"""``hivemind-core set-metadata``: what is merged, in which order, what is refused, and what is never printed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from helpers.hub_commands import add, hub_command, said, stored
from hivemind_core.clients import Client

PSK = "5" * 64


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys takes long, and is tested elsewhere."""
    monkeypatch.setattr("hivemind_core.hub_identity.load_identity", lambda: None)


@pytest.fixture
def kitchen() -> Client:
    return add("key", name="kitchen", password="p", metadata={"role": "guest", "noise_psk": PSK})


def test_a_key_is_set_and_the_rest_kept(kitchen: Client) -> None:
    text = said("set-metadata", "1", "--key", "floor", "--value", "2")
    assert text == 'Updated metadata for kitchen: {"floor": 2, "noise_psk": "********", "role": "guest"}'
    assert stored(1) == replace(kitchen, metadata={**kitchen.metadata, "floor": 2})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ('{"a": [1]}', {"a": [1]}),
        ('"2"', "2"),
        ("upstairs", "upstairs"),
        ("", ""),
        ("NaN", "NaN"),
        ("{", "{"),
        ("null", None),
    ],
)
def test_a_value_is_json_or_else_a_text(kitchen: Client, text: str, value: Any) -> None:
    said("set-metadata", "1", "--key", "x", "--value", text)
    assert stored(1).metadata["x"] == value


def test_a_pre_shared_key_of_digits_stays_a_text(kitchen: Client) -> None:
    text = said("set-metadata", "1", "--key", "crypto_key", "--value", "1234567890123456")
    assert stored(1).metadata["crypto_key"] == "1234567890123456"
    assert "1234567890123456" not in text


def test_first_the_object_then_the_pairs_then_what_is_removed(kitchen: Client) -> None:
    said(
        "set-metadata", "1", "--unset", "role", "--unset", "c", "--unset", "never there",
        "--key", "b", "--value", "2", "--key", "c", "--value", "2", "--metadata", '{"a": 1, "b": 1, "role": "x"}',
    )  # fmt: skip
    assert stored(1).metadata == {"noise_psk": PSK, "a": 1, "b": 2}


def test_an_empty_object_changes_nothing(kitchen: Client) -> None:
    assert said("set-metadata", "1", "--metadata", "{}").startswith("Updated metadata for kitchen: {")
    assert stored(1) == kitchen


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "pass --metadata, --key/--value, or --unset"),
        (["--value", "1"], "pass --metadata, --key/--value, or --unset"),
        (["--key", "a"], "--key requires --value"),
        (["--key", "a", "--value", "1", "--key", "b"], "--key requires --value"),
        (["--key", "a", "--value", "1", "--value", "2"], "--value requires --key"),
        (["--key", "", "--value", "1"], "a key cannot be empty"),
        (["--metadata", "{"], "must be valid JSON"),
        (["--metadata", "[]"], "must be a JSON object"),
        (["--metadata", '{"intent_blacklist": {}}'], "intent_blacklist must be an array of intent names"),
        (["--key", "skill_blacklist", "--value", "a.b"], "skill_blacklist must be an array of skill ids"),
    ],
)
def test_wrong_options_are_usage_errors_and_change_nothing(kitchen: Client, options: list[str], problem: str) -> None:
    ran = hub_command("set-metadata", "1", *options)
    assert (ran.code, ran.out) == (2, "")
    assert problem in ran.error
    assert stored(1) == kitchen


@pytest.mark.parametrize("options", [["--key", "noise_psk", "--value", "a" * 64], ["--unset", "noise_psk"]])
def test_what_the_hub_writes_itself_is_warned_of(kitchen: Client, options: list[str]) -> None:
    ran = hub_command("set-metadata", "1", *options)
    assert ran.code == 0
    assert ran.err == "NOTE: the hub writes noise_psk itself; a wrong value locks the client out.\n"
    assert stored(1).metadata.get("noise_psk") != PSK
    assert "a" * 64 not in ran.out


def test_without_a_client_the_only_one_is_taken(kitchen: Client) -> None:
    ran = hub_command("set-metadata", "--key", "a", "--value", "1")
    assert ran.err == "Taking the only client there is: 'kitchen' (id 1).\n"
    assert stored(1).metadata["a"] == 1
