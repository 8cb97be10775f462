"""Small charts side by side, as one SVG: how figures grow with what there is more and more of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, PER_ROW = 330, 256, 3
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 34, 88
COLOURS = ("#1f5f8b", "#c8553d", "#5b8c5a", "#8e6c8a", "#b8860b", "#777777", "#2a9d8f", "#d1495b")
LEGEND_PER_ROW = 2
BAR, BAR_LEFT, BAR_RIGHT = 20, 330, 60
"""The height of a bar, and what is left beside it for its name and its value."""
WIDE = 30
"""Where the most is so many times the least, the scale is logarithmic."""


@dataclass(frozen=True)
class Series:
    """One line of a chart: where it is at each place of the axis."""

    title: str
    values: Mapping[float, float]


@dataclass(frozen=True)
class Panel:
    """One chart."""

    title: str
    series: Sequence[Series]


def svg(panels: Sequence[Panel], places: Mapping[float, str], axis: str = "") -> str:
    """Draw the charts over the same places, with what stands below each; `axis` says what they count."""
    rows = -(-len(panels) // PER_ROW)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * PER_ROW}" height="{HEIGHT * rows}"'
        ' font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        x, y = WIDTH * (number % PER_ROW), HEIGHT * (number // PER_ROW)
        parts += [f'<g transform="translate({x},{y})">', *_panel(panel, places, axis), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def bars(title: str, values: Mapping[str, float]) -> str:
    """Draw values as bars below each other."""
    width, height = WIDTH * PER_ROW, BAR * len(values) + TOP + 10
    most = max(values.values(), default=0.0) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        ' font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="6" y="16" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(values.items()):
        y, long = TOP + BAR * number, max(0.0, value) / most * (width - BAR_LEFT - BAR_RIGHT)
        parts += [
            f'<text x="{BAR_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{BAR_LEFT}" y="{y}" width="{long:.1f}" height="{BAR - 5}" fill="{COLOURS[0]}"/>',
            f'<text x="{BAR_LEFT + long + 6:.1f}" y="{y + 12}">{_number(value)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, places: Mapping[float, str], axis: str) -> Iterator[str]:
    across = _scale(list(places), LEFT, WIDTH - RIGHT)
    values = [value for series in panel.series for value in series.values.values()]
    least, most = min(values, default=0.0), max(values, default=1.0)
    is_wide = least > 0 and most / least > WIDE
    ends = [10 ** math.floor(math.log10(least)), most * 1.2] if is_wide else [0.0, max(most, 1e-9) * 1.1]
    up = _scale(ends, HEIGHT - BOTTOM, TOP, is_wide)
    yield f'<text x="6" y="16" font-weight="bold">{escape(panel.title)}</text>'
    for value in _steps(*ends, is_wide):
        yield f'<line x1="{LEFT}" y1="{up(value):.1f}" x2="{WIDTH - RIGHT}" y2="{up(value):.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 5}" y="{up(value) + 4:.1f}" text-anchor="end">{_number(value)}</text>'
    for number, (place, name) in enumerate(places.items()):
        anchor = "start" if not number else "end" if number == len(places) - 1 else "middle"
        yield f'<text x="{across(place):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="{anchor}">{escape(name)}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - BOTTOM + 28}" text-anchor="middle" fill="#777">{escape(axis)}</text>'
    for number, series in enumerate(panel.series):
        points = [(across(place), up(value)) for place, value in series.values.items()]
        yield from _line(number, series.title, points)


def _line(number: int, title: str, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    colour = COLOURS[number % len(COLOURS)]
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in points:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
    row, column = divmod(number, LEGEND_PER_ROW)
    x, y = 6 + column * (WIDTH - 6) / LEGEND_PER_ROW, HEIGHT - 46 + 13 * row
    yield f'<text x="{x:.1f}" y="{y}" font-size="10" fill="{colour}">{escape(title)}</text>'


def _scale(values: Sequence[float], low: float, high: float, is_log: bool | None = None) -> Callable[[float], float]:
    """From values to places between two ends; logarithmic where that is asked for or the values are far apart."""
    least, most = min(values), max(values)
    if is_log is None:
        is_log = least > 0 and most / least > WIDE
    read: Callable[[float], float] = math.log if is_log else float
    width = (read(most) - read(least)) or 1.0
    return lambda value: low + (high - low) * (read(value) - read(least)) / width


def _steps(least: float, most: float, is_log: bool) -> list[float]:
    if not is_log:
        return [most * step / 3 for step in range(4)]
    return [10**power for power in range(round(math.log10(least)), math.floor(math.log10(most)) + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 or value == round(value) else f"{value:.2g}"
