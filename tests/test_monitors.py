"""Monitors on synthetic tags and pairs: what they measure, when they alarm, how seldom without a reason."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2, norm, poisson

from distribution import tails
from distribution.errors import ParameterError
from distribution.kernels.neighbours import count_neighbours
from distribution.monitors.arrival import grouped, information
from distribution.monitors.finding import Finding, Watch
from distribution.monitors.intervals import Intervals
from distribution.monitors.ladder import Ladder
from distribution.monitors.limits import Limits
from distribution.monitors.mismatch import tolerated_share
from distribution.monitors.pairs import PairMonitor
from distribution.monitors.station import StationMonitor
from distribution.tags import TimeTags, merge
from distribution.units import PS_PER_S
from tests.reference import neighbours as reference

QUICK = Limits(interval_s=0.05, reference_events=5_000)


def clicks(
    rng: np.random.Generator, cps: tuple[float, ...] = (2e5,) * 4, seconds: float = 0.3, start_s: float = 0.0
) -> TimeTags:
    """Independent Poisson clicks of four detectors."""
    streams = []
    for detector, rate in enumerate(cps):
        n = rng.poisson(rate * seconds)
        t_ps = np.sort(rng.integers(0, round(seconds * PS_PER_S), n)) + round(start_s * PS_PER_S)
        streams.append(TimeTags(t_ps, np.full(n, detector, np.uint8)))
    return merge(*streams)


def pairs(
    rng: np.random.Generator,
    n: int = 60_000,
    *,
    share_0: float = 0.5,
    skew_ps: float = 0.0,
    mixed: float = 1.0,
    seconds: float = 0.3,
    start_s: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs with Gaussian delays of 80 ps; outcome 1 comes later by the skew; `mixed` of the unequal bases are kept."""
    t_ps = np.sort(rng.integers(0, round(seconds * PS_PER_S), n)) + round(start_s * PS_PER_S)
    basis, theirs = rng.integers(0, 2, n), rng.integers(0, 2, n)
    bit = rng.random(n) >= share_0
    delay = np.clip(np.rint(rng.normal((bit - 0.5) * skew_ps, 80.0)), -500, 500).astype(np.int64)
    keep = (basis == theirs) | (rng.random(n) < mixed)
    own = (2 * basis + bit).astype(np.uint8)
    return t_ps[keep], delay[keep], own[keep], theirs[keep].astype(np.uint8)


def station_after(*stretches: TimeTags, limits: Limits = QUICK) -> StationMonitor:
    monitor = StationMonitor(2000, limits)
    for tags in stretches:
        monitor.feed(tags)
    monitor.finish()
    return monitor


def pairs_after(*stretches: tuple[np.ndarray, ...], limits: Limits = QUICK) -> PairMonitor:
    monitor = PairMonitor(1000, limits)
    for t_ps, delay, own, theirs in stretches:
        monitor.feed(t_ps, delay, own, theirs)
    monitor.finish()
    return monitor


def names(monitor: StationMonitor | PairMonitor) -> set[Watch]:
    return {finding.watch for finding in monitor.alarms}


def finding(monitor: StationMonitor | PairMonitor, watch: Watch) -> Finding:
    return next(f for f in monitor.findings() if f.watch is watch)


# --- parts ---------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), max_size=50),
    st.integers(1, 12),
    st.sampled_from([0, 50]),
    st.integers(0, 50),
)
def test_the_kernel_counts_as_the_slow_reference(
    gaps: list[tuple[int, int]], near_ps: int, period_ps: int, cut: int
) -> None:
    t_ps = np.cumsum([gap for gap, _ in gaps], dtype=np.int64)
    channel = np.array([c for _, c in gaps], np.uint8)
    counts = np.zeros((2, 4, 4), np.int64)
    cut = min(cut, t_ps.size)
    count_neighbours(t_ps[:cut], channel[:cut], 0, near_ps, 20, 200, period_ps, counts)
    count_neighbours(t_ps, channel, cut, near_ps, 20, 200, period_ps, counts)
    due = reference.count_neighbours(t_ps.tolist(), channel.tolist(), near_ps, 20, 200, period_ps)
    assert counts.tolist() == due.tolist()


