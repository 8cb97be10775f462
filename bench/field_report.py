"""What a run of scenarios leaves: a file of all figures, a chart a scenario, tables for people."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .names import FLOORS, RELEASED
from .plot import Panel, Series, bars, svg
from .report import OURS, Figure
from .stage import Figures, Scenario

Points = dict[int, list[Figures]]
"""N -> the figures of each round."""
NONE = "–"


@dataclass
class FieldRun:
    """Everything a run found."""

    machine: Mapping[str, str]
    versions: dict[str, str]
    scale: float
    found: dict[str, dict[str, Points]] = field(default_factory=dict)
    """Scenario -> subject -> points."""
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    """Scenario -> subject -> why it has no figures, or not all."""
    took_s: dict[str, float] = field(default_factory=dict)

    def add(self, scenario: str, subject: str, number: int, figures: Figures) -> None:
        """Note the figures of one round at one N."""
        points = self.found.setdefault(scenario, {}).setdefault(subject, {})
        points.setdefault(number, []).append(figures)

    def value(self, scenario: str, subject: str, number: int, name: str) -> float | None:
        """The median over the rounds; None where there is none."""
        rounds = self.found.get(scenario, {}).get(subject, {}).get(number, [])
        values = [figures[name] for figures in rounds if name in figures]
        return statistics.median(values) if values else None

    def measured(self, scenario: str) -> list[int]:
        """The N that ours was measured at."""
        return sorted(self.found.get(scenario, {}).get(OURS, {}))

    def document(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "machine": dict(self.machine),
            "versions": self.versions,
            "scale": self.scale,
            "scenarios": self.found,
            "failed": self.failed,
            "took_s": self.took_s,
        }

    @classmethod
    def read(cls, path: Path) -> FieldRun:
        """A run from its file."""
        document = json.loads(path.read_text("utf-8"))
        found = {
            scenario: {name: {int(n): rounds for n, rounds in points.items()} for name, points in subjects.items()}
            for scenario, subjects in document["scenarios"].items()
        }
        facts = document["machine"], document["versions"], document["scale"]
        return cls(*facts, found, document["failed"], document["took_s"])


def save(run: FieldRun, scenarios: Sequence[Scenario], path: Path) -> list[Path]:
    """Write the file of figures and the charts beside it; all files written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run.document(), indent=1) + "\n", "utf-8")
    written = [path]
    for scenario in scenarios:
        places = sorted({number for points in run.found.get(scenario.name, {}).values() for number in points})
        if len(places) > 1 or (places and scenario.whole):
            chart = path.with_name(f"{path.stem}-{scenario.name}.svg")
            chart.write_text(drawn(run, scenario, places), "utf-8")
            written.append(chart)
    return written


def drawn(run: FieldRun, scenario: Scenario, places: Sequence[int]) -> str:
    """A chart a figure, a line a subject; of what has parts, the parts of ours."""
    if scenario.whole:
        parts = {each.title: run.value(scenario.name, OURS, places[0], each.field) for each in scenario.figures}
        return bars(scenario.about, {title: value for title, value in parts.items() if value is not None})

    def series(figure: Figure) -> Iterator[Series]:
        for subject in run.found[scenario.name]:
            values = {float(n): run.value(scenario.name, subject, n, figure.field) for n in places}
            there = {n: value for n, value in values.items() if value is not None}
            if there:
                yield Series(subject, there)

    panels = [Panel(short(figure.title), list(series(figure))) for figure in scenario.figures]
    return svg(panels, {float(n): f"{n:,}" for n in places}, scenario.axis)


def short(title: str) -> str:
    """What fits above a chart."""
    return title if len(title) <= 54 else f"{title[:52]}…"


def text(value: float | None) -> str:
    """A figure for people."""
    if value is None:
        return NONE
    size = abs(value)
    return f"{value:,.{0 if size >= 100 or value == round(value) else 1 if size >= 10 else 2}f}"


