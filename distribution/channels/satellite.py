"""A pass of a satellite as an arm: everything follows the geometry, moment by moment.

Range sets the beam's spread and the delay, elevation the way through the air. The delay of each step is the parabola
through the true delays at its beginning, middle and end, so it is continuous where steps meet, and the steps are short
enough that it is off by less than a twentieth of a picosecond in between. Below the least elevation no light comes.

Not modelled: refraction and the air's delay (some 2.4 m over the sine of the elevation), relativity (a few 1e-10: give
it to the station's clock), turbulence's spread of an up-link (give the wider divergence), a sky that depends on the
elevation.
"""

from __future__ import annotations

import math
from functools import partial

import msgspec
import numpy as np

from distribution.bounds import require
from distribution.channels.arm import ArmConditions, ArmCourse
from distribution.channels.beam import Beam, Sky
from distribution.channels.orbit import Orbit
from distribution.channels.scintillation import Flicker, FlickeringCourse, Scintillation
from distribution.units import distance_to_ps

_DELAY_ERROR_PS = 0.05
_LONGEST_STEP_S = 1.0


def air_mass(elevation_rad: float) -> float:
    """Way through the air over that straight up.

    Kasten and Young, Appl. Opt. 28, 4735 (1989), eq. 3: 1 / sin(elevation) high up, 38 at the horizon.
    """
    degrees = max(math.degrees(elevation_rad), 0.0)
    return float(1.0 / (math.sin(math.radians(degrees)) + 0.50572 * (degrees + 6.07995) ** -1.6364))


class SatellitePass(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="satellite-pass"
):
    """A down-link or up-link during one pass.

    Attributes:
        orbit: where the satellite goes.
        beam: both telescopes.
        zenith_transmittance: of the air straight up, at the photons' wavelength; T^(air mass) elsewhere.
        scintillation: flicker; it makes the steps as short as its own, which is slow over a whole pass.
        sky: background.
        begin_s: how long after the satellite's rise over the least elevation the recording begins.
    """

    orbit: Orbit
    beam: Beam
    zenith_transmittance: float = 1.0
    scintillation: Scintillation = Scintillation()
    sky: Sky = Sky()
    begin_s: float = 0.0

    def __post_init__(self) -> None:
        require("zenith_transmittance", self.zenith_transmittance, 0.0, 1.0)
        require("begin_s", self.begin_s, -1e5, 1e5)

    @property
    def step_s(self) -> float:
        """Length of a step: short enough for the delay, and for the flicker if there is any.

        The parabola through three points of a step of length h is off by at most |s'''| h^3 / 124.7, and a straight
        flight past a point at distance d has |s'''| < v^3 / d^2.
        """
        orbit = self.orbit
        nearest_km = orbit.sight(orbit.duration_s / 2.0).range_km
        third = distance_to_ps((orbit.radius_km * orbit.turn_rad_per_s) ** 3 / nearest_km**2)
        for_delay = (124.7 * _DELAY_ERROR_PS / third) ** (1.0 / 3.0)
        return min(for_delay, self.scintillation.step_s or for_delay, _LONGEST_STEP_S)

    def transmittance(self, t_s: float) -> float:
        """Mean share of the source's photons that reach the analyser `t_s` after the recording's beginning."""
        sight = self.orbit.sight(self.begin_s + t_s)
        if sight.elevation_rad < math.radians(self.orbit.min_elevation_deg) - 1e-9:
            return 0.0
        air = self.zenith_transmittance ** air_mass(sight.elevation_rad)
        return float(self.beam.transmittance(sight.range_km) * air)

    def delay_ps(self, t_s: float) -> float:
        """How long the light takes that is emitted `t_s` after the recording's beginning, ps."""
        return distance_to_ps(self.orbit.sight(self.begin_s + t_s).range_km)

    @property
    def background_cps(self) -> float:
        """Photons per second of the sky that reach the analyser."""
        return self.sky.photons_cps(self.beam)

    def start(self, rng: np.random.Generator) -> ArmCourse:
        """See distribution.channels.arm.Channel."""
        step_s = self.step_s
        return FlickeringCourse(Flicker(self.scintillation, step_s, rng), partial(self._conditions, step_s))

    def _conditions(self, step_s: float, t_s: float, light: float) -> ArmConditions:
        """A step's: the delay is the parabola through its beginning, middle and end."""
        first, middle, last = (self.delay_ps(t_s + share * step_s) for share in (0.0, 0.5, 1.0))
        bend = 4.0 * (first - 2.0 * middle + last) / step_s**2  # ps/s^2
        return ArmConditions(
            transmittance=min(self.transmittance(t_s + step_s / 2.0) * light, 1.0),
            background_cps=self.background_cps,
            delay_ps=first,
            delay_rate=((last - first) / step_s - bend * step_s / 2.0) * 1e-12,
            delay_bend_per_s=bend * 1e-12,
        )
