"""Permute up to 64 bit strings of one length at a time (loops of `qkd.reconciliation.schedule`).

A slice is one uint64 per position whose bit f is frame f's bit there. One random 8-byte read then moves a position of
all 64 frames, and a 64 x 64 bit transposition turns 64 slices back into one packed word per frame. Up to eight frames
take one byte a position, and 8 x 8 bits to transpose. For a few frames `gather_one` reads bit by bit: their packed
strings stay in the cache.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, kernel, lean

U64 = npt.NDArray[np.uint64]
_ONE = np.uint64(1)


@inlined
def _swap(block: U64, j: int, mask: np.uint64) -> None:
    """Exchange the j-bit columns that `mask` leaves out of the upper rows with those it picks of the lower ones."""
    for first in range(0, 64, 2 * j):
        for k in range(first, first + j):
            t = ((block[k] >> np.uint64(j)) ^ block[k + j]) & mask
            block[k] ^= t << np.uint64(j)
            block[k + j] ^= t


@lean
def _transpose(block: U64) -> None:
    """Transpose 64 x 64 bits in place: bit c of word r becomes bit r of word c (Warren, Hacker's Delight, 7-3)."""
    _swap(block, 32, np.uint64(0x00000000FFFFFFFF))
    _swap(block, 16, np.uint64(0x0000FFFF0000FFFF))
    _swap(block, 8, np.uint64(0x00FF00FF00FF00FF))
    _swap(block, 4, np.uint64(0x0F0F0F0F0F0F0F0F))
    _swap(block, 2, np.uint64(0x3333333333333333))
    _swap(block, 1, np.uint64(0x5555555555555555))


@kernel
def slice_frames(cells: U64, bases: npt.NDArray[np.int64], slices: U64) -> None:
    """Bit f of slices[i] becomes bit i of frame f, counted from the lowest bit of cells[bases[f], 0].

    `slices` has a whole number of words' entries.
    """
    block = np.zeros(64, np.uint64)
    for w in range(slices.size // 64):
        for f in range(bases.size):
            block[f] = cells[bases[f] + w, 0]
        block[bases.size :] = 0
        _transpose(block)
        slices[64 * w : 64 * w + 64] = block


@kernel
def gather_frames(
    slices: U64, order: npt.NDArray[np.unsignedinteger], bases: npt.NDArray[np.int64], cells: U64
) -> None:
    """Bit j of frame f, counted from the lowest bit of cells[bases[f], 0], becomes bit f of slices[order[j]]."""
    block = np.zeros(64, np.uint64)
    for w in range((order.size + 63) // 64):
        filled = min(64, order.size - 64 * w)
        for t in range(filled):
            block[t] = slices[order[64 * w + t]]
        block[filled:] = 0
        _transpose(block)
        for f in range(bases.size):
            cells[bases[f] + w, 0] = block[f]


@kernel
def gather_one(cells: U64, source: int, order: npt.NDArray[np.unsignedinteger], target: int) -> None:
    """The same for one frame, from the string that begins at cells[source, 0] to that at cells[target, 0]."""
    for w in range((order.size + 63) // 64):
        x = np.uint64(0)
        for t in range(min(64, order.size - 64 * w)):
            i = np.int64(order[64 * w + t])
            x |= ((cells[source + (i >> 6), 0] >> np.uint64(i & 63)) & _ONE) << np.uint64(t)
        cells[target + w, 0] = x


@inlined
def _transpose_eight(x: np.uint64) -> np.uint64:
    """Transpose 8 x 8 bits: bit c of byte r becomes bit r of byte c (Warren, Hacker's Delight, 7-3)."""
    t = (x ^ (x >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
    x ^= t ^ (t << np.uint64(7))
    t = (x ^ (x >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
    x ^= t ^ (t << np.uint64(14))
    t = (x ^ (x >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
    return x ^ t ^ (t << np.uint64(28))


@kernel
def slice_eight(cells: U64, bases: npt.NDArray[np.int64], slices: npt.NDArray[np.uint8]) -> None:
    """`slice_frames` for at most eight frames."""
    block = np.zeros(8, np.uint64)
    for w in range(slices.size // 64):
        for f in range(bases.size):
            block[f] = cells[bases[f] + w, 0]
        for k in range(8):
            x = np.uint64(0)
            for f in range(8):
                x |= ((block[f] >> np.uint64(8 * k)) & np.uint64(0xFF)) << np.uint64(8 * f)
            x = _transpose_eight(x)
            for c in range(8):
                slices[64 * w + 8 * k + c] = np.uint8((x >> np.uint64(8 * c)) & np.uint64(0xFF))


@kernel
def gather_eight(
    slices: npt.NDArray[np.uint8], order: npt.NDArray[np.unsignedinteger], bases: npt.NDArray[np.int64], cells: U64
) -> None:
    """`gather_frames` for at most eight frames."""
    block, places = np.zeros(8, np.uint64), np.zeros(64, np.uint64)
    for w in range((order.size + 63) // 64):
        filled = min(64, order.size - 64 * w)
        for t in range(filled):
            places[t] = slices[order[64 * w + t]]
        places[filled:] = 0
        block[:] = 0
        for k in range(8):
            x = np.uint64(0)
            for c in range(8):
                x |= places[8 * k + c] << np.uint64(8 * c)
            x = _transpose_eight(x)
            for f in range(8):
                block[f] |= ((x >> np.uint64(8 * f)) & np.uint64(0xFF)) << np.uint64(8 * k)
        for f in range(bases.size):
            cells[bases[f] + w, 0] = block[f]
