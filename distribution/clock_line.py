"""The straight line on which the delays of pairs lie, among the delays of unrelated events strewn evenly about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc

Floats = npt.NDArray[np.float64]

_LEAST_PAIRS = 5.0
_CREDIBLE = 1e-6  # chance that unrelated events are taken for pairs
_MOST_TILTS = 41


@dataclass(frozen=True, slots=True)
class Line:
    """delay = centre + tilt u, with u from -1 to 1 over a cell.

    Attributes:
        centre_ps, tilt_ps: the line.
        pairs: points on it, unrelated ones subtracted.
        spread_ps: their standard deviation about it.
        covariance: of (centre, tilt), shape (2, 2), ps^2; a line through few points at one end of a cell says little
            about the other end.
    """

    centre_ps: float
    tilt_ps: float
    pairs: float
    spread_ps: float
    covariance: Floats


def straight_line(u: Floats, delay_ps: Floats, reach_ps: float, most_tilt_ps: float, spread_ps: float) -> Line | None:
    """Find the line that the pairs lie on.

    The fit is repeated because each pass recentres the cut that selects the pairs. Unrelated events inside the cut pull
    it towards the last line by their share, so every step is scaled up by (all / net).

    Args:
        u, delay_ps: shape (n,): place in the cell, -1 to 1, and delay within about +- reach_ps.
        most_tilt_ps: how far the tilt may be from zero.
        spread_ps: expected standard deviation about the line.

    Returns:
        The line, or None if chance would show so many points on one more often than once in a million.
    """
    centre, tilt = _densest(u, delay_ps, reach_ps, most_tilt_ps, spread_ps)
    cut = 3.0 * spread_ps
    trials = max(reach_ps / spread_ps, 1.0) * max(most_tilt_ps / spread_ps, 1.0)
    for _ in range(4):
        off = delay_ps - (centre + tilt * u)
        core = np.abs(off) <= cut
        n = int(core.sum())
        background = (delay_ps.size - n) / max(2.0 * (reach_ps - cut), spread_ps) * 2.0 * cut
        net = n - background
        if net < _LEAST_PAIRS or gammainc(n, max(background, 1e-3)) * trials > _CREDIBLE:
            return None
        x, y = u[core], off[core]
        design = np.stack([np.ones(n), x], axis=1)
        # A prior of one spread on the tilt keeps the fit of points at one place finite.
        normal = design.T @ design + np.diag([0.0, (spread_ps / max(most_tilt_ps, spread_ps)) ** 2])
        step = np.linalg.solve(normal, design.T @ y) * min(n / net, 3.0)
        centre, tilt = centre + float(step[0]), tilt + float(step[1])
    inside = (delay_ps - (centre + tilt * u))[core]
    # 0.973: variance of a normal distribution cut at three sigma, in units of its own.
    variance = (float(inside @ inside) - background * (2.0 * cut) ** 2 / 12.0) / net / 0.973
    spread = math.sqrt(max(variance, 0.25 * spread_ps**2))
    return Line(centre, tilt, net, spread, np.linalg.inv(normal) * (spread * n / net) ** 2)


def _densest(
    u: Floats, delay_ps: Floats, reach_ps: float, most_tilt_ps: float, spread_ps: float
) -> tuple[float, float]:
    """(centre, tilt) of the fullest band four spreads wide; (0, 0) where there is hardly room for another."""
    if reach_ps < 8.0 * spread_ps or not delay_ps.size:
        return 0.0, 0.0
    bins = math.ceil(2.0 * reach_ps / spread_ps)
    steps = min(math.ceil(most_tilt_ps / (2.0 * spread_ps)), _MOST_TILTS // 2)
    best, found = -1, (0.0, 0.0)
    for tilt in np.linspace(-most_tilt_ps, most_tilt_ps, 2 * steps + 1) if steps else [0.0]:
        place = ((delay_ps - tilt * u + reach_ps) / spread_ps).astype(np.int64)
        count = np.bincount(place[(place >= 0) & (place < bins)], minlength=bins)
        box = np.convolve(count, np.ones(4, np.int64), mode="valid")
        if box.max() > best:
            best, found = int(box.max()), ((int(box.argmax()) + 2.0) * spread_ps - reach_ps, float(tilt))
    return found
