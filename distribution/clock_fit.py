"""From a candidate to picoseconds, and to a verdict: counting pairs in ever finer cells of offset and drift.

A stretch of Alice's time is cut into slices, and the delays of all pairs of a slice near the candidate are
histogrammed. Pairs of a common source line up along a straight line through the slices; the best line among all
offsets and drifts is the next, finer candidate, and the stretch is doubled. Nothing here trusts the search: the verdict
is the Poisson tail of the final count times the number of cells that the whole range of offsets and drifts has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc

from distribution.clock_model import Acquisition, ClockModel
from distribution.clock_search import Candidate
from distribution.tags import TimesPs
from distribution.units import ps_to_seconds

_SLICES = 32
_BINS = 64
_WIDTHS = (2, 4, 8, 16, 32)
_LEAST_DEVIANCE = 20.0  # of a line worth following; about -log of its Poisson tail
_MOST_PAIRS = 2_000_000  # accidental ones per histogram, to bound time and memory
_CHEAP_PAIRS = 200_000
_LEAST_FALSE_ALARM = 1e-300
_LEAST_PAIRS = 8.0
_PARTS, _LEAST_PARTS = 8, 3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Line:
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

    def over(self, start_ps: int, stop_ps: int) -> _Line:
        """The same model, stated in the middle of another stretch."""
        middle = (start_ps + stop_ps) // 2
        moved = abs(middle - self.model.reference_ps) * self.drift_half
        return _Line(start_ps, stop_ps, self.model.referred_to(middle), self.half_ps + moved, self.drift_half)


@dataclass(frozen=True, slots=True)
class _Ridge:
    """The best line through a stack of histograms: `width` bins wide, `pairs` above the background."""

    line: _Line
    deviance: float
    pairs: float
    width: int
    width_ps: float


@dataclass(frozen=True, slots=True)
class _Fit:
    """A straight line through the pairs' delays; `bend_ps` is the part at the ends that no straight line has."""

    line: _Line
    pairs: float
    spread_ps: float
    background_per_ps: float
    bend_ps: float
    bend_error_ps: float


def follow(
    a_ps: TimesPs, b_ps: TimesPs, candidate: Candidate, *, uncertainty_ps: int, max_drift: float
) -> Acquisition | None:
    """Refine a candidate over as much of the data as a straight line fits; None if there is nothing to follow.

    Args:
        a_ps, b_ps: shape (n,) and (m,), int64, ps, ascending.
        candidate: where to look.
        uncertainty_ps, max_drift: the whole range searched, for the false-alarm probability.
    """
    ridge = _climb(a_ps, b_ps, candidate)
    if ridge is None:
        return None
    fit = _straighten(a_ps, b_ps, ridge)
    if fit is None or _is_ambiguous(a_ps, b_ps, fit) or not _is_lasting(a_ps, b_ps, fit):
        return None
    model = fit.line.model
    return Acquisition(
        model=model,
        false_alarm=_false_alarm(a_ps, b_ps, fit, uncertainty_ps, max_drift),
        pairs=round(fit.pairs),
        spread_ps=fit.spread_ps,
        seconds_used=ps_to_seconds(fit.line.stop_ps - fit.line.start_ps),
    )


def _between(t_ps: TimesPs, start_ps: int, stop_ps: int) -> TimesPs:
    lo, hi = np.searchsorted(t_ps, [start_ps, stop_ps])
    return t_ps[lo:hi]


def _overlap(a_ps: TimesPs, b_ps: TimesPs, model: ClockModel) -> tuple[int, int]:
    """Stretch of Alice's clock during which both stations recorded."""
    ends = model.to_alice(b_ps[[0, -1]])
    return max(int(a_ps[0]), int(ends[0])), min(int(a_ps[-1]), int(ends[1])) + 1


def promise(a_ps: TimesPs, b_ps: TimesPs, candidate: Candidate) -> float:
    """How significant the best line at a candidate is, before anything is refined (a deviance; noise has about 15)."""
    ridge = _ridge(a_ps, b_ps, _first_line(a_ps, b_ps, candidate))
    return 0.0 if ridge is None else ridge.deviance


def _first_line(a_ps: TimesPs, b_ps: TimesPs, candidate: Candidate) -> _Line:
    """The candidate's burst, as far as Bob recorded it, short enough to count."""
    middle = (candidate.start_ps + candidate.stop_ps) // 2
    model = ClockModel(reference_ps=middle, offset_ps=candidate.offset_ps, drift=candidate.drift)
    line = _Line(candidate.start_ps, candidate.stop_ps, model, candidate.half_ps, candidate.drift_half)
    start, stop = _overlap(a_ps, b_ps, model)
    return _affordable(a_ps, b_ps, line.over(*_centred(middle, candidate.stop_ps - candidate.start_ps, start, stop)))


