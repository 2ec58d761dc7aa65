"""Messages and packed ascending integers survive the wire; anything else is refused by the right class."""

from __future__ import annotations

import contextlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkd.errors import RemoteProtocolError
from qkd.exchange.codec import decode, encode, pack_ascending, unpack_ascending
from qkd.exchange.messages import Abort, Kept, Tag
from tests.vectormaker.primitives import rice

ascending = st.lists(st.integers(0, 1 << 40), max_size=200).map(sorted)


@given(ascending)
def test_ascending_integers_round_trip(values: list[int]) -> None:
    width, packed = pack_ascending(np.array(values, np.int64))
    back = unpack_ascending(width, packed, len(values), largest=1 << 40)
    assert back.tolist() == values


def test_the_layout_is_the_documented_one() -> None:
    # Differences 3, 1, 9 by hand with 2-bit remainders: 11 01 01, then quotients 0, 0, 2 in unary: 0 0 110.
    packed = bytes([0b11010100, 0b11000000])
    assert unpack_ascending(2, packed, 3, largest=13).tolist() == [3, 4, 13]


@pytest.mark.parametrize(
    ("width", "packed", "count"),
    [
        (-1, b"\x00", 1),
        (33, b"\x00" * 9, 1),
        (3, b"\x00", -1),
        (3, b"\x00", 3),
        (2, b"\xff\xff", 1),  # a quotient without an end
        (2, b"\x40\x00", 1),  # a byte too many
        (2, b"\x41", 1),  # padding that is not zero
        (2, b"\xc0", 1),  # 3 is above the largest allowed
        (32, b"\xff\xff\xff\xff\x00", 1),
    ],
)
def test_malformed_packings_are_the_peers_fault(width: int, packed: bytes, count: int) -> None:
    with pytest.raises(RemoteProtocolError):
        unpack_ascending(width, packed, count, largest=2)


@given(st.integers(0, 32), st.binary(max_size=40), st.integers(-3, 400), st.integers(-1, 1 << 50))
def test_no_numbers_make_more_than_an_error(width: int, packed: bytes, count: int, largest: int) -> None:
    with contextlib.suppress(RemoteProtocolError):
        values = unpack_ascending(width, packed, count, largest=largest)
        assert values.size == count
        assert (np.diff(values) >= 0).all()


def test_planes_longer_than_what_is_read_at_once() -> None:
    """More than 2^16 values, and a quotient longer than 2^19 bits."""
    values = np.cumsum(np.random.default_rng(2).integers(0, 9, 200_001))
    values[-1] += 1_500_000
    width, packed = pack_ascending(values)
    assert (unpack_ascending(width, packed, values.size, largest=int(values[-1])) == values).all()


@pytest.mark.parametrize("width", [-(1 << 63), -1, 0, 5, 32, 255, (1 << 64) - 1])
@pytest.mark.parametrize("count", [1 << 40, 1 << 63, (1 << 64) - 1, -1, -(1 << 63)])
def test_absurd_counts_are_refused_before_memory_is_taken(width: int, count: int) -> None:
    tracemalloc.start()
    with pytest.raises(RemoteProtocolError):
        unpack_ascending(width, bytes(1 << 16), count, largest=1 << 54)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 18


@pytest.mark.parametrize("tail", [b"\xff" * (1 << 23), b"\x00" * (1 << 23)])
def test_memory_follows_what_was_announced_not_what_was_sent(tail: bytes) -> None:
    """8 MiB of ones or zeros after ten values: refused, with three times the message's memory at most."""
    tracemalloc.start()
    with pytest.raises(RemoteProtocolError):
        unpack_ascending(0, tail, 10, largest=1 << 54)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 << 23


def test_a_poisson_stream_costs_its_entropy() -> None:
    """100 kcps in 125 ps bins, gaps of mean g = 80 000: entropy log2(e g) bits; we stay within 0.1 bit of it."""
    gaps = np.random.default_rng(1).exponential(80_000, 50_000).astype(np.int64)
    _, packed = pack_ascending(np.cumsum(gaps))
    assert 8 * len(packed) / gaps.size < np.log2(np.e * 80_000) + 0.1


def test_a_message_round_trips() -> None:
    message = Kept(3, 4, b"\x12\x30", False)
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\x80",
        encode(Tag(1, b"x"))[:-1],
        encode(Tag(1, b"x")) + b"\x00",
        encode(Tag(1, b"x")).replace(b"pad", b"bad"),
    ],
)
def test_noise_is_the_peers_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(data)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode(data)


def test_abort_carries_numbers() -> None:
    message = Abort("QberTooHigh", "text", {"qber_z": 0.25})
    assert decode(encode(message)) == message


@pytest.mark.parametrize("mean", [0.3, 1.0, 3.0, 200.0, 1e5, 3e9])
@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 1000])
def test_the_planes_are_those_of_plain_python(mean: float, count: int) -> None:
    """By the vectors' own coder, text of bits; and the width is the least of the best ones, all of them tried."""
    gaps = np.random.default_rng(count).exponential(mean, count).astype(np.int64)
    values = np.cumsum(gaps)
    width, packed = pack_ascending(values)
    assert packed == rice(values.tolist(), width)
    sizes = [count * w + int((gaps >> w).sum()) for w in range(33)]
    assert width == sizes.index(min(sizes))
    assert unpack_ascending(width, packed, count, largest=int(values[-1])).tolist() == values.tolist()


def test_long_unary_stretches_cross_words() -> None:
    """Quotients of 0 .. 200 at width 0, so that every offset in a word meets every length."""
    values = np.cumsum(np.arange(200))
    packed = rice(values.tolist(), 0)
    assert unpack_ascending(0, packed, 200, largest=int(values[-1])).tolist() == values.tolist()
