"""Line charts as one stand-alone SVG without any library: panels in a grid, one legend below all of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape

WIDTH, HEIGHT = 440, 300  # of a panel, with its margins
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 30, 42
LEGEND_LINE, LEGEND_COLUMN = 18, 290


class Style(Enum):
    """How a series is drawn."""

    LINE = "line"
    DASHES = "dashes"
    MARKS = "marks"


@dataclass(frozen=True, slots=True)
class Series:
    """Points with a name; series of one name in several panels share a line of the legend."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    style: Style = Style.LINE


@dataclass(frozen=True, slots=True)
class Axis:
    """A range to draw, linear or logarithmic; what lies outside is cut off."""

    label: str
    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value is, 0 at the low end and 1 at the high one."""
        if self.logarithmic:
            return math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values within the range: 1, 2, 5 of each decade, or about six equal steps."""
        if self.logarithmic:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1,) if self.high / self.low > 1000 else (1, 2, 5)
            ticks = [step * 10.0**decade for decade in range(first, last + 1) for step in steps]
        else:
            raw = (self.high - self.low) / 6
            decade = 10.0 ** math.floor(math.log10(raw))
            step = next(s * decade for s in (1, 2, 5, 10) if s * decade >= raw * 0.999)
            ticks = [k * step for k in range(math.floor(self.low / step), math.ceil(self.high / step) + 1)]
        slack = 1e-9
        return [tick for tick in ticks if -slack <= self.place(tick) <= 1 + slack]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]


def svg(panels: Sequence[Panel], *, columns: int) -> str:
    """All panels, row by row, and the legend."""
    legend = list({series.label: series for panel in panels for series in panel.series}.values())
    rows = -(-len(panels) // columns)
    width = columns * WIDTH
    legend_columns = max(1, width // LEGEND_COLUMN)
    height = rows * HEIGHT + LEGEND_LINE * (-(-len(legend) // legend_columns) + 1)
    drawn = "\n".join(
        f'<g transform="translate({k % columns * WIDTH},{k // columns * HEIGHT})">{_panel(panel, k)}</g>'
        for k, panel in enumerate(panels)
    )
    keys = "\n".join(_key(series, k, legend_columns, rows * HEIGHT + LEGEND_LINE) for k, series in enumerate(legend))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        f' font-size="12"><rect width="{width}" height="{height}" fill="white"/>\n{drawn}\n{keys}\n</svg>\n'
    )


def _panel(panel: Panel, number: int) -> str:
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    drawn = "".join(_series(series, panel) for series in panel.series if series.points)
    middle_x, middle_y = LEFT + wide / 2, TOP + high / 2
    return (
        f'<clipPath id="c{number}"><rect x="{LEFT}" y="{TOP}" width="{wide}" height="{high}"/></clipPath>'
        f"{_grid(panel)}"
        f'<rect x="{LEFT}" y="{TOP}" width="{wide}" height="{high}" fill="none" stroke="black"/>'
        f'<g text-anchor="middle"><text x="{middle_x}" y="{TOP - 10}" font-weight="bold">{escape(panel.title)}</text>'
        f'<text x="{middle_x}" y="{HEIGHT - 8}">{escape(panel.x.label)}</text>'
        f'<text transform="translate(13,{middle_y}) rotate(-90)">{escape(panel.y.label)}</text></g>'
        f'<g clip-path="url(#c{number})">{drawn}</g>'
    )


def _grid(panel: Panel) -> str:
    parts = []
    for tick in panel.x.ticks():
        x = _x(panel, tick)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{tick:g}</text>')
    for tick in panel.y.ticks():
        y = _y(panel, tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    return "".join(parts)


def _x(panel: Panel, value: float) -> float:
    return LEFT + panel.x.place(value) * (WIDTH - LEFT - RIGHT)


def _y(panel: Panel, value: float) -> float:
    return HEIGHT - BOTTOM - panel.y.place(value) * (HEIGHT - TOP - BOTTOM)


def _series(series: Series, panel: Panel) -> str:
    places = [(_x(panel, x), _y(panel, y)) for x, y in series.points]
    if series.style is Style.MARKS:
        return "".join(_cross(x, y, series.colour) for x, y in places)
    line = _line(places, series)
    # Marks only where points are far enough apart to be told from one another.
    if series.style is Style.LINE and all(b[0] - a[0] > 6 for a, b in itertools.pairwise(places)):
        line += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{series.colour}"/>' for x, y in places)
    return line


def _line(places: Iterable[tuple[float, float]], series: Series) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashes = ' stroke-dasharray="5 4"' if series.style is Style.DASHES else ""
    return f'<polyline points="{path}" fill="none" stroke="{series.colour}" stroke-width="1.4"{dashes}/>'


def _cross(x: float, y: float, colour: str) -> str:
    return f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke="{colour}" stroke-width="1.4"/>'


def _key(series: Series, number: int, columns: int, top: float) -> str:
    x, y = LEFT + number % columns * LEGEND_COLUMN, top + number // columns * LEGEND_LINE
    sample = _cross(x + 14, y, series.colour) if series.style is Style.MARKS else _line([(x, y), (x + 28, y)], series)
    return f'{sample}<text x="{x + 36}" y="{y + 4}">{escape(series.label)}</text>'
