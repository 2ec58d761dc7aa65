"""Where the pairs may be: candidates for offset and drift from cross-correlations of binned times.

A burst of Alice's events is correlated with all of Bob's that could belong to it. An unknown drift smears the peak
over drift x burst, so the bins are that wide and the significance is c sqrt(K / (r_a r_b max_drift)), c the pair rate,
whatever the burst: what raises it is the number K of drifts tried. The plain search has K = 1, the drift scan more.
Where few pairs of events are within the uncertainty at all, their delays are listed instead of transformed: the same
histogram at less cost. Candidates prove nothing; `distribution.clock.fit` decides by counting pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from distribution.clock.model import ClockModel
from distribution.tags import TimesPs
from distribution.units import PS_PER_S

Floats32 = npt.NDArray[np.float32]

_LEAST_BIN_PS = 2_000.0  # wider than any detector pair's jitter that QKD would use
_LEAST_BURST_EVENTS = 2_000
_CANDIDATES = 6
_SMOOTH_BINS = 1025
_MOST_WORK = 1e8  # bins transformed per search: about 15 s
_MOST_LISTED = 4e6  # delays


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard one search tries.

    Attributes:
        drifts: number of drifts tried, K, where that many are affordable.
        burst_s: Alice's burst is at most this long,
        burst_events: and holds at most about so many events.
        bins: longest transform.
    """

    drifts: int
    burst_s: float
    burst_events: int
    bins: int


