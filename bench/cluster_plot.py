"""Small charts side by side, as one SVG: how figures grow with the number of hubs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, PER_ROW = 300, 210, 3
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 34, 46
COLOURS = ("#1f5f8b", "#c8553d", "#5b8c5a")


@dataclass(frozen=True)
class Line:
    """One figure, or the sum of several."""

    title: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """One chart."""

    title: str
    unit: str
    lines: tuple[Line, ...]


def svg(panels: Sequence[Panel], names: Sequence[str], values: Sequence[Mapping[str, float]]) -> str:
    """Draw the charts; `names` stand below each, and `values` has the figures for each name."""
    rows = -(-len(panels) // PER_ROW)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * PER_ROW}" height="{HEIGHT * rows}"'
        ' font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        x, y = WIDTH * (number % PER_ROW), HEIGHT * (number // PER_ROW)
        parts += [f'<g transform="translate({x},{y})">', *_panel(panel, names, values), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, names: Sequence[str], values: Sequence[Mapping[str, float]]) -> list[str]:
    series = [[sum(each[field] for field in line.fields) for each in values] for line in panel.lines]
    most = max(1e-9, *(value for row in series for value in row)) * 1.1
    across = (WIDTH - LEFT - RIGHT) / max(1, len(names) - 1)

    def at(number: int, value: float) -> tuple[float, float]:
        return LEFT + across * number, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most

    parts = [f'<text x="{LEFT}" y="16" font-weight="bold">{escape(panel.title)}, {panel.unit}</text>']
    for step in range(4):
        value = most * step / 3
        _, y = at(0, value)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    for number, name in enumerate(names):
        x, y = at(number, 0)
        anchor = "start" if not number else "end" if number == len(names) - 1 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{y + 15:.1f}" text-anchor="{anchor}">{escape(name)}</text>')
    for number, (line, row) in enumerate(zip(panel.lines, series, strict=True)):
        colour = COLOURS[number]
        points = [at(*point) for point in enumerate(row)]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        x = LEFT + number * (WIDTH - LEFT - RIGHT) / 3
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 12}" fill="{colour}">{escape(line.title)}</text>')
    return parts


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}"
