"""Time shift: whether pairs that come early and pairs that come late prefer different outcomes.

The coarsest form of the question that `arrival` asks, and the one that an active time shift answers with its full
strength (`distribution.eavesdroppers.timeshift`; Qi, Fung, Lo and Ma 2007): the window is cut at the median delay,
and the share of outcome 0 is compared between the halves, chi-square of the two by two table. A fixed skew of the
detectors shows here as well; the two are told apart by aligning the detectors, which ends the skew only.
"""

from __future__ import annotations

import numpy as np

from distribution.monitors.arrival import grouped, information
from distribution.monitors.counts import Counts, PairCounts
from distribution.monitors.finding import Finding, Watch, worst
from distribution.monitors.limits import Limits

_BASES = "ZX"


def time_shift(counts: PairCounts, limits: Limits) -> list[Finding]:
    """The basis in which the halves differ more; nothing while the pairs are too few to judge."""
    found = []
    for basis, name in enumerate(_BASES):
        halves = _halves(counts.sifted(basis))
        if halves is None:
            continue
        share = halves[0] / halves.sum(axis=0)
        _, chance = information(halves)
        found.append(
            Finding(
                watch=Watch.TIME_SHIFT,
                statistic=float(abs(share[0] - share[1])),
                unit="difference of outcome shares, early to late",
                threshold=limits.shift_share,
                chance=min(1.0, len(_BASES) * chance),
                limit=limits.chance,
                counts={
                    "early_0": int(halves[0, 0]),
                    "early_1": int(halves[1, 0]),
                    "late_0": int(halves[0, 1]),
                    "late_1": int(halves[1, 1]),
                },
                detail=f"basis {name}",
            )
        )
    chosen = worst(found)
    return [] if chosen is None else [chosen]


def _halves(table: Counts) -> Counts | None:
    """Outcome against early and late, shape (2, 2); None if any cell expects too few counts."""
    total = table.sum(axis=0)
    n = int(total.sum())
    late = np.cumsum(total) - total / 2.0 > n / 2.0
    halves = np.stack([table[:, ~late].sum(axis=1), table[:, late].sum(axis=1)], axis=1)
    return halves if grouped(halves) is not None else None
