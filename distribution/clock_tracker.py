"""Following Bob's clock along the run, from the pairs themselves: a Kalman filter of order three over short cells.

State: errors of the model's offset, drift and acceleration. In each cell of Alice's time a straight line through the
delays of the pairs measures offset and drift, with the error that the number of pairs gives; between cells the
acceleration walks at random (warming crystals and fibres, a satellite's Doppler shift). Few pairs move the model
little, none only let its uncertainty, and the search range with it, grow.

Cells lie on a grid of their own and an unfinished one is kept open, so what is learnt does not depend on how the stream
is cut into stretches; only the events of an unfinished cell are aligned with what is known by then. Outcomes and bases
are never looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from distribution.clock_line import Line, straight_line
from distribution.clock_model import Acquisition, ClockModel
from distribution.errors import ClockNotFound
from distribution.tags import TimesPs
from distribution.times import ascending_times
from distribution.units import PS_PER_S, ps_to_seconds

# How long the pairs may stay away (a blocked beam) before the clock counts as lost.
PATIENCE_S = 5.0
_PATIENCE_CELLS = 5
_PAIRS_PER_CELL = 150
_LEAST_CELL_S, _MOST_CELL_S = 0.02, 2.0
# Random walk of the acceleration: 1 ppb/s after one second. A quartz crystal in a draught changes its drift by a few
# ppb/s; a low orbit's 0.3 ppm/s builds up over a minute, by about 7 ppb/s in a second.
_WALK_PS_PER_S2 = 1e3
_JUMP_REACH_PS = 1_000_000.0
_LARGEST_REACH_PS = 5_000_000.0
_JUMP_PAIRS = 20.0  # expected in a cell before their absence is taken for a jump
_AFTER_JUMP_PS_PER_S = 1e4  # how far a jump may have changed the drift: 10 ppb

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClockJump:
    """A step of Bob's clock, or of the delay of the light, that no drift explains; an alarm.

    Attributes:
        at_ps: middle of the first cell after it, Alice's clock.
        step_ps: how much later Bob's events come since.
    """

    at_ps: int
    step_ps: float


@dataclass(frozen=True, slots=True)
class _State:
    """Model and acceleration (ps/s^2) at the model's reference, with the covariance of (ps, ps/s, ps/s^2)."""

    model: ClockModel
    bend: float
    covariance: Floats
    spread_ps: float
    pairs_per_s: float
    silent_s: float = 0.0

    def at(self, reference_ps: int) -> _State:
        """The same knowledge at another instant, later or earlier: less sure."""
        dt = ps_to_seconds(reference_ps - self.model.reference_ps)
        move = np.array([[1.0, dt, dt * dt / 2.0], [0.0, 1.0, dt], [0.0, 0.0, 1.0]])
        model = self.model.referred_to(reference_ps)
        return replace(
            self,
            model=model.moved(offset_ps=self.bend * dt * dt / 2.0, drift=self.bend * dt / PS_PER_S),
            covariance=move @ self.covariance @ move.T + _walk(dt),
        )

    def to_alice(self, b_ps: TimesPs) -> TimesPs:
        """Bob's times on Alice's clock, acceleration included."""
        t_ps = self.model.to_alice(b_ps)
        ends_s = (t_ps[[0, -1]] - self.model.reference_ps) / PS_PER_S
        if abs(self.bend) / 2.0 * float((ends_s**2).max()) < 0.1:
            return t_ps
        since_s = (t_ps - self.model.reference_ps) / PS_PER_S
        return t_ps - np.rint(self.bend / 2.0 * since_s**2).astype(np.int64)

    def updated(self, line: Line, half_s: float) -> _State:
        """Kalman's update: `line` measures offset and drift over +- half_s, with the line's covariance."""
        scale = np.diag([1.0, 1.0 / half_s])
        noise = scale @ line.covariance @ scale
        gain = np.linalg.solve(self.covariance[:2, :2] + noise, self.covariance[:2, :]).T
        shift, speed, bend = gain @ np.array([line.centre_ps, line.tilt_ps / half_s])
        covariance = self.covariance - gain @ self.covariance[:2, :]
        weight = min(line.pairs / 2000.0, 0.5)
        return _State(
            self.model.moved(offset_ps=float(shift), drift=float(speed) / PS_PER_S),
            self.bend + float(bend),
            (covariance + covariance.T) / 2.0,
            self.spread_ps + weight * (line.spread_ps - self.spread_ps),
            self.pairs_per_s + 0.1 * (line.pairs / (2.0 * half_s) - self.pairs_per_s),
        )

    def jumped(self, line: Line, half_s: float) -> _State:
        """Start again at a step of the offset; the drift before it is still the best guess."""
        looser = self.covariance + np.diag([line.centre_ps**2, _AFTER_JUMP_PS_PER_S**2, 0.0])
        return replace(self, covariance=looser).updated(line, half_s)


