"""Light time from a satellite on a circular orbit through the zenith, from geometry alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EARTH_M = 6.371e6
HEIGHT_M = 5e5
GRAVITY_M3_PER_S2 = 3.986004418e14
LIGHT_M_PER_S = 299_792_458.0


def elevation(t_s: Floats) -> Floats:
    """Elevation in rad, `t_s` seconds after the zenith; the Earth does not turn."""
    angle = np.sqrt(GRAVITY_M3_PER_S2 / (EARTH_M + HEIGHT_M) ** 3) * t_s
    return np.asarray(np.arctan2(np.cos(angle) - EARTH_M / (EARTH_M + HEIGHT_M), np.abs(np.sin(angle))))


def slant_range_m(t_s: Floats) -> Floats:
    """sqrt((R sin el)^2 + h^2 + 2 R h) - R sin el."""
    up = EARTH_M * np.sin(elevation(t_s))
    return np.asarray(np.sqrt(up**2 + HEIGHT_M**2 + 2 * EARTH_M * HEIGHT_M) - up)


def light_time_ps(t_s: Floats) -> Floats:
    """Delay of the light, ps."""
    return np.asarray(slant_range_m(t_s) / LIGHT_M_PER_S * 1e12)
