"""Loop over heralds: which detectors of the other side clicked with each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel


@kernel
def count_heralded(
    herald_ps: npt.NDArray[np.int64],
    t_ps: npt.NDArray[np.int64],
    channel: npt.NDArray[np.uint8],
    half_ps: int,
    singles: npt.NDArray[np.int64],
) -> int:
    """Heralds with a click of each detector within `half_ps`, added to `singles` (64 entries).

    Channels must be below 64. Returns the number of pairs of different detectors that clicked with the same herald,
    summed over the heralds.
    """
    pairs = np.int64(0)
    first = 0
    for i in range(herald_ps.size):
        while first < t_ps.size and t_ps[first] < herald_ps[i] - half_ps:
            first += 1
        j = first
        seen = np.uint64(0)
        fired = np.int64(0)
        while j < t_ps.size and t_ps[j] <= herald_ps[i] + half_ps:
            bit = np.uint64(1) << np.uint64(channel[j])
            if not seen & bit:
                seen |= bit
                singles[channel[j]] += 1
                pairs += fired  # one pair with each detector that clicked before
                fired += 1
            j += 1
    return int(pairs)
