"""From a candidate to a ridge: counting pairs in ever finer cells of offset and drift.

A stretch of Alice's time is cut into slices, and the delays of all pairs of a slice near the candidate are
histogrammed. Pairs of a common source line up along a straight line through the slices; the best line among all
offsets and drifts is the next, finer candidate, and the stretch is doubled until the data, or the straight line, end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.clock.model import ClockModel
from distribution.clock.search import Candidate
from distribution.tags import TimesPs

_SLICES = 32
_BINS = 64
_WIDTHS = (2, 4, 8, 16, 32)
_LEAST_DEVIANCE = 20.0  # of a line worth following; about -log of its Poisson tail
MOST_DRIFT = 2e-3  # twice what may be asked for; a spark of 10 us can show any slope
MOST_PAIRS = 2_000_000  # accidental ones per histogram, to bound time and memory
_CHEAP_PAIRS = 200_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of Alice's time, [start, stop), and the clock model there, known to +- half and +- drift_half."""

    start_ps: int
    stop_ps: int
    model: ClockModel
    half_ps: float
    drift_half: float

    @property
    def reach_ps(self) -> float:
        """How far pairs may lie from the model anywhere in the stretch."""
        return self.half_ps + self.drift_half * (self.stop_ps - self.start_ps) / 2

    def over(self, start_ps: int, stop_ps: int) -> Stretch:
        """The same model, stated in the middle of another stretch."""
        middle = (start_ps + stop_ps) // 2
        moved = abs(middle - self.model.reference_ps) * self.drift_half
        return Stretch(start_ps, stop_ps, self.model.referred_to(middle), self.half_ps + moved, self.drift_half)


@dataclass(frozen=True, slots=True)
class Ridge:
    """The best line through a stack of histograms: `width` bins wide, `pairs` above the background."""

    line: Stretch
    deviance: float
    pairs: float
    width: int
    width_ps: float


def between(t_ps: TimesPs, start_ps: int, stop_ps: int) -> TimesPs:
    lo, hi = np.searchsorted(t_ps, [start_ps, stop_ps])
    return t_ps[lo:hi]


def overlap(a_ps: TimesPs, b_ps: TimesPs, model: ClockModel) -> tuple[int, int]:
    """Stretch of Alice's clock during which both stations recorded."""
    ends = model.to_alice(b_ps[[0, -1]])
    return max(int(a_ps[0]), int(ends[0])), min(int(a_ps[-1]), int(ends[1])) + 1


def promise(a_ps: TimesPs, b_ps: TimesPs, candidate: Candidate) -> float:
    """How significant the best line at a candidate is, before anything is refined (a deviance; noise has about 15)."""
    ridge = ridge_of(a_ps, b_ps, _first_line(a_ps, b_ps, candidate))
    return 0.0 if ridge is None else ridge.deviance


def _first_line(a_ps: TimesPs, b_ps: TimesPs, candidate: Candidate) -> Stretch:
    """The candidate's burst, as far as Bob recorded it, short enough to count."""
    middle = (candidate.start_ps + candidate.stop_ps) // 2
    model = ClockModel(reference_ps=middle, offset_ps=candidate.offset_ps, drift=candidate.drift)
    line = Stretch(candidate.start_ps, candidate.stop_ps, model, candidate.half_ps, candidate.drift_half)
    start, stop = overlap(a_ps, b_ps, model)
    return _affordable(a_ps, b_ps, line.over(*centred(middle, candidate.stop_ps - candidate.start_ps, start, stop)))


def climb(a_ps: TimesPs, b_ps: TimesPs, candidate: Candidate) -> Ridge | None:
    """Finer and longer until the bins resolve the jitter and the data, or the straight line, end."""
    line = _first_line(a_ps, b_ps, candidate)
    middle = line.model.reference_ps
    start, stop = overlap(a_ps, b_ps, line.model)
    best = ridge_of(a_ps, b_ps, line)
    if best is None or best.deviance < _LEAST_DEVIANCE:
        return None
    finer = True
    for _ in range(100):
        line = best.line
        span = line.stop_ps - line.start_ps
        if not finer and span >= stop - start:
            break
        longer = line.over(*centred(middle, 2 * span, start, stop))
        if finer and _accidentals_within_reach(a_ps, b_ps, longer) > _CHEAP_PAIRS:
            longer = line
        ridge = ridge_of(a_ps, b_ps, _affordable(a_ps, b_ps, longer))
        if ridge is None or ridge.deviance < max(_LEAST_DEVIANCE, best.deviance / 4) or _lost_pairs(best, ridge):
            break
        finer = ridge.width_ps < 0.7 * best.width_ps
        best = ridge
    return best


