"""The family: which codes there are, what their columns look like, and making their data anew.

All three payload sizes share the base matrices: 256 payload columns, lifted by 64, 256 or 1024. Rows go from about
9/16 of the columns down in steps of 5 %, and each code has as many further columns, which may be punctured, as rows
lie between it and the next smaller one, so that every leak fraction has a code. `degrees.json` has the columns'
degrees, found once by `qkd codes optimise`; from there on everything follows by seeds.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.resources import files

import numpy as np

from qkd.codedesign import base, shifts
from qkd.codedesign.density import Ensemble
from qkd.reconciliation.codes import Code

PAYLOAD_COLUMNS = 256
MOST_ROWS = 144
LEAST_ROWS = 24
STEP = 0.05
LEAST_SPARE = 2
SEED = 20261128


@dataclass(frozen=True, slots=True)
class Plan:
    """What a code is made from.

    Attributes:
        rows: rows of the base.
        puncturable: columns of degree PUNCTURED_DEGREE beyond the payload.
        columns: degree -> number of payload columns, together PAYLOAD_COLUMNS.
        threshold_qber: by density evolution, nothing punctured.
    """

    rows: int
    puncturable: int
    columns: dict[int, int]
    threshold_qber: float

    @property
    def degrees(self) -> list[int]:
        """Degree of each payload column, ascending."""
        return sorted(d for d, count in self.columns.items() for _ in range(count))


def sizes() -> list[tuple[int, int]]:
    """(rows, puncturable columns) of every code, ascending."""
    result, rows = [], MOST_ROWS
    while rows >= LEAST_ROWS:
        spare = max(LEAST_SPARE, round(STEP * rows))
        result.append((rows, spare))
        rows -= spare
    return result[::-1]


def plans() -> list[Plan]:
    """The shipped plans, ascending."""
    entries = json.loads(files("qkd.codedesign").joinpath("degrees.json").read_text(encoding="ascii"))["codes"]
    return [
        Plan(
            entry["rows"],
            entry["puncturable"],
            {int(d): n for d, n in entry["columns"].items()},
            entry["threshold_qber"],
        )
        for entry in entries
    ]


def write_plans(found: list[Plan]) -> str:
    """The text of `degrees.json`: a line a code."""
    return '{"codes": [\n' + ",\n".join(json.dumps(asdict(plan)) for plan in found) + "\n]}\n"


def ensemble(columns: dict[int, int], rows: int, punctured: int) -> Ensemble:
    """Degrees as density evolution sees them with `punctured` of the columns beyond the payload punctured.

    The others of these columns are shortened: they are not there.
    """
    hidden = {base.PUNCTURED_DEGREE: punctured} if punctured else {}
    edges = sum(d * n for d, n in [*columns.items(), *hidden.items()])
    degrees, counts = np.unique(base.row_degrees(edges, rows), return_counts=True)
    return Ensemble.of_nodes(columns, dict(zip(degrees.tolist(), counts.tolist(), strict=True)), hidden)


def make(plan: Plan, payload_bits: int) -> Code:
    """The code of a plan for one payload size, always the same."""
    lifting = payload_bits // PAYLOAD_COLUMNS
    degrees = sorted([*plan.degrees, *[base.PUNCTURED_DEGREE] * plan.puncturable])
    grown = base.grow(degrees, plan.rows, plan.puncturable, np.random.default_rng([SEED, plan.rows]))
    shift = shifts.choose(grown.matrix, lifting, np.random.default_rng([SEED, plan.rows, lifting]))
    payload = [c for c in range(len(degrees)) if c not in grown.puncturable]
    full = shift[:, [*payload, *grown.puncturable]]
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
        puncturable=np.arange(PAYLOAD_COLUMNS, full.shape[1], dtype=np.int32),
        threshold_qber=plan.threshold_qber,
    )
