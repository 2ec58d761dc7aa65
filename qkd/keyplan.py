"""What a block would give if it came out as expected: planning, before anybody builds a link. No key is cut by this.

Two ways to spend sifted bits. `plan_sample` reveals some of them as the test, as most of the literature does, and looks
for the best number. `plan_both_bases` does what a session does: all bits of both bases are corrected, each basis is the
other's test, nothing is revealed (a session shows 1 % to size its error correction; that is not in here).
`plan_biased` asks how the bases should be chosen for the latter: X with probability p at either station leaves
(1 - p)^2 of the coincidences in Z and p^2 in X (efficient BBM92; Lo, Chau, Ardehali, J. Cryptology 18:133, 2005).

What is expected differs with the statement (`Statement`). A variable length is planned at the mean: floor(k q) errors
in k bits. Fixed thresholds must be passed by an honest link whose errors scatter, so they lie above the mean: x_tol is
the least number that k bits with error rate q exceed with probability p/2 or less, the leak allowed is that of the same
quantile of the string that is corrected, and p is either given or the one that makes (1 - p) l largest.

The optimisers are deterministic. A length is jagged, by the whole numbers of errors: for each candidate the end of its
step is tried as well. They find at least 99.9 % of what a brute-force grid does (tests/test_keyplan).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from qkd.errors import ParameterError
from qkd.finitekey import (
    EPS_RANGE,
    PA_SHARES,
    Statement,
    check_count,
    check_range,
    key_length,
    pa_share,
    phase_error_bound,
    split_over_bases,
)
from qkd.keybounds import Bound, lim2021_rate, serfling_rate, tlgr2012_rate
from qkd.reconciliation.efficiency import binary_entropy

# Below so many errors in the test a single one shows in the length: steps are followed to their ends, and so many
# numbers on either side of the best are looked at.
FEW_ERRORS, NEIGHBOURS = 500, 40
# What is tried where the probability to give an honest block up is free: (1 - p) l is flat around its best.
ABORTS = (0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-4, 1e-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the link is expected to do, and what is asked of its key.

    Attributes:
        qber: error rate, 0 .. 0.5.
        eps: eps_sec + eps_cor; a hundredth or less of it is eps_cor.
        efficiency: f of the error correction, 1 .. 10.
        statement: which theorem the key is to rest on.
        abort_probability: for fixed thresholds, how often an honest link may give a block up; None for the best.

    Raises:
        ParameterError: a value out of range, or an abort probability where nothing aborts.
    """

    qber: float
    eps: float
    efficiency: float = 1.19
    statement: Statement = Statement.VARIABLE_LENGTH
    abort_probability: float | None = None

    def __post_init__(self) -> None:
        check_range("qber", self.qber, 0.0, 0.5, "a fraction is meant: 0.025 for 2.5 %")
        check_range("eps", self.eps, *EPS_RANGE)
        check_range("efficiency", self.efficiency, 1.0, 10.0)
        if self.abort_probability is None:
            return
        check_range("abort_probability", self.abort_probability, 1e-12, 0.5)
        if self.statement is Statement.VARIABLE_LENGTH:
            raise ParameterError(
                f"abort_probability = {self.abort_probability}: a variable length has no threshold to pass",
                hint="ask for the fixed-threshold statement",
            )

    @property
    def hopeless(self) -> bool:
        """No block, however long, gives a key: 1 - (1 + f) h(q) is not positive."""
        return 1.0 - (1.0 + self.efficiency) * binary_entropy(self.qber) <= 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StringPlan:
    """One string of key.

    Attributes:
        raw: its length, may be negative.
        key_bits, test_bits: n and k.
        test_errors: errors in the test, expected or tolerated.
        phase_error_bound: a fraction of the key bits, at most 1.
        leak_ec_bits: disclosed by error correction, expected or allowed.
    """

    raw: int
    key_bits: int
    test_bits: int
    test_errors: int
    phase_error_bound: float
    leak_ec_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a block gives.

    Attributes:
        statement: which theorem the length is of.
        strings: one, or those of Z and X.
        verify_bits: verification tag of each string.
        eps_sec, eps_cor: their sum is the eps asked for, or less.
        abort_probability: at most so often an honest link exceeds a threshold; 0 without thresholds.
        p_x: probability of the X basis at either station, where that was planned.
    """

    statement: Statement
    strings: tuple[StringPlan, ...]
    verify_bits: int
    eps_sec: float
    eps_cor: float
    abort_probability: float = 0.0
    p_x: float | None = None

    @property
    def secret_bits(self) -> int:
        """How many bits may be kept, at least 0."""
        return sum(max(0, string.raw) for string in self.strings)

    @property
    def raw(self) -> int:
        """`secret_bits`, or how far the better string is from a key: zero or negative."""
        return self.secret_bits or max(string.raw for string in self.strings)

    @property
    def merit(self) -> float:
        """What is maximised: bits a block in the mean, aborts counted."""
        return self.raw * (1.0 - self.abort_probability) if self.raw > 0 else float(self.raw)


def plan_sample(ask: Expectation, sifted: int, bound: Bound = Bound.EXACT) -> Plan:
    """The longest key of `sifted` bits of which some are revealed as a test: over their number and the split of eps.

    The bounds of the literature are taken at the expected error rate as their threshold, with no margin for an honest
    link's scatter unless fixed thresholds are asked for.

    Args:
        ask: the link.
        sifted: bits to be split in key and test bits, 2 .. 1e10.
        bound: which bound on the phase errors.

    Raises:
        ParameterError: sifted out of range.
    """
    check_count("sifted", sifted, low=2)

    def split(test_bits: int, abort: float, shares: tuple[float, ...] = ()) -> Plan:
        return _sample(ask, (sifted - test_bits, test_bits), abort, bound, shares)

    def planned(abort: float) -> Plan:
        # The split of eps hardly moves the best number of test bits, so it comes last.
        # At the error rate itself, whole errors do not count: the literature's lengths have no steps.
        steps = _steps(ask, abort) if abort or bound is Bound.EXACT else lambda _: FEW_ERRORS
        found = _climb(lambda k: split(k, abort), sifted - 1, steps)
        return split(found.strings[0].test_bits, abort, PA_SHARES)

    return _best_of_aborts(ask, planned)


def plan_both_bases(ask: Expectation, sifted_z: int, sifted_x: int) -> Plan:
    """Both bases corrected in full, each tested by the other; eps_sec is split between them as in a session.

    Args:
        ask: the link.
        sifted_z, sifted_x: bits of each basis, 1 .. 1e10.

    Raises:
        ParameterError: a count out of range.
    """
    for name, bits in (("sifted_z", sifted_z), ("sifted_x", sifted_x)):
        check_count(name, bits, low=1)
    return _best_of_aborts(ask, lambda abort: _both(ask, (sifted_z, sifted_x), abort))


def plan_biased(ask: Expectation, coincidences: int, p_x: float | None = None) -> Plan:
    """The key of so many coincidences when the X basis is chosen with probability p_x at either station.

    Args:
        ask: the link.
        coincidences: pairs that both stations detected, whatever the bases: 8 .. 1e10.
        p_x: in (0, 1/2]; None for the best.

    Raises:
        ParameterError: an argument out of range, or a bias that leaves a basis empty.
    """
    check_count("coincidences", coincidences, low=8)
    if p_x is not None:
        check_range("bias p_x", p_x, 1e-9, 0.5)
        sizes = int(coincidences * (1.0 - p_x) ** 2), int(coincidences * p_x**2)
        if not min(sizes):
            raise ParameterError(
                f"bias p_x = {p_x} leaves no X bit among {coincidences} coincidences",
                hint="raise the bias, or take more coincidences",
            )
        return replace(plan_both_bases(ask, *sizes), p_x=p_x)

    def of(sifted_x: int, abort: float) -> Plan:
        p = math.sqrt(sifted_x / coincidences)
        return replace(_both(ask, (int(coincidences * (1.0 - p) ** 2), sifted_x), abort), p_x=p)

    return _best_of_aborts(ask, lambda abort: _climb(lambda k: of(k, abort), coincidences // 4, _steps(ask, abort)))


def _best_of_aborts(ask: Expectation, planned: Callable[[float], Plan]) -> Plan:
    return max((planned(abort) for abort in _aborts(ask)), key=lambda plan: plan.merit)


def _aborts(ask: Expectation) -> tuple[float, ...]:
    """Probabilities to give an honest block up that are worth a try; a variable length has none."""
    if ask.statement is Statement.VARIABLE_LENGTH:
        return (0.0,)
    return ABORTS if ask.abort_probability is None else (ask.abort_probability,)


def _steps(ask: Expectation, abort: float) -> Callable[[int], int]:
    """Errors expected or tolerated in so many test bits: never fewer in more."""
    return lambda bits: errors_in(bits, ask.qber, abort / 2.0)


@lru_cache(maxsize=4096)
def errors_in(bits: int, qber: float, exceeded: float) -> int:
    """The mean number of errors, rounded down; or the least that is exceeded with at most this probability.

    Args:
        bits: length of the string.
        qber: error rate; errors are taken as independent.
        exceeded: 0 for the mean.
    """
    mean = math.floor(bits * qber)
    if exceeded == 0.0 or qber == 0.0:
        return mean
    low, high = mean - 1, min(bits, mean + 4 + int(math.sqrt(mean + 4)))  # the mean is exceeded half of the time
    while exceeding(high, bits, qber) > exceeded:
        low, high = high, min(bits, mean + 2 * (high - mean))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if exceeding(middle, bits, qber) <= exceeded else (middle, high)
    return high


def exceeding(errors: int, bits: int, qber: float) -> float:
    """Pr[more than so many errors among independent bits with error rate qber], a binomial tail."""
    from scipy.special import betainc  # after the arguments were looked at: it takes a while to load

    return float(betainc(errors + 1.0, float(bits - errors), qber)) if 0 <= errors < bits else float(errors < 0)


def _climb(planned: Callable[[int], Plan], most: int, errors: Callable[[int], int]) -> Plan:
    """The best plan over a whole number 1 .. most: a geometric grid, three finer ones around its best, its neighbours.

    Args:
        planned: what is to be had at a number of test bits.
        most: largest number.
        errors: its steps, where the length jumps: the end of a candidate's step is a candidate, too.
    """
    best_at = max(1, most // 2)
    best = planned(best_at)

    def try_out(numbers: Iterable[float]) -> None:
        nonlocal best, best_at
        for k in sorted({min(most, max(1, round(number))) for number in numbers}):
            for at in {k, _step_end(errors, k, most)}:
                found = planned(at)
                if found.merit > best.merit:
                    best, best_at = found, at

    try_out(0.9 * most / 1.35**j for j in range(41))
    for ratio in (1.35**0.2, 1.35**0.04, 1.35**0.008):
        try_out([best_at * ratio**j for j in range(-5, 6)])
    if errors(best_at) < FEW_ERRORS:
        try_out(range(best_at - NEIGHBOURS, best_at + NEIGHBOURS + 1))
    return best


def _step_end(errors: Callable[[int], int], k: int, most: int) -> int:
    """The largest number of bits, up to some 6 % more than k, with as many errors as k; k where steps are small."""
    low, high = k, min(most, k + k // 16 + 16) + 1
    here = errors(k)
    if here >= FEW_ERRORS:
        return k
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if errors(middle) == here else (low, middle)
    return low


def _sample(
    ask: Expectation, sizes: tuple[int, int], abort: float, bound: Bound, shares: tuple[float, ...] = ()
) -> Plan:
    """One split in n key and k test bits; eps_pa is the best of these shares of eps_sec, or goes by the length."""
    n, k = sizes
    verify_bits = _verify_bits(ask.eps, 1)
    eps_sec = ask.eps - 2.0**-verify_bits
    errors, wrong = (errors_in(bits, ask.qber, abort / 2.0) for bits in (k, n))
    leak = _leak(ask, n, wrong if abort else None)
    rate = errors / k if abort else ask.qber
    string = max(
        (_string((n, k), errors, rate, leak, verify_bits, eps_sec, share, bound) for share in shares or (pa_share(n),)),
        key=lambda found: found.raw,
    )
    return Plan(
        statement=ask.statement,
        strings=(string,),
        verify_bits=verify_bits,
        eps_sec=eps_sec,
        eps_cor=2.0**-verify_bits,
        abort_probability=_exceeded(ask, abort, ((errors, k), (wrong, n))),
    )


def _both(ask: Expectation, sizes: tuple[int, int], abort: float) -> Plan:
    verify_bits = _verify_bits(ask.eps, 2)
    eps_sec = ask.eps - 2.0 * 2.0**-verify_bits
    errors = tuple(errors_in(bits, ask.qber, abort / 2.0) for bits in sizes)
    parts = split_over_bases(*sizes, eps_sec)
    strings = tuple(
        _string(
            (sizes[own], sizes[1 - own]),
            errors[1 - own],
            ask.qber,
            _leak(ask, sizes[own], errors[own] if abort else None),
            verify_bits,
            parts[own],
            pa_share(sizes[own]),
            Bound.EXACT,
        )
        for own in (0, 1)
    )
    return Plan(
        statement=ask.statement,
        strings=strings,
        verify_bits=verify_bits,
        eps_sec=eps_sec,
        eps_cor=2.0 * 2.0**-verify_bits,
        abort_probability=_exceeded(ask, abort, tuple(zip(errors, sizes, strict=True))),
    )


def _verify_bits(eps: float, strings: int) -> int:
    """Tag bits such that a hundredth of eps pays for all strings' tags."""
    return math.ceil(-math.log2(eps / (100.0 * strings)))