def test_a_ladder_adds_up_blocks_of_powers_of_two() -> None:
    ladder: Ladder[int] = Ladder()
    blocks = [list(ladder.add(1)) for _ in range(1000)]
    assert blocks[7] == [1, 2, 4, 8]
    assert sum(map(len, blocks)) < 2 * 1000
    assert sum(block.count(256) for block in blocks) == 3


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 250), max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_intervals_do_not_depend_on_the_pieces(gaps: list[int], cuts: list[int]) -> None:
    t_ps = np.cumsum(gaps, dtype=np.int64)

    def counted(pieces: list[np.ndarray]) -> list[int]:
        intervals, sums, n = Intervals(100), [], 0
        for piece in pieces:
            for part, over in intervals.pieces(piece):
                n += piece[part].size
                if over:
                    sums.append(n)
                    n = 0
        return [*sums, n]

    whole = counted([t_ps])
    assert sum(whole) == t_ps.size
    assert counted(np.split(t_ps, sorted(min(c, t_ps.size) for c in cuts))) == whole


def test_tails_are_those_of_scipy() -> None:
    """Expected values from scipy.stats, which sums or inverts by other routes."""
    for k, n, p in ((0, 10, 0.3), (7, 10, 0.3), (10, 10, 0.3), (600, 1000, 0.5)):
        assert tails.binomial_at_least(k, n, p) == pytest.approx(binom.sf(k - 1, n, p), rel=1e-9)
    for k, mean in ((0, 2.0), (5, 2.0), (40, 12.0)):
        assert tails.poisson_at_least(k, mean) == pytest.approx(poisson.sf(k - 1, mean), rel=1e-9)
        assert tails.poisson_at_most(k, mean) == pytest.approx(poisson.cdf(k, mean), rel=1e-9)
    assert tails.chi_square_above(30.0, 3) == pytest.approx(chi2.sf(30.0, 3))
    low, high = tails.share_limits(40, 100, 0.01)
    assert binom.sf(39, 100, low) == pytest.approx(0.01)
    assert binom.cdf(40, 100, high) == pytest.approx(0.01)
    assert 1.0 - tails.bit_entropy(tolerated_share(0.01)) == pytest.approx(0.01)


# --- what is measured ----------------------------------------------------------------------------------------------


def skew_bits(skew_ps: float, sigma_ps: float) -> float:
    """Mutual information of an even bit and a delay that it shifts: an integral, independent of any histogram."""
    x = np.linspace(-8 * sigma_ps - skew_ps, 8 * sigma_ps + skew_ps, 200_001)
    p, q = norm.pdf(x, -skew_ps / 2, sigma_ps), norm.pdf(x, skew_ps / 2, sigma_ps)
    mean = (p + q) / 2
    tiny = np.finfo(float).tiny
    inner = (p * np.log2((p + tiny) / (mean + tiny)) + q * np.log2((q + tiny) / (mean + tiny))) / 2
    return float(inner.sum() * (x[1] - x[0]))


@pytest.mark.parametrize("skew_ps", [20.0, 80.0, 400.0])
def test_information_of_a_skew_is_its_integral(skew_ps: float) -> None:
    """n = 4e5 sifted pairs; 16 groups lose less than 2 % of it; error of the estimate sqrt(2 I / n) to first order."""
    rng = np.random.default_rng(1)
    monitor = pairs_after(pairs(rng, 1_600_000, skew_ps=skew_ps))
    found, due = finding(monitor, Watch.ARRIVAL_INFORMATION), skew_bits(skew_ps, 80.0)
    assert found.counts["pairs"] == pytest.approx(4e5, rel=0.01)
    # Pairs at the edge of the window are clipped there, and the worse of two bases is shown.
    assert abs(found.statistic - due) < 0.02 * due + 5 * math.sqrt(2 * due / 4e5 / math.log(2))
    assert found.alarm
    assert found.counts["mean_delay_1_ps"] - found.counts["mean_delay_0_ps"] == pytest.approx(skew_ps, abs=5.0)


