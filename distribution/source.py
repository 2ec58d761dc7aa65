"""A pair source: when pairs are emitted and how many together, all in the same two-qubit state.

Pumped continuously it is a Poisson process. The bunching of thermal light does not show: it lasts one coherence time
(a ps or less), so a window of w holds about w over the coherence time modes and the number of pairs in it deviates
from Poisson's law by that fraction, 1e-3 for a nanosecond, and less than that of accidentals.

Pumped by pulses, a pulse holds a negative binomial number of pairs with one parameter, the number K of equally strong
modes: K = 1 is thermal light, two polarisation modes of one spectral mode give K = 2, infinity is Poisson. A pulse's
pairs are independent in polarisation. Thinned by loss, a negative binomial number stays one with the same K.
"""

from __future__ import annotations

import math
from enum import Enum

import msgspec

from distribution.bounds import require
from distribution.errors import ParameterError
from distribution.states import BellDiagonal, BellState
from distribution.twoqubit import TwoQubit

MAX_MEAN_PAIRS = 10.0


class Statistics(Enum):
    """Law of the number of pairs in a pulse."""

    POISSON = "poisson"
    THERMAL = "thermal"
    MODES = "modes"


class Pulses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pulsed pump.

    Attributes:
        rate_hz: pulses per second.
        width_ps: standard deviation of a pair's emission time within its pulse.
        statistics: law of the number of pairs in a pulse.
        modes: number K of equally strong modes, for statistics = "modes" only; the effective (Schmidt) number of a
            source with unequal ones gives the same second moment.
    """

    rate_hz: float
    width_ps: float = 0.0
    statistics: Statistics = Statistics.POISSON
    modes: float | None = None

    def __post_init__(self) -> None:
        require("rate_hz", self.rate_hz, 1e3, 1e11)
        require("width_ps", self.width_ps, 0.0, 10_000.0)
        if (self.modes is None) == (self.statistics is Statistics.MODES):
            raise ParameterError(f'modes = {self.modes} with statistics = "{self.statistics.value}": give the number')
        if self.modes is not None:
            require("modes", self.modes, 0.1, 1e6)

    @property
    def period_ps(self) -> float:
        """Time between pulses, ps."""
        return 1e12 / self.rate_hz

    @property
    def mode_number(self) -> float:
        """K; infinite for Poisson."""
        if self.statistics is Statistics.POISSON:
            return math.inf
        return 1.0 if self.modes is None else self.modes


class PairSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Polarisation-entangled SPDC source.

    Attributes:
        pairs_per_s: pairs emitted into the two arms, before any loss.
        state: Bell state that the source aims at; says which outcomes are errors.
        visibility_z, visibility_x: polarisation visibility in H/V and D/A, in [0, 1].
        fidelity: instead of both: a Werner state with this fidelity to `state`.
        density_real, density_imag: instead of all three: density matrix, 4 rows of 4, in the basis HH, HV, VH, VV.
        heralding_a, heralding_b: chance that a photon of a pair is collected into its arm at all.
        pulses: None for a continuous pump.
    """

    pairs_per_s: float
    state: BellState = BellState.PHI_PLUS
    visibility_z: float = 1.0
    visibility_x: float = 1.0
    fidelity: float | None = None
    density_real: tuple[tuple[float, ...], ...] = ()
    density_imag: tuple[tuple[float, ...], ...] = ()
    heralding_a: float = 1.0
    heralding_b: float = 1.0
    pulses: Pulses | None = None

    def __post_init__(self) -> None:
        require("pairs_per_s", self.pairs_per_s, 1e-3, 1e10)
        for name in ("visibility_z", "visibility_x", "heralding_a", "heralding_b"):
            require(name, getattr(self, name), 0.0, 1.0)
        given = [self.fidelity is not None, bool(self.density_real), (self.visibility_z, self.visibility_x) != (1, 1)]
        if sum(given) > 1 or (self.density_imag and not self.density_real):
            raise ParameterError("give visibilities, or a fidelity, or a density matrix (real, and imaginary if any)")
        if self.pulses is not None:
            require("pairs_per_s / pulses.rate_hz", self.mean_pairs, 0.0, MAX_MEAN_PAIRS)
        self.quantum_state  # noqa: B018  (an impossible matrix is refused here, not at the first use)

    @property
    def mean_pairs(self) -> float:
        """Mean number of pairs per pulse; 0 for a continuous pump."""
        return self.pairs_per_s / self.pulses.rate_hz if self.pulses else 0.0

    @property
    def quantum_state(self) -> TwoQubit:
        """The state of every pair.

        Raises:
            ParameterError: the density matrix is none.
        """
        if self.density_real:
            return TwoQubit.from_density(_matrix(self.density_real, self.density_imag))
        if self.fidelity is not None:
            return TwoQubit.from_bell_diagonal(BellDiagonal.werner(self.state, self.fidelity))
        return TwoQubit.from_bell_diagonal(
            BellDiagonal.from_visibilities(self.state, self.visibility_z, self.visibility_x)
        )


def _matrix(real: tuple[tuple[float, ...], ...], imag: tuple[tuple[float, ...], ...]) -> list[list[complex]]:
    imag = imag or tuple((0.0,) * 4 for _ in range(4))
    if any(len(part) != 4 or any(len(row) != 4 for row in part) for part in (real, imag)):
        raise ParameterError("density_real and density_imag have 4 rows of 4 numbers each")
    return [[complex(x, y) for x, y in zip(*rows, strict=True)] for rows in zip(real, imag, strict=True)]
