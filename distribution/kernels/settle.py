"""What detectors and tagger make of the clicks: sorted, dead time, recovery, afterpulses, basis, buffer, resolution.

One sweep in order of time. Whatever is random here draws from a stream of its own, in order of the clicks that are
seen, so the result does not depend on how the clicks were cut into batches.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distribution.kernels._jit import inlined, kernel
from distribution.kernels.random import basis_of_slot, next_unit

AFTERPULSE = np.uint8(2)
RECOVERED = 16.0  # time constants after which the missing efficiency, 1e-7, is taken as none
PENDING = 4096  # afterpulses that may wait at a station at once

_DETECTOR = np.uint8(15)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_FAR = 1 << 62
# Times a denominator of at most 1024 (see Tagger), this stays at or below 2^50.
_EXACT = np.int64(1 << 40)


@kernel
def sort_nearly_sorted(time: Any, label: Any, pair: Any, n: Any) -> Any:
    """Insertion sort by time of the first n clicks: stable, and linear where few are out of place."""
    numbered = pair.size > 0
    latest = time[0]
    for i in range(1, n):
        t = time[i]
        if t >= latest:
            latest = t
        else:
            c = label[i]
            p = pair[i] if numbered else np.int64(-1)
            j = i
            while j > 0 and time[j - 1] > t:
                time[j] = time[j - 1]
                label[j] = label[j - 1]
                if numbered:
                    pair[j] = pair[j - 1]
                j -= 1
            time[j] = t
            label[j] = c
            if numbered:
                pair[j] = p


@kernel
def clicks_to_next(state: Any, chance: Any) -> Any:
    """Clicks until the next one that is followed by an afterpulse, 1 or more: geometric."""
    return np.int64(1) + np.int64(math.floor(math.log(1.0 - next_unit(state)) / math.log(1.0 - chance)))


@kernel
def put_off(waiting: Any, waiting_label: Any, n: Any, time: Any, label: Any) -> Any:
    """Insert an afterpulse into those that wait, latest first; returns their new number."""
    if n == waiting.size:
        return n
    j = n
    while j > 0 and waiting[j - 1] <= time:
        waiting[j] = waiting[j - 1]
        waiting_label[j] = waiting_label[j - 1]
        j -= 1
    waiting[j] = time
    waiting_label[j] = label
    return n + 1


@inlined
def whole_units(t: Any, up: Any, down: Any, per_up: Any, per_down: Any) -> Any:
    """A time rounded down to a multiple of down / up, and that to a whole number; per_up, per_down are the inverses.

    x + 1/2 divided by an integer is at least half a divisor's inverse from the next integer. The product with the
    rounded inverse is off by less than that for integers x below 2^51, so it rounds down to the exact quotient.
    Longer times are split at multiples of `down`.
    """
    far = np.int64(0)
    if t > _EXACT or t < -_EXACT:
        far = t // np.int64(down) * np.int64(down)
        t -= far
    return far + np.int64(math.floor((math.floor((t * up + 0.5) * per_down) * down + 0.5) * per_up))


@kernel
def settle(  # noqa: C901  (one sweep: each step needs what the last one left)
    time: Any,
    label: Any,
    pair: Any,
    n: Any,
    safe_ps: Any,
    owner: Any,
    dead_ps: Any,
    paralysable: Any,
    recovery_ps: Any,
    afterpulse: Any,
    decay: Any,
    slot_ps: Any,
    seed: Any,
    shares: Any,
    unit: Any,
    buffer: Any,
    state: Any,
    last: Any,
    books: Any,
    level: Any,
    waiting: Any,
    waiting_label: Any,
    out_time: Any,
    out_label: Any,
    out_pair: Any,
    lost: Any,
    count: Any,
) -> Any:
    """Sort the first n clicks, pass those before `safe_ps` through detectors and tagger, move the rest to the front.

    time int64, label uint8, pair int64 or empty: as `generate` left them, nearly in order. owner int64[channels]
    which detector's dead time a channel shares; dead_ps int64; paralysable bool; recovery_ps float64 (0: none);
    afterpulse float64 chance, decay float64[m, 2] cumulated share and mean delay in ps; slot_ps (0: passive), seed,
    shares: see `generate`; unit int64[2] numerator and denominator of the tagger's resolution in ps; buffer
    float64[2] ps per tag that leaves it (0: no limit) and its size.
    Moved on: state uint64[4]; last int64[detectors] when each was last blinded; books int64[2] clicks until the next
    afterpulse is due (0: not drawn yet), afterpulses that wait; level float64[1] when the buffer will be empty;
    waiting int64, waiting_label uint8.
    Out: out_*; lost int64[out] times of tags that found the buffer full, or empty; count int64[3] = clicks written,
    left at the front, lost.
    """
    sort_nearly_sorted(time, label, pair, n)
    numbered = pair.size > 0
    pulsing = afterpulse > 0.0
    to_pulse, due = books[0], books[1]
    if pulsing and to_pulse == 0:
        to_pulse = clicks_to_next(state, afterpulse)
    next_due = waiting[due - 1] if due > 0 else np.int64(_FAR)
    recovering_ps = np.int64(math.ceil(RECOVERED * recovery_ps))
    # A leaky bucket told by the time at which it will be empty (the generic cell rate algorithm, ITU-T I.371).
    gap_ps, drained = buffer[0], level[0]
    patience_ps = (buffer[1] - 1.0) * gap_ps
    whole_unit = unit[0] == 1 and unit[1] == 1
    # Times are counted from a multiple of the unit, where they are small enough for exact floating-point division.
    base = time[0] // unit[0] * unit[0] if n > 0 else np.int64(0)
    up, down = np.float64(unit[1]), np.float64(unit[0])
    per_up, per_down = 1.0 / up, 1.0 / down
    # Unsigned places: an index that may be negative costs a test each time.
    out, gone, i, end, room = _ZERO, 0, _ZERO, np.uint64(n), np.uint64(out_time.size)
    while end > _ZERO and time[end - _ONE] >= safe_ps:
        end -= _ONE
    while out < room:
        if i < end and time[i] <= next_due:
            t, tag = time[i], label[i]
            number = pair[i] if numbered else np.int64(-1)
            i += _ONE
        elif next_due < safe_ps:
            due -= 1
            t, tag, number = next_due, waiting_label[due], np.int64(-1)
            next_due = waiting[due - 1] if due > 0 else np.int64(_FAR)
            if slot_ps > 0:
                tag = np.uint8(2 * basis_of_slot(t, slot_ps, seed, shares)) | (tag & np.uint8(1)) | (AFTERPULSE << 4)
        else:
            break
        who = np.uint64(owner[tag & _DETECTOR])
        since = t - last[who] - dead_ps
        seen = since >= 0
        if seen and since < recovering_ps:
            x = since / recovery_ps
            u = next_unit(state)
            # exp(-x) is below 1 / (1 + x + x^2 / 2), which settles most cases without it.
            seen = u * (1.0 + x + 0.5 * x * x) >= 1.0 or u >= math.exp(-x)
        if seen or paralysable:
            last[who] = t
        if not seen:
            continue
        if pulsing:
            to_pulse -= 1
            if to_pulse == 0:
                to_pulse = clicks_to_next(state, afterpulse)
                u = next_unit(state)
                m = 0
                while m < decay.shape[0] - 1 and u >= decay[m, 0]:
                    m += 1
                wait = np.int64(math.floor(-math.log(1.0 - next_unit(state)) * decay[m, 1])) + 1
                due = put_off(waiting, waiting_label, due, t + wait, (tag & _DETECTOR) | (AFTERPULSE << 4))
                next_due = waiting[due - 1]
        if gap_ps > 0.0:
            if drained - t > patience_ps:
                lost[gone] = t
                gone += 1
                continue
            drained = max(drained, np.float64(t)) + gap_ps
        if not whole_unit:
            t = base + whole_units(t - base, up, down, per_up, per_down)
        out_time[out] = t
        out_label[out] = tag
        if numbered:
            out_pair[out] = number
        out += _ONE
    books[0], books[1], level[0] = to_pulse, due, drained
    done = np.int64(i)
    left = n - done
    for j in range(left):
        time[j] = time[done + j]
        label[j] = label[done + j]
        if numbered:
            pair[j] = pair[done + j]
    count[0], count[1], count[2] = np.int64(out), left, gone
