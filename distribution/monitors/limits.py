"""How much of each effect is tolerated, how long an interval is, and how often a clean link may raise an alarm.

Every threshold is a tolerance: an effect of that size is still accepted, and the test's null hypothesis is the worst
link inside it. So an honest link that is off by less than the tolerance never alarms more often than stated, however
long it is watched.
"""

from __future__ import annotations

from dataclasses import dataclass

from distribution.bounds import require

# Per interval at most this many tests: below two dyadic blocks (`ladder`) of at most four judges and one comparison
# with the reference each, and one comparison with the interval before.
TESTS_PER_INTERVAL = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Tolerances of the monitors.

    Attributes:
        false_alarm: how often one monitored stream of a clean link alarms, at most, per interval.
        interval_s: length of an interval on the stream's own clock, s.
        information_bits: mutual information of outcome and arrival time, bits per sifted bit.
        shift_share: difference between the outcome shares of early and late pairs.
        double_click_ratio: clicks of two detectors together, over what independent clicks make.
        missing_share: share of the clicks due by independent photons (two detectors together; dark counts) that may be
            missing.
        missing_bases: share of the pairs due in different bases that may be missing.
        mismatch_bits: 1 - h(share of outcome 0), bits per bit; 0.01 is an efficiency ratio of 1.27.
        drift_share: change of a share of bases or bits since the session began.
        rate_factor: change of a rate between neighbouring intervals.
        reference_events: counts that make up the session's reference.
        floor_cps: lowest count rate of a detector whose arm is shut; 0 when it was never measured.
        station_dead_ps: dead time that one click imposes on all detectors of the station (some taggers); double clicks
            within it cannot be due.
        pulse_period_ps: repetition period of a pulsed source, 0 for a continuous one; photons of one pulse are then
            together by nature, so double clicks are compared with those of neighbouring pulses.
    """

    false_alarm: float = 1e-6
    interval_s: float = 1.0
    information_bits: float = 1e-3
    shift_share: float = 0.02
    double_click_ratio: float = 1.5
    missing_share: float = 0.5
    missing_bases: float = 0.05
    mismatch_bits: float = 0.01
    drift_share: float = 0.02
    rate_factor: float = 1.3
    reference_events: int = 100_000
    floor_cps: float = 0.0
    station_dead_ps: int = 0
    pulse_period_ps: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "false_alarm": (1e-15, 0.1),
            "interval_s": (1e-3, 3600.0),
            "information_bits": (1e-9, 1.0),
            "shift_share": (1e-6, 1.0),
            "double_click_ratio": (1.0, 1e3),
            "missing_share": (0.01, 0.99),
            "missing_bases": (1e-3, 0.99),
            "mismatch_bits": (1e-9, 0.99),
            "drift_share": (1e-6, 1.0),
            "rate_factor": (1.0, 1e3),
            "reference_events": (100, 1e12),
            "floor_cps": (0.0, 1e9),
            "station_dead_ps": (0, 1e12),
            "pulse_period_ps": (0, 1e9),
        }
        for name, (low, high) in bounds.items():
            require(name, getattr(self, name), low, high)

    @property
    def chance(self) -> float:
        """Below this chance one finding counts: the false alarms of an interval, shared among its tests."""
        return self.false_alarm / TESTS_PER_INTERVAL
