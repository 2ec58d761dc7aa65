"""Correlation histogram as one would write it on a blackboard: all differences, then numpy's histogram."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def delays(a_ps: npt.NDArray[np.int64], b_ps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Every b - a, shape (len(a) * len(b),)."""
    return (b_ps[np.newaxis, :] - a_ps[:, np.newaxis]).ravel()


def add_delays(
    a_ps: npt.NDArray[np.int64],
    b_ps: npt.NDArray[np.int64],
    start_ps: int,
    bin_ps: int,
    counts: npt.NDArray[np.int64],
) -> None:
    """Same contract as the kernel of this name."""
    for delay in delays(a_ps, b_ps).tolist():
        if 0 <= delay - start_ps < bin_ps * counts.size:
            counts[(delay - start_ps) // bin_ps] += 1
