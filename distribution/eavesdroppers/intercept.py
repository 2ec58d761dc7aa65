"""Intercept-resend on Bob's arm: the attack that every demonstration needs, with exact joint statistics.

Eve takes a photon, measures it in one of her bases, and sends Bob a fresh photon in the state she found: a projection
of the photon's Stokes vector on the axis she measured along, the rest of the link as it was. On a perfect pair
measured in matching bases the correlation is whole when Eve chose the same basis and gone if hers is unbiased to it:
25 % errors if she takes every photon and chooses between two (Bennett and Brassard 1984; Bennett, Brassard and Mermin
1992 for pairs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from distribution.bounds import require
from distribution.errors import ParameterError
from distribution.outcomes import LinkOptics, LinkOutcomes, noise_outcomes, pair_outcomes
from distribution.twoqubit import Matrix, linear

BOTH_BASES = (0.0, math.pi / 4)
"""Z and X: directions of the polarisation that gives Eve outcome 0, radians from H."""
BREIDBART = (math.pi / 8,)
"""Halfway between them: as many errors, and Eve guesses both bases' bits right in cos^2(pi/8) = 85 % (Bennett et al.,
J. Cryptology 5, 3 (1992), section 3)."""


@dataclass(frozen=True, slots=True)
class InterceptResend:
    """Eve on Bob's arm, at its beginning: she measures a fraction of the photons and resends what she found.

    Attributes:
        fraction: share of the photons that she takes, in [0, 1].
        bases_rad: angles of the linear polarisers that she chooses between with equal chance.

    Raises:
        ParameterError: the fraction is not in [0, 1], or she has no basis.
    """

    fraction: float
    bases_rad: tuple[float, ...] = BOTH_BASES

    def __post_init__(self) -> None:
        require("intercept fraction", self.fraction, 0.0, 1.0)
        if not self.bases_rad:
            raise ParameterError("an eavesdropper who measures needs a basis")

    @property
    def stokes_map(self) -> Matrix:
        """What she does to the Stokes vector of a photon of Bob's, on average, shape (3, 3)."""
        axes = [linear(angle) for angle in self.bases_rad]
        projected: Matrix = sum((np.outer(m, m) for m in axes), np.zeros((3, 3))) / len(axes)
        return (1.0 - self.fraction) * np.eye(3) + self.fraction * projected

    def outcomes(self, optics: LinkOptics) -> LinkOutcomes:
        """See `distribution.outcomes.Eavesdropper`."""
        attacked = LinkOptics(optics.state.mapped(bob=self.stokes_map), optics.alice, optics.bob)
        return LinkOutcomes(pair_outcomes(attacked), noise_outcomes(attacked))
