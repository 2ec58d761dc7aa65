"""Time shift: Eve moves photons to where Bob's detectors are unequally sensitive, and learns from that who clicked.

A gated detector's efficiency depends on when the photon comes, and no two detectors have the same gate. Eve never
measures: she sends Bob's photon through a shorter or a longer path at random, early where one detector is the better
one and late where the other is. A click then comes more probably from the favoured detector, so that outcome and
arrival time are correlated; that is all there is to see, the error rate stays as it was. With efficiencies 1 and r
she guesses the bit of an attacked pair with probability 1 / (1 + r) and the outcomes, both halves together, stay
unbiased (Qi, Fung, Lo and Ma, Quantum Inf. Comput. 7, 73 (2007), quant-ph/0512080; the mismatch first in Makarov,
Anisimov and Skaar, Phys. Rev. A 74, 022313 (2006); done to a commercial system by Zhao et al., Phys. Rev. A 78,
042333 (2008)).
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from distribution.bounds import require
from distribution.errors import ParameterError
from distribution.outcomes import LinkOptics, LinkOutcomes, OutcomeSet, joined, noise_outcomes, pair_outcomes


class TimeShift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time shift on Bob's arm.

    Attributes:
        fraction: share of the pairs whose second photon she shifts, in [0, 1]; half of them early, half late.
        shift_ps: by how much, either way, ps.
        early, late: per detector of Bob, what the shift leaves of its efficiency, in [0, 1].
    """

    fraction: float = 1.0
    shift_ps: float = 300.0
    early: tuple[float, ...] = (1.0, 0.5, 1.0, 0.5)
    late: tuple[float, ...] = (0.5, 1.0, 0.5, 1.0)

    def __post_init__(self) -> None:
        require("fraction", self.fraction, 0.0, 1.0)
        require("shift_ps", self.shift_ps, 0.0, 1e5)
        for name, factors in (("early", self.early), ("late", self.late)):
            for factor in factors:
                require(name, factor, 0.0, 1.0)

    def outcomes(self, optics: LinkOptics) -> LinkOutcomes:
        """See Eavesdropper; raises ParameterError when Bob has another number of detectors."""
        half = self.fraction / 2.0
        pairs = joined(
            pair_outcomes(optics).scaled(1.0 - self.fraction),
            self._shifted(optics, self.early, -self.shift_ps).scaled(half),
            self._shifted(optics, self.late, self.shift_ps).scaled(half),
        )
        return LinkOutcomes(pairs, noise_outcomes(optics))

    def _shifted(self, optics: LinkOptics, factors: tuple[float, ...], late_ps: float) -> OutcomeSet:
        if len(factors) != optics.bob.detectors:
            raise ParameterError(
                f"time shift: {len(factors)} efficiency factors for {optics.bob.detectors} detectors",
                hint="give early and late one number per detector of Bob",
            )
        bob = replace(optics.bob, efficiency=optics.bob.efficiency * np.array(factors))
        return pair_outcomes(replace(optics, bob=bob)).delayed(bob_ps=late_ps)
