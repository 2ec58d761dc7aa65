"""The fibre's numbers against data sheets and independent formulas, its random parts against their closed-form laws.

Statistical tests: fixed seeds, five sigma, n stated.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from distribution.channels.fibre import Fibre, TemperatureDrift, standard_attenuation_db_per_km
from distribution.channels.polarisation import ModeDispersion, PolarisationDrift, PolarisationWalk, rotation
from distribution.errors import ParameterError
from distribution.twoqubit import linear


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestLossAndDelay:
    def test_loss_adds_up(self) -> None:
        # 50 km x 0.20 + 4 x 0.3 + 10 x 0.05 dB by hand.
        fibre = Fibre(length_km=50.0, connectors=4, splices=10)
        assert fibre.loss_db == pytest.approx(11.7)
        assert fibre.start(rng()).at(0.0).transmittance == pytest.approx(10**-1.17)

    def test_standard_attenuation_is_known_where_the_data_sheet_is(self) -> None:
        assert standard_attenuation_db_per_km(1550.0) == 0.20
        assert standard_attenuation_db_per_km(1625.0) == 0.23
        with pytest.raises(ParameterError, match=r"wavelength_nm = 810.*1310"):
            Fibre(length_km=1.0, wavelength_nm=810.0)
        assert Fibre(length_km=1.0, wavelength_nm=810.0, attenuation_db_per_km=3.0).loss_db == 3.0

    def test_delay_is_five_microseconds_per_km(self) -> None:
        conditions = Fibre(length_km=100.0).start(rng()).at(0.0)
        assert conditions.delay_ps == pytest.approx(100.0 / 299792.458 * 1.4682 * 1e12, rel=1e-12)
        assert 4.85e8 < conditions.delay_ps < 5.0e8

    def test_a_plain_fibre_never_changes(self) -> None:
        course = Fibre(length_km=10.0).start(rng())
        assert course.step_s is None
        assert course.at(0.0).polarisation is None
        assert course.at(0.0).background_cps == 0.0


class TestTemperature:
    def test_steady_warming(self) -> None:
        # 50 km, 1 K/h: 6.7e-6 x 244.9 us = 1.64 ns per hour.
        course = Fibre(length_km=50.0, temperature=TemperatureDrift(rate_k_per_h=1.0)).start(rng())
        late, early = course.at(3600.0), course.at(0.0)
        assert late.delay_ps - early.delay_ps == pytest.approx(1640.6, abs=0.5)
        assert early.delay_rate == pytest.approx(1640.6e-12 / 3600.0, rel=1e-3)

    def test_swing_is_continuous_where_steps_meet(self) -> None:
        drift = TemperatureDrift(swing_k=2.0, period_h=0.02)  # a laboratory's air conditioning, 72 s
        course = Fibre(length_km=50.0, temperature=drift).start(rng())
        step = course.step_s
        assert step is not None
        worst = 0.0
        for k in range(200):
            now, then = course.at(k * step), course.at((k + 1) * step)
            end = now.delay_ps + 1e12 * (now.delay_rate * step + now.delay_bend_per_s * step**2 / 2.0)
            worst = max(worst, abs(then.delay_ps - end))
        assert worst < 0.1


class TestChromaticDispersion:
    def test_coefficient_against_the_specification(self) -> None:
        # ITU-T G.652.D and every SMF-28 data sheet: at most 18 ps/(nm km) at 1550 nm, 22 at 1625, 0 at lambda_0.
        assert 16.0 < Fibre(length_km=1.0).dispersion_ps_per_nm < 18.0
        assert 19.5 < Fibre(length_km=1.0, wavelength_nm=1625.0).dispersion_ps_per_nm < 22.0
        assert Fibre(length_km=9.0, wavelength_nm=1317.0).dispersion_ps_per_nm == pytest.approx(0.0, abs=1e-9)

    def test_slope_at_the_zero_is_s0(self) -> None:
        low, high = (Fibre(length_km=1.0, wavelength_nm=1317.0 + d).dispersion_ps_per_nm for d in (-0.5, 0.5))
        assert high - low == pytest.approx(0.088, rel=1e-3)

    def test_sign(self) -> None:
        # Anomalous dispersion at 1550 nm: the higher frequency is the faster one.
        assert Fibre(length_km=1.0, bandwidth_nm=1.0).dispersion_ps < 0.0
        assert Fibre(length_km=1.0, bandwidth_nm=2.3548).dispersion_ps == pytest.approx(-16.3, abs=0.1)

    def test_a_module_compensates(self) -> None:
        plain = Fibre(length_km=20.0, bandwidth_nm=1.0)
        module = -plain.dispersion_ps_per_nm
        assert Fibre(length_km=20.0, bandwidth_nm=1.0, compensation_ps_per_nm=module).dispersion_ps == 0.0

    def test_the_formula_is_refused_where_it_does_not_hold(self) -> None:
        with pytest.raises(ParameterError, match="dispersion"):
            Fibre(length_km=1.0, wavelength_nm=810.0, attenuation_db_per_km=3.0, bandwidth_nm=1.0)


class TestPolarisation:
    def test_rotation_by_hand(self) -> None:
        # A quarter turn about the R/L axis takes H to D: a polariser turned by 45 degrees.
        quarter = rotation(np.array([0.0, 0.0, math.pi / 2]))
        np.testing.assert_allclose(quarter @ linear(0.0), linear(math.pi / 4), atol=1e-12)

    def test_rotation_is_one(self) -> None:
        turn = rotation(np.array([0.3, -1.1, 0.7]))
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1.0)
        assert np.trace(turn) == pytest.approx(1.0 + 2.0 * math.cos(math.sqrt(0.09 + 1.21 + 0.49)))

    def test_mean_map_of_the_walk(self) -> None:
        # 2000 walks of 50 steps with 0.1 rad per axis and step. Exactly, a step leaves (1 + 2 (1 - s^2) exp(-s^2/2))/3
        # on average: characteristic function of the Gaussian vector in Rodrigues' formula.
        drift = PolarisationDrift(rate_rad_per_sqrt_s=0.1)
        generator = rng(7)
        maps = np.array([PolarisationWalk(drift, 1.0, generator).at_step(50) for _ in range(2000)])
        s = 0.1
        exact = ((1.0 + 2.0 * (1.0 - s**2) * math.exp(-(s**2) / 2.0)) / 3.0) ** 50
        assert exact == pytest.approx(drift.mean_map(50.0), rel=0.01)
        error = maps.std(axis=0) / math.sqrt(2000)
        assert (np.abs(maps.mean(axis=0) - exact * np.eye(3)) < 5.0 * error).all()

    def test_the_walk_does_not_depend_on_how_often_it_is_asked(self) -> None:
        drift = PolarisationDrift(rate_rad_per_sqrt_s=0.3)
        often, seldom = (PolarisationWalk(drift, 0.01, rng(3)) for _ in range(2))
        for k in range(40):
            often.at_step(k)
        np.testing.assert_array_equal(often.at_step(40), seldom.at_step(40))

    def test_steps_are_small_turns(self) -> None:
        drift = PolarisationDrift(rate_rad_per_sqrt_s=0.1)
        assert drift.step_s is not None
        assert 0.1 * math.sqrt(drift.step_s) == pytest.approx(0.03)
        assert PolarisationDrift().step_s is None

    def test_rate_or_time_constant(self) -> None:
        drift = PolarisationDrift(time_constant_s=25.0)
        assert drift.rate == pytest.approx(0.2)
        assert drift.mean_map(25.0) == pytest.approx(math.exp(-1.0))
        assert drift.step_s == PolarisationDrift(rate_rad_per_sqrt_s=0.2).step_s
        with pytest.raises(ParameterError, match="not both"):
            PolarisationDrift(rate_rad_per_sqrt_s=0.2, time_constant_s=25.0)

    def test_pmd_leaves_what_its_closed_form_says(self) -> None:
        # 4000 fibres, delay near the coherence time. The map is n n^T + e (1 - n n^T), n isotropic:
        # its mean is (1 + 2 E e) / 3 times the identity.
        law = ModeDispersion(mean_dgd_ps=1.0, sigma_rad_per_ps=1.5)
        generator = rng(5)
        maps = np.array([law.draw(generator) for _ in range(4000)])
        diagonal = maps[:, [0, 1, 2], [0, 1, 2]].mean(axis=1)
        expected = (1.0 + 2.0 * law.mean_across) / 3.0
        assert abs(diagonal.mean() - expected) < 5.0 * diagonal.std() / math.sqrt(4000)
        eigenvalues = np.linalg.eigvalsh(maps)
        assert np.allclose(eigenvalues[:, 2], 1.0)

    def test_mean_delay_is_the_coefficient_times_the_root_of_the_length(self) -> None:
        fibre = Fibre(length_km=100.0, pmd_ps_per_sqrt_km=0.1, bandwidth_nm=1.0)
        law = fibre.mode_dispersion
        assert law.mean_dgd_ps == pytest.approx(1.0)
        lengths = np.linalg.norm(rng(2).normal(0.0, law.component_ps, (20_000, 3)), axis=1)
        assert abs(lengths.mean() - 1.0) < 5.0 * lengths.std() / math.sqrt(20_000)
        # 1 nm at 1550 nm is 124.8 GHz.
        assert law.sigma_rad_per_ps == pytest.approx(2 * math.pi * 0.1248 / 2.3548, rel=1e-3)

    def test_pmd_and_start_rotation_reach_the_conditions(self) -> None:
        fibre = Fibre(
            length_km=100.0,
            bandwidth_nm=5.0,
            pmd_ps_per_sqrt_km=0.1,
            polarisation=PolarisationDrift(start_deg=(0.0, 0.0, 90.0)),
        )
        course = fibre.start(rng(4))
        found = course.at(0.0).polarisation
        assert found is not None
        left = fibre.mode_dispersion.draw(rng(4))
        np.testing.assert_allclose(found, rotation(np.array([0.0, 0.0, math.pi / 2])) @ left)
        assert course.step_s is None

    def test_equal_generators_give_equal_courses(self) -> None:
        fibre = Fibre(length_km=5.0, polarisation=PolarisationDrift(rate_rad_per_sqrt_s=0.2))
        one, other = fibre.start(rng(9)), fibre.start(rng(9))
        for t in (0.0, 0.5, 3.0):
            np.testing.assert_array_equal(one.at(t).polarisation, other.at(t).polarisation)
