"""Base matrices with given degrees by progressive edge growth (Hu, Eleftheriou, Arnold 2005), on the base graph.

Columns are placed by ascending degree. A column of degree 2 is an edge between two rows: it goes between rows as far
apart in the graph of all such columns as there are, because a cycle of degree-2 columns is a word of low weight. Of
a column of higher degree each entry goes to a row that shares few columns with those the column has already (a shared
column is a 4-cycle of the base); once degrees are high only even rows matter. Columns that may be punctured lie in
different rows: then each of them is known again as soon as one of its checks is (Vellambi and Fekri 2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkd.errors import ParameterError

PUNCTURED_DEGREE = 3
SWAPS = 10  # per entry, which forgets how the entries were placed


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A 0/1 base matrix.

    Attributes:
        matrix: bool, shape (rows, columns), ascending degree.
        puncturable: columns that may be punctured, in this order.
    """

    matrix: npt.NDArray[np.bool_]
    puncturable: tuple[int, ...]


def row_degrees(edges: int, rows: int) -> npt.NDArray[np.int64]:
    """Even degrees: all within one of each other, the larger ones first."""
    low, rest = divmod(edges, rows)
    return np.array([low + (r < rest) for r in range(rows)], np.int64)


def grow(column_degrees: list[int], rows: int, puncturable: int, generator: np.random.Generator) -> Base:
    """A base matrix.

    Args:
        column_degrees: degree of each column, ascending, each in 2 .. rows.
        rows: rows of the matrix.
        puncturable: how many columns of degree PUNCTURED_DEGREE may be punctured; the last ones of that degree.
        generator: decides between equal choices.

    Raises:
        ParameterError: degrees that no such matrix has.
    """
    if column_degrees != sorted(column_degrees) or column_degrees[0] < 2 or column_degrees[-1] > rows:
        raise ParameterError(f"column degrees must ascend from 2 or more to at most {rows}, the number of rows")
    matrix = np.zeros((rows, len(column_degrees)), np.bool_)
    room = row_degrees(sum(column_degrees), rows)
    twos = np.zeros((rows, rows), np.bool_)
    last = int(np.searchsorted(column_degrees, PUNCTURED_DEGREE, side="right"))
    hidden = range(last - puncturable, last)
    taken: list[int] = []
    for c, degree in enumerate(column_degrees):
        chosen: list[int] = []
        for _ in range(degree):
            allowed = room > 0
            allowed[chosen] = False
            if c in hidden:
                allowed[taken] = False
            if not allowed.any():
                raise ParameterError(f"column {c} of degree {degree} finds no row with room")
            r = _choose(twos, room, allowed, chosen, degree, generator)
            chosen.append(r)
            matrix[r, c] = True
            room[r] -= 1
        if degree == 2:
            twos[chosen[0], chosen[1]] = twos[chosen[1], chosen[0]] = True
        if c in hidden:
            taken += chosen
    degrees = np.array(column_degrees)
    free = np.flatnonzero((degrees > 2) & ~np.isin(np.arange(degrees.size), hidden))
    _mix(matrix, free, generator)
    return Base(matrix, tuple(hidden))


def _choose(
    twos: npt.NDArray[np.bool_],
    room: npt.NDArray[np.int64],
    allowed: npt.NDArray[np.bool_],
    chosen: list[int],
    degree: int,
    generator: np.random.Generator,
) -> int:
    near = -_distances(twos, chosen[0]) if degree == 2 and chosen else np.zeros(len(room))
    order = np.lexsort((generator.random(len(room)), -room, near))
    return int(order[allowed[order]][0])


def _mix(matrix: npt.NDArray[np.bool_], columns: npt.NDArray[np.int64], generator: np.random.Generator) -> None:
    """Swap pairs of entries of these columns at random; all degrees stay."""
    row, column = np.nonzero(matrix[:, columns])
    column = columns[column]
    for first, second in generator.integers(row.size, size=(SWAPS * row.size, 2)):
        r, c, s, d = row[first], column[first], row[second], column[second]
        if matrix[r, d] or matrix[s, c]:
            continue
        matrix[r, c] = matrix[s, d] = False
        matrix[r, d] = matrix[s, c] = True
        column[first], column[second] = d, c


def _distances(adjacent: npt.NDArray[np.bool_], start: int) -> npt.NDArray[np.float64]:
    """Steps from `start` to each row; as many as there are rows where there is no way."""
    distance = np.full(len(adjacent), float(len(adjacent)))
    distance[start] = 0
    front = np.zeros(len(adjacent), np.bool_)
    front[start] = True
    steps = 0
    while front.any():
        steps += 1
        front = adjacent[front].any(axis=0) & (distance == len(adjacent))
        distance[front] = steps
    return distance
