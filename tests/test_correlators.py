"""Tables of outcomes by hand, errors against repeated draws, and Bell tests against quantum mechanics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distribution.correlators import bell_test, correlator, error_rate, outcome_counts, visibility
from distribution.errors import ParameterError
from distribution.estimates import balance, ratio, share
from distribution.states import Basis, BellDiagonal, BellState

OPTIMAL_A = (0.0, 90.0, 45.0, 135.0)
OPTIMAL_B = (22.5, 112.5, 67.5, 157.5)


def value(found: object) -> float:
    assert found is not None
    return found.value  # type: ignore[attr-defined]


def test_outcomes_by_hand() -> None:
    a = np.array([0, 0, 1, 1, 2, 3, 3, 0], np.uint8)
    b = np.array([0, 1, 1, 1, 2, 3, 2, 3], np.uint8)
    counts = outcome_counts(a, b)
    assert counts.tolist() == [[1, 1, 0, 1], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert value(correlator(counts, Basis.Z)) == 0.5  # 3 equal, 1 different
    assert value(visibility(counts, Basis.Z, BellState.PHI_PLUS)) == 0.5
    assert value(visibility(counts, Basis.Z, BellState.PSI_PLUS)) == -0.5
    assert value(error_rate(counts, Basis.Z, BellState.PHI_PLUS)) == 0.25
    assert value(error_rate(counts, Basis.Z, BellState.PSI_PLUS)) == 0.75
    assert value(error_rate(counts, Basis.X, BellState.PHI_PLUS)) == pytest.approx(1 / 3)
    assert value(error_rate(counts, Basis.X, BellState.PHI_MINUS)) == pytest.approx(2 / 3)
    assert correlator(np.zeros((4, 4), np.int64), Basis.X) is None
    assert error_rate(np.zeros((4, 4), np.int64), Basis.X, BellState.PHI_PLUS) is None
    with pytest.raises(ParameterError):
        outcome_counts(np.array([4], np.uint8), np.array([0], np.uint8))
    with pytest.raises(ParameterError):
        outcome_counts(np.array([1], np.uint8), np.array([0, 0], np.uint8))


@pytest.mark.parametrize("p", [0.5, 0.03, 0.002])
def test_errors_of_shares_are_those_of_many_draws(p: float) -> None:
    """2000 draws of n = 3000: the mean stated error is the spread of the values, five sigma being 5/sqrt(4000)."""
    drawn = np.random.default_rng(1).binomial(3000, p, 2000)
    found = [share(int(k), 3000) for k in drawn]
    spread = np.std([value(f) for f in found])
    # A flat prior adds one count; at 6 expected that is 8 % of the error.
    slack = 5 / math.sqrt(4000) + 0.6 / (3000 * p)
    assert np.mean([f.error for f in found if f]) == pytest.approx(spread, rel=slack)


def test_errors_are_never_zero() -> None:
    none_wrong = share(0, 100)
    assert none_wrong is not None
    assert (none_wrong.value, none_wrong.error) == (0.0, pytest.approx(0.0097, abs=1e-4))
    assert share(0, 0) is balance(0, 0) is None
    assert ratio(5, 0) is None
    empty = ratio(0, 4)
    assert empty is not None
    assert (empty.value, empty.error) == (0.0, 0.25)


def test_ratio_of_counts() -> None:
    """3000 draws of Poisson 400 over the mean of 200 counts of 2: its spread within five sigma of the error."""
    rng = np.random.default_rng(2)
    above, below = rng.poisson(400, 3000), rng.poisson(200 * 2.0, 3000) / 200
    found = [ratio(float(n), float(m), weight_below=200) for n, m in zip(above, below, strict=True)]
    spread = np.std([value(f) for f in found])
    assert np.mean([f.error for f in found if f]) == pytest.approx(spread, rel=5 / math.sqrt(6000) + 0.01)


@pytest.mark.parametrize("state", list(BellState))
def test_the_optimal_angles_make_a_bell_test_of_every_state(state: BellState) -> None:
    test = bell_test(OPTIMAL_A, OPTIMAL_B, state)
    assert test is not None
    assert test.predicted == pytest.approx(2 * math.sqrt(2))
    assert test.settings_a == test.settings_b == ((0, 1), (2, 3))
    assert np.prod(test.signs) == -1


def test_angles_that_make_none() -> None:
    for b in (OPTIMAL_A, (0.0, 90.0), (22.5, 67.5, 30.0, 50.0)):
        assert bell_test(OPTIMAL_A, b, BellState.PHI_PLUS) is None
    with pytest.raises(ParameterError):
        bell_test((math.nan, 90.0), OPTIMAL_B, BellState.PHI_PLUS)


def test_the_best_four_settings_of_six_detectors() -> None:
    """Ekert's settings: Alice 0, 22.5, 45 and Bob 22.5, 45, 67.5 degrees; 0, 45 and 22.5, 67.5 reach 2 sqrt(2)."""
    a = (0.0, 90.0, 22.5, 112.5, 45.0, 135.0)
    b = (22.5, 112.5, 45.0, 135.0, 67.5, 157.5)
    test = bell_test(a, b, BellState.PHI_PLUS)
    assert test is not None
    assert test.settings_a == ((0, 1), (4, 5))
    assert test.settings_b == ((0, 1), (4, 5))


def test_s_of_drawn_outcomes() -> None:
    """500 runs of 4 x 2000 pairs of visibility 0.95: mean S within five sigma of 2 sqrt(2) V, errors as the spread."""
    rng = np.random.default_rng(3)
    quantum = BellDiagonal.from_visibilities(BellState.PSI_MINUS, 0.95, 0.95)
    test = bell_test(OPTIMAL_A, OPTIMAL_B, BellState.PSI_MINUS)
    assert test is not None
    runs = []
    for _ in range(500):
        counts = np.zeros((4, 4), np.int64)
        for i, j in np.ndindex(2, 2):
            e = quantum.correlator(math.radians(OPTIMAL_A[2 * i]), math.radians(OPTIMAL_B[2 * j]))
            equal = rng.binomial(2000, (1 + e) / 2)
            counts[2 * i, 2 * j] = equal // 2
            counts[2 * i + 1, 2 * j + 1] = equal - equal // 2
            counts[2 * i, 2 * j + 1] = 2000 - equal
        runs.append(test.s(counts))
    s = np.array([value(run) for run in runs])
    error = np.mean([run.error for run in runs if run])
    assert s.mean() == pytest.approx(2 * math.sqrt(2) * 0.95, abs=5 * error / math.sqrt(500))
    assert s.std() == pytest.approx(error, rel=5 / math.sqrt(1000))
    assert test.s(np.zeros((4, 4), np.int64)) is None
