"""Quasi-cyclic parity checks: syndromes, and the layered sum-product decoder (loops of `qkd.reconciliation.ldpc`).

A code is a base matrix of circulants of size Z: its edge (r, c, s) joins check r Z + t to bit c Z + (t + s) mod Z for
t = 0 .. Z - 1. So one edge is Z independent lanes, and every loop below runs over lanes that lie side by side.

Decoding (Gallager 1963; layered: Hocevar, SiPS 2004) finds the error pattern e with H e = syndrome that is likely
under the priors. Messages are likelihood ratios P(e = 0) / P(e = 1), not their logarithms: a bit multiplies them, and
with y = (x - 1) / (x + 1), the difference of the two probabilities, a check multiplies those. For an edge let w be the
belief of its bit and m the check's last message, both ratios. Then

    y = (w/m - 1) / (w/m + 1),   T = +-prod y over the check,   m' = (y + T) / (y - T),   w' = (w/m) m',

and with 1/m kept in place of m, one division gives y and one more, 1 / ((y + T) (y - T)), gives both m' and 1/m'.

Beliefs of base column c lie in a window of Z floats somewhere in a row of 2 Z: bit i is at w[c, i] or w[c, i + Z],
whichever lies in [at, at + Z). An edge of shift s wants the window at s, where its lanes are consecutive; the
|s - at| floats that are then missing are copied, on average Z / 3, and no loop below ever wraps around.

Range: |y| is kept below 1 - 3e-7 by the factor GUARD, so that a message is within e^+-15.9 and 1 / (y - T) is finite;
NUDGE keeps y off zero, where it would be divided by; beliefs are kept within 1e+-26 so that no product overflows.
What this costs in failed frames: docs/ldpc-decoder.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, kernel

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]

BELIEF_LIMIT = 1e26
_ONE = np.float32(1)
_GUARD = np.float32(1 + 5e-7)
_NUDGE = np.float32(1e-9)
_DOUBT = np.float32(-1e-6)  # a check with an unknown bit is not called violated
_HIGH = np.float32(BELIEF_LIMIT)
_LOW = np.float32(1 / BELIEF_LIMIT)


@inlined
def _row(starts: Ints, column: Ints, shift: Ints, lifting: int, r: int, bits: Bits, out: Bits, to: np.uint64) -> None:
    """Parities of the checks of base row r, to out[to .. to + Z - 1]."""
    z = np.uint64(lifting)
    for t in range(z):
        out[to + t] = 0
    for e in range(starts[r], starts[r + 1]):
        # Unsigned, because numba lets a negative index count from the end, which costs the vector loop.
        start = np.uint64(column[e] * lifting)
        s = np.uint64(shift[e])
        upper = z - s
        for t in range(upper):
            out[to + t] ^= bits[start + s + t]
        for t in range(s):
            out[to + upper + t] ^= bits[start + t]


@kernel
def syndrome(starts: Ints, column: Ints, shift: Ints, lifting: int, bits: Bits, out: Bits) -> None:
    """out = H bits over GF(2); bits uint8 0/1 (columns Z,), out uint8 (rows Z,)."""
    for r in range(starts.size - 1):
        _row(starts, column, shift, lifting, r, bits, out, np.uint64(r * lifting))


@kernel
def degrees(starts: Ints, column: Ints, shift: Ints, lifting: int, member: Bits, out: Ints) -> None:
    """How many of the bits with member = 1 each check joins; member uint8 0/1 (columns Z,), out int32 (rows Z,)."""
    out[:] = 0
    z = np.uint64(lifting)
    for r in range(starts.size - 1):
        to = np.uint64(r * lifting)
        for e in range(starts[r], starts[r + 1]):
            start = np.uint64(column[e] * lifting)
            s = np.uint64(shift[e])
            for t in range(z - s):
                out[to + t] += member[start + s + t]
            for t in range(s):
                out[to + z - s + t] += member[start + t]


@kernel
def decide(belief: Floats, at: Ints, lifting: int, bits: Bits) -> None:
    """The more likely value of every bit: uint8 (columns Z,) from beliefs as `decode` leaves them."""
    for c in range(at.size):
        s = np.uint64(at[c])
        row = np.uint64(2 * c * lifting)
        to = np.uint64(c * lifting)
        z = np.uint64(lifting)
        for i in range(s, z):
            bits[to + i] = belief[row + i] < _ONE
        for i in range(s):
            bits[to + i] = belief[row + z + i] < _ONE


@kernel
def doubts(belief: Floats, at: Ints, lifting: int, out: Floats) -> None:
    """How undecided each bit is, float32 (columns Z,): the lesser ratio of its two probabilities, 0 .. 1."""
    for c in range(at.size):
        s = np.uint64(at[c])
        row = np.uint64(2 * c * lifting)
        to = np.uint64(c * lifting)
        z = np.uint64(lifting)
        for i in range(s, z):
            w = belief[row + i]
            out[to + i] = w if w < _ONE else _ONE / w
        for i in range(s):
            w = belief[row + z + i]
            out[to + i] = w if w < _ONE else _ONE / w


@inlined
def _bring(belief: Floats, row: np.uint64, z: np.uint64, old: int, new: int) -> None:
    """Move the window of the row from `old` to `new`."""
    if new > old:
        start = row + np.uint64(old)
        for t in range(np.uint64(new - old)):
            belief[start + z + t] = belief[start + t]
    else:
        start = row + np.uint64(new)
        for t in range(np.uint64(old - new)):
            belief[start + t] = belief[start + z + t]


@inlined
def _collect(
    belief: Floats, w: np.uint64, inverse: Floats, i: np.uint64, z: np.uint64, y: Floats, k: np.uint64, product: Floats
) -> None:
    """y of each lane, from its belief without the check's own message, and its part in the product."""
    for t in range(z):
        x = belief[w + t] * inverse[i + t]
        d = (x - _ONE) / (_GUARD * x + _GUARD) + _NUDGE
        product[t] *= d
        y[k + t] = d


