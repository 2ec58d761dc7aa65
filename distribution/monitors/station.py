"""One station's own tags, watched while they come in."""

from __future__ import annotations

import numpy as np

from distribution.errors import ParameterError
from distribution.kernels.neighbours import count_neighbours
from distribution.monitors.blinding import silent_clicks
from distribution.monitors.counts import StationCounts
from distribution.monitors.doubleclicks import double_clicks
from distribution.monitors.finding import Finding
from distribution.monitors.intervals import Intervals
from distribution.monitors.limits import Limits
from distribution.monitors.mismatch import efficiency_mismatch
from distribution.monitors.watcher import Watcher
from distribution.tags import EMPTY, TimeTags, join
from distribution.times import ascending_times
from distribution.units import PS_PER_S, seconds_to_ps

DETECTORS = 4
# Double clicks that are due are counted at 10 to 50 windows (or at 20 periods of a pulsed source): beyond crosstalk and
# jitter, near enough that no flicker of the light matters, many enough to add little error of their own.
_NEAREST, _FARTHEST = 10, 50
_PERIODS = 20

_NOTHING = StationCounts(np.zeros(DETECTORS, np.int64))


class StationMonitor:
    """Double clicks, blinding, mismatch, bias and rate jumps of one station; verdicts do not depend on the pieces.

    Args:
        double_click_ps: clicks of two detectors closer than this are together.
        limits: tolerances and the false-alarm rate.
    """

    def __init__(self, double_click_ps: int, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._window_ps = max(int(double_click_ps), 1)
        period_ps = int(self._limits.pulse_period_ps)
        if 0 < period_ps < 4 * self._window_ps:
            raise ParameterError(
                f"a pulse period of {period_ps} ps does not hold a double-click window of {double_click_ps} ps",
                hint="the window must be less than a quarter of the period",
            )
        self._period_ps = period_ps
        if period_ps:
            self._from_ps, self._to_ps = period_ps // 2, _PERIODS * period_ps + period_ps // 2
            self._apart_windows = 2.0 * _PERIODS
        else:
            self._from_ps, self._to_ps = _NEAREST * self._window_ps, _FARTHEST * self._window_ps
            self._apart_windows = 2.0 * (self._to_ps - self._from_ps) / self._delays
        self._intervals = Intervals(seconds_to_ps(self._limits.interval_s))
        self._watcher: Watcher[StationCounts] = Watcher(self._judge, _NOTHING, self._limits)
        self._recent = EMPTY
        self._singles = np.zeros(DETECTORS, np.int64)
        self._close_pairs = np.zeros((2, DETECTORS, DETECTORS), np.int64)
        self._last_ps = 0

    @property
    def _delays(self) -> int:
        """How many delays, of either sign, count as together."""
        return 2 * self._window_ps - 1

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The first alarm of each monitor."""
        return self._watcher.alarms

    def feed(self, tags: TimeTags) -> None:
        """Count the next tags.

        Args:
            tags: continuing the stream; detectors 0 .. 3.

        Raises:
            ParameterError: unordered times, or a detector above 3.
        """
        t_ps = ascending_times(tags.t_ps, name="t_ps")
        if tags.channel.size and tags.channel.max() >= DETECTORS:
            raise ParameterError(f"detector {tags.channel.max()} fired; monitors know detectors 0 .. {DETECTORS - 1}")
        for piece, over in self._intervals.pieces(t_ps):
            self._count(TimeTags(t_ps[piece], tags.channel[piece]))
            if over:
                self._watcher.close(self._take(self._limits.interval_s))

    def finish(self) -> None:
        """No more tags will come: judge the whole stream once more, the unfinished interval included."""
        self._watcher.finish(self._take(self._intervals.elapsed_ps(self._last_ps) / PS_PER_S))
        self.restart()

    def restart(self) -> None:
        """Tags were lost here: forget the unfinished interval, keep everything else."""
        self._take(0.0)
        self._intervals.restart()
        self._watcher.break_off()
        self._recent = EMPTY

    def findings(self) -> list[Finding]:
        """What every monitor says so far."""
        return self._watcher.findings(self._open(self._intervals.elapsed_ps(self._last_ps) / PS_PER_S))

    def _count(self, tags: TimeTags) -> None:
        if not len(tags):
            return
        known = join(self._recent, tags)
        count_neighbours(
            known.t_ps,
            known.channel,
            len(self._recent),
            self._window_ps,
            self._from_ps,
            self._to_ps,
            self._period_ps,
            self._close_pairs,
        )
        self._singles += np.bincount(tags.channel, minlength=DETECTORS)
        self._last_ps = int(tags.t_ps[-1])
        keep = int(np.searchsorted(known.t_ps, self._last_ps - self._to_ps))
        self._recent = TimeTags(known.t_ps[keep:].copy(), known.channel[keep:].copy())

    def _open(self, seconds: float) -> StationCounts:
        """Counts of the unfinished interval; only pairs of different detectors say anything about double clicks."""
        together, apart = (int(pairs.sum() - np.trace(pairs)) for pairs in self._close_pairs)
        rate = float(self._singles.sum()) ** 2 - float((self._singles.astype(np.float64) ** 2).sum())
        due = rate / 2.0 * self._delays / (seconds * PS_PER_S) if seconds > 0 else 0.0
        return StationCounts(self._singles.copy(), together, apart, due, seconds)

    def _take(self, seconds: float) -> StationCounts:
        counts = self._open(seconds)
        self._singles[:] = 0
        self._close_pairs[:] = 0
        return counts

    def _judge(self, counts: StationCounts) -> list[Finding]:
        return [
            *double_clicks(counts, self._apart_windows, self._limits),
            *silent_clicks(counts, self._window_ps, self._limits),
            *efficiency_mismatch(counts, self._limits),
        ]
