"""From a ridge to picoseconds: the parabola through the single pairs' delays, over as much of the data as one fits.

A straight line is preferred, a parabola taken if the delays bend by more than three standard errors, and the stretch is
shortened while even a parabola leaves a cubic rest. A clock that was found on a short stretch, because no straight line
fits more, is then followed outwards: each doubled stretch is entered with the parabola of the last one and its error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distribution.clock.model import Acquisition, ClockModel, KnownClock
from distribution.clock.ridge import MOST_DRIFT, MOST_PAIRS, Ridge, Stretch, between, centred, climb, overlap, ridge_of
from distribution.clock.search import Candidate
from distribution.clock.verdict import (
    MOST_ACCELERATION_PER_S,
    Peak,
    accidental_rate,
    false_alarm,
    is_ambiguous,
    is_lasting,
)
from distribution.tags import TimesPs
from distribution.units import PS_PER_S, ps_to_seconds

_LEAST_PAIRS = 8.0
_LONGEST_PERIOD_PS = 3e6  # of a pulsed source; slower ones show among the candidates
_BENT = 3.0  # standard errors of a bend that is fitted
_CUBIC = 4.0  # standard errors of a cubic or quartic rest that shortens the stretch
_LINE, _PARABOLA = 2, 3  # coefficients
_MOST_SPREAD_PS = 3_000.0  # beyond the jitter of any detector pair that QKD would use

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class _Fit:
    """A polynomial through the pairs' delays over a stretch, and what the next higher ones would add.

    Attributes:
        stretch: where, and the model there.
        pairs: net of accidentals.
        spread_ps: of the pairs about the model.
        background_per_ps: accidental pairs per ps of delay.
        beside: pairs from 6 to 16 spreads off that the rates do not explain.
        covariance: of the Legendre coefficients in u = -1 .. 1 over the stretch, with the next two; ps^2.
        rest_ps: these next two coefficients. Both count: halfway through a satellite's pass the odd one is zero.
        order: coefficients that the model has.
    """

    stretch: Stretch
    pairs: float
    spread_ps: float
    background_per_ps: float
    beside: float
    covariance: Floats
    rest_ps: Floats
    order: int

    def is_good(self, sigma: float) -> bool:
        """True if nothing of higher order is seen, and the peak is all there is.

        Among many accidentals, pairs on a curve pass for a wide peak on a line; but most of them then lie beside it.
        """
        errors = np.sqrt(np.diag(self.covariance)[self.order :])
        narrow = self.spread_ps < _MOST_SPREAD_PS and self.beside < 0.3 * self.pairs
        return narrow and bool((np.abs(self.rest_ps) < sigma * errors).all())

    @property
    def peak(self) -> Peak:
        stretch = self.stretch
        return Peak(stretch.start_ps, stretch.stop_ps, stretch.model, self.spread_ps, self.background_per_ps)


def follow(
    a_ps: TimesPs, b_ps: TimesPs, candidate: Candidate, *, uncertainty_ps: int, max_drift: float
) -> Acquisition | None:
    """Refine a candidate over as much of the data as a parabola fits; None if there is nothing to follow.

    Args:
        a_ps, b_ps: shape (n,) and (m,), int64, ps, ascending.
        candidate: where to look.
        uncertainty_ps, max_drift: the whole range searched, for the false-alarm probability.
    """
    ridge = climb(a_ps, b_ps, candidate)
    if ridge is None:
        return None
    fit = _shortened(a_ps, b_ps, ridge)
    if fit is None:
        return None
    fit = _lengthened(a_ps, b_ps, fit)
    model = fit.stretch.model
    if abs(model.acceleration_per_s) > MOST_ACCELERATION_PER_S:
        return None
    if is_ambiguous(a_ps, b_ps, fit.peak, max(_LONGEST_PERIOD_PS, 8.0 * candidate.half_ps)) or not is_lasting(
        a_ps, b_ps, fit.peak
    ):
        return None
    known, half_s = _known(fit), ps_to_seconds(fit.stretch.stop_ps - fit.stretch.start_ps) / 2.0
    return Acquisition(
        model=known.model,
        offset_error_ps=known.offset_error_ps,
        drift_error=known.drift_error,
        acceleration_error_per_s=known.acceleration_error_per_s,
        start=known.referred_to(fit.stretch.start_ps),
        false_alarm=false_alarm(a_ps, b_ps, fit.peak, uncertainty_ps, max_drift),
        pairs=round(fit.pairs),
        spread_ps=fit.spread_ps,
        seconds_used=2.0 * half_s,
    )


def _known(fit: _Fit) -> KnownClock:
    """The model and its errors in the middle of the stretch.

    A clock that needs a parabola is none: the next two terms, though too small to be seen, count with their standard
    errors. The rows are value, slope and second derivative of P0 .. P4 at u = 0.
    """
    terms = fit.order + (2 if fit.order == _PARABOLA else 0)
    here = np.array(
        [[1.0, 0.0, -0.5, 0.0, 0.375], [0.0, 1.0, 0.0, -1.5, 0.0], [0.0, 0.0, 3.0, 0.0, -7.5]],
    )
    variances = np.diag(fit.covariance)
    offset, drift, _ = np.sqrt(here[:, :terms] ** 2 @ variances[:terms])
    known = max(terms, _PARABOLA)
    bend = float(np.sqrt(here[2, :known] ** 2 @ variances[:known]))
    half_ps = (fit.stretch.stop_ps - fit.stretch.start_ps) / 2.0
    return KnownClock(
        model=fit.stretch.model,
        offset_error_ps=float(offset),
        drift_error=float(drift) / half_ps,
        acceleration_error_per_s=bend / half_ps**2 * PS_PER_S,
    )


def _shortened(a_ps: TimesPs, b_ps: TimesPs, ridge: Ridge) -> _Fit | None:
    """Fit the ridge; while more than a parabola is needed, fit a shorter stretch."""
    stretch, spread_ps = ridge.line, ridge.width_ps / 3.0
    middle = stretch.model.reference_ps
    for _ in range(20):
        line = _fit(a_ps, b_ps, stretch, spread_ps, _LINE)
        if line is None or line.is_good(_BENT):
            return line
        # Pairs at few places in time leave the rest undetermined; all of them lie within the cut.
        bend_ps = min(float(np.abs(line.rest_ps).max()), 16.0 * line.spread_ps)
        curve = _fit(a_ps, b_ps, line.stretch, math.hypot(line.spread_ps, bend_ps), _PARABOLA)
        if curve is not None and curve.pairs > 0.9 * line.pairs and curve.is_good(_CUBIC):
            return curve
        span = (stretch.stop_ps - stretch.start_ps) // 2
        slack = 3.0 * line.spread_ps + bend_ps
        bent = replace(line.stretch, half_ps=slack, drift_half=min(slack / span, MOST_DRIFT))
        found = ridge_of(a_ps, b_ps, bent.over(*centred(middle, span, stretch.start_ps, stretch.stop_ps)))
        if found is None or found.pairs < _LEAST_PAIRS:
            return None
        stretch, spread_ps = found.line, found.width_ps / 3.0
    return None


def _lengthened(a_ps: TimesPs, b_ps: TimesPs, fit: _Fit) -> _Fit:
    """Double the stretch while a parabola, entered with the last one, still fits all of it."""
    start, stop = overlap(a_ps, b_ps, fit.stretch.model)
    middle = fit.stretch.model.reference_ps
    for _ in range(40):
        span = fit.stretch.stop_ps - fit.stretch.start_ps
        longer = fit.stretch.over(*centred(middle, 2 * span, start, stop))
        growth = (longer.stop_ps - longer.start_ps) / span
        if growth < 1.01:
            break
        known = _through(a_ps, b_ps, fit)
        if known is None:
            break
        # How far the edges of the longer stretch are from what is known, in Legendre polynomials of the shorter.
        edge = max(middle - longer.start_ps, longer.stop_ps - middle) / (span / 2)
        slope = np.array([1.0, edge, 1.5 * edge * edge - 0.5])
        error_ps = math.sqrt(slope @ known.covariance[:_PARABOLA, :_PARABOLA] @ slope)
        entered = replace(longer, model=known.stretch.model.referred_to(longer.model.reference_ps))
        found = _fit(a_ps, b_ps, entered, math.hypot(fit.spread_ps, error_ps), _PARABOLA)
        least = 0.6 * growth * fit.pairs - 3.0 * math.sqrt(growth * fit.pairs)
        if found is None or found.pairs < max(least, fit.pairs) or not found.is_good(_CUBIC):
            break
        if found.spread_ps > 1.5 * fit.spread_ps:
            break
        fit = found
    return fit


def _through(a_ps: TimesPs, b_ps: TimesPs, fit: _Fit) -> _Fit | None:
    """The parabola of a fit, also where a line was preferred: outside its stretch an unseen bend counts."""
    return fit if fit.order == _PARABOLA else _fit(a_ps, b_ps, fit.stretch, fit.spread_ps, _PARABOLA)


def _fit(a_ps: TimesPs, b_ps: TimesPs, stretch: Stretch, spread_ps: float, order: int) -> _Fit | None:
    """Least squares through the single pairs, repeated because each pass recentres the cut that selects them.

    Accidentals inside the cut pull the fit towards the present model, by the share of them: the correction is scaled
    up by (all / net) pairs.
    """
    half_span = (stretch.stop_ps - stretch.start_ps) / 2
    a = between(a_ps, stretch.start_ps, stretch.stop_ps)
    model = stretch.model
    most_bend = MOST_ACCELERATION_PER_S / PS_PER_S * half_span**2 / 3.0
    accidental = accidental_rate(a_ps, b_ps, stretch.start_ps, stretch.stop_ps, model)
    for _ in range(12):
        if accidental * 32.0 * spread_ps > MOST_PAIRS:
            return None
        index, residual = model.residuals(a, b_ps, 16.0 * spread_ps)
        far, far_width = int((np.abs(residual) > 6.0 * spread_ps).sum()), 20.0 * spread_ps
        background = far / far_width
        cut = 3.0 * spread_ps
        core = np.abs(residual) <= cut
        n = int(core.sum())
        net = n - background * 2.0 * cut
        if net < _LEAST_PAIRS:
            return None
        y = residual[core]
        basis = _legendre((a[index[core]] - model.reference_ps) / half_span)
        normal = basis.T @ basis
        moments = basis.T @ y
        # A bend that no orbit has is no bend: without this, pairs at one place in time could make any.
        stiff = normal[:order, :order] + np.diag([0.0, 0.0, (spread_ps / most_bend) ** 2][:order])
        step = _solved(stiff, moments[:order]) * min(n / net, 3.0)
        if abs(model.drift + float(step[1]) / half_span) > MOST_DRIFT:
            return None
        rest = _solved(normal[: order + 2, : order + 2], moments[: order + 2])[order:] * n / net
        model = _stepped(model, step, half_span)
        left = y - basis[:, :order] @ step
        # 0.973: variance of a normal distribution cut at three sigma, in units of its own.
        variance = (float(left @ left) - background * 2.0 * cut**3 / 3.0) / net / 0.973
        was, spread_ps = spread_ps, min(max(math.sqrt(max(variance, 0.25)), spread_ps / 2), 2 * spread_ps)
        if abs(spread_ps / was - 1) < 0.002 and np.abs(step).max() < 0.02 * spread_ps / math.sqrt(net):
            break
    half = 3.0 * spread_ps
    found = Stretch(stretch.start_ps, stretch.stop_ps, model, half, half / half_span)
    covariance = np.linalg.pinv(normal[: order + 2, : order + 2]) * (spread_ps * n / net) ** 2
    covariance[:order, :order] = np.linalg.pinv(normal[:order, :order]) * (spread_ps * n / net) ** 2
    beside = max(far - accidental * far_width, 0.0)
    return _Fit(found, net, spread_ps, background, beside, covariance, rest, order)


def _legendre(u: Floats) -> Floats:
    """P0 .. P4 at u, shape (n, 5): nearly independent coefficients where pairs are spread evenly."""
    v = u * u
    return np.stack([np.ones(u.size), u, 1.5 * v - 0.5, (2.5 * v - 1.5) * u, (4.375 * v - 3.75) * v + 0.375], axis=1)


def _solved(normal: Floats, moments: Floats) -> Floats:
    """Least squares; where pairs at too few places leave something undetermined, the shortest solution."""
    return np.linalg.lstsq(normal, moments, rcond=None)[0]


def _stepped(model: ClockModel, step: Floats, half_span_ps: float) -> ClockModel:
    """The model with Legendre coefficients over +- half_span about its reference added."""
    bend = float(step[2]) if step.size > _LINE else 0.0
    return model.moved(
        offset_ps=float(step[0]) - bend / 2.0,
        drift=float(step[1]) / half_span_ps,
        acceleration_per_s=3.0 * bend / half_span_ps**2 * PS_PER_S,
    )
