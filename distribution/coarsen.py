"""Coarser times before they are told to anybody: what a station announces, what it costs, and what it hides.

Bins: a time becomes the number of its bin of whole picoseconds, counted from the clock's zero, and whoever reads it
takes the bin's centre. Dither: a time is moved by a random amount first, which blurs like a bin of that width but
leaves no edges on a fixed grid.

Fine times betray the outcome where detectors are skewed: one who knows when a pair was born reads the detector from the
delay (Lamas-Linares and Kurtsiefer, Opt. Express 15, 9388 (2007)). Correct the skew first (`distribution.skew`), then
make the bins wide against what is left of it. The cost is a wider peak, so that a window holds less of it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import entr, ndtr

from distribution.bounds import require
from distribution.errors import ParameterError
from distribution.tags import TimesPs, TimeTags

_PHASES = 64
_TAIL_SIGMAS = 8.0
_FINEST_SIGMAS = 1 / 16  # narrower bins tell nothing more of a Gaussian


def bin_numbers(t_ps: TimesPs, bin_ps: int) -> npt.NDArray[np.int64]:
    """Number of each time's bin, which holds its first picosecond and not the next bin's; ascending stays ascending.

    Args:
        t_ps: shape (n,), int64, ps.
        bin_ps: width of a bin, at least 1.

    Raises:
        ParameterError: a bin below 1 ps.
    """
    _require_bin(bin_ps)
    return t_ps // bin_ps


def bin_centres_ps(bins: npt.NDArray[np.int64], bin_ps: int) -> TimesPs:
    """What to take for the times of bins, shape (n,), int64, ps: centres, of even bins the later of the middle two.

    Raises:
        ParameterError: a bin below 1 ps.
    """
    _require_bin(bin_ps)
    return bins * bin_ps + bin_ps // 2


def dithered(tags: TimeTags, width_ps: int, rng: np.random.Generator) -> TimeTags:
    """Tags moved by independent random amounts, evenly spread over `width_ps` whole picoseconds about zero.

    Whoever predicts the generator takes the dither off again: on a key path its numbers must be secret.

    Args:
        tags: one station's tags.
        width_ps: FULL width of the dither, at least 1 (which moves nothing).
        rng: source of the randomness.

    Returns:
        The tags in order of their new times; equal times keep their order.

    Raises:
        ParameterError: a width below 1 ps.
    """
    _require_bin(width_ps)
    t_ps = tags.t_ps + rng.integers(-((width_ps - 1) // 2), width_ps // 2, len(tags), endpoint=True)
    order = np.argsort(t_ps, kind="stable")
    return TimeTags(t_ps[order], tags.channel[order])


def window_share(bin_ps: float, spread_ps: float, window_ps: float) -> float:
    """Share of the true pairs whose delay stays within the window when one side's times come in bins.

    The delay is Gaussian, and the distance from a bin's centre is even over the bin: the integral of the Gaussian
    distribution function over it, by parts.

    Args:
        bin_ps: width of the bins, or FULL width of the dither; 0: exact times.
        spread_ps: standard deviation of the pairs' delays before.
        window_ps: coincidence window, FULL width, centred on the delay.

    Raises:
        ParameterError: a negative bin, or a spread or window that is not positive.
    """
    require("bin_ps", bin_ps, 0.0, 1e12)
    require("spread_ps", spread_ps, 1e-3, 1e12)
    require("window_ps", window_ps, 1e-3, 1e12)
    half = window_ps / 2.0
    if bin_ps < 1e-3 * spread_ps:
        return float(2.0 * ndtr(half / spread_ps) - 1.0)

    def integral(x: float) -> float:
        z = x / spread_ps
        return x * float(ndtr(z)) + spread_ps * math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)

    # P(|delay + u| < half), u even over the bin: (1/bin) of the integral of Phi(half - u) - Phi(-half - u).
    edge = bin_ps / 2.0
    return (integral(half + edge) - integral(half - edge) - integral(edge - half) + integral(-edge - half)) / bin_ps


def skew_leak_bits(bin_ps: float, skew_ps: float, spread_ps: float) -> float:
    """Information that an announced time carries about which of two detectors fired, bits per event.

    Worst case: the eavesdropper knows exactly when the pair was born and at what phase of the bins. Both detectors are
    Gaussian and equally likely. The average over the phase is taken.

    Args:
        bin_ps: width of the announced bins.
        skew_ps: how much later one detector reports than the other.
        spread_ps: standard deviation of one detector's response.

    Returns:
        Mutual information in [0, 1].

    Raises:
        ParameterError: a negative bin or skew, or a spread that is not positive.
    """
    require("bin_ps", bin_ps, 0.0, 1e9)
    require("skew_ps", skew_ps, 0.0, 1e9)
    require("spread_ps", spread_ps, 1e-3, 1e9)
    width = max(bin_ps, _FINEST_SIGMAS * spread_ps)
    reach = skew_ps / 2.0 + _TAIL_SIGMAS * spread_ps
    if reach / width > 1e6:
        return 1.0  # detectors hundreds of thousands of spreads apart
    bins = math.ceil(reach / width) + 1
    edges = width * (np.arange(-bins, bins + 1) + (np.arange(_PHASES)[:, None] + 0.5) / _PHASES)
    early, late = (np.diff(ndtr((edges - mean) / spread_ps), axis=1) for mean in (-skew_ps / 2.0, skew_ps / 2.0))
    # I = H(mean of the two) - mean of H, in nats; entr(p) = -p ln p.
    nats = entr((early + late) / 2.0).sum(axis=1) - (entr(early).sum(axis=1) + entr(late).sum(axis=1)) / 2.0
    return min(max(float(nats.mean()) / math.log(2.0), 0.0), 1.0)


def _require_bin(bin_ps: int) -> None:
    if bin_ps < 1:
        raise ParameterError(f"a bin must be at least 1 ps wide, got {bin_ps}")
