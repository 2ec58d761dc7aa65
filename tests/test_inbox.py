"""The buffer between a driver's thread and a station: order, horizon, patience, memory, and counters that add up."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distribution import inbox as inbox_module
from distribution.errors import FeedError, TagFormatError
from distribution.inbox import DARK_S, MAX_GAPS, PAUSE_BACKLOG, TagInbox
from distribution.tags import EMPTY, Gap, GapCause, TimeTags


def tags(*t_ps: int) -> TimeTags:
    return TimeTags(np.array(t_ps, np.int64), np.zeros(len(t_ps), np.uint8))


def test_tags_wait_for_the_horizon() -> None:
    inbox = TagInbox("it", timeout_s=0.05)
    inbox.put(tags(1, 5, 9), 6)
    assert inbox.until(None).tags.t_ps.tolist() == [1]
    assert inbox.until(6).tags.t_ps.tolist() == [5]
    with pytest.raises(FeedError, match=r"silent for 0\.05 s"):
        inbox.until(8)
    inbox.put(tags(7), 10)
    assert inbox.until(8).tags.t_ps.tolist() == [7]
    inbox.end()
    last = inbox.until(1 << 60)
    assert (last.tags.t_ps.tolist(), last.ended) == ([9], True)


def test_stretches_that_interleave_are_sorted_and_late_tags_are_counted() -> None:
    inbox = TagInbox("it")
    inbox.put(tags(10, 20, 30), 5)
    inbox.put(tags(15, 25, 35), 12)
    assert inbox.until(12).tags.t_ps.tolist() == [10]
    inbox.put(tags(3, 11, 16, 40), 50)
    assert inbox.until(50).tags.t_ps.tolist() == [15, 16, 20, 25, 30, 35, 40]
    assert (inbox.health.late, inbox.health.events) == (2, 8)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 400), max_size=8).map(sorted), min_size=1, max_size=12),
    st.lists(st.one_of(st.none(), st.integers(0, 500)), max_size=12),
    st.integers(0, 100),
)
def test_what_comes_out_ascends_and_the_counters_add_up(
    stretches: list[list[int]], asked: list[int | None], slack: int
) -> None:
    """Stretches in any order, horizons that trail the newest tag: out comes each tag once, sorted, or it is counted."""
    inbox, horizon, out, sent = TagInbox("it", max_backlog=40), 0, list[int](), 0
    questions = iter(asked)
    for stretch in stretches:
        horizon = max([horizon, *(t - slack for t in stretch)])
        inbox.put(tags(*stretch), horizon)
        sent += len(stretch)
        until = next(questions, 0)
        if until is not None and until <= horizon:
            out += inbox.until(until).tags.t_ps.tolist()
    inbox.end()
    last = inbox.until(1 << 60)
    out += last.tags.t_ps.tolist()
    assert last.ended
    assert out == sorted(out)
    health = inbox.health
    assert health.events == len(out)
    assert health.events + health.dropped + health.late == sent


def test_beyond_the_backlog_the_oldest_are_dropped_as_one_gap() -> None:
    inbox = TagInbox("it", max_backlog=5)
    for start in range(0, 100, 10):
        inbox.put(tags(start, start + 1, start + 2), start + 3)
    chunk = inbox.until(93)
    assert chunk.tags.t_ps.tolist() == [90, 91, 92]
    assert chunk.gaps == (Gap(0, 83, GapCause.BACKLOG, 27),)
    assert (inbox.health.dropped, inbox.health.gaps, inbox.health.missing_ps) == (27, 1, 83)


def test_gaps_come_with_their_stretch_and_stay_bounded() -> None:
    inbox = TagInbox("it")
    for start in range(0, 4 * MAX_GAPS, 2):
        inbox.miss(Gap(start, start + 1, GapCause.OVERFLOW, 3))
    inbox.put(EMPTY, 4 * MAX_GAPS)
    early = inbox.until(11)
    assert [gap.start_ps for gap in early.gaps] == [0, 2, 4, 6, 8, 10]
    assert len(inbox.until(4 * MAX_GAPS).gaps) == MAX_GAPS - 6
    health = inbox.health
    assert (health.gaps, health.overflows, health.dropped) == (MAX_GAPS, 2 * MAX_GAPS, 6 * MAX_GAPS)


def test_a_gap_that_is_told_late_is_not_lost() -> None:
    inbox = TagInbox("it")
    inbox.put(tags(1, 2), 100)
    inbox.until(100)
    inbox.miss(Gap(50, 120, GapCause.OVERFLOW))
    inbox.put(EMPTY, 200)
    assert inbox.until(200).gaps == (Gap(100, 120, GapCause.OVERFLOW),)


def test_a_clock_that_runs_back_and_tags_that_do_not_ascend_are_refused() -> None:
    inbox = TagInbox("it")
    inbox.put(tags(10), 10)
    with pytest.raises(FeedError, match="ran back from 10 to 9 ps"):
        inbox.put(EMPTY, 9)
    with pytest.raises(TagFormatError, match="do not ascend"):
        inbox.put(tags(12, 11), 20)


class FakeClock:
    """Every look at it takes a second."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_tagger_whose_time_crawls_counts_as_silent() -> None:
    """News alone is no progress: a horizon that moves a picosecond at a time would have kept the station for ever."""
    inbox = TagInbox("it", timeout_s=5.0, clock=FakeClock())
    horizon = iter(range(1 << 30))
    stop = threading.Event()

    def crawl() -> None:
        while not stop.is_set():
            inbox.put(EMPTY, next(horizon))

    inbox.put(EMPTY, 0)
    thread = threading.Thread(target=crawl)
    thread.start()
    try:
        with pytest.raises(FeedError, match="silent for 5 s"):
            inbox.until(1 << 50)
    finally:
        stop.set()
        thread.join()


