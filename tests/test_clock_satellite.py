"""A satellite's clock: acquired anywhere in a pass of a 500 km orbit, tracked from one horizon to the other.

The delay is geometry (tests/reference/orbit.py): almost constant 24 ppm near the horizon, no drift but 0.36 ppm/s
overhead. The pairs fade with the square of the range, from 2000 per second in the zenith to about 100 at 3 degrees.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from distribution.clock import Acquisition, acquire
from tests.reference.clock import Streams, pair_streams
from tests.reference.orbit import elevation, light_time_ps, slant_range_m
from tests.test_clock import ORIGIN_PS, PS, SIGMA_PS, compiled, tracked

PASS_S = 600.0
ZENITH_S = PASS_S / 2
OFFSET_PS = 2e11


def delay_ps(t_s: npt.NDArray[np.float64], zenith_s: float = ZENITH_S) -> npt.NDArray[np.float64]:
    return OFFSET_PS + light_time_ps(t_s - zenith_s)


def test_the_geometry_is_that_of_the_issue() -> None:
    """25 ppm, 0.3 ppm/s; and straight up is 500 km."""
    t = np.array([-301.0, -300.0, -0.5, 0.0, 0.5, 148.0])
    assert slant_range_m(t[3:4])[0] == pytest.approx(5e5)
    doppler = (light_time_ps(t[1:2]) - light_time_ps(t[:1]))[0] * 1e-12
    assert doppler == pytest.approx(-24e-6, abs=1.5e-6)
    acceleration = (light_time_ps(t[2:3]) - 2 * light_time_ps(t[3:4]) + light_time_ps(t[4:5]))[0] * 4e-12
    assert acceleration == pytest.approx(0.36e-6, abs=0.01e-6)
    assert np.degrees(elevation(t[5:]))[0] == pytest.approx(20, abs=0.3)


@cache
def overflight() -> Streams:
    """Ten minutes through the zenith: 600 s x (5000 + up to 5000) events."""
    rng = np.random.default_rng(40)
    s = pair_streams(rng, seconds=PASS_S, pairs_per_s=2000.0, singles_a=5000.0, singles_b=4000.0, delay=delay_ps)
    # Bob is on the ground: what reaches him, pairs and other light of the beam, fades with the range.
    range_m = slant_range_m((s.truth_ps - ORIGIN_PS) * 1e-12 - ZENITH_S)
    kept = rng.random(s.b_ps.size) < (5e5 / range_m) ** 2
    return Streams(s.a_ps, s.b_ps[kept], s.truth_ps[kept])


def part(s: Streams, from_s: float, to_s: float) -> Streams:
    window = ORIGIN_PS + round(from_s * PS), ORIGIN_PS + round(to_s * PS)
    a, b = np.searchsorted(s.a_ps, window), np.searchsorted(s.truth_ps, window)
    return Streams(s.a_ps[slice(*a)], s.b_ps[slice(*b)], s.truth_ps[slice(*b)])


def truth_at(found: Acquisition) -> tuple[float, float, float]:
    """(ps, dimensionless, 1/s) at the model's reference, by differences of the closed form."""
    t = (found.model.reference_ps - ORIGIN_PS) / PS + np.array([-0.05, 0.0, 0.05])
    before, here, after = delay_ps(t)
    return float(here), float(after - before) / 0.1 * 1e-12, float(after - 2 * here + before) / 0.05**2 * 1e-12


@compiled
@pytest.mark.parametrize("zenith_off_s", [-295.0, -148.0, -60.0, -15.0, -1.0, 0.0, 5.0, 30.0, 148.0])
def test_acquired_anywhere_in_the_pass(zenith_off_s: float) -> None:
    """Six seconds of it: low elevation, where the drift is high, and overhead, where it changes."""
    begin = ZENITH_S + zenith_off_s - 3.0
    s = part(overflight(), begin, begin + 6.0)
    found = acquire(*s.tags, max_drift_ppm=30.0)
    offset, drift, acceleration = truth_at(found)
    model = found.model
    assert abs(model.offset_ps + model.offset_fraction_ps - offset) < 5 * found.offset_error_ps
    assert found.offset_error_ps < 0.3 * SIGMA_PS
    assert abs(model.drift - drift) < 5 * found.drift_error
    assert found.drift_error < 5e-10
    assert abs(model.acceleration_per_s - acceleration) < 5 * found.acceleration_error_per_s
    assert found.acceleration_error_per_s < 5e-9
    assert found.spread_ps == pytest.approx(SIGMA_PS, rel=0.25)


@compiled
@pytest.mark.parametrize(("known_s", "stretch_s"), [(8.0, 0.5), (PASS_S, PASS_S)])
def test_tracked_from_horizon_to_horizon(known_s: float, stretch_s: float) -> None:
    """Live from its first eight seconds at 3 degrees, and as one recording, in which the clock is found overhead."""
    s = overflight()
    start = part(s, 0.0, known_s)
    aligned, tracker = tracked(s, acquire(*start.tags, max_drift_ppm=30.0), stretch_s)
    error = aligned - s.truth_ps
    assert error.std() < 50.0  # a quarter of the jitter
    assert np.abs(error).max() < 350
    assert tracker.jumps == ()
    assert tracker.locked
    assert tracker.spread_ps == pytest.approx(SIGMA_PS, rel=0.1)


@compiled
@pytest.mark.parametrize("dark_s", [1.0, 3.0, 4.5])
def test_fades_overhead_are_bridged_without_alarm(dark_s: float) -> None:
    """The acceleration changes most a minute from the zenith; what it does in the dark is no jump."""
    whole = part(overflight(), ZENITH_S + 20.0, ZENITH_S + 50.0)
    begin = ORIGIN_PS + round((ZENITH_S + 32.0) * PS)
    dark = (whole.truth_ps > begin) & (whole.truth_ps < begin + round(dark_s * PS))
    lonely = dark & (np.random.default_rng(41).random(dark.size) < 0.5)  # background, moved off its partners
    b = np.where(lonely, whole.b_ps + 30_000_000, whole.b_ps)[~dark | lonely]
    truth = np.where(lonely, whole.truth_ps + 30_000_000, whole.truth_ps)[~dark | lonely]
    order = np.argsort(b, kind="stable")
    s = Streams(whole.a_ps, b[order], truth[order])
    aligned, tracker = tracked(s, acquire(*part(s, ZENITH_S + 20.0, ZENITH_S + 28.0).tags, max_drift_ppm=30.0), 0.5)
    back = s.truth_ps > begin + round((dark_s + 0.6) * PS)
    assert np.abs(aligned - s.truth_ps)[back].max() < 250
    assert tracker.jumps == ()
    assert tracker.locked


@compiled
def test_a_jump_overhead_is_an_alarm() -> None:
    s = part(overflight(), ZENITH_S - 10.0, ZENITH_S + 10.0)
    jumped = Streams(
        s.a_ps, s.b_ps + np.where(s.truth_ps > ORIGIN_PS + round((ZENITH_S + 3) * PS), 5_000, 0), s.truth_ps
    )
    first = part(jumped, ZENITH_S - 10.0, ZENITH_S - 2.0)
    aligned, tracker = tracked(jumped, acquire(*first.tags, max_drift_ppm=30.0), 0.5)
    (jump,) = tracker.jumps
    assert jump.step_ps == pytest.approx(5_000, abs=2 * SIGMA_PS)
    settled = s.truth_ps > ORIGIN_PS + round((ZENITH_S + 3.7) * PS)
    assert np.abs(aligned - s.truth_ps)[settled].max() < 250
