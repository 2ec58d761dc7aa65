"""Loop that turns PicoQuant's 32-bit TTTR records into times and channels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import kernel

# Bit layouts of a record, most significant bit first; n is the coarse count, d the time behind it (0 bits in T2).
HARP, PICOHARP, TIMEHARP200 = 0, 1, 2
"""special(1) channel(6) d n; channel(4) d n; reserved(1) valid(1) channel(2) d(12) n(16)."""

SYNC_CHANNEL = 64
FAULT_UNDEFINED, FAULT_TOO_LONG, FAULT_LATE = 1, 2, 3

# Places of the state that a decoder carries from one stretch of records to the next.
BASE, REST, LATEST, LONGEST, PHOTONS, OVERFLOWS, MARKERS, BACK, FAULT, FAULT_AT = range(10)
STATE = 10


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
    2^61 ps, or that lies more than `depth_ps` before an earlier one: FAULT and FAULT_AT (index in this stretch) say so.
    """
    limit = np.int64(1) << 62
    most_turns = limit // (coarse_whole + 1)
    coarse_mask = np.int64((1 << coarse_bits) - 1)
    half = denominator // 2
    base, rest, latest, k = state[BASE], state[REST], state[LATEST], state[PHOTONS]
    longest = state[LONGEST]
    previous = t_ps[k - 1] if k > 0 else np.int64(0)
    overflows = markers = back = np.int64(0)
    for i in range(records.size):
        word = np.int64(records[i])
        n = word & coarse_mask
        if layout == HARP:
            source = (word >> 25) & 63
            d = (word & 0x1FFFFFF) >> coarse_bits
            special = word >> 31 != 0
        elif layout == PICOHARP:
            source = word >> 28
            d = (word & 0xFFFFFFF) >> coarse_bits
            special = source == 15
        else:
            source = (word >> 28) & 3
            d = (word >> 16) & 0xFFF
            special = (word >> 30) & 1 == 0
        if special:
            if layout == HARP:
                is_overflow = source == 63
                if source == 0 and coarse_bits == 25:
                    source, special = np.int64(SYNC_CHANNEL), False
                elif (source == 0 or source > 15) and not is_overflow:
                    state[FAULT], state[FAULT_AT] = FAULT_UNDEFINED, i
                    break
            elif layout == PICOHARP:
                is_overflow = d == 0 if coarse_bits == 16 else n & 15 == 0
            else:
                is_overflow = d & 0x800 != 0
            if special:
                if is_overflow:
                    turns = np.int64(wrap) * (max(n, np.int64(1)) if counted_overflows else np.int64(1))
                    if turns >= most_turns:
                        state[FAULT], state[FAULT_AT] = FAULT_TOO_LONG, i
                        break
                    rest += turns * coarse_rest
                    base += turns * coarse_whole + rest // denominator
                    rest %= denominator
                    overflows += 1
                    if base >= limit >> 1:
                        state[FAULT], state[FAULT_AT] = FAULT_TOO_LONG, i
                        break
                else:
                    markers += 1
                continue
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
