"""What the clock search says about itself is true: no false answers, errors that are errors, advice that helps."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pytest

from distribution.clock import FALSE_ALARM_LIMIT, acquire
from distribution.clock.fit import follow
from distribution.clock.search import EFFORTS, candidates
from distribution.errors import ClockNotFound
from tests.reference.clock import Streams, pair_streams
from tests.test_clock import ORIGIN_PS, PS, compiled, errors, small, straight

Times = npt.NDArray[np.int64]


def poisson(rng: np.random.Generator, rate: float, seconds: float) -> Times:
    return np.sort(rng.integers(0, round(seconds * PS), rng.poisson(rate * seconds))) + ORIGIN_PS


# --- no false answers ----------------------------------------------------------------------------------------------


def mains(rng: np.random.Generator) -> Times:
    """Lamps: the rate swings fully, at 100 Hz and in phase at both stations."""
    t = poisson(rng, 2e4, 1.0)
    return t[rng.random(t.size) < np.sin(np.pi * 100 * (t - ORIGIN_PS) / PS) ** 2]


def afterpulsing(rng: np.random.Generator) -> Times:
    """One event in five brings another within a few hundred nanoseconds, and that perhaps a third."""
    t = poisson(rng, 8e3, 1.0)
    for _ in range(3):
        follows = t[rng.random(t.size) < 0.2]
        t = np.unique(np.append(t, follows + rng.exponential(200_000, follows.size).astype(np.int64)))
    return t


def dead_time(rng: np.random.Generator) -> Times:
    """A detector near saturation: nearly periodic."""
    return np.cumsum(rng.exponential(2e7, 12_000).astype(np.int64) + 60_000_000) + ORIGIN_PS


def pulsed(rng: np.random.Generator) -> Times:
    """Pulses of one 80 MHz laser that each station detects now and then, no pairs: every period fits equally well."""
    return np.sort(rng.choice(80_000_000, 10_000, replace=False)) * 12_500 + rng.integers(-200, 201, 10_000) + ORIGIN_PS


def slow_pulses(rng: np.random.Generator) -> Times:
    """The same at 1 MHz and both stations with a third of the pulses."""
    return np.sort(rng.choice(100_000, 30_000, replace=False)) * 1_000_000 + rng.integers(-200, 201, 30_000) + ORIGIN_PS


@pytest.mark.parametrize("background", [mains, afterpulsing, dead_time, pulsed, slow_pulses])
@pytest.mark.parametrize("seed", [1, 2, 3])
@compiled
def test_backgrounds_without_pairs_give_no_clock(background, seed: int) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    a, b = np.sort(background(rng)), np.sort(background(rng))
    with pytest.raises(ClockNotFound):
        acquire(a, b, uncertainty_s=0.01)


@compiled
@pytest.mark.parametrize("background", [mains, afterpulsing])
def test_pairs_are_found_among_such_backgrounds(background) -> None:  # type: ignore[no-untyped-def]
    s = small(4, 0.003, 8.0)
    rng = np.random.default_rng(5)
    a, b = np.sort(np.append(s.a_ps, background(rng))), np.sort(np.append(s.b_ps, background(rng)))
    assert abs(errors(acquire(a, b, uncertainty_s=0.01), 0.003, 8.0)[0]) < 100


@compiled
def test_false_alarm_bounds_how_often_noise_looks_so_good() -> None:
    """The best false_alarm of 150 pairs of unrelated recordings: below p for at most a share p of them, p = 0.2, 0.02.

    A bound over all cells, of which the search looks at few, so it is met with much to spare; five sigma are allowed.
    """
    n, best = 150, []
    for seed in range(n):
        one, other = (small(1000 + 2 * seed + k, 0.0, 0.0, seconds=0.3, pairs_per_s=0) for k in (0, 1))
        seen = candidates(one.a_ps, other.b_ps, uncertainty_ps=10**8, max_drift=1e-7, effort=EFFORTS[0])
        found = [follow(one.a_ps, other.b_ps, c, uncertainty_ps=10**8, max_drift=1e-7) for c in seen]
        best.append(min((f.false_alarm for f in found if f is not None), default=1.0))
    for p in (0.2, 0.02):
        assert sum(b < p for b in best) <= n * p + 5 * (n * p * (1 - p)) ** 0.5


@compiled
def test_a_pulsed_source_is_resolved_only_if_its_pairs_say_so() -> None:
    """1 MHz pulses, 20 000 detections a side. Pairs make one period stand out; a few beside thousands of accidental
    coincidences of neighbouring pulses do not, and then no period is named."""
    rng = np.random.default_rng(6)
    pulses = np.arange(200_000, dtype=np.int64) * 1_000_000 + ORIGIN_PS

    def recordings(common: int) -> tuple[Times, Times]:
        shared = rng.choice(pulses, common, replace=False)
        sides = [np.append(shared, rng.choice(pulses, 20_000 - common, replace=False)) for _ in range(2)]
        a, b = (np.sort(t + rng.integers(-200, 201, t.size)) for t in sides)
        return a, b + 123_456_789

    found = acquire(*recordings(3000), uncertainty_s=0.001)
    assert found.model.offset_ps == pytest.approx(123_456_789, abs=50)
    with pytest.raises(ClockNotFound):
        acquire(*recordings(60), uncertainty_s=0.001)  # 2000 accidental ones at every period


# --- errors --------------------------------------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("acceleration_ppm_per_s", [0.0, 0.3])
def test_standard_errors_are_what_the_errors_scatter_by(acceleration_ppm_per_s: float) -> None:
    """100 recordings: the rms of error / stated error is 1 within five sigma, 5 / sqrt(200) = 0.35.

    On a bent clock the statement counts two terms that an exact parabola does not have: 1.2 times the true error of the
    offset, 2.5 times that of the drift.
    """
    pulls = []
    for seed in range(100):
        s = pair_streams(
            np.random.default_rng(3000 + seed),
            seconds=1.0,
            pairs_per_s=800,
            singles_a=4000,
            singles_b=4000,
            delay=lambda t: 2e9 + 4e6 * t + acceleration_ppm_per_s * 1e6 * t * t / 2,
        )
        found = acquire(*s.tags, uncertainty_s=0.005)
        t = (found.model.reference_ps - ORIGIN_PS) / PS
        offset = 2e9 + 4e6 * t + acceleration_ppm_per_s * 1e6 * t * t / 2
        drift = (4.0 + acceleration_ppm_per_s * t) * 1e-6
        off = found.model.offset_ps + found.model.offset_fraction_ps - offset
        bent = found.model.acceleration_per_s - acceleration_ppm_per_s * 1e-6
        pulls.append(
            [
                off / found.offset_error_ps,
                (found.model.drift - drift) / found.drift_error,
                bent / found.acceleration_error_per_s,
            ]
        )
    rms = np.sqrt(np.mean(np.square(pulls), axis=0))
    expected = [0.86, 0.4, 0.28] if acceleration_ppm_per_s else [1.0, 1.0, 0.0]
    assert rms[:2] == pytest.approx(expected[:2], abs=0.35)
    assert rms[2] < 1.35


# --- advice --------------------------------------------------------------------------------------------------------


def weak(seed: int, seconds: float, pairs_per_s: float) -> Streams:
    return pair_streams(
        np.random.default_rng(seed),
        seconds=seconds,
        pairs_per_s=pairs_per_s,
        singles_a=4000,
        singles_b=4000,
        delay=straight(0.006, 7.0),
    )


@compiled
@pytest.mark.parametrize(("seconds", "pairs_per_s", "seed"), [(0.1, 60, 0), (0.1, 60, 2), (0.2, 40, 0), (0.2, 40, 2)])
def test_as_much_data_as_the_message_asks_for_suffices(seconds: float, pairs_per_s: float, seed: int) -> None:
    """The peak was real, only weak: with the stated seconds it is found, and so it is at the stated pair rate."""
    with pytest.raises(ClockNotFound) as caught:
        acquire(*weak(seed, seconds, pairs_per_s).tags, uncertainty_s=0.01)
    asked = re.search(r"pairs at (\d+)/s or more .* real, ([\d.e+]+) s of data would", caught.value.hint)
    assert asked is not None, caught.value.hint
    assert float(asked[2]) < 20 * seconds
    for again in (weak(seed + 50, float(asked[2]), pairs_per_s), weak(seed + 60, seconds, float(asked[1]))):
        found = acquire(*again.tags, uncertainty_s=0.01)
        assert found.false_alarm < FALSE_ALARM_LIMIT
        assert abs(errors(found, 0.006, 7.0)[0]) < 5 * found.offset_error_ps
