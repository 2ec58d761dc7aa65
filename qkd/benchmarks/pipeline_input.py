"""What `qkd bench pipeline` feeds to the engines: sifted blocks, or the tags of a link that they can be sifted from.

The tags are no simulation of a link (that is `distribution.simulate`) but the least that sifting works on in full:
Poisson pairs, of which each station misses some, Gaussian jitter, two clocks apart by a constant and a drift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from distribution.tags import TimeTags
from distribution.units import PS_PER_S
from qkd.sifting import SiftedBlock

# Coincidences a second in the recording; with a heralding of 0.3, a million clicks a second at each station.
PAIRS_PER_S = 300_000.0
JITTER_PS = 100.0
OFFSET_PS, DRIFT = 123_456_789, 1e-6


def sifted_blocks(rng: Generator, bits: int, qber: float, seconds: float) -> tuple[SiftedBlock, SiftedBlock]:
    """Alice's and Bob's block, both bases equally often, errors independent.

    Args:
        rng: of bits, bases and errors.
        bits: of both bases together.
        qber: probability of an error.
        seconds: how long the block is said to have taken to detect.
    """
    basis, alice = (rng.integers(0, 2, bits, dtype=np.uint8) for _ in range(2))
    bob = alice ^ (rng.random(bits) < qber).astype(np.uint8)
    return (
        SiftedBlock(basis, alice, 2 * bits, 0, 2 * bits, ended=False, seconds=seconds),
        SiftedBlock(basis, bob, 2 * bits, 0, -1, ended=False, seconds=seconds),
    )


@dataclass(frozen=True, slots=True)
class Recording:
    """Tags of both stations, Bob's on his own clock."""

    alice: TimeTags
    bob: TimeTags


def recording(rng: Generator, sifted_bits: int, qber: float, heralding: float) -> Recording:
    """Tags that sift to about `sifted_bits`: in half of the coincidences the bases are equal.

    Args:
        rng: of everything.
        sifted_bits: expected.
        qber: probability of an error of a pair; accidentals and double clicks add some.
        heralding: share of a station's clicks that belong to a coincidence, 0 < heralding <= 1.
    """
    pairs = 2 * sifted_bits
    alone = round(pairs * (1.0 / heralding - 1.0))
    span_ps = pairs / PAIRS_PER_S * PS_PER_S
    t_ps = rng.random(pairs) * span_ps
    basis_a, basis_b, bit = (rng.integers(0, 2, pairs, dtype=np.uint8) for _ in range(3))
    wrong = np.where(basis_a == basis_b, rng.random(pairs) < qber, rng.random(pairs) < 0.5).astype(np.uint8)
    at_alice = _station(rng, t_ps, 2 * basis_a + bit, alone, span_ps)
    at_bob = _station(rng, t_ps, 2 * basis_b + (bit ^ wrong), alone, span_ps)
    shifted = at_bob.t_ps + np.rint(at_bob.t_ps * DRIFT).astype(np.int64) + OFFSET_PS
    return Recording(at_alice, TimeTags(shifted, at_bob.channel))


def _station(
    rng: Generator, t_ps: npt.NDArray[np.float64], detector: npt.NDArray[np.uint8], alone: int, span_ps: float
) -> TimeTags:
    """Clicks of the pairs and `alone` others, in order."""
    times = np.concatenate([t_ps + rng.normal(0.0, JITTER_PS, t_ps.size), rng.random(alone) * span_ps])
    channel = np.concatenate([detector, rng.integers(0, 4, alone, dtype=np.uint8)])
    order = np.argsort(times)
    return TimeTags(np.rint(times[order]).astype(np.int64), channel[order])
