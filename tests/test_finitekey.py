"""Finite-key bound: against exact integers, 60-digit arithmetic and figures that were computed apart from this code."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd import finitekey
from qkd.errors import ParameterError
from qkd.finitekey import BasisCounts
from qkd.keybounds import serfling_rate
from qkd.reconciliation.efficiency import binary_entropy
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
    assert serfling_rate(n, k, errors / k, 1e-10) == pytest.approx(serfling, abs=5e-5)


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
    # Five errors more or fewer in all, and the event (10 or fewer seen, more than e left) is far less likely.
    fewer = math.exp(finitekey.ln_tail(5, 400, weight - 5, 200))
    more = math.exp(finitekey.ln_tail(10, 400, weight + 5, 200))
    assert max(fewer, more) < exact / 3


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


SPLIT_LOSS_BITS = 8


SPLIT_SIZES = [(n, n) for n in (500, 1550, 5000, 50_000, 1_000_000, 5_000_000, 10**9)] + [
    (10**7, 10**5),
    (10**5, 10**7),
]


@pytest.mark.parametrize(("n", "k"), SPLIT_SIZES)
@pytest.mark.parametrize("qber", [0.01, 0.03, 0.07])
@slow_without_jit
def test_split_by_length_is_near_the_best(n: int, k: int, qber: float) -> None:
    """basis_key_length against every power of two as the share, for the observed errors."""
    errors, eps = int(k * qber), 5e-11
    counts = BasisCounts(key_bits=n, test_bits=k, test_errors=errors, leak_ec_bits=0, verify_bits=64)
    key = finitekey.basis_key_length(counts, eps)
    assert key.eps_sec == pytest.approx(eps, rel=1e-12)
    best = max(
        finitekey.key_length(n, finitekey.phase_error_bound(n, k, errors, eps * (1 - s) / 2), 64, eps * s)
        for s in finitekey.PA_SHARES
    )
    assert best - SPLIT_LOSS_BITS <= key.raw <= best


def test_splits_depend_on_lengths_alone() -> None:
    """What the variable-length theorem asks for: the same epsilons whatever errors were seen and bits were kept."""
    seen = set()
    for errors, left_out in ((0, 0), (100, 3000), (9000, 60_000), (49_000, 1)):
        z = BasisCounts(
            key_bits=90_000 - left_out,
            test_bits=50_000,
            test_errors=errors,
            leak_ec_bits=errors,
            verify_bits=64,
            left_out_bits=left_out,
        )
        x = BasisCounts(key_bits=50_000, test_bits=90_000, test_errors=errors, leak_ec_bits=0, verify_bits=64)
        seen.add(tuple((key.eps_sm, key.eps_pa) for key in finitekey.both_bases_key_length(z, x, 1e-10)))
    assert len(seen) == 1


def test_shares_against_the_rule_in_other_words() -> None:
    for bits in (0, 1, 63, 64, 511, 512, 4095, 4096, 2**24 - 1, 2**24, 10**10):
        assert finitekey.pa_share(bits) == reference.pa_share(bits)
    for z, x in ((1, 1), (3, 1), (1, 3), (10**7, 9999), (1, 10**10), (813, 792)):
        parts = finitekey.split_over_bases(z, x, 1e-10)
        assert parts == reference.split_over_bases(z, x, 1e-10)
        assert sum(parts) == pytest.approx(1e-10, rel=1e-15)


@pytest.mark.parametrize(("n", "k"), [(5000, 5000), (66_000, 3600), (820_000, 8800), (8_100_000, 10_000)])
@slow_without_jit
def test_split_over_unequal_bases_is_near_the_best(n: int, k: int) -> None:
    """eps_sec shared as the lengths against 199 other parts: within 0.1 %, and better than halves where it matters."""
    z, x = (
        BasisCounts(
            key_bits=own,
            test_bits=other,
            test_errors=int(0.025 * other),
            leak_ec_bits=math.ceil(1.19 * binary_entropy(0.025) * own),
            verify_bits=41,
        )
        for own, other in ((n, k), (k, n))
    )

    def bits(part: float) -> int:
        keys = (finitekey.basis_key_length(c, e) for c, e in ((z, 1e-10 * part), (x, 1e-10 * (1 - part))))
        return sum(key.secret_bits for key in keys)

    ours = sum(key.secret_bits for key in finitekey.both_bases_key_length(z, x, 1e-10))
    assert ours >= 0.999 * max(bits(i / 200) for i in range(1, 200))
    assert ours >= bits(0.5)


SATELLITE_BOTH = [(1e-10, 54.6, 64.3), (1e-6, 359.8, 369.4)]


@pytest.mark.parametrize(("eps", "entropy", "support"), SATELLITE_BOTH)
def test_both_bases_of_the_satellite_block(eps: float, entropy: float, support: float) -> None:
    """n = k = 1550, 70 errors each, f = 1.19, t = log2(100 / eps): real numbers over a fine split, as the figures are.

    With n h(e/n) and with the exact support; then what two stations get, in whole bits and with the split by length.
    """
    n, x_tol, verify, leak = 1550, 70, math.log2(100 / eps), 1.19 * binary_entropy(0.0451) * 1550
    eps_basis = eps * 0.99 / 2

    def found(lost: Callable[[int], float]) -> float:
        lengths = []
        for share in np.linspace(0.02, 0.98, 97):
            e = finitekey.phase_error_bound(n, n, x_tol, eps_basis * (1 - share) / 2)
            lengths.append(n - lost(e) - leak - verify + 2 * math.log2(2 * eps_basis * share))
        return 2 * max(lengths)

    assert found(lambda e: n * binary_entropy(e / n)) == pytest.approx(entropy, abs=2.5)
    assert found(lambda e: finitekey.tail.ln_support(n, e) / math.log(2)) == pytest.approx(support, abs=2.5)
    counts = BasisCounts(
        key_bits=n, test_bits=n, test_errors=x_tol, leak_ec_bits=math.ceil(leak), verify_bits=math.ceil(verify)
    )
    z, x = finitekey.both_bases_key_length(counts, counts, eps * 0.98)
    assert z == x
    assert z.eps_sec + x.eps_sec == pytest.approx(0.98 * eps)
    assert entropy <= z.secret_bits + x.secret_bits <= support + 2


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
        ({"left_out_bits": -1}, "left_out_bits = -1"),
        ({"key_bits": 100.5}, "key_bits = 100.5 must be a whole number"),
        ({"test_errors": math.nan}, "test_errors = nan must be a whole number"),
    ],
)
def test_contradicting_counts_are_refused(change: dict[str, Any], named: str) -> None:
    sound = {"key_bits": 100, "test_bits": 100, "test_errors": 2, "leak_ec_bits": 30, "verify_bits": 64}
    BasisCounts(**sound)
    with pytest.raises(ParameterError, match=named):
        BasisCounts(**{**sound, **change})


def test_impossible_arguments_are_refused() -> None:
    counts = BasisCounts(key_bits=100, test_bits=100, test_errors=2, leak_ec_bits=30, verify_bits=64)
    for eps in (0.0, -1e-10, 0.2, math.nan, math.inf):
        with pytest.raises(ParameterError, match="eps_sec"):
            finitekey.basis_key_length(counts, eps)
        with pytest.raises(ParameterError, match="eps_sec"):
            finitekey.both_bases_key_length(counts, counts, eps)
        with pytest.raises(ParameterError, match="eps_pa"):
            finitekey.key_length(100, 3, 10, eps)
    with pytest.raises(ParameterError, match="draws = 11"):
        finitekey.ln_tail(3, 10, 5, 11)
    with pytest.raises(ParameterError, match="errors = 12"):
        finitekey.phase_error_bound(10, 11, 12, 1e-10)
    with pytest.raises(ParameterError, match=r"phase_errors = 101 must be in 0 \.\. 100"):
        finitekey.key_length(100, 101, 0, 1e-10)
    with pytest.raises(ParameterError, match="disclosed_bits = -1"):
        finitekey.key_length(100, 1, -1, 1e-10)


_WHOLE = st.integers(-3, 3000)


@settings(max_examples=300, deadline=None)
@given(st.tuples(_WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE), st.sampled_from([1e-60, 1e-10, 0.1]))
def test_any_counts_give_a_length_or_a_named_refusal(counts: tuple[int, ...], eps: float) -> None:
    """And a length moves as it must: a bit of leak is a bit of key; a further error, or one bit left out, no gain."""
    key_bits, test_bits, test_errors, leak, verify, left_out = counts

    def of(errors: int, leak_bits: int, out: int) -> int:
        found = BasisCounts(
            key_bits=key_bits,
            test_bits=test_bits,
            test_errors=errors,
            leak_ec_bits=leak_bits,
            verify_bits=verify,
            left_out_bits=out,
        )
        return finitekey.basis_key_length(found, eps).raw

    if min(counts) < 0 or test_errors > test_bits:
        with pytest.raises(ParameterError, match="must be in"):
            of(test_errors, leak, left_out)
        return
    raw = of(test_errors, leak, left_out)
    assert raw <= key_bits - leak - verify
    assert of(test_errors, leak + 1, left_out) == raw - 1
    if test_errors < test_bits:
        assert of(test_errors + 1, leak, left_out) <= raw
    if finitekey.pa_share(key_bits + left_out) == finitekey.pa_share(key_bits + left_out + 1):
        assert of(test_errors, leak, left_out + 1) <= raw


@pytest.mark.parametrize("eps", [1e-60, 0.1])
def test_the_ends_of_the_range_of_eps_work(eps: float) -> None:
    large = BasisCounts(key_bits=10**7, test_bits=1000, test_errors=2, leak_ec_bits=30, verify_bits=64)
    small = BasisCounts(key_bits=1000, test_bits=10**7, test_errors=2, leak_ec_bits=30, verify_bits=64)
    keys = finitekey.both_bases_key_length(large, small, eps)
    assert sum(key.eps_sec for key in keys) == pytest.approx(eps, rel=1e-12)


def test_a_leak_beyond_the_key_bits_is_no_key_and_no_error() -> None:
    counts = BasisCounts(key_bits=100, test_bits=100, test_errors=2, leak_ec_bits=150, verify_bits=64)
    assert finitekey.basis_key_length(counts, 1e-10).raw < -114


def test_empty_blocks_have_no_key_and_no_error() -> None:
    for n, k in ((0, 0), (0, 100), (100, 0)):
        counts = BasisCounts(key_bits=n, test_bits=k, test_errors=0, leak_ec_bits=0, verify_bits=0)
        assert finitekey.basis_key_length(counts, 1e-10).secret_bits == 0
