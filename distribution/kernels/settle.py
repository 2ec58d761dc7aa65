"""What detectors and tagger make of the clicks: sorted, dead time, recovery, afterpulses, basis, buffer, resolution.

One sweep in order of time. Whatever is random here draws from a stream of its own, in order of the clicks that are
seen, so the result does not depend on how the clicks were cut into batches.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distribution.kernels._jit import kernel
from distribution.kernels.random import basis_of_slot, next_unit

AFTERPULSE = np.uint8(2)
PENDING = 4096  # afterpulses that may wait at a station at once

_DETECTOR = np.uint8(15)


@kernel
def sort_nearly_sorted(time: Any, label: Any, pair: Any, n: Any) -> Any:
    """Insertion sort by time of the first n clicks: stable, and linear where few are out of place."""
    numbered = pair.size > 0
    for i in range(1, n):
        t = time[i]
        if t < time[i - 1]:
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
    float64[2] tags per ps that leave it (0: no limit) and its size.
    Moved on: state uint64[4]; last int64[detectors] when each was last blinded; books int64[3] clicks until the next
    afterpulse is due (0: not drawn yet), afterpulses that wait, time of the last tag; level float64[1] tags in the
    buffer; waiting int64, waiting_label uint8.
    Out: out_*; lost int64[out] times of tags that found the buffer full, or empty; count int64[3] = clicks written,
    left at the front, lost.
    """
    sort_nearly_sorted(time, label, pair, n)
    numbered = pair.size > 0
    pulsing = afterpulse > 0.0
    if pulsing and books[0] == 0:
        books[0] = clicks_to_next(state, afterpulse)
    due = books[1]
    whole_unit = unit[0] == 1 and unit[1] == 1
    out, gone, i = 0, 0, 0
    while out < out_time.size:
        own = i < n and time[i] < safe_ps
        follows = due > 0 and waiting[due - 1] < safe_ps
        if not own and not follows:
            break
        if follows and (not own or waiting[due - 1] < time[i]):
            due -= 1
            t, tag, number = waiting[due], waiting_label[due], np.int64(-1)
            if slot_ps > 0:
                tag = np.uint8(2 * basis_of_slot(t, slot_ps, seed, shares)) | (tag & np.uint8(1)) | (AFTERPULSE << 4)
        else:
            t, tag = time[i], label[i]
            number = pair[i] if numbered else np.int64(-1)
            i += 1
        who = owner[tag & _DETECTOR]
        since = t - last[who] - dead_ps
        seen = since >= 0
        if seen and recovery_ps > 0.0 and since < 40.0 * recovery_ps:
            seen = next_unit(state) >= math.exp(-since / recovery_ps)
        if seen or paralysable:
            last[who] = t
        if not seen:
            continue
        if pulsing:
            books[0] -= 1
            if books[0] == 0:
                books[0] = clicks_to_next(state, afterpulse)
                u = next_unit(state)
                m = 0
                while m < decay.shape[0] - 1 and u >= decay[m, 0]:
                    m += 1
                wait = np.int64(math.floor(-math.log(1.0 - next_unit(state)) * decay[m, 1])) + 1
                due = put_off(waiting, waiting_label, due, t + wait, (tag & _DETECTOR) | (AFTERPULSE << 4))
        if buffer[0] > 0.0:
            level[0] = max(0.0, level[0] - (t - books[2]) * buffer[0])
            books[2] = t
            if level[0] + 1.0 > buffer[1]:
                lost[gone] = t
                gone += 1
                continue
            level[0] += 1.0
        if not whole_unit:
            # Split, so that no product leaves 64 bits: t = q unit[0] + r.
            q = t // unit[0]
            r = t - q * unit[0]
            t = q * unit[0] + ((r * unit[1]) // unit[0] * unit[0]) // unit[1]
        out_time[out] = t
        out_label[out] = tag
        if numbered:
            out_pair[out] = number
        out += 1
    books[1] = due
    left = n - i
    for j in range(left):
        time[j] = time[i + j]
        label[j] = label[i + j]
        if numbered:
            pair[j] = pair[i + j]
    count[0], count[1], count[2] = out, left, gone
