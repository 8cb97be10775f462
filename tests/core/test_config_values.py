"""Values out of a document: what is absent, what is wrong and how it is named."""

from __future__ import annotations

import pytest

from hivemind_core.config_values import ConfigError, Values, is_number, is_whole


def test_a_path_of_keys_leads_to_a_value() -> None:
    values = Values("f", {"a": {"b": {"c": 5}}, "n": None})
    assert values.get(("a", "b", "c"), "five", lambda value: value == 5) == 5
    assert values.get(("a", "x", "c"), "a text", lambda value: value == "d", "d") == "d"
    assert values.object("n") == {}


def test_what_is_wrong_is_named_and_cut_short() -> None:
    with pytest.raises(ConfigError) as raised:
        Values("server.json", {"a": {"b": "x" * 1000}}).flag("a", "b")
    assert str(raised.value).startswith('server.json: `a.b` must be true or false, not "xxx')
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize("value", ["a,b", ["a", "b"]])
def test_lists_may_be_texts(value: object) -> None:
    read = Values("f", {"k": value}).listed(("k",), "letters", lambda given: tuple(",".join(given).replace(",,,", ",")))
    assert "a" in read
    assert "b" in read


@pytest.mark.parametrize(
    ("value", "number", "whole"),
    [(0, True, True), (3, True, True), (4, True, False), (2.5, True, False), (-1, False, False), (True, False, False)],
)
def test_numbers(value: float, number: bool, whole: bool) -> None:
    assert (is_number(value), is_whole(value, 3)) == (number, whole)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "3", None])
def test_what_is_no_number(value: object) -> None:
    assert not is_number(value)
