"""Event-level simulation of a link: what the two time taggers would deliver, in stretches of any length.

The stream does not depend on how it is cut: clicks are drawn in batches of their own size, and `advance`
    hands out those that are due, so equal seeds give equal tags bit for bit whether a second is taken at once
    or in a hundred pieces. Both stations are cut at the same true time, each on its own clock.

The recording starts LEAD_PS after the clocks' origin; that is longer than any jitter, so no time is negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distribution.detector import four
from distribution.errors import ParameterError
from distribution.kernels.generate import NOBODY, OUTCOMES, generate, settle
from distribution.scenario import Scenario, Station, load_scenario
from distribution.tags import EMPTY, TimeTags
from distribution.units import PS_PER_S, seconds_to_ps

LEAD_PS = 1_000_000
_BATCH = 1 << 16
# Within a batch, time is a float64 count of ps from the batch's origin: 10 s keep it exact to 2e-3 ps.
_LONGEST_BATCH_PS = 10 * PS_PER_S
_NEVER = -(1 << 62)

Numbers = npt.NDArray[np.int64]


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
class GroundTruth:
    """What only a simulator knows; kept apart from the tags so that no protocol can reach it by accident.

    Attributes:
        alice_pair, bob_pair: shape of the tags handed out, int64: number of the pair whose other photon made
            a click at the other station as well, -1 for a click without such a partner (lone photon or
            noise).
        offset_ps: Bob's clock reads offset_ps + (1 + drift_ppm * 1e-6) * t when Alice's reads t.
        drift_ppm: how much faster Bob's clock runs than Alice's.
    """

    alice_pair: Numbers
    bob_pair: Numbers
    offset_ps: int
    drift_ppm: float

    def partners(self) -> tuple[Numbers, Numbers]:
        """Indices of Alice's and Bob's tags that stem from the same pair, in order of emission."""
        at_alice, at_bob = np.nonzero(self.alice_pair >= 0)[0], np.nonzero(self.bob_pair >= 0)[0]
        _, i, j = np.intersect1d(
            self.alice_pair[at_alice], self.bob_pair[at_bob], assume_unique=True, return_indices=True
        )
        return at_alice[i], at_bob[j]


@dataclass(frozen=True, slots=True)
class Simulation:
    """One recording and the truth about it."""

    alice: TimeTags
    bob: TimeTags
    truth: GroundTruth


@dataclass(slots=True)
class _Clicks:
    """One station's clicks on their way from emission order to settled tags."""

    station: Station
    numbered: bool
    response: npt.NDArray[np.float32] = field(init=False)
    fixed: npt.NDArray[np.float32] = field(init=False)
    early_ps: float = field(init=False)
    time: Numbers = field(default_factory=lambda: np.empty(_BATCH, np.int64))
    channel: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(_BATCH, np.uint8))
    pair: Numbers = field(init=False)
    last: Numbers = field(default_factory=lambda: np.full(4, _NEVER, np.int64))
    ready: list[tuple[Numbers, npt.NDArray[np.uint8], Numbers]] = field(default_factory=list)

    def __post_init__(self) -> None:
        detectors = self.station.detectors
        delays = four(detectors.delay_ps)
        self.response = np.stack([response.table() for response in detectors.responses])
        self.fixed = np.array(delays, np.float32)
        self.early_ps = -min(0.0, float(self.response.min()) + min(delays))
        self.pair = np.empty(_BATCH if self.numbered else 0, np.int64)

    def settle(self, n: int, safe_ps: int) -> int:
        """Make the first n clicks that no later click can precede ready; returns how many are left."""
        count = np.zeros(2, np.int64)
        out = np.empty(n, np.int64), np.empty(n, np.uint8), np.empty(n if self.numbered else 0, np.int64)
        detectors = self.station.detectors
        settle(
            self.time,
            self.channel,
            self.pair,
            n,
            safe_ps,
            detectors.dead_ps,
            detectors.mutes_station,
            self.last,
            *out,
            count,
        )
        done = int(count[0])
        self.ready.append((out[0][:done], out[1][:done], out[2][:done]))
        return int(count[1])

    def take(self, until_ps: int) -> tuple[TimeTags, Numbers]:
        """The ready clicks before `until_ps`, and their pair numbers."""
        taken, rest = [], []
        for time, channel, pair in self.ready:
            cut = int(np.searchsorted(time, np.int64(until_ps)))
            if cut:
                taken.append((time[:cut], channel[:cut], pair[:cut]))
            if cut < time.size:
                rest.append((time[cut:], channel[cut:], pair[cut:]))
        self.ready = rest
        if not taken:
            return EMPTY, np.empty(0, np.int64)
        time, channel, pair = (np.concatenate(parts) for parts in zip(*taken, strict=True))
        return TimeTags(time, channel), pair