def _leak(ask: Expectation, n: int, wrong: int | None) -> int:
    rate = ask.qber if wrong is None else min(wrong / n, 0.5)
    return math.ceil(ask.efficiency * binary_entropy(rate) * n)


def _exceeded(ask: Expectation, abort: float, limits: tuple[tuple[int, int], ...]) -> float:
    """Probability that an honest link exceeds one of (errors, bits), at most: their sum."""
    return sum(exceeding(errors, bits, ask.qber) for errors, bits in limits) if abort else 0.0


def _string(
    sizes: tuple[int, int],
    errors: int,
    rate: float,
    leak: int,
    verify_bits: int,
    eps_sec: float,
    share: float,
    bound: Bound,
) -> StringPlan:
    n, k = sizes
    raw, phase = _length(sizes, errors, rate, leak + verify_bits, eps_sec, share, bound)
    return StringPlan(
        raw=raw,
        key_bits=n,
        test_bits=k,
        test_errors=errors,
        phase_error_bound=min(phase, 1.0),
        leak_ec_bits=leak,
    )


def _length(
    sizes: tuple[int, int], errors: int, rate: float, disclosed: int, eps_sec: float, share: float, bound: Bound
) -> tuple[int, float]:
    """(length, phase-error rate) of a string by one bound."""
    n, k = sizes
    eps_sm, eps_pa = eps_sec * (1.0 - share) / 2.0, eps_sec * share
    if bound is Bound.EXACT:
        e = phase_error_bound(n, k, errors, eps_sm)
        return key_length(n, e, disclosed, eps_pa), e / n
    if bound is Bound.TLGR2012:
        phase, amplification = tlgr2012_rate(n, k, rate, eps_sec), 2.0 * math.log2(eps_sec) - 1.0
    else:
        phase = (serfling_rate if bound is Bound.SERFLING else lim2021_rate)(n, k, rate, eps_sm)
        amplification = 2.0 * math.log2(2.0 * eps_pa)
    return math.floor(n * (1.0 - binary_entropy(min(phase, 0.5))) - disclosed + amplification), phase
