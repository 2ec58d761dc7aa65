"""Slow, obvious Allan and time deviations: the sums of NIST SP 1065 as they are printed, for phases without gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence


def overlapping_adev(x: Sequence[float], m: int, tau0: float) -> float:
    """SP 1065 eq. 11: x in seconds."""
    terms = [(x[i + 2 * m] - 2 * x[i + m] + x[i]) ** 2 for i in range(len(x) - 2 * m)]
    return math.sqrt(sum(terms) / (2 * (m * tau0) ** 2 * len(terms)))


def tdev(x: Sequence[float], m: int) -> float:
    """SP 1065 eqs. 15 and 19: the modified Allan deviation's double sum, times tau / sqrt(3)."""
    outer = [sum(x[i + 2 * m] - 2 * x[i + m] + x[i] for i in range(j, j + m)) ** 2 for j in range(len(x) - 3 * m + 1)]
    return math.sqrt(sum(outer) / (6 * m**2 * len(outer)))
