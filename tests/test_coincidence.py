"""Coincidence matching: the rule at its edges, and counts against closed forms (n and sigma stated, seeds fixed)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from distribution.coincidence import CoincidenceSummary, MatchStream, accidentals, centre_ps, match, summarise
from distribution.errors import ParameterError


def times(*t: int) -> np.ndarray:
    return np.array(t, np.int64)


def poisson(rng: np.random.Generator, rate_cps: float, seconds: float) -> np.ndarray:
    return np.sort(rng.integers(0, int(seconds * 1e12), rng.poisson(rate_cps * seconds)))


@pytest.mark.parametrize(
    ("window_ps", "delay_ps", "pairs"),
    [(10, 5, 1), (10, -5, 1), (10, 6, 0), (11, 5, 1), (11, -6, 0), (1, 0, 1), (1, 1, 0), (2, -1, 1)],
)
def test_the_window_is_a_full_width(window_ps: int, delay_ps: int, pairs: int) -> None:
    assert len(match(times(1000), times(1000 + delay_ps), window_ps)) == pairs


def test_earliest_first_each_once() -> None:
    # By hand: 100 takes 98 (first in reach), 101 takes 103, 300 finds nothing, 500 takes the first of two equal times.
    found = match(times(100, 101, 300, 500), times(98, 103, 104, 500, 500), 10)
    assert found.index_a.tolist() == [0, 1, 3]
    assert found.index_b.tolist() == [0, 1, 3]
    assert found.delay_ps(times(100, 101, 300, 500), times(98, 103, 104, 500, 500)).tolist() == [-2, 2, 0]
    assert found.ambiguous.tolist() == [True, True, True]


def test_times_far_from_the_origin() -> None:
    far = 9 * 10**18
    assert match(times(far), times(far + 7), 14).index_b.tolist() == [0]
    with pytest.raises(ParameterError, match="not on one clock"):
        match(times(-far), times(far), 14)


def test_empty_streams() -> None:
    nothing = np.empty(0, np.int64)
    assert len(match(nothing, times(1), 10)) == len(match(times(1), nothing, 10)) == 0
    summary = summarise(nothing, nothing, 10)
    assert (summary.car, summary.heralding_a, summary.heralding_b) == (None, None, None)


@pytest.mark.parametrize("bad", [times(2, 1), np.array([1.0]), np.zeros((2, 2), np.int64)])
def test_refuses_what_is_no_ascending_vector(bad: np.ndarray) -> None:
    with pytest.raises(ParameterError):
        match(bad, times(1), 10)
    with pytest.raises(ParameterError):
        accidentals(times(1), bad, 10)


def test_refuses_an_empty_window() -> None:
    with pytest.raises(ParameterError, match="window_ps = 0"):
        match(times(1), times(1), 0)
    with pytest.raises(ParameterError, match="window_ps = -4"):
        MatchStream(-4)
    with pytest.raises(ParameterError, match="does not fit"):
        accidentals(times(1), times(1), 1000, period_ps=500)


def test_accidentals_of_unrelated_streams_are_rate_rate_window() -> None:
    # Expected r_a r_b w T = 4e5 x 3e5 x 2001e-12 x 1 = 240.1 (2001 integer delays lie in a window of 2000 ps).
    rng = np.random.default_rng(1)
    a, b = poisson(rng, 4e5, 1.0), poisson(rng, 3e5, 1.0)
    expected = 4e5 * 3e5 * 2001e-12
    # n = 200 windows: sigma of the mean sqrt(240/200) = 1.1, plus 0.24 % from the drawn rates: five sigma of both.
    assert accidentals(a, b, 2000) == pytest.approx(expected, abs=5 * math.hypot(1.1, 0.0024 * expected))
    # The window at zero delay itself: sigma sqrt(240) = 15.5.
    assert len(match(a, b, 2000)) == pytest.approx(expected, abs=5 * 15.5)


def test_efficiencies_are_klyshkos() -> None:
    """D. N. Klyshko, Sov. J. Quantum Electron. 10, 1112 (1980): efficiency = true coincidences / other singles."""
    rng = np.random.default_rng(2)
    born = poisson(rng, 4e5, 1.0)
    a = np.sort(born[rng.random(born.size) < 0.3] + 60)
    b = np.sort(born[rng.random(born.size) < 0.15])
    summary = summarise(a, b, 1000)
    # n = 60 000 and 120 000 trials: sigma = sqrt(p (1 - p) / n) = 0.0019 and 0.0010.
    assert summary.heralding_a == pytest.approx(0.30, abs=5 * 0.0019)
    assert summary.heralding_b == pytest.approx(0.15, abs=5 * 0.0010)
    # 18 000 true over 1.2e5 x 6e4 x 1001e-12 = 7.2 accidental; sigma of the latter sqrt(7.2 / 200) = 2.6 %.
    assert summary.car == pytest.approx(18_000 / 7.2 + 1, rel=5 * 0.03)


def drawn_summary(rng: np.random.Generator) -> CoincidenceSummary:
    """One second of 20 000 pairs/s seen with 0.3 and 0.15, 30 000 dark counts/s at b, a window of 5 ns."""
    born = poisson(rng, 2e4, 1.0)
    dark = poisson(rng, 3e4, 1.0)
    a = born[rng.random(born.size) < 0.3]
    b = np.sort(np.concatenate([born[rng.random(born.size) < 0.15], dark]))
    found = summarise(a, b, 5000)
    return replace(found, dark_b=3e4)


def test_dark_counts_are_no_photons() -> None:
    found = drawn_summary(np.random.default_rng(7))
    # 3000 photons and 30 000 dark counts at b: the known mean of the latter is taken off, their noise, 173, stays.
    assert found.heralding_a == pytest.approx(0.30, abs=5 * found.heralding_a_error)
    assert found.heralding_b == pytest.approx(0.15, abs=5 * found.heralding_b_error)
    assert replace(found, dark_b=0.0).heralding_a < 0.03
    assert replace(found, dark_b=1e5).heralding_a is replace(found, dark_b=1e5).heralding_a_error is None


def test_stated_errors_are_those_of_many_runs() -> None:
    """400 runs: the spread of each figure is its mean stated error within five sigma of 1/sqrt(800)."""
    rng = np.random.default_rng(8)
    runs = [drawn_summary(rng) for _ in range(400)]
    for name in ("car", "heralding_a", "heralding_b"):
        values = np.array([getattr(run, name) for run in runs])
        errors = np.array([getattr(run, f"{name}_error") for run in runs])
        assert errors.mean() == pytest.approx(values.std(), rel=5 / math.sqrt(800)), name


def test_accidentals_of_pulsed_light_come_at_whole_periods() -> None:
    # 10 MHz pulses during 0.02 s, detected with 2 % and 3 % independently: 2e5 x 0.02 x 0.03 = 120 at every period.
    rng = np.random.default_rng(3)
    pulses = np.arange(200_000, dtype=np.int64) * 100_000
    a, b = pulses[rng.random(pulses.size) < 0.02], pulses[rng.random(pulses.size) < 0.03]
    # sigma: sqrt(120 / 200) = 0.8 from the windows and 2.1 % from the numbers drawn, 4000 and 6000.
    assert accidentals(a, b, 1000, period_ps=100_000) == pytest.approx(120, abs=5 * math.hypot(0.8, 2.5))
    assert accidentals(a, b, 1000) < 60


def test_centre_is_the_delay_left() -> None:
    rng = np.random.default_rng(4)
    born = poisson(rng, 2e4, 1.0)
    a = np.sort(np.concatenate([born, poisson(rng, 2e5, 1.0)]))
    b = np.sort(
        np.concatenate([born + np.rint(rng.normal(130, 200, born.size)).astype(np.int64), poisson(rng, 2e5, 1.0)])
    )
    # n = 20 000 pairs of sigma 200 ps (1.4 ps) and 44 accidentals x 2.2 strewn over 4 ns: 0.6 ps.
    assert centre_ps(a, b, 4000) == pytest.approx(130, abs=5 * 1.6 + 130 * 0.01)
    assert math.isnan(centre_ps(times(0), times(10**6), 10))


def test_a_stream_must_continue() -> None:
    stream = MatchStream(10)
    stream.feed(times(5, 9), times(7))
    with pytest.raises(ParameterError, match="before the last one ended"):
        stream.feed(times(8), times(20))


def test_a_stream_holds_only_what_may_still_pair() -> None:
    rng = np.random.default_rng(5)
    a, b = poisson(rng, 1e5, 1.0), poisson(rng, 1e5, 1.0)
    stream, found, most = MatchStream(1000), 0, 0
    for lo in range(0, 10**12, 10**10):
        cut_a, cut_b = (np.searchsorted(t, [lo, lo + 10**10]) for t in (a, b))
        found += len(stream.feed(a[slice(*cut_a)], b[slice(*cut_b)]))
        most = max(most, stream.held)
    found += len(stream.finish())
    assert found == len(match(a, b, 1000))
    assert most < 40  # 10 ms of 1e5 events/s are 1000; only events near the end, and the longest lag there, stay


def test_flags_belong_to_pairs() -> None:
    # 100 could take 98 or 104; 300 and 500 have one partner each; 901 has 896 beside 900.
    found = match(times(100, 300, 500, 900), times(98, 104, 300, 495, 896, 901), 10)
    assert found.index_b.tolist() == [0, 2, 3, 4]
    assert found.ambiguous.tolist() == [True, False, False, True]
    assert found.ambiguous.dtype == np.bool_


def test_a_silent_side_holds_nothing_when_it_is_known_to_be_complete() -> None:
    rng = np.random.default_rng(6)
    a, nothing = poisson(rng, 1e5, 1.0), times()
    known, unknown, most = MatchStream(1000), MatchStream(1000), 0
    for stop in range(10**10, 10**12 + 1, 10**10):
        piece = a[slice(*np.searchsorted(a, [stop - 10**10, stop]))]
        known.feed(piece, nothing, complete_ps=stop)
        unknown.feed(piece, nothing)
        most = max(most, known.held)
    # What may still pair lies in the last window, and the last event before it is kept as a rival.
    assert most <= 3
    assert unknown.held == a.size
    with pytest.raises(ParameterError, match="before the last one ended"):
        known.feed(nothing, times(10**12 - 1))
