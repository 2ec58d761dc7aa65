"""The two health tests of SP 800-90B, sample by sample by 4.4.1 and 4.4.2, and the second's cutoff exactly."""

from __future__ import annotations

from collections.abc import Sequence

import mpmath as mp


def repetition_fails_at(samples: Sequence[int], cutoff: int) -> int | None:
    """Index of the sample at which the repetition count test fails, or None."""
    count, last = 1, samples[0]
    if count >= cutoff:
        return 0
    for index, sample in enumerate(samples[1:], start=1):
        if sample == last:
            count += 1
            if count >= cutoff:
                return index
        else:
            last, count = sample, 1
    return None


def proportion_fails_at(samples: Sequence[int], window: int, cutoff: int) -> int | None:
    """Index of the sample at which the adaptive proportion test fails, or None."""
    for start in range(0, len(samples), window):
        first, count = samples[start], 0
        for index in range(start, min(start + window, len(samples))):
            if samples[index] == first:
                count += 1
                if count >= cutoff:
                    return index
    return None


def proportion_cutoff(window: int, min_entropy: float, alpha_exponent: int) -> int:
    """1 + critbinom(window, 2^-min_entropy, 1 - 2^-alpha_exponent), by the definition of critbinom in 60 digits."""
    with mp.workdps(60):
        p, wanted = mp.mpf(2) ** -mp.mpf(min_entropy), 1 - mp.mpf(2) ** -alpha_exponent
        below = mp.mpf(0)
        for count in range(window + 1):
            below += mp.binomial(window, count) * p**count * (1 - p) ** (window - count)
            if below >= wanted:
                return 1 + count
    return 1 + window
