"""The verdict on a peak of delays: counted against chance, over time and against its neighbours.

Nothing here trusts the search that led to the peak: the verdict is the Poisson tail of the count times the number of
cells that the whole range of offsets, drifts and accelerations has; a peak must last, and no other may be its equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distribution.clock.model import ClockModel
from distribution.clock.ridge import MOST_PAIRS, between
from distribution.tags import TimesPs
from distribution.tails import poisson_at_least
from distribution.units import ps_to_seconds

# Any low orbit: at 400 km the delay accelerates by 0.47 ppm/s overhead (circular orbit, station in its plane).
MOST_ACCELERATION_PER_S = 0.5e-6

_LEAST_FALSE_ALARM = 1e-300
_PARTS, _LEAST_PARTS = 8, 3
_NEARBY_PS = 100_000.0
_MOST_STEPS = 3_000_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Peak:
    """Pairs about a clock model during [start, stop) of Alice's time, and the accidental ones per ps beside them."""

    start_ps: int
    stop_ps: int
    model: ClockModel
    spread_ps: float
    background_per_ps: float


def _residuals_of(a_ps: TimesPs, b_ps: TimesPs, peak: Peak, half_ps: float) -> tuple[TimesPs, Floats]:
    a = between(a_ps, peak.start_ps, peak.stop_ps)
    index, residual = peak.model.residuals(a, b_ps, half_ps)
    near = np.abs(residual) <= half_ps
    return a[index[near]], residual[near]


def accidental_rate(a_ps: TimesPs, b_ps: TimesPs, start_ps: int, stop_ps: int, model: ClockModel) -> float:
    """Unrelated pairs per ps of delay during [start, stop) of Alice's time, from the two numbers of events."""
    ends = model.to_bob(np.array([start_ps, stop_ps]))
    nb = between(b_ps, int(ends[0]), int(ends[1])).size
    return between(a_ps, start_ps, stop_ps).size * nb / (stop_ps - start_ps)


def _expected(a_ps: TimesPs, b_ps: TimesPs, peak: Peak, width_ps: float) -> float:
    """Accidental pairs in a cell: from the pairs beside the peak or from the rates, whichever says more."""
    rate = accidental_rate(a_ps, b_ps, peak.start_ps, peak.stop_ps, peak.model)
    return max(peak.background_per_ps, rate) * width_ps


def false_alarm(a_ps: TimesPs, b_ps: TimesPs, peak: Peak, uncertainty_ps: int, max_drift: float) -> float:
    """Poisson tail of the count within two sigma, times the cells of offset, drift, acceleration and width.

    Cells are placed at half their width, so that no peak can hide between two (for drift and acceleration: at the ends
    of the time used), and ten widths are allowed for. The union bound holds for any search, however it came to look at
    this cell.
    """
    width = 4.0 * peak.spread_ps
    t_ps, _ = _residuals_of(a_ps, b_ps, peak, width / 2)
    span = peak.stop_ps - peak.start_ps
    offsets = 4.0 * uncertainty_ps / width + 1.0
    drifts = 2.0 * max_drift * span / width + 1.0
    accelerations = MOST_ACCELERATION_PER_S * ps_to_seconds(span) * span / (2.0 * width) + 1.0
    cells = offsets * drifts * accelerations * 10.0
    probability = poisson_at_least(t_ps.size, _expected(a_ps, b_ps, peak, width)) * cells
    return min(max(probability, _LEAST_FALSE_ALARM), 1.0)


def is_lasting(a_ps: TimesPs, b_ps: TimesPs, peak: Peak) -> bool:
    """True if the peak shows in several parts of the time used: one burst of noise is no clock."""
    t_ps, _ = _residuals_of(a_ps, b_ps, peak, 2.0 * peak.spread_ps)
    expected = _expected(a_ps, b_ps, peak, 4.0 * peak.spread_ps) / _PARTS
    part = (t_ps - peak.start_ps) * _PARTS // (peak.stop_ps - peak.start_ps)
    seen = [poisson_at_least(int(n), expected) < 0.05 for n in np.bincount(part, minlength=_PARTS)]
    return sum(seen) >= _LEAST_PARTS


def is_ambiguous(a_ps: TimesPs, b_ps: TimesPs, peak: Peak, reach_ps: float) -> bool:
    """True if another peak within reach cannot be told from this one: a periodic source without its own clock phase.

    Near by, all of the time used is looked at; further out as much of it as has a bearable number of accidentals.
    """
    return any(_has_equal(a_ps, b_ps, peak, reach) for reach in (_NEARBY_PS, max(reach_ps, _NEARBY_PS)))


def _has_equal(a_ps: TimesPs, b_ps: TimesPs, peak: Peak, reach_ps: float) -> bool:
    """Counts in boxes four spreads wide that start every spread: in coarser steps two boxes could share a peak."""
    step = peak.spread_ps
    steps = min(math.ceil(reach_ps / step), _MOST_STEPS)
    reach = (steps + 2) * step
    share = min(MOST_PAIRS / max(_expected(a_ps, b_ps, peak, 2.0 * reach), 1.0), 1.0)
    peak = replace(peak, stop_ps=peak.start_ps + max(int((peak.stop_ps - peak.start_ps) * share), 1))
    _, residual = _residuals_of(a_ps, b_ps, peak, reach)
    place = np.minimum(((residual + reach) / step).astype(np.int64), 2 * steps + 3)
    total = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=2 * steps + 4))])
    count = total[4:] - total[:-4]
    first = int(count[steps])
    count[max(steps - 8, 0) : steps + 9] = 0
    second = int(count.max())
    expected = max(_expected(a_ps, b_ps, peak, 4.0 * step), float(count.mean()))
    credible = poisson_at_least(second, expected) * count.size < 1e-9
    return credible and first - second < 5.0 * math.sqrt(first + second)
