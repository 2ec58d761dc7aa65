"""What only a simulator knows: which tags belong together, why each came about, and how the two clocks really run.

Kept apart from the tags so that no protocol can reach it by accident.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from distribution.timeline import Line, Segment

Numbers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]


class Cause(IntEnum):
    """Why a tag came about; the codes of the kernels."""

    PHOTON = 0
    NOISE = 1
    AFTERPULSE = 2


@dataclass(frozen=True, slots=True, eq=False)
class ClockTruth:
    """How the two clocks show the same light, segment by segment.

    Attributes:
        whole_ps: shape (segments, 2), int64, readings of Alice's and Bob's clock at each segment's start, whole ps.
        line: shape (segments, 2, 3), float64: fraction, rate less 1 and half the bend (per ps) of each reading.
    """

    whole_ps: Numbers
    line: npt.NDArray[np.float64]

    def delay_ps(self, alice_ps: npt.ArrayLike) -> Numbers:
        """Bob's reading less Alice's of the same light, arms' delays included, when Alice's clock shows `alice_ps`.

        Args:
            alice_ps: shape (n,), times on Alice's clock.

        Returns:
            shape (n,), int64, ps, rounded.
        """
        at_alice = np.asarray(alice_ps, np.int64)
        k = np.maximum(np.searchsorted(self.whole_ps[:, 0], at_alice, side="right") - 1, 0)
        after = (at_alice - self.whole_ps[k, 0]).astype(np.float64) - self.line[k, 0, 0]
        t = after
        for _ in range(3):  # Newton's method without the derivative: the rate is 1 to a part in a thousand
            t = after - t * (self.line[k, 0, 1] + self.line[k, 0, 2] * t)
        ahead = self.line[k, 1, 0] - self.line[k, 0, 0]
        ahead += t * (self.line[k, 1, 1] - self.line[k, 0, 1] + t * (self.line[k, 1, 2] - self.line[k, 0, 2]))
        whole: Numbers = self.whole_ps[k, 1] - self.whole_ps[k, 0] + np.rint(ahead).astype(np.int64)
        return whole


def clock_truth(segments: list[Segment]) -> ClockTruth:
    """The truth that a chain of segments holds."""
    whole = np.array([[line.whole_ps for line in s.lines] for s in segments], np.int64).reshape(-1, 2)
    line = np.array([[(n.fraction_ps, n.excess, n.bend) for n in s.lines] for s in segments]).reshape(-1, 2, 3)
    return ClockTruth(whole, line)


def offset_and_drift(alice: Line, bob: Line) -> tuple[int, float]:
    """What Bob's clock shows when Alice's shows 0, ps, and how much faster it runs, both extrapolated from here."""
    drift = (bob.excess - alice.excess) / (1.0 + alice.excess)
    fraction = bob.fraction_ps - alice.fraction_ps
    return bob.whole_ps - alice.whole_ps + round(fraction - alice.whole_ps * drift), drift


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The truth about all tags handed out.

    Attributes:
        alice_pair, bob_pair: shape of the tags handed out, int64: number of the pair whose other photon made a click
            at the other station as well, -1 for a click without such a partner (lone photon, second click of one
            side, noise, afterpulse). The partner may have been lost to dead time since.
        alice_cause, bob_cause: shape of the tags, uint8, see Cause.
        alice_lost_ps, bob_lost_ps: times of clicks that the tagger's full buffer dropped, int64: its gaps.
        offset_ps: Bob's clock reads offset_ps + (1 + drift_ppm * 1e-6) * t for the same light when Alice's reads t,
            as things are at the start: delays of the arms are part of it.
        drift_ppm: how much faster Bob's clock runs than Alice's at the start, Doppler shift included.
        clocks: how it goes on.
    """

    alice_pair: Numbers
    bob_pair: Numbers
    alice_cause: Codes
    bob_cause: Codes
    alice_lost_ps: Numbers
    bob_lost_ps: Numbers
    offset_ps: int
    drift_ppm: float
    clocks: ClockTruth

    def partners(self) -> tuple[Numbers, Numbers]:
        """Indices of Alice's and Bob's tags that stem from the same pair, in order of emission."""
        at_alice, at_bob = np.nonzero(self.alice_pair >= 0)[0], np.nonzero(self.bob_pair >= 0)[0]
        _, i, j = np.intersect1d(
            self.alice_pair[at_alice], self.bob_pair[at_bob], assume_unique=True, return_indices=True
        )
        return at_alice[i], at_bob[j]
