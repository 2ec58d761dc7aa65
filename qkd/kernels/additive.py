"""Additive Fourier transforms over GF(2^64) in Cantor's basis, and what a middle product needs of them.

Lin, Chung and Han (FOCS 2014, arXiv:1404.3458) write a polynomial in the basis X_i = product of s_j over the bits j of
i, s_j the polynomial that vanishes on the span W_j of beta_0 .. beta_{j-1}. At one point of each coset of W_{k-1} the
2^k coefficients then halve into u + t v and u + t v + v, t = s_{k-1} at the coset: sums of the basis, no powers of
roots. In Cantor's basis s_j has coefficients 0 and 1, so the way from powers of y to that basis is additions alone:
`conversion`.

Let T = (evaluation at the first M points) (change of basis), M by M, invertible. A product of polynomials a, b is
T^-1 (T a . T b). Its transpose, T^t (T b . T^-t c), is the sum over j of b[j] c[i + j]: what a hash wants, with M as
long as c alone (Bostan, Lecerf, Schost, ISSAC 2003). So beside the evaluation there are an inverse-transposed and a
transposed one; each is the program read backwards or with every addition turned round.

M need not be a power of two: coefficients from M on are zero and points from M on are not computed (van der Hoeven,
ISSAC 2004, for the roots of unity). No branch and no address depends on the data.
"""

from __future__ import annotations

import numpy as np

from distribution.kernels._jit import inlined, lean
from qkd.kernels.gf64 import LOW_BITS, LOW_MASK, Bits, Words
from qkd.kernels.gf64steps import (
    add8,
    down8,
    down32,
    gather32,
    last_down,
    last_down_exchanged,
    last_up,
    scale8,
    scatter32,
    times8,
    up8,
    up32,
)

# Blocks of so many levels fit the first cache: they are finished one after the other.
_NEAR_LEVELS = 12
_HIGH = LOW_MASK + 1


@inlined
def _factor(table: Words, block: int) -> int:
    return table[block & LOW_MASK] ^ table[_HIGH + (block >> LOW_BITS)]


@lean
def _down_level(f: Words, table: Words, at: int, level: int, block: int, exchanged: bool) -> None:
    """Two levels of one block."""
    quarter = 1 << (level - 2)
    t, low, high = _factor(table, block), _factor(table, 2 * block), _factor(table, 2 * block + 1)
    if exchanged:
        for j in range(at + 3 * quarter, at + 4 * quarter, 8):
            down32(f, j, -quarter, t, high, low)
    else:
        for j in range(at, at + quarter, 8):
            down32(f, j, quarter, t, low, high)


@lean
def _down_near(f: Words, table: Words, at: int, k: int, block: int, exchanged: bool) -> None:
    """All levels of one block, k >= 4, one after the other."""
    level = k
    while level >= 5:
        for b in range(1 << (k - level)):
            _down_level(f, table, at + (b << level), level, (block << (k - level)) + b, exchanged)
        level -= 2
    if level == 4:
        for b in range(1 << (k - 4)):
            start = at + (b << 4)
            t = _factor(table, (block << (k - 4)) + b)
            if exchanged:
                down8(f, start + 8, start, t)
            else:
                down8(f, start, start + 8, t)
    for pair in range(1 << (k - 4)):
        b = (block << (k - 3)) + 2 * pair
        t4, t2, t1 = _factor(table, b), _factor(table, 2 * b), _factor(table, 4 * b)
        if exchanged:
            last_down_exchanged(f, at + (pair << 4), t4, t2, t1)
        else:
            last_down(f, at + (pair << 4), t4, t2, t1)


@lean
def _down(f: Words, table: Words, at: int, k: int, block: int, exchanged: bool) -> None:
    """All 2^k points of block `block` of that size; with u and v exchanged, the inverse of that, transposed.

    Blocks that fit the cache are finished one by one: each is preceded by the levels of the larger that begin there.
    """
    near = k
    while near > _NEAR_LEVELS:
        near -= 2
    for b in range(1 << (k - near)):
        for level in range(k, near, -2):
            if b & ((1 << (level - near)) - 1) == 0:
                larger = (block << (k - level)) + (b >> (level - near))
                _down_level(f, table, at + (b << near), level, larger, exchanged)
        _down_near(f, table, at + (b << near), near, (block << (k - near)) + b, exchanged)


