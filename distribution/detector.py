"""Single-photon detectors and the tagger that stamps their clicks.

A click is late by a random amount (the response), by a fixed amount per detector (cable and electronics), and is lost
when its detector has not recovered. Every click that is seen may be followed by another without a photon. What the
tagger cannot carry away in time it drops.
"""

from __future__ import annotations

from fractions import Fraction

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

Numbers = float | tuple[float, ...]


def per_detector(value: Numbers, detectors: int) -> npt.NDArray[np.float64]:
    """One number for all detectors, or one for each, as an array, shape (detectors,)."""
    return np.array(value if isinstance(value, tuple) else (value,) * detectors, np.float64)


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

    @classmethod
    def from_histogram(cls, edges_ps: npt.ArrayLike, counts: npt.ArrayLike) -> Response:
        """The response that a start-stop histogram shows, its mean taken away; less background, please.

        Args:
            edges_ps: shape (n + 1,), ascending edges of its bins.
            counts: shape (n,), what is in them, not negative.

        Raises:
            ParameterError: shapes do not fit, or there are no counts.
        """
        edges, inside = np.asarray(edges_ps, np.float64), np.asarray(counts, np.float64)
        if edges.size != inside.size + 1 or not inside.sum() > 0 or inside.min() < 0 or np.diff(edges).min() <= 0:
            raise ParameterError(f"{inside.size} counts >= 0 need {inside.size + 1} ascending edges, got {edges.size}")
        total = np.concatenate([[0.0], np.cumsum(inside)]) / inside.sum()
        centred = edges - float((edges[1:] + edges[:-1]) @ inside / 2.0 / inside.sum())
        # Empty bins make the distribution function flat; a hair of slope leaves np.interp distinct abscissae.
        rising = total + np.linspace(0.0, 1e-9, total.size)
        quantiles = np.interp(np.linspace(0.0, rising[-1], RESPONSE_STEPS + 1), rising, centred)
        return cls(quantiles_ps=tuple(quantiles.tolist()))

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


class Afterpulsing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Clicks without a photon that follow a click: carriers trapped in an avalanche diode and released later.

    Attributes:
        probability: chance that a click is followed by an afterpulse; those that come while the detector is dead are
            lost, so what is seen is less.
        decay_ns: means of the exponential delays.
        share: how the probability is divided between them, adding up to 1; may be left out where there is one.
    """

    probability: float
    decay_ns: tuple[float, ...]
    share: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        require("probability", self.probability, 0.0, 0.5)
        for decay in self.decay_ns:
            require("decay_ns", decay, 0.001, 1e7)
        if len(self.share) != len(self.decay_ns) or abs(sum(self.share) - 1.0) > 1e-9 or min(self.share) < 0.0:
            raise ParameterError(f"share = {self.share} must hold {len(self.decay_ns)} numbers that add up to 1")


class Detectors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The detectors of a station; a single number stands for all of them, else there is one for each.

    Attributes:
        efficiency: chance that a photon that reaches the detector makes it click.
        dark_cps: dark counts per second.
        background_cps: clicks per second by light that is not from the source; does not pass the arm's loss.
        dead_ns: time after a click during which the detector is blind.
        mutes_station: True when a click blinds all detectors (a tagger with one dead time for all inputs).
        paralysable: True when a photon during the dead time, though not seen, starts it anew.
        recovery_ns: after the dead time the efficiency comes back as 1 - exp(-t / recovery_ns), as a nanowire's bias
            current does; 0: at once.
        delay_ps: fixed delay of each detector, cable and electronics.
        response: random delay, one distribution for all or one for each.
        afterpulsing: None for detectors without.
    """

    efficiency: Numbers = 1.0
    dark_cps: Numbers = 0.0
    background_cps: Numbers = 0.0
    dead_ns: float = 0.0
    mutes_station: bool = False
    paralysable: bool = False
    recovery_ns: float = 0.0
    delay_ps: Numbers = 0.0
    response: Response | tuple[Response, ...] = Response()
    afterpulsing: Afterpulsing | None = None

    def __post_init__(self) -> None:
        bounds = {
            "efficiency": (0.0, 1.0),
            "dark_cps": (0.0, 1e8),
            "background_cps": (0.0, 1e8),
            "delay_ps": (-MAX_DELAY_PS, MAX_DELAY_PS),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                require(name, number, low, high)
        require("dead_ns", self.dead_ns, 0.0, 1e9)
        require("recovery_ns", self.recovery_ns, 0.0, 1e6)

    def check_count(self, detectors: int) -> None:
        """Check that whatever is listed is listed for so many detectors.

        Raises:
            ParameterError: it is not.
        """
        for name in ("efficiency", "dark_cps", "background_cps", "delay_ps", "response"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != detectors:
                raise ParameterError(f"detectors.{name} has {len(value)} entries for {detectors} detectors")

    def noise_cps(self, detectors: int) -> npt.NDArray[np.float64]:
        """Dark and background counts of each detector, per second, shape (detectors,)."""
        return per_detector(self.dark_cps, detectors) + per_detector(self.background_cps, detectors)

    def responses(self, detectors: int) -> tuple[Response, ...]:
        """The response of each detector."""
        return self.response if isinstance(self.response, tuple) else (self.response,) * detectors

    @property
    def dead_ps(self) -> int:
        """Dead time in whole picoseconds."""
        return round(self.dead_ns * PS_PER_NS)


class Tagger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The time tagger: its resolution and what it can carry away.

    Attributes:
        resolution_ps: one unit of its time stamps, which are rounded down; 0: a picosecond. Taken as a fraction with
            a denominator of at most 1024 (3.90625 = 125/32, 156.25 = 625/4).
        max_rate_cps: tags per second that leave its buffer; 0: no limit.
        buffer_tags: tags that wait there; one that finds it full is lost.
    """

    resolution_ps: float = 0.0
    max_rate_cps: float = 0.0
    buffer_tags: int = 1_000_000

    def __post_init__(self) -> None:
        require("resolution_ps", self.resolution_ps, 0.0, 1e6)
        require("max_rate_cps", self.max_rate_cps, 0.0, 1e12)
        require("buffer_tags", self.buffer_tags, 1, 1e12)

    @property
    def unit(self) -> Fraction:
        """One unit of the time stamps, ps."""
        return Fraction(self.resolution_ps).limit_denominator(1024) if self.resolution_ps else Fraction(1)
