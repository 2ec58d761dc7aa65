"""Blinding signature: clicks that photons and noise must make, and that are missing.

Three things that independent photons and noise give whether one likes it or not. Two detectors click together as
often as their rates say; clicks that one apparatus of Eve's makes, with a dead time of its own, never do. A detector
whose arm is shut has dark counts; a blinded one has none. And two stations that choose their bases independently
share pairs in different bases; faked states, to which both stations answer in Eve's basis only, leave none (Makarov,
New J. Phys. 11, 065003 (2009); Lydersen et al., Nat. Photonics 4, 686 (2010); Gerhardt et al., Nat. Commun. 2, 349
(2011)).
"""

from __future__ import annotations

import numpy as np

from distribution.monitors.counts import PairCounts, StationCounts
from distribution.monitors.finding import Finding, Watch, worst
from distribution.monitors.limits import Limits
from distribution.tails import chi_square_above, poisson_at_most

_LEAST_EXPECTED = 25.0


def silent_clicks(counts: StationCounts, window_ps: int, limits: Limits) -> list[Finding]:
    """Double clicks and dark counts of one station that are missing; nothing if none can be due.

    Args:
        counts: of the stretch.
        window_ps: double-click window.
        limits: the tolerances.
    """
    due: list[tuple[str, int, float, int]] = []
    if window_ps > limits.station_dead_ps and counts.due > 0.0:
        due.append(("two detectors together", counts.together, counts.due, 1))
    floor = limits.floor_cps * counts.seconds
    if floor > 0.0:
        quiet = int(counts.singles.argmin())
        due.append((f"detector {quiet} against its dark counts", int(counts.singles[quiet]), floor, 4))
    chosen = worst([_missing(*one, limits) for one in due])
    return [] if chosen is None else [chosen]


def _missing(detail: str, seen: int, due: float, tests: int, limits: Limits) -> Finding:
    return Finding(
        watch=Watch.BLINDING,
        statistic=max(0.0, 1.0 - seen / due),
        unit="of the clicks due are missing",
        threshold=limits.missing_share,
        chance=min(1.0, 2.0 * tests * poisson_at_most(seen, due * (1.0 - limits.missing_share))),
        limit=limits.chance,
        counts={"seen": seen, "due": due},
        detail=detail,
    )


def silent_bases(counts: PairCounts, limits: Limits) -> list[Finding]:
    """Pairs in different bases that are missing, given how often each station had each basis."""
    table = counts.bases
    n = int(table.sum())
    if not n:
        return []
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    if expected.min() < _LEAST_EXPECTED:
        return []
    seen, due = int(table[0, 1] + table[1, 0]), float(expected[0, 1] + expected[1, 0])
    # Margins given, all four cells are off by the same number of pairs; what is tolerated does not count.
    off = max(0.0, due * (1.0 - limits.missing_bases) - seen) / 2.0
    return [
        Finding(
            watch=Watch.BLINDING,
            statistic=max(0.0, 1.0 - seen / due),
            unit="of the pairs due in different bases are missing",
            threshold=limits.missing_bases,
            chance=chi_square_above(off**2 * float((1.0 / expected).sum()), 1),
            limit=limits.chance,
            counts={"seen": seen, "due": due, "pairs": n},
        )
    ]
