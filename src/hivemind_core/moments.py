"""Durations and points of time as people write and read them."""

from __future__ import annotations

import re
from datetime import datetime

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(rf"([0-9]{{1,9}})([{''.join(UNITS_S)}])")


def parse_duration(text: str) -> int | None:
    """Return the seconds of a duration like 90m, 24h or 7d; 0 needs no unit. None for what is not one."""
    if text == "0":
        return 0
    found = _DURATION.fullmatch(text)
    return int(found[1]) * UNITS_S[found[2]] if found else None


def local_time(when: float) -> str:
    """Return a Unix time as the date and the minute here; a question mark where there is no such date."""
    try:
        return datetime.fromtimestamp(when).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "?"
