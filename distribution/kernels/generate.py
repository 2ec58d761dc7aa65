"""Drawing clicks in order of emission: one Poisson process, coloured with outcomes, through slowly changing conditions.

All that can click is one Poisson process: exponential gaps at the total rate, and each event is coloured with one
outcome of an alias table (Walker 1977). Thinning and colouring a Poisson process is exact, so nothing is spent on
pairs that no detector sees. A negative binomial number of pairs per pulse is a Poisson number of clusters of
logarithmic size (Quenouille, Biometrics 5, 162 (1949)), so pulsed sources are the same process, its events moved on to
the next pulse. Random numbers: xoshiro256++ (Blackman and Vigna 2021), exponentials by a ziggurat of 256 layers
(Marsaglia and Tsang 2000), delays by linear interpolation in a table of 4096 quantiles.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from distribution.kernels._jit import inlined, kernel
from distribution.kernels.random import basis_of_slot, next_unit, next_word, stepped

NEVER = -(1 << 62)
NOBODY = np.uint8(255)
ROWS = 8  # rows of the response tables: a detector's number and NOBODY's low bits are both one of them
ROOM = 1024  # free places that a batch keeps for the clicks of one event
MAX_CLUSTER = 500  # pairs in one cluster: two clicks a side each fit into ROOM
PHOTONS = np.uint8(0)
NOISE = np.uint8(1)
NOTHING = np.uint8(3)

_U11 = np.uint64(11)
_U20 = np.uint64(20)
_U32 = np.uint64(32)
_LAYER = np.uint64(255)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_LOW32 = np.uint64(0xFFFFFFFF)
_LOW20 = np.uint64(0xFFFFF)
_ROW = np.uint64(ROWS - 1)
_BYTE = np.uint32(0xFF)
_SECOND = np.uint32(0xFF00FF00)
# To floating point by way of signed integers: the processor converts those in one step.
_TO_UNIT = 1.0 / 9007199254740992.0
_TO_STEP = np.float32(1.0 / 1048576.0)


@kernel
def rare_gap(state: Any, edge: Any, height: Any, layer: Any, x: Any) -> Any:
    """An exponential variate of mean 1 after a first draw, 1 % of all, that fell outside its layer's core."""
    while x >= edge[layer + 1]:
        if layer == 0:
            return edge[1] - math.log(1.0 - next_unit(state))
        if height[layer + 1] + (height[layer] - height[layer + 1]) * next_unit(state) < math.exp(-x):
            return x
        word = next_word(state)
        layer = np.int64(word & _LAYER)
        x = np.float64(np.int64(word >> _U11)) * _TO_UNIT * edge[layer]
    return x


@inlined
def delay(word32: Any, table: Any, detector: Any) -> Any:
    """A random delay, ps: 12 bits choose the step of the table, 20 bits the place in it."""
    step = word32 >> _U20
    low = table[detector, step]
    return low + (table[detector, step + _ONE] - low) * (np.float32(np.int64(word32 & _LOW20)) * _TO_STEP)


@inlined
def cell_of(word: Any, keep: Any, alias: Any, first: Any, shift: Any) -> Any:
    """Cell of the alias table of 2^(64 - shift) columns that starts at `first`.

    The word's top bits choose a column, the others decide whether to stay.
    """
    cell = first + (word >> shift)
    other = first + np.uint64(alias[cell])  # read in any case: no branch, which would be guessed wrong often
    return cell if (word & ((_ONE << shift) - _ONE)) < keep[cell] else other


@kernel
def next_cluster(state: Any, theta: Any) -> Any:
    """Number of pairs in a cluster: P(n) = -theta^n / (n ln(1 - theta)), by inversion."""
    u = next_unit(state)
    p = -theta / math.log(1.0 - theta)
    n = 1
    while u >= p and n < MAX_CLUSTER:
        u -= p
        p *= theta * n / (n + 1.0)
        n += 1
    return n


