"""Slow, obvious versions: moments of the delays of all pairs of detectors, and tags with delays taken off."""

from __future__ import annotations

from collections.abc import Sequence

Tag = tuple[int, int]
"""Time (ps) and detector."""


def moments(a: Sequence[Tag], b: Sequence[Tag], least_ps: int, most_ps: int) -> dict[tuple[int, int], list[int]]:
    """For each pair of detectors: pairs, sum of delays, sum of their squares, for least_ps <= b - a <= most_ps."""
    found: dict[tuple[int, int], list[int]] = {}
    for t, i in a:
        for s, j in b:
            if least_ps <= s - t <= most_ps:
                entry = found.setdefault((i, j), [0, 0, 0])
                entry[0] += 1
                entry[1] += s - t
                entry[2] += (s - t) ** 2
    return found


def corrected(tags: Sequence[Tag], delays_ps: Sequence[int]) -> list[Tag]:
    """Each detector's delay taken off; Python's sort keeps equal times in order."""
    return sorted(((t - delays_ps[c], c) for t, c in tags), key=lambda tag: tag[0])
