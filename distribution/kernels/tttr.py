"""Loop that turns PicoQuant's 32-bit TTTR records into times and channels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, kernel

# Bits of a record from the top, where n is the coarse count and d the fine time after it (no bits in T2):
# special(1) channel(6) d n;  channel(4) d n;  reserved(1) valid(1) channel(2) d(12) n(16).
HARP, PICOHARP, TIMEHARP200 = range(3)

SYNC_CHANNEL = 64
# 26 days; the margin below 2^61 is more than any coarse count, so that 2^62 ps of wraps, rounded down, pass it.
END_PS = (1 << 61) - (1 << 41)
FAULT_UNDEFINED, FAULT_TOO_LONG, FAULT_LATE = 1, 2, 3

# Places of the state that a decoder carries from one stretch of records to the next.
BASE, REST, LATEST, LONGEST, PHOTONS, OVERFLOWS, MARKERS, BACK, FAULT, FAULT_AT = range(10)
STATE = 10

# What a special record can be.
PHOTON, OVERFLOW, MARKER, UNDEFINED = range(4)


@inlined
def _split(word: int, layout: int, coarse_bits: int) -> tuple[int, int, bool]:
    """Source, fine time and special flag of a record; its coarse count is the low bits."""
    if layout == HARP:
        return (word >> 25) & 63, (word & 0x1FFFFFF) >> coarse_bits, word >> 31 != 0
    if layout == PICOHARP:
        return word >> 28, (word & 0xFFFFFFF) >> coarse_bits, word >> 28 == 15
    return (word >> 28) & 3, (word >> 16) & 0xFFF, (word >> 30) & 1 == 0


@inlined
def _meaning(source: int, n: int, d: int, layout: int, coarse_bits: int) -> int:
    """What a special record is; in T2 the harps write their sync input as one, which is a detection."""
    if layout == PICOHARP:
        return OVERFLOW if (d == 0 if coarse_bits == 16 else n & 15 == 0) else MARKER
    if layout == TIMEHARP200:
        return OVERFLOW if d & 0x800 != 0 else MARKER
    if source == 63:
        return OVERFLOW
    if source == 0:
        return PHOTON if coarse_bits == 25 else UNDEFINED
    return MARKER if source <= 15 else UNDEFINED


@kernel
def decode_records(
    records: npt.NDArray[np.uint32],
    layout: int,
    coarse_bits: int,
    counted_overflows: bool,
    wrap: int,
    coarse_whole: int,
    coarse_rest: int,
    fine_whole: int,
    fine_rest: int,
    denominator: int,
    depth_ps: int,
    state: npt.NDArray[np.int64],
    t_ps: npt.NDArray[np.int64],
    channel: npt.NDArray[np.uint8],
) -> None:
    """Append the photons of a stretch of records to `t_ps` and `channel`, from state[PHOTONS] on.

    A photon's time is (n + wraps) * coarse + d * fine, where coarse = coarse_whole + coarse_rest / denominator ps and
    likewise fine; it is exact until the rounding to nearest (halves up) of the result. `state` holds the time of the
    wraps so far (BASE + REST / denominator ps), the latest time, the longest d, and counts; BACK counts photons before
    their predecessor. The loop stops at the first record that the layout does not define, whose time would reach
    END_PS, or that lies more than `depth_ps` before an earlier one: FAULT and FAULT_AT (index in this stretch) say so.
    """
    # So many wraps end the recording, and still fit.
    most_turns = (np.int64(1) << 62) // (coarse_whole + 1)
    coarse_mask = np.int64((1 << coarse_bits) - 1)
    half = denominator // 2
    base, rest, latest, k = state[BASE], state[REST], state[LATEST], state[PHOTONS]
    longest = state[LONGEST]
    previous = t_ps[k - 1] if k > 0 else np.int64(0)
    overflows = markers = back = np.int64(0)
    for i in range(records.size):
        word = np.int64(records[i])
        n = word & coarse_mask
        source, d, special = _split(word, layout, coarse_bits)
        if special:
            meaning = _meaning(source, n, d, layout, coarse_bits)
            if meaning == OVERFLOW:
                turns = np.int64(wrap) * (max(n, np.int64(1)) if counted_overflows else np.int64(1))
                turns = min(turns, most_turns)
                rest += turns * coarse_rest
                base += turns * coarse_whole + rest // denominator
                rest %= denominator
                if base >= END_PS:
                    state[FAULT], state[FAULT_AT] = FAULT_TOO_LONG, i
                    break
                overflows += 1
                continue
            if meaning == MARKER:
                markers += 1
                continue
            if meaning == UNDEFINED:
                state[FAULT], state[FAULT_AT] = FAULT_UNDEFINED, i
                break
            source = np.int64(SYNC_CHANNEL)
        now = base + n * coarse_whole + d * fine_whole
        if denominator > 1:
            now += (rest + n * coarse_rest + d * fine_rest + half) // denominator
        if now < previous:
            back += 1
            if latest - now > depth_ps:
                state[FAULT], state[FAULT_AT] = FAULT_LATE, i
                break
        t_ps[k] = now
        channel[k] = source
        k += 1
        previous = now
        latest = max(latest, now)
        longest = max(longest, d)
    state[BASE], state[REST], state[LATEST], state[PHOTONS] = base, rest, latest, k
    state[LONGEST] = longest
    state[OVERFLOWS] += overflows
    state[MARKERS] += markers
    state[BACK] += back
