"""The simulator with real channels against their closed forms.

Fixed seeds, five sigma; n is stated where it is not obvious. Jitter is off wherever times are the point.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from distribution.channels.beam import Beam
from distribution.channels.fibre import Fibre, TemperatureDrift
from distribution.channels.freespace import FreeSpace
from distribution.channels.orbit import Orbit
from distribution.channels.polarisation import PolarisationDrift
from distribution.channels.raman import ClassicalSignal, Coexistence, Direction
from distribution.channels.satellite import SatellitePass
from distribution.channels.scintillation import Scintillation
from distribution.detector import Detectors
from distribution.errors import ParameterError
from distribution.expectation import mean_model
from distribution.model import error_fraction, link_model
from distribution.scenario import Scenario, Station, load_scenario, shipped_scenarios
from distribution.simulate import Simulation, part_generators, simulate
from distribution.source import PairSource
from distribution.states import Basis, BellState
from tests.test_simulate import count_pairs

replace = msgspec.structs.replace
Channel = Fibre | FreeSpace | SatellitePass


def link(alice: Channel | None, bob: Channel | None, pairs_per_s: float = 2e5, loss_db: float = 0.0) -> Scenario:
    """Ideal pairs and detectors; all that happens is the channels' doing."""
    return Scenario(
        title="channels",
        source="test",
        pairs=PairSource(pairs_per_s=pairs_per_s),
        alice=Station(channel=alice, loss_db=loss_db),
        bob=Station(channel=bob, loss_db=loss_db),
    )


def run(scenario: Scenario, seconds: float, seed: int = 1) -> Simulation:
    return simulate(scenario, seconds, np.random.default_rng(seed))


def delays(made: Simulation) -> np.ndarray:
    """Bob's minus Alice's time of all partners, ps."""
    i, j = made.truth.partners()
    found: np.ndarray = made.bob.t_ps[j] - made.alice.t_ps[i]
    return found


