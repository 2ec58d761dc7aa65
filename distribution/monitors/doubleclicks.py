"""Double-click excess: detectors of one station that click together more often than independent photons make them.

Photons of different pairs, dark counts and stray light come independently, so two detectors click within the
double-click window as often as their rates say. Pulses of several photons (`distribution.eavesdroppers.middle`),
faked states that are too bright, and crosstalk make more. What is due is measured in the same data at delays of 10 to
50 windows, so neither dead times nor rates that flicker matter; given the sum of both counts, the near one is
binomial.
"""

from __future__ import annotations

from distribution.monitors.counts import StationCounts
from distribution.monitors.finding import Finding, Watch
from distribution.monitors.limits import Limits
from distribution.tails import binomial_at_least


def double_clicks(counts: StationCounts, apart_windows: float, limits: Limits) -> list[Finding]:
    """Double clicks over those due.

    Args:
        counts: of the stretch.
        apart_windows: how many times as many delays `counts.apart` covers.
        limits: the tolerances.
    """
    due = counts.apart / apart_windows
    odds = limits.double_click_ratio / apart_windows
    chance = binomial_at_least(counts.together, counts.together + counts.apart, odds / (1.0 + odds))
    return [
        Finding(
            watch=Watch.DOUBLE_CLICKS,
            # With none due at all, one is taken: a ratio must stay a number.
            statistic=counts.together / max(due, 1.0 / apart_windows),
            unit="times the double clicks due",
            threshold=limits.double_click_ratio,
            chance=chance,
            limit=limits.chance,
            counts={"together": counts.together, "due": due},
        )
    ]
