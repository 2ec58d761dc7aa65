"""A Hankel matrix over GF(2) times a bit string, exactly, as one middle product of polynomials over GF(2^64).

32 bits of the seed, s_a(x), and 32 bits of the text, turned round, t_j(x), are elements of GF(2^64) of degree below
32. A product of two has degree 62 at most, a sum of products too: nothing is ever reduced, so the field's own
polynomial leaves no trace and the result is that of GF(2)[x]. Bit 31 + d of the sum over j of s_{i+j} t_j adds the
seed bits and text bits that lie 32 i + d apart: bits 31 .. 62 of sum i and bits 0 .. 30 of sum i + 1 make output
bits 32 i .. 32 i + 31 (Brent, Gaudry, Thome, Zimmermann, ANTS 2008, cut so for Cantor's algorithm; the transforms:
`qkd.kernels.additive`, `qkd.kernels.conversion`).

The time and the addresses used depend on the lengths alone.
"""

from __future__ import annotations

import numpy as np

from qkd.bits import Bits
from qkd.kernels import additive, conversion, gf64, gf64steps

# A transform has so many sixteenths of a power of two; and at least 2^5 words.
_PARTS, _LEAST_LEVELS = 16, 5
CHUNK = 32
# Measured, ns: of one word through one level, everything included; and of the calls.
_LEVEL_COST, _CALLS_COST = 1.7, 30_000.0


def available() -> bool:
    """Whether this processor multiplies without carries, and numba compiles for it."""
    return gf64steps.WIDTH > 0


def points(text: int, output: int) -> int:
    """Length of the transforms, words, for so many bits of each."""
    needed = _chunks(text) + _chunks(output)
    levels = max(_LEAST_LEVELS, (needed - 1).bit_length())
    part = max(16, (1 << levels) // _PARTS)
    return -(-needed // part) * part


def cost(text: int, output: int) -> float:
    """About how long `add_windows` takes, in the units of `qkd.toeplitz`."""
    length = points(text, output)
    return _CALLS_COST + _LEVEL_COST * length * length.bit_length()


def add_windows(output: Bits, text: Bits, seed: Bits) -> None:
    """output[i] ^= sum over j of seed[i + j] text[j], modulo 2.

    Args:
        output: shape (l,), uint8 0/1, l at least 1.
        text: shape (m,), uint8 0/1, m at least 1.
        seed: shape (l + m - 1,), uint8 0/1.
    """
    filled, wanted = _chunks(text.size), _chunks(output.size) + 1
    length = points(text.size, output.size)
    levels = max(_LEAST_LEVELS, (length - 1).bit_length())
    f, g = np.zeros(1 << levels, np.uint64), np.zeros(1 << levels, np.uint64)
    additive.load(f, seed)
    # Packed from its end, the text gives chunks that are turned round already.
    additive.load_backwards(g, np.ascontiguousarray(text[::-1]))
    _windows(f, g, levels, length, filled, wanted)
    additive.add_joined(output, f)


def _windows(f: gf64.Words, g: gf64.Words, levels: int, length: int, filled: int, wanted: int) -> None:
    """f[i] = sum over j < filled of g[j] f[i + j] for i < wanted; filled + wanted - 1 <= length <= 2^levels."""
    table = gf64.TWIDDLES
    _convert(g, levels, filled, conversion.PLAIN)
    additive.evaluate(g, table, levels, length, filled)
    _convert(f, levels, length, conversion.INVERSE_TRANSPOSED)
    f[length:] = 0  # what the conversion left beyond its limit
    additive.interpolate_transposed(f, table, levels, length)
    additive.multiply(f, g, length)
    additive.evaluate_transposed(f, table, levels, length, wanted)
    _convert(f, levels, wanted, conversion.TRANSPOSED)


def _convert(f: gf64.Words, k: int, limit: int, mode: int, at: int = 0, stride: int = 1) -> None:
    """Change of basis of the 2^k rows of `stride` words at f[at], k >= 4, as `conversion.convert_each`.

    For i the largest power of two below k, f is expanded at s_i; what stands at the powers of s_i is converted as
    polynomials in s_i, what stands below them as polynomials in y. These are two sides of one tensor: in any order.
    """
    if at >= limit:
        return
    if k <= 8:
        conversion.convert_each(f, at, 1, 0, k, stride, stride, limit, mode)
        return
    i = 8 if k <= 16 else 16
    if mode != conversion.TRANSPOSED:
        conversion.expand(f, at, k, i, stride, stride, limit, mode)
    _convert(f, k - i, limit, mode, at, stride << i)
    if i == 8:
        conversion.convert_each(f, at, 1 << (k - i), stride << i, i, stride, stride, limit, mode)
    else:
        for row in range(1 << (k - i)):
            _convert(f, i, limit, mode, at + (row << i) * stride, stride)
    if mode == conversion.TRANSPOSED:
        conversion.expand(f, at, k, i, stride, stride, limit, mode)


def _chunks(bits: int) -> int:
    return -(-bits // CHUNK)
