"""All pairs of clicks, one after the other: the slow form of `distribution.kernels.neighbours`."""

from __future__ import annotations

import numpy as np


def count_neighbours(
    t_ps: list[int], channel: list[int], near_ps: int, from_ps: int, to_ps: int, period_ps: int
) -> np.ndarray:
    counts = np.zeros((2, 4, 4), np.int64)
    for later in range(len(t_ps)):
        for earlier in range(later):
            apart = t_ps[later] - t_ps[earlier]
            off_beat = period_ps and min(apart % period_ps, -apart % period_ps) >= near_ps
            if apart < near_ps:
                counts[0, channel[earlier], channel[later]] += 1
            elif from_ps <= apart < to_ps and not off_beat:
                counts[1, channel[earlier], channel[later]] += 1
    return counts