@kernel
def generate(  # noqa: C901  (one loop; a call per branch would cost more than the branch)
    state: Any,
    edge: Any,
    height: Any,
    t_ps: Any,
    segment: Any,
    length: Any,
    gap_ps: Any,
    tables: Any,
    whole: Any,
    line: Any,
    spread: Any,
    phase: Any,
    pulse: Any,
    keep: Any,
    alias: Any,
    kind: Any,
    hits: Any,
    late: Any,
    theta: Any,
    slot_ps: Any,
    seed: Any,
    share_a: Any,
    share_b: Any,
    normal: Any,
    response_a: Any,
    response_b: Any,
    fixed_a: Any,
    fixed_b: Any,
    time_a: Any,
    label_a: Any,
    pair_a: Any,
    time_b: Any,
    label_b: Any,
    pair_b: Any,
    count: Any,
) -> Any:
    """Draw clicks until the segments end or an array is full; returns the next event's time.

    That time is ps from the start of the segment count[3], or, when that is beyond the last, in units of the mean gap.

    state uint64[4]; edge, height float64[257] ziggurat; t_ps time of the first event from the start of `segment`.
    Per segment: length, gap_ps float64 length and mean gap; tables int64[s, bases a * bases b] colouring for each
    pair of bases, one column where neither side is active; whole int64[s, 2] reading of each clock at its start; line
    float64[s, 2, 3] fraction, rate and bend of the reading; spread float64[s, 2] dispersion; phase float64 time of a
    pulse. pulse float64[2] period (0: none) and width.
    Per table: keep uint64[t, n], alias uint16[t, n], n a power of two; kind uint8[t, n]; hits uint32[t, n], its bytes,
    lowest first, two detectors of Alice and two of Bob; late float64[t, n, 2]; theta float64[t] of clusters (0: single
    pairs).
    Active analysers: slot_ps int64[2] (0: passive), seed uint64[2], share_* float64 cumulated.
    normal float32[1, 4097]; response_* float32[ROWS, 4097]; fixed_* float32[ROWS] delays. time_* int64, label_* uint8
    (detector, kind in bits 4 and up), pair_* int64 or empty: the output; count int64[4] = filled at Alice, at Bob,
    pairs so far, segment: all moved on.
    """
    # Places and cells are unsigned: an index that may be negative costs a test each time.
    n_a, n_b, pairs = np.uint64(count[0]), np.uint64(count[1]), count[2]
    room_a, room_b = np.uint64(time_a.size - ROOM), np.uint64(time_b.size - ROOM)
    numbered = pair_a.size > 0
    period, width = pulse[0], pulse[1]
    smeared = width > 0.0 or np.abs(spread).max() > 0.0
    clustered = theta.max() > 0.0
    timed = np.abs(late).max() > 0.0
    slot_a, slot_b = slot_ps[0], slot_ps[1]
    switched = slot_a > 0 or slot_b > 0
    bases_b = share_b.size if slot_b > 0 else 1
    columns = np.uint64(keep.shape[1])
    bits = np.uint64(0)
    while (_ONE << bits) < columns:
        bits += _ONE
    shift = np.uint64(64) - bits
    keep, alias, kind = keep.reshape(-1), alias.reshape(-1), kind.reshape(-1)
    hits, late = hits.reshape(-1), late.reshape(-1)
    late_a, late_b, z = 0.0, 0.0, 0.0
    # The slot of the last event and its basis: the next one is often in it.
    since_a, since_b = np.int64(NEVER), np.int64(NEVER)
    basis_a, basis_b = np.int64(0), np.int64(0)
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    while segment < length.size and n_a <= room_a and n_b <= room_b:
        end, gap, first_pulse = length[segment], gap_ps[segment], phase[segment]
        whole_a, whole_b = whole[segment, 0], whole[segment, 1]
        fraction_a, rate_a, bend_a = line[segment, 0, 0] + 0.5, line[segment, 0, 1], line[segment, 0, 2]
        fraction_b, rate_b, bend_b = line[segment, 1, 0] + 0.5, line[segment, 1, 1], line[segment, 1, 2]
        spread_a, spread_b = spread[segment, 0], spread[segment, 1]
        table = tables[segment, 0]
        first = np.uint64(table) * columns
        while t_ps < end and n_a <= room_a and n_b <= room_b:
            pulse_ps = t_ps
            if period > 0.0:
                pulse_ps = first_pulse + math.ceil((t_ps - first_pulse) / period) * period
            if switched:
                if slot_a > 0:
                    show = whole_a + np.int64(math.floor(pulse_ps * (rate_a + pulse_ps * bend_a) + fraction_a))
                    if not since_a <= show < since_a + slot_a:
                        since_a = show // slot_a * slot_a
                        basis_a = basis_of_slot(since_a, slot_a, seed[0], share_a)
                if slot_b > 0:
                    show = whole_b + np.int64(math.floor(pulse_ps * (rate_b + pulse_ps * bend_b) + fraction_b))
                    if not since_b <= show < since_b + slot_b:
                        since_b = show // slot_b * slot_b
                        basis_b = basis_of_slot(since_b, slot_b, seed[1], share_b)
                table = tables[segment, basis_a * bases_b + basis_b]
                first = np.uint64(table) * columns
            word, s0, s1, s2, s3 = stepped(s0, s1, s2, s3)
            cell = cell_of(word, keep, alias, first, shift)
            what = kind[cell]
            cluster = 1
            if clustered and what == PHOTONS:
                state[0], state[1], state[2], state[3] = s0, s1, s2, s3
                cluster = next_cluster(state, theta[table])
                s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
            while True:
                jitter, s0, s1, s2, s3 = stepped(s0, s1, s2, s3)
                emitted = t_ps
                if what == PHOTONS:
                    emitted = pulse_ps
                if smeared:
                    z = 0.0
                    if what == PHOTONS:
                        word, s0, s1, s2, s3 = stepped(s0, s1, s2, s3)
                        z = np.float64(delay(word >> _U32, normal, _ZERO))
                        if width > 0.0:
                            emitted += width * np.float64(delay(word & _LOW32, normal, _ZERO))
                if timed:
                    late_a, late_b = late[cell << _ONE], late[(cell << _ONE) + _ONE]
                # Who clicks cannot be guessed: both sides are always written, and the place moves on if it is true.
                hit = hits[cell]
                a, b = np.uint8(hit & _BYTE), np.uint8((hit >> np.uint32(16)) & _BYTE)
                at_a, at_b = np.uint64(a != NOBODY), np.uint64(b != NOBODY)
                if numbered:
                    number = pairs if at_a + at_b == _TWO else np.int64(-1)
                    pair_a[n_a], pair_b[n_b] = number, number
                pairs += np.int64(at_a & at_b)
                row_a, row_b = np.uint64(a) & _ROW, np.uint64(b) & _ROW
                base_a = emitted * (rate_a + emitted * bend_a) + fraction_a + late_a + z * spread_a
                base_b = emitted * (rate_b + emitted * bend_b) + fraction_b + late_b - z * spread_b
                behind_a = np.float64(delay(jitter >> _U32, response_a, row_a) + fixed_a[row_a])
                behind_b = np.float64(delay(jitter & _LOW32, response_b, row_b) + fixed_b[row_b])
                time_a[n_a] = whole_a + np.int64(math.floor(base_a + behind_a))
                time_b[n_b] = whole_b + np.int64(math.floor(base_b + behind_b))
                label_a[n_a], label_b[n_b] = a | (what << 4), b | (what << 4)
                n_a += at_a
                n_b += at_b
                if hit & _SECOND != _SECOND:
                    a, b = np.uint8((hit >> np.uint32(8)) & _BYTE), np.uint8(hit >> np.uint32(24))
                    if a != NOBODY:
                        jitter, s0, s1, s2, s3 = stepped(s0, s1, s2, s3)
                        behind_a = np.float64(delay(jitter >> _U32, response_a, a) + fixed_a[a])
                        time_a[n_a] = whole_a + np.int64(math.floor(base_a + behind_a))
                        label_a[n_a] = a | (what << 4)
                        if numbered:
                            pair_a[n_a] = -1
                        n_a += _ONE
                    if b != NOBODY:
                        jitter, s0, s1, s2, s3 = stepped(s0, s1, s2, s3)
                        behind_b = np.float64(delay(jitter >> _U32, response_b, b) + fixed_b[b])
                        time_b[n_b] = whole_b + np.int64(math.floor(base_b + behind_b))
                        label_b[n_b] = b | (what << 4)
                        if numbered:
                            pair_b[n_b] = -1
                        n_b += _ONE
                cluster -= 1
                if cluster == 0:
                    break
                # Another pair of the cluster: a draw from the same table, given that it is a pair.
                word, s0, s1, s2, s3 = stepped(s0, s1, s2, s3)
                cell = cell_of(word, keep, alias, first, shift)
                while kind[cell] != PHOTONS:
                    word, s0, s1, s2, s3 = stepped(s0, s1, s2, s3)
                    cell = cell_of(word, keep, alias, first, shift)
            word, s0, s1, s2, s3 = stepped(s0, s1, s2, s3)
            layer = word & _LAYER
            x = np.float64(np.int64(word >> _U11)) * _TO_UNIT * edge[layer]
            if x >= edge[layer + _ONE]:
                state[0], state[1], state[2], state[3] = s0, s1, s2, s3
                x = rare_gap(state, edge, height, np.int64(layer), x)
                s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
            t_ps += x * gap
        if t_ps >= end:
            # Time runs in mean gaps: what is left of one is as long in the next segment's.
            t_ps = (t_ps - end) / gap
            segment += 1
            if segment < length.size:
                t_ps *= gap_ps[segment]
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    count[0], count[1], count[2], count[3] = np.int64(n_a), np.int64(n_b), pairs, segment
    return t_ps


