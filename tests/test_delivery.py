"""Replays and network feeds hand out each tag once and in order; a broken line is mended with a gap or named."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from distribution.errors import FeedError, ParameterError
from distribution.feed import FeedHeader, FrameReader, encode_end, encode_frame, encode_gap
from distribution.health import SourceHealth
from distribution.sources.network import NetworkFeed
from distribution.sources.replay import Replay
from distribution.tags import Gap, GapCause, TimeTags, join
from distribution.units import PS_PER_S


def tags(start: int, count: int) -> TimeTags:
    # Multiples of 1000 / 256 * 256 ps survive the 1/256 ns grid exactly.
    t_ps = (np.arange(start, start + count, dtype=np.int64)) * 1_000_000
    return TimeTags(t_ps, (np.arange(count) % 4).astype(np.uint8))


def test_a_replay_gives_every_tag_once() -> None:
    source = Replay(tags(0, 10))
    first = source.until(None)
    assert first.tags.t_ps.tolist() == [0]
    middle = source.until(5_000_000)
    assert middle.tags.t_ps.tolist() == [1_000_000, 2_000_000, 3_000_000, 4_000_000]
    assert not middle.ended
    assert len(source.until(5_000_000).tags) == 0
    assert source.until(1 << 60).ended
    assert source.until(1 << 60).ended


def test_an_empty_replay_has_ended() -> None:
    assert Replay(tags(0, 0)).until(None).ended


@contextmanager
def tagger(*calls: list[bytes]) -> Iterator[int]:
    """A server that sends each caller in turn its bytes and hangs up; after the last it listens no more."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for chunks in calls:
            connection, _ = server.accept()
            with connection:
                for chunk in chunks:
                    connection.sendall(chunk)
        server.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        thread.join(5)
        server.close()


HEADER = FeedHeader("bob", "test", simulated=True).encode()


def test_a_feed_delivers_what_was_sent() -> None:
    one, two = tags(0, 100), tags(100, 50)
    frames = [HEADER, encode_frame(one, 100_000_000), encode_frame(two, 150_000_000), encode_end()]
    with tagger(frames) as port:
        feed = NetworkFeed("127.0.0.1", port, station="bob")
        assert feed.simulated
        first = feed.until(None)
        rest = feed.until(1 << 60)
    got = join(first.tags, rest.tags)
    assert got.t_ps.tolist() == join(one, two).t_ps.tolist()
    assert got.channel.tolist() == join(one, two).channel.tolist()
    assert rest.ended
    feed.close()


def test_a_paced_replay_keeps_true_time_and_waits_for_its_reader() -> None:
    """Ten tags a microsecond apart at a tenth of true speed: each is given when its time has come, not before."""
    now, slept = [100.0], list[float]()

    def wait(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    source = Replay(tags(5, 10), pace=0.1, clock=lambda: now[0], wait=wait)
    assert source.until(None).tags.t_ps.tolist() == [5_000_000]
    assert slept == []
    assert len(source.until(9_000_000).tags) == 3
    assert sum(slept) == pytest.approx(4e-6 / 0.1)
    now[0] += 1e-3  # the reader comes late: nothing is lost, and nothing is slept
    assert len(source.until(10_000_000).tags) == 1
    assert sum(slept) == pytest.approx(4e-6 / 0.1)
    now[0] = 100.0 + 5e-5
    last = source.until(1 << 60)  # the end comes with the last tag, however far one asks
    assert (len(last.tags), last.ended) == (5, True)
    assert now[0] == pytest.approx(100.0 + 9e-6 / 0.1)


def test_closing_a_paced_replay_wakes_whoever_waits() -> None:
    source = Replay(tags(0, 10), pace=1e-6)
    threading.Timer(0.1, source.close).start()
    with pytest.raises(FeedError, match="closed"):
        source.until(1 << 60)


@pytest.mark.parametrize("pace", [-1.0, float("nan"), 1e9])
def test_an_absurd_pace_is_refused(pace: float) -> None:
    with pytest.raises(ParameterError, match="pace"):
        Replay(tags(0, 10), pace=pace)


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="nowhere"):
        Replay.of_file(tmp_path / "nowhere")


def test_another_stations_feed_is_refused() -> None:
    with tagger([HEADER]) as port, pytest.raises(FeedError, match="bob's, not alice's"):
        NetworkFeed("127.0.0.1", port, station="alice")


