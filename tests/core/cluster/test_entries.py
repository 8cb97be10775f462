from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_core.cluster.entries import BEGINNING, MAX_SEALED_BYTES, Entry, is_hub, key, parse

HUB = b"0123456789abcdef"


def test_an_entry_of_a_member() -> None:
    assert parse([b"s", HUB, b"n", b"12", b"d", b"sealed"]) == Entry(HUB.decode(), 12, b"sealed")


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        [b"s", HUB, b"n", b"12"],
        [b"s", HUB, b"n", b"12", b"d"],
        [b"n", b"12", b"s", HUB, b"d", b""],
        [b"s", HUB, b"n", b"12", b"d", b"", b"x", b""],
        [b"s", HUB.upper(), b"n", b"12", b"d", b""],
        [b"s", HUB + b"0", b"n", b"12", b"d", b""],
        [b"s", HUB + b"\n", b"n", b"12", b"d", b""],
        [b"s", HUB, b"n", b"-1", b"d", b""],
        [b"s", HUB, b"n", b"1" * 19, b"d", b""],
        [b"s", HUB, b"n", b"", b"d", b""],
        [b"s", HUB, b"n", b"1", b"d", bytes(MAX_SEALED_BYTES + 1)],
    ],
)
def test_what_no_member_writes(fields: Any) -> None:
    assert parse(fields) is None


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_anything_is_an_entry_or_none(fields: list[bytes]) -> None:
    assert parse(fields) is None or fields[::2] == [b"s", b"n", b"d"]


def test_an_id_is_sixteen_hexadecimal_digits() -> None:
    assert is_hub(HUB.decode())
    assert not any(map(is_hub, ("", "hub", HUB.decode()[1:], "é" * 16, "\ud800" * 16)))


def test_ids_are_in_the_order_of_their_numbers() -> None:
    mixed = [b"9-10", b"10-0", BEGINNING, b"9-2", b"9-1"]
    assert sorted(mixed, key=key) == [BEGINNING, b"9-1", b"9-2", b"9-10", b"10-0"]
