"""Redis's clock, which all members share, as one of them knows it. Pure: `now` is its own clock, in seconds."""

from __future__ import annotations

from collections.abc import Sequence

ASK_EVERY_S = 5.0
GOOD_ENOUGH_S = 1.0
"""An answer that took longer tells too little, once there is a better one."""


class RedisTime:
    """An estimate from what TIME answers; wrong by at most half the time that the answer took."""

    def __init__(self, now: float, own_ms: int) -> None:
        self._offset_ms = own_ms - now * 1000
        self._asked_at = float("-inf")
        self._is_known = False

    def is_due(self, now: float) -> bool:
        """It is time to ask again."""
        return now - self._asked_at >= ASK_EVERY_S

    def told(self, answer: Sequence[bytes], asked_at: float, now: float) -> None:
        """Redis answered TIME: seconds and microseconds, as text."""
        self._asked_at = now
        if self._is_known and now - asked_at > GOOD_ENOUGH_S:
            return
        self._is_known = True
        self._offset_ms = int(answer[0]) * 1000 + int(answer[1]) / 1000 - (asked_at + now) * 500

    def ms(self, now: float) -> int:
        """Return milliseconds since 1970."""
        return int(now * 1000 + self._offset_ms)
