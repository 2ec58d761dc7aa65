"""Two recordings of one pair source, from nothing but their tags: clock, coincidences, efficiencies, outcomes.

Bob's clock is found against Alice's and followed along the run, tags are matched within a window, and everything is
counted over the time in which both recordings ran.
"""

from __future__ import annotations

from dataclasses import dataclass

from distribution.analysis import Counts, Histogram, cross_correlation, outcome_counts
from distribution.clock import Acquisition, acquire
from distribution.clock_tracker import ClockTracker
from distribution.coincidence import CoincidenceSummary, accidentals, match
from distribution.errors import ClockNotFound
from distribution.tags import TimeTags
from distribution.units import PS_PER_S

FOUR_DETECTORS = {0, 1, 2, 3}


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
        outcomes: coincidences per pair of detectors, shape (4, 4), or None unless both have four detectors.
        delays: histogram of Bob's minus Alice's time on Alice's clock.
    """

    acquisition: Acquisition
    jumps: int
    window_ps: int
    seconds: float
    counts: CoincidenceSummary
    ambiguous: int
    outcomes: Counts | None
    delays: Histogram


def compare(
    a: TimeTags,
    b: TimeTags,
    *,
    window_ps: int,
    half_range_ps: int,
    bin_ps: int,
    uncertainty_s: float,
    max_drift_ppm: float,
) -> PairReport:
    """Find Bob's clock, match the tags and count.

    Args:
        a, b: the two stations' tags, each on its own clock.
        window_ps: coincidence window, FULL width.
        half_range_ps, bin_ps: of the histogram of delays.
        uncertainty_s: the offset is looked for within plus and minus this.
        max_drift_ppm: largest drift of Bob's clock against Alice's.

    Raises:
        ClockNotFound: the recordings share no visible pairs, or lose them for good on the way.
        ParameterError: a window or range that is not positive.
    """
    if not (len(a) and len(b)):
        raise ClockNotFound(f"recordings of {len(a)} and {len(b)} tags share no pairs")
    acquisition = acquire(a.t_ps, b.t_ps, uncertainty_s=uncertainty_s, max_drift_ppm=max_drift_ppm)
    tracker = ClockTracker(acquisition)
    a, b = _overlap(a, TimeTags(tracker.align(a.t_ps, b.t_ps), b.channel))
    matches = match(a.t_ps, b.t_ps, window_ps)
    four = a.counts().keys() == FOUR_DETECTORS == b.counts().keys()
    return PairReport(
        acquisition=acquisition,
        jumps=len(tracker.jumps),
        window_ps=window_ps,
        seconds=max(a.span_ps, b.span_ps) / PS_PER_S,
        counts=CoincidenceSummary(
            singles_a=len(a),
            singles_b=len(b),
            coincidences=len(matches),
            accidentals=accidentals(a.t_ps, b.t_ps, window_ps),
        ),
        ambiguous=int(matches.ambiguous.sum()),
        outcomes=outcome_counts(a.channel[matches.index_a], b.channel[matches.index_b]) if four else None,
        delays=cross_correlation(a.t_ps, b.t_ps, half_range_ps, bin_ps),
    )


def _overlap(a: TimeTags, b: TimeTags) -> tuple[TimeTags, TimeTags]:
    """The stretch of both in which both ran; both on one clock."""
    start_ps = max(int(a.t_ps[0]), int(b.t_ps[0]))
    stop_ps = min(int(a.t_ps[-1]), int(b.t_ps[-1])) + 1
    return a.between(start_ps, stop_ps), b.between(start_ps, stop_ps)