@pytest.mark.parametrize(
    "greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n", b'{"feed": "qkd-tags", "version": 9}\n', b"7\n", b"[" * 4000]
)
def test_what_is_no_feed_is_named(greeting: bytes) -> None:
    with tagger([greeting]) as port, pytest.raises(FeedError):
        NetworkFeed("127.0.0.1", port, station="bob")


def test_a_feed_that_breaks_off_says_so() -> None:
    with tagger([HEADER, encode_frame(tags(0, 100), 100_000_000)[:-3]]) as port:
        feed = NetworkFeed("127.0.0.1", port, station="bob", timeout_s=5)
        with pytest.raises(FeedError, match="broke off"):
            feed.until(1 << 60)
        feed.close()


def test_a_silent_feed_is_not_waited_for_for_ever() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    waiting = threading.Thread(target=lambda: server.accept()[0].sendall(HEADER), daemon=True)
    waiting.start()
    feed = NetworkFeed("127.0.0.1", server.getsockname()[1], station="bob", timeout_s=0.3)
    with pytest.raises(FeedError, match=r"silent|broke off"):
        feed.until(1 << 60)
    feed.close()
    server.close()


RUNNING = FeedHeader("bob", "test", simulated=True, clock="first").encode()
PATIENT = {"station": "bob", "timeout_s": 5.0, "patience_s": 3.0}


def test_a_broken_line_is_mended_and_the_hole_is_told() -> None:
    """100 us of tags, a cut frame, 50 us lost, a new line: the gap reaches from the last horizon to the first tag."""
    first = [RUNNING, encode_frame(tags(0, 100), 100_000_000), encode_frame(tags(100, 20), 120_000_000)[:-9]]
    second = [RUNNING, encode_frame(tags(150, 50), 200_000_000), encode_end()]
    with tagger(first, second) as port:
        feed = NetworkFeed("127.0.0.1", port, **PATIENT)
        before = feed.until(100_000_000)
        rest = feed.until(1 << 60)
    assert (len(before.tags), before.gaps) == (100, ())
    assert (len(rest.tags), rest.ended) == (50, True)
    assert rest.gaps == (Gap(100_000_000, 150_000_000, GapCause.RECONNECT),)
    assert feed.health == SourceHealth(events=150, gaps=1, missing_ps=50_000_000, reconnects=1)
    feed.close()


def test_a_tagger_whose_clock_started_anew_is_another_stream() -> None:
    """Its times would go on as if nothing had happened; only the header tells."""
    other = FeedHeader("bob", "test", simulated=True, clock="second").encode()
    with tagger(
        [RUNNING, encode_frame(tags(0, 10), 10_000_000)], [other, encode_frame(tags(10, 10), 20_000_000)]
    ) as port:
        feed = NetworkFeed("127.0.0.1", port, **PATIENT)
        with pytest.raises(FeedError, match="another clock"):
            feed.until(1 << 60)
        feed.close()


def test_a_tagger_that_stays_away_is_waited_for_in_patience_only() -> None:
    with tagger([RUNNING, encode_frame(tags(0, 10), 10_000_000)]) as port:
        feed = NetworkFeed("127.0.0.1", port, station="bob", timeout_s=5.0, patience_s=0.5)
        begin = time.monotonic()
        with pytest.raises(FeedError, match="broke off"):
            feed.until(1 << 60)
        assert 0.4 < time.monotonic() - begin < 4
        feed.close()


def test_a_feed_of_version_1_is_read_but_not_called_again() -> None:
    header = b'{"feed": "qkd-tags", "version": 1, "station": "bob", "device": "old", "simulated": false}\n'
    with tagger([header, encode_frame(tags(0, 10), 10_000_000)]) as port:
        feed = NetworkFeed("127.0.0.1", port, **PATIENT)
        assert len(feed.until(10_000_000).tags) == 10
        with pytest.raises(FeedError, match="broke off"):
            feed.until(11_000_000)
        assert feed.health.reconnects == 0
        feed.close()


