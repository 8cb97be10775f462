"""Redis's clock, which all members share, as one of them knows it. Pure: `now` is its own clock, in seconds.

An answer to TIME came from somewhere between question and answer, so it is wrong by at most half of what lies between.
The best of the answers counts, as long as the clocks cannot have drifted apart by more than a newer one is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

ASK_EVERY_S = 1.0
DRIFT = 0.0005
"""By so much of what passes two clocks may differ; NTP sets none faster."""
AT_MOST_MS = 60_000.0
"""So wrong is taken for what nobody has told yet."""


class RedisTime:
    """An estimate, and how wrong it may be."""

    def __init__(self, now: float, own_ms: int) -> None:
        self._offset_ms = own_ms - now * 1000
        self._asked_at = float("-inf")
        self._since, self._half_ms = now, AT_MOST_MS

    def is_due(self, now: float) -> bool:
        """It is time to ask again."""
        return now - self._asked_at >= ASK_EVERY_S

    def told(self, answer: Sequence[bytes], asked_at: float, now: float) -> None:
        """Redis answered TIME: seconds and microseconds, as text."""
        self._asked_at = now
        offset_ms = int(answer[0]) * 1000 + int(answer[1]) / 1000 - (asked_at + now) * 500
        half_ms, known_ms = (now - asked_at) * 500, self.error_ms(now)
        was_set = abs(offset_ms - self._offset_ms) > half_ms + known_ms
        if was_set or half_ms <= known_ms:
            self._offset_ms, self._half_ms, self._since = offset_ms, half_ms, asked_at

    def error_ms(self, now: float) -> float:
        """Return by how many milliseconds `ms` may be wrong."""
        return min(AT_MOST_MS, self._half_ms + (now - self._since) * 1000 * DRIFT)

    def ms(self, now: float) -> int:
        """Return milliseconds since 1970."""
        return int(now * 1000 + self._offset_ms)

    def latest_ms(self, now: float) -> int:
        """Return the same, as late as it can be."""
        return math.ceil(now * 1000 + self._offset_ms + self.error_ms(now))

    def passed_s(self, at_ms: int, now: float) -> float:
        """Return how many seconds at least have passed since a time; negative where it may be yet to come."""
        return (now * 1000 + self._offset_ms - self.error_ms(now) - at_ms) / 1000
