from __future__ import annotations

import pytest

from hivemind_core.moments import local_time, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0s", 0), ("3600s", 3600), ("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "24", "h", "-1h", "1.5h", "1h30m", " 1h", "1h ", "1H", "1y", "٣h", "9" * 10 + "s"]
)
def test_anything_else_is_none(text: str) -> None:
    assert parse_duration(text) is None


def test_a_time_that_no_calendar_has_is_told_all_the_same() -> None:
    assert len(local_time(1_700_000_000)) == len("2023-11-14 22:13")
    assert [local_time(when) for when in (1e300, float("inf"), float("nan"))] == ["?", "?", "?"]