class LinkSimulator:
    """A link that runs: each `advance` is the next stretch of both taggers' tags.

    Args:
        scenario: the link.
        rng: seeds the simulation; drawn from here only.
        intercept_fraction: share of the photons on Bob's arm that an eavesdropper intercepts and resends.
        keep_truth: remember which tags belong together (8 bytes a tag, for ever); a live source does not.

    Raises:
        ParameterError: the fraction is not in [0, 1], or nothing in this link ever clicks.
    """

    def __init__(
        self,
        scenario: Scenario,
        rng: np.random.Generator,
        intercept_fraction: float = 0.0,
        *,
        keep_truth: bool = False,
    ) -> None:
        weights, self._hits = _outcome_weights(scenario, intercept_fraction)
        if not weights.sum() > 0:
            raise ParameterError(f"nothing ever clicks in {scenario.title!r}: all efficiencies and noise rates are 0")
        self.scenario = scenario
        self._gap_ps = PS_PER_S / float(weights.sum())
        self._keep, self._alias = _alias_table(weights)
        self._edge, self._height = _exponential_layers()
        self._state = rng.integers(1, 1 << 64, 4, dtype=np.uint64)
        self._keep_truth = keep_truth
        self._alice = _Clicks(scenario.alice, keep_truth)
        self._bob = _Clicks(scenario.bob, keep_truth)
        self._count = np.zeros(3, np.int64)
        self._origin_ps = 0
        self._next_ps = rng.exponential(self._gap_ps)
        self._until_ps = 0
        self._pairs: tuple[list[Numbers], list[Numbers]] = ([], [])

    def advance(self, seconds: float) -> StationTags:
        """The tags of the next `seconds` of true time; times ascend within and across calls.

        Raises:
            ParameterError: seconds is not positive.
        """
        if not 0 < seconds < 1e8:
            raise ParameterError(f"seconds = {seconds} must be above 0 and below 1e8")
        self._until_ps += seconds_to_ps(seconds)
        # Without the JIT, numpy warns where the generator's 64-bit sums wrap, which is what they are for.
        with np.errstate(over="ignore"):
            while self._origin_ps + self._next_ps < self._until_ps + LEAD_PS:
                self._draw(_LONGEST_BATCH_PS)
        alice_horizon_ps, _ = self._reading(self._alice, self._until_ps)
        bob_horizon_ps, _ = self._reading(self._bob, self._until_ps)
        alice, alice_pair = self._alice.take(alice_horizon_ps)
        bob, bob_pair = self._bob.take(bob_horizon_ps)
        if self._keep_truth:
            self._pairs[0].append(alice_pair)
            self._pairs[1].append(bob_pair)
        return StationTags(alice, bob, alice_horizon_ps, bob_horizon_ps)

    @property
    def clock_offset_ps(self) -> int:
        """What Bob's clock shows when Alice's shows 0 (see GroundTruth)."""
        alice, bob = self.scenario.alice.clock, self.scenario.bob.clock
        return bob.offset_ps - alice.offset_ps - round(alice.offset_ps * self.clock_drift_ppm * 1e-6)

    @property
    def clock_drift_ppm(self) -> float:
        """How much faster Bob's clock runs than Alice's."""
        alice, bob = self.scenario.alice.clock.drift_ppm, self.scenario.bob.clock.drift_ppm
        return (bob - alice) / (1.0 + alice * 1e-6)

    def truth(self) -> GroundTruth:
        """The truth about all tags handed out so far.

        Raises:
            ParameterError: the simulator was made without keep_truth.
        """
        if not self._keep_truth:
            raise ParameterError("this simulator keeps no truth: make it with keep_truth=True")
        alice, bob = (np.concatenate([*parts, np.empty(0, np.int64)]) for parts in self._pairs)
        return GroundTruth(alice, bob, self.clock_offset_ps, self.clock_drift_ppm)

    def _reading(self, clicks: _Clicks, true_ps: int) -> tuple[int, float]:
        return clicks.station.clock.reading(true_ps + LEAD_PS)

    def _draw(self, stop_ps: int) -> None:
        """One batch: from where the last one stopped until an array is full or `stop_ps` later."""
        whole_a, fraction_a = self._reading(self._alice, self._origin_ps)
        whole_b, fraction_b = self._reading(self._bob, self._origin_ps)
        rate_a = 1.0 + self.scenario.alice.clock.drift_ppm * 1e-6
        rate_b = 1.0 + self.scenario.bob.clock.drift_ppm * 1e-6
        a, b = self._alice, self._bob
        t_ps = generate(
            self._state,
            self._edge,
            self._height,
            self._gap_ps,
            float(stop_ps),
            self._next_ps,
            self._keep,
            self._alias,
            self._hits,
            a.response,
            b.response,
            a.fixed,
            b.fixed,
            np.array([rate_a, fraction_a, rate_b, fraction_b]),
            whole_a,
            whole_b,
            a.time,
            a.channel,
            a.pair,
            b.time,
            b.channel,
            b.pair,
            self._count,
        )
        whole = math.floor(t_ps)
        self._origin_ps += whole
        self._next_ps = t_ps - whole
        for index, clicks in enumerate((a, b)):
            reached, _ = self._reading(clicks, self._origin_ps)
            left = clicks.settle(int(self._count[index]), reached - math.ceil(clicks.early_ps) - 1)
            self._count[index] = left


