"""The family: which codes there are, what their columns look like, and making their data anew.

All three payload sizes share the base matrices: 256 payload columns, lifted by 64, 256 or 1024. Rows go from about
9/16 of the columns down in steps of 5 %, and as many rows of each code may be left out as lie between it and the next
smaller one, so that every leak fraction has a code. `degrees.json` has the columns' degrees, found once by
`qkd codes optimise`; from there on everything follows by seeds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from qkd.codedesign import base, shifts
from qkd.codedesign.density import Ensemble
from qkd.reconciliation.codes import Code

PAYLOAD_COLUMNS = 256
MOST_ROWS = 144
LEAST_ROWS = 20
STEP = 0.05
SEED = 20261128


@dataclass(frozen=True, slots=True)
class Plan:
    """What a code is made from.

    Attributes:
        rows: rows of the base.
        optional: how many of them may be left out.
        columns: degree -> number of payload columns, together PAYLOAD_COLUMNS.
        threshold_qber: by density evolution, nothing left out.
        least_threshold_qber: the same with all optional rows left out.
    """

    rows: int
    optional: int
    columns: dict[int, int]
    threshold_qber: float
    least_threshold_qber: float

    @property
    def degrees(self) -> list[int]:
        """Degree of each payload column, ascending."""
        return sorted(d for d, count in self.columns.items() for _ in range(count))


def sizes() -> list[tuple[int, int]]:
    """(rows, optional rows) of every code, ascending."""
    result, rows = [], MOST_ROWS
    while rows >= LEAST_ROWS:
        optional = max(1, round(STEP * rows))
        result.append((rows, optional))
        rows -= optional
    return result[::-1]


def plans() -> list[Plan]:
    """The shipped plans, ascending."""
    entries = json.loads(files("qkd.codedesign").joinpath("degrees.json").read_text(encoding="ascii"))["codes"]
    return [
        Plan(
            entry["rows"],
            entry["optional"],
            {int(d): n for d, n in entry["columns"].items()},
            entry["threshold_qber"],
            entry["least_threshold_qber"],
        )
        for entry in entries
    ]


def ensemble(columns: dict[int, int], rows: int, optional: int, left_out: int) -> Ensemble:
    """Degrees as density evolution sees them when `left_out` of the `optional` rows are not there."""
    checks: dict[int, float] = {}
    degrees = base.row_degrees(sum(d * n for d, n in columns.items()), rows)
    for degree in degrees[: rows - left_out]:
        checks[int(degree)] = checks.get(int(degree), 0) + 1
    lost = int(degrees[rows - left_out :].sum()) / sum(d * n for d, n in columns.items() if d > base.LEAST_THINNED)
    thinned: dict[int, float] = {}
    for degree, count in columns.items():
        # An entry of a column of higher degree lies in a row left out with probability `lost`; that two do is rare
        # and counted as one each.
        moved = 0.0 if degree <= base.LEAST_THINNED else min(count, count * degree * lost)
        thinned[degree] = thinned.get(degree, 0) + count - moved
        thinned[degree - 1] = thinned.get(degree - 1, 0) + moved
    return Ensemble.of_nodes({d: n for d, n in thinned.items() if n > 1e-9}, checks)


def make(plan: Plan, payload_bits: int) -> Code:
    """The code of a plan for one payload size, always the same."""
    lifting = payload_bits // PAYLOAD_COLUMNS
    grown = base.grow(plan.degrees, plan.rows, plan.optional, np.random.default_rng([SEED, plan.rows]))
    shift = shifts.choose(grown.matrix, lifting, np.random.default_rng([SEED, plan.rows, lifting]))
    full = np.full((plan.rows, PAYLOAD_COLUMNS + plan.optional), -1, np.int32)
    full[:, :PAYLOAD_COLUMNS] = shift
    hidden = np.arange(PAYLOAD_COLUMNS, PAYLOAD_COLUMNS + plan.optional, dtype=np.int32)
    full[np.arange(plan.rows - 1, plan.rows - 1 - plan.optional, -1), hidden] = 0
    row, column = np.nonzero(full >= 0)
    return Code(
        name=f"ldpc-{payload_bits}-{plan.rows:03d}",
        payload_bits=payload_bits,
        lifting=lifting,
        rows=plan.rows,
        columns=full.shape[1],
        starts=np.searchsorted(row, np.arange(plan.rows + 1)).astype(np.int32),
        column=column.astype(np.int32),
        shift=full[row, column],
        puncturable=hidden,
        threshold_qber=plan.threshold_qber,
    )
