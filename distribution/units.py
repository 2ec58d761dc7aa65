"""Units in one place: time is int64 picoseconds, loss is dB, everything else is SI.

int64 picoseconds last 106 days; float64 seconds lose picoseconds after 2.5 hours, so absolute times never become
floating point: subtract a local origin first.
"""

from __future__ import annotations

import math

PS_PER_S = 1_000_000_000_000
PS_PER_NS = 1_000
FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


def seconds_to_ps(seconds: float) -> int:
    """Seconds to whole picoseconds, rounded to nearest."""
    return round(seconds * PS_PER_S)


def ps_to_seconds(ps: int) -> float:
    """Picoseconds to seconds; only for durations and display (see the module docstring)."""
    return ps / PS_PER_S


def loss_db_to_transmittance(loss_db: float) -> float:
    """Loss in dB (>= 0 attenuates) to a power transmittance in [0, 1]."""
    return float(10.0 ** (-loss_db / 10.0))
