"""Loops of the native format: times to device units and back, and Rice-coded gaps in 64-bit words.

Bits fill each word from its least significant end. `escape` ones without a zero announce a gap of RAW_BITS plain bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, kernel


@inlined
def _window(words: npt.NDArray[np.uint64], at: int) -> np.uint64:
    """The 64 bits from bit `at` on; a shift by 64 is undefined, so the upper part is shifted in two steps."""
    word = at >> 6
    skip = np.uint64(at & 63)
    return words[word] >> skip | words[word + 1] << np.uint64(1) << (np.uint64(63) - skip)


@inlined
def _to_ps(unit: int, numerator: int, denominator: int, shift: int) -> int:
    """Units of numerator/denominator ps as ps, to nearest, halves up; `shift` as in `to_units`."""
    if shift >= 0:
        turns = unit >> shift
        left = unit - (turns << shift)
        return turns * numerator + ((2 * left * numerator + denominator) >> (shift + 1))
    turns = unit // denominator
    left = unit - turns * denominator
    return turns * numerator + (2 * left * numerator + denominator) // (2 * denominator)


@kernel
def to_units(
    t_ps: npt.NDArray[np.int64], numerator: int, denominator: int, shift: int, units: npt.NDArray[np.int64]
) -> int:
    """Times in units of numerator/denominator ps, to nearest, halves up; returns how many do not come back exactly.

    `shift` is log2(denominator), or -1 when it is no power of two. Whole multiples are split off first, so that no
    product overflows.
    """
    changed = 0
    two = np.int64(2)
    for i in range(t_ps.size):
        whole = t_ps[i] // numerator
        rest = t_ps[i] - whole * numerator
        if denominator == 1:
            above = (two * rest + numerator) // (two * numerator)
            unit = whole + above
            changed += rest != 0
        else:
            unit = whole * denominator + (two * rest * denominator + numerator) // (two * numerator)
            changed += _to_ps(unit, numerator, denominator, shift) != t_ps[i]
        units[i] = unit
    return changed


@kernel
def rice_bits(units: npt.NDArray[np.int64], k: int, escape: int, raw_bits: int) -> int:
    """Bits that the gaps between ascending units take with Rice parameter k, the first gap being 0."""
    bits = np.int64(0)
    last = units[0]
    for i in range(units.size):
        quotient = (units[i] - last) >> k
        last = units[i]
        bits += quotient + 1 + k if quotient < escape else escape + raw_bits
    return bits


@kernel
def pack_gaps(
    units: npt.NDArray[np.int64],
    channel: npt.NDArray[np.uint8],
    symbol_of: npt.NDArray[np.uint8],
    symbol_bits: int,
    k: int,
    escape: int,
    raw_bits: int,
    words: npt.NDArray[np.uint64],
) -> int:
    """Code every gap and its channel's symbol into `words` (zeroed, one word longer than needed); returns the bits."""
    accumulator = np.uint64(0)
    fill = np.int64(0)
    at = np.int64(0)
    last = units[0]
    one = np.uint64(1)
    for i in range(units.size):
        gap = units[i] - last
        last = units[i]
        symbol = np.uint64(symbol_of[channel[i]])
        quotient = gap >> k
        if quotient < escape:
            head = (one << np.uint64(quotient)) - one
            head_bits = quotient + 1
            body = np.uint64(gap - (quotient << k)) | symbol << np.uint64(k)
            body_bits = k + symbol_bits
        else:
            head = (one << np.uint64(escape)) - one | symbol << np.uint64(escape)
            head_bits = escape + symbol_bits
            body = np.uint64(gap)
            body_bits = np.int64(raw_bits)
        accumulator |= head << np.uint64(fill)
        fill += head_bits
        if fill >= 64:
            words[at] = accumulator
            at += 1
            fill -= 64
            accumulator = head >> np.uint64(head_bits - fill)
        accumulator |= body << np.uint64(fill)
        fill += body_bits
        if fill >= 64:
            words[at] = accumulator
            at += 1
            fill -= 64
            accumulator = body >> np.uint64(body_bits - fill)
    words[at] = accumulator
    return at * 64 + fill


@kernel
def unpack_gaps(
    words: npt.NDArray[np.uint64],
    ones_below: npt.NDArray[np.uint8],
    channel_of: npt.NDArray[np.uint8],
    symbol_bits: int,
    k: int,
    escape: int,
    raw_bits: int,
    first: int,
    limit: int,
    numerator: int,
    denominator: int,
    shift: int,
    t_ps: npt.NDArray[np.int64],
    channel: npt.NDArray[np.uint8],
) -> tuple[int, int, int]:
    """Undo `pack_gaps` and go back to ps; (bits read, last time in units, largest symbol).

    Bits are -1 if a time passes `limit` or the words end early. `words` ends in two words that belong to nothing, for
    the window that reads past the end. `ones_below[b]` is how many ones byte b ends in. `shift` as in `to_units`.
    """
    at = np.int64(0)
    end = (words.size - 2) * 64
    unit = np.int64(first)
    one = np.uint64(1)
    width = np.int64(k + symbol_bits)
    fits = escape + width <= 64
    gap_mask = (one << np.uint64(k)) - one
    symbol_mask = (one << np.uint64(symbol_bits)) - one
    raw_mask = (one << np.uint64(raw_bits)) - one
    largest = np.uint64(0)
    for i in range(t_ps.size):
        if at >= end:
            return -1, unit, 0
        window = _window(words, at)
        quotient = np.int64(ones_below[np.int64(window & np.uint64(255))])
        if quotient == 8:
            while quotient < escape and (window >> np.uint64(quotient)) & one:
                quotient += 1
        if quotient < escape:
            at += quotient + 1
            field = window >> np.uint64(quotient + 1) if fits else _window(words, at)
            at += width
            unit += (quotient << k) + np.int64(field & gap_mask)
            symbol = (field >> np.uint64(k)) & symbol_mask
        else:
            symbol = (window >> np.uint64(escape)) & symbol_mask
            at += escape + symbol_bits
            if at >= end:
                return -1, unit, 0
            field = _window(words, at)
            at += raw_bits
            unit += np.int64(field & raw_mask)
        if unit > limit:
            return -1, unit, 0
        largest = max(largest, symbol)
        channel[i] = channel_of[np.int64(symbol)]
        t_ps[i] = _to_ps(unit, numerator, denominator, shift)
    return (at if at <= end else -1), unit, np.int64(largest)
