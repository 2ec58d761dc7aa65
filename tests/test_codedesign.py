"""Density evolution against published thresholds, and the search for degrees."""

from __future__ import annotations

import numpy as np
import pytest

from qkd.codedesign import family, search
from qkd.codedesign.degrees import Limits, approach, checks_of_mean
from qkd.codedesign.density import Channel, Ensemble, entropy, evolve, inverse_entropy, threshold
from qkd.errors import ParameterError


@pytest.mark.parametrize(
    ("variable", "check", "published"),
    [(3, 6, 0.084), (4, 8, 0.076), (5, 10, 0.068), (3, 5, 0.113), (4, 6, 0.116), (3, 4, 0.167)],
)
def test_regular_thresholds_are_the_published_ones(variable: int, check: int, published: float) -> None:
    """Richardson and Urbanke 2001, belief propagation on the BSC, recalled: three digits, the rest cut off."""
    found = threshold(Ensemble.of_nodes({variable: 1}, {check: 1}), step=0.1, relative=1e-3)
    assert published <= found < published + 0.001


def test_a_finer_grid_changes_little() -> None:
    """Edges at high check degree are where a coarse grid would show first."""
    plan = family.plans()[15]
    ensemble = family.ensemble(plan.columns, plan.rows, 0)
    coarse, fine = (threshold(ensemble, step=step, relative=5e-4) for step in (0.2, 0.1))
    assert coarse == pytest.approx(fine, rel=3e-3)


def test_a_check_multiplies_second_moments() -> None:
    """E[tanh^2(m/2)] of a product is the product of the factors' (to rounding): what the grid must keep."""
    channel = Channel(0.05, 0.1)
    levels = np.tanh(channel.step * np.arange(channel.size) / 2)
    density = channel.check(channel.magnitudes, {8: 1.0})
    assert density.sum() == pytest.approx(1)
    assert (density * levels**2).sum() == pytest.approx(levels[channel.offset] ** 14, rel=1e-9)


def test_variables_add_log_likelihoods() -> None:
    """Two equal answers of a BSC and the channel's: wrong in q^3 + 3 q^2 (1-q) of all cases."""
    q = 0.1
    channel = Channel(q, 0.1)
    (sums,) = channel.powers(channel.magnitudes, [3])
    assert channel.error(channel.with_channel(sums)) == pytest.approx(q**3 + 3 * q**2 * (1 - q), rel=1e-9)


def test_puncturing_costs_leak_and_threshold() -> None:
    plain = Ensemble.of_nodes({3: 90}, {6: 45})
    hidden = Ensemble.of_nodes({3: 90}, {6: 46.5}, {3: 3})
    assert hidden.leak_fraction == pytest.approx(43.5 / 90)
    assert threshold(hidden, step=0.2) < threshold(plain, step=0.2)


def test_above_threshold_nothing_converges() -> None:
    ensemble = Ensemble.of_nodes({3: 1}, {6: 1})
    assert evolve(ensemble, 0.083, step=0.1).converged
    assert not evolve(ensemble, 0.086, step=0.1).converged


@pytest.mark.parametrize("qber", [0.0, 0.5, -0.1, 1.0])
def test_impossible_channels_are_refused(qber: float) -> None:
    with pytest.raises(ParameterError):
        Channel(qber)


def test_entropy_and_its_inverse() -> None:
    assert entropy(0.11) == pytest.approx(0.49991596)
    assert inverse_entropy(entropy(0.0321)) == pytest.approx(0.0321, rel=1e-9)
    assert entropy(0.0) == entropy(1.0) == 0.0


def test_the_optimiser_beats_what_it_starts_from() -> None:
    checks = checks_of_mean(8)
    limits = Limits((2, 3, 4, 6, 10, 20), 0.9, step=0.2)
    start = {2: 0.2, 3: 0.3, 4: 0.2, 10: 0.3}
    before, after = Ensemble(start, checks, {}), approach(start, checks, limits, 1.1)
    efficiency = [e.leak_fraction / entropy(threshold(e, step=0.2)) for e in (before, after)]
    assert efficiency[1] < efficiency[0] - 0.005
    assert after.variables[2] <= 2 * limits.twos_per_check / 8 * (1 + 1e-6)


def test_whole_numbers_of_columns_follow_the_shares() -> None:
    counts = search.whole({2: 0.2, 3: 0.3, 10: 0.5}, 256)
    assert sum(counts.values()) == 256
    assert counts == {2: 102, 3: 102, 10: 52} or abs(counts[2] - 102.4) < 1


@pytest.mark.parametrize("position", [4, 20, -1])
def test_shipped_thresholds_are_those_of_density_evolution(position: int) -> None:
    plan = family.plans()[position]
    found = threshold(family.ensemble(plan.columns, plan.rows, 0), step=0.1)
    assert plan.threshold_qber == pytest.approx(found, rel=2e-3)


def test_only_rows_of_the_family_are_searched() -> None:
    with pytest.raises(ParameterError, match="no code has 41 rows"):
        next(search.search([41]))
