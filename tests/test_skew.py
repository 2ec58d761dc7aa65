"""Detector skew: recovered from made-up pairs within its stated errors, applied exactly, also without outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distribution.errors import ParameterError
from distribution.kernels.skew import add_moments
from distribution.scenario import load_scenario
from distribution.simulate import simulate
from distribution.skew import SkewCorrector, corrected, estimate_skew, own_skew, pair_delays
from distribution.tags import TimeTags, join, merge
from tests.reference import skew as slow

Delays = tuple[float, ...]
SIGMA_PS = 120
SKEW_A: Delays = (-310, 140, 40, 130)
SKEW_B: Delays = (220, -180, -400, 360)


def station(
    rng: np.random.Generator, t: np.ndarray, detector: np.ndarray, delays: Delays, *, lone: int, shift: int = 0
) -> TimeTags:
    """Jittered, late clicks of the pairs and lone ones of every detector, over one second."""
    late = np.rint(np.array(delays)[detector] + rng.normal(0, SIGMA_PS, t.size)).astype(np.int64)
    order = np.argsort(t + late, kind="stable")
    clicks = TimeTags((t + late)[order] + shift, detector.astype(np.uint8)[order])
    return merge(clicks, TimeTags(np.sort(rng.integers(0, 10**12, lone)), rng.integers(0, 4, lone).astype(np.uint8)))


def stations(seed: int, pairs: int, *, common: int = 0, error: float = 0.03) -> tuple[TimeTags, TimeTags]:
    """phi+ pairs at skewed detectors, made with numpy alone; as many lone clicks as pairs on each side."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 10**12, pairs))
    basis_a, basis_b, bit = rng.integers(0, 2, (3, pairs))
    bit_b = np.where(basis_a == basis_b, bit ^ (rng.random(pairs) < error), rng.integers(0, 2, pairs))
    a = station(rng, t, 2 * basis_a + bit, SKEW_A, lone=pairs)
    b = station(rng, t, 2 * basis_b + bit_b, SKEW_B, lone=pairs, shift=common)
    return a, b


def test_skew_is_found_within_its_errors() -> None:
    """n = 60 000 pairs; every delay within five of its stated errors, and these below 2 ps."""
    skew = estimate_skew(*stations(1, 60_000, common=35), 4000)
    assert skew is not None
    for found, error, true in ((skew.a_ps, skew.a_error_ps, SKEW_A), (skew.b_ps, skew.b_error_ps, SKEW_B)):
        assert max(error) < 2
        for value, sigma, delay in zip(found, error, true, strict=True):
            assert value == pytest.approx(delay, abs=5 * sigma)
        assert sum(found) == pytest.approx(0, abs=1e-6)
    assert skew.common_ps == pytest.approx(35, abs=5)
    assert skew.degrees == 16 - 7
    assert skew.chi2 < 9 + 5 * np.sqrt(18)


def test_stated_errors_are_those_of_many_runs() -> None:
    """100 runs of 4000 pairs: root mean square of (found - true)/error over 8 delays is 1 +- 5/sqrt(2 x 600)."""
    pulls = []
    for seed in range(100):
        skew = estimate_skew(*stations(100 + seed, 4000), 4000)
        assert skew is not None
        pulls += [
            (value - true) / error
            for value, error, true in zip(
                skew.a_ps + skew.b_ps, skew.a_error_ps + skew.b_error_ps, SKEW_A + SKEW_B, strict=True
            )
        ]
    # 8 delays of a run have 6 degrees of freedom.
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=5 / np.sqrt(2 * 600))


def test_correcting_narrows_the_peak_to_the_jitter() -> None:
    a, b = stations(2, 40_000)
    skew = estimate_skew(a, b, 4000)
    assert skew is not None
    again = estimate_skew(corrected(a, skew.a_ps), corrected(b, skew.b_ps), 4000)
    assert again is not None
    assert max(abs(d) for d in again.a_ps + again.b_ps) < 1.0  # whole picoseconds were taken off
    flat = pair_delays(corrected(a, skew.a_ps), corrected(b, skew.b_ps), 1200)
    assert np.nanmax(np.abs(flat.mean_ps)) < 5 * np.nanmax(flat.error_ps) + 1