@lean
def _up_level(f: Words, table: Words, at: int, level: int, block: int) -> None:
    quarter = 1 << (level - 2)
    t, low, high = _factor(table, block), _factor(table, 2 * block), _factor(table, 2 * block + 1)
    for j in range(at, at + quarter, 8):
        up32(f, j, quarter, t, low, high)


@lean
def _up_near(f: Words, table: Words, at: int, k: int, block: int) -> None:
    for pair in range(1 << (k - 4)):
        b = (block << (k - 3)) + 2 * pair
        last_up(f, at + (pair << 4), _factor(table, b), _factor(table, 2 * b), _factor(table, 4 * b))
    level = 5
    if (k - 3) & 1:
        for b in range(1 << (k - 4)):
            up8(f, at + (b << 4), at + (b << 4) + 8, _factor(table, (block << (k - 4)) + b))
        level = 6
    while level <= k:
        for b in range(1 << (k - level)):
            _up_level(f, table, at + (b << level), level, (block << (k - level)) + b)
        level += 2


@lean
def _up(f: Words, table: Words, at: int, k: int, block: int) -> None:
    """All 2^k points of a block, transposed: the levels of `_down` from the last to the first."""
    near = k
    while near > _NEAR_LEVELS:
        near -= 2
    for b in range(1 << (k - near)):
        _up_near(f, table, at + (b << near), near, (block << (k - near)) + b)
        for level in range(near + 2, k + 1, 2):
            if (b + 1) & ((1 << (level - near)) - 1) == 0:
                larger = b >> (level - near)
                _up_level(f, table, at + (larger << level), level, (block << (k - level)) + larger)


@inlined
def _whole_levels(points: int) -> int:
    """The size, as a power of two, of the last block of points: trailing ones of points - 1.

    Points 0 .. points - 1 are whole blocks, one for every one of points - 1 above those, and this one. With
    q = points - 1, the block of size 2^k in which they end is number q >> k, and they fill its left half if bit
    k - 1 of q is one.
    """
    levels = 0
    while (points - 1) >> levels & 1:
        levels += 1
    return levels


@lean
def evaluate(f: Words, table: Words, k: int, points: int, filled: int) -> None:
    """Coefficients of the X_i to values at the first `points` points.

    Args:
        f: shape (2^k,), zero from `filled` on; beyond `points` undefined afterwards.
        table: gf64.TWIDDLES.
        k: 4 to 24.
        points: a multiple of 16, at least 16.
        filled: coefficients that may differ from zero, at least 1.
    """
    q = points - 1
    whole = _whole_levels(points)
    for level in range(k, whole, -1):
        half = 1 << (level - 1)
        block = q >> level
        at = block << level
        t = _factor(table, block)
        empty = level == k and filled <= half
        if q >> (level - 1) & 1:
            if empty:
                for j in range(at, at + half, 8):
                    add8(f, j + half, j)
            else:
                for j in range(at, at + half, 8):
                    down8(f, j, j + half, t)
            _down(f, table, at, level - 1, 2 * block, False)
        elif not empty:
            for j in range(at, at + half, 8):
                scale8(f, j, j + half, t)
    _down(f, table, q >> whole << whole, whole, q >> whole, False)


@lean
def evaluate_transposed(f: Words, table: Words, k: int, points: int, wanted: int) -> None:
    """The transpose of `evaluate`: the first `points` words in, the first `wanted` words out.

    Args:
        f: shape (2^k,); what lies beyond `points` does not matter, what lies beyond `wanted` is undefined afterwards.
        table: gf64.TWIDDLES.
        k: 4 to 24.
        points: a multiple of 16, at least 16.
        wanted: at least 1.
    """
    q = points - 1
    whole = _whole_levels(points)
    _up(f, table, q >> whole << whole, whole, q >> whole)
    for level in range(whole + 1, k + 1):
        half = 1 << (level - 1)
        block = q >> level
        at = block << level
        t = _factor(table, block)
        unwanted = level == k and wanted <= half
        if q >> (level - 1) & 1:
            _up(f, table, at, level - 1, 2 * block)
            if unwanted:
                for j in range(at, at + half, 8):
                    add8(f, j, j + half)
            else:
                for j in range(at, at + half, 8):
                    up8(f, j, j + half, t)
        elif not unwanted:
            for j in range(at + half, at + 2 * half):
                f[j] = 0
            for j in range(at, at + half, 8):
                scale8(f, j + half, j, t)


