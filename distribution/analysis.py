"""What recordings say before any key is made: rates, correlation histograms, combs.

A correlation histogram counts delays t_b - t_a. Three things may be found in one: a single peak on a flat
background (pairs from a continuous source), a comb (pulsed light), and a comb with a tooth missing (single
photons: two detectors never fire on the same pulse). Every finding comes with the probability that chance
alone would make it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy.special import pdtr, pdtrc

from distribution.errors import ParameterError
from distribution.kernels.histogram import add_delays
from distribution.tags import TimesPs, TimeTags
from distribution.units import PS_PER_S

Counts = npt.NDArray[np.int64]

MAX_BINS = 1 << 24
CHANCE_LIMIT = 1e-6
"""A finding that chance would make more often than this is not reported."""
LEAST_TOOTH = 5
"""Median counts of a tooth below which no comb is claimed."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of delays in equal bins.

    Attributes:
        start_ps: left edge of the first bin.
        bin_ps: width of a bin; a bin holds its left edge and not its right one.
        counts: shape (n,), int64.
    """

    start_ps: int
    bin_ps: int
    counts: Counts

    @property
    def centres_ps(self) -> npt.NDArray[np.float64]:
        """Middle of every bin, shape (n,), ps."""
        return self.start_ps + self.bin_ps * (np.arange(self.counts.size, dtype=np.float64) + 0.5)


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest window of a histogram.

    Attributes:
        delay_ps: centroid of the counts above background.
        area: counts inside the window.
        background: mean counts of a window of that width elsewhere.
        chance: probability that flat background shows such a window anywhere.
    """

    delay_ps: float
    area: int
    background: float
    chance: float


@dataclass(frozen=True, slots=True)
class Comb:
    """Equally spaced peaks.

    Attributes:
        period_ps: spacing.
        delays_ps: shape (k,), position of each tooth that lies wholly inside the histogram.
        areas: shape (k,), counts within half a period of each, background included.
        dip: index of the smallest tooth.
        dip_chance: bound on the probability that the smallest of k equal teeth is that small.
    """

    period_ps: float
    delays_ps: npt.NDArray[np.float64]
    areas: Counts
    dip: int
    dip_chance: float

    @property
    def side_area(self) -> float:
        """Median area of all teeth but the smallest."""
        return float(np.median(np.delete(self.areas, self.dip)))

    @property
    def dip_delay_ps(self) -> float:
        """Where the smallest tooth is."""
        return float(self.delays_ps[self.dip])

    @property
    def g2(self) -> float:
        """Area of the smallest tooth over the median of the others: g2(0) if it is truly missing."""
        return float(self.areas[self.dip]) / self.side_area

    @property
    def single_photons(self) -> bool:
        """True if one tooth is missing between two full ones: below half of the others, and not by chance.

        An empty tooth at the end of a row is where the light or the recording ends, not an effect of photons.
        """
        beside = self.areas[max(0, self.dip - 1) : self.dip + 2 : 2]
        framed = beside.size == 2 and bool(np.all(beside > self.side_area / 2))
        return framed and self.g2 < 0.5 and self.dip_chance < CHANCE_LIMIT


def rates_hz(tags: TimeTags) -> dict[int, float]:
    """Tags per second of each detector that fired, over the span of all tags; empty without a span."""
    seconds = tags.span_ps / PS_PER_S
    return {c: n / seconds for c, n in tags.counts().items()} if seconds else {}


