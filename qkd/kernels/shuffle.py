"""Fisher-Yates shuffle driven by a stream of 32-bit words, and inverses (loops of `qkd.randomness` and its users)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel, lean

_LOW = np.uint64(0xFFFFFFFF)


@kernel
def fisher_yates(permutation: npt.NDArray[np.uint32], words: npt.NDArray[np.uint32], last: int) -> int:
    """Shuffle in place from the top down to entry `last` >= 1; returns the words used, or -1 if they ran out."""
    used = np.int64(0)
    for i in range(permutation.size - 1, last - 1, -1):
        m = np.uint64(i + 1)
        while True:
            if used >= words.size:
                return -1
            product = np.uint64(words[used]) * m
            used += 1
            rest = product & _LOW
            # 2^32 mod m is below m, so it need not be divided for unless the rest is.
            if rest >= m or rest >= np.uint64(1 << 32) % m:
                break
        j = np.int64(product >> np.uint64(32))
        held = permutation[i]
        permutation[i] = permutation[j]
        permutation[j] = held
    return used


@lean
def invert(order: npt.NDArray[np.unsignedinteger], inverse: npt.NDArray[np.unsignedinteger]) -> None:
    """inverse[order[j]] = j."""
    for j in range(order.size):
        inverse[order[j]] = j
