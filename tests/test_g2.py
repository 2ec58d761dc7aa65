"""Second-order correlations of light that is made up to have a known one (n and sigma stated, seeds fixed)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distribution.errors import ParameterError
from distribution.g2 import beam_g2, cross_g2, heralded_g2
from distribution.kernels.heralded import count_heralded
from distribution.tags import TimeTags

PULSE_PS = 100_000


def split(rng: np.random.Generator, t_ps: np.ndarray, detectors: int = 2) -> TimeTags:
    return TimeTags(t_ps, rng.integers(0, detectors, t_ps.size).astype(np.uint8))


def within_five(found: object, true: float, *, largest_error: float) -> None:
    assert found is not None
    assert found.error < largest_error  # type: ignore[attr-defined]
    assert found.value == pytest.approx(true, abs=5 * found.error)  # type: ignore[attr-defined]


def test_coherent_light_has_one() -> None:
    """1.5e6 clicks in a second: 1.5e6^2/4 x 10 001 ps = 5600 pairs within the window."""
    rng = np.random.default_rng(1)
    beam = split(rng, np.sort(rng.integers(0, 10**12, 1_500_000)))
    within_five(beam_g2(beam, 10_000), 1.0, largest_error=0.02)
    one, other = beam.select(0), beam.select(1)
    within_five(cross_g2(one.t_ps, other.t_ps, 10_000), 1.0, largest_error=0.02)
    assert beam_g2(one, 10_000) is None


@pytest.mark.parametrize("modes", [1, 4])
def test_thermal_pulses_have_one_plus_one_over_modes(modes: int) -> None:
    """Negative binomial photon numbers of mean 0.1 in 10^6 pulses: g2 = 1 + 1/K (Loudon, Quantum Theory of Light)."""
    rng = np.random.default_rng(2)
    photons = rng.negative_binomial(modes, modes / (modes + 0.1), 1_000_000)
    t_ps = np.repeat(np.arange(photons.size, dtype=np.int64) * PULSE_PS, photons)
    found = beam_g2(split(rng, t_ps), 1000, period_ps=PULSE_PS)
    within_five(found, 1 + 1 / modes, largest_error=0.03)


def test_single_photons_have_none() -> None:
    rng = np.random.default_rng(3)
    t_ps = np.flatnonzero(rng.random(1_000_000) < 0.1).astype(np.int64) * PULSE_PS
    found = beam_g2(split(rng, t_ps), 1000, period_ps=PULSE_PS)
    assert found is not None
    assert found.value == 0
    assert 0 < found.error < 0.001


def test_pairs_are_bunched_by_their_rate() -> None:
    """Poisson pairs at r = 1e5/s, no loss: g2 = 1 + 1/(r w) over a window of 1001 ps."""
    t_ps = np.sort(np.random.default_rng(4).integers(0, 10**12, 100_000))
    found = cross_g2(t_ps, t_ps, 1000)
    assert found is not None
    # Accidentals: 10 counts on average over 200 windows, 2.2 %; the numbers drawn add 0.6 %.
    assert found.value == pytest.approx(1 + 1 / (1e5 * 1001e-12), rel=5 * 0.023)


def test_heralded_photons_of_a_pair_source() -> None:
    """g2_h of a faint Poisson pair source is the chance of a second pair: 2 r w to first order for a window w.

    r = 4e6/s, w = 5001 ps, efficiencies 0.3 and 0.4. With x = r w the heralded arm has one sure photon and a Poisson
    number of others: g2_h = (2 x + x^2)/(1 + x)^2, up to the few per cent by which heralds of the same window add.
    """
    rng = np.random.default_rng(5)
    born = np.sort(rng.integers(0, 10**12, 4_000_000))
    herald = born[rng.random(born.size) < 0.02]
    photons = split(rng, born[rng.random(born.size) < 0.4])
    found = heralded_g2(herald, photons, 5000)
    x = 4e6 * 5001e-12
    within_five(found, (2 * x + x * x) / (1 + x) ** 2, largest_error=0.004)
    assert heralded_g2(herald, photons.select(0), 5000) is None


def test_four_detectors_give_the_same_as_two() -> None:
    rng = np.random.default_rng(6)
    born = np.sort(rng.integers(0, 10**12, 4_000_000))
    herald = born[rng.random(born.size) < 0.02]
    photons = born[rng.random(born.size) < 0.4]
    two, four = (heralded_g2(herald, split(rng, photons, n), 5000) for n in (2, 4))
    assert two is not None
    assert four is not None
    assert four.error < two.error  # three pairs of detectors in four against one in two: 3/4 of the triples, not half
    assert four.value == pytest.approx(two.value, abs=5 * (two.error + four.error))


clicks = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=20).map(sorted)


@settings(max_examples=200, deadline=None)
@given(herald=st.lists(st.integers(0, 60), max_size=10).map(sorted), found=clicks, half=st.integers(0, 12))
def test_kernel_counts_what_sets_count(herald: list[int], found: list[tuple[int, int]], half: int) -> None:
    single = np.zeros(64, np.int64)
    t_ps, channel = np.array([t for t, _ in found], np.int64), np.array([c for _, c in found], np.uint8)
    both = count_heralded(np.array(herald, np.int64), t_ps, channel, half, single)
    seen = [{c for t, c in found if abs(t - h) <= half} for h in herald]
    assert single[:4].tolist() == [sum(c in s for s in seen) for c in range(4)]
    assert both == sum(len(s) * (len(s) - 1) // 2 for s in seen)


def test_detector_numbers_do_not_matter() -> None:
    rng = np.random.default_rng(7)
    t_ps = np.sort(rng.integers(0, 10**9, 20_000))
    beam = split(rng, t_ps)
    renamed = TimeTags(beam.t_ps, np.where(beam.channel == 0, 255, 64).astype(np.uint8))
    assert heralded_g2(t_ps, beam, 10_000) == heralded_g2(t_ps, renamed, 10_000)
    assert beam_g2(beam, 10_000) == beam_g2(renamed, 10_000)


def test_what_cannot_be_heralded() -> None:
    crowd = TimeTags(np.arange(65, dtype=np.int64), np.arange(65, dtype=np.uint8))
    with pytest.raises(ParameterError, match="at most 64"):
        heralded_g2(crowd.t_ps, crowd, 10)
    with pytest.raises(ParameterError, match="1 ps"):
        heralded_g2(crowd.t_ps, crowd.select(3), 0)
