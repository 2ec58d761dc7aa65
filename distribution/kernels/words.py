"""Loop that takes S-Fifteen words apart."""

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
) -> int:
    """Time (ps) and low five bits of every word; returns how many times are before the one ahead of them.

    `legacy` exchanges the halves of each word. The unit is 125/32 ps, rounded to nearest, halves up: times have 54
    bits, so the product stays below 2^61. `count` has 32 entries, one for each value of the low bits.
    """
    back = 0
    last = np.int64(0)
    for i in range(raw.size):
        word = raw[i]
        if legacy:
            word = (word << np.uint64(32)) | (word >> np.uint64(32))
        low = word & np.uint64(31)
        now = np.int64(((word >> np.uint64(10)) * np.uint64(125) + np.uint64(16)) >> np.uint64(5))
        t_ps[i] = now
        flags[i] = low
        count[np.int64(low)] += 1
        back += now < last
        last = now
    return back
