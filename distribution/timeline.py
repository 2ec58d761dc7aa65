"""How time runs from the source to the two clocks: segments of emission time in which everything is constant.

A segment ends where a step of either arm does, where the light reaches a station whose clock jumps or changes its
pace, or after ten seconds. In it, each clock's reading of light is a quadratic of the time of emission: the arm's delay
(Doppler shift and its change included) and the clock's own drift and ageing, composed to second order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from distribution.channels.arm import ArmConditions, ArmCourse
from distribution.colouring import Arms
from distribution.scenario import Station
from distribution.station_clock import ClockCourse
from distribution.units import PS_PER_S

# Time from a segment's start is a float64 count of ps: 10 s keep it exact to 2e-3 ps.
LONGEST_PS = 10 * PS_PER_S
_SEGMENTS = 256
# Longer than any jitter: the light of the recording's first click is emitted within the simulation.
LEAD_PS = 1_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """A clock's reading of light emitted t ps after the start: whole + fraction + (1 + excess) t + bend t^2."""

    whole_ps: int
    fraction_ps: float
    excess: float
    bend: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of emission time."""

    start_ps: int
    length_ps: int
    arms: Arms
    lines: tuple[Line, Line]


@dataclass(slots=True)
class Receiver:
    """One arm and the clock at its end, as time goes on; asked forwards."""

    station: Station
    arm_rng: np.random.Generator
    clock_rng: np.random.Generator
    course: ArmCourse = field(init=False)
    clock: ClockCourse = field(init=False)
    step_ps: int | None = field(init=False)
    conditions: ArmConditions = field(init=False)
    _step: int = 0

    def __post_init__(self) -> None:
        self.course = self.station.course(self.arm_rng)
        self.clock = self.station.clock.start(self.clock_rng)
        step_s = self.course.step_s
        self.step_ps = None if step_s is None else max(1, round(step_s * PS_PER_S))
        self.conditions = self.course.at(0.0)

    def enter(self, t_ps: int) -> None:
        """Go on to the step that holds emission time `t_ps`; times before 0 belong to the first."""
        if self.step_ps is not None and (step := max(0, t_ps // self.step_ps)) > self._step:
            self._step = step
            self.conditions = self.course.at(step * self.step_ps / PS_PER_S)

    def delay(self, t_ps: int) -> tuple[float, float, float]:
        """Delay of light emitted at `t_ps` in this step, ps; its rate; and its bend per ps."""
        arm = self.conditions
        since = float(t_ps - (self._step * self.step_ps if self.step_ps else 0))
        bend = arm.delay_bend_per_s / PS_PER_S
        return arm.delay_ps + since * (arm.delay_rate + 0.5 * bend * since), arm.delay_rate + bend * since, bend

    def follow(self, t_ps: int) -> tuple[Line, int]:
        """What the clock shows of light emitted from `t_ps` on, and where that must end for this arm and clock."""
        delay, rate, bend = self.delay(t_ps)
        whole_delay = math.floor(delay)
        arrival = t_ps + whole_delay
        piece = self.clock.piece(arrival)
        whole, fraction = piece.reading(arrival)
        drift = piece.drift_at(arrival)
        line = Line(
            whole,
            fraction + (1.0 + drift) * (delay - whole_delay),
            drift + rate + drift * rate,
            0.5 * ((1.0 + drift) * bend + piece.bend * (1.0 + rate) ** 2),
        )
        end = t_ps + LONGEST_PS
        if self.step_ps is not None:
            end = min(end, (self._step + 1) * self.step_ps)
        # Worth solving for only if light of this stretch can get there: a delay's rate is below 1e-3.
        if piece.end_ps is not None and piece.end_ps <= arrival + (end - t_ps) * 1.01 + 1:
            end = min(end, max(t_ps + 1, self._emission(piece.end_ps, t_ps)))
        return line, end

    def _emission(self, arrival_ps: int, near_ps: int) -> int:
        """First whole ps of emission whose light arrives at `arrival_ps` or later, by this step's delay."""
        t_ps = near_ps
        for _ in range(4):  # each round gains three digits
            t_ps = arrival_ps - math.floor(self.delay(t_ps)[0])
        return t_ps


class Timeline:
    """The segments of a link, one block after the other.

    Args:
        alice, bob: the two arms and clocks.
    """

    def __init__(self, alice: Receiver, bob: Receiver) -> None:
        self.receivers = (alice, bob)
        first = max(receiver.delay(0)[0] for receiver in self.receivers)
        self.start_ps = -math.ceil(max(first, 0.0)) - LEAD_PS
        self._next_ps = self.start_ps

    def next_block(self) -> list[Segment]:
        """The following segments: one where nothing ever changes, more where much does."""
        block: list[Segment] = []
        constant = all(r.step_ps is None for r in self.receivers)
        while not block or (len(block) < _SEGMENTS and not constant):
            block.append(self._segment())
        return block

    def _segment(self) -> Segment:
        start = self._next_ps
        alice, bob = self.receivers
        alice.enter(start)
        bob.enter(start)
        (line_a, end_a), (line_b, end_b) = alice.follow(start), bob.follow(start)
        self._next_ps = min(end_a, end_b)
        return Segment(start, self._next_ps - start, (alice.conditions, bob.conditions), (line_a, line_b))


def arrays(block: list[Segment]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Lengths, whole readings and lines of a block, as `kernels.generate.generate` takes them."""
    length = np.array([segment.length_ps for segment in block], np.float64)
    whole = np.array([[line.whole_ps for line in segment.lines] for segment in block], np.int64)
    line = np.array([[(n.fraction_ps, 1.0 + n.excess, n.bend) for n in segment.lines] for segment in block])
    return length, whole, line
