"""Merging two ascending streams of times: greedy pairs, and counts of all pairs at a range of delays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel


@kernel
def merge_pairs(
    a_ps: npt.NDArray[np.int64],
    b_ps: npt.NDArray[np.int64],
    half_ps: int,
    index_a: npt.NDArray[np.int64],
    index_b: npt.NDArray[np.int64],
) -> tuple[int, int, int]:
    """Pair the earliest unused events that are at most `half_ps` apart, until one stream is used up.

    Both index arrays need one place more than the shorter stream has events: the pair at hand is always stored and
    only then counted, because a branch on it would be mispredicted at every coincidence.

    Returns:
        (pairs, events of a used up, events of b used up).
    """
    i = np.int64(0)
    j = np.int64(0)
    n = np.int64(0)
    while i < a_ps.size and j < b_ps.size:
        delay = b_ps[j] - a_ps[i]
        not_early = np.int64(delay >= -half_ps)
        not_late = np.int64(delay <= half_ps)
        index_a[n] = i
        index_b[n] = j
        n += not_early & not_late
        i += not_early  # this b, and so every later one, is past the start of a's window
        j += not_late
    return int(n), int(i), int(j)


@kernel
def flag_ambiguous(
    a_ps: npt.NDArray[np.int64],
    b_ps: npt.NDArray[np.int64],
    half_ps: int,
    index_a: npt.NDArray[np.int64],
    index_b: npt.NDArray[np.int64],
    ambiguous: npt.NDArray[np.bool_],
) -> None:
    """Mark each pair one of whose events is at most `half_ps` from a neighbour of its partner."""
    for k in range(index_a.size):
        i = index_a[k]
        j = index_b[k]
        rival = i > 0 and b_ps[j] - a_ps[i - 1] <= half_ps
        rival |= i + 1 < a_ps.size and a_ps[i + 1] - b_ps[j] <= half_ps
        rival |= j > 0 and a_ps[i] - b_ps[j - 1] <= half_ps
        rival |= j + 1 < b_ps.size and b_ps[j + 1] - a_ps[i] <= half_ps
        ambiguous[k] = rival


@kernel
def count_pairs(a_ps: npt.NDArray[np.int64], b_ps: npt.NDArray[np.int64], least_ps: int, most_ps: int) -> int:
    """Number of all (not greedy) pairs with least_ps <= b - a <= most_ps, in one pass whatever their number."""
    below = np.int64(0)
    upto = np.int64(0)
    n = np.int64(0)
    for i in range(a_ps.size):
        first = a_ps[i] + least_ps
        last = a_ps[i] + most_ps
        while below < b_ps.size and b_ps[below] < first:
            below += 1
        while upto < b_ps.size and b_ps[upto] <= last:
            upto += 1
        n += upto - below
    return int(n)
