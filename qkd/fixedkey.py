"""The other statement: thresholds fixed before the block, one key length, abort when a threshold is passed.

A session's length follows its counts (`qkd.finitekey`). Here all of n, k, the tolerated test errors, the leak and the
length are fixed before the first photon, as the protocol of Tomamichel and Leverrier has it (Quantum 1:14, 2017), and a
block either gives exactly that length or nothing. What is proven is Theorem 3 there with the exact tail: for whatever
errors Eve causes, Pr[the test shows at most x_tol errors, yet more than e stand in the key] <= eps_sm^2. Of W errors in
all that event needs at least W - e - 1 in the test and at most x_tol, so it is likeliest at W = x_tol + e + 1: below,
the first condition tightens, above, the second. There it is the very tail that `phase_error_bound` takes, with x_tol in
place of the count; the split of eps_sec may be any, since nothing is decided after the fact.

The secrecy is of "accepted and not secret": a block that is given up costs nothing but itself. How often an honest link
gives up is no matter of security but of planning (`qkd.keyplan`).
"""

from __future__ import annotations

from dataclasses import dataclass

from qkd.errors import ParameterError, ProtocolAborted, ReconciliationFailed
from qkd.finitekey import (
    EPS_RANGE,
    BasisCounts,
    KeyLength,
    Statement,
    check_count,
    check_range,
    key_length,
    pa_share,
    phase_error_bound,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What the two parties agree on before a block of one basis begins.

    Attributes:
        key_bits, test_bits: n and k, a random split; a block with more bits drops the surplus at random.
        tolerated_errors: x_tol, most errors in the test that are accepted.
        leak_limit_bits: most parities that error correction may disclose.
        verify_bits: length of the verification tag.

    Raises:
        ParameterError: a count is negative, too large, not a whole number, or more errors tolerated than tested.
    """

    key_bits: int
    test_bits: int
    tolerated_errors: int
    leak_limit_bits: int
    verify_bits: int

    def __post_init__(self) -> None:
        for name in ("key_bits", "test_bits", "leak_limit_bits", "verify_bits"):
            check_count(name, getattr(self, name))
        check_count("tolerated_errors", self.tolerated_errors, self.test_bits)


def fixed_key_length(agreed: Thresholds, eps_sec: float, *, share: float | None = None) -> KeyLength:
    """The length that every accepted block gives, known before the block.

    Args:
        agreed: the thresholds.
        eps_sec: secrecy, 2 eps_sm + eps_pa.
        share: eps_pa over eps_sec, in (0, 1); by the length of the string if None.

    Raises:
        ParameterError: eps_sec or share out of range.
    """
    check_range("eps_sec", eps_sec, *EPS_RANGE)
    share = pa_share(agreed.key_bits) if share is None else share
    check_range("share", share, 2.0**-12, 1.0 - 2.0**-12)
    eps_sm, eps_pa = eps_sec * (1.0 - share) / 2.0, eps_sec * share
    e = phase_error_bound(agreed.key_bits, agreed.test_bits, agreed.tolerated_errors, eps_sm)
    raw = key_length(agreed.key_bits, e, agreed.leak_limit_bits + agreed.verify_bits, eps_pa)
    return KeyLength(raw=raw, phase_errors=e, eps_sm=eps_sm, eps_pa=eps_pa, statement=Statement.FIXED_THRESHOLD)


def accept(agreed: Thresholds, seen: BasisCounts) -> None:
    """Hold a block against its thresholds; to return is to accept.

    Args:
        seen: the block's counts.

    Raises:
        ParameterError: the block is not the one agreed on (other sizes, or bits left out).
        ReconciliationFailed: error correction disclosed more than the limit.
        ProtocolAborted: more errors than tolerated.
    """
    for name in ("key_bits", "test_bits", "verify_bits"):
        if getattr(seen, name) != getattr(agreed, name):
            raise ParameterError(f"{name} = {getattr(seen, name)}, but {getattr(agreed, name)} were fixed beforehand")
    if seen.left_out_bits:
        raise ParameterError(
            f"left_out_bits = {seen.left_out_bits}: a fixed-threshold block keeps all its bits or none",
            hint="give the block up, or use the variable-length statement",
        )
    if seen.test_errors > agreed.tolerated_errors:
        raise ProtocolAborted(
            f"{seen.test_errors} errors among {seen.test_bits} test bits, {agreed.tolerated_errors} are tolerated:"
            " no key from this block"
        )
    if seen.leak_ec_bits > agreed.leak_limit_bits:
        raise ReconciliationFailed(
            f"error correction disclosed {seen.leak_ec_bits} bits, {agreed.leak_limit_bits} are allowed:"
            " no key from this block"
        )
