"""Classical light in the quantum channel's fibre: spontaneous Raman photons and what leaks through the filter.

Every stretch of fibre scatters a share beta dlambda of the classical power that passes it into the quantum channel's
band, in both directions; the closed forms integrate that along the fibre with both attenuations. Four-wave mixing is
not modelled: it needs the carriers' phases and the fibre's exact dispersion, and is avoided by the choice of the grid.
"""

from __future__ import annotations

import math
from enum import Enum
from itertools import pairwise

import msgspec
import numpy as np

from distribution.bounds import require
from distribution.errors import ParameterError
from distribution.units import NEPER_PER_DB, PS_PER_S, dbm_to_watt, loss_db_to_transmittance, photon_energy_j


class Direction(Enum):
    """Which way a classical signal runs, against the quantum channel's photons."""

    CO = "co"
    COUNTER = "counter"


def forward_km(length_km: float, classical_db_per_km: float, quantum_db_per_km: float) -> float:
    """Effective length of co-propagating Raman noise: integral of exp(-a_c z) exp(-a_q (L - z)) over the fibre, km.

    Power at the far end = launched power x beta x filter width x this; L exp(-a L) when the attenuations are equal.
    Source: Eraerds, Walenta, Legre, Gisin, Zbinden, New J. Phys. 12, 063027 (2010), section 3.2; da Silva, Xavier,
    Temporao, von der Weid, arXiv:1410.0656, for unequal attenuations.
    """
    classical, quantum = classical_db_per_km * NEPER_PER_DB, quantum_db_per_km * NEPER_PER_DB
    half = (quantum - classical) * length_km / 2.0
    bulge = math.sinh(half) / half if abs(half) > 1e-6 else 1.0 + half**2 / 6.0  # no cancellation where they are equal
    return length_km * math.exp(-(classical + quantum) * length_km / 2.0) * bulge


def backward_km(length_km: float, classical_db_per_km: float, quantum_db_per_km: float) -> float:
    """Effective length of counter-propagating Raman noise: integral of exp(-(a_c + a_q) z) over the fibre, km.

    Sources as `forward_km`.
    """
    both = (classical_db_per_km + quantum_db_per_km) * NEPER_PER_DB
    return -math.expm1(-both * length_km) / both if both > 0.0 else length_km