def test_an_overflow_marker_travels_with_its_stretch() -> None:
    gap = Gap(110_000_000, 140_000_000, GapCause.OVERFLOW, 7)
    frames = [
        encode_frame(tags(0, 100), 100_000_000),
        encode_gap(gap, 140_000_000),
        encode_frame(tags(150, 5), 160_000_000),
    ]
    with tagger([RUNNING, *frames, encode_end()]) as port:
        feed = NetworkFeed("127.0.0.1", port, **PATIENT)
        assert feed.until(110_000_000).gaps == ()
        assert feed.until(120_000_000).gaps == (gap,)
        assert feed.until(1 << 60).gaps == ()
        assert feed.health == SourceHealth(events=105, gaps=1, missing_ps=30_000_000, overflows=1, dropped=7)
        feed.close()


def test_a_stream_whose_clock_starts_in_a_later_turn_of_the_counter_keeps_its_time() -> None:
    """A clock that shows 30 h: the words hold it modulo 19.5 h, the horizon says which turn."""
    start_ps = 30 * 3600 * PS_PER_S
    late = TimeTags(tags(0, 10).t_ps + start_ps, tags(0, 10).channel)
    with tagger([RUNNING, encode_frame(late, start_ps + 10_000_000), encode_end()]) as port:
        feed = NetworkFeed("127.0.0.1", port, **PATIENT)
        assert int(feed.until(None).tags.t_ps[0]) == start_ps
        got = feed.until(1 << 60).tags
        late = late.between(start_ps + 1, 1 << 60)
        assert int(np.abs(got.t_ps - late.t_ps).max()) <= 4
        feed.close()


def test_nobody_listening_is_a_feed_error_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(FeedError) as caught:
        NetworkFeed("127.0.0.1", port, station="bob")
    assert "qkd source" in caught.value.hint


def test_a_reader_of_the_live_source_that_was_too_slow_is_told_what_it_missed() -> None:
    """A writer that is full for two frames: the next frame is preceded by one gap that covers both, tags counted."""
    from distribution.live import MAX_UNSENT_BYTES, _Outlet

    class Writer:
        full = False
        sent = b""

        @property
        def transport(self) -> Writer:
            return self

        def get_write_buffer_size(self) -> int:
            return MAX_UNSENT_BYTES + 1 if self.full else 0

        def write(self, data: bytes) -> None:
            self.sent += data

    writer = Writer()
    outlet = _Outlet("bob", readers={writer: None})  # type: ignore[dict-item]
    for number, full in enumerate([False, True, True, False]):
        writer.full = full
        outlet.push_tags(tags(100 * number, 100), (100 * number + 100) * 1_000_000 + 4)
    outlet.push_end()
    frames = FrameReader(io.BytesIO(writer.sent).read)
    assert len(frames.next_frame().tags) == 100
    assert frames.next_frame().gap == Gap(100_000_000, 300_000_000, GapCause.BACKLOG, 200)
    assert frames.next_frame().tags.t_ps[0] == 300_000_000
    assert frames.next_frame().ended


def test_the_live_source_gives_each_station_only_its_own_stream() -> None:
    """Both feeds together equal the simulator's own output, each station's tags on its own port only."""
    from distribution.live import LiveSource
    from distribution.scenario import load_scenario
    from distribution.simulate import LinkSimulator, simulate

    scenario = load_scenario("metro")
    live = LiveSource(LinkSimulator(scenario, np.random.default_rng(5)), device="test", pace=1.0, step_s=0.05)
    ports: dict[str, int] = {}
    ready = threading.Event()

    async def serve() -> None:
        ports["alice"], ports["bob"] = await live.listen("127.0.0.1", 0, 0)
        ready.set()
        while not all(outlet.readers for outlet in live._outlets.values()):
            await asyncio.sleep(0.01)
        await live.run(0.2)
        await live.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    feeds = {s: NetworkFeed("127.0.0.1", ports[s], station=s) for s in ("alice", "bob")}
    got = {s: feed.until(1 << 60).tags for s, feed in feeds.items()}
    thread.join(10)
    whole = simulate(scenario, 0.2, np.random.default_rng(5))
    for station, expected in (("alice", whole.alice), ("bob", whole.bob)):
        assert len(got[station]) == len(expected)
        assert got[station].channel.tolist() == expected.channel.tolist()
        assert int(np.abs(got[station].t_ps - expected.t_ps).max()) <= 4  # the feed's grid is 1/256 ns
