"""Slow, obvious grouping of clicks into events."""

from __future__ import annotations

from collections.abc import Sequence


def events(clicks: Sequence[tuple[int, int]], gap_ps: int) -> list[tuple[int, frozenset[int]]]:
    """(first time, detectors that fired) of each run of clicks less than `gap_ps` from the one before."""
    runs: list[list[tuple[int, int]]] = []
    for t, detector in clicks:
        if not runs or t - runs[-1][-1][0] >= max(gap_ps, 1):
            runs.append([])
        runs[-1].append((t, detector))
    return [(run[0][0], frozenset(detector for _, detector in run)) for run in runs]