def test_skew_of_a_measured_link_is_what_its_fit_says() -> None:
    """The shipped model of a real link: about 500 pairs/s among 1.35 million and 5700 singles/s, 6 s.

    Alice's response is Gaussian, so her delays are the fitted ones. Bob's have tails, whose mean (fraction x length)
    adds to his; the window of 4 ns cuts their last hundredth off, by 5 ps at most.
    """
    link = load_scenario("edinburgh-36db")
    recording = simulate(link, 6.0, np.random.default_rng(9))
    skew = estimate_skew(recording.alice, recording.bob, 4000)
    assert skew is not None
    tails = [r.tail_fraction * r.tail_ps for r in link.bob.detectors.response]  # type: ignore[union-attr]
    alice, bob = np.array(link.alice.detectors.delay_ps), np.array(link.bob.detectors.delay_ps) + tails
    assert np.ptp(alice) > 100
    for found, error, true, slack in (
        (skew.a_ps, skew.a_error_ps, alice, 0.0),
        (skew.b_ps, skew.b_error_ps, bob, 5.0),
    ):
        for value, sigma, delay in zip(found, error, true - true.mean(), strict=True):
            assert sigma < 15
            assert value == pytest.approx(delay, abs=5 * sigma + slack)


def test_accidentals_do_not_pull_the_delays() -> None:
    """Singles that make half as many accidentals in the window as there are pairs: the mean is not diluted."""
    rng = np.random.default_rng(3)
    t = np.sort(rng.integers(0, 10**12, 20_000))
    zero = np.zeros(t.size, np.uint8)
    noise = [TimeTags(np.sort(rng.integers(0, 10**12, 1_500_000)), np.zeros(1_500_000, np.uint8)) for _ in range(2)]
    a, b = merge(TimeTags(t, zero), noise[0]), merge(TimeTags(t + 600, zero), noise[1])
    found = pair_delays(a, b, 4000)
    # sigma of the mean: 9000 accidentals of 1155 ps over 20 000 pairs, 5.5 ps, and sqrt(9000)/20 000 of 600 ps: 2.8.
    assert found.error_ps[0, 0] == pytest.approx(5.5, rel=0.2)
    assert found.mean_ps[0, 0] == pytest.approx(600, abs=5 * 6.2)


def test_detectors_that_never_meet_stay_unknown() -> None:
    """Detector 2 of Alice has no pairs; 3 and 3 see only each other, fewer than the rest."""
    rng = np.random.default_rng(4)
    t = np.sort(rng.integers(0, 10**12, 6000))
    who_a = np.where(np.arange(6000) % 6 == 0, 3, rng.integers(0, 2, 6000))
    who_b = np.where(np.arange(6000) % 6 == 0, 3, rng.integers(0, 3, 6000))
    a, b = (station(rng, t, who, SKEW_A, lone=500) for who in (who_a, who_b))
    skew = estimate_skew(a, b, 4000)
    assert skew is not None
    assert [d is None for d in skew.a_ps] == [False, False, True, True]
    assert [d is None for d in skew.b_ps] == [False, False, False, True]
    assert skew.a_ps[1] - skew.a_ps[0] == pytest.approx(450, abs=5 * 7)  # type: ignore[operator]
    nobody = TimeTags(np.arange(0, 10**12, 10**8), np.zeros(10**4, np.uint8))
    assert estimate_skew(nobody, TimeTags(nobody.t_ps + 5 * 10**7, nobody.channel), 1000) is None


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_own_skew_needs_no_outcome_of_the_other_side(error: float) -> None:
    """n = 100 000 pairs, the other side skewed by more: ours within five stated errors, in and between bases."""
    a, b = stations(5, 100_000, error=error)
    found = own_skew(a, b.t_ps, b.channel >> 1, 4000)
    assert found is not None
    for value, sigma, delay in zip(*found, SKEW_A, strict=True):
        assert sigma < 4
        assert value == pytest.approx(delay, abs=5 * sigma)
    # And the same for Bob, told Alice's times.
    other = own_skew(b, a.t_ps, a.channel >> 1, 4000)
    assert other is not None
    assert other[0] == pytest.approx(SKEW_B, abs=20)