class TestFibre:
    def test_singles_and_pairs(self) -> None:
        # 3 dB + 20 km x 0.2 + 2 x 0.3 dB at Bob, 3 dB at Alice: 1e5 and 3.5e4 clicks.
        made = run(link(None, Fibre(length_km=20.0, connectors=2), loss_db=3.0), 1.0)
        alice, bob = 10**-0.3, 10**-0.76
        for n, expected in (
            (len(made.alice), 2e5 * alice),
            (len(made.bob), 2e5 * bob),
            (made.truth.partners()[0].size, 2e5 * alice * bob),
        ):
            assert abs(n - expected) < 5.0 * math.sqrt(expected)

    def test_delay(self) -> None:
        made = run(link(Fibre(length_km=1.0), Fibre(length_km=50.0), loss_db=10.0), 0.2)
        expected = 49.0 / 299792.458 * 1.4682 * 1e12
        assert np.abs(delays(made) - expected).max() <= 1.0

    def test_delay_follows_the_temperature(self) -> None:
        drift = TemperatureDrift(rate_k_per_h=30.0, swing_k=3.0, period_h=0.002)  # 7.2 s
        fibre = Fibre(length_km=50.0, attenuation_db_per_km=0.0, temperature=drift)
        made = run(link(None, fibre, pairs_per_s=2e4), 5.0)
        i, _ = made.truth.partners()
        t_s = made.alice.t_ps[i] / 1e12
        still = 50.0 / 299792.458 * 1.4682 * 1e12
        warmth = 30.0 / 3600.0 * t_s + 3.0 * np.sin(2.0 * np.pi * t_s / 7.2)
        assert np.ptp(warmth) * still * 6.7e-6 > 9000.0
        assert np.abs(delays(made) - still * (1.0 + 6.7e-6 * warmth)).max() <= 1.6

    @pytest.mark.parametrize(
        ("alice_km", "bob_km", "module"), [(20.0, 0.0, 0.0), (20.0, 20.0, 0.0), (20.0, 20.0, -2.0)]
    )
    def test_dispersion_of_partners(self, alice_km: float, bob_km: float, module: float) -> None:
        # Opposite frequency offsets: equal dispersion adds up in the difference, opposite dispersion cancels, as
        # Franson (1992) has it. n = 4e4; the standard deviation is known to 1/sqrt(2 n), and the simulator's normal
        # numbers end at 1 - 1/16384.
        one = Fibre(length_km=alice_km, attenuation_db_per_km=0.0, bandwidth_nm=0.5)
        per_nm = Fibre(length_km=1.0).dispersion_ps_per_nm
        other = replace(one, length_km=bob_km, compensation_ps_per_nm=module * bob_km * per_nm)
        found = delays(run(link(one, other), 0.2))
        n = found.size
        assert n > 39_000
        expected = abs(one.dispersion_ps + other.dispersion_ps)
        if module == -2.0:
            assert expected == 0.0
            assert found.std() < 0.5  # rounding to the picosecond at each clock
        else:
            assert expected > 60.0
            assert found.std() == pytest.approx(expected, rel=5.0 / math.sqrt(2 * n) + 2e-3)

    @pytest.mark.parametrize("angle_deg", [10.0, 25.0, 45.0])
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_qber_of_a_turned_fibre(self, angle_deg: float, axis: int) -> None:
        # A rotation by theta about an axis of the sphere leaves that basis alone and gives sin^2(theta/2) in the other
        # linear one; about the R/L axis, both. n = 5e4 per basis.
        turn = [0.0, 0.0, 0.0]
        turn[axis] = 2.0 * angle_deg
        fibre = Fibre(length_km=0.0, polarisation=PolarisationDrift(start_deg=tuple(turn)))
        counts = count_pairs(run(link(None, fibre), 1.0, seed=axis), 10)
        for basis in Basis:
            block = counts[2 * basis.value : 2 * basis.value + 2, 2 * basis.value : 2 * basis.value + 2]
            expected = 0.0 if axis == basis.value else math.sin(math.radians(angle_deg)) ** 2
            error = error_fraction(counts, BellState.PHI_PLUS, basis)
            assert abs(error - expected) <= 5.0 * math.sqrt(expected * (1 - expected) / block.sum()) + 1e-4

    def test_qber_of_a_fibre_with_mode_dispersion(self) -> None:
        # Mean delay 1.5 ps, spectrum 2 nm (0.67 rad/ps): 39 % of what lies across is gone on average. n = 5e4 each.
        fibre = Fibre(length_km=100.0, attenuation_db_per_km=0.0, bandwidth_nm=2.0, pmd_ps_per_sqrt_km=0.15)
        scenario = link(None, replace(fibre, dispersion_slope=0.0))
        left = fibre.mode_dispersion.draw(part_generators(np.random.default_rng(8))[2])
        counts = count_pairs(run(scenario, 1.0, seed=8), 1000)
        for basis in Basis:
            n = counts[2 * basis.value : 2 * basis.value + 2, 2 * basis.value : 2 * basis.value + 2].sum()
            expected = (1.0 - left[basis.value, basis.value]) / 2.0
            error = error_fraction(counts, BellState.PHI_PLUS, basis)
            # Accidentals in 1 ns at 2e5 pairs/s: 2e-4 of the pairs, half of them errors.
            assert abs(error - expected) < 5.0 * math.sqrt(expected * (1 - expected) / n) + 2e-4
        assert np.trace(left) < 2.9

    def test_qber_of_a_drifting_fibre_is_that_of_its_course(self) -> None:
        fibre = Fibre(length_km=0.0, polarisation=PolarisationDrift(rate_rad_per_sqrt_s=0.25))
        scenario = link(None, fibre, pairs_per_s=3e4)
        counts = count_pairs(run(scenario, 4.0, seed=3), 1000)
        # The walk has steps of 14.4 ms, 278 in all.
        expected = mean_model(scenario, 4.0, np.random.default_rng(3), moments=278)
        for basis in Basis:
            mean = expected.qber(1000, basis)
            error = error_fraction(counts, BellState.PHI_PLUS, basis)
            n = counts[2 * basis.value : 2 * basis.value + 2, 2 * basis.value : 2 * basis.value + 2].sum()
            assert mean > 0.02
            assert abs(error - mean) < 5.0 * math.sqrt(mean * (1 - mean) / n)


