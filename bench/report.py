"""The table and the file that a run leaves."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import ROOT

OURS = "ours"


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    field: str
    title: str
    most: float | None = None
    """What ours may be at most."""
    ratio: float | None = None
    """How many times less than the released one's it is to be."""
    more: bool = False
    """More is better."""
    at: int = 0
    """The N at which the goal is to be met; 0: wherever ours is worst."""


@dataclass(frozen=True)
class Run:
    """Everything a run found."""

    machine: Mapping[str, str]
    versions: Mapping[str, str]
    load: Any
    """A dataclass; as text it says what everything was put under."""
    rounds: Mapping[str, Sequence[Any]]
    """Subject -> dataclasses with a field for each figure."""
    figures: Sequence[Figure]

    def values(self, subject: str, field: str) -> list[float]:
        return [asdict(one)[field] for one in self.rounds[subject]]

    def median(self, subject: str, field: str) -> float:
        return statistics.median(self.values(subject, field))

    def ratio(self, field: str) -> float | None:
        """The released one's median over ours, where both were measured."""
        others = [subject for subject in self.rounds if subject != OURS]
        if OURS not in self.rounds or not others:
            return None
        ours, theirs = self.median(OURS, field), self.median(others[0], field)
        return theirs / ours if ours > 0 else None


def verdict(run: Run, figure: Figure) -> str:
    """`met`, `MISSED` or nothing where there is no goal or ours was not measured."""
    if OURS not in run.rounds:
        return ""
    if figure.most is not None:
        return "met" if run.median(OURS, figure.field) <= figure.most else "MISSED"
    ratio = run.ratio(figure.field)
    if figure.ratio is not None and ratio is not None:
        return "met" if ratio >= figure.ratio else "MISSED"
    return ""


def goal(figure: Figure) -> str:
    if figure.most is not None:
        return f"<= {figure.most:g}"
    return f">= {figure.ratio:g}x less" if figure.ratio is not None else ""


def table(run: Run) -> str:
    """Medians with the least and the most of the rounds, ratios, goals."""
    subjects = list(run.rounds)
    head = ["", *subjects, "ratio", "goal", ""]
    rows = [head] + [line(run, subjects, figure) for figure in run.figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    facts = [f"{name}: {value}" for name, value in {**run.machine, **run.versions}.items()]
    rounds = f"{len(next(iter(run.rounds.values())))} rounds, median (least-most)"
    return "\n".join([*facts, f"load: {run.load}; {rounds}", "", *text])


def line(run: Run, subjects: Sequence[str], figure: Figure) -> list[str]:
    ratio = run.ratio(figure.field)
    cells = [cell(run.values(subject, figure.field)) for subject in subjects]
    return [
        figure.title,
        *cells,
        f"{ratio:.1f}" if ratio is not None else "",
        goal(figure),
        verdict(run, figure),
    ]


def cell(values: Sequence[float]) -> str:
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    return f"{middle:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def missed(run: Run) -> list[str]:
    """The titles of the goals that ours did not meet."""
    return [figure.title for figure in run.figures if verdict(run, figure) == "MISSED"]


def save(run: Run, path: Path) -> None:
    """Write everything as JSON."""
    medians = {
        subject: {figure.field: run.median(subject, figure.field) for figure in run.figures} for subject in run.rounds
    }
    document: dict[str, Any] = {
        "machine": dict(run.machine),
        "versions": dict(run.versions),
        "load": asdict(run.load),
        "medians": medians,
        "ratios": {figure.field: run.ratio(figure.field) for figure in run.figures},
        "rounds": {subject: [asdict(one) for one in rounds] for subject, rounds in run.rounds.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def new_path(kind: str, *, is_whole: bool) -> Path:
    """Where the figures of a run go that has no place of its own: those of a whole run where they can be committed."""
    folder = ROOT / ("bench/results" if is_whole else "build/bench")
    return folder / time.strftime(f"%Y-%m-%dT%H%M%S-{kind}.json")


def finish(run: Run, path: Path, check: bool) -> int:
    """Write the figures to a file and print the table; the exit status: 1 where goals are to be met and one is not."""
    save(run, path)
    print(table(run))
    print(f"\nfigures: {path}")
    return 1 if check and missed(run) else 0
