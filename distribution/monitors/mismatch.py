"""Efficiency mismatch: one outcome of a basis is more frequent than the other, so the bit is worth less than a bit.

Entangled photons come out of either port of an analyser equally often; unequal clicks are unequal detectors (or
noise), and whoever knows their ratio guesses the bit with probability max(p, 1 - p). A passive mismatch costs 1 -
h(p) of every bit and invites attacks that enlarge it on demand (Makarov, Anisimov and Skaar, Phys. Rev. A 74, 022313
(2006)). Chance is the exact binomial tail beyond the share that is tolerated.
"""

from __future__ import annotations

import math
from functools import cache

from distribution.monitors.counts import Tally
from distribution.monitors.finding import Finding, Watch, worst
from distribution.monitors.limits import Limits
from distribution.tails import binomial_at_least, bit_entropy

_BASES = "ZX"
_TESTS = 2 * len(_BASES)


def efficiency_mismatch(counts: Tally, limits: Limits) -> list[Finding]:
    """The basis whose outcomes are less even; of clicks or of matched pairs. Nothing without counts."""
    tolerated = tolerated_share(limits.mismatch_bits)
    found = []
    for basis, name in enumerate(_BASES):
        zero, one = (int(n) for n in counts.singles[2 * basis : 2 * basis + 2])
        if not zero + one:
            continue
        more = max(zero, one)
        ratio = one / zero if zero else math.inf
        error = ratio * math.sqrt(1.0 / zero + 1.0 / one) if zero and one else math.inf
        found.append(
            Finding(
                watch=Watch.EFFICIENCY_MISMATCH,
                statistic=1.0 - bit_entropy(zero / (zero + one)),
                unit="bit lost per bit",
                threshold=limits.mismatch_bits,
                chance=min(1.0, _TESTS * binomial_at_least(more, zero + one, tolerated)),
                limit=limits.chance,
                counts={"outcome_0": zero, "outcome_1": one},
                detail=f"basis {name}, outcome 1 to 0: {ratio:.3f} +- {error:.3f}",
            )
        )
    chosen = worst(found)
    return [] if chosen is None else [chosen]


@cache
def tolerated_share(bits: float) -> float:
    """Share p >= 1/2 with 1 - h(p) = bits, by bisection: 1 - h rises from 0 to 1."""
    low, high = 0.5, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2.0
        low, high = (middle, high) if 1.0 - bit_entropy(middle) < bits else (low, middle)
    return low
