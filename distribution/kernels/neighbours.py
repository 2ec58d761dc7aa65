"""Pairs of clicks of one station that follow each other closely, and such that follow at larger distances."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel


@kernel
def count_neighbours(
    t_ps: npt.NDArray[np.int64],
    channel: npt.NDArray[np.uint8],
    first: int,
    near_ps: int,
    from_ps: int,
    to_ps: int,
    period_ps: int,
    counts: npt.NDArray[np.int64],
) -> None:
    """Add every pair of clicks whose later one has an index from `first` on; times ascend.

    Args:
        counts: shape (2, 4, 4), earlier detector first: [0] pairs less than `near_ps` apart; [1] pairs at least
            `from_ps` and less than `to_ps` apart; with a period, of these those less than `near_ps` from a multiple
            of it.
    """
    for i in range(first, t_ps.size):
        j = i - 1
        while j >= 0:
            apart = t_ps[i] - t_ps[j]
            if apart >= to_ps:
                break
            if apart < near_ps:
                counts[0, channel[j], channel[i]] += 1
            elif apart >= from_ps and (period_ps == 0 or (apart + near_ps - 1) % period_ps < 2 * near_ps - 1):
                counts[1, channel[j], channel[i]] += 1
            j -= 1
