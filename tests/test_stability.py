"""Allan and time deviation against NIST's printed test suite, the sums as printed, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distribution.coincidence import accidentals, match
from distribution.errors import ParameterError
from distribution.stability import cell_delays_ps, stability
from tests.reference import stability as slow


def nist_phases() -> np.ndarray:
    """Phases, s, of the 1000-point frequency set of NIST SP 1065 section 12.4 (Park and Miller's generator)."""
    n, y = 1234567890, []
    for _ in range(1000):
        y.append(n / 2147483647)
        n = 16807 * n % 2147483647
    return np.concatenate([[0.0], np.cumsum(y)])


def test_the_values_that_nist_prints() -> None:
    """SP 1065 table 31, overlapping Allan and time deviation at 1, 10 and 100 s."""
    found = stability(nist_phases() * 1e12, 1.0, (1, 10, 100))
    assert [d.tau_s for d in found] == [1.0, 10.0, 100.0]
    assert [d.adev for d in found] == pytest.approx([2.922319e-1, 9.159953e-2, 3.241343e-2], rel=1e-6)
    assert [d.tdev_ps for d in found] == pytest.approx([1.687202e11, 3.563623e11, 1.253382e12], rel=1e-6)


def test_every_averaging_time_is_the_printed_sum() -> None:
    x = nist_phases()[:200]
    found = stability(x * 1e12, 0.5)
    assert [d.tau_s for d in found] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    for m, d in zip((1, 2, 4, 8, 16, 32, 64), found, strict=True):
        assert d.adev == pytest.approx(slow.overlapping_adev(x, m, 0.5), rel=1e-9)
        assert d.tdev_ps == pytest.approx(slow.tdev(x, m) * 1e12, rel=1e-9)


def test_white_phase_noise() -> None:
    """ADEV = sqrt(3) sigma / tau and TDEV = sigma / sqrt(m) for white phase; five of the stated errors, n = 4096."""
    sigma_ps = 30.0
    x = np.random.default_rng(1).normal(0.0, sigma_ps, 4096)
    for m, d in zip((1, 2, 4, 8, 16, 32), stability(x, 0.1), strict=False):
        assert d.adev == pytest.approx(math.sqrt(3) * sigma_ps * 1e-12 / d.tau_s, abs=5 * d.adev_error)
        assert d.tdev_ps == pytest.approx(sigma_ps / math.sqrt(m), abs=5 * d.tdev_error_ps)


def test_stated_errors_are_those_of_many_runs() -> None:
    """300 runs of 200 white phases: their spread is the stated error within five sigma (1/sqrt(600) = 4 %)."""
    rng = np.random.default_rng(2)
    runs = [stability(rng.normal(0.0, 1.0, 200), 1.0) for _ in range(300)]
    for k in (0, 2, 3):
        adev = np.array([run[k].adev for run in runs])
        assert np.mean([run[k].adev_error for run in runs]) == pytest.approx(adev.std(), rel=5 * 0.041)


def test_gaps_are_left_out() -> None:
    x = np.random.default_rng(3).normal(0.0, 10.0, 600)
    whole = stability(x, 1.0)
    x[100:160] = np.nan
    gappy = stability(x, 1.0)
    for one, other in zip(whole[:4], gappy[:4], strict=True):
        assert math.isfinite(other.adev)
        assert other.adev == pytest.approx(one.adev, rel=0.2)
    assert stability(np.full(50, np.nan), 1.0) == ()
    assert stability(np.zeros(7), 1.0) == ()
    with pytest.raises(ParameterError):
        stability(np.zeros((2, 2)), 1.0)
    with pytest.raises(ParameterError):
        stability(np.zeros(10), 0.0)
    with pytest.raises(ParameterError):
        stability(np.zeros(10), 1.0, (0,))
    assert stability(np.zeros(10), 1.0, (5,)) == ()


def test_cells_hold_the_mean_delay_of_their_pairs() -> None:
    """n = 40 000 pairs, delay 100 ps in the first half and -50 in the second, over accidentals; 80 cells of 500."""
    rng = np.random.default_rng(4)
    t = np.sort(rng.integers(0, 10**12, 40_000))
    step = np.where(t < 5 * 10**11, 100, -50) + np.rint(rng.normal(0, 60, t.size)).astype(np.int64)
    a = np.sort(np.concatenate([t, rng.integers(0, 10**12, 200_000)]))
    b = np.sort(np.concatenate([t + step, rng.integers(0, 10**12, 200_000)]))
    chance = accidentals(a, b, 2000)
    cells, cell_s = cell_delays_ps(a, b, match(a, b, 2000), chance, 1 / 80)
    assert cell_s == 1 / 80
    # sigma of a cell: 60 ps over 500 pairs, and a fifth as many accidentals of 577 ps; of a half: 40 cells.
    sigma = math.sqrt(60**2 / 500 + 577**2 * 115 / 500**2) / math.sqrt(40)
    assert np.nanmean(cells[:39]) == pytest.approx(100, abs=5 * sigma + 2)
    assert np.nanmean(cells[41:]) == pytest.approx(-50, abs=5 * sigma + 2)


def test_few_pairs_are_a_gap() -> None:
    t = np.sort(np.random.default_rng(5).integers(0, 10**12, 10_000))
    t = t[(t < 4 * 10**11) | (t > 6 * 10**11)]
    cells, _ = cell_delays_ps(t, t + 7, match(t, t + 7, 100), 0.0, 0.01)
    assert np.isnan(cells[42:58]).all()
    assert np.nanmax(cells) == np.nanmin(cells) == 7
    assert cell_delays_ps(t, t, match(t, t + 1000, 10), 5.0)[0].size == 0
    with pytest.raises(ParameterError, match="cells"):
        cell_delays_ps(t, t, match(t, t, 10), 0.0, 1e-9)
