"""Pairs of a satellite and a hub of either make, as processes of their own."""

from __future__ import annotations

import pytest

from helpers.pair import Pair
from helpers.processes import Children

CONTROL = {"released-satellite-released-hub": ("released-client", "released-hub")}
MIXED = {
    "released-satellite-our-hub": ("released-client", "ours"),
    "our-satellite-released-hub": ("ours", "released-hub"),
}


@pytest.fixture(params=MIXED)
def pair(children: Children, request: pytest.FixtureRequest) -> Pair:
    """A released satellite at our hub, then ours at a released one."""
    return Pair(children, *MIXED[request.param])


@pytest.fixture(params=[*CONTROL, *MIXED])
def every_pair(children: Children, request: pytest.FixtureRequest) -> Pair:
    """The same and, as a control, released with released."""
    return Pair(children, *{**CONTROL, **MIXED}[request.param])
