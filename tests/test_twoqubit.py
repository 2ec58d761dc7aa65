"""Two-qubit states against Born's rule on density matrices and Jones vectors, which share no code with them."""

from __future__ import annotations

import numpy as np
import pytest

from distribution.errors import ParameterError
from distribution.twoqubit import TwoQubit, linear


def random_density(seed: int) -> np.ndarray:
    """A random mixed state of full rank."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    rho = root @ root.conj().T
    return rho / np.trace(rho).real


def jones(angle: float, ellipticity: float) -> np.ndarray:
    """Jones vector of an ellipse: major axis at `angle` from H, minor axis tan(ellipticity) times as long."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]]) @ np.array([np.cos(ellipticity), 1j * np.sin(ellipticity)])


@pytest.mark.parametrize("seed", range(5))
def test_a_density_matrix_comes_back(seed: int) -> None:
    np.testing.assert_allclose(TwoQubit.from_density(random_density(seed)).density(), random_density(seed), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_are_borns(seed: int) -> None:
    rho, rng = random_density(seed), np.random.default_rng(seed)
    (a, b), (e, f) = rng.uniform(-1.5, 1.5, 2), rng.uniform(-0.78, 0.78, 2)
    # The orthogonal ellipse has its axes exchanged and turns the other way.
    pairs = [
        [np.kron(jones(*x), jones(*y)) for y in ((b, f), (b + np.pi / 2, -f))] for x in ((a, e), (a + np.pi / 2, -e))
    ]
    expected = [[(v.conj() @ rho @ v).real for v in row] for row in pairs]
    told = TwoQubit.from_density(rho).probabilities(linear(a, e), linear(b, f))
    np.testing.assert_allclose(told, expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_half_waves_and_mixtures(seed: int) -> None:
    # A half-wave plate at 45 degrees exchanges H and V: diag(-1, 1, -1) on the sphere, sigma_x on the photon.
    rho, flip = random_density(seed), np.kron(np.eye(2), [[0, 1], [1, 0]])
    state = TwoQubit.from_density(rho)
    turned = state.mapped(bob=np.diag([-1.0, 1.0, -1.0]))
    np.testing.assert_allclose(turned.density(), flip @ rho @ flip, atol=1e-12)
    np.testing.assert_allclose(state.mixed(turned, 0.3).density(), 0.7 * rho + 0.3 * flip @ rho @ flip, atol=1e-12)


def test_refuses_what_is_no_state() -> None:
    with pytest.raises(ParameterError, match="eigenvalue"):
        TwoQubit(np.zeros(3), np.zeros(3), np.eye(3))  # all three correlations are 1 for no state
    with pytest.raises(ParameterError, match="trace"):
        TwoQubit.from_density(np.eye(4))
    with pytest.raises(ParameterError, match="Hermitian"):
        TwoQubit.from_density(np.triu(np.ones((4, 4))) / 4)
