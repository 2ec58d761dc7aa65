"""Permute up to 64 bit strings of one length at a time (loops of `qkd.reconciliation.schedule`).

A slice is one uint64 per position whose bit f is frame f's bit there. One random 8-byte read then moves a position of
all 64 frames, and a 64 x 64 bit transposition turns 64 slices back into one packed word per frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel

_LOW_HALF = np.uint64(0x00000000FFFFFFFF)
_STRETCH = 2048  # slices that stay in the first-level cache while every frame adds its bits


@kernel
def _transpose(block: npt.NDArray[np.uint64]) -> None:
    """Transpose 64 x 64 bits in place: bit c of word r becomes bit r of word c (Warren, Hacker's Delight, 7-3)."""
    j = np.int64(32)
    m = _LOW_HALF
    while j != 0:
        k = np.int64(0)
        while k < 64:
            t = ((block[k] >> np.uint64(j)) ^ block[k + j]) & m
            block[k] ^= t << np.uint64(j)
            block[k + j] ^= t
            k = (k + j + 1) & ~j
        j >>= 1
        m ^= m << np.uint64(j)


@kernel
def slice_frames(
    strings: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], slices: npt.NDArray[np.uint64]
) -> None:
    """Bit f of slices[i] becomes strings[offsets[f] + i]; `slices` starts as zeros."""
    for start in range(0, slices.size, _STRETCH):
        part = slices[start : start + _STRETCH]
        for f in range(offsets.size):
            shift = np.uint64(f)
            bits = strings[offsets[f] + start : offsets[f] + start + part.size]
            for i in range(part.size):
                part[i] |= np.uint64(bits[i]) << shift


@kernel
def gather_frames(
    slices: npt.NDArray[np.uint64],
    order: npt.NDArray[np.uint32],
    bases: npt.NDArray[np.int64],
    cells: npt.NDArray[np.uint64],
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
