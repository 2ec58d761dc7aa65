"""Loops of the qcrypto streams: fields of fixed width and coded steps, packed into 32-bit words from the top bit down.

Arrays of words end in one word that belongs to nothing, for the field that is read past the end.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, kernel


@inlined
def _put(words: npt.NDArray[np.uint32], at: int, width: int, value: int) -> None:
    """Set the `width` (1 .. 32) bits from bit `at` on; they are 0 so far."""
    word = at >> 5
    field = np.uint64(value) << np.uint64(64 - width - (at & 31))
    words[word] |= np.uint32(field >> np.uint64(32))
    words[word + 1] |= np.uint32(field & np.uint64(0xFFFFFFFF))


@inlined
def _get(words: npt.NDArray[np.uint32], at: int, width: int) -> np.int64:
    """The `width` (1 .. 32) bits from bit `at` on."""
    word = at >> 5
    pair = np.uint64(words[word]) << np.uint64(32) | np.uint64(words[word + 1])
    return np.int64(pair << np.uint64(at & 31) >> np.uint64(64 - width))


@kernel
def pack_fields(values: npt.NDArray[np.uint8], width: int, words: npt.NDArray[np.uint32]) -> None:
    """Every value in `width` (1 .. 8) bits; `words` is zeroed."""
    for i in range(values.size):
        _put(words, i * width, width, np.int64(values[i]))


@kernel
def unpack_fields(words: npt.NDArray[np.uint32], width: int, values: npt.NDArray[np.uint8]) -> None:
    """Undo `pack_fields`."""
    for i in range(values.size):
        values[i] = _get(words, i * width, width)


@kernel
def pack_steps(
    steps: npt.NDArray[np.int64], bits: npt.NDArray[np.uint8], order: int, base_bits: int, words: npt.NDArray[np.uint32]
) -> int:
    """Each step (2 .. 2^32 - 1) in `order` bits, or 0 and 32 bits, then its base bits; at the end 1; how many bits."""
    at = np.int64(0)
    for i in range(steps.size):
        if steps[i] >> order:
            at += order
            _put(words, at, 32, steps[i])
            at += 32
        else:
            _put(words, at, order, steps[i])
            at += order
        if base_bits:
            _put(words, at, base_bits, np.int64(bits[i]))
            at += base_bits
    _put(words, at, order, 1)
    return at + order + base_bits


@kernel
def unpack_steps(
    words: npt.NDArray[np.uint32],
    order: int,
    base_bits: int,
    steps: npt.NDArray[np.int64],
    bits: npt.NDArray[np.uint8],
) -> tuple[int, int, int]:
    """Undo `pack_steps`; (entries, bits read, base bits of the end code).

    Entries are -1 if the words or the arrays end before the code of the end comes.
    """
    at = np.int64(0)
    end = (words.size - 1) * 32
    n = np.int64(0)
    while at + order + base_bits <= end:
        step = _get(words, at, order)
        at += order
        ended = step == 1
        if step == 0:
            if at + 32 + base_bits > end:
                return -1, at, 0
            step = _get(words, at, 32)
            at += 32
        base = np.int64(0)
        if base_bits:
            base = _get(words, at, base_bits)
            at += base_bits
        if ended:
            return n, at, base
        if n == steps.size:
            return -1, at, 0
        steps[n] = step
        bits[n] = base
        n += 1
    return -1, at, 0


@kernel
def spread(times: npt.NDArray[np.int64], spread_times: npt.NDArray[np.int64]) -> int:
    """Ascending times with every one that follows by less than 2 moved on by 2; returns how many had to move.

    The first counts from 0. A moved time never comes before the one ahead of it plus 2.
    """
    moved = 0
    last = np.int64(0)
    for i in range(times.size):
        now = times[i]
        if now - last < 2:
            now = max(now + 2, last + 2)
            moved += 1
        spread_times[i] = now
        last = now
    return moved