@inlined
def _spread(
    belief: Floats, w: np.uint64, inverse: Floats, i: np.uint64, z: np.uint64, y: Floats, k: np.uint64, product: Floats
) -> None:
    """New message and belief of each lane."""
    for t in range(z):
        plus = y[k + t] + product[t]
        minus = y[k + t] - product[t]
        common = _ONE / (plus * minus)
        x = belief[w + t] * inverse[i + t]
        new = x * (plus * plus * common)
        kept = minus * minus * common
        # A belief that ends here must stay the product of its prior and the messages kept: else, when many of them
        # weaken later, they take away more than they ever gave.
        kept = x * _LOW if new > _HIGH else kept
        kept = x * _HIGH if new < _LOW else kept
        inverse[i + t] = kept
        new = new if new > _LOW else _LOW
        belief[w + t] = new if new < _HIGH else _HIGH


@kernel
def _sweep(
    starts: Ints,
    column: Ints,
    shift: Ints,
    lifting: int,
    signs: Floats,
    belief: Floats,
    at: Ints,
    inverse: Floats,
    y: Floats,
    product: Floats,
) -> int:
    """One iteration: every base row in turn. Returns how many checks its messages violate."""
    z = np.uint64(lifting)
    violated = np.int64(0)
    for r in range(starts.size - 1):
        first = np.int64(starts[r])
        last = np.int64(starts[r + 1])
        sign = np.uint64(r * lifting)
        for t in range(z):
            product[t] = signs[sign + t]
        for e in range(first, last):
            c = np.int64(column[e])
            row = np.uint64(2 * c * lifting)
            _bring(belief, row, z, np.int64(at[c]), np.int64(shift[e]))
            at[c] = shift[e]
            k = np.uint64((e - first) * lifting)
            _collect(belief, row + np.uint64(shift[e]), inverse, np.uint64(e * lifting), z, y, k, product)
        wrong = np.int64(0)
        for t in range(z):
            wrong += product[t] < _DOUBT
        violated += wrong
        for e in range(first, last):
            w = np.uint64(2 * np.int64(column[e]) * lifting) + np.uint64(shift[e])
            k = np.uint64((e - first) * lifting)
            _spread(belief, w, inverse, np.uint64(e * lifting), z, y, k, product)
    return violated


