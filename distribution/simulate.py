"""Event-level simulation of a link: what the two time taggers would deliver, in stretches of any length.

The stream does not depend on how it is cut: clicks are drawn in batches of their own size, and `advance` hands out
those that are due, so equal seeds give equal tags bit for bit whether a second is taken at once or in a hundred pieces.
Both stations are cut at the same true time, each on its own clock.

Light is already under way when the recording starts, at true time 0 and with the clocks' offsets, so both stations see
it from their first picosecond on, however long the arms are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distribution.colouring import Colouring, Colourist
from distribution.detector import Response
from distribution.errors import ParameterError
from distribution.kernels.generate import generate
from distribution.outcomes import Eavesdropper, Nobody
from distribution.scenario import Scenario, load_scenario
from distribution.stream import ClickStream, Stretch, joined_stretches
from distribution.tags import TimeTags
from distribution.timeline import LEAD_PS, Receiver, Segment, Timeline, arrays
from distribution.truth import GroundTruth, clock_truth, offset_and_drift
from distribution.units import PS_PER_S, seconds_to_ps

NORMAL = Response(sigma_ps=1.0)


@dataclass(frozen=True, slots=True)
class StationTags:
    """The next stretch of both stations' tags, each on its own clock.

    Attributes:
        alice, bob: the tags.
        alice_horizon_ps, bob_horizon_ps: all tags before this time of that clock have been handed out.
    """

    alice: TimeTags
    bob: TimeTags
    alice_horizon_ps: int
    bob_horizon_ps: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """One recording and the truth about it."""

    alice: TimeTags
    bob: TimeTags
    truth: GroundTruth


@dataclass(frozen=True, slots=True)
class _Block:
    """Segments and their colouring, as the kernel takes them."""

    segments: list[Segment]
    colouring: Colouring
    length: npt.NDArray[np.float64]
    whole: npt.NDArray[np.int64]
    line: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]
    phase: npt.NDArray[np.float64]

    def reading(self, segment: int, t_ps: float, side: int) -> int:
        """What a clock shows of light emitted then, whole ps, rounded down."""
        if segment == len(self.segments):
            segment, t_ps = segment - 1, float(self.length[-1])
        fraction, rate, bend = self.line[segment, side]
        return int(self.whole[segment, side]) + math.floor(fraction + t_ps * (rate + t_ps * bend))


class LinkSimulator:
    """A link that runs: each `advance` is the next stretch of both taggers' tags.

    Args:
        scenario: the link.
        rng: seeds the simulation; drawn from here only.
        eavesdropper: who is at work on the link, if anybody.
        keep_truth: remember which tags belong together (9 bytes a tag, for ever); a live source does not.

    Raises:
        ParameterError: nothing in this link ever clicks.
    """

    def __init__(
        self,
        scenario: Scenario,
        rng: np.random.Generator,
        eavesdropper: Eavesdropper | None = None,
        *,
        keep_truth: bool = False,
    ) -> None:
        # A generator for each part: one more draw in one of them must not shift the others.
        parts = [np.random.default_rng(rng.integers(0, 1 << 63, 4)) for _ in range(7)]
        self.scenario = scenario
        self._receivers = (Receiver(scenario.alice, parts[0], parts[1]), Receiver(scenario.bob, parts[2], parts[3]))
        self._timeline = Timeline(*self._receivers)
        self._colourist = Colourist(scenario, eavesdropper or Nobody())
        self._refuse_silence()
        self._streams = (
            ClickStream(scenario.alice, parts[4], keep_truth),
            ClickStream(scenario.bob, parts[5], keep_truth),
        )
        pulses = scenario.pairs.pulses
        self._pulse = np.array([pulses.period_ps, pulses.width_ps] if pulses else [0.0, 0.0])
        self._slots = np.array([stream.station.analyser.slot_ps for stream in self._streams])
        self._seeds = np.array([stream.slot_seed for stream in self._streams])
        self._edge, self._height = _exponential_layers()
        self._normal = NORMAL.table()[None]
        self._state = parts[6].integers(1, 1 << 64, 4, dtype=np.uint64)
        self._count = np.zeros(4, np.int64)
        self._next_gaps = float(parts[6].exponential())
        self._next_ps = 0.0
        self._block: _Block | None = None
        self._until_ps = 0
        self._safe_ps = [-(1 << 62), -(1 << 62)]
        self._keep_truth = keep_truth
        self._segments: list[Segment] = []
        self._given: tuple[list[Stretch], list[Stretch]] = ([], [])
        self._opening = self._receivers[0].follow(0)[0], self._receivers[1].follow(0)[0]
        self._first_ps = [receiver.clock.reading(0)[0] for receiver in self._receivers]

    def advance(self, seconds: float) -> StationTags:
        """The tags of the next `seconds` of true time; times ascend within and across calls.

        Raises:
            ParameterError: seconds is not positive.
        """
        if not 0 < seconds < 1e8:
            raise ParameterError(f"seconds = {seconds} must be above 0 and below 1e8")
        self._until_ps += seconds_to_ps(seconds)
        horizons = [r.clock.reading(self._until_ps)[0] - r.station.clock.back_ps for r in self._receivers]
        # Without the JIT, numpy warns where the generator's 64-bit sums wrap, which is what they are for.
        with np.errstate(over="ignore"):
            while any(safe < horizon for safe, horizon in zip(self._safe_ps, horizons, strict=True)):
                self._draw()
        taken = [s.take(first, h) for s, first, h in zip(self._streams, self._first_ps, horizons, strict=True)]
        for receiver in self._receivers:
            receiver.clock.forget(self._until_ps)
        if self._keep_truth:
            self._given[0].append(taken[0])
            self._given[1].append(taken[1])
        return StationTags(taken[0].tags(), taken[1].tags(), horizons[0], horizons[1])

    @property
    def clock_offset_ps(self) -> int:
        """What Bob's clock shows when Alice's shows 0 (see GroundTruth)."""
        return offset_and_drift(*self._opening)[0]

    @property
    def clock_drift_ppm(self) -> float:
        """How much faster Bob's clock runs than Alice's at the start."""
        return offset_and_drift(*self._opening)[1] * 1e6

    def truth(self) -> GroundTruth:
        """The truth about all tags handed out so far.

        Raises:
            ParameterError: the simulator was made without keep_truth.
        """
        if not self._keep_truth:
            raise ParameterError("this simulator keeps no truth: make it with keep_truth=True")
        alice, bob = (joined_stretches(parts) for parts in self._given)
        return GroundTruth(
            alice_pair=alice.pair,
            bob_pair=bob.pair,
            alice_cause=alice.cause,
            bob_cause=bob.cause,
            alice_lost_ps=alice.lost,
            bob_lost_ps=bob.lost,
            offset_ps=self.clock_offset_ps,
            drift_ppm=self.clock_drift_ppm,
            clocks=clock_truth(self._segments),
        )

    def _refuse_silence(self) -> None:
        if any(receiver.step_ps is not None for receiver in self._receivers):
            return  # an arm that changes may let light through later
        arms = self._receivers[0].conditions, self._receivers[1].conditions
        if self._colourist.colour([arms]).gap_ps[0] > 1e16:
            raise ParameterError(
                f"nothing ever clicks in {self.scenario.title!r}: all efficiencies and noise rates are 0"
            )

    def _next_block(self) -> _Block:
        segments = self._timeline.next_block()
        if self._keep_truth:
            self._segments += segments
        length, whole, line = arrays(segments)
        colouring = self._colourist.colour([segment.arms for segment in segments])
        spread = np.array([[arm.dispersion_ps for arm in segment.arms] for segment in segments])
        return _Block(segments, colouring, length, whole, line, spread, self._pulse_phase(segments))

    def _pulse_phase(self, segments: list[Segment]) -> npt.NDArray[np.float64]:
        """Time of the last pulse before each segment, from its start; exact, as a period need not be whole."""
        pulses = self.scenario.pairs.pulses
        if pulses is None:
            return np.zeros(len(segments))
        period = Fraction(PS_PER_S) / Fraction(pulses.rate_hz)
        return np.array([-float(segment.start_ps % period) for segment in segments])

    def _draw(self) -> None:
        """One batch: from where the last one stopped until an array is full or the block ends."""
        if self._block is None:
            self._block = self._next_block()
            self._count[3] = 0
            self._next_ps = self._next_gaps * float(self._block.colouring.gap_ps[0])
        block, colouring, (a, b) = self._block, self._block.colouring, self._streams
        t = generate(
            self._state,
            self._edge,
            self._height,
            self._next_ps,
            self._count[3],
            block.length,
            colouring.gap_ps,
            colouring.tables,
            block.whole,
            block.line,
            block.spread,
            block.phase,
            self._pulse,
            colouring.keep,
            colouring.alias,
            colouring.kind,
            colouring.hits,
            colouring.late_ps,
            colouring.theta,
            self._slots,
            self._seeds,
            a.shares,
            b.shares,
            self._normal,
            a.response,
            b.response,
            a.fixed,
            b.fixed,
            a.time,
            a.label,
            a.pair,
            b.time,
            b.label,
            b.pair,
            self._count,
        )
        segment = int(self._count[3])
        self._settle(segment, t)
        if segment == len(block.segments):
            self._block, self._next_gaps = None, t
        else:
            self._next_ps = t

    def _settle(self, segment: int, t_ps: float) -> None:
        """Pass on what no later click can precede: jitter, early outcomes and jumps back of the clock considered."""
        assert self._block is not None
        late = self._block.colouring.late_ps
        for side, stream in enumerate(self._streams):
            early = stream.early_ps - min(0.0, float(late[..., side].min()))
            back = stream.station.clock.back_ps + math.ceil(early) + LEAD_PS
            safe = max(self._safe_ps[side], self._block.reading(segment, t_ps, side) - back)
            self._safe_ps[side] = safe
            self._count[side] = stream.settle(int(self._count[side]), safe)


def simulate(
    scenario: Scenario | str | Path,
    seconds: float,
    rng: np.random.Generator,
    eavesdropper: Eavesdropper | None = None,
) -> Simulation:
    """Record a link once.

    Args:
        scenario: the link, or a path or name for `load_scenario`.
        seconds: length of the recording, true time.
        rng: source of all randomness.
        eavesdropper: who is at work on the link, if anybody.

    Returns:
        both stations' tags and, apart from them, the truth.

    Raises:
        ParameterError: an impossible scenario or argument.
    """
    link = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    simulator = LinkSimulator(link, rng, eavesdropper, keep_truth=True)
    tags = simulator.advance(seconds)
    return Simulation(tags.alice, tags.bob, simulator.truth())


def _exponential_layers() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Edges and heights of the 256-layer ziggurat of exp(-x) (Marsaglia and Tsang 2000)."""
    last_edge, area = 7.69711747013104972, 0.0039496598225815571993
    edge = np.zeros(257)
    edge[0], edge[1] = area * math.exp(last_edge), last_edge
    for i in range(2, 256):
        edge[i] = -math.log(area / edge[i - 1] + math.exp(-edge[i - 1]))
    return edge, np.exp(-edge)
