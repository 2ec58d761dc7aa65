"""Whatever a tagger sends, a feed gives tags that ascend or one of our two errors, and never waits for ever."""

from __future__ import annotations

import io
import socket
import struct
import threading
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distribution.errors import FeedError, TagFormatError
from distribution.feed import (
    END_OF_STREAM,
    FRAME_HEADER,
    MISSING,
    MISSING_BODY,
    WIDE,
    WIDE_BODY,
    FeedHeader,
    FrameReader,
    encode_end,
    encode_frame,
    encode_gap,
)
from distribution.inbox import MAX_GAPS, TagInbox
from distribution.sources.network import NetworkFeed
from distribution.tags import Gap, GapCause, TimeTags

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
WORDS = st.lists(st.integers(0, (1 << 64) - 1), max_size=6)
FRAMES = st.one_of(
    st.builds(lambda h, w: FRAME_HEADER.pack(len(w), h) + struct.pack(f"<{len(w)}Q", *w), INT64, WORDS),
    st.builds(lambda n, h: FRAME_HEADER.pack(n, h), st.integers(0, END_OF_STREAM), INT64),
    st.builds(
        lambda h, n, m: FRAME_HEADER.pack(WIDE, h) + WIDE_BODY.pack(n, m), INT64, st.integers(0, 4), st.integers(0, 4)
    ),
    st.builds(
        lambda h, a, b, n, c: FRAME_HEADER.pack(MISSING, h) + MISSING_BODY.pack(a, b, n, c),
        INT64,
        INT64,
        INT64,
        st.integers(0, (1 << 64) - 1),
        st.integers(0, 255),
    ),
    st.binary(max_size=40),
)


def drain(data: bytes) -> TagInbox:
    """Read frames into an inbox as a feed's thread does; ends with the data, or raises."""
    inbox = TagInbox("the feed", timeout_s=0.01)
    reader = FrameReader(io.BytesIO(data).read)
    while True:
        try:
            frame = reader.next_frame()
        except EOFError:
            return inbox
        if frame.ended:
            return inbox
        if frame.gap is not None:
            inbox.miss(frame.gap)
        inbox.put(frame.tags, frame.horizon_ps)


@settings(max_examples=400, deadline=None)
@given(st.lists(FRAMES, max_size=8))
def test_any_bytes_give_ascending_tags_or_our_errors(frames: list[bytes]) -> None:
    try:
        inbox = drain(b"".join(frames))
    except (FeedError, TagFormatError):
        return
    inbox.end()
    chunk = inbox.until((1 << 62) + 1)
    assert chunk.ended
    assert np.all(chunk.tags.t_ps[1:] >= chunk.tags.t_ps[:-1])
    assert len(chunk.gaps) <= MAX_GAPS


SOUND = b"".join(
    [
        encode_frame(TimeTags(np.arange(1, 40, dtype=np.int64) * 125_000, np.ones(39, np.uint8)), 5_000_000),
        encode_gap(Gap(5_000_000, 6_000_000, GapCause.OVERFLOW, 2), 6_000_000),
        encode_frame(TimeTags(np.arange(50, 70, dtype=np.int64) * 125_000, np.zeros(20, np.uint8)), 9_000_000),
        encode_end(),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 8 * len(SOUND) - 1), st.integers(0, len(SOUND)))
def test_a_flipped_bit_and_a_cut_give_ascending_tags_or_our_errors(bit: int, cut: int) -> None:
    data = bytearray(SOUND)
    data[bit // 8] ^= 1 << bit % 8
    try:
        inbox = drain(bytes(data[:cut]))
    except (FeedError, TagFormatError):
        return
    inbox.end()
    t_ps = inbox.until((1 << 62) + 1).tags.t_ps
    assert np.all(t_ps[1:] >= t_ps[:-1])


def test_a_sound_feed_comes_through() -> None:
    inbox = drain(SOUND)
    inbox.end()
    chunk = inbox.until(1 << 60)
    assert (len(chunk.tags), len(chunk.gaps)) == (59, 1)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_greeting_is_a_header_or_a_feed_error(line: bytes) -> None:
    with suppress(FeedError):
        FeedHeader.decode(line)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.booleans(), st.text(max_size=20))
def test_headers_round_trip(station: str, device: str, simulated: bool, clock: str) -> None:
    header = FeedHeader(station, device, simulated, clock)
    assert FeedHeader.decode(header.encode()) == header


@pytest.mark.parametrize(
    "hostile",
    [
        FRAME_HEADER.pack(END_OF_STREAM - 3, 0),
        FRAME_HEADER.pack(WIDE, 0) + WIDE_BODY.pack(END_OF_STREAM, 0),
        FRAME_HEADER.pack(WIDE, 0) + WIDE_BODY.pack(0, 1),
        FRAME_HEADER.pack(3, (1 << 62) + 1),
        FRAME_HEADER.pack(MISSING, 0) + MISSING_BODY.pack(10, 5, 0, 0),
        encode_frame(TimeTags(np.array([125], np.int64), np.zeros(1, np.uint8)), 1000) + FRAME_HEADER.pack(0, 5),
        b"GET / HTTP/1.1\r\nHost: tagger\r\n\r\n",
    ],
)
def test_a_hostile_tagger_is_a_feed_error_at_once(hostile: bytes) -> None:
    """Absurd lengths and horizons, gaps that end before they start, a clock that runs back, another protocol."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(FeedHeader("alice", "evil", False, "c").encode() + hostile)
            over.wait(10)

    threading.Thread(target=serve, daemon=True).start()
    feed = NetworkFeed("127.0.0.1", server.getsockname()[1], station="alice", timeout_s=5.0)
    try:
        with pytest.raises((FeedError, TagFormatError)) as caught:
            feed.until(1 << 61)
        assert "silent" not in str(caught.value)
    finally:
        over.set()
        feed.close()
        server.close()
