"""Exact convolution of bit strings by a number-theoretic transform, and the direct sum for short outputs.

Integers modulo P = 15 * 2^27 + 1, which has roots of unity of every order 2^1 .. 2^27; a convolution of bit strings
counts at most P - 1 coincidences, so residues are the counts themselves and their parity is exact. Products go
through 32-bit Montgomery reduction (R = 2^32). The forward transform leaves its output in an order of its own and the
inverse takes it so: no reordering is needed for a product. No branch and no address depends on the data.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, kernel, lean

P = 2013265921
GENERATOR = 31  # of the multiplicative group modulo P
_P = np.uint64(P)
_NEGATIVE_INVERSE = np.uint64(-pow(P, -1, 1 << 32) % (1 << 32))
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
_NEAR = 1 << 12

Residues = npt.NDArray[np.uint32]
Words = npt.NDArray[np.uint64]


@inlined
def reduced(x: np.uint64) -> np.uint64:
    """x mod P for x < 2 P."""
    return x - _P if x >= _P else x


@inlined
def product(x: np.uint64, y: np.uint64) -> np.uint64:
    """x y / R mod P for x, y < P; the masks keep every product below 2^64."""
    t = x * y
    m = ((t & _LOW) * _NEGATIVE_INVERSE) & _LOW
    return reduced((t + m * _P) >> _HALF)


@kernel
def roots(size: int, root: int, one: int) -> Residues:
    """Entry h + j is w^j with w of order 2 h, for h = size/2 .. 1, Montgomery form; `root` has order `size`."""
    table = np.zeros(size, np.uint32)
    w = np.uint64(root)
    half = size // 2
    while half >= 1:
        x = np.uint64(one)
        for j in range(half):
            table[half + j] = x
            x = product(x, w)
        w = product(w, w)
        half //= 2
    return table


@lean
def _last_forward(points: Residues, table: Residues, turned: Residues) -> None:
    """The levels within 16 points, of 16 such blocks at once, which are left turned: point j of block r at 16 j + r.

    Side by side, 16 blocks have the same factor, so that these levels run as fast as the long ones.
    """
    for r in range(16):
        for j in range(16):
            turned[16 * j + r] = points[16 * r + j]
    half = 8
    while half >= 1:
        for low in range(0, 16):
            if low & half == 0:
                w = np.uint64(table[half + (low & (half - 1))])
                for r in range(16):
                    u = np.uint64(turned[16 * low + r])
                    v = np.uint64(turned[16 * (low + half) + r])
                    turned[16 * low + r] = np.uint32(reduced(u + v))
                    turned[16 * (low + half) + r] = np.uint32(product(u + _P - v, w))
        half //= 2
    for i in range(256):
        points[i] = turned[i]


@lean
def _first_inverse(points: Residues, table: Residues, turned: Residues) -> None:
    """The levels within 16 points of 16 blocks that lie turned, which are turned back."""
    for i in range(256):
        turned[i] = points[i]
    half = 1
    while half <= 8:
        for low in range(0, 16):
            if low & half == 0:
                w = np.uint64(table[half + (low & (half - 1))])
                for r in range(16):
                    u = np.uint64(turned[16 * low + r])
                    v = product(np.uint64(turned[16 * (low + half) + r]), w)
                    turned[16 * low + r] = np.uint32(reduced(u + v))
                    turned[16 * (low + half) + r] = np.uint32(reduced(u + _P - v))
        half *= 2
    for r in range(16):
        for j in range(16):
            points[16 * r + j] = turned[16 * j + r]


@kernel
def forward(a: Residues, table: Residues) -> None:
    """Transform in place, decimation in frequency; output in the order that `inverse` takes.

    Blocks of _NEAR points fit the first cache and are finished one by one, each after the levels of the larger blocks
    that begin with it.
    """
    near = min(a.size, _NEAR)
    least = 16 if near >= 256 else 1
    turned = np.empty(256, np.uint32)
    for block in range(0, a.size, near):
        half = a.size // 2
        while half >= least:
            whole = 2 * half <= near or block & (2 * half - 1) == 0
            end = block + max(near, 2 * half) if whole else block
            w = table[half : 2 * half]
            for start in range(block, end, 2 * half):
                low = a[start : start + half]
                high = a[start + half : start + 2 * half]
                for j in range(half):
                    u = np.uint64(low[j])
                    v = np.uint64(high[j])
                    low[j] = np.uint32(reduced(u + v))
                    high[j] = np.uint32(product(u + _P - v, np.uint64(w[j])))
            half //= 2
        if least > 1:
            for tile in range(block, block + near, 256):
                _last_forward(a[tile : tile + 256], table, turned)


@kernel
def inverse(a: Residues, table: Residues) -> None:
    """Inverse transform in place without the factor 1/size; `table` of the inverse root.

    Block by block as `forward`, each before the levels of the larger blocks that end with it.
    """
    near = min(a.size, _NEAR)
    least = 16 if near >= 256 else 1
    turned = np.empty(256, np.uint32)
    for block in range(0, a.size, near):
        if least > 1:
            for tile in range(block, block + near, 256):
                _first_inverse(a[tile : tile + 256], table, turned)
        half = least
        while half < a.size:
            whole = 2 * half <= near or (block + near) & (2 * half - 1) == 0
            end = block + near
            first = end - max(near, 2 * half) if whole else end
            w = table[half : 2 * half]
            for start in range(first, end, 2 * half):
                low = a[start : start + half]
                high = a[start + half : start + 2 * half]
                for j in range(half):
                    u = np.uint64(low[j])
                    v = product(np.uint64(high[j]), np.uint64(w[j]))
                    low[j] = np.uint32(reduced(u + v))
                    high[j] = np.uint32(reduced(u + _P - v))
            half *= 2


@kernel
def multiply_add(total: Residues, a: Residues, b: Residues) -> None:
    """total += a b / R, element by element."""
    for i in range(total.size):
        total[i] = np.uint32(reduced(np.uint64(total[i]) + product(np.uint64(a[i]), np.uint64(b[i]))))


@kernel
def parities(counts: Residues, scale: int, output: npt.NDArray[np.uint8]) -> None:
    """output[i] ^= parity of counts[i] * scale / R mod P."""
    factor = np.uint64(scale)
    for i in range(output.size):
        output[i] ^= np.uint8(product(np.uint64(counts[i]), factor) & _ONE)


@kernel
def slide(seed: Words, text: Words, output: npt.NDArray[np.uint8]) -> None:
    """output[i] ^= parity of sum_j seed[i + j] text[j], bits packed 64 a word, first bit least significant.

    `seed` holds at least text.size + ceil(output.size / 64) words.
    """
    sums = np.empty(64, np.uint64)
    for first in range(0, output.size, 64):
        sums[:] = np.uint64(0)
        for w in range(text.size):
            here = seed[w + first // 64]
            after = seed[w + first // 64 + 1] << _ONE
            mask = text[w]
            for i in range(64):
                sums[i] ^= ((here >> np.uint64(i)) | (after << np.uint64(63 - i))) & mask
        for i in range(min(64, output.size - first)):
            x = sums[i]
            for s in (32, 16, 8, 4, 2, 1):
                x ^= x >> np.uint64(s)
            output[first + i] ^= np.uint8(x & _ONE)
