"""Token buckets: how often each of many may do something."""

from __future__ import annotations

import math
from collections import OrderedDict

_NEARLY = 1e-6
"""Of a token; who waits as long as told is let through whatever floating point makes of it."""


class Buckets:
    """One bucket for each key; a full one is the same as none and is forgotten.

    ``rate_per_s`` tokens flow into a bucket that holds ``burst`` of them. No more than ``most`` buckets are kept: the
    longest unused goes. Raises ValueError if nobody could ever take one.
    """

    def __init__(self, rate_per_s: float, burst: float, most: int = 10_000) -> None:
        if not (0 < rate_per_s < math.inf and 1 <= burst < math.inf and most >= 1):
            raise ValueError("rate_per_s is positive, burst and most are at least 1")
        self._rate = rate_per_s
        self._burst = burst
        self._most = most
        self._filled: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Key -> tokens, and when that was; the longest unused first."""

    def __len__(self) -> int:
        return len(self._filled)

    def take(self, key: str, now: float) -> float:
        """Take a token: 0.0 if there was one, else the seconds until there will be."""
        self._forget_full(now)
        tokens = self._tokens(key, now)
        allowed = tokens >= 1 - _NEARLY
        self._filled[key] = (max(0.0, tokens - 1) if allowed else tokens, now)
        self._filled.move_to_end(key)
        if len(self._filled) > self._most:
            self._filled.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate

    def _tokens(self, key: str, now: float) -> float:
        tokens, at = self._filled.get(key, (self._burst, now))
        return min(self._burst, tokens + max(0.0, now - at) * self._rate)

    def _forget_full(self, now: float) -> None:
        while self._filled:
            key = next(iter(self._filled))
            if self._tokens(key, now) < self._burst:
                return
            del self._filled[key]