EFFORTS = (
    Effort(drifts=1, burst_s=2.0, burst_events=200_000, bins=1 << 22),
    Effort(drifts=4, burst_s=4.0, burst_events=2_000_000, bins=1 << 23),
    Effort(drifts=16, burst_s=16.0, burst_events=8_000_000, bins=1 << 24),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where the correlation is high.

    Attributes:
        score: excess in standard deviations of the background (variance-stabilised).
        start_ps, stop_ps: the burst, on Alice's clock.
        offset_ps: delay in the middle of the burst, known to +- half_ps.
        drift: known to +- drift_half.
    """

    score: float
    start_ps: int
    stop_ps: int
    offset_ps: int
    half_ps: float
    drift: float
    drift_half: float


def _burst_ps(rate_per_ps: float, effort: Effort) -> float:
    """Length of Alice's burst where the recordings are long enough."""
    return max(min(effort.burst_s * PS_PER_S, effort.burst_events / rate_per_ps), _LEAST_BURST_EVENTS / rate_per_ps)


def burst(a_ps: TimesPs, b_ps: TimesPs, uncertainty_ps: int, effort: Effort) -> tuple[int, int]:
    """Stretch of Alice's clock, [start, stop), to correlate; empty if the recordings cannot overlap.

    Preferred is a stretch whose partners were recorded whatever the offset; recordings too short for that are taken
    whole, since the part that overlaps is unknown.
    """
    first, last = int(a_ps[0]), int(a_ps[-1]) + 1
    start = max(first, int(b_ps[0]) - uncertainty_ps)
    stop = min(last, int(b_ps[-1]) + 1 + uncertainty_ps)
    want = _burst_ps(a_ps.size / (last - first), effort)
    safe_start = max(first, int(b_ps[0]) + uncertainty_ps)
    safe_stop = min(last, int(b_ps[-1]) + 1 - uncertainty_ps)
    if safe_stop - safe_start < want:
        return start, stop
    middle = (safe_start + safe_stop) // 2
    return middle - int(want) // 2, middle + int(want) // 2


def candidates(
    a_ps: TimesPs, b_ps: TimesPs, *, uncertainty_ps: int, max_drift: float, effort: Effort
) -> list[Candidate]:
    """The best few peaks of the correlation, best first.

    Args:
        a_ps, b_ps: shape (n,) and (m,), int64, ps, ascending.
        uncertainty_ps: |offset| is at most this.
        max_drift: |drift| is at most this, dimensionless.
        effort: how hard to try.
    """
    start, stop = burst(a_ps, b_ps, uncertainty_ps, effort)
    if stop <= start:
        return []
    window = _Window(start, stop, uncertainty_ps, max_drift)
    lo, hi = np.searchsorted(a_ps, [start, stop])
    rate_b = b_ps.size / max(int(b_ps[-1] - b_ps[0]), 1)
    search = _by_list if window.is_listed((hi - lo) / window.span_ps, rate_b) else _by_transform
    found = search(a_ps[lo:hi], b_ps, window, effort)
    return sorted(found, key=lambda c: -c.score)[:_CANDIDATES]


@dataclass(frozen=True, slots=True)
class _Window:
    """The burst [start, stop) and the range that is searched."""

    start_ps: int
    stop_ps: int
    uncertainty_ps: int
    max_drift: float

    @property
    def span_ps(self) -> int:
        return self.stop_ps - self.start_ps

    @property
    def middle_ps(self) -> int:
        return (self.start_ps + self.stop_ps) // 2

    @property
    def reach_ps(self) -> int:
        """Length of the part of Bob's recording that the burst is correlated with."""
        return 2 * self.uncertainty_ps + self.span_ps

    def is_listed(self, rate_a: float, rate_b: float) -> bool:
        """True if so few pairs (rates per ps) are within the uncertainty that listing them is cheaper."""
        return rate_a * self.span_ps * rate_b * 2 * self.uncertainty_ps <= _MOST_LISTED

    def drifts(self, steps: int) -> tuple[npt.NDArray[np.float64], float]:
        """Drifts to try, and how far the true one may be from the nearest of them."""
        half = self.max_drift / steps
        return half * (2.0 * np.arange(steps, dtype=np.float64) + 1.0 - steps), half

    def bin_ps(self, drift_half: float, most_bins: float) -> int:
        """Two bins hold what an unknown rest of drift smears."""
        return math.ceil(max(_LEAST_BIN_PS, drift_half * self.span_ps / 2, most_bins))

    def list_grid(self, effort: Effort) -> tuple[npt.NDArray[np.float64], float, int]:
        """(drifts to try, how far the true one may be from them, bin) when pairs are listed."""
        drifts, half = self.drifts(effort.drifts)
        return drifts, half, self.bin_ps(half, 2 * self.uncertainty_ps / effort.bins)

    def transform_grid(self, effort: Effort) -> tuple[npt.NDArray[np.float64], float, int]:
        """The same for Fourier transforms: K drifts need K transforms of bins that are K times finer."""
        plain_bins = 2 * self.reach_ps / max(self.max_drift * self.span_ps, 2.0 * _LEAST_BIN_PS)
        drifts, half = self.drifts(min(effort.drifts, max(1, int(math.sqrt(_MOST_WORK / plain_bins)))))
        return drifts, half, self.bin_ps(half, self.reach_ps / effort.bins)

    def candidate(self, lag: int, score: float, bin_ps: int, drift: float, drift_half: float) -> Candidate:
        """A peak in the joined bins `lag` and `lag` + 1."""
        offset_ps = lag * bin_ps + bin_ps // 2 - self.uncertainty_ps
        return Candidate(score, self.start_ps, self.stop_ps, offset_ps, 1.5 * bin_ps, drift, drift_half)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the search can see in recordings of given rates; for the message when it sees nothing.

    Attributes:
        rate_a, rate_b: events per ps.
        uncertainty_ps, max_drift: the range searched.
    """

    rate_a: float
    rate_b: float
    uncertainty_ps: int
    max_drift: float

    def pairs_per_s(self, seconds: float, score: float) -> float:
        """Least pair rate at which a peak reaches `score` in so many common seconds, with the best effort for it."""
        return min(self._pairs_per_s(seconds, score, effort) for effort in EFFORTS)

    def seconds(self, pairs_per_s: float, score: float, least_s: float) -> float | None:
        """Shortest common time, at least `least_s`, in which such pairs reach `score`; None if none is long enough."""
        for step in range(60):
            seconds = least_s * 1.1**step
            if self.pairs_per_s(seconds, score) <= pairs_per_s:
                return seconds
        return None

    def _pairs_per_s(self, seconds: float, score: float, effort: Effort) -> float:
        common_ps, want = seconds * PS_PER_S, _burst_ps(self.rate_a, effort)
        span = int(want if common_ps - 2 * self.uncertainty_ps >= want else common_ps)
        window = _Window(0, max(span, 1), self.uncertainty_ps, self.max_drift)
        grid = window.list_grid if window.is_listed(self.rate_a, self.rate_b) else window.transform_grid
        _, _, bin_ps = grid(effort)
        accidental = self.rate_a * self.rate_b * span * 2.0 * bin_ps + 0.375
        # The inverse of the score, 2 (sqrt(n) - sqrt(accidental)); a tenth of the pairs is smeared out of two bins.
        pairs = (score / 2.0 + math.sqrt(accidental)) ** 2 - accidental
        return pairs / 0.9 / (span / PS_PER_S)


def _by_list(a_ps: TimesPs, b_ps: TimesPs, window: _Window, effort: Effort) -> Iterator[Candidate]:
    """Histograms of all delays within the uncertainty, one for each drift."""
    drifts, drift_half, bin_ps = window.list_grid(effort)
    bins = 2 * window.uncertainty_ps // bin_ps + 2
    no_offset = ClockModel(reference_ps=window.middle_ps, offset_ps=0)
    index, delay = no_offset.residuals(a_ps, b_ps, window.uncertainty_ps + bin_ps)
    since = (a_ps[index] - window.middle_ps).astype(np.float64)
    for drift in drifts:
        # Bins hold delays from half a bin below to half a bin above, as lags of binned times do on average.
        place = np.floor((delay - drift * since + window.uncertainty_ps) / bin_ps + 0.5).astype(np.int64)
        count = np.bincount(place[(place >= 0) & (place < bins)], minlength=bins).astype(np.float32)
        joined = count[:-1] + count[1:]
        level = _smooth(joined)
        for lag, score in _peaks(joined - level, level):
            yield window.candidate(lag, score, bin_ps, float(drift), drift_half)


def _by_transform(a_ps: TimesPs, b_ps: TimesPs, window: _Window, effort: Effort) -> Iterator[Candidate]:
    """Cross-correlations by Fourier transform, one for each drift that is affordable."""
    drifts, drift_half, bin_ps = window.transform_grid(effort)
    grid = _Grid(window, bin_ps)
    spectrum_b, background = grid.of_bob(b_ps, a_ps.size)
    for drift in drifts:
        for lag, score in _peaks(grid.correlate(a_ps, float(drift), spectrum_b), background):
            yield window.candidate(lag, score, grid.bin_ps, float(drift), drift_half)


class _Grid:
    """Binned times of one burst; lag k of the correlation is the offset k bin - uncertainty."""

    def __init__(self, window: _Window, bin_ps: int) -> None:
        self.window, self.bin_ps = window, bin_ps
        self.bins_a = -(-window.span_ps // bin_ps)
        self.lags = 2 * window.uncertainty_ps // bin_ps + 2
        # Long enough that nothing wraps round into the lags that are looked at.
        self.size = scipy.fft.next_fast_len(self.bins_a + self.lags, real=True)

    def _histogram(self, since_ps: npt.NDArray[np.int64]) -> Floats32:
        index = since_ps // self.bin_ps
        index = index[(index >= 0) & (index < self.size)]
        return np.bincount(index, minlength=self.size).astype(np.float32)

    def of_bob(self, b_ps: TimesPs, events_a: int) -> tuple[npt.NDArray[np.complex64], Floats32]:
        """Spectrum of Bob's events, and the count expected by accident in two joined lags."""
        origin = self.window.start_ps - self.window.uncertainty_ps
        lo, hi = np.searchsorted(b_ps, [origin, origin + self.size * self.bin_ps])
        histogram = self._histogram(b_ps[lo:hi] - origin)
        total = np.concatenate([[0.0], np.cumsum(histogram, dtype=np.float64)])
        beside = total[self.bins_a : self.bins_a + self.lags - 1] - total[: self.lags - 1]
        return scipy.fft.rfft(histogram), (beside * (2.0 * events_a / self.bins_a)).astype(np.float32)

    def correlate(self, a_ps: TimesPs, drift: float, spectrum_b: npt.NDArray[np.complex64]) -> Floats32:
        """Excess pairs per two joined lags if Bob's clock drifts by `drift`.

        The mean is taken off Alice's bins: this removes the accidental background at every lag, also where Bob's
        recording covers only a part of the burst, and keeps single precision exact enough.
        """
        since = a_ps - self.window.start_ps
        since += np.rint((a_ps - self.window.middle_ps) * drift).astype(np.int64)
        histogram = self._histogram(since)
        histogram[: self.bins_a] -= np.float32(a_ps.size / self.bins_a)
        spectrum = scipy.fft.rfft(histogram)
        np.conjugate(spectrum, out=spectrum)
        spectrum *= spectrum_b
        excess = scipy.fft.irfft(spectrum, n=self.size, overwrite_x=True)[: self.lags]
        return excess[:-1] + excess[1:]


def _peaks(excess: Floats32, background: Floats32) -> Iterator[tuple[int, float]]:
    """(lag, score) of the highest peaks, slow undulations (both rates modulated by the mains, say) taken off."""
    level = np.maximum(background, 0.0) + np.float32(0.375)
    score = 2.0 * (np.sqrt(np.maximum(level + excess - _smooth(excess), 0.0)) - np.sqrt(level))
    score /= max(1.0, float(score.std()))
    for _ in range(min(_CANDIDATES, score.size)):
        lag = int(score.argmax())
        if not score[lag] > 0:
            return
        yield lag, float(score[lag])
        score[max(0, lag - 3) : lag + 4] = -np.inf


def _smooth(values: Floats32) -> Floats32:
    """Running mean over `_SMOOTH_BINS`, shorter at the ends."""
    half = min(_SMOOTH_BINS // 2, values.size)
    total = np.zeros(values.size + 1)
    np.cumsum(values, dtype=np.float64, out=total[1:])
    out = np.empty(values.size, np.float32)
    inner = max(values.size - 2 * half, 0)
    # The inner part, nearly all of it, by slices: looking up millions of places one by one would cost five times more.
    out[half : half + inner] = (total[2 * half + 1 :] - total[:inner]) / (2 * half + 1)
    ends = np.concatenate([np.arange(half), np.arange(max(half + inner, half), values.size)])
    lo, hi = np.maximum(ends - half, 0), np.minimum(ends + half + 1, values.size)
    out[ends] = (total[hi] - total[lo]) / (hi - lo)
    return out
