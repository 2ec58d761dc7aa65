"""Exact tails of the distributions that counts follow, and the entropy of a bit.

All of them hold at any count: incomplete beta and gamma functions, no normal approximation.
"""

from __future__ import annotations

import math

from scipy.special import betainc, betaincinv, chdtrc, gammainc, gammaincc


def binomial_at_least(k: float, n: float, p: float) -> float:
    """P(K >= k) for n trials of probability p."""
    return 1.0 if k <= 0 else float(betainc(k, n - k + 1.0, p)) if k <= n else 0.0


def poisson_at_least(k: float, mean: float) -> float:
    """P(K >= k) for a Poisson mean."""
    return 1.0 if k <= 0 else float(gammainc(k, mean))


def poisson_at_most(k: float, mean: float) -> float:
    """P(K <= k) for a Poisson mean."""
    return float(gammaincc(k + 1.0, mean))


def chi_square_above(x: float, degrees: int) -> float:
    """P(X > x) for chi-square with so many degrees of freedom."""
    return float(chdtrc(degrees, x)) if degrees > 0 else 1.0


def share_limits(k: int, n: int, chance: float) -> tuple[float, float]:
    """Clopper and Pearson's limits of a share: it lies below the first or above the second with `chance` each."""
    low = float(betaincinv(k, n - k + 1.0, chance)) if k > 0 else 0.0
    high = float(betaincinv(k + 1.0, n - k, 1.0 - chance)) if k < n else 1.0
    return low, high


def bit_entropy(p: float) -> float:
    """Binary entropy, bits."""
    if not 0.0 < p < 1.0:
        return 0.0
    return -(p * math.log2(p) + (1.0 - p) * math.log2(1.0 - p))
