"""Checks that arrays of detection times pass once, where they enter a stage; kernels rely on them."""

from __future__ import annotations

import numpy as np

from distribution.errors import ParameterError
from distribution.tags import TimesPs


def ascending_times(t_ps: TimesPs, *, name: str) -> TimesPs:
    """Detection times as kernels want them: contiguous.

    Args:
        t_ps: shape (n,), int64, ps, ascending (equal times allowed).
        name: what to call the array in an error.

    Returns:
        The same times, C-contiguous (the same array where it was already).

    Raises:
        ParameterError: not a vector, not int64, or a time runs backwards.
    """
    if t_ps.ndim != 1 or t_ps.dtype != np.int64:
        raise ParameterError(f"{name} must be a vector of int64 ps, got {t_ps.dtype} of shape {t_ps.shape}")
    back = t_ps[1:] < t_ps[:-1]
    if back.any():
        i = int(back.argmax()) + 1
        raise ParameterError(
            f"{name} must be ascending: event {i} is {t_ps[i - 1] - t_ps[i]} ps before the one before it"
        )
    return np.ascontiguousarray(t_ps)


def check_one_clock(a_ps: TimesPs, b_ps: TimesPs) -> None:
    """Raise ParameterError unless every difference of two times, with a window on top, fits int64."""
    if a_ps.size and b_ps.size:
        apart = max(int(a_ps[-1]) - int(b_ps[0]), int(b_ps[-1]) - int(a_ps[0]))
        if apart >= 1 << 62:
            raise ParameterError(
                f"the two streams reach {apart} ps apart, more than 53 days: they are not on one clock"
            )