def _walk(dt: float) -> Floats:
    """Covariance that white jerk adds in `dt` seconds; backwards in time the odd powers change sign."""
    t = abs(dt)
    sign = math.copysign(1.0, dt)
    q = np.array(
        [
            [t**5 / 20.0, sign * t**4 / 8.0, t**3 / 6.0],
            [sign * t**4 / 8.0, t**3 / 3.0, sign * t**2 / 2.0],
            [t**3 / 6.0, sign * t**2 / 2.0, t],
        ]
    )
    return _WALK_PS_PER_S2**2 * q


@dataclass(slots=True)
class _Cell:
    """A cell of Alice's time: what was expected when it was opened, and its pairs so far."""

    number: int
    expected: _State
    events_a: int = 0
    t_s: list[Floats] = field(default_factory=list)
    delay_ps: list[Floats] = field(default_factory=list)


class ClockTracker:
    """Keeps Bob's times on Alice's clock, stretch after stretch.

    Args:
        acquisition: where to start.
    """

    def __init__(self, acquisition: Acquisition) -> None:
        variance = acquisition.spread_ps**2 / max(acquisition.pairs, 1)
        span_s = max(acquisition.seconds_used, 1e-3)
        # A straight line fitted the acquisition: its ends were less than about one spread off.
        bend = 8.0 * acquisition.spread_ps / span_s**2
        rate = max(acquisition.pairs / span_s, 1e-3)
        self._origin_ps = acquisition.model.reference_ps
        self._cell_s = min(max(_PAIRS_PER_CELL / rate, _LEAST_CELL_S), _MOST_CELL_S)
        self._state = _State(
            acquisition.model,
            0.0,
            np.diag([variance, 12.0 * variance / span_s**2, bend**2]),
            acquisition.spread_ps,
            rate,
        )
        self._open: _Cell | None = None
        self._latest = self._state
        self._last_ps: int | None = None
        self._jumps: list[ClockJump] = []

    @property
    def model(self) -> ClockModel:
        """The clock model as of the latest cell, tangent to the curve that is followed."""
        return self._latest.model

    @property
    def spread_ps(self) -> float:
        """Standard deviation of the pair delays about the model, ps."""
        return self._latest.spread_ps

    @property
    def locked(self) -> bool:
        """True if the latest cell that was looked at showed the pairs where they were expected."""
        return self._latest.silent_s == 0.0

    @property
    def jumps(self) -> tuple[ClockJump, ...]:
        """All jumps so far that were followed."""
        return tuple(self._jumps)

    def align(self, a_ps: TimesPs, b_ps: TimesPs) -> TimesPs:
        """Bob's times on Alice's clock, after following the clock through them.

        Args:
            a_ps: shape (n,), int64, ps, ascending, Alice's clock: all her events that Bob's may pair with; more of
                them on either side do no harm.
            b_ps: shape (m,), int64, ps, ascending, Bob's clock; one stretch after the other.

        Returns:
            Shape (m,), int64, ps, ascending.

        Raises:
            ClockNotFound: lost lock: no pairs for `PATIENCE_S`, or the uncertainty has grown beyond any search.
            ParameterError: unordered times.
        """
        a, b = ascending_times(a_ps, name="a_ps"), ascending_times(b_ps, name="b_ps")
        if not b.size:
            return b.copy()
        done: list[TimesPs] = []
        here = self._origin_ps - round(self._cell_s * PS_PER_S / 2)
        if self._last_ps is None and int(self._state.model.to_alice(b[:1])[0]) < here:
            # The clock is known best inside the stretch: follow it from there, both ways.
            cut = int(np.searchsorted(b, self._state.model.to_bob(np.array([here]))[0]))
            if 0 < cut < b.size:
                done, b = self._backwards(a, b[:cut]), b[cut:]
        aligned = np.maximum.accumulate(np.concatenate([*done, *self._forwards(a, b)]))
        if self._last_ps is not None:  # cells may meet a picosecond early
            aligned = np.maximum(aligned, self._last_ps)
        self._last_ps = int(aligned[-1])
        return aligned

    def _forwards(self, a: TimesPs, b: TimesPs) -> list[TimesPs]:
        parts = []
        while b.size:
            cell = self._cell_of(b[0])
            _, stop_ps = self._edges(cell.number)
            cut = max(int(np.searchsorted(b, cell.expected.model.to_bob(np.array([stop_ps]))[0])), 1)
            self._latest = self._gather(cell, a, b[:cut])
            parts.append(self._latest.to_alice(b[:cut]))
            b = b[cut:]
        return parts

    def _backwards(self, a: TimesPs, b: TimesPs) -> list[TimesPs]:
        """Follow the clock from where it is known back to the beginning; leaves the tracker's state alone."""
        parts = []
        state, number = self._state, -1
        while b.size:
            middle = state.at(self._middle(number))
            start_ps, _ = self._edges(number)
            cut = min(int(np.searchsorted(b, middle.model.to_bob(np.array([start_ps]))[0])), b.size)
            if cut < b.size:
                state = self._gather(_Cell(number, middle), a, b[cut:])
                parts.append(state.to_alice(b[cut:]))
                b = b[:cut]
            number -= 1
        return parts[::-1]

    def _edges(self, number: int) -> tuple[int, int]:
        cell_ps = round(self._cell_s * PS_PER_S)
        start = self._origin_ps + number * cell_ps - cell_ps // 2
        return start, start + cell_ps

    def _middle(self, number: int) -> int:
        start, stop = self._edges(number)
        return (start + stop) // 2

    def _cell_of(self, first_b_ps: np.int64) -> _Cell:
        """The open cell if Bob's event is still in it; else that is finished, and the event's own one is opened."""
        t_ps = int(self._state.at(self._latest.model.reference_ps).to_alice(np.array([first_b_ps]))[0])
        if self._open is not None:
            t_ps = int(self._open.expected.to_alice(np.array([first_b_ps]))[0])
            if t_ps < self._edges(self._open.number)[1]:
                return self._open
            self._state = self._latest
        number = (t_ps - self._edges(0)[0]) // round(self._cell_s * PS_PER_S)
        if self._open is not None:
            number = max(number, self._open.number + 1)
        self._open = _Cell(number, self._state.at(self._middle(number)))
        return self._open

    def _gather(self, cell: _Cell, a_ps: TimesPs, b_ps: TimesPs) -> _State:
        """Add a stretch's pairs to a cell, and say what all its pairs so far tell of the clock."""
        reach_ps = _reach(cell.expected, self._cell_s / 2)
        search_ps = max(reach_ps, _JUMP_REACH_PS if self._expects(cell) else reach_ps)
        ends = cell.expected.to_alice(b_ps[[0, -1]])
        lo, hi = np.searchsorted(a_ps, [int(ends[0]) - round(search_ps), int(ends[1]) + round(search_ps) + 1])
        return self._judge(cell, a_ps[lo:hi], b_ps, reach_ps)

    def _expects(self, cell: _Cell) -> bool:
        """True if so many pairs are due in a cell that their absence says something."""
        return cell.expected.pairs_per_s * self._cell_s >= _JUMP_PAIRS

    def _judge(self, cell: _Cell, a: TimesPs, b: TimesPs, reach_ps: float) -> _State:
        half_s = self._cell_s / 2
        expected = cell.expected
        cell.events_a += a.size
        t_s, delay = _delays(expected, a, b, reach_ps)
        cell.t_s.append(t_s)
        cell.delay_ps.append(delay)
        u = np.concatenate(cell.t_s) / half_s
        tilt_ps = 3.0 * math.sqrt(expected.covariance[1, 1]) * half_s
        line = straight_line(u, np.concatenate(cell.delay_ps), reach_ps, tilt_ps, expected.spread_ps)
        if line is not None:
            return expected.updated(line, half_s)
        if self._expects(cell) and reach_ps < _JUMP_REACH_PS:
            t_s, delay = _delays(expected, a, b, _JUMP_REACH_PS)
            line = straight_line(t_s / half_s, delay, _JUMP_REACH_PS, 0.0, expected.spread_ps)
            if line is not None and line.pairs > _JUMP_PAIRS / 2:
                self._jumps.append(ClockJump(expected.model.reference_ps, line.centre_ps))
                cell.expected = expected.jumped(line, half_s)
                cell.t_s.clear()
                cell.delay_ps.clear()
                return cell.expected
        return self._silent(cell)

    def _silent(self, cell: _Cell) -> _State:
        """A cell without visible pairs; one in which Alice has no events at all says nothing."""
        silent_s = cell.expected.silent_s + (self._cell_s if cell.events_a else 0.0)
        if silent_s > max(PATIENCE_S, _PATIENCE_CELLS * self._cell_s):
            raise ClockNotFound(
                f"lost lock: no pairs for {silent_s:.1f} s, the clock jumped or the pairs stopped coming",
                hint="check the source and both arms, then acquire the clock again",
            )
        return replace(cell.expected, silent_s=silent_s)


def _delays(expected: _State, a: TimesPs, b: TimesPs, reach_ps: float) -> tuple[Floats, Floats]:
    """(seconds from the reference, measured minus expected delay) of the pairs within reach."""
    index, delay = expected.model.residuals(a, b, reach_ps)
    t_s = (a[index] - expected.model.reference_ps) / PS_PER_S
    return t_s, delay - expected.bend / 2.0 * t_s**2


def _reach(state: _State, half_s: float) -> float:
    """How far from the model pairs can be; raises when that is too far to search."""
    reach_ps = 6.0 * state.spread_ps + 5.0 * math.sqrt(
        state.covariance[0, 0] + state.covariance[1, 1] * half_s**2 + state.covariance[2, 2] * half_s**4 / 4.0
    )
    if reach_ps > _LARGEST_REACH_PS:
        raise ClockNotFound(
            f"lost lock: the clock is only known to {math.sqrt(state.covariance[0, 0]) / 1000:.0f} ns",
            hint="acquire it again",
        )
    return reach_ps
