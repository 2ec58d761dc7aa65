"""Every effect of the simulator against the closed forms, over a matrix of links that differ from a plain one by it.

Fixed seeds, five sigma of Poisson counts; the fixture says how many. Where dead time or a pulse makes counts more
regular than Poisson's, its sigma is an upper bound.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from distribution.analyser import Analyser, Setting
from distribution.detector import Afterpulsing, Detectors, Response
from distribution.eavesdroppers.intercept import BREIDBART, InterceptResend
from distribution.errors import ParameterError
from distribution.model import correlator, error_fraction, link_model
from distribution.outcomes import Eavesdropper
from distribution.scenario import Scenario, Station
from distribution.simulate import Simulation, simulate
from distribution.source import PairSource, Pulses, Statistics
from distribution.states import Basis, BellState

replace = msgspec.structs.replace

DETECTORS = Detectors(efficiency=0.6, dark_cps=2000.0, dead_ns=40.0, response=Response(sigma_ps=70.0))
STATION = Station(loss_db=4.0, detectors=DETECTORS)
PLAIN = Scenario(
    title="plain", source="round numbers", pairs=PairSource(pairs_per_s=1e6, visibility_z=0.96, visibility_x=0.94),
    alice=STATION, bob=replace(STATION, loss_db=7.0),
)  # fmt: skip
SIX = tuple(Setting(share=s, angle_deg=a, ellipticity_deg=e) for s, a, e in ((0.4, 0, 0), (0.3, 45, 0), (0.3, 0, 45)))
# Ekert's angles: two settings coincide with Bob's, the others violate CHSH.
EKERT_A = tuple(Setting(share=1 / 3, angle_deg=a) for a in (0.0, 22.5, 45.0))
EKERT_B = tuple(Setting(share=1 / 3, angle_deg=a) for a in (22.5, 45.0, 67.5))


def changed(side: str = "both", *, pairs: dict[str, object] | None = None, **station: object) -> Scenario:
    """The plain link with something else at its stations or in its source; dicts change a part of the detectors."""

    def new(old: Station) -> Station:
        fields = {k: replace(old.detectors, **v) if isinstance(v, dict) else v for k, v in station.items()}
        return replace(old, **fields)

    return replace(
        PLAIN,
        pairs=replace(PLAIN.pairs, **(pairs or {})),
        alice=new(PLAIN.alice) if side in ("both", "alice") else PLAIN.alice,
        bob=new(PLAIN.bob) if side in ("both", "bob") else PLAIN.bob,
    )


def pulsed(statistics: Statistics = Statistics.POISSON, modes: float | None = None, mean: float = 0.05) -> dict:
    """A source pumped at 76 MHz, a period that is no whole number of ps, its pulses 30 ps wide."""
    pulses = Pulses(rate_hz=76e6, width_ps=30.0, statistics=statistics, modes=modes)
    return {"pairs_per_s": 76e6 * mean, "pulses": pulses}


ASYMMETRIC = np.diag([0.6, 0.15, 0.05, 0.2]).astype(complex)
ASYMMETRIC[0, 3] = ASYMMETRIC[3, 0] = 0.25
ASYMMETRIC[0, 1], ASYMMETRIC[1, 0] = 0.1j, -0.1j

LINKS: dict[str, tuple[Scenario, Eavesdropper | None]] = {
    "plain": (PLAIN, None),
    "no dead time": (changed(detectors={"dead_ns": 0.0}), None),
    "paralysable": (changed(detectors={"dead_ns": 400.0, "paralysable": True}), None),
    "recovery": (changed(detectors={"recovery_ns": 60.0}), None),
    "afterpulses": (changed(detectors={"afterpulsing": Afterpulsing(
        probability=0.1, decay_ns=(30.0, 200.0), share=(0.4, 0.6))}), None),
    "six detectors": (changed(analyser=Analyser(settings=SIX), detectors={"delay_ps": (0, 10, 20, 30, 40, -50.0)}),
                      None),
    "active": (changed(analyser=Analyser(z_share=0.7, x_error_deg=3.0, slot_ns=1000.0), detectors={
        "efficiency": (0.7, 0.5), "dark_cps": (5e3, 1e3), "dead_ns": 100.0,
        "afterpulsing": Afterpulsing(probability=0.05, decay_ns=(150.0,))}), None),
    "active against passive": (changed("bob", analyser=Analyser(settings=SIX, slot_ns=50.0)), None),
    "any state": (changed(pairs={"visibility_z": 1.0, "visibility_x": 1.0,
                                 "density_real": tuple(map(tuple, ASYMMETRIC.real.tolist())),
                                 "density_imag": tuple(map(tuple, ASYMMETRIC.imag.tolist()))},
                          analyser=Analyser(settings=SIX)), None),
    "werner, heralding": (changed(pairs={"visibility_z": 1.0, "visibility_x": 1.0, "fidelity": 0.9,
                                         "heralding_a": 0.7, "heralding_b": 0.5}), None),
    "ekert": (replace(changed("alice", analyser=Analyser(settings=EKERT_A)),
                      bob=replace(PLAIN.bob, analyser=Analyser(settings=EKERT_B))), None),
    "breidbart": (PLAIN, InterceptResend(0.6, BREIDBART)),
    "pulsed": (changed(pairs=pulsed()), None),
    "pulsed thermal": (changed(pairs=pulsed(Statistics.THERMAL, mean=0.2), detectors={"dead_ns": 0.0}), None),
    "pulsed two modes, dead time": (changed(pairs=pulsed(Statistics.MODES, 2.0, 0.2), loss_db=10.0), None),
    "pulsed, active, blind across pulses": (changed(pairs=pulsed(Statistics.THERMAL, mean=0.1), loss_db=10.0,
        analyser=Analyser(slot_ns=500.0), detectors={"mutes_station": True, "dead_ns": 90.0}), None),
}  # fmt: skip


def count_pairs(run: Simulation, window_ps: int, shape: tuple[int, int]) -> np.ndarray:
    """All pairs of tags with Bob - Alice in [-window/2, window/2), by detector."""
    low, high = (np.searchsorted(run.bob.t_ps, run.alice.t_ps + side * window_ps // 2) for side in (-1, 1))
    counts = np.zeros(shape, np.int64)
    for extra in range(int((high - low).max(initial=0))):
        more = high - low > extra
        np.add.at(counts, (run.alice.channel[more], run.bob.channel[low[more] + extra]), 1)
    return counts


def assert_within(measured: np.ndarray, expected: np.ndarray, spread: np.ndarray | float = 1.0) -> None:
    """Counts against their means; `spread` = variance over mean where it is not Poisson's."""
    pull = (measured - expected) / np.sqrt(np.maximum(expected, 1.0) * spread)
    assert np.abs(pull).max() < 5.0, f"pulls {np.round(pull, 1)}: {measured} against {np.round(expected)}"


