"""Random words inside kernels: xoshiro256++ (Blackman and Vigna 2021), and a hash for choices that must be repeatable.

numba's cache does not see that a kernel elsewhere has inlined a function of this file: clear it after an edit here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distribution.kernels._jit import inlined, kernel

_U11 = np.uint64(11)
_U17 = np.uint64(17)
# To floating point by way of signed integers: the processor converts those in one step.
_TO_UNIT = 1.0 / 9007199254740992.0


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
def stepped(s0: Any, s1: Any, s2: Any, s3: Any) -> Any:
    """The same for a state that an inner loop holds in registers: the word and the new state."""
    total = s0 + s3
    word = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    shifted = s1 << _U17
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    s3 = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    return word, s0, s1, s2, s3


@inlined
def next_unit(state: Any) -> Any:
    """A float64 in [0, 1)."""
    return np.float64(np.int64(next_word(state) >> _U11)) * _TO_UNIT


@kernel
def basis_of_slot(time_ps: Any, slot_ps: Any, seed: Any, shares: Any) -> Any:
    """Basis that an active analyser is turned to: a hash of the slot's number (splitmix64; Steele et al. 2014).

    slot_ps int64; seed uint64; shares float64[bases], cumulated.
    """
    z = seed + np.uint64(time_ps // slot_ps) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    u = np.float64(np.int64((z ^ (z >> np.uint64(31))) >> _U11)) * _TO_UNIT
    basis = 0
    while basis < shares.size - 1 and u >= shares[basis]:
        basis += 1
    return basis
