"""Outcome information in arrival times: how many bits per sifted bit the delay of a pair tells about its outcome.

Detectors whose delays differ leak their outcome through the times that a station announces (Lamas-Linares and
Kurtsiefer, Opt. Express 15, 9388 (2007), arXiv 0704.3297). Coarser announced times are no cure by themselves: the
leak does not fall steadily with their bin (Pahali, Tefek and Durak, arXiv 2203.03250), so it is measured.

The statistic is the mutual information of the outcome and the delay, per basis, over groups of sub-bins that hold
about equally many pairs, with Miller and Madow's correction, (groups - 1) / 2N nats for two outcomes (Miller 1955):
without it, a clean link would show that much. Chance is the chi-square test of independence in Pearson's form, used
only where every cell expects 25 counts: its tail is then no heavier than stated, see docs/monitors.md.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from distribution.monitors.counts import Counts, PairCounts
from distribution.monitors.finding import Finding, Watch, worst
from distribution.monitors.limits import Limits
from distribution.tails import chi_square_above

_MOST_GROUPS = 16
_LEAST_EXPECTED = 25.0
"""In every cell, for the chi-square tail to hold far out."""

_BASES = "ZX"


def arrival_information(counts: PairCounts, limits: Limits) -> list[Finding]:
    """The basis that tells more; nothing while the pairs are too few to judge."""
    skew_ps = counts.mean_delay_ps()
    found = []
    for basis, name in enumerate(_BASES):
        table = grouped(counts.sifted(basis))
        if table is None:
            continue
        bits, chance = information(table)
        found.append(
            Finding(
                watch=Watch.ARRIVAL_INFORMATION,
                statistic=bits,
                unit="bit per sifted bit",
                threshold=limits.information_bits,
                chance=min(1.0, len(_BASES) * chance),
                limit=limits.chance,
                counts={
                    "pairs": int(table.sum()),
                    "groups": table.shape[1],
                    "mean_delay_0_ps": float(skew_ps[2 * basis]),
                    "mean_delay_1_ps": float(skew_ps[2 * basis + 1]),
                },
                detail=f"basis {name}",
            )
        )
    chosen = worst(found)
    return [] if chosen is None else [chosen]


def grouped(table: Counts) -> Counts | None:
    """Neighbouring sub-bins joined to groups of about equal counts, as many as the counts allow; None: not even two.

    Args:
        table: shape (2, bins), int64. Groups depend on the sums over outcomes only, so independence is not touched.
    """
    total = table.sum(axis=0)
    n = int(total.sum())
    if not n:
        return None
    least_share = float(table.sum(axis=1).min()) / n
    groups = min(_MOST_GROUPS, int(n * least_share / _LEAST_EXPECTED))
    while groups >= 2:
        middle = np.cumsum(total) - total / 2.0
        member = np.minimum((middle * groups / n).astype(np.int64), groups - 1)
        joined = np.stack([np.bincount(member, row, groups) for row in table]).astype(np.int64)
        joined = joined[:, joined.any(axis=0)]
        # Few distinct delays make uneven groups: then fewer of them must do.
        if joined.shape[1] >= 2 and joined.sum(axis=0).min() * least_share >= _LEAST_EXPECTED:
            return joined
        groups //= 2
    return None


def information(table: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Mutual information of the two variables of a table, bits, corrected; and the chance that independence gives it.

    Args:
        table: shape (2, groups), int64, no empty row or column.
    """
    n = float(table.sum())
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
    filled = table > 0
    nats = float(np.sum(table[filled] * np.log(table[filled] / expected[filled]))) / n
    pearson = float(np.sum((table - expected) ** 2 / expected))
    return (nats - degrees / (2.0 * n)) / math.log(2.0), chi_square_above(pearson, degrees)
