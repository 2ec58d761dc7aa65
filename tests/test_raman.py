"""Raman noise: closed forms against numerical integration along the fibre, and what it costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from distribution.channels.fibre import Fibre
from distribution.channels.raman import (
    ClassicalSignal,
    Coexistence,
    Direction,
    allowed_noise_cps,
    backward_km,
    forward_km,
)
from distribution.errors import ParameterError

DB = math.log(10.0) / 10.0


def integrated_km(length_km: float, classical_db: float, quantum_db: float, direction: Direction) -> float:
    """The same by adding up stretches of fibre: power there, scattered, weakened on the way to the receiver."""

    def at(z: float) -> float:
        run = z if direction is Direction.CO else length_km - z  # the classical light's way so far
        return math.exp(-DB * classical_db * run) * math.exp(-DB * quantum_db * (length_km - z))

    return float(quad(at, 0.0, length_km, epsabs=0.0, epsrel=1e-11)[0])


@settings(deadline=None, max_examples=60)
@given(
    length_km=st.floats(0.01, 150.0),
    classical=st.floats(0.0, 1.0),
    quantum=st.floats(0.0, 1.0),
    direction=st.sampled_from(list(Direction)),
)
def test_closed_forms_are_the_integral(
    length_km: float, classical: float, quantum: float, direction: Direction
) -> None:
    closed = forward_km if direction is Direction.CO else backward_km
    assert closed(length_km, classical, quantum) == pytest.approx(
        integrated_km(length_km, classical, quantum, direction), rel=1e-8
    )


def test_equal_attenuations_are_the_limit_of_unequal_ones() -> None:
    assert forward_km(50.0, 0.2, 0.2) == pytest.approx(50.0 * 0.1)  # L exp(-a L): 10 dB
    assert forward_km(50.0, 0.2, 0.2 + 1e-9) == pytest.approx(5.0, rel=1e-7)
    a, b = 0.2 * DB, 0.35 * DB
    assert forward_km(30.0, 0.2, 0.35) == pytest.approx((math.exp(-a * 30) - math.exp(-b * 30)) / (b - a))
    assert backward_km(1e4, 0.2, 0.2) == pytest.approx(1.0 / (2.0 * 0.2 * DB))  # long fibres saturate


def lit(direction: Direction = Direction.CO, **changes: float) -> Coexistence:
    signal = ClassicalSignal(wavelength_nm=1550.0, launch_dbm=0.0, direction=direction)
    return Coexistence(signals=(signal,), filter_nm=0.1, **changes)


def test_a_milliwatt_over_fifty_kilometres() -> None:
    # By hand: 1 mW x 3e-9 x 0.1 nm x 5 km = 1.5e-12 W, over 1.2815e-19 J at 1550 nm = 1.1705e7 photons per second.
    assert Fibre(length_km=50.0, coexistence=lit()).background_cps == pytest.approx(1.1705e7, rel=1e-4)
    # And backward: 10.86 km x (1 - 0.01) = 10.748 km.
    assert Fibre(length_km=50.0, coexistence=lit(Direction.COUNTER)).background_cps == pytest.approx(2.516e7, rel=1e-3)


def test_noise_grows_with_carriers_power_and_width_and_meets_the_receiver() -> None:
    one = Fibre(length_km=20.0, coexistence=lit()).background_cps
    many = Coexistence(
        signals=(ClassicalSignal(wavelength_nm=1550.0, launch_dbm=-20.0, count=40),),
        filter_nm=0.8,
        receiver_loss_db=3.0,
    )
    fibre = Fibre(length_km=20.0, coexistence=many)
    assert fibre.background_cps == pytest.approx(one * 0.01 * 40 * 8 * 10**-0.3)
    assert fibre.loss_db == pytest.approx(7.0)


def test_leakage_of_the_carrier() -> None:
    # 0 dBm less 10 dB of fibre less 110 dB of filter = -120 dBm = 1e-15 W: 7803 photons per second.
    leaky = lit(isolation_db=110.0)
    quiet = lit(isolation_db=300.0)
    difference = Fibre(length_km=50.0, coexistence=leaky).background_cps
    difference -= Fibre(length_km=50.0, coexistence=quiet).background_cps
    assert difference == pytest.approx(7803.0, rel=1e-3)
    assert lit(Direction.COUNTER, isolation_db=110.0).leakage_cps(length_km=50.0, quantum_db_per_km=0.2) == 0.0


def test_allowed_noise_gives_just_that_error_rate() -> None:
    noise = allowed_noise_cps(
        coincidence_cps=900.0, partner_singles_cps=4e4, window_ps=500.0, qber=0.02, added_qber=0.01
    )
    accidentals = 4e4 * noise * 500e-12
    assert (900.0 * 0.02 + accidentals / 2.0) / (900.0 + accidentals) == pytest.approx(0.03)
    with pytest.raises(ParameterError, match=r"0\.5"):
        allowed_noise_cps(coincidence_cps=1.0, partner_singles_cps=1.0, window_ps=1.0, qber=0.4, added_qber=0.1)
    with pytest.raises(ParameterError, match="positive"):
        allowed_noise_cps(coincidence_cps=0.0, partner_singles_cps=1.0, window_ps=1.0, qber=0.1, added_qber=0.1)


def test_unknown_powers_are_refused() -> None:
    with pytest.raises(ParameterError, match="launch_dbm = 60"):
        ClassicalSignal(wavelength_nm=1550.0, launch_dbm=60.0)
    with pytest.raises(ParameterError, match="filter_nm"):
        Coexistence(signals=(), filter_nm=0.0)
    assert np.isfinite(lit().raman_cps(length_km=0.0, quantum_db_per_km=0.2, wavelength_nm=1550.0))


def test_a_measured_spectrum_is_interpolated_and_not_left() -> None:
    spectrum = ((1530.0, 2e-9), (1540.0, 4e-9), (1560.0, 3e-9))
    signal = ClassicalSignal(wavelength_nm=1550.0, launch_dbm=0.0, raman_per_nm_km=spectrum)
    assert [signal.raman_at(w) for w in (1530.0, 1535.0, 1550.0)] == pytest.approx([2e-9, 3e-9, 3.5e-9])
    shared = Coexistence(signals=(signal,), filter_nm=0.1)
    whole = Fibre(length_km=50.0, wavelength_nm=1535.0, attenuation_db_per_km=0.2, coexistence=shared)
    assert whole.background_cps == pytest.approx(1.1705e7 * 1535.0 / 1550.0, rel=1e-4)  # 3e-9; a larger photon energy
    with pytest.raises(ParameterError, match=r"1580.* 1530\.0 to 1560\.0"):
        Fibre(length_km=1.0, wavelength_nm=1580.0, coexistence=shared)
    with pytest.raises(ParameterError, match="ascend"):
        ClassicalSignal(wavelength_nm=1550.0, launch_dbm=0.0, raman_per_nm_km=((1540.0, 1e-9), (1530.0, 1e-9)))
