"""How much error correction discloses, against the least that it must.

f = leak_ec_bits / (n h(q)) with the binary entropy h: n h(q) is what one string lacks of the other when a fraction q
of its bits is wrong (Slepian-Wolf), so f >= 1 in the mean for long strings.
"""

from __future__ import annotations

import math

from qkd.errors import ParameterError


def binary_entropy(q: float) -> float:
    """h(q) = -q log2 q - (1-q) log2 (1-q), in bits; h(0) = h(1) = 0.

    Raises:
        ParameterError: q is not a probability.
    """
    if not 0 <= q <= 1:
        raise ParameterError(f"binary entropy of {q}: a probability is in 0 .. 1")
    if q in (0, 1):
        return 0.0
    return -q * math.log2(q) - (1 - q) * math.log1p(-q) / math.log(2)


def shannon_limit_bits(n: int, q: float) -> float:
    """n h(q): least bits that correct n bits of which a fraction q is wrong, in the mean over long strings."""
    return n * binary_entropy(q)


def efficiency(leak_bits: float, n: int, q: float) -> float:
    """f = leak_bits / (n h(q)): 1 is ideal.

    Args:
        leak_bits: parities disclosed for `n` bits, verification tags not included.
        q: error rate, a fraction; say whether it is the nominal or the realised one.

    Raises:
        ParameterError: n h(q) is zero, so the ratio says nothing.
    """
    limit = shannon_limit_bits(n, q)
    if limit == 0:
        raise ParameterError(f"f of {n} bits at error rate {q}: without errors there is nothing to correct")
    return leak_bits / limit
