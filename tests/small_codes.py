"""Codes small enough to follow, for tests of the LDPC engine: made on the spot by tests/reference/ldpc.py."""

from __future__ import annotations

import numpy as np

from qkd.reconciliation.codes import Code
from tests.reference import ldpc as reference


def code_of(edges: list[reference.Edge], rows: int, columns: int, lifting: int, payload_bits: int) -> Code:
    """A code from its edges; the columns beyond the payload may be punctured."""
    table = np.array(sorted(edges), np.int32)
    starts = np.searchsorted(table[:, 0], np.arange(rows + 1)).astype(np.int32)
    return Code(
        name=f"{rows}x{columns}x{lifting}",
        payload_bits=payload_bits,
        lifting=lifting,
        rows=rows,
        columns=columns,
        starts=starts,
        column=np.ascontiguousarray(table[:, 1]),
        shift=np.ascontiguousarray(table[:, 2]),
        puncturable=np.arange(payload_bits // lifting, columns, dtype=np.int32),
        threshold_qber=0.05,
    )


def small_code(rows: int = 8, columns: int = 32, lifting: int = 24, *, extra: int = 2, seed: int = 1) -> Code:
    """A regular code with three entries a column, and `extra` columns of one entry each, as the shipped ones have."""
    edges = reference.small_base(rows, columns, lifting, 3, seed)
    edges += [(rows - 1 - k, columns + k, 0) for k in range(extra)]
    return code_of(edges, rows, columns + extra, lifting, columns * lifting)


def checks_of(code: Code) -> list[reference.Layer]:
    """The code as the reference wants it."""
    row = np.repeat(np.arange(code.rows), np.diff(code.starts))
    edges = list(zip(row.tolist(), code.column.tolist(), code.shift.tolist(), strict=True))
    return reference.layers(edges, code.rows, code.lifting)
