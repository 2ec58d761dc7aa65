"""How far apart partners' tags are: the law of Bob's lateness less Alice's, and the share of it inside a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

from distribution.detector import Response, per_detector
from distribution.scenario import Station

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Timing:
    """Lateness of a station's clicks, channel by channel.

    Attributes:
        delay_ps: fixed delays.
        responses: random delays.
    """

    delay_ps: tuple[float, ...]
    responses: tuple[Response, ...]

    @classmethod
    def of(cls, station: Station) -> Timing:
        """The timing of a station's channels."""
        analyser, detectors = station.analyser, station.detectors
        delays = per_detector(detectors.delay_ps, analyser.detectors)[analyser.owner]
        responses = detectors.responses(analyser.detectors)
        return cls(tuple(delays.tolist()), tuple(responses[k] for k in analyser.owner))


def window_fraction(
    alice: Timing, bob: Timing, windows_ps: Matrix, centre_ps: float = 0.0, spread_ps: float = 0.0
) -> Matrix:
    """Share of partners whose time difference, Bob - Alice, is inside a window of FULL width.

    Args:
        alice, bob: the stations' timing.
        windows_ps: shape (k,).
        centre_ps: middle of the window.
        spread_ps: standard deviation of a Gaussian difference on top, of dispersion or of a pulse's width.

    Returns:
        shape (k, channels of Alice, channels of Bob).
    """
    half = np.asarray(windows_ps, np.float64) / 2.0
    inside = np.empty((half.size, len(alice.delay_ps), len(bob.delay_ps)))
    laws: dict[tuple[Response, Response], tuple[Matrix, Matrix]] = {}
    for i, (delay_a, law_a) in enumerate(zip(alice.delay_ps, alice.responses, strict=True)):
        for j, (delay_b, law_b) in enumerate(zip(bob.delay_ps, bob.responses, strict=True)):
            if (law_a, law_b) not in laws:
                laws[law_a, law_b] = _difference_cdf(law_a.table(), law_b.table(), spread_ps)
            x, cdf = laws[law_a, law_b]
            middle = centre_ps - (delay_b - delay_a)
            upper, lower = (np.interp(middle + s * half, x, cdf, left=0.0, right=1.0) for s in (1, -1))
            inside[:, i, j] = upper - lower
    return inside


def _difference_cdf(
    alice: npt.NDArray[np.float32], bob: npt.NDArray[np.float32], spread_ps: float
) -> tuple[Matrix, Matrix]:
    """Distribution function of Bob's delay - Alice's, from the quantile tables the simulator draws from."""
    normal = (Response(sigma_ps=1.0).table() * spread_ps).astype(np.float32)
    span = float(max(np.abs(t).max() for t in (alice, bob, normal))) + 2.0
    step = max(1.0, span / (1 << 16))
    edges = (np.arange(-int(span / step) - 1, int(span / step) + 3, dtype=np.float64) - 0.5) * step
    mass_b, mass_a = np.diff(_table_cdf(bob, edges)), np.diff(_table_cdf(alice, edges))
    mass, middle = fftconvolve(mass_b, mass_a[::-1]), mass_a.size
    if spread_ps:
        mass_n = np.diff(_table_cdf(normal, edges))
        mass, middle = fftconvolve(mass, mass_n), middle + int(span / step) + 1
    cdf = np.concatenate([[0.0], np.cumsum(mass)])
    x: Matrix = (np.arange(cdf.size, dtype=np.float64) - middle + 0.5) * step
    return x, np.clip(cdf, 0.0, 1.0)


def _table_cdf(table: npt.NDArray[np.float32], x: Matrix) -> Matrix:
    rising = table.astype(np.float64) + np.linspace(-1e-4, 1e-4, table.size)  # np.interp wants distinct abscissae
    return np.interp(x, rising, np.linspace(0.0, 1.0, table.size), left=0.0, right=1.0)
