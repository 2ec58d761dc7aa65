"""How steady a clock is: overlapping Allan deviation and time deviation of delays taken at a steady pace.

x_k is the delay of cell k, N cells of length t0. With tau = m t0 and d_k = x_(k+2m) - 2 x_(k+m) + x_k

    ADEV^2 = <d_k^2> / (2 tau^2)                                 IEEE 1139-2008; NIST SP 1065 eq. 11, overlapping
    TDEV^2 = < (mean of m consecutive d)^2 > / 6                 NIST SP 1065 eqs. 15 and 19: tau MDEV / sqrt(3)

Cells without pairs are nan; every term that touches one is left out. Errors assume white phase noise, which is what the
counting of pairs makes of a perfect clock: those of ADEV by its degrees of freedom (SP 1065 table 5, W PM), those of
TDEV by the number of terms that share no cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.coincidence import Matches
from distribution.errors import ParameterError
from distribution.tags import TimesPs
from distribution.units import PS_PER_S

Floats = npt.NDArray[np.float64]

LEAST_CELLS = 8
_PAIRS_PER_CELL = 100
_MOST_CELLS = 100_000
_LEAST_SHARE = 0.2  # of the mean pairs per cell: below, a cell is a gap


@dataclass(frozen=True, slots=True)
class Deviation:
    """Stability at one averaging time.

    Attributes:
        tau_s: averaging time, s.
        adev, adev_error: overlapping Allan deviation, dimensionless, and its standard error.
        tdev_ps, tdev_error_ps: time deviation, ps, and its standard error; None where too few cells are left.
    """

    tau_s: float
    adev: float
    adev_error: float
    tdev_ps: float | None
    tdev_error_ps: float | None


def stability(delay_ps: Floats, cell_s: float, multiples: Sequence[int] | None = None) -> tuple[Deviation, ...]:
    """Deviations of delays at a steady pace.

    Args:
        delay_ps: shape (N,), float64, ps; nan where there is none.
        cell_s: distance of consecutive entries, s.
        multiples: averaging times in cells; None: 1, 2, 4, ... up to a third of all.

    Returns:
        One entry per averaging time that has terms; empty below `LEAST_CELLS` cells.

    Raises:
        ParameterError: not a vector, a cell that is not positive, or a multiple below 1.
    """
    if delay_ps.ndim != 1 or not cell_s > 0 or min(multiples or (1,)) < 1:
        raise ParameterError(
            f"stability needs a vector, a positive cell and multiples from 1 on,"
            f" got {delay_ps.shape}, {cell_s} s and {multiples}"
        )
    if delay_ps.size < LEAST_CELLS:
        return ()
    octaves = [1 << k for k in range(delay_ps.size.bit_length()) if 3 << k <= delay_ps.size]
    found = [_deviation(delay_ps, m, cell_s) for m in (octaves if multiples is None else multiples)]
    return tuple(deviation for deviation in found if deviation is not None)


def _deviation(x: Floats, m: int, cell_s: float) -> Deviation | None:
    if 2 * m >= x.size:
        return None
    second = x[2 * m :] - 2.0 * x[m:-m] + x[: -2 * m]
    terms = second[~np.isnan(second)]
    if not terms.size:
        return None
    tau_s = m * cell_s
    adev = math.sqrt(float((terms**2).mean()) / 2.0) / tau_s / PS_PER_S
    n = int(np.count_nonzero(~np.isnan(x)))
    freedom = max((n + 1) * (n - 2 * m) / (2.0 * (n - m)), 1.0) if n > 2 * m else 1.0
    averages = _moving_mean(second, m)
    averages = averages[~np.isnan(averages)]
    tdev = math.sqrt(float((averages**2).mean()) / 6.0) if averages.size else None
    apart = max(averages.size / m, 1.0)
    return Deviation(
        tau_s,
        adev,
        adev / math.sqrt(2.0 * freedom),
        tdev,
        None if tdev is None else tdev / math.sqrt(2.0 * apart),
    )


def _moving_mean(values: Floats, m: int) -> Floats:
    """Mean of every m consecutive values; nan where one of them is."""
    if values.size < m:
        return np.empty(0)
    missing = np.isnan(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(missing, 0.0, values))])
    gaps = np.concatenate([[0], np.cumsum(missing)])
    return np.where(gaps[m:] == gaps[:-m], (sums[m:] - sums[:-m]) / m, np.nan)


def cell_delays_ps(
    a_ps: TimesPs, b_ps: TimesPs, matches: Matches, accidentals: float, cell_s: float | None = None
) -> tuple[Floats, float]:
    """Mean delay of the pairs in each cell of a's time: what is left of the clocks after alignment.

    Args:
        a_ps, b_ps: shape (n,) and (m,), int64, ps, on one clock.
        matches: their pairs.
        accidentals: how many of these are expected to be accidental; being spread evenly about zero,
            they only dilute the mean.
        cell_s: length of a cell, s; None: such that it holds a hundred pairs.

    Returns:
        (delays, shape (cells,), ps, nan in cells of few pairs; length of a cell, s).

    Raises:
        ParameterError: cells so short that there are more than 100 000, or not positive.
    """
    net = len(matches) - accidentals
    if net <= 0:
        return np.empty(0), cell_s or 1.0
    at_ps = a_ps[matches.index_a]
    span_s = max((int(at_ps[-1]) - int(at_ps[0])) / PS_PER_S, 1e-12)
    length_s = cell_s if cell_s is not None else max(_PAIRS_PER_CELL / net, 1.0 / _MOST_CELLS) * span_s
    if not length_s > 0 or span_s / length_s > _MOST_CELLS + 1:
        raise ParameterError(
            f"cells of {length_s} s in {span_s:.3g} s: need a positive length and at most {_MOST_CELLS}"
        )
    cells = max(int(span_s / length_s), 1)
    number = ((at_ps - at_ps[0]) // max(round(length_s * PS_PER_S), 1)).astype(np.int64)
    whole = number < cells  # the last, unfinished cell would be noisier than the others
    pairs = np.bincount(number[whole], minlength=cells)
    sums = np.bincount(number[whole], weights=matches.delay_ps(a_ps, b_ps)[whole], minlength=cells)
    true = pairs * (net / len(matches))
    full = pairs >= _LEAST_SHARE * pairs.mean()
    return np.where(full, sums / np.where(full, true, 1.0), np.nan), length_s
