"""When cyclic garbage is looked for."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from hivemind_core import garbage
from hivemind_core.garbage import ALL, ALL_EVERY_S, NEW_ANYWAY, NEW_QUIET, RECENT, ROUNDS, Collector, wanted


@pytest.fixture(autouse=True)
def has_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    """As this Python may not: what is called is there in all of them."""
    monkeypatch.setattr(garbage, "HAS_GENERATIONS", True)


@pytest.mark.parametrize(
    ("looks", "rounds", "quiet", "since_s", "generation"),
    [
        (NEW_QUIET - 1, 0, True, 0.0, None),
        (NEW_QUIET, 0, True, 0.0, RECENT),
        (NEW_QUIET, 0, False, 0.0, None),
        (NEW_ANYWAY, 0, False, 0.0, RECENT),
        (0, ROUNDS, True, ALL_EVERY_S - 1, None),
        (0, ROUNDS - 1, True, ALL_EVERY_S, None),
        (0, ROUNDS, False, ALL_EVERY_S, None),
        (0, ROUNDS, True, ALL_EVERY_S, ALL),
    ],
)
def test_what_is_looked_at(looks: int, rounds: int, quiet: bool, since_s: float, generation: int | None) -> None:
    assert wanted((0, looks, rounds), quiet, since_s) == generation


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
    monkeypatch.setattr(garbage, "NEW_QUIET", 0)
    monkeypatch.setattr(garbage, "QUIET", 1e9)
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
