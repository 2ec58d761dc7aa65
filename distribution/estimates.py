"""A figure from counts, and how far chance may have moved it.

Every error is one standard deviation. A share of k in n trials has the error of the posterior that a flat prior gives
(the Beta distribution of k + 1 and n - k + 1), which is the binomial one for many trials and never 0 for few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its standard error, in the same unit."""

    value: float
    error: float


def share(successes: int, trials: int) -> Estimate | None:
    """successes / trials; None without trials."""
    if not trials:
        return None
    p = (successes + 1) / (trials + 2)
    return Estimate(successes / trials, math.sqrt(p * (1.0 - p) / (trials + 3)))


def balance(equal: int, different: int) -> Estimate | None:
    """(equal - different) / (equal + different), in [-1, 1]; None without counts."""
    found = share(equal, equal + different)
    return None if found is None else Estimate(2.0 * found.value - 1.0, 2.0 * found.error)


def ratio(above: float, below: float, *, weight_below: float = 1.0) -> Estimate | None:
    """above / below for two independent Poisson counts; None unless the one below is positive.

    Args:
        above: a count.
        below: the mean of `weight_below` counts.
        weight_below: how many counts were averaged for it.
    """
    if not below > 0:
        return None
    value = above / below
    # One count at least: that none came does not mean that none could.
    variance = max(above, 1.0) / below**2 + value**2 / (weight_below * below)
    return Estimate(value, math.sqrt(variance))