def test_without_a_skew_the_corrected_information_is_zero_on_average_and_its_chance_uniform() -> None:
    """600 independent tables of 20 000 pairs in 16 groups; mean within five sigma, chances below 0.1 as binomial."""
    rng = np.random.default_rng(2)
    bits, chances = [], []
    for _ in range(600):
        delay = np.clip(rng.normal(32, 6, 20_000), 0, 63).astype(np.int64)
        table = grouped(np.stack([np.bincount(d, minlength=64) for d in (delay[::2], delay[1::2])]).astype(np.int64))
        assert table is not None
        assert table.shape == (2, 16)
        b, c = information(table)
        bits.append(b)
        chances.append(c)
    sigma = math.sqrt(2 * 15) / (2 * 20_000 * math.log(2))  # of a chi-square of 15 degrees, in bits
    assert abs(np.mean(bits)) < 5 * sigma / math.sqrt(600)
    assert np.std(bits) == pytest.approx(sigma, rel=5 / math.sqrt(2 * 600))
    assert abs(np.mean(np.array(chances) < 0.1) - 0.1) < 5 * math.sqrt(0.09 / 600)


def test_too_few_pairs_say_nothing_of_arrival_times() -> None:
    monitor = pairs_after(pairs(np.random.default_rng(3), 60))
    assert not {Watch.ARRIVAL_INFORMATION, Watch.TIME_SHIFT} & {f.watch for f in monitor.findings()}
    assert grouped(np.array([[4000, 0], [4000, 0]])) is None


def test_double_clicks_due_are_those_of_independent_detectors() -> None:
    """Pairs of different detectors: sum of n_i n_j / T times the delays; both estimates within five sigma."""
    monitor = station_after(clicks(np.random.default_rng(4), (3e5, 2e5, 4e5, 1e5), 1.0))
    due = 2 * 1999.5e-12 * (6 + 12 + 3 + 8 + 2 + 4) * 1e10
    said = finding(monitor, Watch.DOUBLE_CLICKS).counts
    assert abs(said["due"] - due) < 5 * math.sqrt(due / 40)
    assert abs(said["together"] - due) < 5 * math.sqrt(due)
    assert finding(monitor, Watch.BLINDING).counts["due"] == pytest.approx(due, rel=0.01)


# --- clean runs ----------------------------------------------------------------------------------------------------


