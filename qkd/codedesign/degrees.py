"""Better variable degrees by linear programming along the path of density evolution.

At a fixed crossover probability and fixed check degrees the leak fraction of an ensemble falls as the sum of
share_i / i grows, and the error probability after the next iteration is linear in the shares as long as the densities
of the path stand still (Richardson, Shokrollahi, Urbanke 2001, IV-B). So: run density evolution, let a linear program
move the shares a little so that every step of the path still makes progress, run again, keep what converges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from qkd.codedesign.density import Ensemble, Trace, evolve


@dataclass(frozen=True, slots=True)
class Limits:
    """What an ensemble may look like.

    Attributes:
        degrees: variable degrees to choose from, ascending, the first one 2.
        twos_per_check: most degree-2 variables per check: many of them close short cycles, words of low weight.
        progress: least relative fall of the error probability in an iteration.
        step: grid step of density evolution.
    """

    degrees: Sequence[int]
    twos_per_check: float
    progress: float
    step: float


def checks_of_mean(mean: float) -> dict[int, float]:
    """Shares of edges of the two neighbouring integer degrees whose node mean is `mean`."""
    low = int(mean)
    rest = mean - low
    if rest < 1e-9:
        return {low: 1.0}
    return {low: low * (1 - rest) / mean, low + 1: (low + 1) * rest / mean}


def improve(start: Ensemble, qber: float, limits: Limits, *, rounds: int = 30, reach: float = 0.03) -> Ensemble:
    """Lower the leak fraction of `start`, which must converge at `qber`; check degrees stay.

    Args:
        start: the ensemble to begin with, nothing punctured.
        qber: crossover probability that has to be corrected.
        limits: what may come out.
        rounds: most linear programs.
        reach: most that a share may move in one round; halved when a round fails.
    """
    best, trace = start, _run(start, qber, limits)
    if not trace.converged:
        raise ValueError(f"the ensemble to start from does not converge at {qber}")
    for _ in range(rounds):
        moved = _program(best, trace, qber, limits, reach)
        found = None if moved is None else _run(moved, qber, limits)
        if moved is None or found is None or not found.converged or moved.leak_fraction > best.leak_fraction:
            reach /= 2
        else:
            gain = 1 - moved.leak_fraction / best.leak_fraction
            best, trace = moved, found
            if gain < 2e-4:
                reach /= 2
        if reach < 1e-3:
            break
    return best


def _run(ensemble: Ensemble, qber: float, limits: Limits) -> Trace:
    return evolve(ensemble, qber, step=limits.step, degrees=list(limits.degrees))


def _program(start: Ensemble, trace: Trace, qber: float, limits: Limits, reach: float) -> Ensemble | None:
    degrees = np.array(limits.degrees)
    shares = np.array([start.variables.get(int(d), 0.0) for d in degrees])
    target = np.maximum(trace.errors[:-1] * (1 - limits.progress), trace.errors[1:])
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
