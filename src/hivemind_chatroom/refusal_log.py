"""One line of the log for each refusal of a visitor; what is refused again within a minute is told once more only then.

Requests come in several threads. Nothing here is worth a lock: at worst a line is written twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from hivemind_bus_client.log_lines import refusal_fields

log = logging.getLogger(__name__)

AGAIN_AFTER_S = 60.0
REMEMBERED = 1024


class RefusalLog:
    """See the module."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, code: str, visitor: str, why: str, cure: str) -> None:
        """Write that a visitor, known by an address, was turned away."""
        now = self._clock()
        last = self._told.pop((visitor, code), None)
        is_new = last is None or now - last >= AGAIN_AFTER_S
        if len(self._told) >= REMEMBERED:
            self._told.clear()
        self._told[visitor, code] = now if is_new or last is None else last
        if is_new:
            said = f"{why} {cure}".strip()
            log.info("turned away %s: %s [%s]", visitor, said, code, extra=refusal_fields(code, visitor, cure))
