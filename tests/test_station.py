"""A station's clicks become events: multiple clicks are kept with random bits; cutting the stream changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from distribution.simulate import simulate
from distribution.sources.replay import Replay
from distribution.tags import Gap, GapCause, TagChunk, TimeTags
from qkd.errors import ParameterError
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role, Steps
from qkd.exchange.transcript import Transcript
from qkd.kernels.clicks import follow
from qkd.randomness import FixedBits
from qkd.station import Events, Station, group_clicks
from tests.attack_table import metro
from tests.reference import clicks as slow


def tags(*clicks: tuple[int, int]) -> TimeTags:
    return TimeTags(np.array([t for t, _ in clicks], np.int64), np.array([c for _, c in clicks], np.uint8))


def test_single_clicks_follow_the_detector_map() -> None:
    events = group_clicks(tags((0, 0), (10_000, 1), (20_000, 2), (30_000, 3)), 2000, FixedBits("x"))
    assert events.basis.tolist() == [0, 0, 1, 1]
    assert events.bit.tolist() == [0, 1, 0, 1]
    assert events.double_clicks == 0


def test_the_same_detector_twice_is_one_plain_event() -> None:
    events = group_clicks(tags((0, 1), (500, 1)), 2000, FixedBits("x"))
    assert (len(events), events.bit.tolist(), events.double_clicks) == (1, [1], 0)


def test_double_clicks_are_kept_with_unbiased_random_bits() -> None:
    """n = 4000 double clicks within Z and 4000 across: bit (and basis) means within five sigma of 1/2."""
    within = [(i * 10_000 + d, d) for i in range(4000) for d in (0, 1)]
    across = [(i * 10_000 + d, d) for i in range(4000) for d in (1, 2)]
    five_sigma = 5 * 0.5 / np.sqrt(4000)
    z = group_clicks(tags(*within), 2000, FixedBits("within"))
    assert len(z) == z.double_clicks == 4000
    assert set(z.basis.tolist()) == {0}
    assert abs(z.bit.mean() - 0.5) < five_sigma
    both = group_clicks(tags(*across), 2000, FixedBits("across"))
    assert len(both) == both.double_clicks == 4000
    assert abs(both.bit.mean() - 0.5) < five_sigma
    assert abs(both.basis.mean() - 0.5) < five_sigma
    assert abs(np.mean(both.bit == both.basis) - 0.5) < five_sigma


clicks = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), max_size=30)


@settings(max_examples=200, deadline=None)
@given(found=clicks, gap_ps=st.integers(0, 12))
def test_events_are_those_of_the_slow_grouping(found: list[tuple[int, int]], gap_ps: int) -> None:
    found = sorted(found, key=lambda click: click[0])
    events = group_clicks(tags(*found), gap_ps, FixedBits("x"))
    expected = slow.events(found, gap_ps)
    assert events.t_ps.tolist() == [t for t, _ in expected]
    assert events.double_clicks == sum(len(fired) > 1 for _, fired in expected)
    for basis, bit, (_, fired) in zip(events.basis, events.bit, expected, strict=True):
        # One detector decides both; several within a basis decide the basis.
        if len({detector >> 1 for detector in fired}) == 1:
            assert {basis} == {detector >> 1 for detector in fired}
        if len(fired) == 1:
            assert {bit} == {detector & 1 for detector in fired}


def test_a_fifth_detector_is_refused() -> None:
    with pytest.raises(ParameterError, match="detector 4"):
        group_clicks(tags((0, 4)), 2000, FixedBits("x"))


def collected(stream: TimeTags, cuts: list[int], mute_ps: int = 0) -> Events:
    """Run the station over the stream, asking for tags at the given times and then for the rest."""
    station = Station(2000, FixedBits("same"), mute_ps=mute_ps)

    def role() -> Steps[None]:
        for cut in [*cuts, 1 << 60]:
            yield from station.collect(cut)

    source = Replay(stream)
    engine = Engine(Role.ALICE, role(), Transcript())
    while engine.wants_tags is not None:
        engine.feed(source.until(engine.wants_tags.until_ps))
    assert engine.done
    return station.take_events()


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3)), min_size=1, max_size=40),
    st.lists(st.integers(0, 60_000), max_size=6).map(sorted),
)
def test_cutting_the_stream_changes_no_event(gaps: list[tuple[int, int]], cuts: list[int]) -> None:
    t_ps = np.cumsum([gap for gap, _ in gaps]).astype(np.int64)
    stream = TimeTags(t_ps, np.array([c for _, c in gaps], np.uint8))
    whole, pieces = collected(stream, []), collected(stream, cuts)
    assert whole.t_ps.tolist() == pieces.t_ps.tolist()
    assert whole.double_clicks == pieces.double_clicks


def test_events_at_the_edge_of_a_gap_count_as_multiple_clicks() -> None:
    """n = 2000 gaps, a click right before each and one right after, all of detector 0: bits and bases within five sigma
    of 1/2; the clicks in between, far from any edge, stay what they are."""
    clicks, edges = [], []
    for i in range(2000):
        start = i * 100_000
        clicks += [(start, 0), (start + 50_000, 0), (start + 98_500, 0)]
        edges += [start - 1000, start + 99_000]
    events = group_clicks(tags(*clicks), 2000, FixedBits("edges"), edges)
    assert len(events) == 6000 - 1999  # the last click before a gap and the first after it are 1.5 ns apart: one event
    assert events.double_clicks == 2001
    plain = np.isin(events.t_ps, [i * 100_000 + 50_000 for i in range(2000)])
    assert not events.bit[plain].any()
    assert not events.basis[plain].any()
    five_sigma = 5 * 0.5 / np.sqrt(2001)
    assert abs(events.bit[~plain].mean() - 0.5) < five_sigma
    assert abs(events.basis[~plain].mean() - 0.5) < five_sigma


class Holed:
    """A replay that tells of one gap with the stretch that it starts in."""

    def __init__(self, stream: TimeTags, gap: Gap) -> None:
        self._replay = Replay(stream)
        self._gap: tuple[Gap, ...] = (gap,)

    def until(self, until_ps: int | None) -> TagChunk:
        chunk = self._replay.until(until_ps)
        if until_ps is None or until_ps <= self._gap[0].start_ps if self._gap else True:
            return chunk
        gaps, self._gap = self._gap, ()
        return TagChunk(chunk.tags, chunk.ended, gaps)


@pytest.mark.parametrize("cut", [9_000, 10_001, 10_500, 12_000, 13_500, 20_000])
def test_a_gap_is_remembered_until_its_events_are_complete(cut: int) -> None:
    """However the stream is cut, the two events at the edges of the gap are the two that become random."""
    stream = tags((0, 0), (10_000, 0), (20_000, 0), (40_000, 0))
    station = Station(2000, FixedBits("same"))

    def role() -> Steps[None]:
        for until in (cut, cut + 1500, 1 << 60):
            yield from station.collect(until)

    source = Holed(stream, Gap(10_500, 19_500, GapCause.OVERFLOW))
    engine = Engine(Role.ALICE, role(), Transcript())
    while engine.wants_tags is not None:
        engine.feed(source.until(engine.wants_tags.until_ps))
    assert station.take_events().double_clicks == 2


# --- the dead window of the whole station -----------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(found=clicks, gap_ps=st.integers(0, 6), mute_ps=st.integers(1, 20), before_ps=st.integers(-20, 0))
def test_only_events_after_silence_count(
    found: list[tuple[int, int]], gap_ps: int, mute_ps: int, before_ps: int
) -> None:
    found = sorted(found, key=lambda click: click[0])
    events = group_clicks(tags(*found), gap_ps, FixedBits("x"), (), max(mute_ps, gap_ps), before_ps)
    # A gap long before takes the other way through the code.
    with_gap = group_clicks(tags(*found), gap_ps, FixedBits("x"), (-10_000,), max(mute_ps, gap_ps), before_ps)
    assert with_gap.t_ps.tolist() == events.t_ps.tolist()
    assert (with_gap.bit.tolist(), with_gap.basis.tolist()) == (events.bit.tolist(), events.basis.tolist())
    assert (with_gap.muted, with_gap.across) == (events.muted, events.across)
    heard = slow.heard(found, gap_ps, max(mute_ps, gap_ps), before_ps)
    every = slow.events(found, gap_ps)
    expected = [event for event, counts in zip(every, heard, strict=True) if counts]
    assert events.t_ps.tolist() == [t for t, _ in expected]
    assert events.muted == len(every) - len(expected)
    assert events.double_clicks == sum(len(fired) > 1 for _, fired in expected)
    assert events.across == sum(len({detector >> 1 for detector in fired}) > 1 for _, fired in expected)
    for basis, bit, (_, fired) in zip(events.basis, events.bit, expected, strict=True):
        if len({detector >> 1 for detector in fired}) == 1:
            assert {basis} == {detector >> 1 for detector in fired}
        if len(fired) == 1:
            assert {bit} == {detector & 1 for detector in fired}


@settings(max_examples=100, deadline=None)
@given(found=clicks, others=st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_which_events_count_does_not_depend_on_the_detectors(found: list[tuple[int, int]], others: list[int]) -> None:
    """The same times with any other detectors: the same events at the same times."""
    found = sorted(found, key=lambda click: click[0])
    changed = [(t, detector) for (t, _), detector in zip(found, others, strict=False)]
    one, other = (group_clicks(tags(*c), 3, FixedBits("x"), (7, 19), 5, -3) for c in (found, changed))
    assert one.t_ps.tolist() == other.t_ps.tolist()
    assert one.muted == other.muted


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 3)), min_size=1, max_size=40),
    st.lists(st.integers(0, 180_000), max_size=6).map(sorted),
)
def test_cutting_the_stream_mutes_no_other_event(gaps: list[tuple[int, int]], cuts: list[int]) -> None:
    t_ps = np.cumsum([gap for gap, _ in gaps]).astype(np.int64)
    stream = TimeTags(t_ps, np.array([c for _, c in gaps], np.uint8))
    whole, pieces = collected(stream, [], 5000), collected(stream, cuts, 5000)
    assert whole.t_ps.tolist() == pieces.t_ps.tolist()
    assert (whole.double_clicks, whole.across, whole.muted) == (pieces.double_clicks, pieces.across, pieces.muted)


@pytest.mark.parametrize("cut", [9_000, 10_001, 10_500, 19_600, 22_000, 40_000])
def test_after_a_gap_the_station_is_mute_however_the_stream_is_cut(cut: int) -> None:
    """Tags are lost from 10.5 to 19.5 ns; with 5 ns the event at 24 ns does not count, nor that just after it."""
    stream = tags((0, 0), (9_000, 0), (24_000, 0), (24_500, 1), (40_000, 0))
    station = Station(400, FixedBits("same"), mute_ps=5000)

    def role() -> Steps[None]:
        for until in (cut, cut + 1500, 1 << 60):
            yield from station.collect(until)

    source = Holed(stream, Gap(10_500, 19_500, GapCause.OVERFLOW))
    engine = Engine(Role.ALICE, role(), Transcript())
    while engine.wants_tags is not None:
        engine.feed(source.until(engine.wants_tags.until_ps))
    assert station.take_events().t_ps.tolist() == [9_000, 40_000]


def test_where_a_stream_begins_nobody_knows_what_came_before() -> None:
    assert group_clicks(tags((0, 0), (9_000, 1)), 2000, FixedBits("x"), (), 5000).t_ps.tolist() == [9_000]
    assert group_clicks(tags((0, 0), (9_000, 1)), 2000, FixedBits("x"), (), 5000, -5000).t_ps.tolist() == [0, 9_000]
    station = Station(2000, FixedBits("x"), mute_ps=5000)
    source = Replay(tags((0, 0), (9_000, 1), (20_000, 1), (30_000, 2)))

    def role() -> Steps[None]:
        yield from station.collect(15_000)
        station.forget_events()
        yield from station.collect(1 << 60)

    engine = Engine(Role.ALICE, role(), Transcript())
    while engine.wants_tags is not None:
        engine.feed(source.until(engine.wants_tags.until_ps))
    assert station.take_events().t_ps.tolist() == [30_000]


@settings(max_examples=200, deadline=None)
@given(
    found=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 1), st.integers(0, 1)), max_size=30),
    near_ps=st.integers(0, 20),
)
def test_neighbours_are_counted_as_slowly(found: list[tuple[int, int, int]], near_ps: int) -> None:
    found = sorted(found, key=lambda event: event[0])
    near, every = np.zeros(4, np.int64), np.zeros(4, np.int64)
    t, basis, bit = (
        np.array([event[i] for event in found], kind) for i, kind in enumerate((np.int64, np.uint8, np.uint8))
    )
    events = np.zeros(4, np.int64)
    follow(t, basis, bit, near_ps, events, near, every)
    assert events.tolist() == np.bincount(2 * basis + bit, minlength=4).tolist()
    assert (near.tolist(), every.tolist()) == slow.following(found, near_ps)


def test_separate_dead_times_tie_an_outcome_to_the_one_before_and_one_window_unties_it() -> None:
    """Bob of the metropolitan link without loss, dead time 30 ns, 0.5 s, seed 21: 1.6 million clicks.

    Of neighbours of one basis less than 100 ns apart, how many have equal outcomes. Without a window: n = 180 000, and
    equal ones are missing by far more than five sigma. With 50 ns: n = 94 000, within five sigma of one half.
    """
    link = metro()
    stream = simulate(replace(link, bob=replace(link.bob, loss_db=0.0)), 0.5, np.random.default_rng(21)).bob

    def deviation(mute_ps: int) -> tuple[int, float]:
        found = group_clicks(stream, 2000, FixedBits("dead"), (), mute_ps)
        near, every = np.zeros(4, np.int64), np.zeros(4, np.int64)
        follow(found.t_ps, found.basis, found.bit, 100_000, np.zeros(4, np.int64), near, every)
        n = int(near.sum())
        return n, (int(near[1] + near[3]) - n / 2) / np.sqrt(n / 4)

    n, apart = deviation(0)
    assert n > 150_000
    assert apart < -50
    n, apart = deviation(50_000)
    assert n > 80_000
    assert abs(apart) < 5
