"""The same targets with inputs that have the right shape."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from fuzz import targets
from fuzz.targets import TARGETS

EXAMPLES = 60


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_whatever_has_the_right_shape_breaks_nothing(name: str) -> None:
    from fuzz.shapes import SHAPES  # which imports everything

    run = targets.load(name).run

    @settings(max_examples=EXAMPLES)
    @given(SHAPES[name])
    def holds(data: bytes) -> None:
        run(data)

    holds()
