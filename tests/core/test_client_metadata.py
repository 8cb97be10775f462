"""The metadata of a client: what the hub reads of it, and what of it is never shown."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind_core.client_metadata import HIDDEN, KNOWN, problem_with, shown, without_secrets, written_by_hub

HEX = "0a" * 32
GOOD: dict[str, Any] = {
    "skill_blacklist": ["a.b"],
    "intent_blacklist": [],
    "allow_weak_password": False,
    "crypto_key": "0123456789abcdef",
    "noise_pubkey": HEX,
    "noise_psk": HEX,
    "noise_psk_for": HEX,
    "intercom_pubkey": "-----BEGIN PUBLIC KEY-----",
    "previous_password": "hush",
    "previous_password_until": 1_800_000_000,
    "previous_password_used": 1_700_000_000.5,
    "previous_noise_psk": HEX,
    "previous_noise_psk_for": HEX,
    "previous_allow_weak_password": True,
}


def test_every_known_key_takes_what_it_is_for() -> None:
    assert GOOD.keys() == KNOWN.keys()
    assert problem_with(GOOD) is None


def test_other_keys_hold_anything() -> None:
    assert problem_with({"role": None, "x": [1, {"y": 2}]}) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("skill_blacklist", "a.b"),
        ("skill_blacklist", ["a", 1]),
        ("skill_blacklist", [""]),
        ("intent_blacklist", None),
        ("allow_weak_password", "no"),
        ("crypto_key", "0123456789abcde"),
        ("crypto_key", "0123456789abcdefg"),
        ("crypto_key", "0123456789abcdeé"),
        ("crypto_key", 1234567890123456),
        ("noise_pubkey", HEX[:-1]),
        ("noise_pubkey", HEX.upper()),
        ("noise_psk", 5),
        ("intercom_pubkey", ""),
    ],
)
def test_what_the_hub_could_not_read_is_named(key: str, value: Any) -> None:
    assert problem_with({"x": 1, key: value}) == f"{key} must be {KNOWN[key].must_be}"


def test_the_hubs_own_keys_are_known() -> None:
    previous = [key for key in GOOD if key.startswith("previous_")]
    assert written_by_hub(GOOD) == ["noise_pubkey", "noise_psk", "noise_psk_for", "intercom_pubkey", *previous]
    assert written_by_hub(("role", "skill_blacklist")) == []


SECRETIVE: dict[str, Any] = {
    **GOOD,
    "Password": "p",
    "pin_secret": 1234,
    "api_tokens": ["a", "b"],
    "mqtt": {"password": "inner", "port": 1},
    "many": [{"private_key": "x", "name": "n"}, "plain", 3, [{"psk": "y"}]],
    "no_password": None,
}
SECRET = [key for key in GOOD if key in ("crypto_key", "noise_psk", "noise_psk_for") or key.startswith("previous_")]
SECRET.remove("previous_allow_weak_password")  # true and false hide nothing
HARMLESS = {key: GOOD[key] for key in GOOD if key not in SECRET}


def test_secrets_are_masked_at_any_depth() -> None:
    before = repr(SECRETIVE)
    assert shown(SECRETIVE) == {
        **HARMLESS,
        **dict.fromkeys((*SECRET, "Password", "pin_secret", "api_tokens"), HIDDEN),
        "mqtt": {"password": HIDDEN, "port": 1},
        "many": [{"private_key": HIDDEN, "name": "n"}, "plain", 3, [{"psk": HIDDEN}]],
        "no_password": None,
    }
    assert repr(SECRETIVE) == before


def test_a_program_is_not_given_masks() -> None:
    assert without_secrets(SECRETIVE) == {
        **HARMLESS,
        "mqtt": {"port": 1},
        "many": [{"name": "n"}, "plain", 3, [{}]],
        "no_password": None,
    }
