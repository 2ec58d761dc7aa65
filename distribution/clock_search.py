"""Where the pairs may be: candidates for offset and drift from cross-correlations of binned times.

A burst of Alice's events is correlated with all of Bob's that could belong to it. An unknown drift smears the peak
over drift x burst, so the bins are that wide and the significance is c sqrt(K / (r_a r_b max_drift)), c the pair rate,
whatever the burst: what raises it is the number K of drifts tried. The plain search has K = 1, the drift scan more.
Candidates prove nothing; `distribution.clock_fit` decides by counting pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from distribution.tags import TimesPs
from distribution.units import PS_PER_S

_LEAST_BIN_PS = 2_000.0  # wider than any detector pair's jitter that QKD would use
_LEAST_BURST_EVENTS = 2_000
_CANDIDATES = 6
_SMOOTH_BINS = 1025


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard one search tries.

    Attributes:
        drifts: number of drifts tried, K.
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


def burst(a_ps: TimesPs, b_ps: TimesPs, uncertainty_ps: int, effort: Effort) -> tuple[int, int]:
    """Stretch of Alice's clock, [start, stop), to correlate; empty if the recordings cannot overlap.

    Preferred is a stretch whose partners were recorded whatever the offset; recordings too short for that are taken
    whole, since the part that overlaps is unknown.
    """
    first, last = int(a_ps[0]), int(a_ps[-1]) + 1
    start = max(first, int(b_ps[0]) - uncertainty_ps)
    stop = min(last, int(b_ps[-1]) + 1 + uncertainty_ps)
    rate = a_ps.size / (last - first)
    want = max(min(effort.burst_s * PS_PER_S, effort.burst_events / rate), _LEAST_BURST_EVENTS / rate)
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
    span = stop - start
    if span <= 0:
        return []
    drift_half = max_drift / effort.drifts
    bin_ps = math.ceil(max(_LEAST_BIN_PS, drift_half * span / 2, (2 * uncertainty_ps + span) / effort.bins))
    grid = _Grid(start, stop, uncertainty_ps, bin_ps)
    spectrum_b, background = grid.of_bob(b_ps, a_ps)
    drifts = drift_half * (2 * np.arange(effort.drifts) + 1 - effort.drifts)
    found = [
        Candidate(score, start, stop, grid.offset_ps(lag), 1.5 * bin_ps, float(drift), drift_half)
        for drift in drifts
        for lag, score in _peaks(grid.correlate(a_ps, float(drift), spectrum_b), background)
    ]
    return sorted(found, key=lambda c: -c.score)[:_CANDIDATES]


class _Grid:
    """Binned times of one burst; lag k of the correlation is the offset k bin - uncertainty."""

    def __init__(self, start_ps: int, stop_ps: int, uncertainty_ps: int, bin_ps: int) -> None:
        self.start_ps, self.stop_ps = start_ps, stop_ps
        self.uncertainty_ps, self.bin_ps = uncertainty_ps, bin_ps
        self.bins_a = -(-(stop_ps - start_ps) // bin_ps)
        self.lags = 2 * uncertainty_ps // bin_ps + 2
        # Long enough that nothing wraps round into the lags that are looked at.
        self.size = scipy.fft.next_fast_len(self.bins_a + self.lags, real=True)

    def offset_ps(self, lag: int) -> int:
        """Delay in the middle of the two joined lags `lag` and `lag` + 1."""
        return lag * self.bin_ps + self.bin_ps // 2 - self.uncertainty_ps

    def _histogram(self, since_ps: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        index = since_ps // self.bin_ps
        index = index[(index >= 0) & (index < self.size)]
        return np.bincount(index, minlength=self.size).astype(np.float32)

    def of_bob(
        self, b_ps: TimesPs, a_ps: TimesPs
    ) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.float32]]:
        """Spectrum of Bob's events, and the count expected by accident in two joined lags."""
        origin = self.start_ps - self.uncertainty_ps
        lo, hi = np.searchsorted(b_ps, [origin, origin + self.size * self.bin_ps])
        histogram = self._histogram(b_ps[lo:hi] - origin)
        events_a = np.diff(np.searchsorted(a_ps, [self.start_ps, self.stop_ps]))[0]
        total = np.concatenate([[0.0], np.cumsum(histogram, dtype=np.float64)])
        beside = total[self.bins_a : self.bins_a + self.lags - 1] - total[: self.lags - 1]
        return scipy.fft.rfft(histogram), (beside * (2.0 * events_a / self.bins_a)).astype(np.float32)

    def correlate(
        self, a_ps: TimesPs, drift: float, spectrum_b: npt.NDArray[np.complex64]
    ) -> npt.NDArray[np.float32]:
        """Excess pairs per two joined lags if Bob's clock drifts by `drift`.

        The mean is taken off Alice's bins: this removes the accidental background at every lag, also where Bob's
        recording covers only a part of the burst, and keeps single precision exact enough.
        """
        lo, hi = np.searchsorted(a_ps, [self.start_ps, self.stop_ps])
        middle = (self.start_ps + self.stop_ps) // 2
        since = a_ps[lo:hi] - self.start_ps
        since = since + np.rint((a_ps[lo:hi] - middle) * drift).astype(np.int64)
        histogram = self._histogram(since)
        histogram[: self.bins_a] -= np.float32((hi - lo) / self.bins_a)
        spectrum = scipy.fft.rfft(histogram)
        np.conjugate(spectrum, out=spectrum)
        spectrum *= spectrum_b
        excess = scipy.fft.irfft(spectrum, n=self.size, overwrite_x=True)[: self.lags]
        return excess[:-1] + excess[1:]


def _peaks(
    excess: npt.NDArray[np.float32], background: npt.NDArray[np.float32]
) -> Iterator[tuple[int, float]]:
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


def _smooth(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Running mean over `_SMOOTH_BINS`; shorter arrays are their own mean."""
    if values.size <= _SMOOTH_BINS:
        return np.zeros(values.size)
    half = _SMOOTH_BINS // 2
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    lo = np.maximum(np.arange(values.size) - half, 0)
    hi = np.minimum(np.arange(values.size) + half + 1, values.size)
    return (total[hi] - total[lo]) / (hi - lo)
