"""Shifts of a base matrix: each entry takes the value that closes the least harmful cycles with those placed before.

The harm of a cycle of k columns with extrinsic degree E = sum(degree - 2) (ACE: Tian, Jones, Villasenor, Wesel 2004)
is exp(-DECAY * (k + SPREAD * E)): short cycles of low-degree columns hold the errors that decoding leaves, cycles
through columns of high degree hardly matter and are not even looked for. Only 4-cycles count whatever their degrees,
and more than all else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qkd.kernels.lifting import tally_cycles

DECAY = 1.0
SPREAD = 0.7
ALLOWANCE = 8.0
LONG_REACH = 11.0  # for columns of degree 2, whose cycles are words of their own


class Lifting:
    """A base matrix while its entries get their shifts."""

    def __init__(self, matrix: npt.NDArray[np.bool_], lifting: int) -> None:
        rows, columns = matrix.shape
        self.lifting = lifting
        self.degrees = matrix.sum(axis=0)
        self.columns_of = np.zeros((rows, int(matrix.sum(axis=1).max())), np.int32)
        self.rows_of = np.zeros((columns, int(self.degrees.max())), np.int32)
        self.row_shift, self.column_shift = np.zeros_like(self.columns_of), np.zeros_like(self.rows_of)
        self.row_degree, self.column_degree = np.zeros(rows, np.int32), np.zeros(columns, np.int32)
        self.weight = 1.0 + SPREAD * (self.degrees - 2)

    def costs(self, row: int, column: int) -> npt.NDArray[np.float64]:
        """Harm of each shift at an entry to be placed, shape (lifting,)."""
        costs = np.zeros(self.lifting)
        allowance = LONG_REACH if self.degrees[column] == 2 else ALLOWANCE
        tally_cycles(
            row,
            column,
            self.weight,
            allowance,
            DECAY,
            self.columns_of,
            self.row_shift,
            self.row_degree,
            self.rows_of,
            self.column_shift,
            self.column_degree,
            costs,
        )
        return costs

    def place(self, row: int, column: int, shift: int) -> None:
        """Put an entry in."""
        i, j = self.row_degree[row], self.column_degree[column]
        self.columns_of[row, i], self.row_shift[row, i] = column, shift
        self.rows_of[column, j], self.column_shift[column, j] = row, shift
        self.row_degree[row] += 1
        self.column_degree[column] += 1


def choose(matrix: npt.NDArray[np.bool_], lifting: int, generator: np.random.Generator) -> npt.NDArray[np.int32]:
    """Shifts of all entries, shape of the matrix, -1 where it has none.

    Args:
        matrix: bool, shape (rows, columns), columns of ascending degree.
        lifting: size of a circulant.
        generator: decides between equal choices.
    """
    graph = Lifting(matrix, lifting)
    shifts = np.full(matrix.shape, -1, np.int32)
    for column in range(matrix.shape[1]):
        for row in np.flatnonzero(matrix[:, column]):
            costs = graph.costs(int(row), column)
            best = np.flatnonzero(costs <= costs.min() * (1 + 1e-9))
            shift = int(best[generator.integers(best.size)])
            graph.place(int(row), column, shift)
            shifts[row, column] = shift
    return shifts
