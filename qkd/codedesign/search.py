"""The degrees of the whole family, found anew: a chain of linear programs, then whole numbers of columns.

Ensembles are optimised at a few leak fractions, ANCHORS, each starting from its neighbour. The codes between two
anchors mix the two: near an optimum a mixture of near-optimal shares loses nothing that shows. Shares become numbers
of columns by the largest remainder, and density evolution of these numbers gives the thresholds that are shipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from qkd.codedesign import family
from qkd.codedesign.degrees import Limits, approach, checks_of_mean
from qkd.codedesign.density import threshold
from qkd.errors import ParameterError

ANCHORS = ((40, 34, 29, 24), (48, 57, 68, 80, 95, 112, 132, 144))  # base rows, outwards from the first
DEGREES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 18, 22, 27, 33, 40)
FULL = 0.9  # no column has entries in more than this part of the rows
EXCESS = 1.045
NEAR = 0.02
CORRECTIONS = 3
# A rough ensemble for the first anchor.
START = {2: 0.068, 3: 0.182, 7: 0.079, 8: 0.201, 15: 0.119, 20: 0.014, 33: 0.337}

# Against leak fraction: mean variable degree, and most columns of degree 2 per row. The first is as low as the
# threshold allows: with d entries a column no code is nearer to capacity than 1/h2((1 - (1-2q)^(d/leak))/2)
# (Gallager 1963, Burshtein et al. 2002). The second buys speed of convergence where the threshold can spare it.
LEAKS = (0.08, 0.15, 0.30, 0.44, 0.56)
MEAN_DEGREES = (7.2, 6.7, 5.9, 5.25, 4.9)
CAP_LEAKS = (0.08, 0.16, 0.25, 0.35, 0.50)
TWOS_PER_CHECK = (1.5, 1.35, 1.1, 0.9, 0.82)


def search(wanted: Sequence[int] | None = None) -> Iterator[family.Plan]:
    """Plans of the codes with `wanted` base rows, or of all, ascending.

    Raises:
        ParameterError: the family has no code with so many rows.
    """
    known = dict(family.sizes())
    unknown = sorted(set(wanted or ()) - set(known))
    if unknown:
        raise ParameterError(f"no code has {unknown[0]} rows: they have {', '.join(map(str, known))}")
    found = _anchors()
    for rows, puncturable in known.items():
        if not wanted or rows in wanted:
            yield _plan(rows, puncturable, whole(_mixed(found, rows), family.PAYLOAD_COLUMNS))


def whole(shares: Mapping[int, float], columns: int) -> dict[int, int]:
    """Numbers of columns, together `columns`, from shares of edges, by the largest remainder."""
    nodes = sum(share / d for d, share in shares.items())
    exact = {d: columns * share / d / nodes for d, share in sorted(shares.items())}
    counts = {d: int(value) for d, value in exact.items()}
    short = columns - sum(counts.values())
    for degree in sorted(exact, key=lambda d: (counts[d] - exact[d], d))[:short]:
        counts[degree] += 1
    return {d: n for d, n in counts.items() if n}


def _anchors() -> dict[int, dict[int, float]]:
    found: dict[int, dict[int, float]] = {}
    for chain in ANCHORS:
        shares: Mapping[int, float] = found.get(ANCHORS[0][0], START)
        for rows in chain:
            leak = rows / family.PAYLOAD_COLUMNS
            limits = Limits([d for d in DEGREES if d <= FULL * rows], float(np.interp(leak, CAP_LEAKS, TWOS_PER_CHECK)))
            found[rows] = shares = at_leak(shares, leak, limits)
    return found


def at_leak(shares: Mapping[int, float], leak: float, limits: Limits) -> dict[int, float]:
    """Shares optimised for checks as large as the leak fraction asks for.

    The optimum of given checks lies at a leak fraction of its own; where that misses `leak`, larger or smaller checks
    are tried from there.
    """
    edges = float(np.interp(leak, LEAKS, MEAN_DEGREES)) / leak
    for _ in range(CORRECTIONS):
        found = approach(shares, checks_of_mean(edges), limits, EXCESS)
        shares, miss = dict(found.variables), found.leak_fraction / leak
        if abs(miss - 1) < NEAR:
            break
        edges *= miss
    return dict(shares)


def _mixed(anchors: Mapping[int, Mapping[int, float]], rows: int) -> dict[int, float]:
    below = max((r for r in anchors if r <= rows), default=min(anchors))
    above = min((r for r in anchors if r >= rows), default=max(anchors))
    weight = 0.0 if above == below else (rows - below) / (above - below)
    degrees = set(anchors[below]) | set(anchors[above])
    mixed = {d: (1 - weight) * anchors[below].get(d, 0.0) + weight * anchors[above].get(d, 0.0) for d in degrees}
    most = max(d for d in DEGREES if d <= FULL * rows)
    result: dict[int, float] = {}
    for degree, share in mixed.items():
        result[min(degree, most)] = result.get(min(degree, most), 0.0) + share
    return result


def _plan(rows: int, puncturable: int, columns: dict[int, int]) -> family.Plan:
    found = threshold(family.ensemble(columns, rows, 0), step=0.1, relative=1e-3)
    return family.Plan(rows, puncturable, columns, round(found, 6))
