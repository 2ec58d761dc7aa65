"""How fast a key length is decided, and whether it is the right one to the bit.

One evaluation is what a session does once a block and basis: the bound on the phase errors by the exact tail, then the
length. Two references compute the same from the formula of `qkd.finitekey`: scipy's hypergeometric distribution, as
anybody would write it first (double precision), and mpmath with 60 digits where that package is installed. Each answer
is compared with ours; a difference is counted, not hidden. Planning, which evaluates it often, is timed beside.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from qkd.benchmarks.result import Result, Row, median_seconds
from qkd.errors import ParameterError
from qkd.finitekey import BasisCounts, KeyLength, basis_key_length
from qkd.keyplan import Expectation, plan_biased, plan_sample
from qkd.leastblock import least_sifted
from qkd.reconciliation.efficiency import binary_entropy

LEAST_BITS, MOST_BITS = 1_000, 1_000_000_000
EFFICIENCY, VERIFY_BITS = 1.19, 64
SCIPY, MPMATH = "scipy.stats.hypergeom", "mpmath, 60 digits"
# Above, scipy's sums take minutes.
_MOST_REFERENCE_BITS = 20_000_000

Answer = tuple[int, int]  # phase errors, length


def run(*, bits: int = 10_000_000, qber: float = 0.025, eps: float = 1e-10, repeats: int = 21) -> Result:
    """Measure; the headline `seconds` is one evaluation at `bits` sifted bits, `wrong` how many answers were.

    Args:
        bits: sifted, half of each basis.
        qber: error rate.
        eps: eps_sec of the basis; of the whole key in planning.
        repeats: timed evaluations, of which the median counts.

    Raises:
        ParameterError: an argument out of range.
    """
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise ParameterError(f"bits = {bits} must be in {LEAST_BITS} .. {MOST_BITS}")
    ask = Expectation(qber=qber, eps=eps)
    counts = block(bits, qber)
    seconds = median_seconds(lambda: basis_key_length(counts, eps), repeats=repeats)
    rows = [*_evaluation(counts, eps, seconds), *_equality(bits, eps), *_planning(ask, bits)]
    wrong = sum(row.details.get("wrong", 0) for row in rows)
    return Result(headline={"seconds": seconds, "wrong": float(wrong)}, rows=tuple(rows))


def absent() -> tuple[str, ...]:
    """References that are not installed."""
    return () if importlib.util.find_spec("mpmath") else (MPMATH,)


def block(bits: int, qber: float) -> BasisCounts:
    """A basis of a block of `bits` sifted bits, half of them in each basis, errors and leak as expected."""
    half = bits // 2
    return BasisCounts(
        key_bits=half,
        test_bits=half,
        test_errors=math.floor(half * qber),
        leak_ec_bits=math.ceil(EFFICIENCY * binary_entropy(qber) * half),
        verify_bits=VERIFY_BITS,
    )


def _evaluation(counts: BasisCounts, eps: float, seconds: float) -> list[Row]:
    """Our time against each reference's."""
    bits = counts.key_bits + counts.test_bits
    ours, small = basis_key_length(counts, eps), block(LEAST_BITS, 0.025)
    rows = []
    for name, reference in _references():
        if bits > _MOST_REFERENCE_BITS:
            continue
        reference(small, basis_key_length(small, eps))  # loads its package
        start = time.perf_counter()
        theirs = reference(counts, ours)
        spent = time.perf_counter() - start
        rows.append(
            Row(
                case=f"one key length, {bits} sifted bits, against {name}",
                value=seconds,
                unit="s",
                reference=spent,
                against=name,
                details={"wrong": int(theirs != (ours.phase_errors, ours.raw))},
            )
        )
    return rows or [Row(case=f"one key length, {bits} sifted bits", value=seconds, unit="s")]


def _equality(bits: int, eps: float) -> list[Row]:
    """Lengths of blocks from 1,000 bits up to `bits` and from 0.5 % to 9 %, each against 60 digits."""
    if absent():
        return []
    sizes = [10**power for power in range(3, 10) if 10**power < bits] + [bits]
    cases = [block(size, qber) for size in sizes for qber in (0.005, 0.01, 0.025, 0.05, 0.09)]
    wrong = 0
    for counts in cases:
        ours = basis_key_length(counts, eps)
        wrong += _by_mpmath(counts, ours) != (ours.phase_errors, ours.raw)
    details = {"wrong": wrong}
    case = f"lengths equal to {MPMATH}, to the bit"
    return [Row(case=case, value=len(cases) - wrong, unit="lengths", reference=len(cases), details=details)]