class ClassicalSignal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One or more equal classical carriers.

    Attributes:
        wavelength_nm: vacuum wavelength.
        launch_dbm: power of one carrier where it enters the fibre.
        count: carriers.
        direction: co (launched beside the quantum channel) or counter (launched at the station).
        raman_per_nm_km: beta: share of the power that a km of fibre scatters into a nm of the quantum channel, guided
            and in one direction. 3e-9 is the middle of what is measured within the C band (Eraerds et al. (2010),
            figure 3). The Raman gain agrees: 1.2 THz away it is some 0.03 per W and km, times 5.5 for the thermal
            phonons, the photon's energy and 125 GHz per nm: 2.6e-9; 13 THz away 0.4 and 1.14: 7e-9. It depends on both
            wavelengths: a measured spectrum of this carrier may be given instead, as pairs of a quantum wavelength,
            nm, ascending, and beta; linear in between.
        attenuation_db_per_km: at this wavelength; None: the fibre's for the quantum channel.
    """

    wavelength_nm: float
    launch_dbm: float
    count: int = 1
    direction: Direction = Direction.CO
    raman_per_nm_km: float | tuple[tuple[float, float], ...] = 3e-9
    attenuation_db_per_km: float | None = None

    def __post_init__(self) -> None:
        require("wavelength_nm", self.wavelength_nm, 400.0, 2000.0)
        require("launch_dbm", self.launch_dbm, -120.0, 30.0)
        require("count", self.count, 1, 1000)
        self._check_raman()
        if self.attenuation_db_per_km is not None:
            require("attenuation_db_per_km", self.attenuation_db_per_km, 0.0, 100.0)

    def _check_raman(self) -> None:
        spectrum = self.raman_per_nm_km
        if not isinstance(spectrum, tuple):
            require("raman_per_nm_km", spectrum, 0.0, 1e-6)
            return
        for _, beta in spectrum:
            require("raman_per_nm_km", beta, 0.0, 1e-6)
        if not spectrum or any(b[0] <= a[0] for a, b in pairwise(spectrum)):
            raise ParameterError(f"raman_per_nm_km: {len(spectrum)} wavelengths that do not ascend are no spectrum")

    def raman_at(self, wavelength_nm: float) -> float:
        """Its Raman coefficient for a quantum channel, per nm and km.

        Raises:
            ParameterError: the spectrum that was given does not reach there.
        """
        spectrum = self.raman_per_nm_km
        if not isinstance(spectrum, tuple):
            return spectrum
        if not spectrum[0][0] <= wavelength_nm <= spectrum[-1][0]:
            raise ParameterError(
                f"the quantum channel at {wavelength_nm} nm is outside raman_per_nm_km, known from {spectrum[0][0]} to"
                f" {spectrum[-1][0]} nm"
            )
        return float(np.interp(wavelength_nm, [w for w, _ in spectrum], [beta for _, beta in spectrum]))

    @property
    def launch_w(self) -> float:
        """Power of all its carriers where they enter the fibre, W."""
        return self.count * dbm_to_watt(self.launch_dbm)


class Coexistence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Classical signals beside the quantum channel, and the filter that keeps them from its receiver.

    Attributes:
        signals: the classical signals.
        filter_nm: width of the receiver's filter, equivalent rectangle.
        receiver_loss_db: from the fibre's end to the analyser, demultiplexer and filter; pairs and noise both meet it.
        isolation_db: how far the receiver weakens a co-propagating carrier; what is left counts as noise. A
            counter-propagating one only comes back by reflections, which are not modelled.
    """

    signals: tuple[ClassicalSignal, ...]
    filter_nm: float
    receiver_loss_db: float = 0.0
    isolation_db: float = 300.0

    def __post_init__(self) -> None:
        require("filter_nm", self.filter_nm, 1e-6, 100.0)
        require("receiver_loss_db", self.receiver_loss_db, 0.0, 100.0)
        require("isolation_db", self.isolation_db, 0.0, 300.0)

    def raman_cps(self, *, length_km: float, quantum_db_per_km: float, wavelength_nm: float) -> float:
        """Raman photons per second at the analyser, of all signals.

        Args:
            length_km: of the fibre.
            quantum_db_per_km: its attenuation in the quantum channel.
            wavelength_nm: of the quantum channel.
        """
        power_w = 0.0
        for signal in self.signals:
            own = signal.attenuation_db_per_km
            effective_km = forward_km if signal.direction is Direction.CO else backward_km
            reach_km = effective_km(length_km, quantum_db_per_km if own is None else own, quantum_db_per_km)
            power_w += signal.launch_w * signal.raman_at(wavelength_nm) * self.filter_nm * reach_km
        return power_w / photon_energy_j(wavelength_nm) * loss_db_to_transmittance(self.receiver_loss_db)

    def leakage_cps(self, *, length_km: float, quantum_db_per_km: float) -> float:
        """Photons per second of the co-propagating carriers themselves that pass the receiver's filter."""
        photons = 0.0
        for signal in self.signals:
            if signal.direction is Direction.CO:
                own = signal.attenuation_db_per_km
                loss_db = length_km * (quantum_db_per_km if own is None else own) + self.isolation_db
                photons += signal.launch_w * loss_db_to_transmittance(loss_db) / photon_energy_j(signal.wavelength_nm)
        return photons


def allowed_noise_cps(
    *, coincidence_cps: float, partner_singles_cps: float, window_ps: float, qber: float, added_qber: float
) -> float:
    """Clicks per second of noise that raise a station's error rate by so much.

    Noise adds accidentals (partner's singles x noise x window), half of which are errors: E' = (C E + A/2) / (C + A)
    (Neumann et al., Phys. Rev. A 104, 022406 (2021), whose E has A for all accidentals). Raman noise grows with the
    launched power, so 10 log10(allowed / now) is by how many dB it may be raised.

    Args:
        coincidence_cps: coincidences inside the window without the new noise, C.
        partner_singles_cps: singles of the other station.
        window_ps: coincidence window, FULL width.
        qber: error fraction without the new noise, E.
        added_qber: what may be added to it.

    Raises:
        ParameterError: the sum is not below 1/2, or a rate is not positive.
    """
    if not (qber >= 0.0 and added_qber > 0.0 and qber + added_qber < 0.5):
        raise ParameterError(f"qber = {qber} and added_qber = {added_qber} must add up to less than 0.5")
    if not (coincidence_cps > 0.0 and partner_singles_cps > 0.0 and window_ps > 0.0):
        raise ParameterError(
            f"coincidence_cps = {coincidence_cps}, partner_singles_cps = {partner_singles_cps} and"
            f" window_ps = {window_ps} must be positive"
        )
    accidental_cps = coincidence_cps * added_qber / (0.5 - qber - added_qber)
    return accidental_cps / (partner_singles_cps * window_ps / PS_PER_S)
