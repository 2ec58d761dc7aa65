"""A horizontal link through the air as an arm: spreading beam, haze, trembling, flicker and the sky behind it."""

from __future__ import annotations

import msgspec
import numpy as np

from distribution.bounds import require
from distribution.channels.arm import ArmConditions, ArmCourse, ConstantCourse
from distribution.channels.beam import Beam, Sky
from distribution.channels.scintillation import Flicker, FlickeringCourse, Scintillation
from distribution.errors import ParameterError
from distribution.units import NEPER_PER_DB, distance_to_ps, loss_db_to_transmittance

AIR_INDEX = 1.000_27  # group index near the ground at 800 nm, 15 degrees Celsius, to 1e-5 (Edlen 1966)


def haze_db_per_km(visibility_km: float, wavelength_nm: float) -> float:
    """Extinction by haze from the visual range.

    Kim, McArthur, Korevaar, Proc. SPIE 4214, 26 (2001), eqs 4 and 6: 3.91 / V (lambda / 550 nm)^-q per km.
    """
    require("visibility_km", visibility_km, 0.01, 500.0)
    if visibility_km > 50.0:
        q = 1.6
    elif visibility_km > 6.0:
        q = 1.3
    elif visibility_km > 1.0:
        q = 0.16 * visibility_km + 0.34
    else:
        q = max(visibility_km - 0.5, 0.0)
    return float(3.91 / visibility_km * (wavelength_nm / 550.0) ** -q / NEPER_PER_DB)


class FreeSpace(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="free-space"
):
    """A link between two telescopes on the ground.

    Attributes:
        length_km: distance.
        beam: the telescopes.
        visibility_km: visual range, for `haze_db_per_km`; or give `extinction_db_per_km`.
        extinction_db_per_km: loss of the air.
        scintillation: flicker. The trembling of the pointing is averaged, not part of it. Where the flicker would
            exceed all the light there is (short, nearly lossless links), it is clipped.
        sky: background.
    """

    length_km: float
    beam: Beam
    visibility_km: float | None = None
    extinction_db_per_km: float | None = None
    scintillation: Scintillation = Scintillation()
    sky: Sky = Sky()

    def __post_init__(self) -> None:
        require("length_km", self.length_km, 0.0, 1000.0)
        if self.visibility_km is not None and self.extinction_db_per_km is not None:
            raise ParameterError(
                f"give visibility_km = {self.visibility_km} or extinction_db_per_km = {self.extinction_db_per_km},"
                " not both"
            )
        if self.visibility_km is not None:
            require("visibility_km", self.visibility_km, 0.01, 500.0)
        if self.extinction_db_per_km is not None:
            require("extinction_db_per_km", self.extinction_db_per_km, 0.0, 1000.0)

    @property
    def transmittance(self) -> float:
        """Mean share of the source's photons that reach the analyser."""
        per_km = self.extinction_db_per_km or 0.0
        if self.visibility_km is not None:
            per_km = haze_db_per_km(self.visibility_km, self.beam.wavelength_nm)
        return self.beam.transmittance(self.length_km) * loss_db_to_transmittance(self.length_km * per_km)

    @property
    def background_cps(self) -> float:
        """Photons per second of the sky that reach the analyser."""
        return self.sky.photons_cps(self.beam)

    def start(self, rng: np.random.Generator) -> ArmCourse:
        """See distribution.channels.arm.Channel."""
        step_s = self.scintillation.step_s
        if step_s is None:
            return ConstantCourse(self._conditions(0.0, 1.0))
        return FlickeringCourse(Flicker(self.scintillation, step_s, rng), self._conditions)

    def _conditions(self, t_s: float, light: float) -> ArmConditions:
        return ArmConditions(
            transmittance=min(self.transmittance * light, 1.0),
            background_cps=self.background_cps,
            delay_ps=distance_to_ps(self.length_km, AIR_INDEX),
        )
