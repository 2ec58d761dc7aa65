"""Two recordings of one pair source, from nothing but their tags: clock, coincidences, efficiencies, outcomes.

Bob's clock is found against Alice's and followed along the run, tags are matched within a window, and everything is
counted over the time in which both recordings ran.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from distribution.analysis import Histogram, cross_correlation
from distribution.bounds import require
from distribution.clock import Acquisition, acquire
from distribution.clock.tracker import ClockTracker
from distribution.coincidence import CoincidenceSummary, Matches, accidentals, match
from distribution.correlators import Counts, outcome_counts
from distribution.epochs import Epoch, EpochCounter
from distribution.errors import ClockNotFound
from distribution.estimates import Estimate
from distribution.g2 import beam_g2, cross_g2, heralded_g2
from distribution.skew import Skew, corrected, estimate_skew
from distribution.stability import Deviation, cell_delays_ps, stability
from distribution.tags import TimesPs, TimeTags
from distribution.units import PS_PER_S, seconds_to_ps

# A late detector's peak may lie anywhere in the window, or just outside; skew is looked for in a wider one.
_SKEW_WINDOWS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOrder:
    """Second-order correlations at zero delay; see `distribution.g2`.

    Attributes:
        cross: of the two stations.
        beam_a, beam_b: of each station's own light on its detectors; None with one detector.
        heralded_a, heralded_b: of each station's light, heralded by the other.
    """

    cross: Estimate | None
    beam_a: Estimate | None
    beam_b: Estimate | None
    heralded_a: Estimate | None
    heralded_b: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """What two recordings have in common.

    Attributes:
        acquisition: Bob's clock against Alice's, and how sure that is.
        jumps: steps of Bob's clock that were followed; more than none is an alarm.
        window_ps: coincidence window, FULL width.
        seconds: how long both recordings ran.
        counts: singles in that time, coincidences and accidentals.
        ambiguous: coincidences for which a second partner was in reach.
        outcomes: coincidences per pair of detectors, of the shape asked for, or None unless each side's detectors are
            those of the shape.
        delays: histogram of Bob's minus Alice's time on Alice's clock.
        skew: of the detectors, found and taken off before matching; None if not asked for, or too few pairs.
        epochs: counts per epoch; empty if not asked for.
        stability: of the delay that is left after the clocks were aligned.
        g2: second-order correlations.
        b_ps: all of Bob's times on Alice's clock, shape of his recording, skew left in.
    """

    acquisition: Acquisition
    jumps: int
    window_ps: int
    seconds: float
    counts: CoincidenceSummary
    ambiguous: int
    outcomes: Counts | None
    delays: Histogram
    skew: Skew | None
    epochs: tuple[Epoch, ...]
    stability: tuple[Deviation, ...]
    g2: SecondOrder
    b_ps: TimesPs = field(repr=False)


def compare(
    a: TimeTags,
    b: TimeTags,
    *,
    window_ps: int,
    half_range_ps: int,
    bin_ps: int,
    uncertainty_s: float,
    max_drift_ppm: float,
    correct_skew: bool = False,
    epoch_s: float | None = None,
    shape: tuple[int, int] = (4, 4),
    dark_cps: tuple[float, float] = (0.0, 0.0),
) -> PairReport:
    """Find Bob's clock, match the tags and count.

    Args:
        a, b: the two stations' tags, each on its own clock.
        window_ps: coincidence window, FULL width.
        half_range_ps, bin_ps: of the histogram of delays.
        uncertainty_s: the offset is looked for within plus and minus this.
        max_drift_ppm: largest drift of Bob's clock against Alice's.
        correct_skew: find the delay of each detector within four windows and take it off.
        epoch_s: also count per epoch of this length; None: not.
        shape: detectors of Alice and of Bob, numbered from 0, for the outcomes.
        dark_cps: dark and background counts per second of Alice and of Bob, for the heralding efficiencies.

    Raises:
        ClockNotFound: the recordings share no visible pairs, or lose them for good on the way.
        ParameterError: a window or range that is not positive, negative dark counts, or epochs too short or too many.
    """
    for rate in dark_cps:
        require("dark_cps", rate, 0.0, 1e12)
    if not (len(a) and len(b)):
        raise ClockNotFound(f"recordings of {len(a)} and {len(b)} tags share no pairs")
    acquisition = acquire(a.t_ps, b.t_ps, uncertainty_s=uncertainty_s, max_drift_ppm=max_drift_ppm)
    tracker = ClockTracker(acquisition)
    b_ps = tracker.align(a.t_ps, b.t_ps)
    a, b = _overlap(a, TimeTags(b_ps, b.channel))
    skew = estimate_skew(a, b, _SKEW_WINDOWS * window_ps) if correct_skew else None
    if skew is not None:
        a, b = corrected(a, skew.a_ps), corrected(b, skew.b_ps)
    matches = match(a.t_ps, b.t_ps, window_ps)
    seconds = max(a.span_ps, b.span_ps) / PS_PER_S
    counts = CoincidenceSummary(
        singles_a=len(a),
        singles_b=len(b),
        coincidences=len(matches),
        accidentals=accidentals(a.t_ps, b.t_ps, window_ps),
        dark_a=dark_cps[0] * seconds,
        dark_b=dark_cps[1] * seconds,
    )
    return PairReport(
        acquisition=acquisition,
        jumps=len(tracker.jumps),
        window_ps=window_ps,
        seconds=seconds,
        counts=counts,
        ambiguous=int(matches.ambiguous.sum()),
        outcomes=_outcomes(a, b, matches, shape),
        delays=cross_correlation(a.t_ps, b.t_ps, half_range_ps, bin_ps),
        skew=skew,
        epochs=() if epoch_s is None else _epochs(a, b, window_ps, epoch_s, shape),
        stability=stability(*cell_delays_ps(a.t_ps, b.t_ps, matches, counts.accidentals)),
        g2=_second_order(a, b, window_ps),
        b_ps=b_ps,
    )


def _overlap(a: TimeTags, b: TimeTags) -> tuple[TimeTags, TimeTags]:
    """The stretch of both in which both ran; both on one clock."""
    start_ps = max(int(a.t_ps[0]), int(b.t_ps[0]))
    stop_ps = min(int(a.t_ps[-1]), int(b.t_ps[-1])) + 1
    return a.between(start_ps, stop_ps), b.between(start_ps, stop_ps)


def _has_shape(a: TimeTags, b: TimeTags, shape: tuple[int, int]) -> bool:
    return all(tags.counts().keys() == set(range(n)) for tags, n in zip((a, b), shape, strict=True))


def _outcomes(a: TimeTags, b: TimeTags, matches: Matches, shape: tuple[int, int]) -> Counts | None:
    if not _has_shape(a, b, shape):
        return None
    return outcome_counts(a.channel[matches.index_a], b.channel[matches.index_b], shape)


def _epochs(a: TimeTags, b: TimeTags, window_ps: int, epoch_s: float, shape: tuple[int, int]) -> tuple[Epoch, ...]:
    if not (len(a) and len(b)):
        return ()
    start_ps = min(int(a.t_ps[0]), int(b.t_ps[0]))
    known = shape if _has_shape(a, b, shape) else None
    counter = EpochCounter(seconds_to_ps(epoch_s), window_ps, start_ps, shape=known)
    return (*counter.feed(a, b), *counter.finish())


def _second_order(a: TimeTags, b: TimeTags, window_ps: int) -> SecondOrder:
    return SecondOrder(
        cross=cross_g2(a.t_ps, b.t_ps, window_ps),
        beam_a=beam_g2(a, window_ps),
        beam_b=beam_g2(b, window_ps),
        heralded_a=heralded_g2(b.t_ps, a, window_ps),
        heralded_b=heralded_g2(a.t_ps, b, window_ps),
    )
