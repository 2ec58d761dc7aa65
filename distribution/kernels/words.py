"""Loops that take S-Fifteen words apart: into tags in one pass where they nearly ascend, else word by word."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, kernel


@inlined
def _sink(t_ps: npt.NDArray[np.int64], channel: npt.NDArray[np.uint8], first: int, end: int) -> None:
    """Move the tags first .. end - 1, of one time, in front of all later ones, which precede them."""
    for new in range(first, end):
        now, number, at = t_ps[new], channel[new], new
        while at > 0 and t_ps[at - 1] > now:
            t_ps[at] = t_ps[at - 1]
            channel[at] = channel[at - 1]
            at -= 1
        t_ps[at] = now
        channel[at] = number


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
    depth_ps: int,
    lowest: npt.NDArray[np.uint8],
    start: int,
    t_ps: npt.NDArray[np.int64],
    channel: npt.NDArray[np.uint8],
    count: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
) -> int:
    """One tag for every detector bit of every word, from index `start` on; returns the end, or -1 to give up.

    Times as in `split_words`. A word up to `depth_ps` behind an earlier one is moved to its place, behind those of its
    own time; one further behind ends the loop. `lowest` has 32 entries: the number of the lowest detector bit, for
    values below 16. `state` goes from stretch to stretch: latest time so far, time of the last word, steps back. The
    caller leaves room for four tags a word.
    """
    latest, last, back = state[0], state[1], state[2]
    n = np.int64(start)
    for i in range(raw.size):
        word = raw[i]
        if legacy:
            word = (word << np.uint64(32)) | (word >> np.uint64(32))
        low = np.int64(word & np.uint64(31))
        now = np.int64(((word >> np.uint64(10)) * np.uint64(125) + np.uint64(16)) >> np.uint64(5))
        count[low] += 1
        back += now < last
        last = now
        first = n
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
        if now < latest:
            if latest - now > depth_ps:
                return -1
            _sink(t_ps, channel, first, n)
        else:
            latest = now
    state[0], state[1], state[2] = latest, last, back
    return n
