"""Two yardsticks of error correction: what a one-way code of finite length must disclose, and how sure a rate is.

One message, n bits, errors iid with probability q: whatever Alice's m bits are, for each string of Bob's at most 2^m
error patterns are put right, so the share of frames that fail is at least the probability of all but the 2^m
likeliest patterns. `one_way_limit_bits` is the closed form of that (it agrees with the exact sum to 0.3 % at 10^4 bits
and to 0.1 % at 10^5). It binds one-way codes only. A protocol with answers pays for the errors that a frame has, not
for those it might have had: the term of order sqrt(n) is gone from its mean, and its f may lie below.
"""

from __future__ import annotations

import math

from scipy.special import betaincinv, ndtri

from qkd.errors import ParameterError
from qkd.reconciliation.efficiency import efficiency, shannon_limit_bits


def one_way_limit_bits(n: int, q: float, frame_error_rate: float) -> float:
    """n h(q) + sqrt(n v(q)) PhiInv(1 - eps) - (1/2) log2 n, with v(q) = q (1-q) log2((1-q)/q)^2; up to a constant.

    Tomamichel, Martinez-Mateo, Pacher, Elkouss, "Fundamental finite key limits for one-way information reconciliation
    in quantum key distribution", Quantum Inf. Process. 16:280 (2017), arXiv:1401.5194; for channel codes it is
    Polyanskiy, Poor, Verdu, IEEE Trans. Inf. Theory 56:2307 (2010), theorem 52, going back to Strassen (1962).

    Args:
        n: bits of a frame.
        q: error rate, 0 < q < 1/2.
        frame_error_rate: eps, the share of frames that may fail, 0 < eps < 1.

    Raises:
        ParameterError: an argument out of its range.
    """
    if n < 1 or not 0 < q < 0.5 or not 0 < frame_error_rate < 1:
        raise ParameterError(
            f"one-way limit of {n} bits at error rate {q} and frame error rate {frame_error_rate}: needs n >= 1,"
            " 0 < q < 0.5 and a frame error rate between 0 and 1"
        )
    deviation = math.sqrt(n * q * (1 - q)) * math.log2((1 - q) / q)
    return shannon_limit_bits(n, q) + deviation * float(ndtri(1 - frame_error_rate)) - 0.5 * math.log2(n)


def one_way_limit_f(n: int, q: float, frame_error_rate: float) -> float:
    """The same as a multiple of n h(q): the least f of a one-way code."""
    return efficiency(one_way_limit_bits(n, q, frame_error_rate), n, q)


def rate_upper_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """Upper bound of a probability of which `events` in `trials` were seen (Clopper and Pearson 1934, one-sided).

    Raises:
        ParameterError: no trials, or more events than trials.
    """
    if not 0 <= events <= trials or trials < 1 or not 0 < confidence < 1:
        raise ParameterError(f"bound from {events} events in {trials} trials at confidence {confidence}: impossible")
    return 1.0 if events == trials else float(betaincinv(events + 1, trials - events, confidence))
