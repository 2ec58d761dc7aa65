"""What a monitor says: a statistic against its threshold, how probable chance is, and what to make of it.

A finding is an alarm when its effect is above the threshold *and* chance would not make it: with millions of events
every real detector differs significantly from an ideal one, and with a hundred nothing is known yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Watch(Enum):
    """The monitors."""

    ARRIVAL_INFORMATION = "arrival-information"
    TIME_SHIFT = "time-shift"
    DOUBLE_CLICKS = "double-clicks"
    BLINDING = "blinding"
    EFFICIENCY_MISMATCH = "efficiency-mismatch"
    BIAS = "bias"
    RATE_JUMP = "rate-jump"


_MEANING = {
    Watch.ARRIVAL_INFORMATION: "arrival times tell the outcome: who hears the announced times learns key bits",
    Watch.TIME_SHIFT: "early and late photons prefer different outcomes: skewed detectors, or somebody shifts photons",
    Watch.DOUBLE_CLICKS: "detectors click together more often than independent photons do: bright pulses, or crosstalk",
    Watch.BLINDING: "clicks that photons and noise must make are missing: detectors may be under somebody's control",
    Watch.EFFICIENCY_MISMATCH: "one outcome is more frequent than the other: the bits are predictable to that extent",
    Watch.BIAS: "shares of bases or bits have moved since the session began",
    Watch.RATE_JUMP: "the count rate has changed from one interval to the next",
}
_ADVICE = {
    Watch.ARRIVAL_INFORMATION: "align the detectors' delays, and announce times in bins far above what skew is left",
    Watch.TIME_SHIFT: "align the detectors' delays; if it stays, stop making keys and see who has access to the fibre",
    Watch.DOUBLE_CLICKS: "stop making keys; test for crosstalk with the arm shut, then look for a bright source",
    Watch.BLINDING: "stop making keys; shut the arm and see whether dark counts and double clicks come back",
    Watch.EFFICIENCY_MISMATCH: "balance the detectors' bias or attenuate the better one",
    Watch.BIAS: "check detectors, bias voltages and polarisation control; if nothing explains it, stop making keys",
    Watch.RATE_JUMP: "look for a blocked or newly coupled arm, or light that came on",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One monitor's verdict over one stretch of data.

    Attributes:
        watch: which monitor.
        statistic: its value; `unit` says of what.
        threshold: an alarm must be above it.
        chance: probability that an honest link (or, for thresholds that are tolerances, one just inside them) gives
            this much or more, corrected for the several tests of this finding.
        limit: an alarm's chance must be below it.
        counts: what it was computed from.
        detail: where in the data, in words.
    """

    watch: Watch
    statistic: float
    unit: str
    threshold: float
    chance: float
    limit: float
    counts: dict[str, float]
    detail: str = ""

    @property
    def alarm(self) -> bool:
        """True if the effect is too large and not chance."""
        return self.statistic > self.threshold and self.chance < self.limit

    @property
    def text(self) -> str:
        """What was seen, what it means and what to do, as one line for people."""
        seen = (
            f"{self.watch.value}: {self.statistic:.4g} {self.unit} (limit {self.threshold:g}, chance {self.chance:.1g})"
        )
        where = f", {self.detail}" if self.detail else ""
        return f"{seen}{where}; {_MEANING[self.watch]}; {_ADVICE[self.watch]}"

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "monitor": self.watch.value,
            "alarm": self.alarm,
            "statistic": self.statistic,
            "unit": self.unit,
            "threshold": self.threshold,
            "chance": self.chance,
            "chance_limit": self.limit,
            "counts": dict(self.counts),
            "detail": self.detail,
            "meaning": _MEANING[self.watch],
            "advice": _ADVICE[self.watch],
        }


def worst(findings: list[Finding]) -> Finding | None:
    """The finding that says most: alarms first, then the one highest above its threshold; None of none."""
    return max(findings, key=lambda f: (f.alarm, f.statistic / f.threshold), default=None)
