"""Two-qubit states as the distribution layer sees them: which Bell state is aimed at, and what it predicts.

Outcomes are bits: 0 = H or D, 1 = V or A. Z is the H/V basis, X the D/A basis. A linear analyser at angle a
    sends polarisation a to outcome 0 and a + 90 degrees to outcome 1; H is 0, D is 45 degrees.

All states here are Bell-diagonal: their single-photon outcomes are unbiased, so one number per pair of
analyser angles, the correlator E = P(equal) - P(different), says everything that linear analysers can see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from distribution.bounds import require
from distribution.errors import ParameterError


class Basis(Enum):
    """Measurement basis of a polarisation analyser."""

    Z = 0
    X = 1


class BellState(Enum):
    """The four Bell states; `anticorrelated` says in which basis the two outcomes are opposite."""

    PHI_PLUS = "phi+"
    PHI_MINUS = "phi-"
    PSI_PLUS = "psi+"
    PSI_MINUS = "psi-"

    def anticorrelated(self, basis: Basis) -> bool:
        """True if ideal outcomes are opposite in `basis` (H/V: the Psi states; D/A: the minus states)."""
        if basis is Basis.Z:
            return self in (BellState.PSI_PLUS, BellState.PSI_MINUS)
        return self in (BellState.PHI_MINUS, BellState.PSI_MINUS)


def _signs(state: BellState) -> tuple[int, int]:
    """Signs of <ZZ> and <XX> of a pure Bell state."""
    return (-1 if state.anticorrelated(Basis.Z) else 1, -1 if state.anticorrelated(Basis.X) else 1)


@dataclass(frozen=True, slots=True)
class BellDiagonal:
    """A mixture of the four Bell states.

    Attributes:
        weights: probabilities of Phi+, Phi-, Psi+, Psi-; they add up to 1.

    Raises:
        ParameterError: a weight is negative or the sum is not 1.
    """

    weights: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        for state, weight in zip(BellState, self.weights, strict=True):
            require(f"weight of {state.value}", weight, 0.0, 1.0)
        if abs(sum(self.weights) - 1.0) > 1e-9:
            raise ParameterError(f"weights of the four Bell states add up to {sum(self.weights)}, not to 1")

    @classmethod
    def from_visibilities(cls, target: BellState, visibility_z: float, visibility_x: float) -> BellDiagonal:
        """`target` with independent bit and phase flips that leave these visibilities.

        The two visibilities leave <YY> open, which linear analysers do not see; independent flips,
        <YY> = -<ZZ><XX>, are a state for every pair of visibilities.

        Args:
            target: the Bell state aimed at.
            visibility_z, visibility_x: (max - min)/(max + min) in H/V and D/A, in [0, 1]; QBER = (1 - V)/2.
        """
        require("visibility_z", visibility_z, 0.0, 1.0)
        require("visibility_x", visibility_x, 0.0, 1.0)
        z_target, x_target = _signs(target)
        z, x = z_target * visibility_z, x_target * visibility_x
        weights = [(1.0 + sz * z) * (1.0 + sx * x) / 4.0 for sz, sx in map(_signs, BellState)]
        return cls((weights[0], weights[1], weights[2], weights[3]))

    @classmethod
    def werner(cls, target: BellState, fidelity: float) -> BellDiagonal:
        """`target` with this fidelity (squared overlap); the other Bell states share the rest equally."""
        require("fidelity", fidelity, 0.0, 1.0)
        weights = [fidelity if state is target else (1.0 - fidelity) / 3.0 for state in BellState]
        return cls((weights[0], weights[1], weights[2], weights[3]))

    def fidelity(self, target: BellState) -> float:
        """Squared overlap with a Bell state."""
        return self.weights[list(BellState).index(target)]

    @property
    def correlation_z(self) -> float:
        """<ZZ>, in [-1, 1]."""
        return sum(w * _signs(state)[0] for w, state in zip(self.weights, BellState, strict=True))

    @property
    def correlation_x(self) -> float:
        """<XX>, in [-1, 1]."""
        return sum(w * _signs(state)[1] for w, state in zip(self.weights, BellState, strict=True))

    @property
    def chsh_max(self) -> float:
        """Largest CHSH value that linear analysers can reach: 2 sqrt(<ZZ>^2 + <XX>^2) (Horodecki 1995)."""
        return 2.0 * math.hypot(self.correlation_z, self.correlation_x)

    def correlator(self, alice_rad: float, bob_rad: float) -> float:
        """E = <ZZ> cos 2a cos 2b + <XX> sin 2a sin 2b at analyser angles a, b (radians, H = 0)."""
        return self.correlation_z * math.cos(2 * alice_rad) * math.cos(2 * bob_rad) + (
            self.correlation_x * math.sin(2 * alice_rad) * math.sin(2 * bob_rad)
        )
