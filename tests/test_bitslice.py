"""Moving the bits of many strings at once: by sixty-four, by eight and one by one give the same."""

from __future__ import annotations

import numpy as np
import pytest

from qkd.kernels import bitslice


@pytest.mark.parametrize("frames", [1, 2, 7, 8])
@pytest.mark.parametrize("bits", [1, 63, 64, 65, 1000])
def test_all_ways_move_the_same_bits(frames: int, bits: int) -> None:
    """Every frame in a random order, from the first half of the rows to the second; seed: bits + frames."""
    rng = np.random.default_rng(bits + frames)
    words = (bits + 63) // 64
    strings = rng.integers(0, 2, (frames, bits), dtype=np.uint8)
    cells = np.zeros((2 * frames * words, 4), np.uint64)
    for f, string in enumerate(strings):
        packed = np.packbits(np.pad(string, (0, 64 * words - bits)), bitorder="little")
        cells[f * words : (f + 1) * words, 0] = packed.view("<u8")
    order = rng.permutation(bits).astype(np.uint16)
    source = np.arange(frames, dtype=np.int64) * words
    target = source + frames * words
    by_one, by_eight, by_sixty_four = (cells.copy() for _ in range(3))
    for f in range(frames):
        bitslice.gather_one(by_one, source[f], order, target[f])
    eight, sixty_four = np.empty(64 * words, np.uint8), np.empty(64 * words, np.uint64)
    bitslice.slice_eight(by_eight, source, eight)
    bitslice.gather_eight(eight, order, target, by_eight)
    bitslice.slice_frames(by_sixty_four, source, sixty_four)
    bitslice.gather_frames(sixty_four, order, target, by_sixty_four)
    assert np.array_equal(by_one, by_eight)
    assert np.array_equal(by_one, by_sixty_four)
    moved = np.unpackbits(by_one[frames * words :, 0].copy().view(np.uint8), bitorder="little").reshape(frames, -1)
    assert np.array_equal(moved[:, :bits], strings[:, order])
    assert not moved[:, bits:].any()
