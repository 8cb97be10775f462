"""The vectors are data, and every deviation from them names a case that exists."""

from __future__ import annotations

import re
from typing import Any

import pytest

from helpers import vectors


@pytest.mark.parametrize("deviation", vectors.deviations(), ids=lambda item: f"{item.file}:{item.case}")
def test_a_deviation_names_a_known_case_and_differs_from_it(deviation: vectors.Deviation) -> None:
    theirs = vectors.outcomes(deviation.file)[deviation.case]
    assert deviation.theirs == theirs
    assert deviation.ours != theirs
    assert deviation.why


def test_no_case_has_two_deviations() -> None:
    named = [(deviation.file, deviation.case) for deviation in vectors.deviations()]
    assert len(named) == len(set(named))


def test_expected_is_ours_for_a_deviation_and_theirs_for_the_rest() -> None:
    assert vectors.expected("bitstring", "decode/type_11_reserved")["msg_type"] == "3rdparty"
    assert vectors.expected("bitstring", "decode/type_13_unassigned") == {"raises": "MalformedBinaryFrame"}


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def _raising(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        inner = [found for item in value.values() for found in _raising(item)]
        return [value, *inner] if "raises" in value else inner
    return [found for item in value for found in _raising(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("path", sorted(vectors.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_of_an_error_only_the_class_is_kept(path: Any) -> None:
    content = vectors.load(path.stem)
    assert not [text for text in _strings(content) if re.match(r"raises \w+:", text)]
    assert all(re.fullmatch(r"\w+", case["raises"]) and "message" not in case for case in _raising(content))