def test_own_skew_within_a_basis_survives_unequal_efficiencies() -> None:
    """The other side's V and A detectors at half efficiency: our differences within a basis stay ours, five sigma."""
    a, b = stations(7, 150_000)
    lost = (b.channel % 2 == 1) & (np.random.default_rng(8).random(len(b)) < 0.5)
    found = own_skew(a, b.t_ps[~lost], b.channel[~lost] >> 1, 4000)
    assert found is not None
    value, sigma = found
    for one, other in ((0, 1), (2, 3)):
        error = np.hypot(sigma[one], sigma[other])
        assert value[one] - value[other] == pytest.approx(SKEW_A[one] - SKEW_A[other], abs=5 * error)


def test_own_skew_refuses_what_it_cannot_place() -> None:
    a, b = stations(6, 200)
    assert own_skew(a, b.t_ps, np.zeros(len(b), np.uint8), 4000) is None
    with pytest.raises(ParameterError):
        own_skew(a, b.t_ps, b.channel, 4000)


tags = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 3)), max_size=30).map(
    lambda found: sorted(found, key=lambda tag: tag[0])
)
delays = st.lists(st.integers(-25, 25), min_size=4, max_size=4)


def as_tags(found: list[tuple[int, int]]) -> TimeTags:
    return TimeTags(np.array([t for t, _ in found], np.int64), np.array([c for _, c in found], np.uint8))


def as_list(found: TimeTags) -> list[tuple[int, int]]:
    return list(zip(found.t_ps.tolist(), found.channel.tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(found=tags, off=delays)
def test_correction_is_a_stable_sort(found: list[tuple[int, int]], off: list[int]) -> None:
    assert as_list(corrected(as_tags(found), off)) == slow.corrected(found, off)


@settings(max_examples=200, deadline=None)
@given(found=tags, off=delays, data=st.data())
def test_a_corrected_stream_does_not_depend_on_how_it_is_cut(
    found: list[tuple[int, int]], off: list[int], data: st.DataObject
) -> None:
    whole = as_tags(found)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    corrector, parts = SkewCorrector(off), []
    for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        parts.append(corrector.feed(TimeTags(whole.t_ps[start:stop], whole.channel[start:stop])))
    parts.append(corrector.finish())
    assert as_list(join(*parts)) == slow.corrected(found, off)


@settings(max_examples=100, deadline=None)
@given(a=tags, b=tags, least=st.integers(-30, 30), width=st.integers(0, 40))
def test_moments_are_those_of_all_pairs(
    a: list[tuple[int, int]], b: list[tuple[int, int]], least: int, width: int
) -> None:
    count, total, square = np.zeros((4, 4), np.int64), np.zeros((4, 4)), np.zeros((4, 4))
    x, y = as_tags(a), as_tags(b)
    add_moments(x.t_ps, x.channel, y.t_ps, y.channel, least, least + width, count, total, square)
    expected = slow.moments(a, b, least, least + width)
    for i, j in np.ndindex(4, 4):
        assert [count[i, j], total[i, j], square[i, j]] == expected.get((i, j), [0, 0, 0])


def test_skews_that_cannot_be() -> None:
    some = as_tags([(1, 0), (5, 2)])
    assert as_list(corrected(some, (None, 3.0))) == [(1, 0), (5, 2)]
    for bad in (2e6, float("nan")):
        with pytest.raises(ParameterError, match="detector 1"):
            corrected(some, (0.0, bad))
    with pytest.raises(ParameterError):
        corrected(as_tags([(5, 0), (1, 0)]), (0.0,))
