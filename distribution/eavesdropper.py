"""Intercept-resend on Bob's arm: the attack that every demonstration needs, with exact joint statistics.

Eve takes a photon, measures it in Z or X with equal chance, and sends Bob a fresh photon in the state she
found. With her polariser at angle m, the pair of Alice's and Bob's outcomes then has the correlator E(a, m)
cos 2(b - m): the source's correlation up to Eve, Malus' law from Eve to Bob. Single outcomes stay unbiased,
so the correlator is all that changes. On a perfect pair measured in matching bases it is 1 when Eve chose the
same basis and 0 otherwise: 25 % errors if she takes every photon (Bennett and Brassard 1984; Bennett,
Brassard and Mermin 1992 for pairs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from distribution.bounds import require
from distribution.states import Correlations

_EVE_RAD = (0.0, math.pi / 4)


@dataclass(frozen=True, slots=True)
class InterceptResend:
    """What two analysers see when Eve intercepts a fraction of the photons on Bob's arm.

    Attributes:
        state: the pairs as they leave the source.
        fraction: share of the photons that Eve measures and resends, in [0, 1].
    """

    state: Correlations
    fraction: float

    def __post_init__(self) -> None:
        require("intercept fraction", self.fraction, 0.0, 1.0)

    def correlator(self, alice_rad: float, bob_rad: float) -> float:
        """E at two analyser angles (radians, H = 0), averaged over what Eve does."""
        resent = sum(self.state.correlator(alice_rad, m) * math.cos(2 * (bob_rad - m)) for m in _EVE_RAD) / 2.0
        return (1.0 - self.fraction) * self.state.correlator(alice_rad, bob_rad) + self.fraction * resent
