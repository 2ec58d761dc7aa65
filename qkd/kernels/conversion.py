"""Change of basis of a polynomial over GF(2^64): from powers of y to the basis X_i of `additive`, and its transposes.

For i the largest power of two below k, 2^k coefficients are expanded at s_i = y^(2^i) + y; what stands at the powers
of s_i is converted as polynomials in s_i, what stands below them as polynomials in y (Gao and Mateer, IEEE Trans. Inf.
Theory 56:6265, 2010). All of it is additions of words, from higher powers to lower ones; the inverse transposed and
the transposed matrix add the other way, in the same order and in the opposite one.
"""

from __future__ import annotations

from distribution.kernels._jit import lean
from qkd.kernels.gf64 import Words
from qkd.kernels.gf64steps import (
    add8,
    columns16,
    columns16_inverse_transposed,
    columns16_transposed,
    rows16,
    rows16_inverse_transposed,
    rows16_transposed,
)

PLAIN, INVERSE_TRANSPOSED, TRANSPOSED = 0, 1, 2
# Blocks of so many words fit the first cache: levels go over them one after the other.
_NEAR = 1 << 12
# Columns taken at a time where rows are far apart, words.
_STRIP = 1024


@lean
def _add_rows(f: Words, to: int, source: int, rows: int, stride: int, width: int, limit: int) -> None:
    """Row r at `to` ^= row r at `source`, as far as both lie below `limit`."""
    if stride == width:
        width *= rows
        rows = 1
    for _ in range(rows):
        count = min(width, limit - max(to, source))
        whole = max(0, count & ~7)
        for j in range(0, whole, 8):
            add8(f, to + j, source + j)
        for j in range(whole, count):
            f[to + j] ^= f[source + j]
        to += stride
        source += stride


@lean
def _expand_level(f: Words, at: int, m: int, i: int, stride: int, width: int, limit: int, mode: int) -> None:
    """One level of the expansion of 2^m rows at s_i: y^half = s_i^(half / 2^i) + y^shift, highest powers first."""
    half = 1 << (m - 1)
    shift = half >> i
    for step in range(2):
        if (step == 0) == (mode != TRANSPOSED):
            to, source, rows = half, 2 * half - shift, shift
        else:
            to, source, rows = shift, half, half - shift
        if mode != PLAIN:
            to, source = source, to
        _add_rows(f, at + to * stride, at + source * stride, rows, stride, width, limit)


@lean
def expand(f: Words, at: int, m: int, i: int, stride: int, width: int, limit: int, mode: int) -> None:
    """Expansion of 2^m rows at s_i, i a power of two, in powers of s_i with 2^i rows each; as `convert_each`.

    A level halves every block. Once blocks fit the cache, all levels of one go before the next block: block b of
    these is preceded (TRANSPOSED: followed) by the levels of the larger blocks that begin (end) with it.
    """
    near = m
    while near > i and (width << near) > _NEAR:
        near -= 1
    for b in range(1 << (m - near)):
        beyond = at + ((b + 1) << near) * stride >= limit  # then larger blocks end here, as far as they matter
        for step in range(m - i):
            level = i + 1 + step if mode == TRANSPOSED else m - step
            blocks = 1 << max(0, near - level)
            if level > near:
                last = (1 << (level - near)) - 1
                met = b & last == last or beyond if mode == TRANSPOSED else b & last == 0
                blocks = 1 if met else 0
            start = (b << near) >> level << level
            for block in range(blocks):
                _expand_level(f, at + (start + (block << level)) * stride, level, i, stride, width, limit, mode)
        if beyond:
            break


@lean
def _convert_16(f: Words, at: int, stride: int, width: int, mode: int) -> None:
    """`convert_each` of 16 rows."""
    if stride == 1:
        if mode == PLAIN:
            rows16(f, at)
        elif mode == INVERSE_TRANSPOSED:
            rows16_inverse_transposed(f, at)
        else:
            rows16_transposed(f, at)
        return
    for c in range(at, at + width, 8):
        if mode == PLAIN:
            columns16(f, c, stride)
        elif mode == INVERSE_TRANSPOSED:
            columns16_inverse_transposed(f, c, stride)
        else:
            columns16_transposed(f, c, stride)


@lean
def _convert_to_16(f: Words, at: int, k: int, stride: int, width: int, limit: int, mode: int) -> None:
    """`convert_each` of 2^k rows for k <= 4; with stride 1, k = 4."""
    if at >= limit:
        return
    if k == 4:
        _convert_16(f, at, stride, width, mode)
        return
    # Four rows at s_1; eight at s_2, then both halves of four at s_1.
    for step in range(k - 1):
        m = 2 + step if mode == TRANSPOSED else k - step
        for block in range(1 << (k - m)):
            _expand_level(f, at + (block << m) * stride, m, m - 1, stride, width, limit, mode)


@lean
def _convert_to_256(f: Words, at: int, k: int, stride: int, width: int, limit: int, mode: int) -> None:
    """`convert_each` of 2^k rows for k <= 8, in strips of columns that fit the second cache."""
    if k <= 4:
        _convert_to_16(f, at, k, stride, width, limit, mode)
        return
    strip = width if (width << k) <= 16 * _NEAR else _STRIP
    groups, inner = (1, stride << 4) if stride == strip else (16, strip)
    for start in range(at, at + width, strip):
        for step in range(2):
            if (step == 0) == (mode != TRANSPOSED):
                expand(f, start, k, 4, stride, strip, limit, mode)
            else:
                for r in range(groups):
                    _convert_to_16(f, start + r * stride, k - 4, stride << 4, inner, limit, mode)
                for r in range(1 << (k - 4)):
                    _convert_to_16(f, start + (r << 4) * stride, 4, stride, strip, limit, mode)


@lean
def convert_each(
    f: Words, at: int, count: int, apart: int, k: int, stride: int, width: int, limit: int, mode: int
) -> None:
    """Change of basis for small polynomials, each column of a group of rows one: powers of y to the X_i.

    Args:
        f: words; row r of group g is f[at + g apart + r stride :][: width].
        at: where the first group begins.
        count: how many groups.
        apart: from group to group.
        k: 2^k rows in a group, k at most 8, at least 4 where `stride` is 1.
        stride: from row to row, a multiple of 16, or 1.
        width: columns: 1, or a multiple of 16 and at most `stride`.
        limit: words from there on are of no interest: zero before and after with PLAIN; else not asked for, and
            undefined afterwards.
        mode: PLAIN; or the inverse transposed, or the transposed matrix.
    """
    for group in range(count):
        if at + group * apart < limit:
            _convert_to_256(f, at + group * apart, k, stride, width, limit, mode)
