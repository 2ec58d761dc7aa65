"""The feed's frame for stations of more than four detectors."""

from __future__ import annotations

import io

import numpy as np
import pytest

from distribution.errors import FeedError
from distribution.feed import FRAME_HEADER, WIDE, WIDE_BODY, FrameReader, encode_frame
from distribution.tags import TimeTags


def wide(rng: np.random.Generator, count: int = 2000) -> TimeTags:
    """Tags of six detectors, many at equal times, on the grid of the words."""
    ticks = np.cumsum(rng.integers(0, 3, count)).astype(np.int64)
    return TimeTags(ticks * 125, rng.integers(0, 6, count).astype(np.uint8))


def read(data: bytes) -> TimeTags:
    return FrameReader(io.BytesIO(data).read).next_frame().tags


def test_every_tag_comes_back_in_order_with_its_detector() -> None:
    for seed in range(20):
        tags = wide(np.random.default_rng(seed))
        back = read(encode_frame(tags, 1 << 40))
        assert np.array_equal(back.t_ps, tags.t_ps)
        assert np.array_equal(back.channel, tags.channel)


def test_four_detectors_travel_as_before() -> None:
    tags = TimeTags(np.array([0, 125, 250], np.int64), np.array([3, 0, 1], np.uint8))
    words, _ = FRAME_HEADER.unpack(encode_frame(tags, 1000)[: FRAME_HEADER.size])
    assert words == 3


def test_counts_and_detectors_that_contradict_the_words_are_refused() -> None:
    tags = wide(np.random.default_rng(1), 50)
    data = bytearray(encode_frame(tags, 1 << 40))
    at = FRAME_HEADER.size
    words, count = WIDE_BODY.unpack(data[at : at + WIDE_BODY.size])
    more = bytes(data[:at]) + WIDE_BODY.pack(words, count + 1) + bytes(data[at + WIDE_BODY.size :]) + b"\0"
    with pytest.raises(FeedError, match=f"announces {count + 1} tags"):
        read(more)
    data[-1] ^= 1
    with pytest.raises(FeedError, match="are not those of its words"):
        read(bytes(data))
    huge = FRAME_HEADER.pack(WIDE, 0) + WIDE_BODY.pack(1 << 31, 1)
    with pytest.raises(FeedError, match="announces 2147483648 words"):
        read(huge)
    with pytest.raises(EOFError):
        read(encode_frame(tags, 0)[:-3])
