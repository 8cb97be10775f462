"""Warnings that would come by the thousand, told once a minute."""

from __future__ import annotations

import logging
from collections.abc import Callable

QUIET_S = 60.0


class Seldom:
    """Logs a warning of each kind at most once a minute, of a few kinds."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._told: dict[str, float] = {}

    def warn(self, text: str, *values: object) -> None:
        """Log `text`, which is the kind, too."""
        now = self._clock()
        if now - self._told.get(text, float("-inf")) >= QUIET_S:
            self._told[text] = now
            self._log.warning(text, *values)

    def reset(self) -> None:
        """Tell everything anew: what was wrong is over."""
        self._told.clear()
