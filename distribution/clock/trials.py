"""Two recordings whose clock is known: what searches for clocks are measured with.

Poisson pairs and singles, Gaussian jitter, and a straight clock or the delay of a satellite's pass; nothing of optics,
outcomes or detectors, which `distribution.simulate` has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.tags import TimesPs
from distribution.units import PS_PER_S

ORIGIN_PS = 100 * PS_PER_S
_JITTER_PS = 150.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is drawn, and within what range it is looked for.

    Attributes:
        name: unique.
        singles_a, singles_b, pairs_per_s: rates per second; the singles include the pairs.
        drift_ppm, uncertainty_s: what the search is told; the true values are drawn within 97 % of it.
        seconds: length of both recordings.
        orbit: the delay is that of a 500 km orbit that passes overhead, from anywhere in the pass above 20 degrees.
    """

    name: str
    singles_a: float
    singles_b: float
    pairs_per_s: float
    drift_ppm: float
    uncertainty_s: float = 1.0
    seconds: float = 4.0
    orbit: bool = False


@dataclass(frozen=True, slots=True)
class Streams:
    """Both recordings, and Bob's clock minus Alice's, ps, at a time in s since the origin."""

    a_ps: TimesPs
    b_ps: TimesPs
    delay_ps: Callable[[Floats], Floats]


def orbit_delay_ps(t_s: Floats, zenith_s: float) -> Floats:
    """Light time from a circular orbit of 500 km that passes overhead at `zenith_s`; the Earth does not turn.

    The angle at the Earth's centre grows evenly, and the law of cosines gives the slant range.
    """
    ground_m, orbit_m = 6.371e6, 6.871e6
    angle = np.sqrt(3.986004418e14 / orbit_m**3) * (t_s - zenith_s)
    range_m = np.sqrt(ground_m**2 + orbit_m**2 - 2.0 * ground_m * orbit_m * np.cos(angle))
    return np.asarray(range_m / 299_792_458.0 * PS_PER_S)


def draw(case: Case, rng: np.random.Generator) -> Streams:
    """Poisson pairs and singles of a case, Gaussian jitter, a clock drawn from its range."""
    offset_ps = 0.97 * case.uncertainty_s * PS_PER_S * rng.uniform(-1.0, 1.0)
    rate = 0.97 * case.drift_ppm * 1e-6 * PS_PER_S * rng.uniform(-1.0, 1.0)
    zenith_s = case.seconds / 2 + rng.uniform(-130.0, 130.0)  # 20 degrees of elevation or more

    def delay_ps(t_s: Floats) -> Floats:
        return offset_ps + (orbit_delay_ps(t_s, zenith_s) if case.orbit else rate * t_s)

    def poisson(per_s: float) -> Floats:
        return rng.uniform(0.0, case.seconds * PS_PER_S, rng.poisson(per_s * case.seconds))

    born = poisson(case.pairs_per_s)
    a, b = (
        np.sort(np.concatenate([born + rng.normal(0.0, _JITTER_PS, born.size), poisson(singles - case.pairs_per_s)]))
        for singles in (case.singles_a, case.singles_b)
    )
    shown = b + delay_ps(b / PS_PER_S)
    return Streams(np.rint(a).astype(np.int64) + ORIGIN_PS, np.rint(shown).astype(np.int64) + ORIGIN_PS, delay_ps)


def drawn(case: Case, seed: int) -> Streams:
    """The streams of a case, as numpy's default generator draws them from `seed`."""
    return draw(case, np.random.default_rng(seed))
