"""Join codes: full of randomness, easy to type, and a typing error is told at once."""

from __future__ import annotations

import random

import pytest

from hivemind_core.cluster.join_code import (
    ALPHABET,
    GROUP,
    RANDOM_BYTES,
    SECRET_SYMBOLS,
    SYMBOLS,
    VERSION,
    WrongCode,
    read,
    write,
)


def a_code() -> str:
    return write(random.randbytes(RANDOM_BYTES))


def why(code: str) -> str:
    with pytest.raises(WrongCode) as raised:
        read(code)
    return str(raised.value)


def test_a_code_is_typed_in_groups_and_gives_back_its_secret() -> None:
    code = write(bytes(range(RANDOM_BYTES)))
    assert code == write(bytes(range(RANDOM_BYTES)))
    groups = code.split("-")
    assert [len(group) for group in groups] == [GROUP] * (SYMBOLS // GROUP)
    assert set(code) <= {*ALPHABET, "-"}
    assert read(code) == "".join(groups)[1 : 1 + SECRET_SYMBOLS].encode()


def test_every_bit_of_130_counts() -> None:
    base = bytes(RANDOM_BYTES)
    flipped = [(1 << bit).to_bytes(RANDOM_BYTES, "big") for bit in range(130)]
    assert len({read(write(each)) for each in (base, *flipped)}) == 131


@pytest.mark.parametrize(
    "typed",
    [str.lower, lambda code: code.replace("-", " "), lambda code: code.replace("-", ""), lambda code: f"\t{code} \n"],
)
def test_it_may_be_typed_in_any_way(typed: object) -> None:
    code = a_code()
    assert callable(typed)
    assert read(typed(code)) == read(code)


def test_letters_that_look_like_digits_are_those_digits() -> None:
    code = next(code for code in iter(a_code, "") if "0" in code and "1" in code[1:])
    assert read(code.replace("0", "o")) == read(code)
    assert read(code.replace("1", "I")) == read(code) == read(code.replace("1", "l"))


def test_one_wrong_symbol_and_two_that_changed_places_are_told() -> None:
    """With these codes, that is: the three symbols miss one error in 32768."""
    for code in (a_code() for _ in range(20)):
        bare = code.replace("-", "")
        place = random.randrange(SYMBOLS)
        other = random.choice([symbol for symbol in ALPHABET if symbol != bare[place]])
        assert "typing error" in why(bare[:place] + other + bare[place + 1 :])
        swapped = next(at for at in range(SYMBOLS - 1) if bare[at] != bare[at + 1])
        text = bare[:swapped] + bare[swapped + 1] + bare[swapped] + bare[swapped + 2 :]
        assert "typing error" in why(text)


@pytest.mark.parametrize(
    ("typed", "said"), [("", "has 0"), ("12345", "has 5"), ("U" * 30, "without U"), ("ü", "digits")]
)
def test_what_is_no_code_is_told(typed: str, said: str) -> None:
    assert said in why(typed)


def test_a_code_of_another_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_core.cluster.join_code.VERSION", "2")
    newer = a_code()
    monkeypatch.setattr("hivemind_core.cluster.join_code.VERSION", VERSION)
    assert "newer HiveMind" in why(newer)


def test_the_text_of_an_error_never_shows_the_code() -> None:
    code = a_code()
    for wrong in (code[:-1], code[:-1] + "U", code[1:] + "0"):
        assert not any(group in why(wrong) for group in wrong.split("-"))
