"""Finding the clocks of two stations from their detection times alone: nothing to tune.

`acquire` needs no common clock, no trigger and no outcome, only two arrays of times and how far apart the clocks may
be. The plain search comes first; the drift scans, for weak pairs among many singles, only when it finds nothing. An
answer is given only if streams without common pairs would show such a peak with probability below 1e-9.

The method starts from Ho, Lamas-Linares, Kurtsiefer, New J. Phys. 11, 045011 (2009): folded cross-correlation,
here with a short burst of one side, counted rather than estimated significance, and a scan over drifts.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import numpy as np

from distribution.clock.fit import follow
from distribution.clock.model import PPM, Acquisition, KnownClock
from distribution.clock.ridge import promise
from distribution.clock.search import EFFORTS, Candidate, Outlook, candidates
from distribution.clock.servo import REACH_PS, Servo
from distribution.errors import ClockNotFound, ParameterError
from distribution.tags import TimesPs
from distribution.times import ascending_times
from distribution.units import PS_PER_S, seconds_to_ps

FALSE_ALARM_LIMIT = 1e-9
_LEAST_EVENTS = 10
_NEEDED_SCORE = 8.0  # a peak this many standard deviations high is found practically always,
_LEAST_PAIRS = 30.0  # if so many pairs are in it


def acquire(a_ps: TimesPs, b_ps: TimesPs, *, uncertainty_s: float = 1.0, max_drift_ppm: float = 10.0) -> Acquisition:
    """Find offset, drift and acceleration of Bob's clock against Alice's.

    Args:
        a_ps, b_ps: shape (n,) and (m,), int64, ps, ascending: detection times of all detectors of a station, each on
            its own clock; any origin, as long as simultaneous events differ by at most `uncertainty_s`.
        uncertainty_s: the offset is searched in +- this.
        max_drift_ppm: the drift is searched in +- this.

    Returns:
        The model, with its false-alarm probability (below `FALSE_ALARM_LIMIT`).

    Raises:
        ClockNotFound: no peak is credible; the message has the rates and what pairs would have been seen.
        ParameterError: unordered times or an impossible range.
    """
    a, b = ascending_times(a_ps, name="a_ps"), ascending_times(b_ps, name="b_ps")
    if not 0.0 < uncertainty_s <= 1e5 or not 0.0 <= max_drift_ppm <= 1000.0:
        raise ParameterError(
            f"uncertainty_s must lie in (0, 1e5] and max_drift_ppm in [0, 1000],"
            f" got {uncertainty_s} and {max_drift_ppm}"
        )
    if min(a.size, b.size) < _LEAST_EVENTS or a[0] == a[-1] or b[0] == b[-1]:
        raise ClockNotFound(f"{a.size} and {b.size} events are too few to find a common clock in")
    uncertainty_ps, max_drift = seconds_to_ps(uncertainty_s), max_drift_ppm * PPM
    seen: list[Candidate] = []
    for effort in EFFORTS:
        seen = candidates(a, b, uncertainty_ps=uncertainty_ps, max_drift=max_drift, effort=effort)
        found = _best(a, b, seen, uncertainty_ps, max_drift)
        if found is not None:
            return replace(found, start=_at_the_beginning(a, b, found))
    raise _not_found(a, b, seen, uncertainty_s, max_drift_ppm)


def _at_the_beginning(a: TimesPs, b: TimesPs, found: Acquisition) -> KnownClock:
    """The clock at the first common event: followed back from the time used, as a clock that runs the other way."""
    known = found.start
    start_ps = known.model.reference_ps
    first_ps = max(int(a[0]), int(known.model.to_alice(b[:1])[0]))
    if start_ps - first_ps < seconds_to_ps(found.seconds_used / 8.0):
        return known.referred_to(min(first_ps, start_ps))
    back = replace(known, model=known.model.mirrored())
    servo = Servo(back, pairs_per_s=found.pairs_per_s, spread_ps=found.spread_ps)
    lo, hi = np.searchsorted(b, known.model.to_bob(np.array([first_ps, start_ps])))
    earlier = a[: np.searchsorted(a, start_ps + 4 * REACH_PS)]
    # Where the pairs end before the recording does, as when the beam was opened late, the clock is known till there.
    with contextlib.suppress(ClockNotFound):
        servo.follow(-earlier[::-1], -b[lo:hi][::-1])
    return replace(servo.known, model=servo.known.model.mirrored())


def _best(a: TimesPs, b: TimesPs, seen: list[Candidate], uncertainty_ps: int, max_drift: float) -> Acquisition | None:
    """The credible candidate; None if there is none, or if another one elsewhere is as good."""
    ranked = sorted(((promise(a, b, c), c) for c in seen), key=lambda pair: -pair[0])
    best: Acquisition | None = None
    best_promise = 0.0
    for worth, candidate in ranked:
        if best is not None and (worth < 0.3 * best_promise or not _is_elsewhere(candidate, best)):
            continue
        found = follow(a, b, candidate, uncertainty_ps=uncertainty_ps, max_drift=max_drift)
        if found is None or found.false_alarm >= FALSE_ALARM_LIMIT:
            continue
        if best is None:
            best, best_promise = found, worth
        elif _is_elsewhere(candidate, best) and _is_alike(found, best):
            return None
        elif found.pairs > best.pairs:
            best, best_promise = found, worth
    return best


def _is_elsewhere(candidate: Candidate, found: Acquisition) -> bool:
    """True if a candidate is not just the found peak, or its flank, seen again."""
    middle = (candidate.start_ps + candidate.stop_ps) // 2
    apart = found.model.referred_to(middle).offset_ps - candidate.offset_ps
    return abs(apart) > 8.0 * candidate.half_ps


def _is_alike(one: Acquisition, other: Acquisition) -> bool:
    """True if the pair counts of two peaks cannot say which is the right one."""
    return abs(one.pairs - other.pairs) < 5.0 * math.sqrt(one.pairs + other.pairs)


def _not_found(
    a: TimesPs, b: TimesPs, seen: list[Candidate], uncertainty_s: float, max_drift_ppm: float
) -> ClockNotFound:
    span_a, span_b = ((int(t[-1]) - int(t[0])) / PS_PER_S for t in (a, b))
    message = (
        f"no common clock within +-{uncertainty_s:g} s and +-{max_drift_ppm:g} ppm:"
        f" {a.size / span_a:.0f}/s during {span_a:.3g} s against {b.size / span_b:.0f}/s during {span_b:.3g} s"
    )
    if not seen:
        return ClockNotFound(message, hint="the recordings do not overlap: they were made at different times")
    max_drift = max_drift_ppm * PPM
    best, common_s = seen[0], min(span_a, span_b)
    outlook = Outlook(a.size / span_a / PS_PER_S, b.size / span_b / PS_PER_S, seconds_to_ps(uncertainty_s), max_drift)
    shown = outlook.pairs_per_s(common_s, best.score)
    least = max(outlook.pairs_per_s(common_s, _NEEDED_SCORE), _LEAST_PAIRS / common_s)
    needed_s = outlook.seconds(shown, _NEEDED_SCORE, max(common_s, _LEAST_PAIRS / shown))
    remedy = "only a narrower range would surely" if needed_s is None else f"{needed_s:.2g} s of data would"
    return ClockNotFound(
        f"{message}; best peak {best.score:.1f} sigma",
        hint=f"pairs at {least:.0f}/s or more would have been found; if this peak is real, {remedy} show it; check that"
        " both recordings are of the same source and time, or allow a wider range",
    )