def test_clean_streams_do_not_alarm() -> None:
    """60 runs of 0.3 s (6 intervals) at rates from dark to bright, and of few to many pairs."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rate = float(rng.choice([1e2, 1e4, 2e5, 6e5]))
        station = station_after(clicks(rng, (rate, 1.1 * rate, 0.95 * rate, rate)))
        assert not station.alarms, station.alarms
        pair = pairs_after(pairs(rng, int(rng.choice([50, 3_000, 40_000])), share_0=0.48, skew_ps=3.0))
        assert not pair.alarms, pair.alarms


def test_false_alarms_are_as_rare_as_stated() -> None:
    """At a stated 0.1 per interval, 300 runs of one interval each raise fewer than 30 plus five sigma."""
    loose = Limits(interval_s=0.05, false_alarm=0.1, information_bits=1e-9, shift_share=1e-6)
    alarms = 0
    for seed in range(300):
        rng = np.random.default_rng(1000 + seed)
        monitor = PairMonitor(1000, loose)
        monitor.feed(*pairs(rng, 4000, seconds=0.06))
        alarms += len(monitor.alarms)
    assert 0 < alarms < 30 + 5 * math.sqrt(30)


def test_a_mismatch_within_the_tolerance_is_none() -> None:
    """Efficiency ratio 1.2 costs 0.006 bit: found and reported, no alarm however many the counts."""
    monitor = station_after(clicks(np.random.default_rng(5), (6e5, 5e5, 6e5, 5e5), 1.0))
    found = finding(monitor, Watch.EFFICIENCY_MISMATCH)
    assert 0.004 < found.statistic < 0.008
    assert not monitor.alarms


# --- what makes each alarm -----------------------------------------------------------------------------------------


def test_a_skew_of_detectors_is_information_and_a_shift() -> None:
    monitor = pairs_after(pairs(np.random.default_rng(6), skew_ps=40.0))
    assert names(monitor) == {Watch.ARRIVAL_INFORMATION, Watch.TIME_SHIFT}


def test_extra_double_clicks_alarm() -> None:
    """2000 added within 1 ns, to about 770 due."""
    rng = np.random.default_rng(7)
    honest = clicks(rng)
    chosen = rng.choice(len(honest), 2000, replace=False)
    chosen.sort()
    echo = TimeTags(honest.t_ps[chosen] + 500, (honest.channel[chosen] + 1) % 4)
    assert names(station_after(merge(honest, echo))) == {Watch.DOUBLE_CLICKS}


def test_a_station_without_double_clicks_is_blinded() -> None:
    """One apparatus that recovers for 200 ns makes all clicks."""
    honest = clicks(np.random.default_rng(8))
    apart = np.concatenate([[True], np.diff(honest.t_ps) > 200_000])
    faked = TimeTags(honest.t_ps[apart], honest.channel[apart])
    assert names(station_after(faked)) == {Watch.BLINDING}
    muted = Limits(interval_s=0.05, station_dead_ps=200_000)
    assert not station_after(faked, limits=muted).alarms


def test_a_detector_below_its_dark_counts_is_blinded() -> None:
    rng = np.random.default_rng(9)
    floor = Limits(interval_s=0.05, floor_cps=500.0)
    assert not station_after(clicks(rng, (2e3, 2e3, 500.0, 500.0), 1.0), limits=floor).alarms
    blind = station_after(clicks(rng, (2e3, 2e3, 10.0, 12.0), 1.0), limits=floor)
    assert Watch.BLINDING in names(blind)
    assert "detector 2" in finding(blind, Watch.BLINDING).detail


def test_pairs_missing_in_different_bases_are_blinding() -> None:
    assert names(pairs_after(pairs(np.random.default_rng(10), mixed=0.7))) == {Watch.BLINDING}


def test_unequal_outcomes_are_a_mismatch() -> None:
    """Share 0.6 costs 0.029 bit."""
    monitor = pairs_after(pairs(np.random.default_rng(11), share_0=0.6))
    assert names(monitor) == {Watch.EFFICIENCY_MISMATCH}
    assert monitor.alarms[0].statistic == pytest.approx(1 - tails.bit_entropy(0.6), abs=0.01)
    assert Watch.EFFICIENCY_MISMATCH in names(station_after(clicks(np.random.default_rng(12), (3e5, 2e5, 2e5, 2e5))))


def test_shares_that_move_during_the_session_are_bias() -> None:
    rng = np.random.default_rng(13)
    long = Limits(interval_s=0.05, reference_events=100_000)
    monitor = pairs_after(pairs(rng, 300_000), pairs(rng, 300_000, share_0=0.45, start_s=0.3), limits=long)
    assert names(monitor) == {Watch.BIAS}
    assert "outcome 0" in monitor.alarms[0].detail
    before, after = clicks(rng), clicks(rng, (2.4e5, 2.4e5, 2e5, 2e5), start_s=0.3)
    assert names(station_after(before, after, limits=long)) == {Watch.BIAS}


def test_a_rate_that_jumps_alarms_and_a_restart_does_not() -> None:
    rng = np.random.default_rng(14)
    before, after = clicks(rng), clicks(rng, (1e5,) * 4, start_s=0.3)
    assert names(station_after(before, after)) == {Watch.RATE_JUMP}
    monitor = StationMonitor(2000, QUICK)
    monitor.feed(before)
    monitor.restart()
    monitor.feed(after)
    monitor.finish()
    assert not monitor.alarms
    gap = station_after(before, clicks(rng, start_s=7.0))
    assert names(gap) == {Watch.RATE_JUMP}


def test_photons_of_one_pulse_are_no_double_clicks_too_many() -> None:
    """Pulses every 10 ns: 0.02 clicks per detector and pulse put five times the continuous rate into 2 ns."""
    rng = np.random.default_rng(15)
    pulses = 4_000_000
    streams = []
    for detector in range(4):
        at = np.flatnonzero(rng.random(pulses) < 0.005)
        streams.append(TimeTags(at * 10_000 + rng.integers(0, 300, at.size), np.full(at.size, detector, np.uint8)))
    tags = merge(*streams)
    assert Watch.DOUBLE_CLICKS in names(station_after(tags))
    pulsed = Limits(interval_s=0.01, pulse_period_ps=10_000)
    assert not station_after(tags, limits=pulsed).alarms


# --- streaming -----------------------------------------------------------------------------------------------------


def test_verdicts_do_not_depend_on_the_pieces() -> None:
    rng = np.random.default_rng(16)
    tags = merge(clicks(rng, (2e5, 1e5, 2e5, 2e5)), TimeTags(np.array([0, 900_000_000_000]), np.zeros(2, np.uint8)))
    made = pairs(rng, 20_000, skew_ps=40.0)
    whole_station, whole_pairs = station_after(tags), pairs_after(made)
    for pieces in (7, 300):
        cuts = np.sort(rng.integers(0, len(tags), pieces))
        parts = zip(np.split(tags.t_ps, cuts), np.split(tags.channel, cuts), strict=True)
        station = station_after(*(TimeTags(t, c) for t, c in parts))
        assert station.alarms == whole_station.alarms
        assert station.findings() == whole_station.findings()
        cuts = np.sort(rng.integers(0, made[0].size, pieces))
        pair = pairs_after(*zip(*(np.split(column, cuts) for column in made), strict=True))
        assert pair.alarms == whole_pairs.alarms
        assert pair.findings() == whole_pairs.findings()
    assert whole_station.alarms
    assert whole_pairs.alarms


def test_memory_is_that_of_the_last_microseconds() -> None:
    monitor = StationMonitor(2000, QUICK)
    rng = np.random.default_rng(17)
    for second in range(3):
        monitor.feed(clicks(rng, start_s=0.3 * second))
    assert len(monitor._recent) < 50


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        (lambda: StationMonitor(2000).feed(TimeTags(np.array([5, 3]), np.zeros(2, np.uint8))), "t_ps"),
        (lambda: StationMonitor(2000).feed(TimeTags(np.array([5]), np.full(1, 4, np.uint8))), "detector 4"),
        (lambda: StationMonitor(2000, Limits(pulse_period_ps=5000)), "pulse period of 5000 ps"),
        (lambda: Limits(false_alarm=0.5), "false_alarm = 0.5"),
        (lambda: PairMonitor(1000).feed(*(np.zeros(k, np.int64) for k in (2, 2, 1, 2))), "equal vectors"),
        (lambda: PairMonitor(1000).feed(*(np.full(1, k) for k in (0, 0, 4, 0))), "detector 4"),
    ],
)
def test_impossible_input_is_refused(feed: object, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        feed()  # type: ignore[operator]


def test_a_finding_says_what_it_means_and_what_to_do() -> None:
    alarm = pairs_after(pairs(np.random.default_rng(18), mixed=0.5)).alarms[0]
    assert alarm.text.startswith("blinding: ")
    assert "stop making keys" in alarm.text
    fields = alarm.fields()
    assert fields["alarm"] is True
    assert fields["monitor"] == "blinding"
    assert fields["chance"] < fields["chance_limit"]
