"""Recordings under the monitors: what `qkd analyse` says of one, and of two whose pairs are found.

The same monitors as on live streams, fed once. Where both recordings are at hand the pairs are seen from either side,
so the arrival times are held against the outcomes of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distribution.coincidence import match
from distribution.monitors.finding import Finding
from distribution.monitors.limits import Limits
from distribution.monitors.pairs import PairMonitor
from distribution.monitors.station import DETECTORS, StationMonitor
from distribution.tags import TimesPs, TimeTags

DOUBLE_CLICK_PS = 2000


@dataclass(frozen=True, slots=True)
class WatchedPairs:
    """Findings of two recordings.

    Attributes:
        a, b: of each station's tags by themselves.
        pairs_a, pairs_b: of the matched pairs, with the outcomes of a and of b.
    """

    a: list[Finding]
    b: list[Finding]
    pairs_a: list[Finding]
    pairs_b: list[Finding]


def watchable(tags: TimeTags) -> bool:
    """True if these are tags of four detectors, 0 .. 3 = H, V, D, A: the monitors speak of bases and outcomes."""
    return tags.counts().keys() == set(range(DETECTORS))


def watch_tags(tags: TimeTags, limits: Limits | None = None) -> list[Finding]:
    """Findings of one station's tags; raises ParameterError for detectors above 3."""
    monitor = StationMonitor(DOUBLE_CLICK_PS, limits)
    monitor.feed(tags)
    monitor.finish()
    return monitor.findings()


def watch_pairs(a: TimeTags, b: TimeTags, b_ps: TimesPs, window_ps: int, limits: Limits | None = None) -> WatchedPairs:
    """Findings of two recordings and of the pairs that they share.

    Args:
        a, b: the stations' tags, each on its own clock.
        b_ps: shape (len(b),), int64, ps: b's times on a's clock.
        window_ps: coincidence window, FULL width.
        limits: tolerances and the false-alarm rate.

    Raises:
        ParameterError: detectors above 3, or an impossible window.
    """
    found = match(a.t_ps, b_ps, window_ps)
    t_ps, delay_ps = a.t_ps[found.index_a], found.delay_ps(a.t_ps, b_ps)
    at_a, at_b = a.channel[found.index_a], b.channel[found.index_b]
    sides = []
    for own, theirs in ((at_a, at_b), (at_b, at_a)):
        monitor = PairMonitor(window_ps, limits)
        monitor.feed(t_ps, delay_ps, own, np.right_shift(theirs, 1))
        monitor.finish()
        sides.append(monitor.findings())
    return WatchedPairs(watch_tags(a, limits), watch_tags(b, limits), sides[0], sides[1])
