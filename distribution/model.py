"""Closed forms of what a link delivers on average: singles, coincidences, accidentals, QBER, CHSH. No sampling.

They follow from the same scenario as the simulator and are what tests hold it to, what calibration fits and what
planning asks. Where an arm changes with time they describe its first moment. Rates are to first order in (rate x dead
time) where two detectors' blind times are correlated and in the chance of an afterpulse, exact otherwise; what a
saturated tagger drops is left out. A window is always the FULL width: differences Bob - Alice in [-window/2, window/2)
after removing the clock; for a pulsed source, shorter than a period.

Compare Neumann et al., Phys. Rev. A 104, 022406 (2021), which this extends from one pair of ideal analysers to all
detector pairs of two real ones: S = R eta + noise, C = R eta_A eta_B eta_t, A = S_A S_B w, E = (C e + A/2)/(C + A).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.channels.arm import ArmConditions
from distribution.dead_time import blind_groups, settled_rates, silence
from distribution.errors import ParameterError
from distribution.outcomes import NOBODY, Eavesdropper, Nobody, OutcomeSet
from distribution.scenario import Scenario
from distribution.states import Basis, BellState
from distribution.timing import Timing, window_fraction
from distribution.units import PS_PER_S

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LinkModel:
    """Mean rates of a link with a channels at Alice's and b at Bob's.

    Attributes:
        scenario: the link.
        arms: conditions of both arms.
        pair_cps: shape (a, b), rate at which one pair clicks at Alice's i and Bob's j, both alive.
        pulse_cps: shape (a, b), rate at which different pairs of one pulse do; 0 for a continuous pump.
        chance_cps2: shape (a, b), accidentals per second and per second of window.
        singles_a, singles_b: shapes (a,) and (b,), tags per second of each channel.
    """

    scenario: Scenario
    arms: tuple[ArmConditions, ArmConditions]
    pair_cps: Matrix
    pulse_cps: Matrix
    chance_cps2: Matrix
    singles_a: Matrix
    singles_b: Matrix

    def true_cps(self, window_ps: float, centre_ps: float = 0.0) -> Matrix:
        """Coincidences of partners inside the window, shape (a, b), per second."""
        # Partners' frequencies are off by opposite amounts: equal dispersions add up in the difference.
        spread_ps = abs(self.arms[0].dispersion_ps + self.arms[1].dispersion_ps)
        return self.pair_cps * self._inside(window_ps, centre_ps, spread_ps)

    def accidental_cps(self, window_ps: float, centre_ps: float = 0.0) -> Matrix:
        """Coincidences of clicks that are not partners, shape (a, b), per second: S_a S_b w, and shared pulses."""
        by_chance = self.chance_cps2 * window_ps / PS_PER_S
        if self.scenario.pairs.pulses is None:
            return by_chance
        squares = 2.0 * self.scenario.pairs.pulses.width_ps**2 + sum(arm.dispersion_ps**2 for arm in self.arms)
        return by_chance + self.pulse_cps * self._inside(window_ps, centre_ps, float(np.sqrt(squares)))

    def coincidence_cps(self, window_ps: float, centre_ps: float = 0.0) -> Matrix:
        """All pairs of tags inside the window, shape (a, b), per second."""
        return self.true_cps(window_ps, centre_ps) + self.accidental_cps(window_ps, centre_ps)

    def qber(self, window_ps: float, basis: Basis, centre_ps: float = 0.0) -> float:
        """Expected error fraction in one basis, accidentals included."""
        return error_fraction(self.coincidence_cps(window_ps, centre_ps), self.scenario.pairs.state, basis)

    def sifted_cps(self, window_ps: float) -> float:
        """Same-basis coincidences per second."""
        rate = self.coincidence_cps(window_ps)
        return float(sum(rate[2 * k : 2 * k + 2, 2 * k : 2 * k + 2].sum() for k in range(len(rate) // 2)))

    def correlator(self, window_ps: float, basis_a: int, basis_b: int) -> float:
        """E = P(equal) - P(different) of what coincides with Alice in one of her bases and Bob in one of his."""
        return correlator(self.coincidence_cps(window_ps), basis_a, basis_b)

    def chsh(self, window_ps: float, alice: tuple[int, int] = (0, 1), bob: tuple[int, int] = (0, 1)) -> float:
        """Largest CHSH value of two bases of each: |sum of the four correlators, one of them negative|."""
        e = np.array([[self.correlator(window_ps, i, j) for j in bob] for i in alice])
        return float(np.abs(e.sum() - 2.0 * e).max())

    def _inside(self, window_ps: float, centre_ps: float, spread_ps: float) -> Matrix:
        timing = Timing.of(self.scenario.alice), Timing.of(self.scenario.bob)
        inside: Matrix = window_fraction(*timing, np.array([window_ps]), centre_ps, spread_ps)[0]
        return inside


@dataclass(frozen=True, slots=True, eq=False)
class _Offered:
    """Clicks per second before detectors and tagger: of one pair at both sides, of photons, of noise."""

    pair: Matrix
    photons: tuple[Matrix, Matrix]
    noise: tuple[Matrix, Matrix]


def link_model(
    scenario: Scenario,
    eavesdropper: Eavesdropper | None = None,
    arms: tuple[ArmConditions, ArmConditions] | None = None,
) -> LinkModel:
    """Mean rates of a link.

    Args:
        scenario: the link.
        eavesdropper: who is at work on it, if anybody.
        arms: what the arms are like; None: as at true time 0, of one course where they depend on chance.
    """
    if arms is None:
        at_start = [station.course(np.random.default_rng(0)).at(0.0) for station in (scenario.alice, scenario.bob)]
        arms = at_start[0], at_start[1]
    offered = _offered(scenario, arms, eavesdropper or Nobody())
    stations = scenario.alice, scenario.bob
    (live_a, singles_a), (live_b, singles_b) = (
        settled_rates(station, scenario.pairs, photons, noise)
        for station, photons, noise in zip(stations, offered.photons, offered.noise, strict=True)
    )
    # Two detectors are more often blind together than by chance, because earlier pairs blinded both.
    blinding = blind_groups(scenario.alice) @ offered.pair @ blind_groups(scenario.bob)
    shared = blinding * min(station.detectors.dead_ps for station in stations) / PS_PER_S
    alive = np.outer(live_a, live_b) * (1.0 + shared)
    pulsed = _same_pulse(scenario, offered)
    chance = np.outer(singles_a, singles_b)
    if scenario.pairs.pulses is not None:
        chance = chance - np.outer(*(p * live for p, live in zip(offered.photons, (live_a, live_b), strict=True)))
    return LinkModel(scenario, arms, offered.pair * alive, pulsed * alive, np.maximum(chance, 0), singles_a, singles_b)


def _offered(scenario: Scenario, arms: tuple[ArmConditions, ArmConditions], eavesdropper: Eavesdropper) -> _Offered:
    a, b = (2 * len(station.analyser.bases) for station in (scenario.alice, scenario.bob))
    pair = np.zeros((a, b))
    photons, noise = (np.zeros(a), np.zeros(b)), (np.zeros(a), np.zeros(b))
    for bases in scenario.basis_choices:
        share = 1.0
        for station, basis in zip((scenario.alice, scenario.bob), bases, strict=True):
            share *= station.analyser.bases[basis].share if station.analyser.active else 1.0
        outcomes = eavesdropper.outcomes(scenario.optics(*arms, bases))
        _count(outcomes.pairs, share * scenario.pairs.pairs_per_s, photons, pair)
        _count(outcomes.noise, share, noise, None)
    return _Offered(pair, photons, noise)


def _count(events: OutcomeSet, factor: float, singles: tuple[Matrix, Matrix], joint: Matrix | None) -> None:
    """Add the clicks of all events to singles, and their pairs of clicks to `joint`."""
    for side, hits in enumerate((events.alice, events.bob)):
        for place in range(2):
            there = hits[:, place] != NOBODY
            np.add.at(singles[side], hits[there, place], factor * events.weight[there])
    if joint is None:
        return
    for i in range(2):
        for j in range(2):
            both = (events.alice[:, i] != NOBODY) & (events.bob[:, j] != NOBODY)
            np.add.at(joint, (events.alice[both, i], events.bob[both, j]), factor * events.weight[both])


def _same_pulse(scenario: Scenario, offered: _Offered) -> Matrix:
    """Rate at which different pairs of one pulse click at Alice's i and Bob's j, shape (a, b).

    All pairs of clicks: f E[n (n - 1)] p_i p_j = f a_i b_j (1 + 1/K). Detectors with a dead time longer than a pulse
    click once in it: what is left of f P(i and j) after the true pairs, from the chance that neither does.
    """
    pulses = scenario.pairs.pulses
    if pulses is None:
        return np.zeros_like(offered.pair)
    rate, modes = pulses.rate_hz, pulses.mode_number
    a, b, c = offered.photons[0] / rate, offered.photons[1] / rate, offered.pair / rate
    if not (scenario.alice.detectors.dead_ps and scenario.bob.detectors.dead_ps):
        return rate * np.outer(a, b) * (1.0 + 1.0 / modes)
    neither = silence(a[:, None] + b[None, :] - c, modes)
    both = 1.0 - silence(a, modes)[:, None] - silence(b, modes)[None, :] + neither
    extra: Matrix = np.maximum(rate * both - offered.pair, 0.0)
    return extra


def correlator(counts: npt.ArrayLike, basis_a: int, basis_b: int) -> float:
    """E = P(equal) - P(different) from counts or rates per detector pair, shape (a, b).

    Raises:
        ParameterError: nothing was counted in these bases.
    """
    block = np.asarray(counts, float)[2 * basis_a : 2 * basis_a + 2, 2 * basis_b : 2 * basis_b + 2]
    if not block.sum() > 0:
        raise ParameterError(f"nothing coincides in Alice's basis {basis_a} and Bob's {basis_b}")
    return float((2.0 * np.trace(block) - block.sum()) / block.sum())


def error_fraction(counts: npt.ArrayLike, state: BellState, basis: Basis) -> float:
    """Share of same-basis events that contradict the Bell state aimed at; 0 when there are none.

    Args:
        counts: shape (a, b), counts or rates per detector pair.
        state: the Bell state.
        basis: which of the 2 x 2 blocks to look at.
    """
    block = np.asarray(counts, float)[2 * basis.value : 2 * basis.value + 2, 2 * basis.value : 2 * basis.value + 2]
    equal, total = float(np.trace(block)), float(block.sum())
    if not total:
        return 0.0
    return (equal if state.anticorrelated(basis) else total - equal) / total