class TestRaman:
    @pytest.mark.parametrize("direction", list(Direction))
    def test_background_counts(self, direction: Direction) -> None:
        # No pairs to speak of: what clicks is Raman light, on all four detectors alike.
        signal = ClassicalSignal(wavelength_nm=1551.0, launch_dbm=-15.0, direction=direction)
        noisy = Coexistence(signals=(signal,), filter_nm=0.1, receiver_loss_db=2.0, isolation_db=110.0)
        fibre = Fibre(length_km=50.0, coexistence=noisy)
        scenario = link(None, fibre, pairs_per_s=1e-3, loss_db=10.0)
        scenario = replace(scenario, bob=replace(scenario.bob, detectors=Detectors(efficiency=0.5)))
        made = run(scenario, 2.0)
        expected = fibre.background_cps * 2.0 * 0.5 / 4.0
        assert expected > 5e4
        assert np.abs(np.bincount(made.bob.channel, minlength=4) - expected).max() < 5.0 * math.sqrt(expected)

    def test_the_background_does_not_meet_the_station_loss(self) -> None:
        signal = ClassicalSignal(wavelength_nm=1551.0, launch_dbm=-25.0)
        fibre = Fibre(length_km=10.0, coexistence=Coexistence(signals=(signal,), filter_nm=0.1))
        counts = [len(run(link(None, fibre, 1e-3, loss_db), 1.0).bob) for loss_db in (0.0, 20.0)]
        assert counts[0] == pytest.approx(counts[1], abs=5.0 * math.sqrt(2.0 * counts[0]))


