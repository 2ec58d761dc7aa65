"""A continuously pumped pair source: a Poisson process of pairs, every one in the same two-qubit state.

Poisson holds when the coherence time of the photons (a ps or less) is far below every time that the detectors
resolve; several pairs inside one coincidence window then come about by themselves and need no formula.
"""

from __future__ import annotations

import msgspec

from distribution.bounds import require
from distribution.states import BellDiagonal, BellState


class PairSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Polarisation-entangled SPDC source.

    Attributes:
        pairs_per_s: pairs emitted into the two arms, before any loss.
        state: Bell state that the source aims at.
        visibility_z, visibility_x: polarisation visibility in H/V and D/A, in [0, 1].
    """

    pairs_per_s: float
    state: BellState = BellState.PHI_PLUS
    visibility_z: float = 1.0
    visibility_x: float = 1.0

    def __post_init__(self) -> None:
        require("pairs_per_s", self.pairs_per_s, 1e-3, 1e10)
        require("visibility_z", self.visibility_z, 0.0, 1.0)
        require("visibility_x", self.visibility_x, 0.0, 1.0)

    @property
    def quantum_state(self) -> BellDiagonal:
        """The state of every pair."""
        return BellDiagonal.from_visibilities(self.state, self.visibility_z, self.visibility_x)
