"""A fibre as an arm: loss, delay and its drift with temperature, both dispersions, polarisation, classical neighbours.

Chromatic dispersion is signed and handed on per arm, because the two photons of a pair have opposite frequency offsets:
what one arm spreads the other can take back (Franson, Phys. Rev. A 45, 3126 (1992)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec
import numpy as np

from distribution.bounds import require
from distribution.channels.arm import ArmConditions, ArmCourse, ConstantCourse
from distribution.channels.polarisation import Matrix, ModeDispersion, PolarisationDrift, PolarisationWalk
from distribution.channels.raman import Coexistence
from distribution.errors import ParameterError
from distribution.units import (
    FWHM_PER_SIGMA,
    SPEED_OF_LIGHT_M_PER_S,
    distance_to_ps,
    loss_db_to_transmittance,
)

# Largest specified attenuation of Corning SMF-28e+ (product information PI1463), dB/km at nm; linear in between.
_ATTENUATION_DB_PER_KM = {1310.0: 0.35, 1383.0: 0.35, 1490.0: 0.24, 1550.0: 0.20, 1625.0: 0.23}
_DISPERSION_RANGE_NM = (1200.0, 1625.0)  # where the data sheet's formula holds
_LONGEST_STEP_S = 1.0
_STEPS_PER_PERIOD = 200  # leaves 5e-6 of a temperature swing's delay to a step's cubic term


def standard_attenuation_db_per_km(wavelength_nm: float) -> float:
    """Attenuation of ordinary single-mode fibre (ITU-T G.652.D), from a data sheet.

    Raises:
        ParameterError: outside 1310 .. 1625 nm, where it depends on the fibre too much.
    """
    low, high = min(_ATTENUATION_DB_PER_KM), max(_ATTENUATION_DB_PER_KM)
    if not low <= wavelength_nm <= high:
        raise ParameterError(
            f"no standard attenuation at wavelength_nm = {wavelength_nm}: known from {low:g} to {high:g}",
            hint="give attenuation_db_per_km (2.5 to 3.5 is usual for single-mode fibre at 800 nm)",
        )
    return float(np.interp(wavelength_nm, list(_ATTENUATION_DB_PER_KM), list(_ATTENUATION_DB_PER_KM.values())))


class TemperatureDrift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the temperature of a fibre changes: steadily, and up and down.

    Attributes:
        rate_k_per_h: steady change.
        swing_k, period_h: amplitude and period of a sine that starts at zero.
        delay_ppm_per_k: relative change of the fibre's delay. 6.7 is a loose-tube cable from -50 to 60 degrees Celsius
            (Bergman, Eng, Johnston, Electron. Lett. 19, 865 (1983)): 33 ps per km and K.
    """

    rate_k_per_h: float = 0.0
    swing_k: float = 0.0
    period_h: float = 24.0
    delay_ppm_per_k: float = 6.7

    def __post_init__(self) -> None:
        require("rate_k_per_h", self.rate_k_per_h, -1e4, 1e4)
        require("swing_k", self.swing_k, 0.0, 100.0)
        require("period_h", self.period_h, 1e-4, 1e5)
        require("delay_ppm_per_k", self.delay_ppm_per_k, -100.0, 100.0)

    @property
    def step_s(self) -> float | None:
        """Longest stretch over which delay, rate and bend describe it; None when nothing changes."""
        if not (self.rate_k_per_h or self.swing_k) or not self.delay_ppm_per_k:
            return None
        return min(_LONGEST_STEP_S, self.period_h * 3600.0 / _STEPS_PER_PERIOD)

    def kelvin(self, t_s: float) -> tuple[float, float, float]:
        """Departure from the start's temperature, K, its rate, K/s, and that one's, K/s^2."""
        turn = 2.0 * math.pi / (self.period_h * 3600.0)
        sine, cosine = self.swing_k * math.sin(turn * t_s), self.swing_k * math.cos(turn * t_s)
        steady = self.rate_k_per_h / 3600.0
        return steady * t_s + sine, steady + turn * cosine, -(turn**2) * sine


