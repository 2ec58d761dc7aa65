"""Loops over a station's clicks: grouping into events, the dead window of the whole station, and what follows what."""

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


@kernel
def silence(
    t_ps: npt.NDArray[np.int64], before_ps: int, gap_ps: int, mute_ps: int, heard: npt.NDArray[np.uint8]
) -> int:
    """Which events come after `mute_ps` without any click; events as `group` makes them, `before_ps` the click before.

    Writes 1 or 0 per event; returns how many events there are.
    """
    n = np.int64(0)
    last = np.int64(before_ps)
    for i in range(t_ps.size):
        if i == 0 or t_ps[i] - last >= gap_ps:
            heard[n] = t_ps[i] - last >= mute_ps
            n += 1
        last = t_ps[i]
    return int(n)


@kernel
def follow(
    t_ps: npt.NDArray[np.int64],
    basis: npt.NDArray[np.uint8],
    bit: npt.NDArray[np.uint8],
    near_ps: int,
    near: npt.NDArray[np.int64],
    every: npt.NDArray[np.int64],
) -> None:
    """Count neighbouring events of one basis, at 2 x basis + (equal bits): those less than `near_ps` apart, and all."""
    for i in range(1, t_ps.size):
        if basis[i] == basis[i - 1]:
            cell = 2 * np.int64(basis[i]) + (bit[i] == bit[i - 1])
            every[cell] += 1
            near[cell] += t_ps[i] - t_ps[i - 1] < near_ps
