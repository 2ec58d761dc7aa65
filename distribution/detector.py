"""Single-photon detectors and the clock that stamps their clicks.

A click is late by a random amount (the response), by a fixed amount per detector (cable and electronics), and
is lost when its detector has not recovered. Dead time is non-paralysable: a click that falls into it is not
seen and does not prolong it.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from distribution.bounds import require
from distribution.errors import ParameterError
from distribution.units import FWHM_PER_SIGMA, PS_PER_NS

RESPONSE_STEPS = 4096
MAX_DELAY_PS = 100_000.0
MAX_JITTER_PS = 800_000.0

FourNumbers = float | tuple[float, float, float, float]


def four(value: FourNumbers) -> tuple[float, float, float, float]:
    """One number for all four detectors, or one for each, as four."""
    return value if isinstance(value, tuple) else (value, value, value, value)


class Response(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How late a click is: a Gaussian with an optional exponential tail, or any measured distribution.

    Attributes:
        sigma_ps: standard deviation of the Gaussian. Give this or `fwhm_ps`.
        fwhm_ps: full width at half maximum of the Gaussian.
        tail_fraction: share of clicks that are late by an exponential time in addition (carriers that diffuse
            into the junction of an avalanche diode).
        tail_ps: mean of that exponential.
        quantiles_ps: instead of all of these, any measured response: its quantiles at equal steps of
            probability from 0 to 1, ascending, at least two.
    """

    sigma_ps: float = 0.0
    fwhm_ps: float = 0.0
    tail_fraction: float = 0.0
    tail_ps: float = 0.0
    quantiles_ps: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("sigma_ps", "fwhm_ps", "tail_ps"):
            require(name, getattr(self, name), 0.0, MAX_JITTER_PS / 20.0)
        require("tail_fraction", self.tail_fraction, 0.0, 1.0)
        if self.sigma_ps and self.fwhm_ps:
            raise ParameterError(f"give sigma_ps = {self.sigma_ps} or fwhm_ps = {self.fwhm_ps}, not both")
        if self.quantiles_ps:
            self._check_quantiles()

    def _check_quantiles(self) -> None:
        if self.sigma_ps or self.fwhm_ps or self.tail_fraction:
            raise ParameterError("quantiles_ps replaces sigma_ps, fwhm_ps and the tail: give one or the other")
        if len(self.quantiles_ps) < 2 or any(np.diff(self.quantiles_ps) < 0):
            raise ParameterError(f"quantiles_ps needs two or more ascending times, got {len(self.quantiles_ps)}")
        for quantile in self.quantiles_ps:
            require("quantiles_ps", quantile, -MAX_JITTER_PS, MAX_JITTER_PS)

    def table(self) -> npt.NDArray[np.float32]:
        """Quantiles at RESPONSE_STEPS equal steps of probability, shape (4097,), float32, ps, ascending.

        The simulator draws from this table by linear interpolation. Its two outermost entries stand for a
        quarter of a step, so nothing is later than the response's 1 - 1/16384 quantile.
        """
        p = np.arange(RESPONSE_STEPS + 1) / RESPONSE_STEPS
        if self.quantiles_ps:
            return np.interp(p, np.linspace(0, 1, len(self.quantiles_ps)), self.quantiles_ps).astype(np.float32)
        p[0], p[-1] = 0.25 / RESPONSE_STEPS, 1.0 - 0.25 / RESPONSE_STEPS
        sigma = self.sigma_ps or self.fwhm_ps / FWHM_PER_SIGMA
        if not self.tail_fraction or not self.tail_ps:
            return (sigma * ndtri(p)).astype(np.float32)
        sigma = max(sigma, self.tail_ps * 1e-3)
        x = np.linspace(-5.0 * sigma, 5.0 * sigma + 12.0 * self.tail_ps, 200_001)
        return np.interp(p, self._cdf(x, sigma), x).astype(np.float32)

    def _cdf(self, x: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
        """Distribution function: a Gaussian, a share of it convolved with an exponential."""
        gauss = ndtr(x / sigma)
        exponent = np.minimum((sigma / self.tail_ps) ** 2 / 2.0 - x / self.tail_ps, 700.0)
        late = gauss - np.exp(exponent) * ndtr(x / sigma - sigma / self.tail_ps)
        return np.maximum.accumulate((1.0 - self.tail_fraction) * gauss + self.tail_fraction * late)


class Detectors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The four detectors of a station; a single number stands for all four.

    Attributes:
        efficiency: chance that a photon that reaches the detector makes it click.
        dark_cps: dark counts per second.
        background_cps: clicks per second by light that is not from the source; does not pass the arm's loss.
        dead_ns: time after a click during which the detector is blind.
        mutes_station: True when a click blinds all four detectors (a tagger with one dead time for all
            inputs).
        delay_ps: fixed delay of each detector, cable and electronics.
        response: random delay, one distribution for all four or one for each.
    """

    efficiency: FourNumbers = 1.0
    dark_cps: FourNumbers = 0.0
    background_cps: FourNumbers = 0.0
    dead_ns: float = 0.0
    mutes_station: bool = False
    delay_ps: FourNumbers = 0.0
    response: Response | tuple[Response, Response, Response, Response] = Response()

    def __post_init__(self) -> None:
        bounds = {
            "efficiency": (0.0, 1.0),
            "dark_cps": (0.0, 1e8),
            "background_cps": (0.0, 1e8),
            "delay_ps": (-MAX_DELAY_PS, MAX_DELAY_PS),
        }
        for name, (low, high) in bounds.items():
            for value in four(getattr(self, name)):
                require(name, value, low, high)
        require("dead_ns", self.dead_ns, 0.0, 1e9)

    @property
    def noise_cps(self) -> tuple[float, ...]:
        """Dark and background counts per detector."""
        return tuple(d + b for d, b in zip(four(self.dark_cps), four(self.background_cps), strict=True))

    @property
    def responses(self) -> tuple[Response, Response, Response, Response]:
        """The response of each detector."""
        r = self.response
        return r if isinstance(r, tuple) else (r, r, r, r)

    @property
    def dead_ps(self) -> int:
        """Dead time in whole picoseconds."""
        return round(self.dead_ns * PS_PER_NS)


class StationClock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A station's own clock: it shows offset + (1 + drift) * t at true time t.

    Attributes:
        offset_s: what it shows at true time 0; never negative, so that no tag is.
        drift_ppm: how much too fast it runs.
    """

    offset_s: float = 0.0
    drift_ppm: float = 0.0

    def __post_init__(self) -> None:
        require("offset_s", self.offset_s, 0.0, 1e6)
        require("drift_ppm", self.drift_ppm, -1000.0, 1000.0)

    @property
    def offset_ps(self) -> int:
        """Reading at true time 0, whole ps."""
        return round(self.offset_s * 1e12)

    def reading(self, true_ps: int) -> tuple[int, float]:
        """What the clock shows at a true time: whole ps, and the fraction of a ps in [0, 1) beyond it."""
        ahead = true_ps * self.drift_ppm * 1e-6
        whole = math.floor(ahead)
        return self.offset_ps + true_ps + whole, ahead - whole
