"""Cascade's first pass, and the blocks of both (loops of `qkd.reconciliation.schedule`).

Blocks and all halves of blocks are aligned powers of two. In this pass no correction touches another interval, so an
odd block needs nothing but its own bits: `Odd` holds them side by side, one entry a block, and each cut halves all
entries at once. What the cuts have told is written back when every entry is one bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, lean
from qkd.kernels.words import count, parity

U64 = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
# int64 (F, 2, 3): pass r of a frame has cuts[f, r] = (log, wide, blocks): `wide` blocks of 2^(log + 1) bits, then
# blocks of 2^log, `blocks` in all
Cuts = npt.NDArray[np.int64]
KEY, BOUNDS, ODD, WAITS = 0, 1, 2, 3


class Odd(NamedTuple):
    """The odd intervals of pass 0, one for each odd block, by frame and position.

    Attributes:
        at: int64 (E,): where each begins.
        bits: uint64 (E,): its key bits, the first lowest; meaningless while it is longer than a word.
        spans: int64 (F, 3): entries of frame f are spans[f, 0] .. spans[f, 2] - 1, those in wide blocks end at
            spans[f, 1].
    """

    at: npt.NDArray[np.int64]
    bits: U64
    spans: npt.NDArray[np.int64]


_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@inlined
def start(t: int, log: int, wide: int) -> int:
    """Where block t begins: `wide` blocks of 2^(log + 1) bits come first, then blocks of 2^log."""
    if t < wide:
        return t << (log + 1)
    return (wide + t) << log


@inlined
def left_parity(cells: U64, base: int, a: int, length: int) -> np.uint64:
    """Parity of the key bits a .. a + length - 1; length is a power of two and divides a."""
    w = base + (a >> 6)
    x = cells[w, KEY]
    if length < 64:
        x = (x >> np.uint64(a & 63)) & ~(_ALL << np.uint64(length))
    else:
        for v in range(1, length >> 6):
            x ^= cells[w + v, KEY]
    return parity(x)


@lean
def ask_blocks(frames: npt.NDArray[Any], cuts: Cuts, cells: U64, r: int, out: Bytes) -> int:
    """Parities of the blocks of pass r, one byte each; pass 1 leaves out the last. Returns their number."""
    i = np.int64(0)
    for f in range(frames.size):
        frame = frames[f]
        base = frame["base"] + r * frame["words"]
        log, wide = cuts[f, r, 0], cuts[f, r, 1]
        due = cuts[f, r, 2] - r
        for t in range(due):
            length = np.int64(1) << (log + (1 if t < wide else 0))
            out[i] = left_parity(cells, base, start(t, log, wide), length)
            i += 1
        frame["leak"] += due
    return i


@lean
def open_first(frames: npt.NDArray[Any], cuts: Cuts, cells: U64, answers: Bytes, odd: Odd) -> None:
    """Cut pass 0 into its blocks and enter the odd ones into `odd`, which has room for all and one more."""
    at, bits, spans = odd.at, odd.bits, odd.spans
    i = np.int64(0)
    e = np.int64(0)
    for f in range(frames.size):
        base = frames[f]["base"]
        log, wide = cuts[f, 0, 0], cuts[f, 0, 1]
        spans[f, 0] = e
        for t in range(cuts[f, 0, 2]):
            if t == wide:
                spans[f, 1] = e
            a = start(t, log, wide)
            row = base + (a >> 6)
            cells[row, BOUNDS] |= _ONE << np.uint64(a & 63)
            # An entry that the next one overwrites is cheaper than a branch that nobody can foresee.
            at[e] = a
            bits[e] = cells[row, KEY] >> np.uint64(a & 63)
            e += np.int64(answers[i + t])
        if wide == cuts[f, 0, 2]:
            spans[f, 1] = e
        spans[f, 2] = e
        i += cuts[f, 0, 2]
        a = start(cuts[f, 0, 2], log, wide)
        cells[base + (a >> 6), BOUNDS] |= _ONE << np.uint64(a & 63)


@lean
def open_second(frames: npt.NDArray[Any], cuts: Cuts, cells: U64, answers: Bytes) -> None:
    """Cut pass 1 into its blocks and mark the odd ones; the last, which was not asked, follows from the others."""
    i = np.int64(0)
    for f in range(frames.size):
        base = frames[f]["base"] + frames[f]["words"]
        log, wide = cuts[f, 1, 0], cuts[f, 1, 1]
        last = cuts[f, 1, 2] - 1
        total = np.uint64(0)
        for t in range(last + 1):
            # The whole string differs evenly when pass 1 begins.
            odd = total
            if t < last:
                odd = np.uint64(answers[i + t])
            total ^= odd
            a = start(t, log, wide)
            row = base + (a >> 6)
            cells[row, BOUNDS] |= _ONE << np.uint64(a & 63)
            cells[row, ODD] |= odd << np.uint64(a & 63)
        i += last
        a = start(last + 1, log, wide)
        cells[base + (a >> 6), BOUNDS] |= _ONE << np.uint64(a & 63)


@lean
def ask_level(frames: npt.NDArray[Any], cuts: Cuts, cells: U64, odd: Odd, level: int, out: Bytes) -> int:
    """Left halves of all odd intervals of pass 0 after `level` cuts, one byte each; returns their number."""
    at, bits, spans = odd.at, odd.bits, odd.spans
    i = np.int64(0)
    for f in range(frames.size):
        frame = frames[f]
        for narrow in range(2):
            half = (np.int64(1) << (cuts[f, 0, 0] - narrow)) >> level
            low, high = spans[f, narrow], spans[f, narrow + 1]
            if half == 0 or low == high:
                continue
            if half >= 64:
                for e in range(low, high):
                    out[i + e - low] = left_parity(cells, frame["base"], at[e], half)
            else:
                mask = (_ONE << np.uint64(half)) - _ONE
                for e in range(low, high):
                    out[i + e - low] = np.uint8(count(bits[e] & mask) & 1)
            i += high - low
            # Where the right half lies behind the string's end, the left one follows; only the last can.
            frame["leak"] += high - low - (at[high - 1] + half >= frame["n"])
    return i


@lean
def take_level(frames: npt.NDArray[Any], cuts: Cuts, cells: U64, odd: Odd, level: int, answers: Bytes) -> None:
    """Take in the answers to `ask_level`: of each interval the odd half remains."""
    at, bits, spans = odd.at, odd.bits, odd.spans
    i = np.int64(0)
    for f in range(frames.size):
        base = frames[f]["base"]
        for narrow in range(2):
            half = (np.int64(1) << (cuts[f, 0, 0] - narrow)) >> level
            low, high = spans[f, narrow], spans[f, narrow + 1]
            if half == 0:
                continue
            if half >= 64:
                for e in range(low, high):
                    cells[base + ((at[e] + half) >> 6), BOUNDS] |= _ONE
                    at[e] += half * (1 - np.int64(answers[i + e - low]))
                    bits[e] = cells[base + (at[e] >> 6), KEY]
            else:
                for e in range(low, high):
                    right = np.int64(answers[i + e - low]) ^ 1
                    at[e] += half * right
                    bits[e] >>= np.uint64(half * right)
            i += high - low


@lean
def close_first(frames: npt.NDArray[Any], cuts: Cuts, cells: U64, odd: Odd, corrects: bool) -> int:
    """All intervals are single bits: errors. Write their boundaries and, at the party that corrects, the bits.

    Returns -1, or the frame in which one lies behind the string's end: its answers contradicted each other.
    """
    for f in range(frames.size):
        frame = frames[f]
        base = frame["base"]
        for narrow in range(2):
            length = min(np.int64(64), np.int64(2) << (cuts[f, 0, 0] - narrow))
            for e in range(odd.spans[f, narrow], odd.spans[f, narrow + 1]):
                a = odd.at[e]
                if a >= frame["n"]:
                    return f
                p = a & 63
                met = np.uint64(0)
                half = length >> 1
                while half > 0:
                    met |= _ONE << np.uint64((p & -(half + half)) + half)
                    half >>= 1
                row = base + (a >> 6)
                cells[row, BOUNDS] |= met
                if corrects:
                    cells[row, KEY] ^= _ONE << np.uint64(p)
                frame["errors"] += 1
    return -1
