"""How many secret bits a finite block gives: the one place where a key length is decided.

A key of l bits cut from n corrected bits of one basis is (2 eps_sm + eps_pa)-secret against coherent attacks when

    l <= n - log2 sum_{i <= e} C(n, i) - leak_ec - verify + 2 log2(2 eps_pa)

and e bounds the phase errors of the n bits except with probability eps_sm^2, whatever Eve did. The structure is that
of Tomamichel and Leverrier (Quantum 1:14, 2017, Theorem 3); n h(e/n) there is the sum's size rounded up. In place of
their Serfling tail stands the exact hypergeometric one (idea: Mannalath, Zapatero, Curty, arXiv 2410.04095).

Which theorem is claimed (`Statement`). Here the length follows the observed counts, so a fixed-length theorem does not
cover it; the variable-length one does (Tupkary, Nahar, Sinha, Luetkenhaus, arXiv 2408.17349, for entropic uncertainty,
after Tupkary, Tan, Luetkenhaus, arXiv 2311.01600). It asks for a B with Pr[e_key > B(x)] <= eps_sm^2 for every error
pattern. `phase_error_bound` is that: let W errors stand in n + k positions, x of them among the k tested. B never falls
as x grows, while W - x falls, so W - x > B(x) holds exactly for x <= x*, the largest such x; then W >= x* + B(x*) + 1,
and as the tail falls with W its probability is at most the one that defines B(x*). The statement about thresholds
fixed beforehand is `qkd.fixedkey`. Assumed by both: basis choice independent of Eve, detection probability independent
of the basis, double clicks given random bits.

The split of eps_sec. One eps_sm and one eps_pa must hold for every x: to take, block by block, the split that gives the
longest key would make them functions of the errors, which the theorem does not allow. The splits are therefore
functions of the strings' lengths (`pa_share`, `split_over_bases`), fixed before an error is seen. They cost a few bits.

Both bases give key: Z bits are tested by the X bits and the other way round. Each statement treats the other basis's
raw bits as public, so the two keys together are (eps_z + eps_x)-secret and each pays for its own disclosures only.
The bases need not be equally long.

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
from numbers import Integral

from qkd.errors import ParameterError
from qkd.kernels import tail

LARGEST_BLOCK = 10**10
EPS_RANGE = (1e-60, 0.1)
# Measured error of ln_tail against 60 digits is below 1e-10, that of a length below 1e-6 bit (tests/test_finitekey).
GUARD_NATS = 1e-9
GUARD_BITS = 1e-5
# eps_pa is one of these shares of eps_sec, in powers of two: exact in floating point, and the length is so flat around
# the optimum (2.9 ln of the share) that a finer grid gains less than a fifth of a bit.
PA_SHARES = tuple(2.0**-j for j in range(1, 13))
# What a caller may hand to the formula: the least part of the least eps_sec, and the least share of that.
_LEAST_EPS = EPS_RANGE[0] / 64.0 * PA_SHARES[-1]


def check_range(name: str, value: float, low: float, high: float, hint: str = "") -> None:
    """Refuse a value outside low .. high (NaN included), naming all three."""
    if not low <= value <= high:
        raise ParameterError(f"{name} = {value} must be in {low:.12g} .. {high:.12g}", hint=hint)


def check_count(name: str, value: int, high: int = LARGEST_BLOCK, low: int = 0) -> None:
    """Refuse what is not a whole number in low .. high, naming all three."""
    if not isinstance(value, Integral):
        raise ParameterError(f"{name} = {value!r} must be a whole number in {low} .. {high}")
    check_range(name, value, low, high)


class Statement(Enum):
    """What is proven of a key's length, and when the length is fixed."""

    VARIABLE_LENGTH = "variable"
    FIXED_THRESHOLD = "fixed"

    @property
    def theorem(self) -> str:
        """Where it is proven, in one line."""
        return {
            Statement.VARIABLE_LENGTH: "variable length: Tupkary, Nahar, Sinha, Luetkenhaus, arXiv 2408.17349",
            Statement.FIXED_THRESHOLD: "fixed threshold: Tomamichel, Leverrier, Quantum 1:14 (2017), Theorem 3",
        }[self]


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

    A leak may exceed the key bits (two directions charged, many dependent parities of a short noisy string): that is
    no contradiction, only no key.

    Raises:
        ParameterError: a count is negative, too large, not a whole number, or more errors than bits.
    """

    key_bits: int
    test_bits: int
    test_errors: int
    leak_ec_bits: int
    verify_bits: int
    left_out_bits: int = 0

    def __post_init__(self) -> None:
        for name in ("key_bits", "test_bits", "leak_ec_bits", "verify_bits", "left_out_bits"):
            check_count(name, getattr(self, name))
        check_count("test_errors", self.test_errors, self.test_bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLength:
    """What one basis gives.

    Attributes:
        raw: the formula's floor; negative when the block is too small or too noisy.
        phase_errors: bound on the phase errors of the key bits and those left out together.
        eps_sm, eps_pa: smoothing and privacy-amplification parameters; eps_sec = 2 eps_sm + eps_pa.
        statement: which theorem covers it.
    """

    raw: int
    phase_errors: int
    eps_sm: float
    eps_pa: float
    statement: Statement = Statement.VARIABLE_LENGTH

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
    check_count("population", population, 2 * LARGEST_BLOCK)
    check_count("marked", marked, population)
    check_count("draws", draws, population)
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
    check_count("n", n)
    check_count("k", k)
    check_count("errors", errors, k)
    check_range("eps", eps, _LEAST_EPS, EPS_RANGE[1])
    if n == 0 or k == 0:
        return n
    return int(tail.least_phase_errors(n, k, errors, 2.0 * tail.ln(eps) - GUARD_NATS, n))


def key_length(key_bits: int, phase_errors: int, disclosed_bits: int, eps_pa: float) -> int:
    """The formula of the module docstring, rounded down; may be negative.

    From half the key bits on, phase errors leave nothing: the sum is then taken as its upper bound 2^n.

    Raises:
        ParameterError: more phase errors than key bits, a count or eps_pa out of range.
    """
    check_count("key_bits", key_bits)
    check_count("phase_errors", phase_errors, key_bits)
    check_count("disclosed_bits", disclosed_bits, 4 * LARGEST_BLOCK)
    check_range("eps_pa", eps_pa, _LEAST_EPS, EPS_RANGE[1])
    support = float(key_bits)
    if 2 * phase_errors < key_bits:
        support = tail.ln_support(key_bits, phase_errors) / tail.LN_2
    return math.floor(key_bits - support - disclosed_bits + 2.0 * tail.ln(2.0 * eps_pa) / tail.LN_2 - GUARD_BITS)


def pa_share(string_bits: int) -> float:
    """eps_pa over eps_sec for a string of so many bits: 2^-j, j = (bits of the number in binary - 4) // 2 in 1 .. 12.

    The best share falls about as one over the square root of the length: what eps_sm moves grows as that root, what
    eps_pa moves is 2 log2(eps_pa). The rule stays within 8 bits of the best of `PA_SHARES` from 500 bits to 1e9 and
    from 1 % to 7 % of errors (tests/test_finitekey).

    Args:
        string_bits: key bits and those left out; a number that no error has a part in.
    """
    check_count("string_bits", string_bits)
    return PA_SHARES[min(max((int(string_bits).bit_length() - 4) // 2, 1), len(PA_SHARES)) - 1]


def basis_key_length(counts: BasisCounts, eps_sec: float) -> KeyLength:
    """The eps_sec-secret key of one basis by the variable-length theorem: the counts are those observed.

    Raises:
        ParameterError: eps_sec out of range.
    """
    check_range("eps_sec", eps_sec, *EPS_RANGE)
    return _key_length(counts, eps_sec)


def split_over_bases(z_bits: int, x_bits: int, eps_sec: float) -> tuple[float, float]:
    """The part of eps_sec that the Z string gets, and that of X: as their lengths, but neither below a 64th.

    What a string gains from a larger eps is n times the width of the bound on the rate, and that width is the same for
    both, as it goes with 1/n_z + 1/n_x: so the best parts are as n_z to n_x. Equal strings get half each.

    Args:
        z_bits, x_bits: of the whole strings, those left out included; numbers that no error has a part in.
    """
    check_count("z_bits", z_bits)
    check_count("x_bits", x_bits)
    share = min(max(z_bits / max(z_bits + x_bits, 1), 1.0 / 64.0), 63.0 / 64.0)
    return eps_sec * share, eps_sec * (1.0 - share)


def both_bases_key_length(z: BasisCounts, x: BasisCounts, eps_sec: float) -> tuple[KeyLength, KeyLength]:
    """Keys of the two bases that together are eps_sec-secret (`split_over_bases`); variable length.

    Args:
        z: the Z key with its X test; x: the X key with its Z test.

    Raises:
        ParameterError: eps_sec out of range.
    """
    check_range("eps_sec", eps_sec, *EPS_RANGE)
    eps_z, eps_x = split_over_bases(z.key_bits + z.left_out_bits, x.key_bits + x.left_out_bits, eps_sec)
    return _key_length(z, eps_z), _key_length(x, eps_x)


def _key_length(counts: BasisCounts, eps_sec: float) -> KeyLength:
    string_bits = counts.key_bits + counts.left_out_bits
    share = pa_share(string_bits)
    eps_sm, eps_pa = eps_sec * (1.0 - share) / 2.0, eps_sec * share
    e = phase_error_bound(string_bits, counts.test_bits, counts.test_errors, eps_sm)
    disclosed = counts.leak_ec_bits + counts.verify_bits
    raw = key_length(counts.key_bits, min(e, counts.key_bits), disclosed, eps_pa)
    return KeyLength(raw=raw, phase_errors=e, eps_sm=eps_sm, eps_pa=eps_pa)
