"""A pass against vector geometry, textbook formulas and published numbers; its delay against itself."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from scipy.optimize import brentq

from distribution.channels.beam import Beam, Sky
from distribution.channels.orbit import EARTH_GM_KM3_PER_S2, EARTH_RADIUS_KM, Orbit
from distribution.channels.satellite import SatellitePass, air_mass
from distribution.errors import ParameterError

C_KM_PER_S = 299_792.458
LEO = Orbit(altitude_km=500.0, max_elevation_deg=90.0, min_elevation_deg=10.0)
TELESCOPES = Beam(wavelength_nm=810.0, divergence_urad=10.0, waist_m=0.05, aperture_m=1.0)


def replace(struct: Orbit, **changes: float) -> Orbit:
    return msgspec.structs.replace(struct, **changes)


def vectors(orbit: Orbit, t_s: float) -> tuple[float, float]:
    """Range, km, and elevation, degrees, from positions in space: station and satellite as vectors."""
    offset = orbit.central_angle(orbit.max_elevation_deg)  # of the station from the plane of the path
    station = EARTH_RADIUS_KM * np.array([math.cos(offset), 0.0, math.sin(offset)])
    phase = orbit.turn_rad_per_s * (t_s - orbit.duration_s / 2.0)
    satellite = orbit.radius_km * np.array([math.cos(phase), math.sin(phase), 0.0])
    sight = satellite - station
    distance = float(np.linalg.norm(sight))
    return distance, math.degrees(math.asin(float(sight @ station) / distance / EARTH_RADIUS_KM))


class TestGeometry:
    @pytest.mark.parametrize("max_elevation", [90.0, 62.0, 25.0])
    def test_against_vectors(self, max_elevation: float) -> None:
        orbit = replace(LEO, max_elevation_deg=max_elevation)
        for share in np.linspace(0.0, 1.0, 23):
            t_s = float(share) * orbit.duration_s
            sight = orbit.sight(t_s)
            distance, elevation = vectors(orbit, t_s)
            assert sight.range_km == pytest.approx(distance, rel=1e-12)
            assert math.degrees(sight.elevation_rad) == pytest.approx(elevation, abs=1e-5)
            h = 0.05
            before, after = vectors(orbit, t_s - h)[0], vectors(orbit, t_s + h)[0]
            assert sight.rate_km_per_s == pytest.approx((after - before) / (2 * h), abs=1e-6)
            assert sight.acceleration_km_per_s2 == pytest.approx((after - 2 * distance + before) / h**2, abs=1e-6)

    def test_slant_range_by_the_textbook(self) -> None:
        # Maral and Bousquet, Satellite Communications Systems, 2.5.1: -R sin e + sqrt((R sin e)^2 + 2 R h + h^2).
        for t_s in (0.0, 60.0, 130.0):
            sight = LEO.sight(t_s)
            up = EARTH_RADIUS_KM * math.sin(sight.elevation_rad)
            assert sight.range_km == pytest.approx(
                -up + math.sqrt(up**2 + 2 * EARTH_RADIUS_KM * 500 + 500**2), rel=1e-9
            )

    def test_known_numbers(self) -> None:
        # A 500 km orbit: 7.61 km/s and 94.5 minutes; 1695 km of slant range at 10 degrees of elevation.
        assert math.sqrt(EARTH_GM_KM3_PER_S2 / LEO.radius_km) == pytest.approx(7.617, abs=5e-3)
        still = replace(LEO, inclination_deg=90.0)  # a polar orbit: the Earth turns across it
        assert 2 * math.pi / still.turn_rad_per_s / 60.0 == pytest.approx(94.5, abs=0.2)
        assert LEO.sight(0.0).range_km == pytest.approx(1695.0, abs=1.0)
        assert LEO.sight(LEO.duration_s / 2.0).range_km == pytest.approx(500.0)

    def test_rise_middle_and_set(self) -> None:
        orbit = replace(LEO, max_elevation_deg=70.0)
        found = [math.degrees(orbit.sight(t).elevation_rad) for t in (0.0, orbit.duration_s / 2, orbit.duration_s)]
        assert found == pytest.approx([10.0, 70.0, 10.0], abs=1e-6)
        rise = brentq(lambda t: vectors(orbit, t)[1] - 10.0, -60.0, 60.0)
        assert rise == pytest.approx(0.0, abs=1e-6)

    def test_an_impossible_pass_is_refused(self) -> None:
        with pytest.raises(ParameterError, match="min_elevation_deg = 50"):
            Orbit(altitude_km=500.0, max_elevation_deg=40.0, min_elevation_deg=50.0)


class TestDoppler:
    @pytest.mark.parametrize("max_elevation", [90.0, 50.0])
    def test_against_the_published_closed_form(self, max_elevation: float) -> None:
        # Ali, Al-Dhahir, Hershey (1998): df/f = -(1/c) rE r w sin(psi) cos(g)
        # / sqrt(rE^2 + r^2 - 2 rE r cos(psi) cos(g)), g = acos(rE/r cos(theta_max)) - theta_max,
        # psi counted from the middle of the pass.
        orbit = replace(LEO, max_elevation_deg=max_elevation)
        top = math.radians(max_elevation)
        re, r, w = EARTH_RADIUS_KM, orbit.radius_km, orbit.turn_rad_per_s
        g = math.acos(re / r * math.cos(top)) - top
        for t_s in np.linspace(0.0, orbit.duration_s, 11):
            psi = w * (t_s - orbit.duration_s / 2.0)
            root = math.sqrt(re**2 + r**2 - 2 * re * r * math.cos(psi) * math.cos(g))
            published = -re * r * w * math.sin(psi) * math.cos(g) / root / C_KM_PER_S
            assert -orbit.sight(float(t_s)).rate_km_per_s / C_KM_PER_S == pytest.approx(published, abs=1e-12)

    def test_some_25_ppm_and_a_third_of_a_ppm_per_second(self) -> None:
        horizon = replace(LEO, min_elevation_deg=0.0)
        assert abs(horizon.sight(0.0).rate_km_per_s) / C_KM_PER_S * 1e6 == pytest.approx(23.75, abs=0.1)
        zenith = LEO.sight(LEO.duration_s / 2.0)
        assert zenith.rate_km_per_s == pytest.approx(0.0, abs=1e-9)
        # Overhead: s'' = R a w^2 / h.
        expected = EARTH_RADIUS_KM * LEO.radius_km * LEO.turn_rad_per_s**2 / 500.0 / C_KM_PER_S
        assert zenith.acceleration_km_per_s2 / C_KM_PER_S == pytest.approx(expected)
        assert expected * 1e6 == pytest.approx(0.365, abs=0.005)


class TestArm:
    PASS = SatellitePass(orbit=LEO, beam=TELESCOPES, zenith_transmittance=0.8)

    @pytest.mark.parametrize("altitude_km", [300.0, 500.0, 1200.0])
    def test_delay_is_continuous_and_true(self, altitude_km: float) -> None:
        link = SatellitePass(orbit=replace(LEO, altitude_km=altitude_km), beam=TELESCOPES)
        course, h = link.start(np.random.default_rng(0)), link.step_s
        middle = int(link.orbit.duration_s / 2.0 / h)
        gap = inside = 0.0
        for k in [*range(50), *range(middle - 400, middle + 400)]:
            now, then = course.at(k * h), course.at((k + 1) * h)

            def delay(u: float, now=now) -> float:  # type: ignore[no-untyped-def]
                return now.delay_ps + 1e12 * (now.delay_rate * u + now.delay_bend_per_s * u**2 / 2.0)

            gap = max(gap, abs(then.delay_ps - delay(h)))
            inside = max(inside, *(abs(link.delay_ps(k * h + u) - delay(u)) for u in (0.21 * h, 0.79 * h)))
        assert gap < 1e-3  # ps: rounding of 1e10 ps in double precision
        assert inside < 0.06

    def test_loss_along_the_pass(self) -> None:
        # By hand at zenith: w = 5 m at 500 km, 1 m aperture: 1 - exp(-2 x 0.25 / 25.0) = 1.98 %, air 0.8.
        middle = self.PASS.orbit.duration_s / 2.0
        assert self.PASS.transmittance(middle) == pytest.approx(0.0198 * 0.8, rel=2e-3)
        # At 10 degrees: 1695 km, w = 16.95 m; air mass 5.59 (5.76 without the Earth's curvature).
        assert self.PASS.transmittance(0.0) == pytest.approx(2 * 0.25 / 16.95**2 * 0.8**5.59, rel=5e-3)

    def test_air_mass_against_the_table(self) -> None:
        # Kasten and Young (1989), table 2: 1.0 at 90 degrees, 1.994 at 30, 5.586 at 10, 10.3 at 5, 38 at 0.
        assert [air_mass(math.radians(e)) for e in (90, 30, 10, 5, 0)] == pytest.approx(
            [1.0, 1.994, 5.586, 10.31, 37.92], rel=2e-3
        )

    def test_no_light_below_the_least_elevation(self) -> None:
        dark = SatellitePass(orbit=LEO, beam=TELESCOPES, sky=Sky(radiance=1e-3), begin_s=-10.0)
        course = dark.start(np.random.default_rng(0))
        before = course.at(0.0)
        assert before.transmittance == 0.0
        assert before.background_cps == pytest.approx(Sky(radiance=1e-3).photons_cps(TELESCOPES))
        assert dark.transmittance(10.5) > 0.0
        assert dark.transmittance(10.0 + LEO.duration_s + 0.5) == 0.0

    def test_a_later_beginning_shifts_everything(self) -> None:
        later = SatellitePass(orbit=LEO, beam=TELESCOPES, zenith_transmittance=0.8, begin_s=100.0)
        assert later.delay_ps(5.0) == self.PASS.delay_ps(105.0)
        assert later.transmittance(5.0) == self.PASS.transmittance(105.0)
