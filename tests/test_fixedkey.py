"""The fixed-threshold statement: its theorem summed exactly, and blocks held against thresholds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from qkd import finitekey
from qkd.errors import ParameterError, ProtocolAborted, ReconciliationFailed
from qkd.finitekey import BasisCounts, Statement
from qkd.fixedkey import Thresholds, accept, fixed_key_length
from tests.reference import finitekey as reference

AGREED: dict[str, Any] = {
    "key_bits": 1000,
    "test_bits": 800,
    "tolerated_errors": 20,
    "leak_limit_bits": 200,
    "verify_bits": 64,
}
SEEN: dict[str, Any] = {
    "key_bits": 1000,
    "test_bits": 800,
    "test_errors": 20,
    "leak_ec_bits": 200,
    "verify_bits": 64,
}


def test_the_statement_holds_for_every_error_pattern() -> None:
    """Pr[at most x_tol errors tested and more than e kept] <= eps_sm^2 for every W, summed in whole numbers."""
    n, k, x_tol, eps_sec = 60, 50, 4, 0.08
    agreed = Thresholds(key_bits=n, test_bits=k, tolerated_errors=x_tol, leak_limit_bits=0, verify_bits=0)
    key = fixed_key_length(agreed, eps_sec, share=0.25)
    assert key.eps_sm == pytest.approx(0.03)
    missed = [
        sum(
            math.comb(weight, x) * math.comb(n + k - weight, k - x)
            for x in range(min(weight, x_tol) + 1)
            if weight - x > key.phase_errors
        )
        / math.comb(n + k, k)
        for weight in range(n + k + 1)
    ]
    assert max(missed) <= key.eps_sm**2 < 2 * max(missed)
    assert missed.index(max(missed)) == x_tol + key.phase_errors + 1


def test_length_is_known_before_the_block() -> None:
    key = fixed_key_length(Thresholds(**AGREED), 1e-10, share=0.125)
    assert key.statement is Statement.FIXED_THRESHOLD
    assert key.eps_sec == pytest.approx(1e-10)
    e = reference.bound(1000, 800, 20, 1e-10 * 0.875 / 2)
    assert key.phase_errors == e
    assert key.raw == reference.key_length(1000, e, 264, 1.25e-11)


def test_at_its_thresholds_a_block_gives_as_much_by_either_statement() -> None:
    variable = finitekey.basis_key_length(BasisCounts(**SEEN), 1e-10)
    fixed = fixed_key_length(Thresholds(**AGREED), 1e-10)
    assert (variable.raw, variable.phase_errors) == (fixed.raw, fixed.phase_errors)
    assert variable.statement is not fixed.statement
    assert variable.statement.theorem != fixed.statement.theorem


def test_a_block_at_its_thresholds_is_accepted() -> None:
    accept(Thresholds(**AGREED), BasisCounts(**SEEN))
    accept(Thresholds(**AGREED), BasisCounts(**{**SEEN, "test_errors": 0, "leak_ec_bits": 0}))


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"test_errors": 21}, ProtocolAborted, "21 errors among 800 test bits, 20 are tolerated"),
        ({"leak_ec_bits": 201}, ReconciliationFailed, "disclosed 201 bits, 200 are allowed"),
        ({"key_bits": 1001}, ParameterError, "key_bits = 1001, but 1000 were fixed"),
        ({"test_bits": 799}, ParameterError, "test_bits = 799, but 800 were fixed"),
        ({"verify_bits": 32}, ParameterError, "verify_bits = 32, but 64 were fixed"),
        ({"left_out_bits": 1}, ParameterError, "left_out_bits = 1"),
    ],
)
def test_other_blocks_are_not(change: dict[str, int], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        accept(Thresholds(**AGREED), BasisCounts(**{**SEEN, **change}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tolerated_errors": 801}, "tolerated_errors = 801"),
        ({"tolerated_errors": -1}, "tolerated_errors = -1"),
        ({"key_bits": -1}, "key_bits = -1"),
        ({"leak_limit_bits": -1}, "leak_limit_bits = -1"),
        ({"test_bits": math.nan}, "test_bits = nan"),
    ],
)
def test_impossible_thresholds_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        Thresholds(**{**AGREED, **change})


def test_impossible_epsilons_are_refused() -> None:
    for eps in (0.0, math.nan, 0.2):
        with pytest.raises(ParameterError, match="eps_sec"):
            fixed_key_length(Thresholds(**AGREED), eps)
    for share in (0.0, 1.0, math.nan, -0.5):
        with pytest.raises(ParameterError, match="share"):
            fixed_key_length(Thresholds(**AGREED), 1e-10, share=share)