class Fibre(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="fibre"):
    """A fibre from the source to a station.

    Attributes:
        length_km: its length.
        wavelength_nm: of the photons.
        attenuation_db_per_km: None: `standard_attenuation_db_per_km`.
        connectors, connector_loss_db: number, and loss of each (0.3 dB: ITU-T G.671 allows 0.5).
        splices, splice_loss_db: number, and loss of each (0.05 dB: fusion splices of like fibres).
        group_index: 1.4682 at 1550 nm, 1.4676 at 1310 nm (SMF-28e+ data sheet): 4.9 us per km.
        bandwidth_nm: full width at half maximum of the photons' Gaussian spectrum.
        zero_dispersion_nm, dispersion_slope: lambda_0 and S_0 in ps/(nm^2 km) of
            D = S_0/4 (lambda - lambda_0^4 / lambda^3) (ITU-T G.652, 6.10; typical data-sheet values): 16.3 ps/(nm km)
            at 1550 nm.
        compensation_ps_per_nm: added by a dispersion compensating module, usually negative.
        pmd_ps_per_sqrt_km: mean differential group delay per square root of length; G.652.D allows cables 0.20.
            Drawn once per course (it drifts over hours). It acts on each photon alone: that the partner's can undo
            it (Shtaif, Antonelli, Brodsky, Opt. Express 19, 1728 (2011)) is not modelled.
        polarisation, temperature: drifts.
        coexistence: classical signals in the same fibre.
    """

    length_km: float
    wavelength_nm: float = 1550.0
    attenuation_db_per_km: float | None = None
    connectors: int = 0
    connector_loss_db: float = 0.3
    splices: int = 0
    splice_loss_db: float = 0.05
    group_index: float = 1.4682
    bandwidth_nm: float = 0.0
    zero_dispersion_nm: float = 1317.0
    dispersion_slope: float = 0.088
    compensation_ps_per_nm: float = 0.0
    pmd_ps_per_sqrt_km: float = 0.0
    polarisation: PolarisationDrift = PolarisationDrift()
    temperature: TemperatureDrift = TemperatureDrift()
    coexistence: Coexistence | None = None

    def __post_init__(self) -> None:
        bounds = {
            "length_km": (0.0, 2000.0),
            "wavelength_nm": (400.0, 2000.0),
            "connectors": (0, 1000),
            "connector_loss_db": (0.0, 10.0),
            "splices": (0, 10_000),
            "splice_loss_db": (0.0, 10.0),
            "group_index": (1.0, 2.0),
            "bandwidth_nm": (0.0, 200.0),
            "zero_dispersion_nm": (1000.0, 2000.0),
            "dispersion_slope": (0.0, 1.0),
            "compensation_ps_per_nm": (-1e5, 1e5),
            "pmd_ps_per_sqrt_km": (0.0, 100.0),
        }
        for name, (low, high) in bounds.items():
            require(name, getattr(self, name), low, high)
        require("attenuation_db_per_km", self.attenuation, 0.0, 100.0)
        for signal in self.coexistence.signals if self.coexistence else ():
            signal.raman_at(self.wavelength_nm)  # refuses here, not in the middle of a simulation
        if self.bandwidth_nm and self.dispersion_slope:
            require("wavelength_nm (for dispersion)", self.wavelength_nm, *_DISPERSION_RANGE_NM)

    @property
    def attenuation(self) -> float:
        """Attenuation in effect, dB/km."""
        given = self.attenuation_db_per_km
        return standard_attenuation_db_per_km(self.wavelength_nm) if given is None else given

    @property
    def loss_db(self) -> float:
        """Fibre, connectors, splices and the coexistence receiver's filter, dB."""
        joints = self.connectors * self.connector_loss_db + self.splices * self.splice_loss_db
        receiver = self.coexistence.receiver_loss_db if self.coexistence else 0.0
        return self.length_km * self.attenuation + joints + receiver

    @property
    def dispersion_ps_per_nm(self) -> float:
        """How much later a photon of a nm longer wavelength arrives, ps/nm, the compensating module included."""
        per_km = self.dispersion_slope / 4.0 * (self.wavelength_nm - self.zero_dispersion_nm**4 / self.wavelength_nm**3)
        return per_km * self.length_km + self.compensation_ps_per_nm

    @property
    def dispersion_ps(self) -> float:
        """Delay of a photon one standard deviation above the mean frequency, hence below the mean wavelength, ps."""
        return -self.dispersion_ps_per_nm * self.bandwidth_nm / FWHM_PER_SIGMA

    @property
    def mode_dispersion(self) -> ModeDispersion:
        """Law of the fibre's polarisation mode dispersion."""
        sigma_nm = self.bandwidth_nm / FWHM_PER_SIGMA
        per_s = 2.0 * math.pi * SPEED_OF_LIGHT_M_PER_S * sigma_nm * 1e-9 / (self.wavelength_nm * 1e-9) ** 2
        return ModeDispersion(self.pmd_ps_per_sqrt_km * math.sqrt(self.length_km), per_s * 1e-12)

    @property
    def background_cps(self) -> float:
        """Photons per second of classical origin that reach the analyser."""
        if self.coexistence is None:
            return 0.0
        length_km, alpha = self.length_km, self.attenuation
        raman = self.coexistence.raman_cps(
            length_km=length_km, quantum_db_per_km=alpha, wavelength_nm=self.wavelength_nm
        )
        return raman + self.coexistence.leakage_cps(length_km=length_km, quantum_db_per_km=alpha)

    def start(self, rng: np.random.Generator) -> ArmCourse:
        """See distribution.channels.arm.Channel."""
        left = self.mode_dispersion.draw(rng)
        steps = [step for step in (self.polarisation.step_s, self.temperature.step_s) if step is not None]
        course = _FibreCourse(self, min(steps, default=_LONGEST_STEP_S), left, rng)
        return course if steps else ConstantCourse(course.at(0.0))


@dataclass(slots=True)
class _FibreCourse:
    fibre: Fibre
    step: float
    left: Matrix
    rng: np.random.Generator
    walk: PolarisationWalk = field(init=False)

    def __post_init__(self) -> None:
        self.walk = PolarisationWalk(self.fibre.polarisation, self.step, self.rng)

    @property
    def step_s(self) -> float | None:
        """See ArmCourse."""
        return self.step

    def at(self, t_s: float) -> ArmConditions:
        """See ArmCourse."""
        fibre = self.fibre
        turn = self.walk.at_step(round(t_s / self.step))
        polarisation = turn @ self.left
        kelvin, kelvin_per_s, kelvin_per_s2 = fibre.temperature.kelvin(t_s)
        still_ps = distance_to_ps(fibre.length_km, fibre.group_index)
        stretch = fibre.temperature.delay_ppm_per_k * 1e-6
        return ArmConditions(
            transmittance=loss_db_to_transmittance(fibre.loss_db),
            background_cps=fibre.background_cps,
            delay_ps=still_ps * (1.0 + stretch * kelvin),
            delay_rate=still_ps * stretch * kelvin_per_s * 1e-12,
            delay_bend_per_s=still_ps * stretch * kelvin_per_s2 * 1e-12,
            polarisation=None if np.array_equal(polarisation, np.eye(3)) else polarisation,
            dispersion_ps=fibre.dispersion_ps,
        )
