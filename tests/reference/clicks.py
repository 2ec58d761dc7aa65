"""Slow, obvious grouping of clicks into events, their dead window, and what follows what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def events(clicks: Sequence[tuple[int, int]], gap_ps: int) -> list[tuple[int, frozenset[int]]]:
    """(first time, detectors that fired) of each run of clicks less than `gap_ps` from the one before."""
    runs: list[list[tuple[int, int]]] = []
    for t, detector in clicks:
        if not runs or t - runs[-1][-1][0] >= max(gap_ps, 1):
            runs.append([])
        runs[-1].append((t, detector))
    return [(run[0][0], frozenset(detector for _, detector in run)) for run in runs]


def heard(clicks: Sequence[tuple[int, int]], gap_ps: int, mute_ps: int, before_ps: int) -> list[bool]:
    """Of each event: whether no click of any detector came in the `mute_ps` before it."""
    times = [before_ps, *(t for t, _ in clicks)]
    firsts, at = [], 0
    for t, _ in events(clicks, gap_ps):
        at = next(i for i in range(at + 1, len(times)) if times[i] == t)
        firsts.append(t - times[at - 1] >= mute_ps)
    return firsts


def following(found: Sequence[tuple[int, int, int]], near_ps: int) -> tuple[list[int], list[int]]:
    """Neighbours of one basis among (time, basis, bit), at 2 x basis + (equal bits): near ones, and all."""
    near, every = [0] * 4, [0] * 4
    for (t, basis, bit), (later, basis_after, bit_after) in pairwise(found):
        if basis == basis_after:
            cell = 2 * basis + (bit == bit_after)
            every[cell] += 1
            near[cell] += later - t < near_ps
    return near, every
