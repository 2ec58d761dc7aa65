"""Two loops: `generate` draws clicks in order of emission, `settle` sorts them and applies dead time.

All that can click is one Poisson process: exponential gaps at the total rate, and each event is coloured with
    one of 32 outcomes by an alias table (Walker 1977). Thinning and colouring a Poisson process is exact, so
    nothing is spent on pairs that no detector sees. Random numbers: xoshiro256++ (Blackman and Vigna 2021),
    exponentials by a ziggurat of 256 layers (Marsaglia and Tsang 2000), delays by linear interpolation in a
    table of 4096 quantiles.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distribution.kernels._jit import inlined, kernel

OUTCOMES = 32
NOBODY = np.uint8(4)

_U11 = np.uint64(11)
_U17 = np.uint64(17)
_U20 = np.uint64(20)
_U32 = np.uint64(32)
_COLUMN = np.uint64(59)
_LAYER = np.uint64(255)
_BELOW_COLUMN = np.uint64((1 << 59) - 1)
_LOW32 = np.uint64(0xFFFFFFFF)
_LOW20 = np.uint64(0xFFFFF)
_TO_UNIT = 1.0 / 9007199254740992.0
_TO_STEP = np.float32(1.0 / 1048576.0)


@inlined
def next_word(state: Any) -> Any:
    """One xoshiro256++ output; `state` is uint64[4] and moves on."""
    total = state[0] + state[3]
    result = ((total << np.uint64(23)) | (total >> np.uint64(41))) + state[0]
    shifted = state[1] << _U17
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = (state[3] << np.uint64(45)) | (state[3] >> np.uint64(19))
    return result


@inlined
def next_unit(state: Any) -> Any:
    """A float64 in [0, 1)."""
    return np.float64(next_word(state) >> _U11) * _TO_UNIT


@kernel
def next_rare_gap(state: Any, edge: Any, height: Any, layer: Any, x: Any) -> Any:
    """The 1 % of exponential draws that fall outside their layer's core; -1 when the draw is rejected."""
    if layer == 0:
        return edge[1] - math.log(1.0 - next_unit(state))
    y = height[layer + 1] + (height[layer] - height[layer + 1]) * next_unit(state)
    return x if y < math.exp(-x) else -1.0


@inlined
def next_gap(state: Any, edge: Any, height: Any) -> Any:
    """An exponential variate of mean 1."""
    gap = -1.0
    while gap < 0.0:
        word = next_word(state)
        layer = np.int64(word & _LAYER)
        gap = np.float64(word >> _U11) * _TO_UNIT * edge[layer]
        if gap >= edge[layer + 1]:
            gap = next_rare_gap(state, edge, height, layer, gap)
    return gap


@inlined
def delay(word32: Any, table: Any, detector: Any) -> Any:
    """A random delay, ps: 12 bits choose the step of the table, 20 bits the place in it."""
    step = np.int64(word32 >> _U20)
    low = table[detector, step]
    return low + (table[detector, step + 1] - low) * (np.float32(word32 & _LOW20) * _TO_STEP)


