from __future__ import annotations

from typing import Any

import pytest

from hivemind_core.paths import is_path


@pytest.mark.parametrize("value", ["a", "/a/b", "a b", "~", "~/x", "é"])
def test_what_a_file_can_be_called(value: str) -> None:
    assert is_path(value)


@pytest.mark.parametrize("value", ["", "a\0b", "~nobody at all/x", None, 5, ["a"], b"a"])
def test_what_it_cannot(value: Any) -> None:
    assert not is_path(value)
