"""Finite-key bound: against exact integers, 60-digit arithmetic and the published or independently computed figures.

"Table" figures come from a grid optimiser written apart from this code (scipy, coarse in test share and split), each
formula read in its paper; its lengths use n h(e/n) where ours uses the exact support, worth 4 to 12 bits.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys

import mpmath as mp
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd import finitekey
from qkd.errors import ParameterError
from qkd.finitekey import BasisCounts, Bound
from tests.reference import finitekey as reference

slow_without_jit = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="thousands of tails in plain Python")


def test_tail_equals_counting_subsets() -> None:
    """Every population up to 12: 4,900 tails, below, at and above the mode, impossible and certain ones."""
    for population in range(1, 13):
        for marked in range(population + 1):
            for draws in range(population + 1):
                for x in range(-1, draws + 1):
                    ours = finitekey.ln_tail(x, population, marked, draws)
                    exact = reference.tail(x, population, marked, draws) if x >= 0 else mp.mpf(0)
                    if exact == 0:
                        assert ours == -math.inf
                    else:
                        assert ours == pytest.approx(float(mp.log(exact)), abs=1e-13, rel=1e-13)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_tail_of_larger_populations(data: st.DataObject) -> None:
    population = data.draw(st.integers(2, 3000))
    marked, draws = (data.draw(st.integers(1, population - 1)) for _ in range(2))
    x = data.draw(st.integers(max(0, draws + marked - population), min(marked, draws)))
    exact = reference.tail(x, population, marked, draws)
    assert finitekey.ln_tail(x, population, marked, draws) == pytest.approx(float(mp.log(exact)), abs=1e-11, rel=1e-13)


def test_known_tails() -> None:
    """mpmath, 40 digits, of another author."""
    assert finitekey.ln_tail(20, 2000, 122 + 21, 1000) == pytest.approx(-46.25759412982741, abs=1e-11)
    assert finitekey.ln_tail(20, 2000, 121 + 21, 1000) == pytest.approx(-45.65711745682, abs=1e-11)
    assert 2 * math.log(1e-10) == pytest.approx(-46.0517019, abs=1e-7)


@pytest.mark.parametrize(
    ("n", "k", "errors", "expected", "serfling"),
    [(1000, 1000, 20, 122, 0.2347), (10_000, 2000, 50, 766, 0.1426), (100_000, 10_000, 250, 4318, 0.0753)],
)
def test_known_bounds(n: int, k: int, errors: int, expected: int, serfling: float) -> None:
    """Exact and Serfling at eps = 1e-10, from mpmath and by hand."""
    assert finitekey.phase_error_bound(n, k, errors, 1e-10) == expected
    assert finitekey.serfling_rate(n, k, errors / k, 1e-10) == pytest.approx(serfling, abs=5e-5)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(0, 150), st.sampled_from([1e-2, 1e-4, 1e-10]))
def test_bound_is_the_least(n: int, k: int, errors: int, eps: float) -> None:
    errors = min(errors, k)
    assert finitekey.phase_error_bound(n, k, errors, eps) == reference.bound(n, k, errors, eps)


@pytest.mark.parametrize(
    ("n", "k", "errors", "eps"),
    [(10**6, 10**6, 25_000, 1e-10), (10**7, 10**7, 250_000, 1e-10), (10**7, 10**5, 0, 1e-12), (3 * 10**6, 77, 3, 1e-3)],
)
def test_bound_of_large_blocks(n: int, k: int, errors: int, eps: float) -> None:
    """The bound is the least one in 60-digit arithmetic, and our tail is right to a tenth of the guard."""
    e = finitekey.phase_error_bound(n, k, errors, eps)
    at, before = (reference.ln_tail_large(errors, n + k, e + 1 + errors - d, k) for d in (0, 1))
    assert at <= 2 * mp.log(eps) < before
    ours = finitekey.ln_tail(errors, n + k, e + 1 + errors, k)
    assert abs(ours - at) < finitekey.GUARD_NATS / 10


def test_bound_holds_for_every_error_pattern() -> None:
    """The statement of the variable-length theorem, summed exactly: Pr[W - X > B(X)] <= eps^2 for every W."""
    n, k, eps = 60, 40, 0.03
    bounds = [finitekey.phase_error_bound(n, k, x, eps) for x in range(k + 1)]
    assert bounds == sorted(bounds)
    worst = 0.0
    for weight in range(n + k + 1):
        missed = sum(
            math.comb(weight, x) * math.comb(n + k - weight, k - x)
            for x in range(min(weight, k) + 1)
            if weight - x > bounds[x]
        )
        worst = max(worst, missed / math.comb(n + k, k))
    assert eps**2 / 2 < worst <= eps**2  # it holds, and is not idle


def test_bound_against_random_samples() -> None:
    """n = k = 200, 10 errors tolerated, eps^2 = 1e-3: at the worst weight an independent run saw 6.6e-4.

    10^6 samples, seed 1, five sigma of the exact tail (sigma = 2.6e-5).
    """
    e = finitekey.phase_error_bound(200, 200, 10, math.sqrt(1e-3))
    weight, samples = e + 11, 1_000_000
    seen = np.random.default_rng(1).hypergeometric(weight, 400 - weight, 200, samples) <= 10
    exact = math.exp(finitekey.ln_tail(10, 400, weight, 200))
    assert abs(seen.mean() - exact) < 5 * math.sqrt(exact / samples)
    assert exact <= 1e-3
    assert exact == pytest.approx(6.6e-4, abs=0.3e-4)


@pytest.mark.parametrize("n", [1, 2, 7, 100, 1001, 20_000])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.11, 0.3, 0.499])
@pytest.mark.parametrize("eps_pa", [1e-6, 3.7e-13])
def test_length_equals_integers_to_the_bit(n: int, share: float, eps_pa: float) -> None:
    e, disclosed = int(n * share), n // 9
    assert finitekey.key_length(n, e, disclosed, eps_pa) == reference.key_length(n, e, disclosed, eps_pa)


def test_length_of_ten_million_bits() -> None:
    """log2 of the support against 60 digits: the error must stay a tenth of the guard."""
    n, e = 10**7, 256_612
    with mp.workdps(60):
        ratio, total = mp.mpf(1), mp.mpf(1)
        for i in range(e, e - 400, -1):  # the ratio of neighbours is below 0.027: 400 terms reach 1e-600
            ratio = ratio * i / (n - i + 1)
            total += ratio
        exact = mp.log(mp.binomial(n, e), 2) + mp.log(total, 2)
        length = n - exact - 12_345 + 2 * mp.log(mp.mpf("2e-12"), 2)
    assert finitekey.key_length(n, e, 12_345, 1e-12) == int(mp.floor(length))
    assert abs(finitekey.tail.ln_support(n, e) / math.log(2) - exact) < finitekey.GUARD_BITS / 10


def test_half_the_bits_wrong_leaves_nothing() -> None:
    counts = BasisCounts(key_bits=1000, test_bits=1000, test_errors=480, leak_ec_bits=100, verify_bits=64)
    key = finitekey.basis_key_length(counts, 1e-10)
    assert key.secret_bits == 0
    assert key.raw < -164


def test_split_is_within_a_quarter_bit_of_a_fine_one() -> None:
    """basis_key_length against 1,000 splits of eps_sec, for a small, a middling and a large block."""
    for n, errors in ((2000, 30), (100_000, 2500), (1_000_000, 30_000)):
        counts = BasisCounts(key_bits=n, test_bits=n, test_errors=errors, leak_ec_bits=0, verify_bits=64)
        key = finitekey.basis_key_length(counts, 1e-10)
        assert key.eps_sec == pytest.approx(1e-10, rel=1e-12)
        shares = np.geomspace(1e-4, 0.9, 1000 if not numba.config.DISABLE_JIT else 20)
        fine = max(
            finitekey.key_length(n, finitekey.phase_error_bound(n, n, errors, 1e-10 * (1 - s) / 2), 64, 1e-10 * s)
            for s in shares
        )
        assert fine - 1 <= key.raw <= fine + 1


def test_both_bases_of_the_satellite_block() -> None:
    """n = k = 1550, 70 errors each, f = 1.19, t = log2(100 / eps): 64.3 bits at 1e-10 and 369.4 at 1e-6."""
    for eps, table in ((1e-10, 64.3), (1e-6, 369.4)):
        qber = 0.0451
        counts = BasisCounts(
            key_bits=1550,
            test_bits=1550,
            test_errors=70,
            leak_ec_bits=math.ceil(1.19 * finitekey.binary_entropy(qber) * 1550),
            verify_bits=math.ceil(math.log2(100 / eps)),
        )
        z, x = finitekey.both_bases_key_length(counts, counts, eps * 0.98)
        assert z == x
        assert z.eps_sec + x.eps_sec == pytest.approx(0.98 * eps)
        assert z.secret_bits + x.secret_bits == pytest.approx(table, abs=6)


@pytest.mark.parametrize(
    ("eps", "serfling", "lim", "exact"),
    [(1e-5, -23, 58.9, 302.6), (1e-6, -73, 10.9, 240.7), (1e-8, None, -74, 136.4), (1e-10, None, None, 49.9)],
)
@slow_without_jit
def test_satellite_block(eps: float, serfling: float | None, lim: float | None, exact: float) -> None:
    """m = 3100 at 4.51 % (the 1120 km link): the table; None where it only says negative or the optimum degenerates."""
    raw = {bound: finitekey.plan(0.0451, 3100, eps, bound=bound).raw for bound in Bound}
    for bound, table in ((Bound.SERFLING, serfling), (Bound.LIM2021, lim)):
        assert raw[bound] < 0 if table is None else abs(raw[bound] - table) < 10
    assert exact <= raw[Bound.EXACT] + 1 <= exact + 13


def test_lim2021_six_bits() -> None:
    """Lim et al. 2021 state six bits for that link at eps = 1e-6; their code has the error rate at 4.55 %."""
    assert finitekey.plan(0.0455, 3100, 1e-6, bound=Bound.LIM2021).raw == pytest.approx(6, abs=1)


LENGTHS = [
    (0.025, 10**4, 1_557, 1_765, 3_096),
    (0.025, 10**5, 37_273, 37_939, 48_665),
    (0.025, 10**6, 500_639, 501_628, 565_158),
    (0.025, 10**7, 5_676_050, 5_675_197, 6_006_477),
    (0.05, 10**4, 190, 424, 1_090),
    (0.05, 10**5, 18_092, 18_715, 24_914),
    (0.05, 10**6, 276_879, 277_474, 315_217),
    (0.05, 10**7, 3_266_579, 3_263_966, 3_460_408),
]


@pytest.mark.parametrize(("qber", "sifted", "serfling", "lim", "exact"), LENGTHS)
@slow_without_jit
def test_table_of_lengths(qber: float, sifted: int, serfling: int, lim: int, exact: int) -> None:
    """eps = 1e-10, f = 1.19: each bound within 0.5 % of the table, the exact one not below it."""
    found = {bound: finitekey.plan(qber, sifted, 1e-10, bound=bound).secret_bits for bound in Bound}
    assert found[Bound.SERFLING] == pytest.approx(serfling, rel=5e-3)
    assert found[Bound.LIM2021] == pytest.approx(lim, rel=5e-3)
    assert exact <= found[Bound.EXACT] <= exact * 1.005 + 30


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
    """Least m with a key, f = 1.19: the coarse optimiser's figures within 1 %, the exact ones not above it."""
    found = {bound: finitekey.least_sifted(qber, eps, bound=bound) for bound in Bound}
    assert found[Bound.SERFLING] == pytest.approx(serfling, rel=0.01)
    assert found[Bound.LIM2021] == pytest.approx(lim, rel=0.01)
    assert 0.97 * exact <= found[Bound.EXACT] <= exact  # type: ignore[operator]


