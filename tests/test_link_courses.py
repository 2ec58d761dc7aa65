"""Links that change as time goes on: arms, clocks, and the truth about both; and that no cut of time shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from distribution.analyser import Analyser, Setting
from distribution.channels.arm import ArmConditions, ArmCourse
from distribution.detector import Afterpulsing, Detectors, Response, Tagger
from distribution.eavesdroppers.intercept import InterceptResend
from distribution.errors import ParameterError
from distribution.model import error_fraction, link_model
from distribution.outcomes import LinkOptics, LinkOutcomes, Nobody
from distribution.scenario import Scenario, Station
from distribution.simulate import LinkSimulator, simulate
from distribution.source import PairSource, Pulses, Statistics
from distribution.states import Basis, BellState
from distribution.station_clock import ClockJump, StationClock
from distribution.truth import Cause

replace = msgspec.structs.replace

SHARP = Detectors(efficiency=0.8)
REAL = Detectors(
    efficiency=(0.6, 0.5, 0.55, 0.65), dark_cps=2000.0, dead_ns=50.0, recovery_ns=20.0, delay_ps=(0, 40.0, -30, 9),
    response=Response(sigma_ps=60.0), afterpulsing=Afterpulsing(probability=0.05, decay_ns=(100.0,)),
)  # fmt: skip


@dataclass
class Course:
    """An arm whose conditions are a function of time; remembers when it was asked."""

    conditions: Callable[[float], ArmConditions]
    step_s: float | None
    asked: list[float] = field(default_factory=list)

    def at(self, t_s: float) -> ArmConditions:
        """See ArmCourse."""
        self.asked.append(t_s)
        return self.conditions(t_s)


class Arm(Station):
    """A station at the end of such an arm."""

    conditions: Callable[[float], ArmConditions] = lambda t_s: ArmConditions(transmittance=0.3)
    step_s: float | None = 0.001

    def course(self, rng: np.random.Generator) -> ArmCourse:
        """See Station."""
        return Course(self.conditions, self.step_s)


def link(alice: Station, bob: Station, **pairs: object) -> Scenario:
    """A link between two stations, 5e5 pairs a second."""
    return Scenario(title="test", source="", pairs=PairSource(**{"pairs_per_s": 5e5, **pairs}), alice=alice, bob=bob)


def fading(t_s: float) -> ArmConditions:
    """Loss that swings by 10 dB with a period of 50 ms, and daylight that follows it."""
    swing = 0.5 + 0.5 * math.sin(t_s * 2 * math.pi / 0.05)
    return ArmConditions(transmittance=0.4 * 10**-swing, background_cps=20_000.0 * swing)


class TestArms:
    @pytest.mark.parametrize("eve", [Nobody(), InterceptResend(0.5)])
    def test_loss_and_light_that_change_a_thousand_times_a_second(self, eve: Nobody | InterceptResend) -> None:
        # 0.5 s in 10 periods; 25 bins of 2 ms of the period: singles 1e3 to 1e4 in each, coincidences 20 to 1e3.
        scenario = link(Arm(detectors=SHARP, conditions=fading), Arm(detectors=SHARP, conditions=fading))
        run = simulate(scenario, 0.5, np.random.default_rng(1), eve)
        i, _ = run.truth.partners()
        steps = [fading((k + 0.5) * 1e-3 - 0.5e-3) for k in range(50)]
        eta = np.array([c.transmittance for c in steps]).reshape(25, 2) * 0.8
        light = np.array([c.background_cps for c in steps]).reshape(25, 2) * 0.8
        both = (5e5 * eta**2).sum(axis=1) * 10e-3
        singles = (5e5 * eta + light).sum(axis=1) * 10e-3
        folded = np.bincount((run.alice.t_ps // 2_000_000_000) % 25, minlength=25)
        assert np.abs((folded - singles) / np.sqrt(singles)).max() < 5
        together = np.bincount((run.alice.t_ps[i] // 2_000_000_000) % 25, minlength=25)
        assert np.abs((together - both) / np.sqrt(both)).max() < 5

    def test_an_eavesdropper_who_breaks_the_rules_is_worked_out_step_by_step(self) -> None:
        class Blinder:
            """Lets nothing through when the arm is bad: not bilinear in the transmittance."""

            def outcomes(self, optics: LinkOptics) -> LinkOutcomes:
                honest = Nobody().outcomes(optics)
                good = optics.bob.efficiency[0] > 0.1
                return LinkOutcomes(honest.pairs.scaled(float(good)), honest.noise)

        scenario = link(Arm(detectors=SHARP), Arm(detectors=SHARP, conditions=fading))
        run = simulate(scenario, 0.5, np.random.default_rng(2), Blinder())
        bad = np.array([fading(k * 1e-3).transmittance * 0.8 <= 0.1 for k in range(50)])
        steps = np.bincount((run.alice.t_ps // 1_000_000_000) % 50, minlength=50)
        assert 10 < bad.sum() < 40
        assert (steps[bad] == 0).all()
        assert (steps[~bad] > 500).all()

    def test_courses_are_asked_step_by_step_and_only_forwards(self) -> None:
        course = Course(fading, 0.01)

        class Watched(Station):
            def course(self, rng: np.random.Generator) -> ArmCourse:
                return course

        LinkSimulator(link(Watched(detectors=SHARP), Station()), np.random.default_rng(0)).advance(1.0)
        assert course.asked == pytest.approx([k * 0.01 for k in range(len(course.asked))])
        assert len(course.asked) > 100

    def test_polarisation_that_turns(self) -> None:
        # Bob's arm turns linear polarisation by 90 degrees a second: after 0.5 s Z errors are 1/2, after 1 s all.
        def turning(t_s: float) -> ArmConditions:
            c, s = math.cos(math.pi * t_s), math.sin(math.pi * t_s)
            return ArmConditions(transmittance=0.3, polarisation=np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]))

        simulator = LinkSimulator(
            link(Station(), Arm(conditions=turning, step_s=0.1)), np.random.default_rng(3), keep_truth=True
        )
        runs = [simulator.advance(0.1) for _ in range(11)]
        i, j = simulator.truth().partners()
        alice, bob = (np.concatenate([getattr(r, side).channel for r in runs]) for side in ("alice", "bob"))
        when = np.concatenate([r.alice.t_ps for r in runs])[i] // 100_000_000_000
        for k in range(11):
            counts = np.zeros((4, 4))
            np.add.at(counts, (alice[i][when == k], bob[j][when == k]), 1)
            expected = (1 - math.cos(math.pi * k / 10)) / 2
            n = counts[:2, :2].sum()
            sigma = math.sqrt(max(expected * (1 - expected), 1e-9) / n)
            assert abs(error_fraction(counts, BellState.PHI_PLUS, Basis.Z) - expected) <= 5 * sigma + 1e-9

    def test_dispersion_adds_up_or_cancels(self) -> None:
        # 1.2e5 pairs: a standard deviation is known to 0.2 %; the table's cut tails take 0.6 %.
        spread = {}
        for b in (120.0, -120.0):
            arms = [
                Arm(step_s=None, conditions=lambda t, d=d: ArmConditions(transmittance=0.5, dispersion_ps=d))
                for d in (120.0, b)
            ]
            run = simulate(link(*arms), 1.0, np.random.default_rng(4))
            i, j = run.truth.partners()
            spread[b] = np.std(run.bob.t_ps[j] - run.alice.t_ps[i])
        assert spread[120.0] == pytest.approx(240.0, rel=0.015)
        assert spread[-120.0] < 1.0

    def test_long_arms_are_full_of_light_from_the_first_picosecond(self) -> None:
        # 3 ms and 1 ms of delay: light of the first 3 ms of Alice's recording was emitted before it began.
        far = Arm(detectors=SHARP, step_s=None, conditions=lambda t: ArmConditions(transmittance=0.5, delay_ps=3e9))
        near = Arm(detectors=SHARP, step_s=None, conditions=lambda t: ArmConditions(transmittance=0.5, delay_ps=1e9))
        run = simulate(link(far, near), 0.01, np.random.default_rng(5))
        for tags in (run.alice, run.bob):
            assert abs(len(tags.between(0, 3_000_000_000)) - 600) < 5 * math.sqrt(600)
            assert tags.t_ps[0] >= 0
        assert run.truth.offset_ps == -2_000_000_000


def doppler(t_s: float) -> ArmConditions:
    """A pass: 3.3 ms away, approaching at 20 ppm, the rate changing by 3 ppm a second; steps of 0.05 s."""
    rate, bend = -20e-6 + 3e-6 * t_s, 3e-6
    delay = 3.3e9 + (-20e-6 * t_s + 1.5e-6 * t_s**2) * 1e12
    return ArmConditions(transmittance=0.4, delay_ps=delay, delay_rate=rate, delay_bend_per_s=bend)


class TestClocks:
    CLOCK_A = StationClock(offset_s=0.25, drift_ppm=-2.0, walk_ppb=3.0)
    CLOCK_B = StationClock(
        offset_s=0.5, drift_ppm=5.0, drift_rate_ppb_per_s=40.0, walk_ppb=10.0,
        jumps=(ClockJump(at_s=0.3, step_ps=250_000), ClockJump(at_s=0.7, step_ps=-90_000)),
    )  # fmt: skip

    def test_truth_is_exact_through_drift_walk_jumps_and_doppler(self) -> None:
        # No jitter here: what remains is rounding, once on each clock and once in the truth.
        scenario = link(
            Station(loss_db=4.0, clock=self.CLOCK_A), Arm(conditions=doppler, step_s=0.05, clock=self.CLOCK_B)
        )
        run = simulate(scenario, 2.0, np.random.default_rng(6))
        i, j = run.truth.partners()
        a, b = run.alice.t_ps[i], run.bob.t_ps[j]
        off = b - a - run.truth.clocks.delay_ps(a)
        assert i.size > 100_000
        assert np.abs(off).max() <= 2
        # The truth at the start foretells the beginning: within 1 ms all but the quadratic (1e-9 of 1 ms) stands.
        early = (a - scenario.alice.clock.offset_ps) < 1_000_000_000
        foretold = run.truth.offset_ps + np.rint(run.truth.drift_ppm * 1e-6 * a[early].astype(float))
        assert np.abs(b[early] - a[early] - foretold).max() <= 6
        assert (np.diff(run.bob.t_ps) >= 0).all()

    def test_jumps_are_where_they_are_said_to_be(self) -> None:
        still = StationClock(
            offset_s=0.1, jumps=(ClockJump(at_s=0.3, step_ps=5_000), ClockJump(at_s=0.6, step_ps=-8_000))
        )
        run = simulate(link(Station(), Station(clock=still)), 1.0, np.random.default_rng(7))
        i, j = run.truth.partners()
        step = run.bob.t_ps[j] - run.alice.t_ps[i] - 10**11
        for low, high, expected in ((0.0, 0.3, 0), (0.3, 0.6, 5_000), (0.6, 1.0, -3_000)):
            within = (run.alice.t_ps[i] > low * 1e12 + 10) & (run.alice.t_ps[i] < high * 1e12 - 10)
            assert (step[within] == expected).all()

    def test_a_far_jump_back_waits_for_its_tags(self) -> None:
        # 1 ms back: a thousand tags at either side of it are in each other's way; none is lost, all are in order.
        back = StationClock(offset_s=0.1, jumps=(ClockJump(at_s=0.05, step_ps=-1_000_000_000),))
        bright = link(Station(), Station(clock=back), pairs_per_s=4e6)
        run = simulate(bright, 0.1, np.random.default_rng(15))
        assert (np.diff(run.bob.t_ps) >= 0).all()
        assert abs(len(run.alice) - len(run.bob) - 4000) < 5 * math.sqrt(4000)  # the last 1 ms is not due yet

    def test_a_walk_is_as_rough_as_it_says(self) -> None:
        # Frequency of 4000 steps of 0.1 s: changes are independent, sigma 10 ppb sqrt(0.1); known to 1.1 %.
        course = StationClock(walk_ppb=10.0).start(np.random.default_rng(8))
        drift = np.array([course.piece(k * 10**11).drift for k in range(4001)])
        assert np.diff(drift).std() == pytest.approx(10e-9 * math.sqrt(0.1), rel=0.06)
        again = StationClock(walk_ppb=10.0).start(np.random.default_rng(8))
        assert again.reading(4000 * 10**11) == course.reading(4000 * 10**11)


EVERYTHING = link(
    Arm(
        conditions=fading, step_s=0.003, clock=TestClocks.CLOCK_A, detectors=REAL,
        tagger=Tagger(resolution_ps=3.90625, max_rate_cps=1.2e5, buffer_tags=500),
    ),
    Arm(
        conditions=doppler, step_s=0.05, clock=TestClocks.CLOCK_B, tagger=Tagger(resolution_ps=156.25),
        analyser=Analyser(settings=tuple(Setting(share=1 / 3, angle_deg=a) for a in (0.0, 22.5, 45.0)), slot_ns=100.0),
        detectors=replace(REAL, efficiency=(0.6, 0.5), delay_ps=(10.0, 40.0), paralysable=True),
    ),
    pairs_per_s=7.6e5, pulses=Pulses(rate_hz=7.6e6, width_ps=20.0, statistics=Statistics.THERMAL),
)  # fmt: skip


class TestEverythingAtOnce:
    def test_pieces_are_the_whole(self) -> None:
        whole = simulate(EVERYTHING, 0.71, np.random.default_rng(9), InterceptResend(0.2))
        simulator = LinkSimulator(EVERYTHING, np.random.default_rng(9), InterceptResend(0.2), keep_truth=True)
        pieces = [simulator.advance(s) for s in (0.1, 0.0003, 0.2597, 0.35)]
        for name in ("alice", "bob"):
            for column in ("t_ps", "channel"):
                parts = [getattr(getattr(piece, name), column) for piece in pieces]
                np.testing.assert_array_equal(np.concatenate(parts), getattr(getattr(whole, name), column))
        truth = simulator.truth()
        for name in ("alice_pair", "bob_cause", "alice_lost_ps"):
            np.testing.assert_array_equal(getattr(truth, name), getattr(whole.truth, name))

    def test_truth_changes_no_tag(self) -> None:
        blind = LinkSimulator(EVERYTHING, np.random.default_rng(9)).advance(0.2)
        seen = simulate(EVERYTHING, 0.2, np.random.default_rng(9))
        np.testing.assert_array_equal(blind.bob.t_ps, seen.bob.t_ps)

    def test_what_each_tag_is(self) -> None:
        run = simulate(EVERYTHING, 0.5, np.random.default_rng(10))
        causes = np.bincount(run.truth.bob_cause, minlength=3)
        assert (causes > 100).all()
        assert (run.truth.bob_pair[run.truth.bob_cause != Cause.PHOTON] == -1).all()
        assert set(run.bob.channel.tolist()) == set(range(6))
        # A tagger's unit is a fraction of ps: times are its multiples, rounded down.
        k = np.ceil(run.alice.t_ps / 3.90625)
        assert (np.floor(k * 3.90625) == run.alice.t_ps).all()
        assert len(run.truth.alice_lost_ps) > 100

    def test_active_basis_is_one_per_slot(self) -> None:
        quiet = link(Station(loss_db=3.0), Station(loss_db=1.0, analyser=Analyser(z_share=0.3, slot_ns=20_000.0)))
        tags = simulate(quiet, 0.5, np.random.default_rng(11)).bob
        slot, basis = tags.t_ps // 20_000_000, tags.channel >> 1
        same = slot[1:] == slot[:-1]
        assert same.sum() > 10_000
        assert (basis[1:] == basis[:-1])[same].all()
        # 25 000 slots, nearly all with tags.
        first = np.unique(slot, return_index=True)[1]
        assert abs((basis[first] == 0).mean() - 0.3) < 5 * math.sqrt(0.3 * 0.7 / first.size)


class TestTagger:
    def test_a_full_buffer_passes_its_rate_and_counts_the_rest(self) -> None:
        # 4e5 clicks a second into 1e5: what leaves is the rate, plus what the buffer held at the end.
        full = Station(tagger=Tagger(max_rate_cps=1e5, buffer_tags=1000))
        free = simulate(link(Station(), Station()), 1.0, np.random.default_rng(12))
        run = simulate(link(full, Station()), 1.0, np.random.default_rng(12))
        assert abs(len(run.alice) - 101_000) < 5
        assert len(run.alice) + len(run.truth.alice_lost_ps) == len(free.alice)
        merged = np.sort(np.concatenate([run.alice.t_ps, run.truth.alice_lost_ps]))
        np.testing.assert_array_equal(merged, free.alice.t_ps)


class TestSource:
    def test_thermal_pulses(self) -> None:
        # All photons are seen and detectors never dead, so pairs per pulse can be counted: 1e6 pulses of mean 0.5.
        # Two polarisation modes: P(n) = (n + 1) (mu/2)^n / (1 + mu/2)^(n + 2) (Kok and Braunstein, Phys. Rev. A 61,
        # 042304 (2000), eq. 7), which is negative binomial with K = 2.
        laws = {
            1.0: lambda n, m: m**n / (1 + m) ** (n + 1),
            2.0: lambda n, m: (n + 1) * (m / 2) ** n / (1 + m / 2) ** (n + 2),
        }
        for modes, law in laws.items():
            pulses = Pulses(rate_hz=1e6, statistics=Statistics.MODES, modes=modes)
            run = simulate(link(Station(), Station(), pairs_per_s=5e5, pulses=pulses), 1.0, np.random.default_rng(13))
            per_pulse = np.bincount(np.bincount(run.alice.t_ps // 1_000_000, minlength=10**6), minlength=6)[:6]
            expected = 1e6 * np.array([law(n, 0.5) for n in range(6)])
            assert np.abs((per_pulse - expected) / np.sqrt(expected)).max() < 5

    def test_many_modes_are_poisson(self) -> None:
        few, many = (
            link_model(link(Station(loss_db=3.0), Station(loss_db=3.0), pulses=Pulses(rate_hz=1e6, **law))).pulse_cps
            for law in ({"statistics": Statistics.MODES, "modes": 1e6}, {"statistics": Statistics.POISSON})
        )
        assert few == pytest.approx(many, rel=1e-5)

    @pytest.mark.parametrize(
        "fields",
        [
            {"density_real": ((1.0,) * 4,) * 4},
            {"density_real": ((0.25, 0, 0, 0),) * 3},
            {"density_imag": ((0.0,) * 4,) * 4},
            {"fidelity": 0.9, "visibility_z": 0.9},
            {"fidelity": 1.2},
            {"heralding_a": 1.1},
            {"pulses": Pulses(rate_hz=1e3)},
        ],
    )
    def test_refuses(self, fields: dict[str, object]) -> None:
        with pytest.raises(ParameterError):
            PairSource(**{"pairs_per_s": 1e6, **fields})
