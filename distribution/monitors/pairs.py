"""Matched pairs as one station sees them, watched while they are found: its own outcomes, the peer's times and bases.

The peer's outcomes are not needed and never asked for; where both recordings are at hand, one monitor per station
sees everything.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError
from distribution.monitors.arrival import arrival_information
from distribution.monitors.blinding import silent_bases
from distribution.monitors.counts import BINS, PairCounts
from distribution.monitors.finding import Finding
from distribution.monitors.intervals import Intervals
from distribution.monitors.limits import Limits
from distribution.monitors.mismatch import efficiency_mismatch
from distribution.monitors.timeshift import time_shift
from distribution.monitors.watcher import Watcher
from distribution.tags import TimesPs
from distribution.times import ascending_times
from distribution.units import PS_PER_S, seconds_to_ps

_CELLS = 8 * BINS


class PairMonitor:
    """Arrival information, time shift, blinding, mismatch, bias and rate jumps of pairs; pieces do not matter.

    Args:
        window_ps: coincidence window, FULL width.
        limits: tolerances and the false-alarm rate.
    """

    def __init__(self, window_ps: int, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._half_ps = int(window_ps) // 2
        self._delays = 2 * self._half_ps + 1
        self._intervals = Intervals(seconds_to_ps(self._limits.interval_s))
        nothing = PairCounts(np.zeros((4, 2, BINS), np.int64), self._delays / BINS)
        self._watcher: Watcher[PairCounts] = Watcher(self._judge, nothing, self._limits)
        self._table = np.zeros(_CELLS, np.int64)
        self._last_ps = 0

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The first alarm of each monitor."""
        return self._watcher.alarms

    def feed(
        self,
        t_ps: TimesPs,
        delay_ps: TimesPs,
        own: npt.NDArray[np.uint8],
        their_basis: npt.NDArray[np.uint8],
    ) -> None:
        """Count the next pairs.

        Args:
            t_ps: shape (n,), int64, ps, ascending: this station's time of each pair.
            delay_ps: shape (n,), int64: the other time minus that, on one clock, within the window.
            own: shape (n,), uint8: this station's detector, 0 .. 3.
            their_basis: shape (n,), uint8: the other station's basis, 0 or 1.

        Raises:
            ParameterError: unordered times, unequal vectors, or a detector or basis out of range.
        """
        times = ascending_times(t_ps, name="t_ps")
        if not times.shape == delay_ps.shape == own.shape == their_basis.shape:
            raise ParameterError(f"pairs need equal vectors, got {times.size}, {delay_ps.size}, {own.size} and more")
        if times.size and (own.max() > 3 or their_basis.max() > 1):
            raise ParameterError(f"detector {own.max()} and basis {their_basis.max()}: only 0 .. 3 and 0 .. 1 exist")
        bins = np.clip((delay_ps + self._half_ps) * BINS // self._delays, 0, BINS - 1)
        cell = (2 * own.astype(np.int64) + their_basis) * BINS + bins
        for piece, over in self._intervals.pieces(times):
            self._table += np.bincount(cell[piece], minlength=_CELLS)
            if over:
                self._watcher.close(self._take(self._limits.interval_s))
        if times.size:
            self._last_ps = int(times[-1])

    def finish(self) -> None:
        """No more pairs will come: judge all of them once more, the unfinished interval included."""
        self._watcher.finish(self._take(self._seconds))
        self.restart()

    def restart(self) -> None:
        """Pairs were lost here: forget the unfinished interval, keep everything else."""
        self._take(0.0)
        self._intervals.restart()
        self._watcher.break_off()

    def findings(self) -> list[Finding]:
        """What every monitor says so far."""
        return self._watcher.findings(self._open(self._seconds))

    @property
    def _seconds(self) -> float:
        return self._intervals.elapsed_ps(self._last_ps) / PS_PER_S

    def _open(self, seconds: float) -> PairCounts:
        return PairCounts(self._table.reshape(4, 2, BINS).copy(), self._delays / BINS, seconds)

    def _take(self, seconds: float) -> PairCounts:
        counts = self._open(seconds)
        self._table[:] = 0
        return counts

    def _judge(self, counts: PairCounts) -> list[Finding]:
        return [
            *arrival_information(counts, self._limits),
            *time_shift(counts, self._limits),
            *silent_bases(counts, self._limits),
            *efficiency_mismatch(counts, self._limits),
        ]
