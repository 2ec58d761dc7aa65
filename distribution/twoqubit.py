"""Any state of two polarisation qubits, as its single-photon Stokes vectors and their correlation matrix.

Axes are those of the Poincare sphere: 0 = H/V (Z), 1 = D/A (X), 2 = R/L (Y). An analyser's outcome 0 is a unit vector m
on that sphere, outcome 1 its opposite: linear polarisation at angle a is (cos 2a, sin 2a, 0). For outcomes x, y of
analysers m and n,

    P(x, y) = (1 + s_x m.a + s_y n.b + s_x s_y m.T n) / 4,    s = +1 for outcome 0, -1 for outcome 1

(Horodecki and Horodecki, Phys. Rev. A 54, 1838 (1996), eq. 1). What happens to one photon on its way is a linear map of
the sphere, so arms, depolarisation and a measuring eavesdropper all act on a, b and T alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError
from distribution.states import BellDiagonal

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

_PAULI = np.array([[[1, 0], [0, -1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]]])  # Z, X, Y: the axes' order
_ONE_AND_PAULI = np.concatenate([np.eye(2)[None], _PAULI])
# sigma_k (x) sigma_m, the identity first: shape (4, 4, 4, 4).
_PRODUCTS = np.array([[np.kron(p, q) for q in _ONE_AND_PAULI] for p in _ONE_AND_PAULI])
_TOLERANCE = 1e-9


def linear(angle_rad: float, ellipticity_rad: float = 0.0) -> Vector:
    """Unit vector of the polarisation at `angle_rad` from H with this ellipticity (+-pi/4 is circular), shape (3,)."""
    flat = math.cos(2.0 * ellipticity_rad)
    return np.array(
        [flat * math.cos(2.0 * angle_rad), flat * math.sin(2.0 * angle_rad), math.sin(2.0 * ellipticity_rad)]
    )


@dataclass(frozen=True, slots=True, eq=False)
class TwoQubit:
    """A two-qubit state.

    Attributes:
        alice, bob: shape (3,), Stokes vectors a and b of the single photons.
        correlation: shape (3, 3), T[k, l] = <sigma_k (x) sigma_l>, Alice's axis first.

    Raises:
        ParameterError: these belong to no state (a probability would be negative).
    """

    alice: Vector
    bob: Vector
    correlation: Matrix

    def __post_init__(self) -> None:
        lowest = float(np.linalg.eigvalsh(self.density()).min())
        if not lowest >= -_TOLERANCE:
            raise ParameterError(f"no such two-qubit state: its density matrix has the eigenvalue {lowest:.3g}")

    @classmethod
    def from_density(cls, density: npt.ArrayLike) -> TwoQubit:
        """A state from its density matrix in the basis HH, HV, VH, VV.

        Raises:
            ParameterError: not 4 x 4, not Hermitian, not of trace one, or with a negative eigenvalue.
        """
        rho = np.asarray(density, np.complex128)
        if rho.shape != (4, 4) or not np.allclose(rho, rho.conj().T, atol=_TOLERANCE):
            raise ParameterError(f"a density matrix is 4 x 4 and Hermitian; this one has shape {rho.shape}")
        if abs(np.trace(rho).real - 1.0) > _TOLERANCE:
            raise ParameterError(f"a density matrix has trace 1, this one {np.trace(rho).real:.9g}")
        means = np.einsum("ij,kmji->km", rho, _PRODUCTS).real
        return cls(means[1:, 0], means[0, 1:], means[1:, 1:])

    @classmethod
    def from_bell_diagonal(cls, state: BellDiagonal) -> TwoQubit:
        """A mixture of the four Bell states."""
        phi_plus, phi_minus, psi_plus, psi_minus = state.weights
        yy = -phi_plus + phi_minus + psi_plus - psi_minus
        return cls(np.zeros(3), np.zeros(3), np.diag([state.correlation_z, state.correlation_x, yy]))

    def density(self) -> npt.NDArray[np.complex128]:
        """Density matrix in the basis HH, HV, VH, VV, shape (4, 4)."""
        weight = np.ones((4, 4), np.complex128)
        weight[1:, 0], weight[0, 1:], weight[1:, 1:] = self.alice, self.bob, self.correlation
        return np.asarray(np.tensordot(weight, _PRODUCTS, axes=2) / 4.0, np.complex128)

    def mapped(self, alice: Matrix | None = None, bob: Matrix | None = None) -> TwoQubit:
        """The state after each photon's Stokes vector went through a linear map, shape (3, 3); None leaves it alone.

        A rotation is a retarder or a turned fibre, a multiple of the identity below one depolarises, a projector on an
        axis is a measurement along it and a fresh photon in the state found.
        """
        a, b, t = self.alice, self.bob, self.correlation
        if alice is not None:
            a, t = alice @ a, alice @ t
        if bob is not None:
            b, t = bob @ b, t @ bob.T
        return TwoQubit(a, b, t)

    def mixed(self, other: TwoQubit, share: float) -> TwoQubit:
        """A mixture: `other` with probability `share`, this state else."""
        keep = 1.0 - share
        return TwoQubit(
            keep * self.alice + share * other.alice,
            keep * self.bob + share * other.bob,
            keep * self.correlation + share * other.correlation,
        )

    def probabilities(self, alice: Vector, bob: Vector) -> Matrix:
        """Joint probabilities of the outcomes of two analysers, shape (2, 2), Alice's outcome first.

        Args:
            alice, bob: shape (3,), unit vector of each analyser's outcome 0.
        """
        sign = np.array([1.0, -1.0])
        single_a, single_b = float(alice @ self.alice), float(bob @ self.bob)
        joint = float(alice @ self.correlation @ bob)
        table = 1.0 + sign[:, None] * single_a + sign[None, :] * single_b + np.outer(sign, sign) * joint
        clipped: Matrix = np.maximum(table, 0.0) / 4.0  # takes away rounding of order 1e-17
        return clipped
