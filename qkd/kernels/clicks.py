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
    mute_ps: int,
    before_ps: int,
    first_ps: npt.NDArray[np.int64],
    fired: npt.NDArray[np.uint8],
    basis: npt.NDArray[np.uint8],
    bit: npt.NDArray[np.uint8],
    multiple: npt.NDArray[np.int64],
) -> tuple[int, int, int]:
    """Clicks closer than `gap_ps` to the one before are one event; channels are 0..3, there is at least one click.

    An event counts if it begins `mute_ps` or more after the click before it, `before_ps` being that before the first.
    Writes per event that counts its first time, the mask of detectors that fired, and basis and bit as a single click
    would have them; and the numbers of the events of several detectors. All outputs need room for every click.

    Returns:
        (events that count, those of several detectors among them, events that do not count).
    """
    first_ps[0] = t_ps[0]
    fired[0] = 1 << channel[0]
    n, muted = np.int64(0), np.int64(0)
    counts = np.int64(t_ps[0] - before_ps >= mute_ps)
    for i in range(1, t_ps.size):
        apart = t_ps[i] - t_ps[i - 1]
        if apart >= gap_ps:
            # The place of an event that does not count is taken by the next one.
            n += counts
            muted += 1 - counts
            counts = np.int64(apart >= mute_ps)
            first_ps[n] = t_ps[i]
            fired[n] = 1 << channel[i]
        else:
            fired[n] |= 1 << channel[i]
    n += counts
    muted += 1 - counts
    several = np.int64(0)
    for k in range(n):
        mask = fired[k]
        basis[k] = mask > 3
        bit[k] = (mask & 10) != 0
        multiple[several] = k
        several += (mask & (mask - 1)) != 0
    return int(n), int(several), int(muted)


@kernel
def follow(
    t_ps: npt.NDArray[np.int64],
    basis: npt.NDArray[np.uint8],
    bit: npt.NDArray[np.uint8],
    near_ps: int,
    events: npt.NDArray[np.int64],
    near: npt.NDArray[np.int64],
    every: npt.NDArray[np.int64],
) -> None:
    """Count events at 2 x basis + bit, and neighbours of one basis at 2 x basis + (equal bits): near ones, and all.

    Near are those less than `near_ps` apart.
    """
    last_ps, last_basis, last_bit = np.int64(0), np.int64(2), np.int64(0)
    for i in range(t_ps.size):
        b, outcome = np.int64(basis[i]), np.int64(bit[i])
        events[2 * b + outcome] += 1
        cell = 2 * b + np.int64(outcome == last_bit)
        same = np.int64(b == last_basis)
        every[cell] += same
        near[cell] += same & np.int64(t_ps[i] - last_ps < near_ps)
        last_ps, last_basis, last_bit = t_ps[i], b, outcome
