"""Hypergeometric tails and binomial sums, in logarithms (loops of `qkd.finitekey`).

Two stations must cut the same key to the same bit, so what decides a length here uses only IEEE 754 addition,
subtraction, multiplication and division, which every machine rounds alike; the C library's log and lgamma are not
alike everywhere, and lgamma of 1e7 would lose seven digits by cancellation. Point probabilities come from Loader's
saddle-point form ("Fast and accurate computation of binomial probabilities", 2000), which does not cancel.
"""

from __future__ import annotations

import math

from distribution.kernels._jit import kernel

LN_2 = 0.6931471805599453
LN_2_PI = 1.8378770664093453
NEGLIGIBLE = 1e-17  # a geometric-like series is cut where a term falls below this share of its first


@kernel
def ln(x: float) -> float:
    """Natural logarithm of x > 0 from the four operations: 2 artanh((m-1)/(m+1)) + e ln 2 where x = m 2^e."""
    m, e = math.frexp(x)
    if m < 0.7071067811865476:
        m *= 2.0
        e -= 1
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = 0.0
    for odd in range(23, 1, -2):
        series = (series + 1.0 / odd) * z
    return 2.0 * s * (1.0 + series) + e * LN_2


@kernel
def stirling_error(n: float) -> float:
    """ln n! - (n + 1/2) ln n + n - ln(2 pi)/2 for an integer n >= 1."""
    shift = 0.0
    while n < 16.0:
        shift += (n + 0.5) * ln((n + 1.0) / n) - 1.0
        n += 1.0
    r = 1.0 / (n * n)
    return shift + (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - r / 1188) * r) * r) * r) / n


@kernel
def deviance(x: float, mean: float) -> float:
    """x ln(x / mean) + mean - x for x, mean > 0, without cancellation where the two are close."""
    if abs(x - mean) >= 0.1 * (x + mean):
        return x * ln(x / mean) + mean - x
    v = (x - mean) / (x + mean)
    total = (x - mean) * v
    term = 2.0 * x * v
    odd = 1.0
    while True:
        term *= v * v
        odd += 2.0
        longer = total + term / odd
        if longer == total:
            return total
        total = longer


@kernel
def ln_binomial(x: float, n: float, p: float, q: float) -> float:
    """ln of C(n, x) p^x q^(n-x) for integers 0 <= x <= n and p, q > 0 with p + q = 1."""
    if n == 0.0:
        return 0.0
    if x == 0.0:
        return n * ln(q)
    if x == n:
        return n * ln(p)
    y = n - x
    corrections = stirling_error(n) - stirling_error(x) - stirling_error(y)
    return corrections - deviance(x, n * p) - deviance(y, n * q) + 0.5 * (ln(n / (x * y)) - LN_2_PI)


@kernel
def ln_tail_below(x: int, population: int, marked: int, draws: int) -> float:
    """ln Pr[X <= x] for x not above the mode and within the support; 0 < draws < population."""
    size, k, j = float(population), float(draws), float(x)
    ones, zeros = float(marked), float(population - marked)
    p, q = k / size, (size - k) / size
    top = ln_binomial(j, ones, p, q) + ln_binomial(k - j, zeros, p, q) - ln_binomial(k, size, p, q)
    total, term = 1.0, 1.0
    while j > 0.0 and term > NEGLIGIBLE:
        term *= j * (zeros - k + j) / ((ones - j + 1.0) * (k - j + 1.0))
        total += term
        j -= 1.0
    return top + ln(total)


@kernel
def ln_tail(x: int, population: int, marked: int, draws: int) -> float:
    """ln Pr[X <= x]: X marked among `draws` taken without return from `population` of which `marked` are marked."""
    if x < max(0, draws - (population - marked)):
        return -math.inf
    if x >= min(marked, draws):
        return 0.0
    if x * (population + 2.0) <= (draws + 1.0) * (marked + 1.0):
        return ln_tail_below(x, population, marked, draws)
    # Above the mode the series would grow: take what is beyond x, by exchanging marked and unmarked. The C library's
    # exp is harmless: nothing here is near a threshold, which is far below Pr = 1/10.
    return ln(1.0 - math.exp(ln_tail_below(draws - x - 1, population, population - marked, draws)))


@kernel
def least_phase_errors(n: int, k: int, errors: int, ln_target: float, high: int) -> int:
    """Least e with ln Pr[X <= errors; n + k, e + 1 + errors, k] <= ln_target, given that `high` is large enough."""
    low, step = high - 1, 1
    while low >= 0 and ln_tail(errors, n + k, low + 1 + errors, k) <= ln_target:
        high = low
        step *= 2
        low -= step
    low = max(low, -1)
    while high - low > 1:
        middle = (low + high) // 2
        if ln_tail(errors, n + k, middle + 1 + errors, k) <= ln_target:
            high = middle
        else:
            low = middle
    return high


@kernel
def ln_support(n: int, e: int) -> float:
    """ln of the sum of C(n, i) over i <= e, for 0 <= e < n / 2 (above, the ratio series is no longer falling)."""
    if e == 0:
        return 0.0
    size, j = float(n), float(e)
    y = size - j
    corrections = stirling_error(size) - stirling_error(j) - stirling_error(y)
    top = j * ln(size / j) + y * ln(size / y) + corrections + 0.5 * (ln(size / (j * y)) - LN_2_PI)
    total, term = 1.0, 1.0
    while j > 0.0 and term > NEGLIGIBLE:
        term *= j / (size - j + 1.0)
        total += term
        j -= 1.0
    return top + ln(total)