def test_no_size_gives_key_above_the_asymptotic_limit() -> None:
    """1 - (1 + f) h(Q) < 0 from 9.8 % on at f = 1.19."""
    assert finitekey.least_sifted(0.099, 1e-10) is None
    assert finitekey.plan(0.099, 10**7, 1e-10).secret_bits == 0


CASES = [(20, 2000, 143, 1000), (50, 12000, 817, 2000), (250_000, 20_000_000, 506_614, 10_000_000), (0, 900, 30, 450)]


def test_arithmetic_does_not_depend_on_the_compiler() -> None:
    """Compiled and plain Python give the same bits, so two stations cut the same key whatever they run on."""
    code = (
        "from qkd import finitekey\n"
        f"print([finitekey.ln_tail(*c).hex() for c in {CASES}], finitekey.tail.ln_support(10**7, 256612).hex())"
    )
    runs = []
    for disabled in ("0", "1"):
        environment = {
            **os.environ,
            "NUMBA_DISABLE_JIT": disabled,
            "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path),
        }
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        runs.append(done.stdout)
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"key_bits": -1}, "key_bits = -1"),
        ({"test_bits": -5}, "test_bits = -5"),
        ({"test_errors": 101}, "test_errors = 101"),
        ({"test_errors": -1}, "test_errors = -1"),
        ({"leak_ec_bits": -1}, "leak_ec_bits = -1"),
        ({"verify_bits": -1}, "verify_bits = -1"),
        ({"key_bits": 10**11}, "key_bits = 100000000000"),
    ],
)
def test_contradicting_counts_are_refused(change: dict[str, int], named: str) -> None:
    sound = {"key_bits": 100, "test_bits": 100, "test_errors": 2, "leak_ec_bits": 30, "verify_bits": 64}
    BasisCounts(**sound)
    with pytest.raises(ParameterError, match=named):
        BasisCounts(**{**sound, **change})


