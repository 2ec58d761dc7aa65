"""How small a block may be: the least size that gives one key bit, of a planned link or of a block that gave none.

Every answer is "about": lengths are jagged by whole numbers of errors, so a slightly larger block may give none again.
The size named gives a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from qkd.finitekey import LARGEST_BLOCK, BasisCounts, Statement, both_bases_key_length
from qkd.keybounds import Bound
from qkd.keyplan import ABORTS, Expectation, plan_biased, plan_sample

_SMALLEST = 64


def least_sifted(ask: Expectation, bound: Bound = Bound.EXACT) -> int | None:
    """Sifted bits that give a key with a revealed test (`plan_sample`); None if none up to 1e10 do."""
    if ask.hopeless:
        return None
    ask = _likeliest(ask)
    return _least(lambda size: plan_sample(ask, size, bound).raw > 0, _SMALLEST)


def least_coincidences(ask: Expectation, p_x: float | None = None) -> int | None:
    """Coincidences that give a key of both bases (`plan_biased`); None if none up to 1e10 do."""
    if ask.hopeless:
        return None
    ask = _likeliest(ask)
    smallest = _SMALLEST if p_x is None else max(_SMALLEST, int(1.0 / p_x**2) + 2)
    return _least(lambda size: plan_biased(ask, size, p_x).raw > 0, smallest)


def least_alike(z: BasisCounts, x: BasisCounts, eps_sec: float) -> int | None:
    """Sifted bits of a block like this one but larger that gives a key; None if none up to 1e10 does.

    Alike: the same error rates, leak per bit, shares of the bases and of what was left out. The verification tags count
    as often as in this block.

    Args:
        z, x: the counts of a block that gave no key.
        eps_sec: for both bases together.
    """
    sifted = z.test_bits + x.test_bits

    def gives_key(size: int) -> bool:
        keys = both_bases_key_length(_scaled(z, size, sifted), _scaled(x, size, sifted), eps_sec)
        return any(key.raw > 0 for key in keys)

    return _least(gives_key, sifted) if sifted else None


def _likeliest(ask: Expectation) -> Expectation:
    """Where the abort probability is free, the largest one has the lowest thresholds, so the least block."""
    if ask.statement is Statement.FIXED_THRESHOLD and ask.abort_probability is None:
        return replace(ask, abort_probability=ABORTS[0])
    return ask


def _scaled(counts: BasisCounts, size: int, of: int) -> BasisCounts:
    """The counts of a block of `size` instead of `of` sifted bits; what shortens the key is rounded up."""
    test_bits = counts.test_bits * size // of
    return BasisCounts(
        key_bits=counts.key_bits * size // of,
        test_bits=test_bits,
        test_errors=min(test_bits, -(-counts.test_errors * size // of)),
        leak_ec_bits=-(-counts.leak_ec_bits * size // of),
        verify_bits=counts.verify_bits,
        left_out_bits=-(-counts.left_out_bits * size // of),
    )


def _least(gives_key: Callable[[int], bool], low: int) -> int | None:
    """The least size from `low` on, by doubling and halving, as if every larger one gave a key, too."""
    if gives_key(low):
        return low
    high = 2 * low
    while high <= LARGEST_BLOCK and not gives_key(high):
        low, high = high, 2 * high
    if high > LARGEST_BLOCK:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if gives_key(middle) else (middle, high)
    return high
