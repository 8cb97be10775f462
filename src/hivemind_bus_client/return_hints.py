"""When to come back: what a hub that refuses for a while says of it at the end of its reason (docs/protocol.md 17)."""

from __future__ import annotations

import math
import re

LONGEST_S = 600.0
"""Whatever a hub says, nobody stays away for longer."""
_HINT = re.compile(r"\btry again in (\d{1,9}) s\b")


def with_hint(reason: str, wait_s: float) -> str:
    """Return a reason that says in how many whole seconds to come back, one at least."""
    return f"{reason.partition(', try again')[0]}, try again in {max(1, math.ceil(wait_s))} s"


def wait_in(reason: str) -> float:
    """Return how many seconds a reason says to stay away; 0 where it says nothing."""
    hint = _HINT.search(reason)
    return min(LONGEST_S, float(hint[1])) if hint else 0.0