class TestFreeSpace:
    def test_fluctuating_counts(self) -> None:
        # 10 s in windows of 8 steps (two correlation times): variance = mean + mean^2 x that of the averaged light.
        law = Scintillation(index=0.2, bandwidth_hz=5.0)
        beam = Beam(wavelength_nm=810.0, divergence_urad=100.0, waist_m=0.01, aperture_m=0.05)
        air = FreeSpace(length_km=1.0, beam=beam, scintillation=law)
        scenario = link(air, air, pairs_per_s=1e6)
        made = run(replace(scenario, alice=Station(loss_db=100.0)), 60.0, seed=2)
        window_ps = 8.0 * law.correlation_s / 4.0 * 1e12
        counts = np.bincount((made.bob.t_ps / window_ps).astype(int))[1:-1].astype(float)
        mean = 1e6 * air.transmittance * window_ps * 1e-12
        lags = np.abs(np.subtract.outer(np.arange(8), np.arange(8))) * law.correlation_s / 4.0
        averaged = float(np.mean([law.covariance(lag) for lag in lags.ravel()]))
        # Neighbouring windows are correlated: the mean's error follows from all windows' covariance, in closed form.
        total = counts.size * 8
        k = np.arange(total)
        weight = np.where(k == 0, 1.0, 2.0 * (1.0 - k / total))
        of_mean = float(np.sum(weight * [law.covariance(x * law.correlation_s / 4.0) for x in k]) / total)
        assert abs(counts.mean() / mean - 1.0) < 5.0 * math.sqrt(of_mean + 1.0 / counts.sum())
        groups = counts[: counts.size // 40 * 40].reshape(40, -1).var(axis=1)  # each of tens of correlation times
        expected = mean + mean**2 * averaged
        assert abs(groups.mean() - expected) < 5.0 * groups.std() / math.sqrt(40)
        assert averaged > 0.05


class TestSatellite:
    ORBIT = Orbit(altitude_km=500.0, max_elevation_deg=80.0, min_elevation_deg=10.0)
    BEAM = Beam(wavelength_nm=810.0, divergence_urad=5.2, waist_m=0.06, aperture_m=1.8)

    @pytest.mark.parametrize("begin_s", [0.0, 216.0])
    def test_every_pair_arrives_when_geometry_says(self, begin_s: float) -> None:
        # At rise the delay shrinks by 23 ppm, near the zenith it bends by 0.36 ppm/s: 7 us in 4 s and 3 us.
        sky = SatellitePass(orbit=self.ORBIT, beam=self.BEAM, begin_s=begin_s)
        made = run(link(None, sky, pairs_per_s=4e5), 4.0)
        i, _ = made.truth.partners()
        emitted = made.alice.t_ps[i] / 1e12
        assert i.size > 10_000
        expected = np.array([sky.delay_ps(t) for t in emitted])
        assert np.abs(delays(made) - expected).max() <= 1.2  # rounding to the picosecond, twice

    def test_two_down_links(self) -> None:
        # As on Micius: the source on board, both photons come down, each to a station of its own.
        east = SatellitePass(orbit=self.ORBIT, beam=self.BEAM, begin_s=150.0)
        west = SatellitePass(orbit=replace(self.ORBIT, max_elevation_deg=50.0), beam=self.BEAM, begin_s=220.0)
        made = run(link(east, west, pairs_per_s=2e5), 2.0)
        i, _ = made.truth.partners()
        assert i.size > 3_000
        seen = made.alice.t_ps[i].astype(float)
        emitted = seen.copy()
        for _ in range(4):  # the delay changes by 25 ppm at most
            emitted = seen - np.array([east.delay_ps(t * 1e-12) for t in emitted])
        expected = np.array([west.delay_ps(t * 1e-12) - east.delay_ps(t * 1e-12) for t in emitted])
        assert np.abs(delays(made) - expected).max() <= 1.3

    def test_losses_along_the_pass(self) -> None:
        sky = SatellitePass(orbit=self.ORBIT, beam=self.BEAM, zenith_transmittance=0.8)
        made = run(link(None, sky, pairs_per_s=2e5, loss_db=3.0), 60.0)
        edges = np.arange(0.0, 61.0, 10.0)
        counts, _ = np.histogram(made.bob.t_ps / 1e12, edges)
        for first, count in zip(edges, counts, strict=False):
            moments = first + (np.arange(200) + 0.5) / 20.0
            # A count at t was emitted 5.6 ms before: 1e-4 of a change of some percent per second.
            expected = 2e6 * 10**-0.3 * np.mean([sky.transmittance(float(t) - 0.005) for t in moments])
            assert abs(count - expected) < 5.0 * math.sqrt(expected)

    def test_averages_over_a_pass(self) -> None:
        scenario = load_scenario("leo-pass")
        made = run(scenario, 100.0, seed=5)
        expected = mean_model(scenario, 100.0, np.random.default_rng(5))
        for tags, rates in ((made.alice, expected.singles_a), (made.bob, expected.singles_b)):
            assert abs(len(tags) - 100.0 * rates.sum()) < 5.0 * math.sqrt(100.0 * rates.sum())
        # The rates rise all the time: those of the first moment would be far off.
        assert expected.singles_b.sum() > 2.0 * link_model(scenario).singles_b.sum()


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_shipped_scenario_runs_and_has_an_expectation(name: str) -> None:
    scenario = load_scenario(name)
    made = run(scenario, 0.2, seed=7)
    expected = mean_model(scenario, 0.2, np.random.default_rng(7))
    for tags, rates in ((made.alice, expected.singles_a), (made.bob, expected.singles_b)):
        # Flicker within 0.2 s is followed at 200 moments: allow it a percent.
        assert abs(len(tags) - 0.2 * rates.sum()) < 5.0 * math.sqrt(0.2 * rates.sum()) + 0.002 * rates.sum()


class TestScenarioFiles:
    FIBRE = """
title = "t"
source = "s"
[pairs]
pairs_per_s = 1e5
[bob.channel]
kind = "fibre"
length_km = 3.0
[bob.channel.temperature]
rate_k_per_h = 2.0
"""

    def load(self, folder: Path, text: str) -> Scenario:
        file = folder / "link.toml"
        file.write_text(text)
        return load_scenario(file)

    def test_a_channel_by_its_kind(self, tmp_path: Path) -> None:
        channel = self.load(tmp_path, self.FIBRE).bob.channel
        assert channel == Fibre(length_km=3.0, temperature=TemperatureDrift(rate_k_per_h=2.0))

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("length_km", "lenght_km", r"lenght_km.*bob\.channel"),
            ('"fibre"', '"fiber"', r"fiber.*bob\.channel\.kind"),
            ("rate_k_per_h = 2.0", "rate_k_per_h = 'warm'", r"bob\.channel\.temperature\.rate_k_per_h"),
            ("length_km = 3.0", "length_km = -3.0", r"length_km = -3\.0 must be in.*bob\.channel"),
            ("length_km = 3.0", "length_km = 3.0\nwavelength_nm = 810.0", "no standard attenuation"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, old: str, new: str, said: str) -> None:
        with pytest.raises(ParameterError, match=said):
            self.load(tmp_path, self.FIBRE.replace(old, new))
