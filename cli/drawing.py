"""Histograms as people see them: a line of blocks in the terminal, or a small SVG without any library."""

from __future__ import annotations

import itertools
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distribution.analysis import Histogram

TEXT_COLUMNS = 72
TEXT_LEVELS = " ▁▂▃▄▅▆▇█"


def text(histogram: Histogram) -> str:
    """The histogram in one line of blocks, each column the highest of its bins, and an axis below it."""
    counts = histogram.counts.tolist()
    columns = min(TEXT_COLUMNS, len(counts))
    edges = [k * len(counts) // columns for k in range(columns + 1)]
    heights = [max(counts[i:j]) for i, j in itertools.pairwise(edges)]
    top = max(1, max(heights))
    # Rounded up, so that a single count still shows.
    line = "".join(TEXT_LEVELS[-(-c * (len(TEXT_LEVELS) - 1) // top)] for c in heights)
    edge = f"{histogram.start_ps / 1000:.4g}"
    far = f"{-histogram.start_ps / 1000:.4g} ns"
    axis = f"{edge}{far:>{max(1, columns - len(edge))}}"
    return f"\n{line}\n{axis}   highest bin of {histogram.bin_ps} ps: {top}"


def svg(histogram: Histogram, *, title: str) -> str:
    """The histogram as a stand-alone SVG: a step line, the axis in ns, the highest bin named."""
    width, height, margin = 900, 300, 40
    top = max(1, int(histogram.counts.max()))
    step = (width - 2 * margin) / histogram.counts.size
    points = " ".join(
        f"{margin + step * k:.2f},{y} {margin + step * (k + 1):.2f},{y}"
        for k, c in enumerate(histogram.counts.tolist())
        for y in (f"{height - margin - c / top * (height - 2 * margin):.2f}",)
    )
    half_ns = -histogram.start_ps / 1000
    marks = "".join(
        f'<text x="{margin + (width - 2 * margin) * at:.0f}" y="{height - margin + 18}">'
        f"{(2 * at - 1) * half_ns:.4g}</text>"
        for at in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        f' font-size="12" text-anchor="middle"><rect width="{width}" height="{height}" fill="white"/>'
        f'<text x="{width / 2}" y="18">{escape(title)}: counts per {histogram.bin_ps} ps, highest {top}</text>'
        f'<path d="M{margin} {height - margin}H{width - margin}" stroke="black"/>{marks}'
        f'<text x="{width / 2}" y="{height - 6}">delay, ns</text>'
        f'<polyline points="{points}" fill="none" stroke="#1f4e9c"/></svg>\n'
    )
