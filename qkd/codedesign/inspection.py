"""Looking at codes: girth, degrees, and what must hold of shipped data."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from qkd.codedesign.density import entropy
from qkd.codedesign.family import Plan, plans
from qkd.kernels.lifting import shortest_cycle
from qkd.reconciliation.codes import Code

MOST_GIRTH = 12  # a quasi-cyclic code whose base has two rows that share three columns has a 12-cycle (Fossorier 2004)


def girth(code: Code) -> int:
    """Length of the shortest cycle of the lifted graph, punctured columns included; at most MOST_GIRTH."""
    rows = np.repeat(np.arange(code.rows, dtype=np.int32), np.diff(code.starts))
    order = np.lexsort((rows, code.column))
    column_starts = np.searchsorted(code.column[order], np.arange(code.columns + 1)).astype(np.int32)
    return int(
        shortest_cycle(
            code.starts,
            code.column,
            code.shift,
            column_starts,
            rows[order],
            code.shift[order],
            code.lifting,
            MOST_GIRTH,
        )
    )


def efficiency(code: Code) -> float:
    """f at the threshold: leak fraction over the entropy of the threshold's error rate."""
    return code.leak_fraction / entropy(code.threshold_qber)


def column_degrees(code: Code) -> npt.NDArray[np.int64]:
    """Entries in each base column, shape (columns,)."""
    return np.bincount(code.column, minlength=code.columns)


def problems(codes: tuple[Code, ...]) -> list[str]:
    """What is wrong with the codes of one payload size, one line each; nothing if all is well."""
    expected = {plan.rows: plan for plan in plans()}
    found = []
    if [code.rows for code in codes] != sorted(expected):
        found.append(f"{len(codes)} codes where the plan has {len(expected)}")
    for code in codes:
        found += [f"{code.name}: {text}" for text in _problems(code, expected.get(code.rows))]
    for code, following in pairwise(codes):
        if following.least_leak_fraction > code.leak_fraction + 1e-12:
            found.append(f"no code between {code.name} and {following.name}")
    return found


def _problems(code: Code, plan: Plan | None) -> list[str]:
    found = []
    payload_columns = code.payload_bits // code.lifting
    if code.columns != payload_columns + code.puncturable.size:
        found.append(f"{code.columns} columns are not {payload_columns} and {code.puncturable.size} puncturable ones")
    rows = np.repeat(np.arange(code.rows), np.diff(code.starts))
    if np.any(np.diff(rows * code.columns + code.column) <= 0):
        found.append("entries are not sorted by row and column, or stand twice")
    if code.shift.min() < 0 or code.shift.max() >= code.lifting:
        found.append(f"a shift lies outside 0 .. {code.lifting - 1}")
    hidden = rows[code.column >= payload_columns]
    if np.unique(hidden).size != hidden.size:
        found.append("two puncturable columns share a check")
    if plan is not None and sorted(column_degrees(code)[:payload_columns].tolist()) != plan.degrees:
        found.append("the columns' degrees are not those planned")
    return found
