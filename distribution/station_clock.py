"""A station's own clock as time goes on: offset, drift, ageing, a random walk of its frequency, and jumps.

The clock is parameters; started with its own random generator it becomes a course, a chain of pieces in each of which
the reading is a quadratic of true time. Pieces are laid when they are asked for and drawn in order, so equal
generators give equal clocks however they are asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec
import numpy as np

from distribution.bounds import require
from distribution.units import PS_PER_S, seconds_to_ps

WALK_STEP_PS = PS_PER_S // 10


class ClockJump(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step of the clock's reading.

    Attributes:
        at_s: when, true time.
        step_ps: by how much; negative is back.
    """

    at_s: float
    step_ps: int

    def __post_init__(self) -> None:
        require("at_s", self.at_s, 0.0, 1e8)
        # Back by no more than a millisecond: all that is read twice must be kept and put in order.
        require("step_ps", self.step_ps, -PS_PER_S // 1000, PS_PER_S)


class StationClock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A station's clock: it shows offset + (1 + drift) t + ageing t^2 / 2 + walk + jumps at true time t.

    Attributes:
        offset_s: what it shows at true time 0; never negative, so that no tag is.
        drift_ppm: how much too fast it runs at true time 0.
        drift_rate_ppb_per_s: how fast that changes.
        walk_ppb: standard deviation of the random change of the frequency within one second, ppb; its Allan
            deviation is walk_ppb sqrt(tau / 3) for tau in s, above the walk's step of 0.1 s (Riley, NIST Special
            Publication 1065 (2008), section 6: random walk FM).
        jumps: steps of its reading.
    """

    offset_s: float = 0.0
    drift_ppm: float = 0.0
    drift_rate_ppb_per_s: float = 0.0
    walk_ppb: float = 0.0
    jumps: tuple[ClockJump, ...] = ()

    def __post_init__(self) -> None:
        require("offset_s", self.offset_s, 0.0, 1e6)
        require("drift_ppm", self.drift_ppm, -1000.0, 1000.0)
        require("drift_rate_ppb_per_s", self.drift_rate_ppb_per_s, -1000.0, 1000.0)
        require("walk_ppb", self.walk_ppb, 0.0, 1000.0)

    @property
    def offset_ps(self) -> int:
        """Reading at true time 0, whole ps."""
        return round(self.offset_s * 1e12)

    @property
    def back_ps(self) -> int:
        """How far all jumps back together take it, ps."""
        return -sum(min(0, jump.step_ps) for jump in self.jumps)

    def start(self, rng: np.random.Generator) -> ClockCourse:
        """The clock as it runs from true time 0 on."""
        return ClockCourse(self, rng)


@dataclass(frozen=True, slots=True)
class ClockPiece:
    """A stretch of true time in which the clock is a quadratic.

    Attributes:
        start_ps, end_ps: the stretch; no end when nothing happens any more.
        whole_ps, fraction_ps: reading at its start.
        drift: rate less 1 at its start.
        bend: change of the drift per ps.
    """

    start_ps: int
    end_ps: int | None
    whole_ps: int
    fraction_ps: float
    drift: float
    bend: float

    def reading(self, true_ps: int) -> tuple[int, float]:
        """What the clock shows: whole ps, and the fraction of a ps in [0, 1) beyond it."""
        t = true_ps - self.start_ps
        ahead = self.fraction_ps + self.drift * t + 0.5 * self.bend * t * t
        whole = math.floor(ahead)
        return self.whole_ps + t + whole, ahead - whole

    def drift_at(self, true_ps: int) -> float:
        """Rate less 1."""
        return self.drift + self.bend * (true_ps - self.start_ps)


@dataclass(slots=True)
class ClockCourse:
    """A running clock."""

    clock: StationClock
    rng: np.random.Generator
    _pieces: list[ClockPiece] = field(init=False)
    _jumps: list[tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._jumps = sorted((seconds_to_ps(jump.at_s), jump.step_ps) for jump in self.clock.jumps)
        bend = self.clock.drift_rate_ppb_per_s * 1e-9 / PS_PER_S
        first = self.clock.offset_ps + sum(step for at, step in self._jumps if at <= 0)
        self._jumps = [jump for jump in self._jumps if jump[0] > 0]
        self._pieces = [ClockPiece(0, self._next_event(0), first, 0.0, self.clock.drift_ppm * 1e-6, bend)]

    def piece(self, true_ps: int) -> ClockPiece:
        """The piece that holds a true time; times before 0 belong to the first."""
        while (end := self._pieces[-1].end_ps) is not None and end <= true_ps:
            self._pieces.append(self._after(self._pieces[-1], end))
        for piece in reversed(self._pieces):
            if piece.start_ps <= true_ps:
                return piece
        return self._pieces[0]

    def reading(self, true_ps: int) -> tuple[int, float]:
        """What the clock shows at a true time: whole ps, and the fraction of a ps beyond it."""
        return self.piece(true_ps).reading(true_ps)

    def forget(self, before_ps: int) -> None:
        """Drop the pieces that ended before a true time, which will not be asked for again."""
        while len(self._pieces) > 1 and self._pieces[1].start_ps <= before_ps:
            del self._pieces[0]

    def _after(self, piece: ClockPiece, start_ps: int) -> ClockPiece:
        whole, fraction = piece.reading(start_ps)
        drift = piece.drift_at(start_ps)
        if self.clock.walk_ppb and start_ps % WALK_STEP_PS == 0:
            drift += self.clock.walk_ppb * 1e-9 * math.sqrt(WALK_STEP_PS / PS_PER_S) * self.rng.standard_normal()
        while self._jumps and self._jumps[0][0] <= start_ps:
            whole += self._jumps.pop(0)[1]
        return ClockPiece(start_ps, self._next_event(start_ps), whole, fraction, drift, piece.bend)

    def _next_event(self, after_ps: int) -> int | None:
        events = [at for at, _ in self._jumps[:1]]
        if self.clock.walk_ppb:
            events.append((after_ps // WALK_STEP_PS + 1) * WALK_STEP_PS)
        return min(events, default=None)
