"""From the source to the clicks: an analyser per station, and the table of what one pair can do.

A passive analyser sends a photon to the Z or the X polariser at random and on to one of four detectors,
numbered 0 = H, 1 = V, 2 = D, 3 = A (basis = channel >> 1, bit = channel & 1). Loss, the detectors'
efficiencies, misalignment and an eavesdropper all enter one 5 x 5 table of probabilities per emitted pair;
index 4 means "no click".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from distribution.bounds import require
from distribution.states import Basis, Correlations

DETECTORS = 4
NO_CLICK = 4


class Analyser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Passive two-basis polarisation analyser.

    Attributes:
        z_share: fraction of photons that are measured in Z.
        z_error_deg, x_error_deg: how far the polariser of each basis is turned from 0 and 45 degrees.
    """

    z_share: float = 0.5
    z_error_deg: float = 0.0
    x_error_deg: float = 0.0

    def __post_init__(self) -> None:
        require("z_share", self.z_share, 0.0, 1.0)
        require("z_error_deg", self.z_error_deg, -90.0, 90.0)
        require("x_error_deg", self.x_error_deg, -90.0, 90.0)

    def share(self, basis: Basis) -> float:
        """Fraction of photons measured in `basis`."""
        return self.z_share if basis is Basis.Z else 1.0 - self.z_share

    def angle_rad(self, basis: Basis) -> float:
        """Direction of the polarisation that gives outcome 0, radians from H."""
        return math.radians(self.z_error_deg if basis is Basis.Z else 45.0 + self.x_error_deg)


def outcome_table(
    state: Correlations,
    alice: Analyser,
    bob: Analyser,
    alice_efficiency: Sequence[float],
    bob_efficiency: Sequence[float],
) -> npt.NDArray[np.float64]:
    """Probability of every joint outcome of one emitted pair.

    Args:
        state: what the two analysers see, eavesdropper included.
        alice, bob: the analysers.
        alice_efficiency, bob_efficiency: four numbers each, the chance that a photon bound for that detector
            makes it click: transmittance of the arm times efficiency of the detector.

    Returns:
        shape (5, 5): [i, j] = Alice's detector i and Bob's detector j; index 4 = no click. Adds up to 1.
    """
    table = np.zeros((DETECTORS + 1, DETECTORS + 1))
    lone_a, lone_b = np.zeros(DETECTORS), np.zeros(DETECTORS)
    for i in range(DETECTORS):
        basis_a, sign_a = Basis(i >> 1), 1 - 2 * (i & 1)
        lone_a[i] = alice.share(basis_a) / 2.0 * alice_efficiency[i]
        lone_b[i] = bob.share(basis_a) / 2.0 * bob_efficiency[i]
        for j in range(DETECTORS):
            basis_b, sign_b = Basis(j >> 1), 1 - 2 * (j & 1)
            e = sign_a * sign_b * state.correlator(alice.angle_rad(basis_a), bob.angle_rad(basis_b))
            reach = alice.share(basis_a) * bob.share(basis_b) * alice_efficiency[i] * bob_efficiency[j]
            table[i, j] = reach * (1.0 + e) / 4.0
    # Bell-diagonal states give unbiased outcomes, so each side alone is independent of the other's analyser.
    # The clip takes away rounding of order 1e-17 when an efficiency is 1.
    table[:DETECTORS, NO_CLICK] = np.maximum(lone_a - table[:DETECTORS, :DETECTORS].sum(axis=1), 0.0)
    table[NO_CLICK, :DETECTORS] = np.maximum(lone_b - table[:DETECTORS, :DETECTORS].sum(axis=0), 0.0)
    table[NO_CLICK, NO_CLICK] = max(1.0 - table.sum(), 0.0)
    return table
