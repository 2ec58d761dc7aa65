"""The servo of the clock tracker: a Kalman filter of order three that takes Bob's events one by one.

State: lag of Bob's clock, its rate and its acceleration, all on Bob's clock. Every event is aligned with what the
events before it have told, and then tells what it can: its possible partners near the expected delay, weighted by the
probability that they are true ones. Nothing waits for a stretch to be complete, so nothing depends on how the stream
is cut. Few pairs move the state little, none only let its uncertainty, and the search range with it, grow.

How much the acceleration walks at random is not known: a quiet crystal's hardly does, a low orbit's does a lot. So
three filters run side by side, and the one that has lately predicted the pairs best leads.

Where pairs are plenty, only one in so many of Bob's events is learnt from: more would tell a clock's walk no better.

Cells on a fixed grid of Bob's time are where the servo is judged. A cell whose counts chance explains is forgotten, so
that accidentals cannot lead the clock away; one whose pairs are elsewhere tells of a jump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.clock.model import ClockModel, KnownClock
from distribution.errors import ClockNotFound
from distribution.kernels import follow as kernel
from distribution.tags import TimesPs
from distribution.tails import poisson_at_least
from distribution.units import PS_PER_S

# How long the pairs may stay away (a blocked beam) before the clock counts as lost.
PATIENCE_S = 5.0
_PATIENCE_CELLS = 5
_PAIRS_PER_CELL = 60
_MOST_PAIRS_PER_S = 2e4  # learnt from
_LEAST_CELL_S, _MOST_CELL_S = 0.1, 2.0
# Random walks of the acceleration, ps/s^2 after one second: a crystal at rest, one in a draught (its drift changes by a
# few ppb/s within a minute), and a low orbit, whose acceleration changes by up to 4 ppb/s in a second.
_WALKS = (30.0, 300.0, 3000.0)
_MEMORY_S = 5.0  # over which predictions are compared
_HOPELESS = 25.0  # log-likelihood by which a filter may trail before it starts again from the leader's state
_HANDICAP = 10.0  # and what it then has to make good
_ORBIT_JERK_PS_PER_S3 = 1e4  # above that of any low orbit; bounds what a fade may hide
REACH_PS = 1_000_000  # jumps up to this are followed
_BINS = 1 << 14
_DOUBT = 4.0  # on the variances of the start: it may rest on pairs that are seen again now
_JUMP_PAIRS = 20.0  # expected in a cell before their absence is taken for a jump
_AFTER_JUMP_PS_PER_S = 1e4  # how far a jump may have changed the drift: 10 ppb
_SOME = 1e-2  # chance of a cell's count below which the servo may learn from it
_SURE = 1e-6  # chance of the counts since the pairs were last seen below which they are seen again
_SURE_OF_JUMP = 1e-9

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClockJump:
    """A step of Bob's clock, or of the delay of the light, that no drift explains; an alarm.

    Attributes:
        at_ps: middle of the cell in which it was seen, Alice's clock. Bob's events between the jump and the end of that
            cell are aligned as if it had not happened: at most two cells, of 60 pairs and of 0.1 s at least.
        step_ps: how much later Bob's events come since.
    """

    at_ps: int
    step_ps: float


class Servo:
    """Follows Bob's clock forwards from an instant at which it is known.

    Args:
        known: the clock at that instant, its reference.
        pairs_per_s, spread_ps: what the pairs are like.

    Attributes:
        origin_ps: that instant on Bob's clock; the grid of cells starts there.
        spread_ps: standard deviation of the pair delays.
        silent_s: how long no pairs have been seen.
        jumps: all that were followed.
    """

    def __init__(self, known: KnownClock, *, pairs_per_s: float, spread_ps: float) -> None:
        model = known.model
        slope = 1.0 + model.drift
        self.origin_ps = model.reference_ps + model.offset_ps
        self.spread_ps = spread_ps
        self.silent_s = 0.0
        self.jumps: list[ClockJump] = []
        self._cell_ps = round(min(max(_PAIRS_PER_CELL / pairs_per_s, _LEAST_CELL_S), _MOST_CELL_S) * PS_PER_S)
        self._number = 0
        self._offset_ps = model.offset_ps
        lag = [model.offset_fraction_ps, model.drift / slope * PS_PER_S, model.acceleration_per_s / slope**3 * PS_PER_S]
        state = np.array([*lag, *(_DOUBT * known.covariance())[np.triu_indices(3)], 0.0])
        self._states = np.tile(state, (len(_WALKS), 1))
        self._scores = np.zeros(len(_WALKS))
        self._leader = len(_WALKS) - 1
        self._pairs_per_s = pairs_per_s
        self._accidentals_per_ps_s = pairs_per_s / (20.0 * spread_ps)  # a guess, until the first cell is full
        self._counted = self._expected = 0.0
        self._open()

    @property
    def _state(self) -> Floats:
        return self._states[self._leader]

    @property
    def _cell_s(self) -> float:
        return self._cell_ps / PS_PER_S

    @property
    def _start_ps(self) -> int:
        """Where the cell begins, on Bob's clock: the reference of the state."""
        return self.origin_ps + self._number * self._cell_ps

    @property
    def known(self) -> KnownClock:
        """The clock as of the latest pair, as a parabola on Alice's clock."""
        lag, rate, bend = (float(x) for x in self._state[:3])
        whole = math.floor(lag)
        seen_ps = self._start_ps + round(float(self._state[9]) * PS_PER_S)
        drift = rate / PS_PER_S / (1.0 - rate / PS_PER_S)
        return KnownClock(
            model=ClockModel(
                reference_ps=seen_ps - self._offset_ps - whole,
                offset_ps=self._offset_ps + whole,
                offset_fraction_ps=lag - whole,
                drift=drift,
                acceleration_per_s=bend / PS_PER_S * (1.0 + drift) ** 3,
            ),
            offset_error_ps=math.sqrt(self._state[3]),
            drift_error=math.sqrt(self._state[6]) / PS_PER_S,
            acceleration_error_per_s=math.sqrt(self._state[8]) / PS_PER_S,
        )

    def follow(self, a_ps: TimesPs, b_ps: TimesPs) -> TimesPs:
        """Bob's events, none before the origin or the last call's, on Alice's clock; possibly some ps out of order.

        Raises:
            ClockNotFound: lost lock.
        """
        aligned = np.empty(b_ps.size, np.int64)
        lo = 0
        while lo < b_ps.size:
            stop_ps = self._start_ps + self._cell_ps
            if b_ps[lo] >= stop_ps:
                self._close()
                self._number = (int(b_ps[lo]) - self.origin_ps) // self._cell_ps
                self._open(since_ps=stop_ps - self._cell_ps)
                continue
            hi = lo + int(np.searchsorted(b_ps[lo:], stop_ps))
            self._run(a_ps, b_ps[lo:hi], aligned[lo:hi])
            lo = hi
        return aligned

    def _run(self, a_ps: TimesPs, b_ps: TimesPs, aligned_ps: TimesPs) -> None:
        ends = [int(b_ps[i]) - self._offset_ps - round(self._lag(int(b_ps[i]))) for i in (0, -1)]
        lo, hi = np.searchsorted(a_ps, [ends[0] - 3 * REACH_PS, ends[1] + 3 * REACH_PS])
        skip = -self._events % self._stride
        self._events += b_ps.size
        sample_ps = np.ascontiguousarray(b_ps[skip :: self._stride])
        for n, walk in enumerate(_WALKS):
            # Only the leader's alignment counts, and only about it pairs are counted out to the whole reach.
            leads = n == self._leader
            reach_ps = REACH_PS if leads else min(math.ceil(self._near_ps[n]) + 1, REACH_PS)
            kernel.follow(
                a_ps[lo:hi],
                b_ps if leads else sample_ps,
                self._start_ps,
                self._offset_ps,
                self._states[n],
                walk,
                self.spread_ps**2,
                self._pairs_per_s / max(self._accidentals_per_ps_s, 1e-12),
                0.6 * self._near_ps[n],
                self._near_ps[n],
                reach_ps,
                self._cell_s / 2,
                skip if leads else 0,
                self._stride if leads else 1,
                self._bin_ps if leads else 2 * reach_ps + 1,
                self._histogram if leads else np.zeros(1, np.int32),
                self._tallies[n],
                aligned_ps if leads else np.empty_like(sample_ps),
            )

    def _lag(self, b_ps: int) -> float:
        t = (b_ps - self._start_ps) / PS_PER_S - float(self._state[9])
        return float(self._state[0] + t * (self._state[1] + 0.5 * t * self._state[2]))

    def _open(self, since_ps: int | None = None) -> None:
        """Begin a cell: state the time of the state from its start, and how far from the state pairs can be."""
        if since_ps is not None:
            self._states[:, 9] -= (self._start_ps - since_ps) / PS_PER_S
            whole = math.floor(self._state[0])
            self._offset_ps += whole
            self._states[:, 0] -= whole
        self._before = self._states.copy()
        unsure = [
            kernel.predicted(state, self._cell_s, walk)[3] for state, walk in zip(self._states, _WALKS, strict=True)
        ]
        self._near_ps = 5.0 * np.sqrt(np.array(unsure) + self.spread_ps**2)
        self._events = 0
        self._stride = max(1, int(self._pairs_per_s / _MOST_PAIRS_PER_S))
        self._bin_ps = max(math.ceil(self.spread_ps), 2 * REACH_PS // _BINS + 1)
        self._histogram = np.zeros(2 * REACH_PS // self._bin_ps + 1, np.int32)
        self._tallies = np.zeros((len(_WALKS), kernel.TALLIES))

    @property
    def _tally(self) -> Floats:
        return self._tallies[self._leader]

    @property
    def _core_ps(self) -> float:
        """Pairs nearer than this, three standard deviations, count as where they were expected."""
        return 0.6 * float(self._near_ps[self._leader])

    def _close(self) -> None:
        """Judge the cell: learn from it, forget it, or take its pairs' place for a jump."""
        count, within = self._tally[kernel.CORE], self._tally[kernel.WITHIN]
        accidental = max(within - count, 1.0) * self._core_ps / REACH_PS
        due = self._pairs_per_s * self._cell_s / self._stride
        some = poisson_at_least(count, accidental) < _SOME
        late = self._tally[kernel.LATE] - accidental / 2.0
        if due >= _JUMP_PAIRS and (not some or late < 0.15 * due) and self._jumped(0.25 * due):
            return
        if some:
            self._learn(count - accidental, within - count)
        else:
            self._states = self._before
        self._counted += count
        self._expected += accidental
        if some and poisson_at_least(self._counted, self._expected) < _SURE:
            self.silent_s = self._counted = self._expected = 0.0
        elif within > 0.0:  # where Alice has no events at all, nothing is said
            self.silent_s += self._cell_s
            self._check_lock()

    def _learn(self, pairs: float, accidentals: float) -> None:
        """Rates and spread, slowly."""
        true = self._tally[kernel.TRUE]
        weight = min(true / 2000.0, 0.5)
        variance = max(self._tally[kernel.SQUARES] / max(true, 1e-9), 0.25 * self.spread_ps**2)
        self.spread_ps += weight * (math.sqrt(variance) - self.spread_ps)
        seen_s = self._cell_s / self._stride
        self._pairs_per_s += 0.1 * (max(pairs, 0.0) / seen_s - self._pairs_per_s)
        density = accidentals / (2.0 * REACH_PS * seen_s)
        self._accidentals_per_ps_s += 0.2 * (density - self._accidentals_per_ps_s)
        self._scores = self._scores * math.exp(-self._cell_s / _MEMORY_S) + self._tallies[:, kernel.LOG_ODDS]
        self._leader = int(self._scores.argmax())
        for n in np.nonzero(self._scores < self._scores[self._leader] - _HOPELESS)[0]:
            self._states[n] = self._state
            self._scores[n] = self._scores[self._leader] - _HANDICAP

    def _jumped(self, least: float) -> bool:
        """Follow the pairs to where else in reach they are, if they are."""
        width = math.ceil(4.0 * self.spread_ps / self._bin_ps)
        total = np.concatenate([[0], np.cumsum(self._histogram, dtype=np.int64)])
        box = total[width:] - total[:-width]
        place_ps = (np.arange(box.size) + width / 2.0) * self._bin_ps - REACH_PS
        box[np.abs(place_ps) < self._core_ps + 4.0 * self.spread_ps] = 0
        best = int(box.argmax())
        accidental = max(float(total[-1] - box[best]), 1.0) * width / self._histogram.size
        sure = poisson_at_least(float(box[best]), accidental) * box.size < _SURE_OF_JUMP
        if not sure or box[best] - accidental < least:
            return False
        step_ps = float(place_ps[best])
        state = kernel.predicted(self._before[self._leader], self._cell_s, _WALKS[self._leader])
        # After a fade, an orbit's changing acceleration explains a step; else it is an alarm.
        explained = _ORBIT_JERK_PS_PER_S3 / 6.0 * (self.silent_s + self._cell_s) ** 3 if self.silent_s else 0.0
        if abs(step_ps) > explained + self._near_ps[self._leader]:
            middle_ps = self._start_ps + self._cell_ps // 2
            self.jumps.append(ClockJump(middle_ps - self._offset_ps - round(self._lag(middle_ps)), step_ps))
        state[0] += step_ps
        state[3] += (2.0 * width * self._bin_ps) ** 2
        state[6] += _AFTER_JUMP_PS_PER_S**2
        self._states[:] = state
        self._scores[:] = 0.0
        self.silent_s = self._counted = self._expected = 0.0
        return True

    def _check_lock(self) -> None:
        if self.silent_s > max(PATIENCE_S, _PATIENCE_CELLS * self._cell_s):
            raise ClockNotFound(
                f"lost lock: no pairs for {self.silent_s:.1f} s, the clock jumped or the pairs stopped coming",
                hint="check the source and both arms, then acquire the clock again",
            )
        unsure_ps = float(self._near_ps[self._leader])
        if unsure_ps > REACH_PS:
            raise ClockNotFound(
                f"lost lock: the clock is only known to {unsure_ps / 5e3:.0f} ns", hint="acquire it again"
            )