@kernel
def fill_alias(weight: Any, keep: Any, alias: Any) -> Any:
    """Alias tables of the rows of `weight` (Vose 1991).

    weight float64[t, n], n = 2^k with k >= 1, consumed; keep uint64[t, n]: chance to stay in a column, in units of
    2^(k - 64); alias uint16[t, n] where to go else.
    """
    n = weight.shape[1]
    unit = 18446744073709551616.0 / n
    small = np.empty(n, np.int64)
    large = np.empty(n, np.int64)
    for row in range(weight.shape[0]):
        chance = weight[row]
        total = 0.0
        for i in range(n):
            total += chance[i]
        few, many = 0, 0
        for i in range(n):
            chance[i] *= n / total
            alias[row, i] = i
            if chance[i] < 1.0:
                small[few] = i
                few += 1
            else:
                large[many] = i
                many += 1
        while few > 0 and many > 0:
            few -= 1
            low, high = small[few], large[many - 1]
            alias[row, low] = high
            chance[high] -= 1.0 - chance[low]
            if chance[high] < 1.0:
                many -= 1
                small[few] = high
                few += 1
        # What rounding left over stays: 2^(64 - k) is above every number that it is compared with.
        for i in range(few):
            chance[small[i]] = 1.0
        for i in range(many):
            chance[large[i]] = 1.0
        for i in range(n):
            keep[row, i] = np.uint64(min(chance[i], 1.0) * unit)