@lean
def interpolate_transposed(f: Words, table: Words, k: int, points: int) -> None:
    """The transpose of the way back from values at the first `points` points to as many coefficients.

    The way back knows the coefficients from `points` on: zero. Where it meets a block of which it knows m values and
    the coefficients from m on, it makes the left half whole, or brings the knowledge to where the values are. Here
    are its additions turned round.

    Args:
        f: shape (2^k,), zero from `points` on, where it is undefined afterwards.
        table: gf64.TWIDDLES.
        k: 4 to 24.
        points: a multiple of 16, at least 16.
    """
    q = points - 1
    whole = _whole_levels(points)
    for level in range(k, whole, -1):
        half = 1 << (level - 1)
        at = q >> level << level
        t = _factor(table, q >> level)
        if q >> (level - 1) & 1:
            for j in range(at, at + half, 8):
                down8(f, j + half, j, t)
        else:
            for j in range(at, at + half, 8):
                scale8(f, j + half, j, t)
    _down(f, table, q >> whole << whole, whole, q >> whole, True)
    for level in range(whole + 1, k + 1):
        half = 1 << (level - 1)
        at = q >> level << level
        t = _factor(table, q >> level)
        known = (q & (half - 1)) + 1
        if q >> (level - 1) & 1:
            for j in range(at + known, at + half, 8):
                add8(f, j, j + half)
            _down(f, table, at, level - 1, 2 * (q >> level), True)
        else:
            for j in range(at + known, at + half, 8):
                scale8(f, j + half, j, t)


@lean
def multiply(f: Words, g: Words, points: int) -> None:
    """f[i] *= g[i] for i < points, a multiple of 8."""
    for i in range(0, points, 8):
        times8(f, g, i)


@lean
def load(f: Words, bits: Bits) -> None:
    """32 bits a word, bit j of a word bit j of its 32; the last word may have fewer.

    Args:
        f: at least one word for every 32 bits.
        bits: shape (n,), uint8 0/1.
    """
    whole = bits.size >> 5
    for word in range(whole):
        f[word] = gather32(bits, word << 5)
    _load_some(f, whole, bits, whole << 5, bits.size)


@lean
def load_backwards(f: Words, bits: Bits) -> None:
    """32 bits a word from the end: word w has the bits n - 32 (w + 1) .. n - 32 w - 1, in their order.

    Args:
        f: at least one word for every 32 bits.
        bits: shape (n,), uint8 0/1.
    """
    whole = bits.size >> 5
    for word in range(whole):
        f[word] = gather32(bits, bits.size - ((word + 1) << 5))
    rest = bits.size & 31
    _load_some(f, whole, bits, 0, rest)
    if rest:
        f[whole] <<= np.uint64(32 - rest)


@lean
def _load_some(f: Words, word: int, bits: Bits, start: int, end: int) -> None:
    if start < end:
        total = np.uint64(0)
        for j in range(start, end):
            total |= np.uint64(bits[j]) << np.uint64(j - start)
        f[word] = total


@lean
def add_joined(output: Bits, f: Words) -> None:
    """output[32 w + j] ^= bit 31 + j of f[w] + x^32 f[w + 1]: what falls to each place of overlapping products.

    Args:
        output: shape (l,), uint8 0/1.
        f: at least ceil(l / 32) + 1 words.
    """
    whole = output.size >> 5
    for word in range(whole):
        scatter32(output, word << 5, f[word] >> np.uint64(31) ^ f[word + 1] << np.uint64(1))
    joined = f[whole] >> np.uint64(31)
    if output.size & 31:
        joined ^= f[whole + 1] << np.uint64(1)
    for j in range(output.size & 31):
        output[(whole << 5) + j] ^= np.uint8(joined >> np.uint64(j) & np.uint64(1))
