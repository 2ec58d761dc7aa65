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

from distribution.arm import ArmConditions, ArmCourse
from distribution.colouring import Arms
from distribution.scenario import Station
from distribution.station_clock import ClockCourse
from distribution.units import PS_PER_S

# Time from a segment's start is a float64 count of ps: 10 s keep it exact to 2e-3 ps.
LONGEST_PS = 10 * PS_PER_S
_SEGMENTS = 64
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

    def line(self, t_ps: int) -> Line:
        """What the clock shows of light emitted from `t_ps` on."""
        delay, rate, bend = self.delay(t_ps)
        arrival = t_ps + math.floor(delay)
        piece = self.clock.piece(arrival)
        whole, fraction = piece.reading(arrival)
        drift = piece.drift_at(arrival)
        excess = drift + rate + drift * rate
        curve = 0.5 * ((1.0 + drift) * bend + piece.bend * (1.0 + rate) ** 2)
        return Line(whole, fraction + (1.0 + drift) * (delay - math.floor(delay)), excess, curve)

    def end(self, t_ps: int) -> int:
        """Where the segment that starts at `t_ps` must end for this arm and clock."""
        ends = [t_ps + LONGEST_PS]
        if self.step_ps is not None:
            ends.append((self._step + 1) * self.step_ps)
        event = self.clock.piece(t_ps + math.floor(self.delay(t_ps)[0])).end_ps
        if event is not None:
            ends.append(max(t_ps + 1, self._emission(event, t_ps)))
        return min(ends)

    def _emission(self, arrival_ps: int, near_ps: int) -> int:
        """First whole ps of emission whose light arrives at `arrival_ps` or later, by this step's delay."""
        t_ps = near_ps
        for _ in range(4):  # the delay's rate is below 1e-3: each round gains three digits
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
        for receiver in self.receivers:
            receiver.enter(start)
        end = min(alice.end(start), bob.end(start))
        self._next_ps = end
        return Segment(start, end - start, (alice.conditions, bob.conditions), (alice.line(start), bob.line(start)))


def arrays(block: list[Segment]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Lengths, whole readings and lines of a block, as `kernels.generate.generate` takes them."""
    length = np.array([segment.length_ps for segment in block], np.float64)
    whole = np.array([[line.whole_ps for line in segment.lines] for segment in block], np.int64)
    line = np.array([[(n.fraction_ps, 1.0 + n.excess, n.bend) for n in segment.lines] for segment in block])
    return length, whole, line
