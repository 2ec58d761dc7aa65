"""Part a string by a second one, and take places out of it (loops of `qkd.sifting` and `qkd.estimation`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import lean

Bytes = npt.NDArray[np.uint8]


@lean
def part(values: Bytes, side: Bytes, first: Bytes, second: Bytes) -> int:
    """Values at side 0 to `first`, at side 1 to `second`, in order; returns how many went to `first`.

    Both outputs have one entry more than `values`. Which way a bit goes is random, so a branch on it would be foreseen
    half of the time and cost more than all the rest: every bit is written to both and only one of them moves on.
    """
    at_first, at_second = np.int64(0), np.int64(0)
    for i in range(values.size):
        one = np.int64(side[i] & np.uint8(1))
        first[at_first] = values[i]
        second[at_second] = values[i]
        at_first += 1 - one
        at_second += one
    return at_first


@lean
def leave_out(values: Bytes, places: npt.NDArray[np.int64], rest: Bytes) -> None:
    """All values but those at `places`, which ascend; `rest` has room for exactly these."""
    # Unsigned indices: a signed one might count from the end, and the copy would go byte by byte.
    begin, count = np.uint64(0), np.uint64(places.size)
    for k in range(count + np.uint64(1)):
        end = np.uint64(places[k]) if k < count else np.uint64(values.size)
        for i in range(begin, end):
            rest[i - k] = values[i]
        begin = end + np.uint64(1)