def whole_bin_ps(bin_ps: int, resolution_ps: float) -> int:
    """Narrowest bin, at least `bin_ps`, that holds a whole number of the tagger's units.

    Other widths hold now one unit more, now one less, and print a false comb over the histogram. The unit is
    taken as the fraction p/q ps (S-Fifteen: 125/32), so bins are multiples of p.

    Raises:
        ParameterError: bin_ps below 1.
    """
    if bin_ps < 1:
        raise ParameterError(f"a bin must be at least 1 ps wide, got {bin_ps}")
    unit = Fraction(resolution_ps).limit_denominator(1000).numerator
    return -(-bin_ps // unit) * unit


def cross_correlation(a_ps: TimesPs, b_ps: TimesPs, half_range_ps: int, bin_ps: int) -> Histogram:
    """Histogram of all delays b - a from -half_range_ps to half_range_ps, the middle bin centred on zero.

    Args:
        a_ps, b_ps: shape (n,) and (m,), int64, ascending.
        half_range_ps, bin_ps: ps; the range is cut to whole bins.

    Raises:
        ParameterError: wrong dtype or order, or a range of no bin or of more than 2^24.
    """
    for name, t_ps in (("a_ps", a_ps), ("b_ps", b_ps)):
        if t_ps.dtype != np.int64 or t_ps.ndim != 1 or (t_ps.size > 1 and np.diff(t_ps).min() < 0):
            raise ParameterError(f"{name} must be an ascending vector of int64, got {t_ps.dtype}{t_ps.shape}")
    if bin_ps < 1 or half_range_ps < bin_ps or 2 * half_range_ps // bin_ps > MAX_BINS:
        raise ParameterError(f"+-{half_range_ps} ps in bins of {bin_ps} ps: need 1 to {MAX_BINS} whole bins")
    side = half_range_ps // bin_ps
    start_ps = -side * bin_ps - bin_ps // 2
    counts = np.zeros(2 * side + 1, np.int64)
    add_delays(np.ascontiguousarray(a_ps), np.ascontiguousarray(b_ps), start_ps, bin_ps, counts)
    return Histogram(start_ps, bin_ps, counts)


def find_peak(histogram: Histogram, window_ps: int) -> Peak | None:
    """The highest window of a histogram, if chance would not make it.

    Args:
        histogram: of delays.
        window_ps: FULL width of the window; cut to whole bins, at least one.

    Returns:
        The peak, or None if nothing stands out of the background.
    """
    counts = histogram.counts
    width = min(max(1, window_ps // histogram.bin_ps), counts.size)
    sums = np.convolve(counts, np.ones(width, np.int64), mode="valid")
    first = int(np.argmax(sums))
    area = int(sums[first])
    # The neighbourhood of the peak is its own tail, not background.
    outside = np.concatenate([counts[: max(0, first - 2 * width)], counts[first + 3 * width :]])
    if not area or outside.size < 4 * width:
        return None
    background = float(outside.mean()) * width
    chance = min(1.0, sums.size * float(pdtrc(area - 1, max(background, 1 / outside.size))))
    if chance > CHANCE_LIMIT:
        return None
    inside = slice(first, first + width)
    weights = np.maximum(counts[inside] - background / width, 0)
    return Peak(float(np.average(histogram.centres_ps[inside], weights=weights)), area, background, chance)


def find_comb(histogram: Histogram) -> Comb | None:
    """Equally spaced peaks, if there are any.

    The period is the first strong maximum of the histogram's autocorrelation, then refined to that which adds
    all delays most in phase; a single peak has no such maximum, whatever its height.

    Returns:
        The comb, or None if there is none of at least four teeth.
    """
    rough_ps = _rough_period_ps(histogram)
    if rough_ps is None:
        return None
    period_ps, phase_ps = _refine(histogram, rough_ps)
    centres = histogram.centres_ps
    tooth = np.rint((centres - phase_ps) / period_ps).astype(np.int64)
    areas = np.bincount(tooth - tooth[0], weights=histogram.counts).astype(np.int64)[1:-1]  # the outermost are cut
    delays_ps = phase_ps + period_ps * (np.arange(areas.size) + tooth[0] + 1)
    # A lone peak with structure repeats within itself; a comb fills most of its teeth.
    if areas.size < 4 or np.median(areas) < LEAST_TOOTH:
        return None
    dip = int(np.argmin(areas))
    alone = float(pdtr(areas[dip], float(np.delete(areas, dip).mean())))
    return Comb(period_ps, delays_ps, areas, dip, min(1.0, areas.size * alone))


def _rough_period_ps(histogram: Histogram) -> float | None:
    counts = histogram.counts
    n = counts.size
    if n < 16 or not counts.any():
        return None
    excess = counts - counts.mean()
    spectrum = np.fft.rfft(excess, 2 * n)
    lags = n // 3
    # Divided by the overlap, so that a perfect comb gives 1 at each of its lags.
    match = np.fft.irfft(np.abs(spectrum) ** 2)[:lags] / (n - np.arange(lags)) / max(float(excess.var()), 1e-300)
    inner = np.flatnonzero(match < 0.05)
    if not inner.size:
        return None
    match[: inner[0]] = 0.0  # the peak's own width
    highest = float(match.max())
    # Noise of the match is about 1/sqrt(n); 0.1 keeps out the faint ripple of a lone peak's tails.
    if highest < max(0.1, 7.0 / np.sqrt(n)):
        return None
    first = int(np.argmax(match > 0.7 * highest))
    # Shot noise may split a tooth: its summit is the highest of the next few lags.
    summit = first + int(np.argmax(match[first : first + max(2, first // 4)]))
    return float(summit * histogram.bin_ps)


def _refine(histogram: Histogram, rough_ps: float) -> tuple[float, float]:
    """Period and phase that maximise the sum of all delays as phasors; two nested grids."""
    used = np.flatnonzero(histogram.counts)
    delay_ps, weight = histogram.centres_ps[used], histogram.counts[used].astype(np.float64)
    period_ps, reach_ps = rough_ps, min(2.0 * histogram.bin_ps, 0.2 * rough_ps)
    range_ps = float(histogram.bin_ps * histogram.counts.size)
    for _ in range(2):
        # The sum falls to half within about period^2 / range, so steps of a tenth of that miss nothing.
        steps = int(np.clip(20 * reach_ps * range_ps / rough_ps**2, 41, 2001))
        trial_ps = period_ps + np.linspace(-reach_ps, reach_ps, steps)
        sums = np.array([abs(np.exp(2j * np.pi / p * delay_ps) @ weight) for p in trial_ps])
        period_ps = float(trial_ps[int(np.argmax(sums))])
        reach_ps = 2 * reach_ps / steps
    phasor = np.exp(2j * np.pi / period_ps * delay_ps) @ weight
    return period_ps, float(np.angle(phasor) * period_ps / (2 * np.pi))
