"""The modified Toeplitz hash, twice and obviously: by its definition, and as a matrix product over GF(2) by galois."""

from __future__ import annotations

import galois
import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint8]


def by_definition(bits: Bits, length: int, seed: Bits) -> Bits:
    """y[i] = x[i] xor sum_j s[i + j] x[n - 1 - j], literally."""
    n = bits.size
    output = np.zeros(length, np.uint8)
    for i in range(length):
        total = int(bits[i])
        for j in range(n - length):
            total += int(seed[i + j]) * int(bits[n - 1 - j])
        output[i] = total % 2
    return output


def matrix(input_bits: int, length: int, seed: Bits) -> Bits:
    """(I | T), shape (l, n): column c >= l holds s[i + n - 1 - c], so it is constant along its diagonals."""
    whole = np.zeros((length, input_bits), np.uint8)
    for i in range(length):
        whole[i, i] = 1
        for c in range(length, input_bits):
            whole[i, c] = seed[i + input_bits - 1 - c]
    return whole


def by_galois(bits: Bits, length: int, seed: Bits) -> Bits:
    """The matrix times the input, in galois' arithmetic of GF(2)."""
    field = galois.GF2
    product = field(matrix(bits.size, length, seed)) @ field(bits)
    return np.asarray(product, dtype=np.uint8)
