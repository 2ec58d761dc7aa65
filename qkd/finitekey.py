"""How many secret bits a finite block gives: the one place where a key length is decided.

A key of l bits cut from n corrected bits of one basis is (2 eps_sm + eps_pa)-secret against coherent attacks when

    l <= n - log2 sum_{i <= e} C(n, i) - leak_ec - verify + 2 log2(2 eps_pa)

and e bounds the phase errors of the n bits except with probability eps_sm^2, whatever Eve did. The structure is that
of Tomamichel and Leverrier (Quantum 1:14, 2017, Theorem 3); n h(e/n) there is the sum's size rounded up. In place of
their Serfling tail stands the exact hypergeometric one (idea: Mannalath, Zapatero, Curty, arXiv 2410.04095).

Which theorem is claimed. The length follows the observed error count, so the fixed-length theorem does not cover it;
the variable-length one does (Tupkary, Nahar, Sinha, Luetkenhaus, arXiv 2408.17349). It asks for a B with
Pr[e_key > B(x)] <= eps_sm^2 for every error pattern. `phase_error_bound` is that: let W errors stand in n + k
positions, x of them among the k tested. B never falls as x grows, while W - x falls, so W - x > B(x) holds exactly
for x <= x*, the largest such x; then W >= x* + B(x*) + 1, and as the tail falls with W its probability is at most
the one that defines B(x*). Assumed: basis choice independent of Eve, detection probability independent of the basis,
double clicks given random bits.

Both bases give key: Z bits are tested by the X bits and the other way round. Each statement treats the other basis's
raw bits as public, so the two keys together are (eps_z + eps_x)-secret and each pays for its own disclosures only.

Bits that are measured but not kept. A string of the key's basis may lose bits after its errors were seen: frames that
fail verification, and what the framing leaves over. Which ones may depend on bit errors and so, at worst, on phase
errors. B is therefore taken for the whole string, and all the phase errors it allows are placed among the bits that
are kept. Test bits that nobody looked at count as wrong. (The sample of the estimation needs no such care: it is drawn
at random.)

What two-way error correction costs. Alice's disclosed parities are charged in full. Bob's answers say only where the
strings differ, and the whole error pattern is taken as public: it is what Z (x) Z measures on each pair, which commutes
with the X (x) X that phase errors are, so Eve's knowing it leaves the bound on phase errors where it is and nothing is
charged for it. (That counting one direction needs such an argument: Tupkary, Luetkenhaus, PR Applied 20:064040, 2023.)
This is the leak model error_pattern_public of `qkd.reconciliation.ledger`; under the others the caller charges more.

Both stations compute the same integer on any IEEE 754 machine: see `qkd.kernels.tail`. Roundings lean to the shorter
key, by margins that dwarf the arithmetic's error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from qkd.errors import ParameterError
from qkd.kernels import tail
from qkd.reconciliation.efficiency import binary_entropy

LARGEST_BLOCK = 10**10
EPS_RANGE = (1e-60, 0.1)
# Measured error of ln_tail against 60 digits is below 1e-10, that of a length below 1e-6 bit (tests/test_finitekey).
GUARD_NATS = 1e-9
GUARD_BITS = 1e-5
# eps_pa is this share of eps_sec, in powers of two: exact in floating point, and the length is so flat around the
# optimum (2.9 ln of the share) that a finer grid gains less than a fifth of a bit.
PA_SHARES = tuple(2.0**-j for j in range(1, 13))


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a value outside low .. high (NaN included), naming all three."""
    if not low <= value <= high:
        raise ParameterError(f"{name} = {value} must be in {low:.12g} .. {high:.12g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BasisCounts:
    """What is known of one basis when its key is cut.

    Attributes:
        key_bits: n, corrected and verified bits of this basis.
        test_bits: k, bits of the other basis whose errors are known.
        test_errors: errors found among those.
        leak_ec_bits: parities of the key bits that error correction disclosed; the error pattern is public anyway.
        verify_bits: bits that verification disclosed about them.
        left_out_bits: bits of this basis that were corrected or sifted with the key bits but are not kept, unless they
            were taken out at random.

    Raises:
        ParameterError: a count is negative, too large, or more errors than bits.
    """

    key_bits: int
    test_bits: int
    test_errors: int
    leak_ec_bits: int
    verify_bits: int
    left_out_bits: int = 0

    def __post_init__(self) -> None:
        for name in ("key_bits", "test_bits", "leak_ec_bits", "verify_bits", "left_out_bits"):
            check_range(name, getattr(self, name), 0, LARGEST_BLOCK)
        check_range("test_errors", self.test_errors, 0, self.test_bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLength:
    """What one basis gives.

    Attributes:
        raw: the formula's floor; negative when the block is too small or too noisy.
        phase_errors: bound on the phase errors of the key bits and those left out together.
        eps_sm, eps_pa: smoothing and privacy-amplification parameters; eps_sec = 2 eps_sm + eps_pa.
    """

    raw: int
    phase_errors: int
    eps_sm: float
    eps_pa: float

    @property
    def secret_bits(self) -> int:
        """How many bits may be kept, at least 0."""
        return max(0, self.raw)

    @property
    def eps_sec(self) -> float:
        """Distance of the key from ideal secrecy."""
        return 2.0 * self.eps_sm + self.eps_pa


def ln_tail(x: int, population: int, marked: int, draws: int) -> float:
    """ln Pr[X <= x], X = marked ones among `draws` taken without return from `population`, `marked` of them marked.

    Exact to about 1e-11, below and above the mode; -inf where impossible, 0 where certain.

    Raises:
        ParameterError: a count is outside 0 .. population.
    """
    check_range("population", population, 0, 2 * LARGEST_BLOCK)
    check_range("marked", marked, 0, population)
    check_range("draws", draws, 0, population)
    return float(tail.ln_tail(x, population, marked, draws))


def phase_error_bound(n: int, k: int, errors: int, eps: float) -> int:
    """Least e such that `errors` among k tested leave more than e among the other n with probability <= eps^2.

    Args:
        n, k: key bits and test bits, a random split of n + k positions.
        errors: errors found among the k.
        eps: smoothing parameter.

    Returns:
        e in 0 .. n: least e with Pr[X <= errors; population n + k, marked e + 1 + errors, draws k] <= eps^2.

    Raises:
        ParameterError: counts or eps out of range.
    """
    check_range("n", n, 0, LARGEST_BLOCK)
    check_range("k", k, 0, LARGEST_BLOCK)
    check_range("errors", errors, 0, k)
    check_range("eps", eps, 0.1 * EPS_RANGE[0], EPS_RANGE[1])
    if n == 0 or k == 0:
        return n
    return int(tail.least_phase_errors(n, k, errors, 2.0 * tail.ln(eps) - GUARD_NATS, n))


def key_length(key_bits: int, phase_errors: int, disclosed_bits: int, eps_pa: float) -> int:
    """The formula of the module docstring, rounded down; may be negative.

    From half the key bits on, phase errors leave nothing: the sum is then taken as its upper bound 2^n.
    """
    support = float(key_bits)
    if 2 * phase_errors < key_bits:
        support = tail.ln_support(key_bits, phase_errors) / tail.LN_2
    return math.floor(key_bits - support - disclosed_bits + 2.0 * tail.ln(2.0 * eps_pa) / tail.LN_2 - GUARD_BITS)


def basis_key_length(counts: BasisCounts, eps_sec: float) -> KeyLength:
    """The longest eps_sec-secret key of one basis over a fixed grid of splits eps_sec = 2 eps_sm + eps_pa.

    Raises:
        ParameterError: eps_sec out of range.
    """
    check_range("eps_sec", eps_sec, *EPS_RANGE)
    disclosed = counts.leak_ec_bits + counts.verify_bits
    lengths = []
    for share in PA_SHARES:
        eps_sm, eps_pa = eps_sec * (1.0 - share) / 2.0, eps_sec * share
        e = phase_error_bound(counts.key_bits + counts.left_out_bits, counts.test_bits, counts.test_errors, eps_sm)
        raw = key_length(counts.key_bits, e, disclosed, eps_pa)
        lengths.append(KeyLength(raw=raw, phase_errors=e, eps_sm=eps_sm, eps_pa=eps_pa))
    return max(lengths, key=lambda length: length.raw)


def both_bases_key_length(z: BasisCounts, x: BasisCounts, eps_sec: float) -> tuple[KeyLength, KeyLength]:
    """Keys of the two bases, each (eps_sec / 2)-secret, so that both together are eps_sec-secret.

    Args:
        z: the Z key with its X test; x: the X key with its Z test.
    """
    return basis_key_length(z, eps_sec / 2.0), basis_key_length(x, eps_sec / 2.0)


class Bound(Enum):
    """How the phase errors are bounded; only EXACT makes keys, the others are there to compare with the literature."""

    EXACT = "exact"
    SERFLING = "serfling"
    LIM2021 = "lim2021"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a block of a given size would give if it came out as expected.

    Attributes:
        raw: key length, may be negative.
        key_bits, test_bits: the best split of the sifted bits.
        phase_error_bound: a fraction of the key bits.
        leak_ec_bits, verify_bits: disclosures counted.
        eps_sec, eps_cor: their sum is the eps asked for.
    """

    raw: int
    key_bits: int
    test_bits: int
    phase_error_bound: float
    leak_ec_bits: int
    verify_bits: int
    eps_sec: float
    eps_cor: float

    @property
    def secret_bits(self) -> int:
        """How many bits may be kept, at least 0."""
        return max(0, self.raw)


def serfling_rate(n: int, k: int, qber: float, eps: float) -> float:
    """Phase-error rate bound of Tomamichel and Leverrier 2017 (Serfling): eps^2 = exp(-2 n k^2 nu^2 / ((n+k)(k+1)))."""
    return qber + math.sqrt((n + k) * (k + 1.0) / (n * k * float(k)) * -math.log(eps))


def lim2021_rate(n: int, k: int, qber: float, eps: float) -> float:
    """Phase-error rate bound of Lim, Xu, Pan, Ekert (PRL 126:100501, 2021): qber + nu with, for 0 < xi < nu,

    eps^2 = exp(-2 m k xi^2 / (n + 1)) + exp(-2 G (n^2 (nu - xi)^2 - 1)),  G = 1/(w + 1) + 1/(m - w + 1),
    w = m (qber + xi). A share of eps^2 given to the first term fixes xi, then nu: one minimum over the share.
    """
    m = n + k

    def nu(share: float) -> float:
        xi = math.sqrt((n + 1.0) / (2.0 * m * k) * -math.log(share * eps * eps))
        w = m * (qber + xi)
        if w >= m:
            return 1.0
        g = 1.0 / (w + 1.0) + 1.0 / (m - w + 1.0)
        return xi + math.sqrt(1.0 - math.log((1.0 - share) * eps * eps) / (2.0 * g)) / n

    return qber + min(nu(i / 64.0) for i in range(1, 64))


def plan(qber: float, sifted: int, eps: float, *, efficiency: float = 1.19, bound: Bound = Bound.EXACT) -> Plan:
    """The longest key of `sifted` bits over the share revealed as a test and over the split of eps.

    The test is taken to show floor(test_bits * qber) errors, error correction to leak efficiency * h(qber) per key
    bit; verification gets eps / 100 or less. Deterministic, and close to the optimum: the length is jagged by the
    floor, so neighbouring splits differ by a few bits.

    Args:
        qber: expected error rate in 0 .. 0.5.
        sifted: sifted bits to be split in key and test bits.
        eps: eps_sec + eps_cor.
        efficiency: f, at least 1.
        bound: which bound on the phase errors.

    Raises:
        ParameterError: an argument is out of range.
    """
    _check_plan(qber, sifted, eps, efficiency)
    best = _plan_split(qber, sifted - sifted // 2, sifted // 2, eps, efficiency, bound)
    # A coarse geometric grid over the test share, then three finer ones around the best.
    ratio, shares = 1.35, [0.9 / 1.35**j for j in range(31)]
    for _ in range(4):
        for test_bits in sorted({min(sifted - 1, max(1, round(share * sifted))) for share in shares}):
            found = _plan_split(qber, sifted - test_bits, test_bits, eps, efficiency, bound)
            best = max(best, found, key=lambda split: split.raw)
        shares = [best.test_bits / sifted * ratio ** (j / 5.0) for j in range(-4, 5)]
        ratio **= 0.2
    return best


def _check_plan(qber: float, sifted: int, eps: float, efficiency: float) -> None:
    check_range("qber", qber, 0.0, 0.5)
    check_range("sifted", sifted, 2, LARGEST_BLOCK)
    check_range("eps", eps, *EPS_RANGE)
    check_range("efficiency", efficiency, 1.0, 10.0)


def _plan_split(qber: float, n: int, k: int, eps: float, efficiency: float, bound: Bound) -> Plan:
    verify_bits = math.ceil(-math.log2(eps / 100.0))
    eps_sec = eps - 2.0**-verify_bits
    leak = math.ceil(efficiency * binary_entropy(qber) * n)
    splits = []
    for share in PA_SHARES:
        eps_sm, eps_pa = eps_sec * (1.0 - share) / 2.0, eps_sec * share
        if bound is Bound.EXACT:
            e = phase_error_bound(n, k, math.floor(k * qber), eps_sm)
            splits.append((key_length(n, e, leak + verify_bits, eps_pa), e / n))
            continue
        rate = (serfling_rate if bound is Bound.SERFLING else lim2021_rate)(n, k, qber, eps_sm)
        kept = n * (1.0 - binary_entropy(min(rate, 0.5)))
        splits.append((math.floor(kept - leak - verify_bits + 2.0 * math.log2(2.0 * eps_pa)), rate))
    raw, rate = max(splits, key=lambda split: split[0])
    return Plan(
        raw=raw,
        key_bits=n,
        test_bits=k,
        phase_error_bound=min(rate, 1.0),
        leak_ec_bits=leak,
        verify_bits=verify_bits,
        eps_sec=eps_sec,
        eps_cor=2.0**-verify_bits,
    )


def plan_both_bases(qber: float, sifted: int, eps: float, *, efficiency: float = 1.19) -> int:
    """Secret bits when half the sifted bits are of each basis and all of them are corrected: what a session does.

    The errors of each basis, known from its correction, bound the phase errors of the other; nothing is sacrificed.
    Arguments and errors as in `plan`.
    """
    _check_plan(qber, sifted, eps, efficiency)
    verify_bits = math.ceil(-math.log2(eps / 200.0))
    half = sifted // 2
    counts = BasisCounts(
        key_bits=half,
        test_bits=half,
        test_errors=math.floor(half * qber),
        leak_ec_bits=math.ceil(efficiency * binary_entropy(qber) * half),
        verify_bits=verify_bits,
    )
    keys = both_bases_key_length(counts, counts, eps - 2.0 * 2.0**-verify_bits)
    return sum(key.secret_bits for key in keys)


def least_sifted(qber: float, eps: float, *, efficiency: float = 1.19, bound: Bound = Bound.EXACT) -> int | None:
    """About the smallest block that gives a key bit (the length is jagged), or None if none up to 1e10 does.

    Arguments and errors as in `plan`.
    """

    def gives_key(sifted: int) -> bool:
        return plan(qber, sifted, eps, efficiency=efficiency, bound=bound).raw > 0

    high = 64
    if gives_key(high):
        return high
    if 1.0 - (1.0 + efficiency) * binary_entropy(qber) <= 0.0:
        return None
    while not gives_key(high):
        high *= 2
        if high > LARGEST_BLOCK:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if gives_key(middle) else (middle, high)
    return high