def test_a_tagger_that_is_alive_and_dark_is_told_from_a_dead_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "LOOK_S", 0.02)  # a minute of the clock is sixty looks
    clock = FakeClock()
    inbox = TagInbox("it", timeout_s=5.0, clock=clock)
    stop = threading.Event()

    def live() -> None:
        horizon_ps = 0
        while not stop.is_set():
            inbox.put(EMPTY, horizon_ps := horizon_ps + 10**11)
            stop.wait(0.001)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(FeedError, match="alive but shows no detection"):
            inbox.until(None)
    finally:
        stop.set()
        thread.join()
    assert clock.now >= DARK_S


def test_skipping_drops_what_waits_and_counts_it() -> None:
    inbox = TagInbox("it")
    inbox.put(tags(1, 2, 3), 10)
    inbox.miss(Gap(4, 5, GapCause.OVERFLOW))
    inbox.skip_backlog()
    inbox.put(tags(8, 12), 20)
    chunk = inbox.until(20)
    assert chunk.tags.t_ps.tolist() == [12]
    assert chunk.gaps == ()
    assert (inbox.health.skipped, inbox.health.late, inbox.health.gaps) == (3, 1, 1)


def test_a_source_that_can_wait_skips_nothing_and_stops_reading_when_nobody_asks() -> None:
    inbox = TagInbox("it", waits=True)
    inbox.put(TimeTags(np.arange(PAUSE_BACKLOG, dtype=np.int64), np.zeros(PAUSE_BACKLOG, np.uint8)), PAUSE_BACKLOG)
    inbox.skip_backlog()
    read = threading.Event()

    def reader() -> None:
        inbox.wait_for_room()
        read.set()
        inbox.put(EMPTY, 2 * PAUSE_BACKLOG)

    threading.Thread(target=reader, daemon=True).start()
    assert not read.wait(0.2)
    assert len(inbox.until(2 * PAUSE_BACKLOG).tags) == PAUSE_BACKLOG
    assert read.is_set()


def test_a_broken_stream_gives_what_came_before_it_broke() -> None:
    inbox = TagInbox("it")
    inbox.put(tags(1, 2), 10)
    inbox.fail(OSError(5, "input/output error"))
    assert inbox.until(10).tags.t_ps.tolist() == [1, 2]
    with pytest.raises(FeedError, match=r"it broke off: .*input/output error"):
        inbox.until(11)