@kernel
def generate(
    state: Any,
    edge: Any,
    height: Any,
    gap_ps: Any,
    stop_ps: Any,
    t_ps: Any,
    keep: Any,
    alias: Any,
    hits: Any,
    response_a: Any,
    response_b: Any,
    fixed_a: Any,
    fixed_b: Any,
    clock: Any,
    whole_a: Any,
    whole_b: Any,
    time_a: Any,
    channel_a: Any,
    pair_a: Any,
    time_b: Any,
    channel_b: Any,
    pair_b: Any,
    count: Any,
) -> Any:
    """Draw clicks until `stop_ps` or until an array is full; returns when the next event is due, ps.

    state uint64[4]; edge, height float64[257] ziggurat; gap_ps mean gap; t_ps time of the first event, from
    the stretch's origin; keep uint64[32], alias uint8[32] the alias table; hits uint8[32, 2] which detector
    of each station an outcome fires (4 = none); response_* float32[4, 4097]; fixed_* float32[4] delays; clock
    float64[4] = rate of Alice's clock, fraction of a ps, and the same for Bob; whole_* the clocks' readings
    at the origin; time_* int64, channel_* uint8 the output; pair_* int64 numbers of the pairs, or empty;
    count int64[3] = filled at Alice, at Bob, pairs so far, all moved on.
    """
    n_a, n_b, pairs = count[0], count[1], count[2]
    room_a, room_b = time_a.size, time_b.size
    numbered = pair_a.size > 0
    while t_ps < stop_ps and n_a < room_a and n_b < room_b:
        word = next_word(state)
        outcome = np.int64(word >> _COLUMN)
        if (word & _BELOW_COLUMN) >= keep[outcome]:
            outcome = np.int64(alias[outcome])
        jitter = next_word(state)
        hit_a, hit_b = hits[outcome, 0], hits[outcome, 1]
        number = np.int64(-1)
        if hit_a < NOBODY and hit_b < NOBODY:
            number = pairs
            pairs += 1
        if hit_a < NOBODY:
            late = np.float64(delay(jitter >> _U32, response_a, hit_a) + fixed_a[hit_a])
            time_a[n_a] = whole_a + np.int64(math.floor(t_ps * clock[0] + clock[1] + late + 0.5))
            channel_a[n_a] = hit_a
            if numbered:
                pair_a[n_a] = number
            n_a += 1
        if hit_b < NOBODY:
            late = np.float64(delay(jitter & _LOW32, response_b, hit_b) + fixed_b[hit_b])
            time_b[n_b] = whole_b + np.int64(math.floor(t_ps * clock[2] + clock[3] + late + 0.5))
            channel_b[n_b] = hit_b
            if numbered:
                pair_b[n_b] = number
            n_b += 1
        t_ps += next_gap(state, edge, height) * gap_ps
    count[0], count[1], count[2] = n_a, n_b, pairs
    return t_ps


@kernel
def sort_nearly_sorted(time: Any, channel: Any, pair: Any, n: Any) -> Any:
    """Insertion sort by time of the first n clicks: stable, and linear where few are out of place."""
    numbered = pair.size > 0
    for i in range(1, n):
        t = time[i]
        if t < time[i - 1]:
            c = channel[i]
            p = pair[i] if numbered else np.int64(-1)
            j = i
            while j > 0 and time[j - 1] > t:
                time[j] = time[j - 1]
                channel[j] = channel[j - 1]
                if numbered:
                    pair[j] = pair[j - 1]
                j -= 1
            time[j] = t
            channel[j] = c
            if numbered:
                pair[j] = p


@kernel
def settle(
    time: Any,
    channel: Any,
    pair: Any,
    n: Any,
    safe_ps: Any,
    dead_ps: Any,
    mutes_station: Any,
    last: Any,
    out_time: Any,
    out_channel: Any,
    out_pair: Any,
    count: Any,
) -> Any:
    """Sort the first n clicks, pass those before `safe_ps` through the dead time, move the rest to the front.

    time int64, channel uint8, pair int64 or empty: as `generate` left them, nearly in order; last int64[4]
        when each detector last fired, moved on; count int64[2] = clicks written to out_*, clicks left at the
        front.
    """
    sort_nearly_sorted(time, channel, pair, n)
    numbered = pair.size > 0
    out = 0
    i = 0
    while i < n and time[i] < safe_ps:
        who = np.int64(0) if mutes_station else np.int64(channel[i])
        if time[i] - last[who] >= dead_ps:
            last[who] = time[i]
            out_time[out] = time[i]
            out_channel[out] = channel[i]
            if numbered:
                out_pair[out] = pair[i]
            out += 1
        i += 1
    left = n - i
    for j in range(left):
        time[j] = time[i + j]
        channel[j] = channel[i + j]
        if numbered:
            pair[j] = pair[i + j]
    count[0], count[1] = out, left
