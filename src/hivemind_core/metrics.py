"""Figures about a running program, and how Prometheus reads them (text format 0.0.4).

Counting is an addition to a dict or a list: it is done with every message. Everything else waits until somebody asks.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_SERIES = 100
"""Label values of one counter; policies and plugins may have codes of their own."""
OTHER = "other"
"""Stands for the label values beyond that."""
Labels = tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """One line: what its name ends with, its labels, its value."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()
    suffix: str = ""


@dataclass(frozen=True)
class Family:
    """A figure with its meaning, for all of its labels."""

    name: str
    kind: str
    """``counter``, ``gauge`` or ``histogram``."""
    help: str
    samples: tuple[Sample, ...]


class Counter:
    """Counts by the values of labels; of these there are only so many."""

    __slots__ = ("_help", "_labels", "_name", "_values")

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:
        self._name = name
        self._help = help
        self._labels = labels
        self._values: dict[Labels, int] = {} if labels else {(): 0}

    def count(self, *labels: str, by: int = 1) -> None:
        """Add to the count of these label values, given in the order of their names."""
        values = self._values
        if labels in values:
            values[labels] += by
        elif len(values) < MAX_SERIES:
            values[labels] = by
        else:
            rest = (OTHER,) * len(self._labels)
            values[rest] = values.get(rest, 0) + by

    def of(self, *labels: str) -> int:
        """Return how often that was counted."""
        return self._values.get(labels, 0)

    def family(self) -> Family:
        """Return it as it is now."""
        rows = sorted(self._values.items())
        samples = (Sample(value, tuple(zip(self._labels, labels, strict=True))) for labels, value in rows)
        return Family(self._name, "counter", self._help, tuple(samples))


class Histogram:
    """Counts values by the smallest bound that is not below them."""

    __slots__ = ("_bounds", "_counts", "_help", "_name", "_sum")

    def __init__(self, name: str, help: str, bounds: tuple[float, ...]) -> None:
        """`bounds` rise; beyond the last one is one more."""
        self._name = name
        self._help = help
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Take in a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self) -> Family:
        """Return it as it is now."""
        samples, total = [], 0
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            samples.append(Sample(total, (("le", number(bound)),), "_bucket"))
        samples += [Sample(self._sum, (), "_sum"), Sample(total, (), "_count")]
        return Family(self._name, "histogram", self._help, tuple(samples))


def gauge(name: str, help: str, value: float | Mapping[str, float], label: str = "") -> Family:
    """Return a figure that goes up and down; of several values each has its label."""
    if isinstance(value, Mapping):
        return Family(name, "gauge", help, tuple(Sample(each, ((label, key),)) for key, each in value.items()))
    return Family(name, "gauge", help, (Sample(value),))


def total(name: str, help: str, value: float) -> Family:
    """Return a figure that only goes up, and is counted elsewhere."""
    return Family(name, "counter", help, (Sample(value),))


def render(families: Iterable[Family]) -> str:
    """Return what Prometheus reads."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    help = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# HELP {family.name} {help}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
        yield f"{family.name}{sample.suffix}{f'{{{labels}}}' if labels else ''} {number(sample.value)}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def number(value: float) -> str:
    """Return a number as the format spells it."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(+value)  # a bool is 0 or 1
