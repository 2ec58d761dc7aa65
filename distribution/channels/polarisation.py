"""What a fibre does to polarisation: a rotation of the Poincare sphere that wanders, and the little that PMD erases.

Everything is a real 3 x 3 map of the Stokes vector with the axes of `distribution.twoqubit`: H/V, D/A, R/L. The fibre's
rotation at the start is one that somebody has compensated: none, unless a start rotation is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from distribution.bounds import require
from distribution.errors import ParameterError

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

_STEP_RAD = 0.03  # root mean square turn per axis and step: a step's constant rotation is off by half of that
_STEP_BOUNDS_S = (1e-3, 1.0)


def rotation(vector_rad: Vector) -> Matrix:
    """Rotation of the sphere about a vector by its length (Rodrigues' formula).

    Args:
        vector_rad: shape (3,), axis times angle, radians on the Poincare sphere (twice the turn of a polariser).

    Returns:
        shape (3, 3), orthogonal.
    """
    angle = float(np.linalg.norm(vector_rad))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector_rad / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turned: Matrix = np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross
    return turned


class PolarisationDrift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fibre's rotation of polarisation, isotropic random walk from a given start.

    The walk is that of Czegledi, Karlsson, Agrell, Johannisson, Sci. Rep. 6, 21217 (2016): each instant's small
    rotation is independent and has no preferred axis. Per step it is exp of a Gaussian vector, so the mean map after
    time t is exp(-rate^2 t) times the identity: with the arms aligned at the start, so much of the visibility is left.

    Attributes:
        start_deg: rotation at the start, axis times angle on the Poincare sphere, degrees; components along the H/V,
            D/A and R/L axes. A fibre turned by a about the light's direction is (0, 0, 2a).
        rate_rad_per_sqrt_s: standard deviation per axis, radians on the sphere, after one second. A quarter of the
            visibility is gone after 0.29 / rate^2: 0.01 is a calm cable over some 50 minutes, 0.3 one in the wind.
        time_constant_s: instead of the rate, after what time 1/e of the visibility is left: 1 / rate^2.
    """

    start_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rate_rad_per_sqrt_s: float = 0.0
    time_constant_s: float | None = None

    def __post_init__(self) -> None:
        for angle in self.start_deg:
            require("start_deg", angle, -360.0, 360.0)
        require("rate_rad_per_sqrt_s", self.rate_rad_per_sqrt_s, 0.0, 100.0)
        if self.time_constant_s is not None:
            require("time_constant_s", self.time_constant_s, 1e-4, 1e9)
            if self.rate_rad_per_sqrt_s:
                raise ParameterError(
                    f"give rate_rad_per_sqrt_s = {self.rate_rad_per_sqrt_s} or time_constant_s ="
                    f" {self.time_constant_s}, not both"
                )

    @property
    def rate(self) -> float:
        """Standard deviation per axis after one second, rad, however it was given."""
        given = self.time_constant_s
        return self.rate_rad_per_sqrt_s if given is None else 1.0 / math.sqrt(given)

    @property
    def step_s(self) -> float | None:
        """How often the rotation must be looked at; None when it stays."""
        if not self.rate:
            return None
        low, high = _STEP_BOUNDS_S
        return min(max((_STEP_RAD / self.rate) ** 2, low), high)

    def mean_map(self, t_s: float) -> float:
        """Share of the aligned correlation that is left after `t_s` on average over many fibres."""
        return math.exp(-(self.rate**2) * t_s)


@dataclass(slots=True)
class PolarisationWalk:
    """One course of a drift, in steps of equal length.

    Args:
        drift: its law.
        step_s: length of a step, s.
        rng: where the walk comes from.
    """

    drift: PolarisationDrift
    step_s: float
    rng: np.random.Generator
    _map: Matrix = field(init=False)
    _number: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._map = rotation(np.radians(self.drift.start_deg))

    def at_step(self, number: int) -> Matrix:
        """Rotation during step `number` (0 = first); never asked backwards. Shape (3, 3)."""
        spread = self.drift.rate * math.sqrt(self.step_s)
        while spread and self._number < number:
            self._map = rotation(self.rng.normal(0.0, spread, 3)) @ self._map
            self._number += 1
        return self._map


@dataclass(frozen=True, slots=True)
class ModeDispersion:
    """First-order polarisation mode dispersion of a fibre with much mode coupling.

    The differential group delay and the principal state together are a vector whose components are independent
    Gaussians, so its length is Maxwell distributed (Foschini and Poole, J. Lightwave Technol. 9, 1439 (1991)). Light
    whose angular frequency spreads by sigma is turned about that vector by as many angles: what is left across it is
    exp(-sigma^2 tau^2 / 2), what lies along it is left alone (Gordon and Kogelnik, PNAS 97, 4541 (2000), section 3).

    Attributes:
        mean_dgd_ps: mean differential group delay, ps.
        sigma_rad_per_ps: standard deviation of the photons' angular frequency, rad/ps.
    """

    mean_dgd_ps: float
    sigma_rad_per_ps: float

    @property
    def component_ps(self) -> float:
        """Standard deviation of each component of the vector: a Maxwell variable's mean is sqrt(8/pi) of it."""
        return self.mean_dgd_ps * math.sqrt(math.pi / 8.0)

    @property
    def mean_across(self) -> float:
        """Mean of exp(-sigma^2 tau^2 / 2) over fibres, in closed form."""
        return float((1.0 + (self.sigma_rad_per_ps * self.component_ps) ** 2) ** -1.5)

    def draw(self, rng: np.random.Generator) -> Matrix:
        """What one fibre, whose vector is drawn, leaves of the Stokes vector: shape (3, 3), symmetric."""
        vector = rng.normal(0.0, 1.0, 3) * self.component_ps
        delay_ps = float(np.linalg.norm(vector))
        if not delay_ps or not self.sigma_rad_per_ps:
            return np.eye(3)
        axis = vector / delay_ps
        across = math.exp(-((self.sigma_rad_per_ps * delay_ps) ** 2) / 2.0)
        left: Matrix = across * np.eye(3) + (1.0 - across) * np.outer(axis, axis)
        return left