def simulate(
    scenario: Scenario | str | Path,
    seconds: float,
    rng: np.random.Generator,
    intercept_fraction: float = 0.0,
) -> Simulation:
    """Record a link once.

    Args:
        scenario: the link, or a path or name for `load_scenario`.
        seconds: length of the recording, true time.
        rng: source of all randomness.
        intercept_fraction: share of the photons on Bob's arm that an eavesdropper intercepts and resends.

    Returns:
        both stations' tags and, apart from them, the truth.

    Raises:
        ParameterError: an impossible scenario or argument.
    """
    link = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    simulator = LinkSimulator(link, rng, intercept_fraction, keep_truth=True)
    tags = simulator.advance(seconds)
    return Simulation(tags.alice, tags.bob, simulator.truth())


def _outcome_weights(
    scenario: Scenario, intercept_fraction: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """Rates per second of everything that clicks, (32,), and which detectors each outcome fires, (32, 2).

    16 joint outcomes, then 4 lone clicks of Alice and 4 of Bob, noise included; the last 8 have rate 0.
    """
    cps = scenario.pairs.pairs_per_s * scenario.outcomes(intercept_fraction)
    weights = np.zeros(OUTCOMES)
    hits = np.full((OUTCOMES, 2), NOBODY, np.uint8)
    weights[:16] = cps[:4, :4].reshape(-1)
    hits[:16, 0], hits[:16, 1] = np.divmod(np.arange(16), 4)
    weights[16:20] = cps[:4, 4] + np.array(scenario.alice.detectors.noise_cps)
    weights[20:24] = cps[4, :4] + np.array(scenario.bob.detectors.noise_cps)
    hits[16:20, 0] = hits[20:24, 1] = np.arange(4)
    return weights, hits


def _alias_table(weights: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]:
    """Alias table (Vose 1991): keep[i] in units of 2^-59 is the chance to stay in column i of 32."""
    chance = weights / weights.sum() * OUTCOMES
    alias = np.arange(OUTCOMES, dtype=np.uint8)
    small = [i for i in range(OUTCOMES) if chance[i] < 1.0]
    large = [i for i in range(OUTCOMES) if chance[i] >= 1.0]
    while small and large:
        low, high = small.pop(), large[-1]
        alias[low] = high
        chance[high] -= 1.0 - chance[low]
        if chance[high] < 1.0:
            small.append(large.pop())
    chance[small + large] = 1.0  # what rounding left over; 2^59 is above every 59-bit number: always stay
    return (np.minimum(chance, 1.0) * float(1 << 59)).astype(np.uint64), alias


def _exponential_layers() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Edges and heights of the 256-layer ziggurat of exp(-x) (Marsaglia and Tsang 2000)."""
    last_edge, area = 7.69711747013104972, 0.0039496598225815571993
    edge = np.zeros(257)
    edge[0], edge[1] = area * math.exp(last_edge), last_edge
    for i in range(2, 256):
        edge[i] = -math.log(area / edge[i - 1] + math.exp(-edge[i - 1]))
    return edge, np.exp(-edge)
