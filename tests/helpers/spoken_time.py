"""How the date-time skill may name the present hour."""

from __future__ import annotations

from datetime import datetime, timedelta

HOURS = ["twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
ROUND = {"twelve": ["twelve", "noon", "midnight"]}
WHEN = [timedelta(minutes=-2), timedelta(), timedelta(minutes=15)]
"""The hour may just have ended, and a quarter before the next one is "quarter to" that."""
GERMAN = "uhr|viertel|halb|mittag|mitternacht"
"""What one of is in every time of day in German: at noon and at midnight there is no "Uhr"."""


def hour_names(now: datetime) -> set[str]:
    """Return the words one of which is in a right answer."""
    hours = (HOURS[(now + ahead).hour % 12] for ahead in WHEN)
    return {name for hour in hours for name in ROUND.get(hour, [hour])}
