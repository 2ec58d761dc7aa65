"""GF(2^64): its product for Python integers, Cantor's basis, and the tables that additive transforms take from it.

The field is GF(2)[x] modulo x^64 + x^4 + x^3 + x + 1, an element a 64-bit word, x^i its bit i. The instructions that
work on eight elements at a time are in `gf64steps`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

POLYNOMIAL = 0x1B  # without x^64

Words = npt.NDArray[np.uint64]
Bits = npt.NDArray[np.uint8]


def product(a: int, b: int) -> int:
    """a b in the field, for Python integers below 2^64: for tables, and the oracle of the instructions."""
    total = 0
    while b:
        total ^= a if b & 1 else 0
        b >>= 1
        a <<= 1
        if a >> 64:
            a ^= 1 << 64 | POLYNOMIAL
    return total


def _cantor(count: int) -> tuple[int, ...]:
    """beta_0 = 1 and beta_i with beta_i^2 + beta_i = beta_{i-1}: Cantor's basis (J. Comb. Theory A 50:285, 1989)."""
    pivots: dict[int, tuple[int, int]] = {}
    for i in range(64):
        image, argument = product(1 << i, 1 << i) ^ 1 << i, 1 << i
        for p in sorted(pivots, reverse=True):
            if image >> p & 1:
                image, argument = image ^ pivots[p][0], argument ^ pivots[p][1]
        if image:
            pivots[image.bit_length() - 1] = image, argument
    basis = [1]
    while len(basis) < count:
        rest, root = basis[-1], 0
        while rest:
            image, argument = pivots[rest.bit_length() - 1]
            rest, root = rest ^ image, root ^ argument
        basis.append(root)
    return tuple(basis)


BASIS = _cantor(26)


def span(basis: tuple[int, ...]) -> Words:
    """All sums of the basis: entry b adds basis[j] for every bit j of b; shape (2^len(basis),)."""
    sums = np.zeros(1, np.uint64)
    for element in basis:
        sums = np.concatenate((sums, sums ^ np.uint64(element)))
    return sums


# A twiddle factor is a sum of beta_{j+1} over the bits j of its block's number: two short tables give any.
LOW_BITS = 10
LOW_MASK = (1 << LOW_BITS) - 1
TWIDDLES = np.concatenate((span(BASIS[1 : LOW_BITS + 1]), span(BASIS[LOW_BITS + 1 :])))
