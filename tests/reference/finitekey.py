"""Tails and lengths in exact integers and in 60-digit arithmetic (mpmath), slow and by their definitions."""

from __future__ import annotations

from fractions import Fraction
from math import comb, log2

import mpmath as mp

DIGITS = 60


def tail(x: int, population: int, marked: int, draws: int) -> mp.mpf:
    """Pr[X <= x] from whole numbers of subsets."""
    favourable = sum(comb(marked, j) * comb(population - marked, draws - j) for j in range(min(x, draws) + 1))
    with mp.workdps(DIGITS):
        return mp.mpf(favourable) / comb(population, draws)


def ln_tail_large(x: int, population: int, marked: int, draws: int) -> mp.mpf:
    """ln Pr[X <= x] for x below the mode: first term by log-gamma, then term by term down to 1e-50 of the sum."""
    with mp.workdps(DIGITS):

        def ln_comb(a: int, b: int) -> mp.mpf:
            return mp.loggamma(a + 1) - mp.loggamma(b + 1) - mp.loggamma(a - b + 1)

        top = ln_comb(marked, x) + ln_comb(population - marked, draws - x) - ln_comb(population, draws)
        total = term = mp.mpf(1)
        for j in range(x, 0, -1):
            term = term * (j * (population - marked - draws + j)) / ((marked - j + 1) * (draws - j + 1))
            total += term
            if term < total * mp.mpf(10) ** -50:
                break
        return top + mp.log(total)


def bound(n: int, k: int, errors: int, eps: float) -> int:
    """Least e with tail(errors; n + k, e + 1 + errors, k) <= eps^2, by trying all."""
    with mp.workdps(DIGITS):
        target = mp.mpf(eps) ** 2
    return next(e for e in range(n + 1) if e == n or tail(errors, n + k, e + 1 + errors, k) <= target)


def key_length(n: int, phase_errors: int, disclosed: int, eps_pa: float) -> int:
    """floor(n - log2 sum_{i <= e} C(n, i) - disclosed + 2 log2(2 eps_pa))."""
    binomial, total = 1, 1
    for i in range(1, phase_errors + 1):
        binomial = binomial * (n - i + 1) // i
        total += binomial
    with mp.workdps(DIGITS):
        return int(mp.floor(n - mp.log(total, 2) - disclosed + 2 * mp.log(2 * mp.mpf(eps_pa), 2)))


def pa_share(string_bits: int) -> float:
    """eps_pa over eps_sec: 2^-j, j the floor of half of (binary digits - 4), in 1 .. 12."""
    digits = 0 if string_bits == 0 else int(log2(string_bits)) + 1
    return 2.0 ** -min(12, max(1, int((digits - 4) / 2)))


def split_over_bases(z_bits: int, x_bits: int, eps_sec: float) -> tuple[float, float]:
    """Parts of eps_sec as the lengths, neither below 1/64, each rounded as binary64."""
    share = Fraction(z_bits, z_bits + x_bits)
    part = float(min(max(share, Fraction(1, 64)), Fraction(63, 64)))
    return eps_sec * part, eps_sec * (1.0 - part)
