"""When cyclic garbage is looked for."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from hivemind_core import garbage
from hivemind_core.garbage import ANYWAY_AFTER_S, LOOKS, QUIET_AFTER_S, Collector, is_due


@pytest.fixture(autouse=True)
def has_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    """As this Python may not: what is called is there in all of them."""
    monkeypatch.setattr(garbage, "HAS_GENERATIONS", True)


@pytest.mark.parametrize(
    ("looks", "quiet", "since_s", "due"),
    [
        (LOOKS - 1, True, ANYWAY_AFTER_S, False),
        (LOOKS, True, QUIET_AFTER_S - 1, False),
        (LOOKS, True, QUIET_AFTER_S, True),
        (LOOKS, False, QUIET_AFTER_S, False),
        (LOOKS, False, ANYWAY_AFTER_S, True),
    ],
)
def test_when_everything_is_looked_at(looks: int, quiet: bool, since_s: float, due: bool) -> None:
    assert is_due((0, 0, looks), quiet, since_s) == due


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    made.start()
    yield made
    made.stop()
    gc.unfreeze()


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.self = self


def test_garbage_goes_in_time(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOKS", "QUIET_AFTER_S", "ANYWAY_AFTER_S"):
        monkeypatch.setattr(garbage, name, 0)
    knot = weakref.ref(Knot())
    assert knot() is not None
    collector.tick()
    assert knot() is None


def test_it_leaves_pythons_own_rules_behind() -> None:
    before = gc.get_threshold()
    made = Collector()
    made.start()
    assert gc.get_threshold() != before
    made.stop()
    made.stop()
    assert gc.get_threshold() == before
    gc.unfreeze()


def test_it_does_nothing_before_it_is_started() -> None:
    before = gc.get_threshold()
    Collector().tick()
    Collector().stop()
    assert gc.get_threshold() == before
