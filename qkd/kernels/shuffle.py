"""Fisher-Yates shuffle driven by a stream of 32-bit words, and inverses (loops of `qkd.randomness` and its users)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, kernel, lean

Words = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]

_LOW = np.uint64(0xFFFFFFFF)
# Knuth's multiplicative hash; numbers are below 2^31, so the product fits.
_SPREAD = np.uint64(2654435761)


@inlined
def _draw(words: Words, used: int, i: int) -> tuple[int, int]:
    """A uniform number in 0 .. i, and the words used by then; (-1, ...) if they ran out."""
    m = np.uint64(i + 1)
    while used < words.size:
        product = np.uint64(words[used]) * m
        used += 1
        rest = product & _LOW
        # 2^32 mod m is below m, so it need not be divided for unless the rest is.
        if rest >= m or rest >= np.uint64(1 << 32) % m:
            return np.int64(product >> np.uint64(32)), used
    return np.int64(-1), used


@kernel
def fisher_yates(permutation: Words, words: Words) -> int:
    """Shuffle in place from the top; returns the words used, or -1 if they ran out."""
    used = np.int64(0)
    for i in range(permutation.size - 1, 0, -1):
        j, used = _draw(words, used, i)
        if j < 0:
            return j
        held = permutation[i]
        permutation[i] = permutation[j]
        permutation[j] = held
    return used


@inlined
def _slot(keys: Numbers, x: int) -> int:
    """Where x stands in the table, or would stand."""
    at = np.int64((np.uint64(x) * _SPREAD) >> np.uint64(15)) & (keys.size - 1)
    while keys[at] >= 0 and keys[at] != x:
        at = (at + 1) & (keys.size - 1)
    return at


@lean
def shuffled_end(size: int, words: Words, keys: Numbers, held: Numbers, found: Numbers) -> int:
    """The last entries of range(size) after the shuffle, last one first; returns as `fisher_yates`.

    Only entries that were moved are kept: entry keys[t] is held[t]. The table has a power of two places, at least two
    for each entry of `found`, all keys -1.
    """
    used = np.int64(0)
    for k in range(found.size):
        i = size - 1 - k
        j = np.int64(0)
        if i > 0:
            j, used = _draw(words, used, i)
            if j < 0:
                return j
        at = _slot(keys, i)
        last = held[at] if keys[at] >= 0 else np.int64(i)
        at = _slot(keys, j)
        found[k] = held[at] if keys[at] >= 0 else j
        keys[at] = j
        held[at] = last
    return used


@lean
def invert(order: npt.NDArray[np.unsignedinteger], inverse: npt.NDArray[np.unsignedinteger]) -> None:
    """inverse[order[j]] = j."""
    for j in range(order.size):
        inverse[order[j]] = j
