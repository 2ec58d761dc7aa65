"""Telescopes, haze, sky and flicker against numerical integration, hand calculation and closed-form statistics."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from scipy.integrate import quad

from distribution.channels.beam import Beam, Sky
from distribution.channels.freespace import FreeSpace, haze_db_per_km
from distribution.channels.scintillation import Flicker, Scintillation
from distribution.errors import ParameterError

CITY = Beam(wavelength_nm=810.0, divergence_urad=25.0, waist_m=0.02, aperture_m=0.2)


def bent(beam: Beam, **changes: float) -> Beam:
    return msgspec.structs.replace(beam, **changes)


class TestBeam:
    def test_gathered_light_is_the_integral_over_a_ring(self) -> None:
        beam = bent(CITY, obscuration_m=0.07)
        w = beam.radius_m(5.0)
        whole, _ = quad(lambda r: 4.0 / w**2 * r * math.exp(-2.0 * r**2 / w**2), 0.035, 0.1)
        assert beam.gathered(5.0) == pytest.approx(whole, rel=1e-9)

    def test_trembling_is_averaged_exactly(self) -> None:
        # 4e5 pointings, each beam's light on a small aperture of its own middle: intensity at a Gaussian distance.
        beam = bent(CITY, aperture_m=0.002, jitter_urad=20.0)
        n, spread = 400_000, 20e-6 * 5e3
        where = np.random.default_rng(1).normal(0.0, spread, (n, 2))
        w = beam.radius_m(5.0)
        light = 2.0 * 0.001**2 / w**2 * np.exp(-2.0 * (where**2).sum(axis=1) / w**2)
        assert abs(beam.gathered(5.0) - light.mean()) < 5.0 * light.std() / math.sqrt(n) + 1e-4 * light.mean()
        beta = w**2 / (4.0 * spread**2)  # Toyoshima et al. (2002): mean over maximum is beta / (beta + 1)
        assert light.mean() / light.max() == pytest.approx(beta / (beta + 1.0), rel=5e-3)

    def test_far_field_grows_with_the_distance(self) -> None:
        assert CITY.radius_m(100.0) == pytest.approx(25e-6 * 1e5, rel=1e-3)
        assert CITY.radius_m(0.0) == 0.02

    def test_nothing_beats_diffraction(self) -> None:
        with pytest.raises(ParameterError, match=r"divergence_urad = 5.*diffraction limit 12\.89"):
            bent(CITY, divergence_urad=5.0)


class TestHaze:
    def test_kim_by_hand(self) -> None:
        # 23 km at 810 nm: 3.91 / 23 x (810/550)^-1.3 = 0.1028 per km = 0.4466 dB/km.
        assert haze_db_per_km(23.0, 810.0) == pytest.approx(0.4466, abs=5e-4)
        # Fog of 200 m: no wavelength dependence, 85 dB/km.
        assert haze_db_per_km(0.2, 810.0) == haze_db_per_km(0.2, 1550.0) == pytest.approx(84.9, abs=0.1)

    def test_at_550_nm_the_definition_of_visual_range(self) -> None:
        assert haze_db_per_km(10.0, 550.0) * 10.0 == pytest.approx(10.0 * math.log10(math.exp(3.91)))

    def test_give_one_or_the_other(self) -> None:
        with pytest.raises(ParameterError, match="not both"):
            FreeSpace(length_km=1.0, beam=CITY, visibility_km=23.0, extinction_db_per_km=0.2)


class TestSky:
    def test_photons_by_hand(self) -> None:
        # Full moon, 1 m telescope, 100 urad, 1 nm at 800 nm: 1.5e-3 x 7.854e-9 sr x 0.7854 m^2 x 1e-3 um = 9.25e-15 W,
        # over 2.483e-19 J = 3.73e4 photons per second.
        beam = bent(CITY, wavelength_nm=800.0, aperture_m=1.0)
        sky = Sky(radiance=1.5e-3, view_urad=100.0, filter_nm=1.0)
        assert sky.photons_cps(beam) == pytest.approx(3.727e4, rel=1e-3)

    def test_link_adds_up(self) -> None:
        beam = bent(CITY, transmitter_loss_db=1.0, receiver_loss_db=2.0)
        link = FreeSpace(length_km=3.0, beam=beam, extinction_db_per_km=0.5, sky=Sky(radiance=1e-3))
        conditions = link.start(np.random.default_rng(0)).at(0.0)
        assert conditions.transmittance == pytest.approx(CITY.gathered(3.0) * 10**-0.45)
        assert conditions.background_cps == pytest.approx(Sky(radiance=1e-3).photons_cps(CITY) * 10**-0.2)
        assert conditions.delay_ps == pytest.approx(3.0 / 299792.458 * 1.00027 * 1e12)


LAW = Scintillation(index=0.3, bandwidth_hz=20.0)


@pytest.fixture(scope="module")
def light() -> np.ndarray:
    """400 000 steps of a quarter of the correlation time."""
    assert LAW.step_s is not None
    flicker = Flicker(LAW, LAW.step_s, np.random.default_rng(12))
    return np.array([flicker.at_step(k) for k in range(400_000)])


class TestFlicker:
    def test_mean_and_variance(self, light: np.ndarray) -> None:
        # Correlated samples: the mean's variance is the sum of covariances, 2 tau / T of the variance at most.
        step = 0.25
        lags = np.arange(1, 200)
        together = light.size / (1.0 + 2.0 * np.sum(np.expm1(LAW.log_variance * np.exp(-lags * step))) / 0.3)
        assert abs(light.mean() - 1.0) < 5.0 * math.sqrt(0.3 / together)
        blocks = light.reshape(200, -1).var(axis=1)  # 500 correlation times each: independent
        assert abs(blocks.mean() - 0.3) < 5.0 * blocks.std() / math.sqrt(200)

    @pytest.mark.parametrize("lag", [1, 4, 12])
    def test_covariance(self, light: np.ndarray, lag: int) -> None:
        products = (light[:-lag] - 1.0) * (light[lag:] - 1.0)
        blocks = products[: products.size // 200 * 200].reshape(200, -1).mean(axis=1)
        expected = LAW.covariance(lag * LAW.correlation_s / 4.0)
        assert abs(blocks.mean() - expected) < 5.0 * blocks.std() / math.sqrt(200)

    def test_logarithm_is_gaussian(self, light: np.ndarray) -> None:
        logs = np.log(light[::40])  # ten correlation times apart
        s2 = LAW.log_variance
        assert abs(logs.mean() + s2 / 2.0) < 5.0 * math.sqrt(s2 / logs.size)
        skew = (((logs - logs.mean()) / logs.std()) ** 3).mean()
        assert abs(skew) < 5.0 * math.sqrt(6.0 / logs.size)

    def test_first_step_is_stationary_already(self) -> None:
        generator = np.random.default_rng(3)
        first = np.array([Flicker(LAW, 1e-3, generator).at_step(0) for _ in range(20_000)])
        assert abs(first.mean() - 1.0) < 5.0 * math.sqrt(0.3 / 20_000)

    def test_course(self) -> None:
        link = FreeSpace(length_km=1.0, beam=CITY, scintillation=LAW)
        course = link.start(np.random.default_rng(5))
        assert course.step_s == pytest.approx(1.0 / (8.0 * math.pi * 20.0))
        values = [course.at(k * (course.step_s or 0.0)).transmittance / link.transmittance for k in range(5)]
        assert len(set(values)) == 5
        assert FreeSpace(length_km=1.0, beam=CITY).start(np.random.default_rng(5)).step_s is None
