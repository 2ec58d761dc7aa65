"""Closed forms of what a link delivers on average: singles, coincidences, accidentals, QBER. No sampling.

They follow from the same scenario as the simulator and are what tests hold it to, what calibration fits and
what planning asks. Rates are to first order in (rate x dead time) where two detectors' blind times are
correlated, exact otherwise. A window is always the FULL width: differences Bob - Alice in [-window/2,
window/2) after removing the clock.

Compare Neumann et al., Phys. Rev. A 104, 022406 (2021), which this extends from one pair of ideal analysers
to the 16 detector pairs of two real ones: S = R eta + noise, C = R eta_A eta_B eta_t, A = S_A S_B w, E = (C e
+ A/2)/(C + A).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

from distribution.detector import Detectors, Response, four
from distribution.scenario import Scenario
from distribution.states import Basis, BellState
from distribution.units import PS_PER_S

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinkModel:
    """Mean rates of a link.

    Attributes:
        scenario: the link.
        pair_cps: shape (4, 4), rate at which pairs click at Alice's detector i and Bob's j, both alive.
        singles_a, singles_b: shape (4,), tags per second of each detector.
    """

    scenario: Scenario
    pair_cps: Matrix
    singles_a: Matrix
    singles_b: Matrix

    def true_cps(self, window_ps: float, centre_ps: float = 0.0) -> Matrix:
        """Coincidences of partners inside the window, shape (4, 4), per second."""
        alice, bob = self.scenario.alice.detectors, self.scenario.bob.detectors
        return self.pair_cps * window_fraction(alice, bob, np.array([window_ps]), centre_ps)[0]

    def accidental_cps(self, window_ps: float) -> Matrix:
        """Coincidences of clicks that are not partners, shape (4, 4), per second: S_a S_b w."""
        return np.outer(self.singles_a, self.singles_b) * window_ps / PS_PER_S

    def coincidence_cps(self, window_ps: float, centre_ps: float = 0.0) -> Matrix:
        """All pairs of tags inside the window, shape (4, 4), per second."""
        return self.true_cps(window_ps, centre_ps) + self.accidental_cps(window_ps)

    def qber(self, window_ps: float, basis: Basis, centre_ps: float = 0.0) -> float:
        """Expected error fraction in one basis, accidentals included."""
        return error_fraction(self.coincidence_cps(window_ps, centre_ps), self.scenario.pairs.state, basis)

    def sifted_cps(self, window_ps: float) -> float:
        """Same-basis coincidences per second."""
        rate = self.coincidence_cps(window_ps)
        return float(rate[:2, :2].sum() + rate[2:, 2:].sum())


def link_model(scenario: Scenario, intercept_fraction: float = 0.0) -> LinkModel:
    """Mean rates of a link, with an eavesdropper on a fraction of Bob's photons."""
    cps = scenario.pairs.pairs_per_s * scenario.outcomes(intercept_fraction)
    a, b = scenario.alice.detectors, scenario.bob.detectors
    offered_a = cps[:4].sum(axis=1) + np.array(a.noise_cps)
    offered_b = cps[:, :4].sum(axis=0) + np.array(b.noise_cps)
    live_a, live_b = live_fraction(offered_a, a), live_fraction(offered_b, b)
    # Two detectors are more often blind together than by chance, because earlier pairs blinded both.
    shared = _blinding_pairs(cps[:4, :4], a, b) * min(a.dead_ps, b.dead_ps) / PS_PER_S
    alive = np.outer(live_a, live_b) * (1.0 + shared)
    return LinkModel(scenario, cps[:4, :4] * alive, offered_a * live_a, offered_b * live_b)


def live_fraction(offered_cps: Matrix, detectors: Detectors) -> Matrix:
    """Share of time each detector can click, shape (4,): 1/(1 + n tau), n the rate that blinds it."""
    blinding = np.full(4, offered_cps.sum()) if detectors.mutes_station else offered_cps
    live: Matrix = 1.0 / (1.0 + blinding * detectors.dead_ps / PS_PER_S)
    return live


def _blinding_pairs(cps: Matrix, a: Detectors, b: Detectors) -> Matrix:
    """Rate of pairs that blind both detectors i and j, shape (4, 4)."""
    if a.mutes_station:
        cps = np.broadcast_to(cps.sum(axis=0, keepdims=True), (4, 4))
    if b.mutes_station:
        cps = np.broadcast_to(cps.sum(axis=1, keepdims=True), (4, 4))
    return cps


def window_fraction(alice: Detectors, bob: Detectors, windows_ps: Matrix, centre_ps: float = 0.0) -> Matrix:
    """Share of partners whose time difference, Bob - Alice, is inside a window of FULL width.

    Args:
        alice, bob: the stations' detectors.
        windows_ps: shape (k,).
        centre_ps: middle of the window.

    Returns:
        shape (k, 4, 4).
    """
    half = np.asarray(windows_ps, np.float64) / 2.0
    inside = np.empty((half.size, 4, 4))
    laws: dict[tuple[Response, Response], tuple[Matrix, Matrix]] = {}
    for i, (delay_a, law_a) in enumerate(zip(four(alice.delay_ps), alice.responses, strict=True)):
        for j, (delay_b, law_b) in enumerate(zip(four(bob.delay_ps), bob.responses, strict=True)):
            if (law_a, law_b) not in laws:
                laws[law_a, law_b] = _difference_cdf(law_a.table(), law_b.table())
            x, cdf = laws[law_a, law_b]
            middle = centre_ps - (delay_b - delay_a)
            upper, lower = (np.interp(middle + s * half, x, cdf, left=0.0, right=1.0) for s in (1, -1))
            inside[:, i, j] = upper - lower
    return inside


def _difference_cdf(alice: npt.NDArray[np.float32], bob: npt.NDArray[np.float32]) -> tuple[Matrix, Matrix]:
    """Distribution function of Bob's delay - Alice's, from the quantile tables the simulator draws from."""
    span = float(max(abs(alice[0]), abs(alice[-1]), abs(bob[0]), abs(bob[-1]))) + 2.0
    step = max(1.0, span / (1 << 16))
    edges = (np.arange(-int(span / step) - 1, int(span / step) + 3, dtype=np.float64) - 0.5) * step
    mass_b = np.diff(_table_cdf(bob, edges))
    mass_a = np.diff(_table_cdf(alice, edges))
    cdf = np.concatenate([[0.0], np.cumsum(fftconvolve(mass_b, mass_a[::-1]))])
    x: Matrix = (np.arange(cdf.size, dtype=np.float64) - mass_a.size + 0.5) * step
    return x, np.clip(cdf, 0.0, 1.0)


def _table_cdf(table: npt.NDArray[np.float32], x: Matrix) -> Matrix:
    rising = table.astype(np.float64) + np.linspace(-1e-4, 1e-4, table.size)  # np.interp wants distinct abscissae
    return np.interp(x, rising, np.linspace(0.0, 1.0, table.size), left=0.0, right=1.0)


def error_fraction(counts: npt.ArrayLike, state: BellState, basis: Basis) -> float:
    """Share of same-basis events that contradict the Bell state aimed at; 0 when there are none.

    Args:
        counts: shape (4, 4), counts or rates per detector pair.
        state: the Bell state.
        basis: which of the two 2 x 2 blocks to look at.
    """
    block = np.asarray(counts, float)[2 * basis.value : 2 * basis.value + 2, 2 * basis.value : 2 * basis.value + 2]
    equal, total = float(np.trace(block)), float(block.sum())
    if not total:
        return 0.0
    return (equal if state.anticorrelated(basis) else total - equal) / total
