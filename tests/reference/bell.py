"""Bell tests trial by trial, tails in exact integers, and entropy accumulation term by term in 40-digit arithmetic."""

from __future__ import annotations

import itertools
from fractions import Fraction

import mpmath as mp
import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.int64]


def s_value(table: Table, signs: tuple[int, int, int, int]) -> float:
    """S by counting every trial on its own."""
    total = 0.0
    for sign, (x, y) in zip(signs, itertools.product((0, 1), repeat=2), strict=True):
        outcomes = [(1 - 2 * a) * (1 - 2 * b) for a in (0, 1) for b in (0, 1) for _ in range(int(table[x, y, a, b]))]
        total += sign * sum(outcomes) / len(outcomes)
    return total


def s_value_fast(table: Table, signs: tuple[int, int, int, int]) -> float:
    """The same by numpy."""
    product = np.array([[1, -1], [-1, 1]])
    e = (table * product).sum(axis=(2, 3)) / table.sum(axis=(2, 3))
    return float((e.ravel() * np.array(signs)).sum())


def wins(table: Table, signs: tuple[int, int, int, int]) -> int:
    """Trials whose product of outcomes has the sign of their settings."""
    cells = itertools.product((0, 1), repeat=4)
    return sum(int(table[x, y, a, b]) for x, y, a, b in cells if (1 - 2 * a) * (1 - 2 * b) == signs[2 * x + y])


def best_local_win(probability: npt.NDArray[np.float64], signs: tuple[int, int, int, int]) -> float:
    """Largest winning probability of outcomes fixed beforehand, by trying all sixteen."""
    best = 0.0
    for a0, a1, b0, b1 in itertools.product((-1, 1), repeat=4):
        won = [(a0, a1)[x] * (b0, b1)[y] == signs[2 * x + y] for x in (0, 1) for y in (0, 1)]
        best = max(best, sum(p for p, w in zip(probability.flat, won, strict=True) if w))
    return best


def binomial_tail(k: int, n: int, p: Fraction) -> Fraction:
    """P(K >= k) in whole numbers."""
    with_k = [mp.binomial(n, j) for j in range(k, n + 1)]
    return sum(
        (Fraction(int(c)) * p**j * (1 - p) ** (n - j) for c, j in zip(with_k, range(k, n + 1), strict=True)),
        Fraction(0),
    )


def ln_binomial_tail(k: int, n: int, p: str) -> mp.mpf:
    """ln P(K >= k) above the mean, term by term down to 1e-40 of the sum."""
    with mp.workdps(60):
        chance = mp.mpf(p)
        term = total = mp.mpf(1)
        for j in range(k, n):
            term *= mp.mpf(n - j) / (j + 1) * chance / (1 - chance)
            total += term
            if term < total * mp.mpf(10) ** -40:
                break
        ln_comb = mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)
        return ln_comb + k * mp.log(chance) + (n - k) * mp.log(1 - chance) + mp.log(total)


def entropy(p: mp.mpf) -> mp.mpf:
    """Binary entropy, bits."""
    if p <= 0 or p >= 1:
        return mp.mpf(0)
    return -p * mp.log(p, 2) - (1 - p) * mp.log(1 - p, 2)


def eve_entropy(s: mp.mpf, q: mp.mpf) -> mp.mpf:
    """H(A|E) of Ho et al., PRL 124, 230502 (2020), as they print it."""
    first = entropy((1 + mp.sqrt((s / 2) ** 2 - 1)) / 2)
    return 1 - first + entropy((1 + mp.sqrt(1 - q * (1 - q) * (8 - s**2))) / 2)


def accumulated(
    *,
    n: int,
    s: float,
    qber: float,
    eps: float,
    margin: float,
    slack: float,
    gamma: float,
    q: float,
    t: float,
    alpha_less_1: float,
    alpha2_less_1: float,
) -> mp.mpf:
    """Length by entropy accumulation, Steffinlongo et al., arXiv 2409.17075, eq. C16; tangent by numerical slope."""
    with mp.workdps(40):
        n_, s_, g, q_, t_ = mp.mpf(n), mp.mpf(s), mp.mpf(gamma), mp.mpf(q), mp.mpf(t)
        a, a2 = 1 + mp.mpf(alpha_less_1), 1 + mp.mpf(alpha2_less_1)

        def bound(omega: mp.mpf) -> mp.mpf:
            return eve_entropy(8 * omega - 4, q_)

        slope = mp.diff(bound, t_)

        def tangent(omega: mp.mpf) -> mp.mpf:
            return bound(t_) + slope * (omega - t_)

        omega = (4 + s_) / 8
        p1 = g * (1 - omega)
        omega_thr = 1 - (p1 + mp.mpf(margin) * mp.sqrt(p1 * (1 - p1) / n_)) / g
        var = (2 + mp.sqrt(2)) / (4 * g) * (tangent(1) - tangent(0)) ** 2
        v = mp.ln(2) / 2 * (mp.log(33, 2) + mp.sqrt(2 + var)) ** 2
        x = 2 + tangent(1) - tangent((1 - 1 / mp.sqrt(2)) / 2)
        k = 1 / (6 * (2 - a) ** 3 * mp.ln(2)) * mp.mpf(2) ** ((a - 1) * x) * mp.ln(mp.mpf(2) ** x + mp.e**2) ** 3

        def theta(e: mp.mpf) -> mp.mpf:
            return mp.log(2 / e**2, 2)

        e = mp.mpf(eps) / 4
        e1, e2, ea, pa = e * mp.mpf("0.3"), e * mp.mpf("0.3"), mp.mpf(eps), mp.mpf(eps) / 2
        flipped = q_ * (1 - mp.mpf(qber)) + (1 - q_) * mp.mpf(qber)
        leak = n_ * ((1 - g) * entropy(flipped) + g * entropy(omega)) + mp.mpf(slack) * mp.sqrt(n_)
        return (
            n_ * tangent(omega_thr)
            - n_ * (a - 1) * v
            - n_ * (a - 1) ** 2 * k
            - n_ * g
            - n_ * (a2 - 1) * mp.log(5, 2) ** 2
            - (theta(e1) + a * mp.log(1 / ea, 2)) / (a - 1)
            - (theta(e2) + a2 * mp.log(1 / ea, 2)) / (a2 - 1)
            - 3 * theta(e - e1 - 2 * e2)
            - 5 * mp.log(1 / pa, 2)
            - leak
            - 264
        )
