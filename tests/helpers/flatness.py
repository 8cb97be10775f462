"""Whether memory grows with the number of messages, or only goes up and down by the way. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import TypeAlias

Sample: TypeAlias = tuple[int, int]
"""How many messages there had been, and what was taken then."""
MOST_SAMPLES = 200


def kb_per_thousand(samples: Sequence[Sample]) -> float:
    """Return what memory (kB) grows by with every thousand messages; 0 where that cannot be told.

    The median of the slopes between all pairs of samples (Theil and Sen): steps and outliers do not move it.
    """
    few = samples[:: max(1, len(samples) // MOST_SAMPLES)]
    slopes = [(late[1] - early[1]) / (late[0] - early[0]) for early, late in combinations(few, 2) if late[0] > early[0]]
    return 1000 * median(slopes) if slopes else 0.0
