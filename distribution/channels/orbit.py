"""A satellite on a circular orbit passing over a station: range and elevation in closed form.

The Earth is a sphere. Its rotation enters as in Ali, Al-Dhahir, Hershey, IEEE Trans. Commun. 46, 309 (1998): during a
pass the satellite's path against the ground is a great circle, run through at omega_S - omega_E cos(inclination). With
that, all of the pass follows from one angle at the Earth's centre, cos(gamma) = cos(gamma_0) cos(omega t). Light takes
the distance of the moment it is emitted (aberration changes it by v/c of itself, smoothly).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from distribution.bounds import require
from distribution.errors import ParameterError

EARTH_RADIUS_KM = 6371.0  # mean radius, IUGG
EARTH_GM_KM3_PER_S2 = 398_600.4418  # WGS 84
EARTH_TURN_RAD_PER_S = 7.292_115e-5  # WGS 84


@dataclass(frozen=True, slots=True)
class Sight:
    """Where the satellite is at one moment.

    Attributes:
        range_km: its distance from the station.
        elevation_rad: above the station's horizon.
        rate_km_per_s, acceleration_km_per_s2: first and second derivative of the range.
    """

    range_km: float
    elevation_rad: float
    rate_km_per_s: float
    acceleration_km_per_s2: float


class Orbit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pass of a satellite on a circular orbit.

    Attributes:
        altitude_km: above the ground.
        max_elevation_deg: at the middle of the pass.
        min_elevation_deg: the pass begins and ends here.
        inclination_deg: of the orbit; 97.4 is Sun-synchronous at 500 km.
    """

    altitude_km: float
    max_elevation_deg: float = 90.0
    min_elevation_deg: float = 10.0
    inclination_deg: float = 97.4

    def __post_init__(self) -> None:
        require("altitude_km", self.altitude_km, 100.0, 2000.0)
        require("max_elevation_deg", self.max_elevation_deg, 1.0, 90.0)
        require("min_elevation_deg", self.min_elevation_deg, 0.0, 89.0)
        require("inclination_deg", self.inclination_deg, 0.0, 180.0)
        if self.min_elevation_deg >= self.max_elevation_deg:
            raise ParameterError(
                f"min_elevation_deg = {self.min_elevation_deg} must be below max_elevation_deg ="
                f" {self.max_elevation_deg}"
            )

    @property
    def radius_km(self) -> float:
        """Distance from the Earth's centre."""
        return EARTH_RADIUS_KM + self.altitude_km

    @property
    def turn_rad_per_s(self) -> float:
        """Angular velocity against the ground: Kepler's third law less the Earth's own turn."""
        orbital = math.sqrt(EARTH_GM_KM3_PER_S2 / self.radius_km**3)
        return orbital - EARTH_TURN_RAD_PER_S * math.cos(math.radians(self.inclination_deg))

    def central_angle(self, elevation_deg: float) -> float:
        """Angle at the Earth's centre between station and satellite when it stands at this elevation, rad."""
        elevation = math.radians(elevation_deg)
        return math.acos(EARTH_RADIUS_KM / self.radius_km * math.cos(elevation)) - elevation

    @property
    def duration_s(self) -> float:
        """From rise to set over the least elevation."""
        least = math.cos(self.central_angle(self.min_elevation_deg))
        most = math.cos(self.central_angle(self.max_elevation_deg))
        return 2.0 * math.acos(least / most) / self.turn_rad_per_s

    def sight(self, t_s: float) -> Sight:
        """Where it is `t_s` seconds after its rise over the least elevation (before and after as well)."""
        nearest = math.cos(self.central_angle(self.max_elevation_deg))
        omega = self.turn_rad_per_s
        phase = omega * (t_s - self.duration_s / 2.0)
        cosine = nearest * math.cos(phase)
        product = EARTH_RADIUS_KM * self.radius_km
        # Half-angle form: no cancellation when the satellite is overhead.
        squared = self.altitude_km**2 + 2.0 * product * (1.0 - cosine)
        distance = math.sqrt(squared)
        rate = product * omega * nearest * math.sin(phase) / distance
        bend = (product * omega**2 * cosine - rate**2) / distance
        height = (self.radius_km * cosine - EARTH_RADIUS_KM) / distance
        return Sight(distance, math.asin(min(height, 1.0)), rate, bend)
