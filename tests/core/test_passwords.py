"""Secrets that are made, and the strength of those that people bring."""

from __future__ import annotations

import string

import pytest

from hivemind_core.passwords import JUDGED_CHARACTERS, is_strong, random_secret, strength_bits


def test_a_random_secret_is_32_hex_characters_and_strong() -> None:
    made = {random_secret() for _ in range(20)}
    assert len(made) == 20
    assert all(len(secret) == 32 and set(secret) <= set(string.hexdigits) for secret in made)
    assert all(is_strong(secret, 60) for secret in made)


@pytest.mark.parametrize(("password", "bits"), [("", 0), ("foo", 10), ("password", 2)])
def test_guessable_passwords_have_few_bits(password: str, bits: int) -> None:
    assert round(strength_bits(password)) == bits
    assert not is_strong(password, 40)


def test_a_few_uncommon_words_are_strong() -> None:
    assert is_strong("correct horse battery staple 42", 40)


def test_only_the_beginning_of_a_long_password_is_judged() -> None:
    password = random_secret() * 40
    assert strength_bits(password) == strength_bits(password[:JUDGED_CHARACTERS])


def test_no_bits_required_accepts_any_password() -> None:
    assert is_strong("", 0)
