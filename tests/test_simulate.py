"""The event-level simulator against closed forms, against a slow reference, and against itself cut in pieces.

Statistical tests: fixed seeds, five sigma of the counting statistics; n is stated where it is not obvious.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from distribution.analyser import Analyser
from distribution.channels.arm import ArmConditions
from distribution.detector import Detectors, Response
from distribution.eavesdroppers.intercept import InterceptResend
from distribution.errors import ParameterError
from distribution.model import error_fraction, link_model
from distribution.outcomes import pair_outcomes
from distribution.scenario import Scenario, Station, load_scenario
from distribution.simulate import LinkSimulator, Simulation, simulate
from distribution.source import PairSource
from distribution.states import Basis, BellDiagonal, BellState
from distribution.station_clock import StationClock
from distribution.twoqubit import TwoQubit, linear

replace = msgspec.structs.replace


def link(**changes: object) -> Scenario:
    """A link with everything on: unequal arms, detectors and angles, dead time, tails, noise; clocks together."""
    scenario = Scenario(
        title="test link",
        source="round numbers",
        pairs=PairSource(pairs_per_s=2e6, visibility_z=0.95, visibility_x=0.92),
        alice=Station(
            loss_db=3.0,
            analyser=Analyser(z_share=0.6, z_error_deg=-4.0, x_error_deg=1.5),
            detectors=Detectors(
                efficiency=(0.5, 0.45, 0.4, 0.55),
                dark_cps=(500.0, 1000.0, 200.0, 0.0),
                dead_ns=50.0,
                delay_ps=(0.0, 40.0, -60.0, 10.0),
                response=Response(sigma_ps=60.0),
            ),
        ),
        bob=Station(
            loss_db=6.0,
            analyser=Analyser(z_share=0.5, x_error_deg=-2.0),
            detectors=Detectors(
                efficiency=0.6,
                dark_cps=300.0,
                background_cps=5000.0,
                dead_ns=30.0,
                response=Response(fwhm_ps=250.0, tail_fraction=0.2, tail_ps=200.0),
            ),
        ),
    )
    return replace(scenario, **changes)


def count_pairs(run: Simulation, window_ps: int, centre_ps: int = 0) -> np.ndarray:
    """All pairs of tags with Bob - Alice in [-window/2, window/2) around the centre, by detector, shape (4, 4)."""
    low = np.searchsorted(run.bob.t_ps, run.alice.t_ps + centre_ps - window_ps // 2)
    high = np.searchsorted(run.bob.t_ps, run.alice.t_ps + centre_ps + window_ps // 2)
    counts = np.zeros((4, 4), np.int64)
    for extra in range(int((high - low).max(initial=0))):
        more = high - low > extra
        np.add.at(counts, (run.alice.channel[more], run.bob.channel[low[more] + extra]), 1)
    return counts


def assert_within(measured: np.ndarray, expected: np.ndarray, sigmas: float = 5.0) -> None:
    """Counts against their Poisson means."""
    pull = (measured - expected) / np.sqrt(expected)
    assert np.abs(pull).max() < sigmas, f"pulls {np.round(pull, 1)}: {measured} against {expected}"


@pytest.fixture(scope="module")
def run() -> Simulation:
    """Four seconds of the test link: 1.8 million tags, 0.17 million coincidences."""
    return simulate(link(), 4.0, np.random.default_rng(20240611))


class TestAgainstClosedForms:
    def test_singles(self, run: Simulation) -> None:
        model = link_model(link())
        assert_within(np.bincount(run.alice.channel, minlength=4), 4.0 * model.singles_a)
        assert_within(np.bincount(run.bob.channel, minlength=4), 4.0 * model.singles_b)

    @pytest.mark.parametrize("window_ps", [100, 300, 1000, 3000])
    def test_coincidences_per_detector_pair(self, run: Simulation, window_ps: int) -> None:
        # 16 cells of 2e2 .. 2e4 counts: efficiencies, misalignment, delays, jitter, tail, accidentals at once.
        assert_within(count_pairs(run, window_ps), 4.0 * link_model(link()).coincidence_cps(window_ps))

    def test_accidentals_far_from_the_peak(self, run: Simulation) -> None:
        # 1 us away there are no partners; over 100 ns about 2e3 to 1e4 counts a cell.
        counts = count_pairs(run, 100_000, centre_ps=1_000_000)
        assert_within(counts, 4.0 * link_model(link()).accidental_cps(100_000))

    @pytest.mark.parametrize("basis", list(Basis))
    def test_qber(self, run: Simulation, basis: Basis) -> None:
        counts = count_pairs(run, 1000)
        n = counts[2 * basis.value : 2 * basis.value + 2, 2 * basis.value : 2 * basis.value + 2].sum()
        expected = link_model(link()).qber(1000, basis)
        sigma = math.sqrt(expected * (1 - expected) / n)
        assert n > 30_000
        assert abs(error_fraction(counts, BellState.PHI_PLUS, basis) - expected) < 5 * sigma

    @pytest.mark.parametrize("mutes_station", [False, True])
    def test_dead_time_at_high_rate(self, mutes_station: bool) -> None:
        # Offered rate x dead time = 0.1 per detector, 0.4 per station: the correction is 10 % and 29 %.
        def deaf(station: Station) -> Station:
            return replace(station, detectors=replace(station.detectors, dead_ns=400.0, mutes_station=mutes_station))

        bright = link(pairs=PairSource(pairs_per_s=8e6))
        bright = replace(bright, alice=deaf(bright.alice))
        tags = simulate(bright, 1.0, np.random.default_rng(3)).alice
        singles = link_model(bright).singles_a
        # Dead time makes counts less random than Poisson, so Poisson's sigma is an upper bound.
        assert_within(np.bincount(tags.channel, minlength=4), singles)
        gaps = [np.diff(tags.t_ps)] if mutes_station else [np.diff(tags.select(k).t_ps) for k in range(4)]
        assert min(int(g.min()) for g in gaps) >= 400_000

    @pytest.mark.parametrize("state", list(BellState))
    def test_every_bell_state_is_correlated_as_it_says(self, state: BellState) -> None:
        ideal = Station(loss_db=3.0)
        scenario = Scenario(
            title="ideal", source="", pairs=PairSource(pairs_per_s=1e4, state=state), alice=ideal, bob=ideal
        )
        counts = count_pairs(simulate(scenario, 1.0, np.random.default_rng(4)), 2)
        for basis in Basis:
            assert error_fraction(counts, state, basis) == 0.0
        # Unequal bases know nothing of each other: about 315 in each of 8 cells.
        assert_within(counts[:2, 2:], np.full((2, 2), counts[:2, 2:].sum() / 4))


class TestEavesdropper:
    @pytest.mark.parametrize("fraction", [0.3, 1.0])
    def test_qber_and_singles(self, fraction: float) -> None:
        scenario = link(pairs=PairSource(pairs_per_s=2e6))
        run = simulate(scenario, 2.0, np.random.default_rng(5), InterceptResend(fraction))
        assert_within(
            count_pairs(run, 1000), 2.0 * link_model(scenario, InterceptResend(fraction)).coincidence_cps(1000)
        )
        assert_within(np.bincount(run.bob.channel, minlength=4), 2.0 * link_model(scenario).singles_b)

    @pytest.mark.parametrize("state", list(BellState))
    @pytest.mark.parametrize("fraction", [0.0, 0.4, 1.0])
    def test_a_quarter_of_errors_in_both_bases(self, state: BellState, fraction: float) -> None:
        # Textbook value: QBER = F/4 for intercept-resend in random bases on perfect pairs.
        ideal = Scenario(title="", source="", pairs=PairSource(pairs_per_s=1.0, state=state))
        whole = ArmConditions(transmittance=1.0)
        pairs = InterceptResend(fraction).outcomes(ideal.optics(whole, whole)).pairs
        for basis in Basis:
            assert error_fraction(pairs.weight[:16].reshape(4, 4), state, basis) == pytest.approx(fraction / 4)

    def test_against_a_density_matrix(self) -> None:
        # Independent route: Eve's channel on Bob's qubit as a sum of projectors, Born's rule for the analysers.
        state = TwoQubit.from_bell_diagonal(BellDiagonal.from_visibilities(BellState.PSI_MINUS, 0.9, 0.8))
        attacked = state.mapped(bob=InterceptResend(0.7).stokes_map)
        weights = BellDiagonal.from_visibilities(BellState.PSI_MINUS, 0.9, 0.8).weights
        vectors = np.array([[1, 0, 0, 1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0]]) / math.sqrt(2)
        rho = sum(w * np.outer(v, v) for w, v in zip(weights, vectors, strict=True))

        def projector(angle: float) -> np.ndarray:
            v = np.array([math.cos(angle), math.sin(angle)])
            return np.outer(v, v)

        eve = [np.kron(np.eye(2), projector(m * math.pi / 4)) for m in range(4)]
        after = 0.3 * rho + 0.7 * sum(0.5 * k @ rho @ k for k in eve)
        for a, b in [(0.1, 0.7), (1.2, -0.4)]:
            e = sum(
                (1 if x == y else -1)
                * np.trace(after @ np.kron(projector(a + x * math.pi / 2), projector(b + y * math.pi / 2)))
                for x in range(2)
                for y in range(2)
            )
            assert linear(a) @ attacked.correlation @ linear(b) == pytest.approx(e, abs=1e-12)

    def test_refuses_an_impossible_fraction(self) -> None:
        with pytest.raises(ParameterError, match=r"1\.5.*0\.0 \.\. 1\.0"):
            InterceptResend(1.5)


class TestStreaming:
    def test_pieces_are_the_whole(self) -> None:
        whole = simulate(link(), 0.31, np.random.default_rng(6))
        simulator = LinkSimulator(link(), np.random.default_rng(6), keep_truth=True)
        pieces = [simulator.advance(s) for s in (0.1, 0.0003, 0.0597, 0.15)]
        for name in ("alice", "bob"):
            tags = [getattr(piece, name) for piece in pieces]
            np.testing.assert_array_equal(np.concatenate([t.t_ps for t in tags]), getattr(whole, name).t_ps)
            np.testing.assert_array_equal(np.concatenate([t.channel for t in tags]), getattr(whole, name).channel)
        np.testing.assert_array_equal(simulator.truth().alice_pair, whole.truth.alice_pair)

    def test_truth_does_not_change_the_tags(self) -> None:
        blind = LinkSimulator(link(), np.random.default_rng(6)).advance(0.31)
        np.testing.assert_array_equal(blind.alice.t_ps, simulate(link(), 0.31, np.random.default_rng(6)).alice.t_ps)

    def test_times_ascend_and_horizons_hold(self) -> None:
        simulator = LinkSimulator(load_scenario("metro"), np.random.default_rng(7))
        last = (0, 0)
        for _ in range(20):
            step = simulator.advance(0.005)
            for tags, before, horizon in zip(
                (step.alice, step.bob), last, (step.alice_horizon_ps, step.bob_horizon_ps), strict=True
            ):
                assert tags.t_ps[0] >= before
                assert tags.t_ps[-1] < horizon
                assert (np.diff(tags.t_ps) >= 0).all()
            last = (step.alice_horizon_ps, step.bob_horizon_ps)

    def test_slow_link_costs_nothing_and_starts_at_zero(self) -> None:
        dark = Station(loss_db=60.0, detectors=Detectors(dark_cps=1.0))
        slow = Scenario(title="dark", source="", pairs=PairSource(pairs_per_s=1.0), alice=dark, bob=dark)
        tags = LinkSimulator(slow, np.random.default_rng(8)).advance(1000.0).alice
        assert_within(np.array([len(tags)]), np.array([4000.0]))
        assert 0 <= tags.t_ps[0] < 10**13

    def test_clocks(self) -> None:
        # Alice 0.25 s and -2 ppm, Bob 0.5 s and +5 ppm: the truth says how to get from one to the other.
        sharp = replace(
            link(),
            alice=Station(loss_db=6.0, clock=StationClock(offset_s=0.25, drift_ppm=-2.0)),
            bob=Station(loss_db=6.0, clock=StationClock(offset_s=0.5, drift_ppm=5.0)),
        )
        run = simulate(sharp, 3.0, np.random.default_rng(9))
        i, j = run.truth.partners()
        assert i.size > 300_000
        t = run.alice.t_ps[i] - sharp.alice.clock.offset_ps
        drift = run.truth.drift_ppm * 1e-6
        at_bob = t + np.round(t * drift) + np.round(sharp.alice.clock.offset_ps * (1 + drift))
        # No jitter in this link: what remains is rounding, once on each clock and three times here.
        assert np.abs(run.bob.t_ps[j] - (at_bob + run.truth.offset_ps)).max() <= 3

    def test_truth_names_true_partners(self, run: Simulation) -> None:
        i, j = run.truth.partners()
        assert abs(i.size - 4.0 * link_model(link()).pair_cps.sum()) < 5 * math.sqrt(i.size)
        # sigma 60 and 106 ps, tail 200 ps, delays to 60 ps: nothing of 1.7e5 is beyond 3 ns.
        assert np.abs(run.bob.t_ps[j] - run.alice.t_ps[i]).max() < 3000
        assert np.unique(i).size == np.unique(j).size == i.size

    def test_no_truth_unless_asked(self) -> None:
        with pytest.raises(ParameterError, match="keep_truth"):
            LinkSimulator(link(), np.random.default_rng(0)).truth()


class TestGaps:
    def test_gaps_are_exponential(self) -> None:
        # Kolmogorov-Smirnov on 4e5 gaps between noise counts: the 1e-6 critical value is 2.69/sqrt(n).
        noise = Station(loss_db=200.0, detectors=Detectors(dark_cps=1e5))
        quiet = Station(loss_db=200.0, detectors=Detectors(dark_cps=1e-3))
        scenario = Scenario(title="noise", source="", pairs=PairSource(pairs_per_s=1e-3), alice=noise, bob=quiet)
        gaps = np.sort(np.diff(simulate(scenario, 1.0, np.random.default_rng(11)).alice.t_ps))
        cdf = -np.expm1(-gaps / 2.5e6)
        distance = np.abs(cdf - (np.arange(gaps.size) + 0.5) / gaps.size).max()
        assert distance < 2.69 / math.sqrt(gaps.size)


class TestResponse:
    @pytest.mark.parametrize(
        ("response", "mean", "sigma"),
        [
            (Response(sigma_ps=50.0), 0.0, 50.0),
            (Response(fwhm_ps=235.482), 0.0, 100.0),
            # mean f tau, variance sigma^2 + tau^2 f (2 - f)
            (Response(sigma_ps=50.0, tail_fraction=0.3, tail_ps=200.0), 60.0, math.sqrt(2500 + 40_000 * 0.51)),
            (Response(quantiles_ps=(-10.0, 10.0)), 0.0, 20.0 / math.sqrt(12)),
        ],
    )
    def test_moments(self, response: Response, mean: float, sigma: float) -> None:
        middle = (response.table()[1:] + response.table()[:-1]) / 2.0
        # The table ends at a quarter of a step: what is cut off the tails costs up to 1 % of the variance.
        assert middle.mean() == pytest.approx(mean, abs=0.01 * sigma)
        assert middle.std() == pytest.approx(sigma, rel=0.01)

    @pytest.mark.parametrize(
        "fields",
        [
            {"sigma_ps": 1.0, "fwhm_ps": 2.0},
            {"sigma_ps": -1.0},
            {"sigma_ps": math.nan},
            {"tail_fraction": 1.1},
            {"quantiles_ps": (1.0,)},
            {"quantiles_ps": (2.0, 1.0)},
            {"quantiles_ps": (1.0, 2.0), "sigma_ps": 3.0},
        ],
    )
    def test_refuses(self, fields: dict[str, object]) -> None:
        with pytest.raises(ParameterError):
            Response(**fields)

    def test_a_measured_histogram_comes_back(self) -> None:
        # Two steps, 1 : 3, and an empty bin between: 1e5 draws from the table by its own rule.
        edges, counts = [0.0, 100.0, 150.0, 200.0], [1.0, 0.0, 3.0]
        table = Response.from_histogram(edges, counts).table()
        place = np.random.default_rng(14).random(100_000) * 4096
        drawn = np.interp(place, np.arange(4097), table) + (50.0 + 3 * 175.0) / 4
        share = np.histogram(drawn, edges)[0] / 1e5
        assert share == pytest.approx([0.25, 0.0, 0.75], abs=5 * math.sqrt(0.25 * 0.75 / 1e5))
        with pytest.raises(ParameterError, match="3 counts"):
            Response.from_histogram(edges[:-1], counts)


class TestStates:
    @pytest.mark.parametrize("state", list(BellState))
    def test_visibilities_come_back(self, state: BellState) -> None:
        mixed = BellDiagonal.from_visibilities(state, 0.97, 0.91)
        assert abs(mixed.correlation_z) == pytest.approx(0.97)
        assert abs(mixed.correlation_x) == pytest.approx(0.91)
        assert mixed.fidelity(state) == pytest.approx(1.97 * 1.91 / 4)

    def test_werner_and_chsh(self) -> None:
        # F = (1 + 3w)/4; S = 2 sqrt2 w: F = 1 gives Tsirelson's bound, w = 1/sqrt2 the local bound.
        assert BellDiagonal.werner(BellState.PHI_PLUS, 1.0).chsh_max == pytest.approx(2 * math.sqrt(2))
        w = 1 / math.sqrt(2)
        assert BellDiagonal.werner(BellState.PSI_MINUS, (1 + 3 * w) / 4).chsh_max == pytest.approx(2.0)

    def test_singlet_is_the_same_in_every_basis(self) -> None:
        singlet = BellDiagonal.from_visibilities(BellState.PSI_MINUS, 1.0, 1.0)
        for angle in (0.0, 0.3, 1.1):
            assert singlet.correlator(angle, angle) == pytest.approx(-1.0)

    def test_refuses_weights_that_are_no_probabilities(self) -> None:
        with pytest.raises(ParameterError, match="add up"):
            BellDiagonal((0.5, 0.1, 0.1, 0.1))
        with pytest.raises(ParameterError, match=r"1\.1 must"):
            BellDiagonal((1.1, -0.1, 0.0, 0.0))

    def test_each_side_alone_does_not_know_of_the_other(self) -> None:
        arms = ArmConditions(transmittance=10**-0.3), ArmConditions(transmittance=10**-0.6)
        weight = pair_outcomes(link().optics(*arms)).weight
        assert weight.min() >= 0.0
        assert weight[:16].sum() + weight[16:20].sum() == pytest.approx(
            np.mean([0.5, 0.45]) * 0.6 * 10**-0.3 + np.mean([0.4, 0.55]) * 0.4 * 10**-0.3
        )
