"""Loops that take S-Fifteen words apart: one for words that ascend, in one pass, and one for all others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel


@kernel
def split_words(
    raw: npt.NDArray[np.uint64],
    legacy: bool,
    t_ps: npt.NDArray[np.int64],
    flags: npt.NDArray[np.uint8],
    count: npt.NDArray[np.int64],
) -> None:
    """Time (ps) and low five bits of every word.

    `legacy` exchanges the halves of each word. The unit is 125/32 ps, rounded to nearest, halves up: times have 54
    bits, so the product stays below 2^61. `count` has 32 entries, one for each value of the low bits.
    """
    for i in range(raw.size):
        word = raw[i]
        if legacy:
            word = (word << np.uint64(32)) | (word >> np.uint64(32))
        low = word & np.uint64(31)
        t_ps[i] = np.int64(((word >> np.uint64(10)) * np.uint64(125) + np.uint64(16)) >> np.uint64(5))
        flags[i] = low
        count[np.int64(low)] += 1


@kernel
def split_detections(
    raw: npt.NDArray[np.uint64],
    legacy: bool,
    last_ps: int,
    lowest: npt.NDArray[np.uint8],
    start: int,
    t_ps: npt.NDArray[np.int64],
    channel: npt.NDArray[np.uint8],
    count: npt.NDArray[np.int64],
) -> tuple[int, int, int]:
    """One tag for every detector bit of every word, written from index `start` on; (end, last time, steps back).

    Times as in `split_words`; `last_ps` is the time ahead of the first word. `lowest` has 32 entries: the number of
    the lowest detector bit, for values below 16. The caller leaves room for four tags a word.
    """
    back = 0
    last = np.int64(last_ps)
    n = np.int64(start)
    for i in range(raw.size):
        word = raw[i]
        if legacy:
            word = (word << np.uint64(32)) | (word >> np.uint64(32))
        low = np.int64(word & np.uint64(31))
        now = np.int64(((word >> np.uint64(10)) * np.uint64(125) + np.uint64(16)) >> np.uint64(5))
        back += now < last
        last = now
        count[low] += 1
        # Written whether it is a detection or not: a store that is overwritten costs less than a branch missed.
        t_ps[n] = now
        channel[n] = lowest[low]
        n += (low > 0) & (low < 16)
        rest = low & (low - 1)
        if rest and low < 16:
            while rest:
                t_ps[n] = now
                channel[n] = lowest[rest]
                n += 1
                rest &= rest - 1
    return n, last, back
