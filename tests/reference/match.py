"""Slow, obviously correct versions of the coincidence rule and of the pair counts."""

from __future__ import annotations

from collections.abc import Sequence


def greedy_pairs(a: Sequence[int], b: Sequence[int], window_ps: int) -> list[tuple[int, int]]:
    """Each event of a in turn takes the earliest unused event of b at most half a window (rounded down) away."""
    used: set[int] = set()
    pairs = []
    for i, t in enumerate(a):
        for j, s in enumerate(b):
            if j not in used and abs(s - t) <= window_ps // 2:
                used.add(j)
                pairs.append((i, j))
                break
    return pairs


def ambiguous_pairs(a: Sequence[int], b: Sequence[int], window_ps: int) -> list[bool]:
    """For each greedy pair, whether one of its events has more than one partner within the window."""
    half = window_ps // 2
    return [
        sum(abs(s - a[i]) <= half for s in b) > 1 or sum(abs(b[j] - t) <= half for t in a) > 1
        for i, j in greedy_pairs(a, b, window_ps)
    ]


def count_pairs(a: Sequence[int], b: Sequence[int], least_ps: int, most_ps: int) -> int:
    """All pairs with least_ps <= b - a <= most_ps."""
    return sum(least_ps <= s - t <= most_ps for t in a for s in b)
