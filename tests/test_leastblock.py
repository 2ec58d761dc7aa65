"""The least block: the table, and that the size named gives a key where less does not."""

from __future__ import annotations

from dataclasses import replace

import numba
import pytest

from qkd.finitekey import BasisCounts, Statement, both_bases_key_length
from qkd.keybounds import Bound
from qkd.keyplan import Expectation, plan_biased, plan_sample
from qkd.leastblock import least_alike, least_coincidences, least_sifted

slow_without_jit = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="thousands of tails in plain Python")
GOOD = Expectation(qber=0.025, eps=1e-10)


@pytest.mark.parametrize(
    ("qber", "eps", "serfling", "lim", "exact"),
    [
        (0.01, 1e-6, 1129, 974, 550),
        (0.01, 1e-10, 1812, 1550, 896),
        (0.025, 1e-6, 1849, 1496, 840),
        (0.025, 1e-10, 2982, 2381, 1394),
        (0.05, 1e-6, 4948, 3658, 2040),
        (0.05, 1e-10, 8038, 5858, 3362),
    ],
)
@slow_without_jit
def test_least_blocks(qber: float, eps: float, serfling: int, lim: int, exact: int) -> None:
    """Least m with a key, f = 1.19: a coarse optimiser's figures within 1 %, the exact ones not above it."""
    link = Expectation(qber=qber, eps=eps)
    assert least_sifted(link, Bound.SERFLING) == pytest.approx(serfling, rel=0.01)
    assert least_sifted(link, Bound.LIM2021) == pytest.approx(lim, rel=0.01)
    assert 0.97 * exact <= least_sifted(link) <= exact  # type: ignore[operator]


def test_no_size_gives_key_above_the_asymptotic_limit() -> None:
    """1 - (1 + f) h(Q) < 0 from 9.8 % on at f = 1.19."""
    noisy = Expectation(qber=0.099, eps=1e-10)
    assert noisy.hopeless
    assert least_sifted(noisy) is None
    assert least_coincidences(noisy) is None
    assert plan_sample(noisy, 10**7).secret_bits == 0


@pytest.mark.parametrize("p_x", [None, 0.5, 0.1])
def test_least_coincidences_give_a_key(p_x: float | None) -> None:
    least = least_coincidences(GOOD, p_x)
    assert least is not None
    assert plan_biased(GOOD, least, p_x).secret_bits > 0
    assert plan_biased(GOOD, least * 9 // 10, p_x).secret_bits == 0


def test_fixed_thresholds_take_a_larger_block() -> None:
    fixed = replace(GOOD, statement=Statement.FIXED_THRESHOLD)
    least = least_sifted(fixed)
    assert least is not None
    assert plan_sample(fixed, least).secret_bits > 0
    assert least > 1.1 * least_sifted(GOOD)  # type: ignore[operator]


def _counts(key_bits: int, test_bits: int, qber: float, left_out: int = 0) -> BasisCounts:
    return BasisCounts(
        key_bits=key_bits - left_out,
        test_bits=test_bits,
        test_errors=int(test_bits * qber),
        leak_ec_bits=int(0.3 * key_bits),
        verify_bits=64,
        left_out_bits=left_out,
    )


@pytest.mark.parametrize("left_out", [0, 50])
@pytest.mark.parametrize("sizes", [(900, 900), (1500, 300)])
def test_least_block_like_one_that_gave_none(sizes: tuple[int, int], left_out: int) -> None:
    """Scaled up to the size named, the same counts give a key; at nine tenths of it they give none."""
    n_z, n_x = sizes
    z, x = _counts(n_z, n_x, 0.03, left_out), _counts(n_x, n_z, 0.03, left_out)
    assert all(key.raw <= 0 for key in both_bases_key_length(z, x, 1e-10))
    least = least_alike(z, x, 1e-10)
    assert least is not None
    assert least > sum(sizes)

    def raw(size: float) -> int:
        scale = size / sum(sizes)
        larger = [
            BasisCounts(
                key_bits=int(c.key_bits * scale),
                test_bits=int(c.test_bits * scale),
                test_errors=round(c.test_errors * scale),
                leak_ec_bits=round(c.leak_ec_bits * scale),
                verify_bits=64,
                left_out_bits=round(c.left_out_bits * scale),
            )
            for c in (z, x)
        ]
        return max(key.raw for key in both_bases_key_length(larger[0], larger[1], 1e-10))

    assert raw(1.02 * least) > 0
    assert raw(0.9 * least) < 0


def test_no_size_helps_a_leak_that_leaves_nothing() -> None:
    hopeless = BasisCounts(key_bits=900, test_bits=900, test_errors=90, leak_ec_bits=600, verify_bits=64)
    assert least_alike(hopeless, hopeless, 1e-10) is None
    empty = BasisCounts(key_bits=0, test_bits=0, test_errors=0, leak_ec_bits=0, verify_bits=64)
    assert least_alike(empty, empty, 1e-10) is None
