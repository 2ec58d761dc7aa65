"""All pairs of two ascending streams that lie near an expected, slowly moving delay."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel


@kernel
def near_pairs(
    a_ps: npt.NDArray[np.int64],
    b_ps: npt.NDArray[np.int64],
    reference_ps: int,
    offset_ps: int,
    fraction_ps: float,
    drift: float,
    bend_per_ps: float,
    half_ps: int,
    index_a: npt.NDArray[np.int64],
    residual_ps: npt.NDArray[np.float64],
) -> int:
    """List every pair whose delay differs from the expected one by about `half_ps` at most.

    Expected is offset + fraction + drift s + bend s^2 with s = a - reference. Absolute times stay int64; only the
    residual, and the small products with drift and bend, are floating point. The caller trims `b_ps` to where partners
    can be.

    Returns:
        Number of pairs there are; more than index_a.size means that the rest was not stored.
    """
    n = np.int64(0)
    first = np.int64(0)
    for i in range(a_ps.size):
        since = np.float64(a_ps[i] - reference_ps)
        shift = fraction_ps + (drift + bend_per_ps * since) * since
        whole = np.int64(math.floor(shift + 0.5))
        part = shift - np.float64(whole)
        centre = a_ps[i] + offset_ps + whole
        while first < b_ps.size and b_ps[first] < centre - half_ps:
            first += 1
        j = first
        while j < b_ps.size and b_ps[j] <= centre + half_ps:
            if n < index_a.size:
                index_a[n] = i
                residual_ps[n] = np.float64(b_ps[j] - centre) - part
            n += 1
            j += 1
    return int(n)
