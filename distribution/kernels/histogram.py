"""Loop of the correlation histogram."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel


@kernel
def add_delays(
    a_ps: npt.NDArray[np.int64],
    b_ps: npt.NDArray[np.int64],
    start_ps: int,
    bin_ps: int,
    counts: npt.NDArray[np.int64],
) -> None:
    """Count every pair with 0 <= b - a - start_ps < bin_ps * counts.size in its bin; both streams ascend.

    The first b in reach only moves forward, so the cost is one pass over both streams plus one step per pair.
    """
    reach_ps = bin_ps * counts.size
    first = 0
    for i in range(a_ps.size):
        low = a_ps[i] + start_ps
        while first < b_ps.size and b_ps[first] < low:
            first += 1
        j = first
        while j < b_ps.size and b_ps[j] - low < reach_ps:
            counts[(b_ps[j] - low) // bin_ps] += 1
            j += 1
