"""Feeds and replays hand out each tag once and in order; a network feed serves one station and names every fault."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from distribution.errors import FeedError
from distribution.feed import FeedHeader, encode_end, encode_frame
from distribution.sources.network import NetworkFeed
from distribution.sources.replay import Replay
from distribution.tags import TimeTags, join


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
def tagger(*chunks: bytes) -> Iterator[int]:
    """A server that sends these bytes to its first caller and hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            for chunk in chunks:
                connection.sendall(chunk)

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
    with tagger(*frames) as port:
        feed = NetworkFeed("127.0.0.1", port, station="bob")
        assert feed.simulated
        first = feed.until(None)
        rest = feed.until(1 << 60)
    got = join(first.tags, rest.tags)
    assert got.t_ps.tolist() == join(one, two).t_ps.tolist()
    assert got.channel.tolist() == join(one, two).channel.tolist()
    assert rest.ended
    feed.close()


def test_another_stations_feed_is_refused() -> None:
    with tagger(HEADER) as port, pytest.raises(FeedError, match="bob's, not alice's"):
        NetworkFeed("127.0.0.1", port, station="alice")


@pytest.mark.parametrize(
    "greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n", b'{"feed": "qkd-tags", "version": 9}\n', b"7\n"]
)
def test_what_is_no_feed_is_named(greeting: bytes) -> None:
    with tagger(greeting) as port, pytest.raises(FeedError):
        NetworkFeed("127.0.0.1", port, station="bob")


def test_a_feed_that_breaks_off_says_so() -> None:
    with tagger(HEADER, encode_frame(tags(0, 100), 100_000_000)[:-3]) as port:
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


def test_nobody_listening_is_a_feed_error_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(FeedError) as caught:
        NetworkFeed("127.0.0.1", port, station="bob")
    assert "qkd source" in caught.value.hint


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
