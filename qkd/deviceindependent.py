"""How much key per pair the CHSH value alone would give: collective attacks, infinitely many pairs.

A calculator, not a key length: nothing here cuts a key. The rates say what devices that nobody has opened would give
if every pair that was made were counted. S from coincidences of a lossy link is not such an S (`qkd.loopholes`), so
next to recorded data these rates are figures of merit and no claim.

One-way, from Alice to Bob, with h the binary entropy, Q the share of unequal key bits and s = sqrt(S^2/4 - 1):

    r = 1 - h(Q) - h((1 + s)/2)     Acin et al., PRL 98, 230501 (2007); Pironio et al., New J. Phys. 11, 045021 (2009)

If Alice flips each key bit with probability q before error correction, Eve loses more than Bob (Ho et al., PRL 124,
230502 (2020)). With d = 1 - 2q and phi(u) = 1 - h((1 + sqrt(u))/2) theirs is

    H(A|E) = 1 + phi(s^2) - phi(s^2 + d^2 (1 - s^2)),   h(errors) = 1 - phi(d^2 (1 - 2Q)^2),

a form without the difference of almost equal entropies that q near 1/2 makes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from qkd.bellgame import LOCAL_S, TSIRELSON_S
from qkd.errors import ParameterError
from qkd.finitekey import check_range

COLLECTIVE = "collective attacks, asymptotic"
LARGEST_S = 4.0
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
# d is found to this: the rate is flat at its best, so it is right to the square.
_RESOLUTION = 1e-7


def phi(u: float) -> float:
    """1 - h((1 + sqrt(u))/2): bits by which a coin of bias sqrt(u) falls short of a fair one."""
    v = math.sqrt(min(1.0, max(0.0, u)))
    if v < 1e-3:
        return v * v * (1.0 + v * v / 6.0) / (2.0 * math.log(2.0))
    unlikely = (1.0 - v) * math.log1p(-v) if v < 1.0 else 0.0
    return ((1.0 + v) * math.log1p(v) + unlikely) / (2.0 * math.log(2.0))


def phi_slope(u: float) -> float:
    """Derivative of `phi`; infinite at 1."""
    v = math.sqrt(max(0.0, u))
    if v >= 1.0:
        return math.inf
    return (math.atanh(v) / v if v > 1e-6 else 1.0) / (2.0 * math.log(2.0))


def entropy_to_eve(s: float, flip_probability: float = 0.0) -> float:
    """H(A|E) of a key bit, at the least, for a CHSH value up to 2 sqrt(2); without a violation what the flips give."""
    u = s * s / 4.0 - 1.0 if s > LOCAL_S else 0.0
    d = 1.0 - 2.0 * flip_probability
    return 1.0 + phi(u) - phi(u + d * d * (1.0 - u))


def error_entropy(qber: float, flip_probability: float = 0.0) -> float:
    """h of the error rate after the flips, q(1 - Q) + (1 - q)Q."""
    d = (1.0 - 2.0 * flip_probability) * (1.0 - 2.0 * qber)
    return 1.0 - phi(d * d)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveRate:
    """Key per pair of an infinite run against collective attacks.

    Attributes:
        s: CHSH value that was used.
        s_given: the one asked for.
        qber: share of unequal key bits.
        flip_probability: q of the noisy preprocessing; 0 without.
        entropy: H(A|E) of a key bit after the flips, bits.
        leak: of error correction at the Shannon limit, bits.
        label: what the figure is.
    """

    s: float
    s_given: float
    qber: float
    flip_probability: float
    entropy: float
    leak: float
    label: str = COLLECTIVE

    @property
    def raw(self) -> float:
        """entropy - leak; negative where there is no key."""
        return self.entropy - self.leak

    @property
    def rate(self) -> float:
        """Key bits per pair, at least 0."""
        return max(0.0, self.raw)

    @property
    def clamped(self) -> bool:
        """S above 2 sqrt(2), which no quantum devices have on average: the rate is that of 2 sqrt(2)."""
        return self.s_given > self.s


def collective_rate(s: float, qber: float, flip_probability: float = 0.0) -> CollectiveRate:
    """The rate for given flips; 0 is the plain formula of Acin et al. 2007.

    Args:
        s: CHSH value with its sign; counts may put it above 2 sqrt(2), which is then used.
        qber: share of unequal key bits, 0 .. 1/2.
        flip_probability: 0 .. 1/2.

    Raises:
        ParameterError: a figure out of its range.
    """
    check_s(s)
    check_range("qber", qber, 0.0, 0.5)
    check_range("flip_probability", flip_probability, 0.0, 0.5)
    used = min(s, TSIRELSON_S)
    return CollectiveRate(
        s=used,
        s_given=s,
        qber=qber,
        flip_probability=flip_probability,
        entropy=entropy_to_eve(used, flip_probability),
        leak=error_entropy(qber, flip_probability),
    )


def best_rate(s: float, qber: float) -> CollectiveRate:
    """The rate with the flip probability that makes it largest (Ho et al. 2020).

    Raises:
        ParameterError: a figure out of its range.
    """
    grid = [j / 64.0 for j in range(1, 65)]

    def raw(d: float) -> float:
        return collective_rate(s, qber, (1.0 - d) / 2.0).raw

    best = max(range(64), key=lambda j: raw(grid[j]))
    low, high = grid[best - 1] if best else 1e-4, grid[min(63, best + 1)]
    while high - low > _RESOLUTION:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if raw(left) > raw(right) else (left, high)
    d = max((low + high) / 2.0, grid[best], key=raw)
    return collective_rate(s, qber, (1.0 - d) / 2.0)


def check_s(s: float) -> None:
    """Refuse a CHSH value beyond -4 .. 4.

    Raises:
        ParameterError: it is, or is no number.
    """
    if not -LARGEST_S <= s <= LARGEST_S:
        raise ParameterError(f"S = {s} must be in -4 .. 4: each of its four correlators is in -1 .. 1")


def threshold(noisy: bool) -> float:
    """Largest error rate that gives key when S = 2 sqrt(2) (1 - 2Q): 7.149 %, or 8.085 % with noisy preprocessing.

    With flips the rate's sign is that of its second derivative at q = 1/2: key while
    (1 - 2Q)^2 > (1 - s^2) atanh(s)/s.
    """
    low, high = 0.0, 0.14
    while high - low > 1e-12:
        qber = (low + high) / 2.0
        s = TSIRELSON_S * (1.0 - 2.0 * qber)
        u = s * s / 4.0 - 1.0
        if noisy:
            key = (1.0 - 2.0 * qber) ** 2 > 2.0 * math.log(2.0) * (1.0 - u) * phi_slope(u)
        else:
            key = collective_rate(s, qber).raw > 0
        low, high = (qber, high) if key else (low, qber)
    return low