def test_impossible_arguments_are_refused() -> None:
    counts = BasisCounts(key_bits=100, test_bits=100, test_errors=2, leak_ec_bits=30, verify_bits=64)
    for eps in (0.0, -1e-10, 0.2, math.nan, math.inf):
        with pytest.raises(ParameterError, match="eps_sec"):
            finitekey.basis_key_length(counts, eps)
        with pytest.raises(ParameterError, match="eps"):
            finitekey.plan(0.02, 1000, eps)
    for qber in (-0.01, 0.51, math.nan):
        with pytest.raises(ParameterError, match="qber"):
            finitekey.plan(qber, 1000, 1e-10)
    for sifted in (-1, 0, 1, 10**11):
        with pytest.raises(ParameterError, match="sifted"):
            finitekey.plan(0.02, sifted, 1e-10)
    for efficiency in (0.99, math.inf, math.nan):
        with pytest.raises(ParameterError, match="efficiency"):
            finitekey.plan(0.02, 1000, 1e-10, efficiency=efficiency)
    with pytest.raises(ParameterError, match="draws = 11"):
        finitekey.ln_tail(3, 10, 5, 11)


def test_empty_blocks_have_no_key_and_no_error() -> None:
    for n, k in ((0, 0), (0, 100), (100, 0)):
        counts = BasisCounts(key_bits=n, test_bits=k, test_errors=0, leak_ec_bits=0, verify_bits=0)
        assert finitekey.basis_key_length(counts, 1e-10).secret_bits == 0