def centred(middle_ps: int, span_ps: int, start_ps: int, stop_ps: int) -> tuple[int, int]:
    """A stretch of `span_ps` about `middle_ps`, pushed into [start, stop)."""
    span = min(span_ps, stop_ps - start_ps)
    lo = min(max(middle_ps - span // 2, start_ps), stop_ps - span)
    return lo, lo + span


def _lost_pairs(before: Ridge | None, after: Ridge) -> bool:
    """True if a longer stretch should have shown more pairs than it did: the straight line has ended."""
    if before is None:
        return False
    growth = (after.line.stop_ps - after.line.start_ps) / (before.line.stop_ps - before.line.start_ps)
    return growth > 1.0 and after.pairs < 0.6 * growth * before.pairs - 3.0 * math.sqrt(growth * before.pairs)


def _accidentals_within_reach(a_ps: TimesPs, b_ps: TimesPs, line: Stretch) -> float:
    """Expected number of unrelated pairs in the histograms of a stretch."""
    events = between(a_ps, line.start_ps, line.stop_ps).size
    return events * b_ps.size / max(int(b_ps[-1] - b_ps[0]), 1) * 2 * line.reach_ps


def _affordable(a_ps: TimesPs, b_ps: TimesPs, line: Stretch) -> Stretch:
    """Shorten a stretch in which counting the accidental pairs within reach would take seconds."""
    pairs = _accidentals_within_reach(a_ps, b_ps, line)
    if pairs <= MOST_PAIRS:
        return line
    span = int((line.stop_ps - line.start_ps) * MOST_PAIRS / pairs)
    return line.over(*centred(line.model.reference_ps, span, line.start_ps, line.stop_ps))


def ridge_of(a_ps: TimesPs, b_ps: TimesPs, line: Stretch) -> Ridge | None:
    """The most significant straight line through the slices' histograms, over all offsets and drifts in question."""
    span = line.stop_ps - line.start_ps
    a = between(a_ps, line.start_ps, line.stop_ps)
    index, residual = line.model.residuals(a, b_ps, line.reach_ps)
    if not index.size:
        return None
    bin_ps = max(2.0 * line.reach_ps / _BINS, 1.0)
    row = (a[index] - line.start_ps) * _SLICES // span
    column = np.clip((residual / bin_ps + _BINS / 2).astype(np.int64), 0, _BINS - 1)
    stack = np.bincount(row * _BINS + column, minlength=_SLICES * _BINS).reshape(_SLICES, _BINS)
    # Rounded, not up: over a stretch too short to show any drift in question, one bin of tilt would be an absurd one.
    tilts, profiles = _tilted(stack, min(round(line.drift_half * span / 2 / bin_ps), _BINS // 2 - 2))
    level = index.size / _BINS
    for _ in range(2):  # the second time without the pairs of the ridge itself
        tilt, place, width, deviance = _best_box(profiles, level)
        inside = int(profiles[tilt, place : place + width].sum())
        level = (index.size - inside) / (_BINS - width)
    centre = place + (width - profiles.shape[1]) / 2
    slack = (width / 2 + 1) * bin_ps
    drift = tilts[tilt] * bin_ps / (span / 2)
    if abs(line.model.drift + drift) > MOST_DRIFT:
        return None
    model = line.model.moved(offset_ps=centre * bin_ps, drift=drift)
    return Ridge(
        line=Stretch(line.start_ps, line.stop_ps, model, slack, min(slack / (span / 2), 2.0 * line.drift_half)),
        deviance=deviance,
        pairs=inside - level * width,
        width=width,
        width_ps=width * bin_ps,
    )


def _tilted(stack: npt.NDArray[np.int64], most: int) -> tuple[list[int], npt.NDArray[np.int64]]:
    """Sums over the slices along lines that shift by -most..most bins from the middle of the stretch to its end.

    Only lines that stay inside the stack are summed: shape (tilts, bins - 2 most), so that every sum has the same
    background.
    """
    tilts = list(range(-most, most + 1))
    position = (2 * np.arange(_SLICES) + 1 - _SLICES) / _SLICES
    shift = np.rint(np.outer(tilts, position)).astype(np.int64)
    columns = shift[:, :, None] + np.arange(most, _BINS - most)
    return tilts, stack[np.arange(_SLICES)[None, :, None], columns].sum(axis=1)


def _best_box(profiles: npt.NDArray[np.int64], level: float) -> tuple[int, int, int, float]:
    """(row, first bin, width, deviance) of the box whose count exceeds its background most significantly.

    The deviance n log(n/mu) - (n - mu) is the leading term of -log P(Poisson(mu) >= n), also where mu is far below 1.
    """
    total = np.pad(np.cumsum(profiles, axis=1), ((0, 0), (1, 0))).astype(np.float64)
    best = (0, 0, _WIDTHS[0], -1.0)
    for width in _WIDTHS:
        if width > profiles.shape[1]:
            break
        count = total[:, width:] - total[:, :-width]
        expected = max(level * width, 1e-3)
        excess = np.maximum(count, expected)
        deviance = excess * np.log(excess / expected) - (excess - expected)
        row, place = np.unravel_index(int(deviance.argmax()), deviance.shape)
        if deviance[row, place] > best[3]:
            best = (int(row), int(place), width, float(deviance[row, place]))
    return best