def _climb(a_ps: TimesPs, b_ps: TimesPs, candidate: Candidate) -> _Ridge | None:
    """Finer and longer until the bins resolve the jitter and the data, or the straight line, end."""
    line = _first_line(a_ps, b_ps, candidate)
    middle = line.model.reference_ps
    start, stop = _overlap(a_ps, b_ps, line.model)
    best = _ridge(a_ps, b_ps, line)
    if best is None or best.deviance < _LEAST_DEVIANCE:
        return None
    finer = True
    for _ in range(100):
        line = best.line
        span = line.stop_ps - line.start_ps
        if not finer and span >= stop - start:
            break
        longer = line.over(*_centred(middle, 2 * span, start, stop))
        if finer and _accidentals_within_reach(a_ps, b_ps, longer) > _CHEAP_PAIRS:
            longer = line
        ridge = _ridge(a_ps, b_ps, _affordable(a_ps, b_ps, longer))
        if ridge is None or ridge.deviance < max(_LEAST_DEVIANCE, best.deviance / 4) or _lost_pairs(best, ridge):
            break
        finer = ridge.width_ps < 0.7 * best.width_ps
        best = ridge
    return best


def _centred(middle_ps: int, span_ps: int, start_ps: int, stop_ps: int) -> tuple[int, int]:
    """A stretch of `span_ps` about `middle_ps`, pushed into [start, stop)."""
    span = min(span_ps, stop_ps - start_ps)
    lo = min(max(middle_ps - span // 2, start_ps), stop_ps - span)
    return lo, lo + span


def _lost_pairs(before: _Ridge | None, after: _Ridge) -> bool:
    """True if a longer stretch should have shown more pairs than it did: the straight line has ended."""
    if before is None:
        return False
    growth = (after.line.stop_ps - after.line.start_ps) / (before.line.stop_ps - before.line.start_ps)
    return growth > 1.0 and after.pairs < 0.6 * growth * before.pairs - 3.0 * math.sqrt(growth * before.pairs)


def _accidentals_within_reach(a_ps: TimesPs, b_ps: TimesPs, line: _Line) -> float:
    """Expected number of unrelated pairs in the histograms of a stretch."""
    events = _between(a_ps, line.start_ps, line.stop_ps).size
    return events * b_ps.size / max(int(b_ps[-1] - b_ps[0]), 1) * 2 * line.reach_ps


def _affordable(a_ps: TimesPs, b_ps: TimesPs, line: _Line) -> _Line:
    """Shorten a stretch in which counting the accidental pairs within reach would take seconds."""
    pairs = _accidentals_within_reach(a_ps, b_ps, line)
    if pairs <= _MOST_PAIRS:
        return line
    span = int((line.stop_ps - line.start_ps) * _MOST_PAIRS / pairs)
    return line.over(*_centred(line.model.reference_ps, span, line.start_ps, line.stop_ps))


def _ridge(a_ps: TimesPs, b_ps: TimesPs, line: _Line) -> _Ridge | None:
    """The most significant straight line through the slices' histograms, over all offsets and drifts in question."""
    span = line.stop_ps - line.start_ps
    a = _between(a_ps, line.start_ps, line.stop_ps)
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
    model = line.model.moved(offset_ps=centre * bin_ps, drift=tilts[tilt] * bin_ps / (span / 2))
    return _Ridge(
        line=_Line(line.start_ps, line.stop_ps, model, slack, min(slack / (span / 2), 2.0 * line.drift_half)),
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


def _straighten(a_ps: TimesPs, b_ps: TimesPs, ridge: _Ridge) -> _Fit | None:
    """Fit the line; while the delays bend by more than a third of their spread, fit a shorter stretch."""
    line, spread_ps = ridge.line, ridge.width_ps / 3.0
    middle = line.model.reference_ps
    for _ in range(20):
        fit = _fit(a_ps, b_ps, line, spread_ps)
        if fit is None or abs(fit.bend_ps) < max(0.3 * fit.spread_ps, 5.0 * fit.bend_error_ps):
            return fit
        span = (line.stop_ps - line.start_ps) // 2
        slack = 3.0 * fit.spread_ps + abs(fit.bend_ps)
        bent = replace(fit.line, half_ps=slack, drift_half=slack / span)
        found = _ridge(a_ps, b_ps, bent.over(*_centred(middle, span, line.start_ps, line.stop_ps)))
        if found is None or found.pairs < _LEAST_PAIRS:
            return None
        line, spread_ps = found.line, found.width_ps / 3.0
    return None


def _fit(a_ps: TimesPs, b_ps: TimesPs, line: _Line, spread_ps: float) -> _Fit | None:
    """Least squares through the single pairs, repeated because each pass recentres the cut that selects them.

    Accidentals inside the cut pull the fit towards the present model, by the share of them: the correction is scaled
    up by (all / net) pairs.
    """
    span = line.stop_ps - line.start_ps
    a = _between(a_ps, line.start_ps, line.stop_ps)
    model, bend = line.model, 0.0
    for _ in range(10):
        index, residual = model.residuals(a, b_ps, 16.0 * spread_ps)
        far = int((np.abs(residual) > 6.0 * spread_ps).sum())
        background = far / (20.0 * spread_ps)
        cut = 3.0 * spread_ps
        core = np.abs(residual) <= cut
        n = int(core.sum())
        net = n - background * 2.0 * cut
        if net < _LEAST_PAIRS:
            return None
        u = (a[index[core]] - model.reference_ps) / (span / 2)
        y = residual[core]
        basis = np.stack([np.ones(n), u, 1.5 * u * u - 0.5], axis=1)
        bend = float(np.linalg.lstsq(basis, y, rcond=None)[0][2]) * n / net
        shift, slope = np.linalg.lstsq(basis[:, :2], y, rcond=None)[0] * min(n / net, 3.0)
        model = model.moved(offset_ps=float(shift), drift=float(slope) / (span / 2))
        # 0.973: variance of a normal distribution cut at three sigma, in units of its own.
        variance = (float((y - shift) @ (y - shift)) - background * 2.0 * cut**3 / 3.0) / net / 0.973
        was, spread_ps = spread_ps, min(max(math.sqrt(max(variance, 0.25)), spread_ps / 2), 2 * spread_ps)
        if abs(spread_ps / was - 1) < 0.002 and abs(shift) < 0.02 * spread_ps / math.sqrt(net):
            break
    half = 3.0 * spread_ps
    error = spread_ps * math.sqrt(5.0 * n) / net
    return _Fit(
        _Line(line.start_ps, line.stop_ps, model, half, half / (span / 2)), net, spread_ps, background, bend, error
    )


def _residuals_of(a_ps: TimesPs, b_ps: TimesPs, fit: _Fit, half_ps: float) -> tuple[TimesPs, Floats]:
    a = _between(a_ps, fit.line.start_ps, fit.line.stop_ps)
    index, residual = fit.line.model.residuals(a, b_ps, half_ps)
    near = np.abs(residual) <= half_ps
    return a[index[near]], residual[near]


def _expected(a_ps: TimesPs, b_ps: TimesPs, fit: _Fit, width_ps: float) -> float:
    """Accidental pairs in a cell: from the pairs beside the peak or from the rates, whichever says more."""
    line = fit.line
    na = _between(a_ps, line.start_ps, line.stop_ps).size
    ends = line.model.to_bob(np.array([line.start_ps, line.stop_ps]))
    nb = _between(b_ps, int(ends[0]), int(ends[1])).size
    return max(fit.background_per_ps, na * nb / (line.stop_ps - line.start_ps)) * width_ps


def _tail(count: int, expected: float) -> float:
    """P(Poisson(expected) >= count)."""
    return float(gammainc(count, expected)) if count > 0 else 1.0


def _false_alarm(a_ps: TimesPs, b_ps: TimesPs, fit: _Fit, uncertainty_ps: int, max_drift: float) -> float:
    """Poisson tail of the count within two sigma, times the cells of offset, drift and width that there are.

    Cells are placed at half their width, so that no peak can hide between two, and ten widths are allowed for. The
    union bound holds for any search, however it came to look at this cell.
    """
    width = 4.0 * fit.spread_ps
    t_ps, _ = _residuals_of(a_ps, b_ps, fit, width / 2)
    span = fit.line.stop_ps - fit.line.start_ps
    offsets = 4.0 * uncertainty_ps / width + 1.0
    drifts = 2.0 * max_drift * span / width + 1.0
    probability = _tail(t_ps.size, _expected(a_ps, b_ps, fit, width)) * offsets * drifts * 10.0
    return min(max(probability, _LEAST_FALSE_ALARM), 1.0)


def _is_lasting(a_ps: TimesPs, b_ps: TimesPs, fit: _Fit) -> bool:
    """True if the peak shows in several parts of the time used: one burst of noise is no clock."""
    t_ps, _ = _residuals_of(a_ps, b_ps, fit, 2.0 * fit.spread_ps)
    expected = _expected(a_ps, b_ps, fit, 4.0 * fit.spread_ps) / _PARTS
    part = (t_ps - fit.line.start_ps) * _PARTS // (fit.line.stop_ps - fit.line.start_ps)
    seen = [_tail(int(n), expected) < 0.05 for n in np.bincount(part, minlength=_PARTS)]
    return sum(seen) >= _LEAST_PARTS


def _is_ambiguous(a_ps: TimesPs, b_ps: TimesPs, fit: _Fit) -> bool:
    """True if another peak nearby cannot be told from this one: a periodic source without its own clock phase."""
    cell = 4.0 * fit.spread_ps
    cells = int(min(max(100, 100_000 / cell), 2_000))
    reach = (cells + 0.5) * cell
    rate = _expected(a_ps, b_ps, fit, 2.0 * reach)
    if rate > _MOST_PAIRS:
        cells = max(10, int(cells * _MOST_PAIRS / rate))
        reach = (cells + 0.5) * cell
    _, residual = _residuals_of(a_ps, b_ps, fit, reach)
    count = np.bincount(((residual + reach) / cell).astype(np.int64), minlength=2 * cells + 1)
    peak = int(count[cells])
    count[cells - 2 : cells + 3] = 0
    second = int(count.max())
    credible = _tail(second, max(_expected(a_ps, b_ps, fit, cell), float(count.mean()))) * count.size < 1e-9
    return credible and peak - second < 5.0 * math.sqrt(peak + second)
