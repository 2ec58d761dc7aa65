"""A Gaussian beam from one telescope into another, and the sky that the second one sees behind it.

Shared by horizontal links and satellite passes: how wide the beam is, how much of it an aperture gathers when its
pointing trembles, and how much daylight or moonlight comes along.
"""

from __future__ import annotations

import math

import msgspec

from distribution.bounds import require
from distribution.errors import ParameterError
from distribution.units import loss_db_to_transmittance, photon_energy_j


class Beam(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Transmitting and receiving telescope.

    Attributes:
        wavelength_nm: of the photons.
        divergence_urad: half angle at which the far field's intensity is 1/e^2 of its middle; turbulence that widens an
            up-link's beam goes in here. A diffraction-limited waist w0 has wavelength / (pi w0).
        waist_m: 1/e^2 radius of the beam where it leaves.
        aperture_m: diameter of the receiving telescope.
        obscuration_m: diameter of what stands in its middle.
        jitter_urad: standard deviation per axis of the pointing, fast against the detection rate.
        transmitter_loss_db, receiver_loss_db: of the two telescopes; the sky meets the second only.
    """

    wavelength_nm: float
    divergence_urad: float
    waist_m: float
    aperture_m: float
    obscuration_m: float = 0.0
    jitter_urad: float = 0.0
    transmitter_loss_db: float = 0.0
    receiver_loss_db: float = 0.0

    def __post_init__(self) -> None:
        require("wavelength_nm", self.wavelength_nm, 400.0, 2000.0)
        require("divergence_urad", self.divergence_urad, 0.0, 1e5)
        require("waist_m", self.waist_m, 1e-4, 10.0)
        require("aperture_m", self.aperture_m, 1e-4, 50.0)
        require("obscuration_m", self.obscuration_m, 0.0, self.aperture_m)
        require("jitter_urad", self.jitter_urad, 0.0, 1e4)
        require("transmitter_loss_db", self.transmitter_loss_db, 0.0, 100.0)
        require("receiver_loss_db", self.receiver_loss_db, 0.0, 100.0)
        least_urad = self.wavelength_nm * 1e-9 / (math.pi * self.waist_m) * 1e6
        if self.divergence_urad < least_urad * (1.0 - 1e-9):
            raise ParameterError(
                f"divergence_urad = {self.divergence_urad} is below the diffraction limit {least_urad:.4g} of a waist"
                f" of {self.waist_m} m at {self.wavelength_nm} nm"
            )

    def radius_m(self, range_km: float) -> float:
        """1/e^2 radius of the beam at a distance, pointing held still: w^2 = w0^2 + (theta L)^2."""
        return math.hypot(self.waist_m, self.divergence_urad * 1e-6 * range_km * 1e3)

    def transmittance(self, range_km: float) -> float:
        """Share of the source's light that reaches the analyser through both telescopes, the air left out."""
        optics_db = self.transmitter_loss_db + self.receiver_loss_db
        return self.gathered(range_km) * loss_db_to_transmittance(optics_db)

    def gathered(self, range_km: float) -> float:
        """Share of the light that enters the receiving aperture, averaged over the trembling.

        A beam whose axis is Gaussian distributed is on average a wider Gaussian beam, by four times the variance of
        its position per axis; the share inside a ring of radii b, a is exp(-2 b^2/w^2) - exp(-2 a^2/w^2) (Siegman,
        Lasers (1986), 17.1). For small apertures this is Toyoshima et al.'s beta/(beta + 1), J. Opt. Soc. Am. A 19,
        567 (2002), with beta = w^2 / (4 sigma^2).
        """
        shake_m = self.jitter_urad * 1e-6 * range_km * 1e3
        square = self.radius_m(range_km) ** 2 + 4.0 * shake_m**2
        outer, inner = self.aperture_m / 2.0, self.obscuration_m / 2.0
        return math.exp(-2.0 * inner**2 / square) - math.exp(-2.0 * outer**2 / square)


class Sky(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the receiving telescope sees beside the beam.

    Attributes:
        radiance: spectral radiance of the background, W / (m^2 sr um). Miao, Han, Gong, Zhang, Diao, Guo, New J. Phys.
            7, 215 (2005), table 1: clear night 1.5e-5 without moon, 1.5e-3 with a full one; clear day 1.5, haze 15,
            bright clouds 150. Towns at night: measure.
        view_urad: full angle of the field of view.
        filter_nm: width of the filter, equivalent rectangle.
    """

    radiance: float = 0.0
    view_urad: float = 100.0
    filter_nm: float = 1.0

    def __post_init__(self) -> None:
        require("radiance", self.radiance, 0.0, 1e4)
        require("view_urad", self.view_urad, 0.0, 1e5)
        require("filter_nm", self.filter_nm, 0.0, 1000.0)

    def photons_cps(self, beam: Beam) -> float:
        """Background photons per second at the analyser: H Omega A B over the photon's energy, less the optics' loss.

        Miao et al. (2005), eq. 2; Omega = pi (view / 2)^2.
        """
        area_m2 = math.pi / 4.0 * (beam.aperture_m**2 - beam.obscuration_m**2)
        solid_angle = math.pi / 4.0 * (self.view_urad * 1e-6) ** 2
        power_w = self.radiance * solid_angle * area_m2 * self.filter_nm * 1e-3
        return power_w / photon_energy_j(beam.wavelength_nm) * loss_db_to_transmittance(beam.receiver_loss_db)
