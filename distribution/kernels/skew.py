"""Loops over detectors: moments of the delays of each pair of detectors, and moving each detector's tags."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel


@kernel
def add_moments(
    a_ps: npt.NDArray[np.int64],
    a_group: npt.NDArray[np.uint8],
    b_ps: npt.NDArray[np.int64],
    b_group: npt.NDArray[np.uint8],
    least_ps: int,
    most_ps: int,
    count: npt.NDArray[np.int64],
    total_ps: npt.NDArray[np.float64],
    square_ps2: npt.NDArray[np.float64],
) -> None:
    """Add every (not greedy) pair with least_ps <= b - a <= most_ps to the moments of its two groups.

    Each of the three arrays is (groups of a, groups of b): pairs, sum of their delays, sum of the squares.
    """
    first = 0
    for i in range(a_ps.size):
        low = a_ps[i] + least_ps
        high = a_ps[i] + most_ps
        while first < b_ps.size and b_ps[first] < low:
            first += 1
        j = first
        while j < b_ps.size and b_ps[j] <= high:
            delay = np.float64(b_ps[j] - a_ps[i])
            count[a_group[i], b_group[j]] += 1
            total_ps[a_group[i], b_group[j]] += delay
            square_ps2[a_group[i], b_group[j]] += delay * delay
            j += 1


@kernel
def shift_and_settle(
    t_ps: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8], shift_ps: npt.NDArray[np.int64]
) -> None:
    """Take shift_ps[channel] off every time, in place, and mend the order by insertion; equal times keep theirs.

    `shift_ps` has 256 entries. The cost is one step for every pair that changes places.
    """
    for i in range(t_ps.size):
        now = t_ps[i] - shift_ps[channel[i]]
        who = channel[i]
        j = i
        while j > 0 and t_ps[j - 1] > now:
            t_ps[j] = t_ps[j - 1]
            channel[j] = channel[j - 1]
            j -= 1
        t_ps[j] = now
        channel[j] = who
