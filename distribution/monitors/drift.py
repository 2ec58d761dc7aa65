"""Basis and bit bias against the session's reference, and count rates against the interval before.

Neither says what is right, only that something has changed, which is how an attack that begins while the link runs
gives itself away. The reference is the session's first stretch; its own uncertainty (Clopper and Pearson 1934) is
added to what is tolerated. Chance is an exact binomial tail in both cases: of k in n at the edge of the tolerance,
and of two counts of equal intervals given their sum.
"""

from __future__ import annotations

from distribution.monitors.counts import Share, Tally
from distribution.monitors.finding import Finding, Watch, worst
from distribution.monitors.limits import Limits
from distribution.tails import binomial_at_least, share_limits


def bias(reference: Tally, counts: Tally, limits: Limits) -> list[Finding]:
    """The share that moved most since the reference."""
    then, now = reference.shares(), counts.shares()
    found = [_moved(a, b, 4 * len(now), limits) for a, b in zip(then, now, strict=True) if a[2] and b[2]]
    chosen = worst(found)
    return [] if chosen is None else [chosen]


def _moved(then: Share, now: Share, tests: int, limits: Limits) -> Finding:
    name, k, n = now
    # Half of the chance for the reference's own error, half for the comparison; two sides each.
    low, high = share_limits(then[1], then[2], limits.chance / tests)
    low, high = max(low - limits.drift_share, 0.0), min(high + limits.drift_share, 1.0)
    chance = min(binomial_at_least(k, n, high), binomial_at_least(n - k, n, 1.0 - low))
    return Finding(
        watch=Watch.BIAS,
        statistic=abs(k / n - then[1] / then[2]),
        unit="change of a share",
        threshold=limits.drift_share,
        chance=min(1.0, tests * chance),
        limit=limits.chance,
        counts={"k": k, "n": n, "reference_k": then[1], "reference_n": then[2]},
        detail=name,
    )


def rate_jump(before: Tally, counts: Tally, limits: Limits) -> list[Finding]:
    """The largest change of a rate between two intervals of equal length: of all events, and of each detector."""
    pairs = [("all detectors", before.events, counts.events)]
    pairs += [
        (f"detector {i}", int(a), int(b)) for i, (a, b) in enumerate(zip(before.singles, counts.singles, strict=True))
    ]
    chosen = worst([_jump(*pair, 2 * len(pairs), limits) for pair in pairs if pair[1] + pair[2]])
    return [] if chosen is None else [chosen]


def _jump(name: str, before: int, now: int, tests: int, limits: Limits) -> Finding:
    more, less = max(before, now), min(before, now)
    edge = limits.rate_factor / (1.0 + limits.rate_factor)
    return Finding(
        watch=Watch.RATE_JUMP,
        # With nothing at all on one side, one is taken: a ratio must stay a number.
        statistic=more / max(less, 1),
        unit="times the rate of the interval beside",
        threshold=limits.rate_factor,
        chance=min(1.0, tests * binomial_at_least(more, before + now, edge)),
        limit=limits.chance,
        counts={"before": before, "now": now},
        detail=name,
    )
