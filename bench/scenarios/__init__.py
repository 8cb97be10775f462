"""What `python -m bench` measures, one scenario a module."""

from __future__ import annotations

from ..stage import Scenario
from . import (
    audio,
    cold_start,
    fan_out,
    footprint,
    idle,
    large,
    nested,
    reconnect,
    restart,
    round_trip,
    start,
    where,
)

SCENARIOS: dict[str, Scenario] = {
    each.name: each
    for each in (
        footprint.SCENARIO,
        start.SCENARIO,
        round_trip.SCENARIO,
        where.SCENARIO,
        idle.SCENARIO,
        reconnect.SCENARIO,
        fan_out.SCENARIO,
        restart.SCENARIO,
        cold_start.SCENARIO,
        large.SCENARIO,
        audio.SCENARIO,
        nested.SCENARIO,
    )
}
"""By name, in the order in which they run."""
