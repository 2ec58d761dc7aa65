"""Coarser times: exact bins, and what they cost and hide against closed forms and draws (seeds fixed, five sigma)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distribution.coarsen import bin_centres_ps, bin_numbers, dithered, skew_leak_bits, window_share
from distribution.errors import ParameterError
from distribution.tags import TimeTags


@settings(deadline=None)
@given(t=st.lists(st.integers(-(10**15), 10**15), max_size=20), bin_ps=st.integers(1, 5000))
def test_a_bin_holds_its_times(t: list[int], bin_ps: int) -> None:
    t_ps = np.array(sorted(t), np.int64)
    bins = bin_numbers(t_ps, bin_ps)
    assert ((bins * bin_ps <= t_ps) & (t_ps < (bins + 1) * bin_ps)).all()
    assert (np.diff(bins) >= 0).all()
    centres = bin_centres_ps(bins, bin_ps)
    assert np.array_equal(bin_numbers(centres, bin_ps), bins)
    assert (np.abs(centres - t_ps) <= bin_ps // 2).all()


def test_dither_is_even_over_its_width() -> None:
    """n = 50 000 per value of 5: each offset -2..2 comes 10 000 times, sigma 89."""
    t_ps = np.arange(50_000, dtype=np.int64) * 1000
    moved = dithered(TimeTags(t_ps, np.zeros(t_ps.size, np.uint8)), 5, np.random.default_rng(1))
    count = np.bincount(moved.t_ps - t_ps + 2, minlength=5)
    assert count.size == 5
    assert np.abs(count - 10_000).max() < 5 * 89


def test_dithered_tags_are_in_order_and_keep_their_detectors() -> None:
    t_ps = np.arange(1000, dtype=np.int64) * 3
    tags = TimeTags(t_ps, (t_ps % 4).astype(np.uint8))
    moved = dithered(tags, 100, np.random.default_rng(2))
    assert (np.diff(moved.t_ps) >= 0).all()
    assert moved.counts() == tags.counts()
    assert np.array_equal(dithered(tags, 1, np.random.default_rng(3)).t_ps, t_ps)


@pytest.mark.parametrize(("bin_ps", "spread_ps", "window_ps"), [(1000, 100, 1000), (300, 120, 800), (50, 200, 900)])
def test_the_share_in_the_window_is_what_draws_show(bin_ps: int, spread_ps: int, window_ps: int) -> None:
    """n = 10^6 pairs: times of one side in bins, delay against the centre; sigma sqrt(p (1 - p) / n)."""
    rng = np.random.default_rng(4)
    born = rng.integers(0, 10**12, 10**6)
    reported = bin_centres_ps(bin_numbers(born, bin_ps), bin_ps)
    delay = born + rng.normal(0, spread_ps, born.size) - reported
    share = np.mean(np.abs(delay) < window_ps / 2)
    expected = window_share(bin_ps, spread_ps, window_ps)
    # Centres of even bins lie half a picosecond beside the middle of their integers.
    assert share == pytest.approx(expected, abs=5 * math.sqrt(share * (1 - share) / born.size) + 1e-4)


def test_no_bins_leave_the_gaussian() -> None:
    for bin_ps in (0, 1):
        assert window_share(bin_ps, 100, 400) == pytest.approx(math.erf(2 / math.sqrt(2)), abs=1e-5)
    # Bins far wider than the window: the share is their ratio.
    assert window_share(10**6, 100, 1000) == pytest.approx(1e-3, rel=1e-6)


def test_leak_of_two_values_by_hand() -> None:
    """Almost no spread and bins of twice the skew: in half of the phases an edge parts the detectors, 1 bit; else 0."""
    assert skew_leak_bits(1000, 500, 0.5) == pytest.approx(0.5, abs=0.02)
    assert skew_leak_bits(100, 500, 0.5) == pytest.approx(1.0)
    assert skew_leak_bits(0, 0, 50) == pytest.approx(0.0, abs=1e-12)
    assert skew_leak_bits(0, 1e9, 1e-3) == 1.0


def test_fine_bins_leak_what_two_gaussians_do() -> None:
    """Mutual information of a sign and a Gaussian about it, n = 10^6 draws of its own definition."""
    spread, skew = 200.0, 300.0
    x = np.random.default_rng(5).normal(skew / 2, spread, 10**6)
    bits = 1 - np.log2(1 + np.exp(-2 * x * (skew / 2) / spread**2))
    assert skew_leak_bits(1, skew, spread) == pytest.approx(bits.mean(), abs=5 * bits.std() / 1000 + 1e-3)


def test_binned_leak_is_what_counting_shows() -> None:
    """n = 4 x 10^6 events born at a known phase; plug-in information of (bit, bin), biased by cells/(2 n ln 2)."""
    rng, bin_ps, skew, spread = np.random.default_rng(6), 500, 240, 100
    n, total = 250_000, []
    for phase in (np.arange(16) + 0.5) * bin_ps / 16:
        bit = rng.integers(0, 2, n)
        bins = np.floor((phase + (bit - 0.5) * skew + rng.normal(0, spread, n)) / bin_ps).astype(np.int64)
        joint = np.histogram2d(bit, bins - bins.min(), bins=(2, np.ptp(bins) + 1))[0] / n
        product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        used = joint > 0
        total.append(float((joint[used] * np.log2(joint[used] / product[used])).sum()))
    assert skew_leak_bits(bin_ps, skew, spread) == pytest.approx(np.mean(total), abs=3e-3)


def test_wider_bins_hide_more_and_cost_more() -> None:
    leaks = [skew_leak_bits(b, 50, 100) for b in (0, 250, 1000, 4000)]
    shares = [window_share(b, 140, 1000) for b in (0, 250, 1000, 4000)]
    assert leaks == sorted(leaks, reverse=True)
    assert shares == sorted(shares, reverse=True)
    assert leaks[-1] < 0.005 < leaks[0]


@pytest.mark.parametrize("bad", [0, -5])
def test_bins_that_cannot_be(bad: int) -> None:
    t_ps = np.zeros(1, np.int64)
    with pytest.raises(ParameterError):
        bin_numbers(t_ps, bad)
    with pytest.raises(ParameterError):
        bin_centres_ps(t_ps, bad)
    with pytest.raises(ParameterError):
        dithered(TimeTags(t_ps, np.zeros(1, np.uint8)), bad, np.random.default_rng(1))
    with pytest.raises(ParameterError):
        window_share(1, bad, 10)
    with pytest.raises(ParameterError):
        skew_leak_bits(1, 1, bad)
