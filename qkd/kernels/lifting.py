"""Loops over short cycles of a quasi-cyclic graph (`qkd.codedesign.shifts` says what they are for).

Entry (r, c, s) of the base joins check (r, t) with bit (c, (t + s) mod Z). `rows_of[c]` and `columns_of[r]` list the
entries placed so far, in the order of placing; `row_shift` and `column_shift` hold their shifts at the same places.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel

MAX_DEPTH = 16  # columns in a cycle, at most
FOUR_CYCLE = 1e6  # harm of any 4-cycle: more than all others together
SIX_CYCLE = 1e-3  # what being a 6-cycle adds, so that one is closed only where others would be worse


@kernel
def tally_cycles(
    row: int,
    column: int,
    weight: npt.NDArray[np.float64],
    allowance: float,
    decay: float,
    columns_of: npt.NDArray[np.int32],
    row_shift: npt.NDArray[np.int32],
    row_degree: npt.NDArray[np.int32],
    rows_of: npt.NDArray[np.int32],
    column_shift: npt.NDArray[np.int32],
    column_degree: npt.NDArray[np.int32],
    costs: npt.NDArray[np.float64],
) -> None:
    """Add to costs[s] the harm of every cycle that an entry (row, column, s) would close.

    A walk leaves `row`, passes columns c1, c2 .. and comes to a row that `column` has an entry in. `weight[c]` is what
    column c adds to a cycle's length; the cycle's harm is exp(-decay * sum of weights), a 4- or
    6-cycle's more, and walks whose sum exceeds
    `allowance` are given up; 6-cycles have half as much again, 4-cycles are all counted.
    """
    lifting = costs.size
    at_row = np.zeros(MAX_DEPTH, np.int64)  # row reached at each depth
    at_lift = np.zeros(MAX_DEPTH, np.int64)  # its position t
    at_total = np.zeros(MAX_DEPTH, np.float64)
    next_column = np.zeros(MAX_DEPTH, np.int64)
    next_row = np.zeros(MAX_DEPTH, np.int64)
    through = np.full(MAX_DEPTH, -1, np.int64)  # column by which the row of this depth was reached
    at_row[0] = row
    through[0] = column
    at_total[0] = weight[column]
    depth = 0
    while depth >= 0:
        here = at_row[depth]
        i = next_column[depth]
        if i == row_degree[here]:
            depth -= 1
            continue
        passing = columns_of[here, i]
        total = at_total[depth] + weight[passing]
        j = next_row[depth]
        long = total > (1.5 * allowance if depth == 1 else allowance)
        skip = passing == through[depth] or passing == column or (depth > 0 and long)
        if skip or j == column_degree[passing] or depth + 1 == MAX_DEPTH:
            next_column[depth] += 1
            next_row[depth] = 0
            continue
        next_row[depth] += 1
        there = rows_of[passing, j]
        if there == here:
            continue
        lift = (at_lift[depth] + row_shift[here, i] - column_shift[passing, j]) % lifting
        for k in range(column_degree[column]):
            if rows_of[column, k] == there:
                closing = (lift + column_shift[column, k]) % lifting
                harm = np.exp(-decay * total)
                if depth == 0:
                    harm += FOUR_CYCLE
                elif depth == 1:
                    harm += SIX_CYCLE
                costs[closing] += harm
                # With half a turn the cycle closes after the second round.
                if lifting % 2 == 0:
                    costs[(closing + lifting // 2) % lifting] += harm * harm
        depth += 1
        at_row[depth] = there
        at_lift[depth] = lift
        at_total[depth] = total
        through[depth] = passing
        next_column[depth] = 0
        next_row[depth] = 0


@kernel
def shortest_cycle(
    starts: npt.NDArray[np.int32],
    column: npt.NDArray[np.int32],
    shift: npt.NDArray[np.int32],
    column_starts: npt.NDArray[np.int32],
    column_row: npt.NDArray[np.int32],
    column_shift: npt.NDArray[np.int32],
    lifting: int,
    most: int,
) -> int:
    """Length of the shortest cycle of the lifted graph, or `most` if it has none below `most`.

    Breadth-first search from bit 0 of every base column: the graph looks the same from its other bits.
    """
    rows = starts.size - 1
    columns = column_starts.size - 1
    best = most
    distance = np.full((rows + columns) * lifting, -1, np.int32)
    parent = np.full((rows + columns) * lifting, -1, np.int32)
    queue = np.empty((rows + columns) * lifting, np.int32)
    for c in range(columns):
        head = 0
        tail = 1
        queue[0] = (rows + c) * lifting
        distance[queue[0]] = 0
        while head < tail and 2 * distance[queue[head]] < best:
            node = queue[head]
            head += 1
            base = node // lifting
            lift = node % lifting
            is_row = base < rows
            low = starts[base] if is_row else column_starts[base - rows]
            high = starts[base + 1] if is_row else column_starts[base - rows + 1]
            for e in range(low, high):
                if is_row:
                    other = (rows + column[e]) * lifting + (lift + shift[e]) % lifting
                else:
                    other = column_row[e] * lifting + (lift - column_shift[e]) % lifting
                if other == parent[node]:
                    continue
                if distance[other] >= 0:
                    best = min(best, distance[node] + distance[other] + 1)
                else:
                    distance[other] = distance[node] + 1
                    parent[other] = node
                    queue[tail] = other
                    tail += 1
        for k in range(tail):
            distance[queue[k]] = -1
            parent[queue[k]] = -1
    return best