@kernel
def _meets(starts: Ints, column: Ints, shift: Ints, lifting: int, signs: Floats, bits: Bits, scratch: Bits) -> bool:
    """Whether the bits have the syndrome; while they are far from it the first row tells."""
    for r in range(starts.size - 1):
        _row(starts, column, shift, lifting, r, bits, scratch, np.uint64(0))
        unmet = np.int64(0)
        for t in range(np.uint64(lifting)):
            unmet += (scratch[t] != 0) != (signs[np.uint64(r * lifting) + t] < 0)
        if unmet > 0:
            return False
    return True


@kernel
def decode(
    starts: Ints,
    column: Ints,
    shift: Ints,
    lifting: int,
    signs: Floats,
    belief: Floats,
    at: Ints,
    inverse: Floats,
    limit: int,
    patience: int,
    bits: Bits,
) -> int:
    """Run until the decided bits have the wanted syndrome, or `limit` iterations, or no progress.

    Args:
        starts, column, shift, lifting: the code; every row has at least two edges, no column twice.
        signs: (rows Z,): +1 for a syndrome bit of 0, -1 for 1.
        belief: (columns 2 Z,), at: (columns,), inverse: (edges Z,): the state, carried on in place. A fresh one has the
            priors in every window, at = 0, inverse = 1.
        patience: give up after this many iterations in which the least number of violated checks did not fall.
        bits: (columns Z,): the decision, out.

    Returns:
        Iterations run; negative if the syndrome is not met.
    """
    widest = np.int64(0)
    for r in range(starts.size - 1):
        widest = max(widest, np.int64(starts[r + 1] - starts[r]))
    y = np.empty(widest * lifting, np.float32)
    product = np.empty(lifting, np.float32)
    scratch = np.empty(lifting, np.uint8)
    least = np.int64(signs.size + 1)
    since = np.int64(0)
    for iteration in range(limit):
        violated = _sweep(starts, column, shift, lifting, signs, belief, at, inverse, y, product)
        # Signs of the products cost nothing and come close to those of the decisions, which cost 3 % of an iteration.
        if 4 * violated <= signs.size:
            decide(belief, at, lifting, bits)
            if _meets(starts, column, shift, lifting, signs, bits, scratch):
                return iteration + 1
        since += 1
        if violated < least:
            least = violated
            since = 0
        if since >= patience:
            limit = iteration + 1
            break
    decide(belief, at, lifting, bits)
    return -limit


@kernel
def apart(starts: Ints, row: Ints, shift: Ints, lifting: int, candidates: Longs, taken: Bits, chosen: Longs) -> int:
    """Take candidates in their order unless one taken before shares a check; returns how many fit into `chosen`.

    Args:
        starts, row, shift: the code by columns: edges starts[c] .. starts[c + 1] - 1 of column c.
        candidates: bits, the most wanted first.
        taken: (rows Z,): checks that have a chosen bit; starts as zeros.
        chosen: the bits, out.
    """
    count = np.int64(0)
    for bit in candidates:
        c = bit // lifting
        i = bit - c * lifting
        free = True
        for e in range(starts[c], starts[c + 1]):
            # Bit i of the column is in check t of the row with t + shift = i modulo Z.
            t = i - shift[e]
            t += lifting if t < 0 else 0
            free = free and taken[row[e] * lifting + t] == 0
        if not free:
            continue
        for e in range(starts[c], starts[c + 1]):
            t = i - shift[e]
            t += lifting if t < 0 else 0
            taken[row[e] * lifting + t] = 1
        chosen[count] = bit
        count += 1
        if count == chosen.size:
            break
    return count
