"""Better variable degrees by linear programming along the path of density evolution.

At a fixed crossover probability and fixed check degrees the leak fraction of an ensemble falls as the sum of
share_i / i grows, and the error probability after the next iteration is linear in the shares as long as the densities
of the path stand still (Richardson, Shokrollahi, Urbanke 2001, IV-B). So: run density evolution, let a linear program
move the shares a little so that every step of the path still makes progress, run again, keep what converges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from qkd.codedesign.density import Ensemble, Trace, evolve, inverse_entropy

ATTEMPTS = ((0.02, 0.05), (0.012, 0.04), (0.008, 0.03))  # (least progress, most a share moves) of successive runs
ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """What an ensemble may look like.

    Attributes:
        degrees: variable degrees to choose from, ascending, the first one 2.
        twos_per_check: most degree-2 variables per check. More of them bring the threshold nearer to capacity; fewer
            make decoding converge in fewer iterations and leave fewer words of low weight.
        step: grid step of density evolution.
    """

    degrees: Sequence[int]
    twos_per_check: float
    step: float = 0.1


def checks_of_mean(mean: float) -> dict[int, float]:
    """Shares of edges of the two neighbouring integer degrees whose node mean is `mean`."""
    low = int(mean)
    rest = mean - low
    if rest < 1e-9:
        return {low: 1.0}
    return {low: low * (1 - rest) / mean, low + 1: (low + 1) * rest / mean}


def approach(start: Mapping[int, float], checks: Mapping[int, float], limits: Limits, excess: float) -> Ensemble:
    """Lower the leak fraction of an ensemble at the crossover probability where it is `excess` times the entropy.

    Args:
        start: shares of edges of the variable degrees to begin with.
        checks: shares of edges of the check degrees, which stay.
        limits: what may come out.
        excess: efficiency to begin at; raised until density evolution converges.
    """
    ensemble = Ensemble(_capped(start, checks, limits), checks, {})
    qber = inverse_entropy(ensemble.leak_fraction / excess)
    while not _run(ensemble, qber, limits).converged:
        excess += 0.01
        qber = inverse_entropy(ensemble.leak_fraction / excess)
    for progress, reach in ATTEMPTS:
        ensemble = _improve(ensemble, qber, limits, progress, reach)
    return ensemble


def _capped(start: Mapping[int, float], checks: Mapping[int, float], limits: Limits) -> dict[int, float]:
    """Shares within the limits: degrees moved to the nearest allowed one, too many of degree 2 to the next."""
    shares = dict.fromkeys(limits.degrees, 0.0)
    for degree, share in start.items():
        shares[min(limits.degrees, key=lambda allowed: (abs(allowed - degree), allowed))] += share
    most = 2 * limits.twos_per_check * sum(share / d for d, share in checks.items())
    excess = max(0.0, shares[2] - most)
    shares[2] -= excess
    shares[limits.degrees[1]] += excess
    return {d: share for d, share in shares.items() if share}


def _improve(best: Ensemble, qber: float, limits: Limits, progress: float, reach: float) -> Ensemble:
    trace = _run(best, qber, limits)
    for _ in range(ROUNDS):
        moved = _program(best, trace, qber, limits, progress, reach)
        found = None if moved is None else _run(moved, qber, limits)
        if moved is None or found is None:
            break
        if not found.converged:
            reach /= 2
            continue
        gain = 1 - moved.leak_fraction / best.leak_fraction
        best, trace = moved, found
        if gain < 2e-4:
            break
    return best


def _run(ensemble: Ensemble, qber: float, limits: Limits) -> Trace:
    return evolve(ensemble, qber, step=limits.step, degrees=list(limits.degrees))


def _program(
    start: Ensemble, trace: Trace, qber: float, limits: Limits, progress: float, reach: float
) -> Ensemble | None:
    degrees = np.array(limits.degrees)
    shares = np.array([start.variables.get(int(d), 0.0) for d in degrees])
    target = np.maximum(trace.errors[:-1] * (1 - progress), trace.errors[1:])
    rows = np.vstack([trace.by_degree / target[:, None], _twos(start, qber, limits, degrees)])
    answer = linprog(
        -1 / degrees,
        A_ub=rows,
        b_ub=np.ones(len(rows)),
        A_eq=np.ones((1, degrees.size)),
        b_eq=[1.0],
        bounds=[(max(0.0, s - reach), s + reach) for s in shares],
        method="highs",
    )
    if not answer.success:
        return None
    kept = np.where(answer.x < 1e-5, 0.0, answer.x)
    kept /= kept.sum()
    return Ensemble({int(d): float(s) for d, s in zip(degrees, kept, strict=True) if s}, start.checks, {})


def _twos(start: Ensemble, qber: float, limits: Limits, degrees: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Two rows that bound the share of degree 2: by stability (RSU 2001, Thm 5) and by their number per check."""
    slope = sum(share * (d - 1) for d, share in start.checks.items())
    mean = 1 / sum(share / d for d, share in start.checks.items())
    rows = np.zeros((2, degrees.size))
    rows[0, 0] = slope * 2 * np.sqrt(qber * (1 - qber)) / 0.97
    rows[1, 0] = mean / (2 * limits.twos_per_check)
    return rows
