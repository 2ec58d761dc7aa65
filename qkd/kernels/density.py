"""Loops over quantised message densities (`qkd.codedesign.density` says what the densities are)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel


@kernel
def tabulate_checks(
    levels: npt.NDArray[np.float64], place: npt.NDArray[np.int32], share: npt.NDArray[np.float64]
) -> None:
    """Where the product levels[i] * levels[j], j <= i, lies: entry i (i+1)/2 + j of both tables.

    `place` is the level k below the product, `share` the part of the mass that goes to level k + 1.
    """
    top = levels.size - 1
    for i in range(top + 1):
        k = 0
        row = i * (i + 1) // 2
        for j in range(i + 1):
            product = levels[i] * levels[j]
            while k < top - 1 and levels[k + 1] <= product:
                k += 1
            place[row + j] = k
            low = levels[k] * levels[k]
            share[row + j] = (product * product - low) / (levels[k + 1] * levels[k + 1] - low)


@kernel
def combine_checks(
    first: npt.NDArray[np.float64],
    second: npt.NDArray[np.float64],
    place: npt.NDArray[np.int32],
    share: npt.NDArray[np.float64],
    out: npt.NDArray[np.float64],
) -> None:
    """`out` becomes the density of the product of two independent levels."""
    for k in range(out.size):
        out[k] = 0.0
    for i in range(first.size):
        row = i * (i + 1) // 2
        for j in range(i + 1):
            mass = first[i] * second[j]
            if j != i:
                mass += first[j] * second[i]
            moved = mass * share[row + j]
            k = place[row + j]
            out[k] += mass - moved
            out[k + 1] += moved