def _planning(ask: Expectation, bits: int) -> list[Row]:
    tasks: dict[str, Callable[[], object]] = {
        f"best test of {bits} sifted bits": lambda: plan_sample(ask, bits),
        f"best bias of {bits} coincidences": lambda: plan_biased(ask, bits),
        "least block": lambda: least_sifted(ask),
    }
    return [Row(case=case, value=median_seconds(task, repeats=3), unit="s") for case, task in tasks.items()]


Reference = Callable[[BasisCounts, KeyLength], Answer]


def _references() -> list[tuple[str, Reference]]:
    installed: list[tuple[str, Reference]] = [(SCIPY, _by_scipy), (MPMATH, _by_mpmath)]
    return [(name, reference) for name, reference in installed if name not in absent()]


def _least(n: int, within: Callable[[int], bool]) -> int:
    """Least e in 0 .. n that is within the target: by halving, since the tail falls as e grows."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if within(middle) else (middle, high)
    return high


def _by_scipy(counts: BasisCounts, split: KeyLength) -> Answer:
    """Phase errors and length in double precision."""
    from scipy.special import betaln, logsumexp
    from scipy.stats import hypergeom  # takes a second to load

    n, k, x = counts.key_bits, counts.test_bits, counts.test_errors
    target = 2.0 * math.log(split.eps_sm)

    def below(e: int) -> bool:
        seen = np.arange(x + 1)
        return float(logsumexp(hypergeom.logpmf(seen, n + k, e + 1 + x, k))) <= target

    e = _least(n, below)
    i = np.arange(e + 1.0)  # C(n, i) = 1 / ((n + 1) B(n - i + 1, i + 1))
    support = float(logsumexp(-betaln(n - i + 1.0, i + 1.0) - math.log(n + 1.0))) / math.log(2.0)
    return e, _rounded(counts, e, support, 2.0 * math.log2(2.0 * split.eps_pa))


def _by_mpmath(counts: BasisCounts, split: KeyLength) -> Answer:
    """Phase errors and length with 60 digits: each sum from its largest term down to 1e-50 of it."""
    mp: Any = importlib.import_module("mpmath")
    n, k, x = counts.key_bits, counts.test_bits, counts.test_errors

    def ln_choose(a: int, b: int) -> Any:
        return mp.loggamma(a + 1) - mp.loggamma(b + 1) - mp.loggamma(a - b + 1)

    def ln_sum(top: Any, ratio: Callable[[int], Any], j: int) -> Any:
        total = term = mp.mpf(1)
        while j > 0 and term > mp.mpf(10) ** -50:
            term *= ratio(j)
            total += term
            j -= 1
        return top + mp.log(total)

    with mp.workdps(60):
        target = 2 * mp.log(mp.mpf(split.eps_sm))

        def below(e: int) -> bool:
            ones, zeros = e + 1 + x, n + k - e - 1 - x
            if zeros < 0 or x * (n + k) >= k * ones:
                return zeros < 0  # impossible; or at the mean, a tail of about a half
            top = ln_choose(ones, x) + ln_choose(zeros, k - x) - ln_choose(n + k, k)

            def ratio(j: int) -> Any:
                return mp.mpf(j * (zeros - k + j)) / ((ones - j + 1) * (k - j + 1))

            return bool(ln_sum(top, ratio, x) <= target)

        e = _least(n, below)
        support = ln_sum(ln_choose(n, e), lambda j: mp.mpf(j) / (n - j + 1), e) / mp.log(2)
        return e, _rounded(counts, e, support, 2 * mp.log(2 * mp.mpf(split.eps_pa), 2))


def _rounded(counts: BasisCounts, e: int, support: Any, amplification: Any) -> int:
    lost = counts.key_bits if 2 * e >= counts.key_bits else support
    return math.floor(counts.key_bits - lost - counts.leak_ec_bits - counts.verify_bits + amplification)
