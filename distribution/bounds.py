"""One sentence for every bound: which parameter, its value, and what it may be."""

from __future__ import annotations

import math

from distribution.errors import ParameterError


def require(name: str, value: float, low: float, high: float) -> None:
    """Check that a number is finite and in low .. high (both included).

    Raises:
        ParameterError: it is not; the message carries name, value and bounds.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise ParameterError(f"{name} = {value} must be in {low} .. {high}")