def table(run: FieldRun, scenario: Scenario) -> str:
    """A Markdown table: a row for each figure at each N, a column for each subject, and the ratio; and the share of the
    whole where there is one."""
    found = run.found.get(scenario.name, {})
    head = ["", "N", *found, "released / ours", *(["% of ours"] if scenario.whole else [])]
    rows = [head, ["---"] * len(head)]
    for figure in scenario.figures:
        for number in sorted({number for points in found.values() for number in points}):
            values = [run.value(scenario.name, subject, number, figure.field) for subject in found]
            if all(value is None for value in values):
                continue
            cells = [*map(text, values), ratio(run, scenario.name, number, figure)]
            cells += [share(run, scenario, number, figure)] if scenario.whole else []
            rows.append([figure.title, f"{number:,}", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def share(run: FieldRun, scenario: Scenario, number: int, figure: Figure) -> str:
    """How much of our whole a part is, in percent."""
    part, whole = (run.value(scenario.name, OURS, number, name) for name in (figure.field, scenario.whole))
    return f"{part * 100 / whole:.0f}" if part is not None and whole else ""


def ratio(run: FieldRun, scenario: str, number: int, figure: Figure) -> str:
    """How many times the released hub's figure is ours, or ours its where more is better."""
    ours, theirs = (run.value(scenario, subject, number, figure.field) for subject in (OURS, RELEASED))
    if figure.more:
        ours, theirs = theirs, ours
    return f"{theirs / ours:.1f}" if ours and theirs else ""


def goals(run: FieldRun, scenarios: Sequence[Scenario]) -> str:
    """A Markdown table of every figure that has a goal, at the N that the goal means; where ours is worse at another N,
    that stands beside it."""
    rows = [["", "goal", "ours", "", "at its worst", "released", "released / ours", "floor"], ["---"] * 8]
    for scenario in scenarios:
        for figure in scenario.figures:
            measured = {n: run.value(scenario.name, OURS, n, figure.field) for n in run.measured(scenario.name)}
            ours = {n: value for n, value in measured.items() if value is not None}
            if figure.most is not None and ours:
                rows.append(_goal(run, scenario, figure, ours))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _goal(run: FieldRun, scenario: Scenario, figure: Figure, ours: Mapping[int, float]) -> list[str]:
    """The row of one goal; `ours` is what was found at each N."""
    worst = max(ours, key=lambda n: ours[n])
    number = figure.at if figure.at in ours else max(ours) if figure.at else worst
    theirs, at = _theirs(run, scenario, number, figure)
    where = f" ({number:,} {scenario.axis})" if scenario.axis else ""
    return [
        figure.title + where,
        f"≤ {figure.most:g}",
        text(ours[number]),
        "met" if ours[number] <= (figure.most or 0) else "**missed**",
        "" if worst == number else f"{text(ours[worst])} (with {worst:,})",
        text(theirs) + (f" (with {at:,})" if theirs is not None and at != number else ""),
        ratio(run, scenario.name, at, figure),
        text(_floor(run, scenario.name, number, figure.field)),
    ]


def _floor(run: FieldRun, scenario: str, number: int, name: str) -> float | None:
    """The figure of the bare echo, or else of the bare relay."""
    found = (run.value(scenario, floor, number, name) for floor in FLOORS)
    return next((value for value in found if value is not None), None)


def _theirs(run: FieldRun, scenario: Scenario, number: int, figure: Figure) -> tuple[float | None, int]:
    """The released hub's figure, at the largest N it was measured at that is no more than this one."""
    measured = [n for n in run.found[scenario.name].get(RELEASED, {}) if n <= number]
    at = max(measured, default=number)
    return run.value(scenario.name, RELEASED, at, figure.field), at


def page(run: FieldRun, scenarios: Sequence[Scenario]) -> str:
    """All tables."""
    facts = [f"{name}: {value}" for name, value in {**run.machine, **run.versions}.items()]
    parts = ["\n".join(facts)]
    if any(figure.most for scenario in scenarios for figure in scenario.figures):
        parts.append(goals(run, scenarios))
    for scenario in scenarios:
        if scenario.name in run.found or scenario.name in run.failed:
            why = [f"{name}: {reason}" for name, reason in run.failed.get(scenario.name, {}).items()]
            why += [f"{name}: {reason}" for name, reason in scenario.cannot.items()]
            parts += [f"## {scenario.name}\n\n{scenario.about}", table(run, scenario), *why]
    return "\n\n".join(parts)
