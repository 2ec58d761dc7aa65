"""Two recordings of one pair source, from nothing but their tags: clock, coincidences, efficiencies, outcomes.

Bob's clock is found against Alice's and followed along the run, tags are matched within a window, and everything is
counted over the time in which both recordings ran.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distribution.analysis import Counts, Histogram, cross_correlation, outcome_counts
from distribution.clock import Acquisition, ClockTracker, acquire
from distribution.coincidence import match
from distribution.errors import ClockNotFound, ParameterError
from distribution.tags import TimeTags
from distribution.units import PS_PER_S

FOUR_DETECTORS = {0, 1, 2, 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """What two recordings have in common.

    Attributes:
        acquisition: Bob's clock against Alice's, and how sure that is.
        window_ps: coincidence window, FULL width.
        seconds: how long both recordings ran.
        singles_a, singles_b: tags in that time.
        coincidences: pairs of tags within the window, accidental ones included.
        ambiguous: coincidences for which a second partner was in reach.
        accidentals: pairs that unrelated tags would make, from the singles.
        outcomes: coincidences per pair of detectors, shape (4, 4), or None unless both have four detectors.
        delays: histogram of Bob's minus Alice's time on Alice's clock.
    """

    acquisition: Acquisition
    window_ps: int
    seconds: float
    singles_a: int
    singles_b: int
    coincidences: int
    ambiguous: int
    accidentals: float
    outcomes: Counts | None
    delays: Histogram

    @property
    def car(self) -> float | None:
        """Coincidences over accidentals: 1 means no pairs at all; None when no accidental is expected."""
        return self.coincidences / self.accidentals if self.accidentals else None

    @property
    def heralding_a(self) -> float | None:
        """Probability that Alice detects when Bob does (Klyshko): true coincidences over Bob's singles."""
        return (self.coincidences - self.accidentals) / self.singles_b if self.singles_b else None

    @property
    def heralding_b(self) -> float | None:
        """Probability that Bob detects when Alice does: true coincidences over Alice's singles."""
        return (self.coincidences - self.accidentals) / self.singles_a if self.singles_a else None


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
        ClockNotFound: the recordings share no visible pairs.
        ParameterError: a window or range that is not positive.
    """
    if window_ps < 1:
        raise ParameterError(f"a coincidence window of {window_ps} ps: it must be positive")
    if not (len(a) and len(b)):
        raise ClockNotFound(f"recordings of {len(a)} and {len(b)} tags share no pairs")
    acquisition = acquire(a.t_ps, b.t_ps, uncertainty_s=uncertainty_s, max_drift_ppm=max_drift_ppm)
    # Following the clock may move neighbouring tags past each other by a picosecond where its pieces meet.
    aligned = np.maximum.accumulate(ClockTracker(acquisition).align(a.t_ps, b.t_ps))
    a, b = _overlap(a, TimeTags(aligned, b.channel))
    matches = match(a.t_ps, b.t_ps, window_ps)
    seconds = max(a.span_ps, b.span_ps) / PS_PER_S
    four = a.counts().keys() == FOUR_DETECTORS == b.counts().keys()
    return PairReport(
        acquisition=acquisition,
        window_ps=window_ps,
        seconds=seconds,
        singles_a=len(a),
        singles_b=len(b),
        coincidences=int(matches.index_a.size),
        ambiguous=int(matches.ambiguous),
        accidentals=len(a) * len(b) * window_ps / PS_PER_S / seconds if seconds else 0.0,
        outcomes=outcome_counts(a.channel[matches.index_a], b.channel[matches.index_b]) if four else None,
        delays=cross_correlation(a.t_ps, b.t_ps, half_range_ps, bin_ps),
    )


def _overlap(a: TimeTags, b: TimeTags) -> tuple[TimeTags, TimeTags]:
    """The stretch of both in which both ran; both on one clock."""
    start_ps = max(int(a.t_ps[0]), int(b.t_ps[0]))
    stop_ps = min(int(a.t_ps[-1]), int(b.t_ps[-1])) + 1
    return a.between(start_ps, stop_ps), b.between(start_ps, stop_ps)
