"""Golomb-Rice planes of ascending integers (loops of `qkd.exchange.codec`, which states the coding).

Bits fill each 64-bit word from its most significant end. First all remainders, then all quotients in unary.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import lean
from qkd.kernels.words import highest

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ZERO = np.uint64(0)


@lean
def quotient_sum(values: I64, width: int) -> int:
    """Sum of the differences, each divided by 2^width and rounded down; the first difference is to 0."""
    total = values[0] >> width
    for i in range(1, values.size):
        total += (values[i] - values[i - 1]) >> width
    return total


@lean
def pack_planes(values: I64, width: int, words: U64) -> None:
    """Code the differences; `words` has room for one more word than the bits fill."""
    at, used = np.int64(0), np.int64(0)
    word = _ZERO
    if width:
        mask = _ALL >> np.uint64(64 - width)
        last = np.int64(0)
        for i in range(values.size):
            rest = np.uint64(values[i] - last) & mask
            last = values[i]
            free = 64 - used
            if width < free:
                word |= rest << np.uint64(free - width)
                used += width
            else:
                used = width - free
                words[at] = word | rest >> np.uint64(used)
                at += 1
                # In two steps, because a shift by 64 is undefined.
                word = rest << np.uint64(1) << np.uint64(63 - used)
    last = np.int64(0)
    for i in range(values.size):
        ones = (values[i] - last) >> width
        last = values[i]
        while ones >= 64 - used:
            words[at] = word | _ALL >> np.uint64(used)
            at += 1
            ones -= 64 - used
            used = np.int64(0)
            word = _ZERO
        word |= (_ALL >> np.uint64(used)) & ~(_ALL >> np.uint64(used + ones))
        used += ones + 1
        if used == 64:
            words[at] = word
            at += 1
            used = np.int64(0)
            word = _ZERO
    words[at] = word


@lean
def unpack_planes(words: U64, bits: int, width: int, values: I64) -> int:
    """Inverse of `pack_planes`: how many of the `bits` the values took, or -1 if they end too early.

    `words` has one word more than the bits fill, and no ones behind them.
    """
    at = np.int64(0)
    if width:
        for i in range(values.size):
            w, skip = at >> 6, np.uint64(at & 63)
            window = words[w] << skip | words[w + 1] >> np.uint64(1) >> (np.uint64(63) - skip)
            values[i] = np.int64(window >> np.uint64(64 - width))
            at += width
    w = at >> 6
    # Ones are zeros here, and what was read is shifted out: the next zero of the plane is the highest one.
    left = 64 - (at & 63)
    word = ~words[w] << np.uint64(at & 63)
    last = np.int64(0)
    for i in range(values.size):
        ones = np.int64(0)
        while word == 0:
            ones += left
            w += 1
            if 64 * w >= bits:
                return np.int64(-1)
            word = ~words[w]
            left = np.int64(64)
        lead = 63 - highest(word)
        ones += lead
        # In two steps, because a shift by 64 is undefined.
        word = word << np.uint64(lead) << np.uint64(1)
        left -= lead + 1
        last += (ones << width) + values[i] if width else ones
        values[i] = last
    used = 64 * w + 64 - left
    return used if used <= bits else np.int64(-1)