@pytest.mark.parametrize("name", list(LINKS))
def test_counts_are_the_closed_forms(name: str) -> None:
    # 1 s: 2e5 to 2e6 singles a side, 1e3 to 2e4 coincidences in most of 16 to 36 cells.
    scenario, eve = LINKS[name]
    seconds = 1.0
    run = simulate(scenario, seconds, np.random.default_rng(len(name)), eve)
    model = link_model(scenario, eve)
    # One afterpulse per click in ten: their counts go together, which widens the law by (1 + 0.1)^2 at most.
    spread = 1.25 if any(s.detectors.afterpulsing for s in (scenario.alice, scenario.bob)) else 1.0
    # Thermal light bunches: variance over mean is 1 + mean per pulse and mode of what is seen.
    spread += model.singles_a.sum() / scenario.pairs.pulses.rate_hz if scenario.pairs.pulses else 0.0
    assert_within(np.bincount(run.alice.channel, minlength=len(model.singles_a)), seconds * model.singles_a, spread)
    assert_within(np.bincount(run.bob.channel, minlength=len(model.singles_b)), seconds * model.singles_b, spread)
    for window_ps in (200, 1500):
        expected = model.coincidence_cps(window_ps) * seconds
        assert_within(count_pairs(run, window_ps, expected.shape), expected, spread)


def test_no_eavesdropper_of_two_bases_or_one_escapes() -> None:
    # Textbook: a quarter of errors in every basis, whether Eve chooses Z or X or measures half way between.
    for eve in (InterceptResend(1.0), InterceptResend(1.0, BREIDBART)):
        ideal = replace(PLAIN, pairs=PairSource(pairs_per_s=1e5), alice=Station(), bob=Station())
        run = simulate(ideal, 1.0, np.random.default_rng(2), eve)
        counts = count_pairs(run, 2, (4, 4))
        for basis in Basis:
            n = counts[2 * basis.value : 2 * basis.value + 2, 2 * basis.value : 2 * basis.value + 2].sum()
            assert abs(error_fraction(counts, BellState.PHI_PLUS, basis) - 0.25) < 5 * math.sqrt(0.25 * 0.75 / n)


def test_chsh_of_ekerts_settings() -> None:
    # Alice 0, 45 and Bob 22.5, 67.5 degrees: S = sqrt(2) (V_z + V_x), less what accidentals and darks take.
    scenario, _ = LINKS["ekert"]
    model = link_model(scenario)
    ideal = math.sqrt(2) * (0.96 + 0.94)
    assert 0.95 * ideal < model.chsh(500, (0, 2), (0, 2)) < ideal
    # Twice the same basis: E(a, b) - E(a, b') + E(a, b) + E(a, b') has no way above 2.
    assert model.chsh(500, (0, 0), (0, 2)) < 2.0
    run = simulate(scenario, 2.0, np.random.default_rng(22))
    counts = count_pairs(run, 500, (6, 6))
    for i in (0, 2):
        for j in (0, 2):
            n = counts[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].sum()
            expected = model.correlator(500, i, j)
            assert n > 4000
            assert abs(correlator(counts, i, j) - expected) < 5 * math.sqrt((1 - expected**2) / n)


def test_nothing_to_correlate_is_said() -> None:
    with pytest.raises(ParameterError, match="basis 1"):
        correlator(np.diag([1, 1, 0, 0]), 1, 1)
