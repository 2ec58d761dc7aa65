"""Loop that groups a station's clicks into events."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel


@kernel
def group(
    t_ps: npt.NDArray[np.int64],
    channel: npt.NDArray[np.uint8],
    gap_ps: int,
    first_ps: npt.NDArray[np.int64],
    fired: npt.NDArray[np.uint8],
    basis: npt.NDArray[np.uint8],
    bit: npt.NDArray[np.uint8],
    multiple: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Clicks closer than `gap_ps` to the one before are one event; channels are 0..3, there is at least one click.

    Writes per event its first time, the mask of detectors that fired, and basis and bit as a single click would have
    them; and the numbers of the events of several detectors. All outputs need room for every click.

    Returns:
        (events, events of several detectors).
    """
    first_ps[0] = t_ps[0]
    fired[0] = 1 << channel[0]
    n = np.int64(0)
    for i in range(1, t_ps.size):
        if t_ps[i] - t_ps[i - 1] >= gap_ps:
            n += 1
            first_ps[n] = t_ps[i]
            fired[n] = 1 << channel[i]
        else:
            fired[n] |= 1 << channel[i]
    n += 1
    several = np.int64(0)
    for k in range(n):
        mask = fired[k]
        basis[k] = mask > 3
        bit[k] = (mask & 10) != 0
        multiple[several] = k
        several += (mask & (mask - 1)) != 0
    return int(n), int(several)
