"""How many key bits a finite run of untrusted devices would give against any attack: entropy accumulation.

A calculator for simulated runs, not a key length: it cuts no key, and its S must count every pair that was made. The
bound is the second-order one of Dupuis and Fawzi (IEEE Trans. Inf. Theory 65, 7596 (2019)) as Nadlinger et al. (Nature
607, 682 (2022)) and Steffinlongo et al. (arXiv 2409.17075, appendix C) use it, n rounds of which a share gamma are
tests, F(omega) the entropy of a key bit at winning probability omega (`qkd.deviceindependent`), g its tangent at t:

    l = n g(omega_thr) - n (a-1) V - n (a-1)^2 K - n gamma - n (a'-1) log^2 5
        - (theta(e') + a log 1/eps_ea)/(a-1) - (theta(e'') + a' log 1/eps_ea)/(a'-1)
        - 3 theta(e - e' - 2e'') - 5 log 1/eps_pa - leak - 264

    V = (ln2/2) (log 33 + sqrt(2 + Var))^2, Var = (2 + sqrt2)/(4 gamma) slope^2, theta(e) = log(2/e^2)
    K = 2^((a-1) X) ln^3(2^X + exp(2)) / (6 (2-a)^3 ln2), X = 2 + g(1) - g(omega_min), omega_min = (1 - 1/sqrt2)/2

The published 95 628 bits of Nadlinger et al. rest on tighter choices than these; this transcription gives less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qkd.bellgame import LOCAL_WIN, TSIRELSON_S, TSIRELSON_WIN
from qkd.deviceindependent import check_s, error_entropy, phi, phi_slope
from qkd.finitekey import check_range

ACCUMULATION = "entropy accumulation (device-independent, simulation only)"
MOST_PAIRS = 10**15
_OMEGA_MIN = (1.0 - 1.0 / math.sqrt(2.0)) / 2.0
_LOG5 = math.log2(5.0)
# Shares of eps_s for e', e'' and, with two e'', the rest.
_EPS_SHARES = 0.3, 0.3
_CONSTANT_BITS = 264.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run is expected to show, and how it is judged.

    Attributes:
        pairs: n, rounds, every one of which counts.
        s: expected CHSH value of the test rounds.
        qber: expected share of unequal bits of the key rounds.
        eps: failure probability of secrecy; eps_ea is all of it, eps_pa half, eps_s a quarter (it counts twice).
        margin_sigmas: the threshold of the test lies this far below the expectation, so that an honest run passes.
        leak_slack: bits per square root of n that error correction takes beyond the Shannon limit.

    Raises:
        ParameterError: a figure out of its range.
    """

    pairs: int
    s: float
    qber: float
    eps: float = 1e-10
    margin_sigmas: float = 3.0
    leak_slack: float = 50.0

    def __post_init__(self) -> None:
        check_range("pairs", self.pairs, 1, MOST_PAIRS)
        check_s(self.s)
        check_range("qber", self.qber, 0.0, 0.5)
        check_range("eps", self.eps, 1e-60, 0.1)
        check_range("margin_sigmas", self.margin_sigmas, 0.0, 20.0)
        check_range("leak_slack", self.leak_slack, 0.0, 1e4)

    @property
    def omega(self) -> float:
        """Expected winning probability, that of 2 sqrt(2) at most."""
        return (4.0 + min(self.s, TSIRELSON_S)) / 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the analysis may choose.

    Attributes:
        test_share: gamma, above 0 and below 1.
        flip_probability: q of the noisy preprocessing.
        tangent: t, winning probability at which F is replaced by its tangent.
        alpha_less_1: a - 1, above 0 and below 1.
        alpha2_less_1: a' - 1, above 0 and below 1/log 5.
    """

    test_share: float
    flip_probability: float
    tangent: float
    alpha_less_1: float
    alpha2_less_1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accumulated:
    """What a run gives.

    Attributes:
        raw: the formula, bits; negative where there is no key.
        pairs: of the run.
        choice: the best found.
        label: what the figure is.
    """

    raw: float
    pairs: int
    choice: Choice
    label: str = ACCUMULATION

    @property
    def secret_bits(self) -> int:
        """Whole bits, at least 0."""
        return max(0, math.floor(self.raw))

    @property
    def rate(self) -> float:
        """Bits per pair, at least 0."""
        return self.secret_bits / self.pairs


def tangent_line(t: float, flip_probability: float) -> tuple[float, float]:
    """F and its derivative by omega at t, 3/4 < t < (2 + sqrt2)/4: a lower bound of F everywhere, as F is convex."""
    s = 8.0 * t - 4.0
    u = s * s / 4.0 - 1.0
    d2 = (1.0 - 2.0 * flip_probability) ** 2
    mixed = u + d2 * (1.0 - u)
    value = 1.0 + phi(u) - phi(mixed)
    slope = phi_slope(u) - (phi_slope(mixed) * (1.0 - d2) if d2 < 1.0 else 0.0)
    return value, slope * 4.0 * s


def _theta(eps: float) -> float:
    return math.log2(2.0 / eps**2)


def key_length(run: Run, choice: Choice) -> float:
    """l of the formula above for given choices, bits; may be negative."""
    n, gamma, a, a2 = run.pairs, choice.test_share, choice.alpha_less_1, choice.alpha2_less_1
    value, slope = tangent_line(choice.tangent, choice.flip_probability)
    lost = gamma * (1.0 - run.omega)
    threshold = 1.0 - (lost + run.margin_sigmas * math.sqrt(lost * (1.0 - lost) / n)) / gamma
    spread = (2.0 + math.sqrt(2.0)) / (4.0 * gamma) * slope**2
    v = math.log(2.0) / 2.0 * (math.log2(33.0) + math.sqrt(2.0 + spread)) ** 2
    x = 2.0 + slope * (1.0 - _OMEGA_MIN)
    k = 2.0 ** (a * x) * math.log(2.0**x + math.e**2) ** 3 / (6.0 * (1.0 - a) ** 3 * math.log(2.0))
    eps_s, ea = run.eps / 4.0, math.log2(1.0 / run.eps)
    e1, e2 = (share * eps_s for share in _EPS_SHARES)
    leak = (1.0 - gamma) * error_entropy(run.qber, choice.flip_probability) + gamma * error_entropy(1.0 - run.omega)
    per_pair = value + slope * (threshold - choice.tangent) - a * v - a * a * k - gamma - a2 * _LOG5**2 - leak
    once = (_theta(e1) + (1.0 + a) * ea) / a + (_theta(e2) + (1.0 + a2) * ea) / a2
    once += 3.0 * _theta(eps_s - e1 - 2.0 * e2) + 5.0 * math.log2(2.0 / run.eps) + _CONSTANT_BITS
    return n * per_pair - once - run.leak_slack * math.sqrt(n)


def accumulate(run: Run) -> Accumulated:
    """The longest key that the choices allow, by Nelder and Mead's search from several starts.

    Any choice gives a valid length, so an optimum that the search misses costs length and nothing else.
    """
    return _search(run, tuple((gamma, flips) for gamma in (0.03, 0.3) for flips in (0.01, 0.3)))


def least_pairs(run: Run) -> int | None:
    """How many pairs give a first bit at the run's S, error rate and eps, to 1 % above; None if 10^15 do not.

    Found by bisection, as l/n grows with n: only what is paid once and per root of n weighs less.
    """

    def gives(pairs: int) -> bool:
        return _search(replace(run, pairs=pairs), ((0.1, 0.01), (0.1, 0.4))).secret_bits > 0

    if not gives(MOST_PAIRS):
        return None
    low, high = 1.0, float(MOST_PAIRS)
    while high > 1.01 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if gives(round(middle)) else (middle, high)
    return math.ceil(high)


def _search(run: Run, starts: Sequence[tuple[float, float]]) -> Accumulated:
    """The best choice found from shares of tests and flip probabilities to start at."""
    from scipy.optimize import minimize

    eps_s, ea = run.eps / 4.0, math.log2(1.0 / run.eps)
    a2 = min(0.9 / _LOG5, math.sqrt((_theta(_EPS_SHARES[1] * eps_s) + ea) / run.pairs) / _LOG5)

    def chosen(z: Sequence[float]) -> Choice:
        return Choice(
            test_share=_logistic(z[0]),
            flip_probability=_logistic(z[1]) / 2.0,
            tangent=LOCAL_WIN + (TSIRELSON_WIN - LOCAL_WIN) * _logistic(z[2]),
            alpha_less_1=math.exp(min(-0.1, z[3])),
            alpha2_less_1=a2,
        )

    def shortness(z: Sequence[float]) -> float:
        return -key_length(run, chosen(z)) / run.pairs

    around = min(0.998, max(0.01, (run.omega - LOCAL_WIN) / (TSIRELSON_WIN - LOCAL_WIN)))
    options = {"maxiter": 4000, "maxfev": 4000, "xatol": 1e-7, "fatol": 1e-13, "adaptive": True}
    found = []
    for gamma, flips in starts:
        start = [math.log(p / (1.0 - p)) for p in (gamma, flips, around)] + [-0.5 * math.log(run.pairs) - 0.2]
        for _ in range(2):  # a second search from where the first one stopped
            start = [float(z) for z in minimize(shortness, start, method="Nelder-Mead", options=options).x]
        found.append(chosen(start))
    best = max(found, key=lambda choice: key_length(run, choice))
    return Accumulated(raw=key_length(run, best), pairs=run.pairs, choice=best)


def _logistic(z: float) -> float:
    """Onto 0 .. 1, both left out by far more than rounding."""
    return 1e-9 + (1.0 - 2e-9) / (1.0 + math.exp(-min(40.0, max(-40.0, z))))
