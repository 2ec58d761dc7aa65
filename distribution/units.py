"""Units in one place: time is int64 picoseconds, loss is dB, everything else is SI.

int64 picoseconds last 106 days; float64 seconds lose picoseconds after 2.5 hours, so absolute times never become
floating point: subtract a local origin first.
"""

from __future__ import annotations

import math

PS_PER_S = 1_000_000_000_000
PS_PER_NS = 1_000
FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
NEPER_PER_DB = math.log(10.0) / 10.0
SPEED_OF_LIGHT_M_PER_S = 299_792_458.0
PLANCK_J_S = 6.626_070_15e-34


def seconds_to_ps(seconds: float) -> int:
    """Seconds to whole picoseconds, rounded to nearest."""
    return round(seconds * PS_PER_S)


def ps_to_seconds(ps: int) -> float:
    """Picoseconds to seconds; only for durations and display (see the module docstring)."""
    return ps / PS_PER_S


def loss_db_to_transmittance(loss_db: float) -> float:
    """Loss in dB (>= 0 attenuates) to a power transmittance in [0, 1]."""
    return float(10.0 ** (-loss_db / 10.0))


def photon_energy_j(wavelength_nm: float) -> float:
    """Energy of one photon of this vacuum wavelength, joule."""
    return PLANCK_J_S * SPEED_OF_LIGHT_M_PER_S / (wavelength_nm * 1e-9)


def dbm_to_watt(power_dbm: float) -> float:
    """Power in dB over a milliwatt to watt."""
    return float(1e-3 * 10.0 ** (power_dbm / 10.0))


def distance_to_ps(distance_km: float, group_index: float = 1.0) -> float:
    """How long light takes over a distance, ps."""
    return distance_km * 1e3 * group_index / SPEED_OF_LIGHT_M_PER_S * PS_PER_S
