"""The native format against its description written out in Python, against damage of every sort, and its size."""

from __future__ import annotations

import io
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from distribution import formats
from distribution.errors import ParameterError, TagFormatError
from distribution.formats import Format, native, native_codec
from distribution.formats.native import NativeHeader, NativeReader, NativeWriter, read_native, write_native
from distribution.formats.recording import scale_to_ps
from distribution.tags import EMPTY, TimeTags
from tests.reference import qtag

UNITS = [Fraction(1), Fraction(125, 32), Fraction(125), Fraction("80.955"), Fraction(1, 10)]


def poisson(unit: Fraction, count: int, rate_hz: float = 1e5, channels: int = 4, seed: int = 1) -> TimeTags:
    """Tags of a constant rate on the grid of a unit."""
    rng = np.random.default_rng(seed)
    gaps = np.rint(rng.exponential(1e12 / rate_hz / float(unit), count)).astype(np.int64)
    t_ps = scale_to_ps(np.cumsum(gaps), unit.numerator, unit.denominator)
    return TimeTags(t_ps, rng.integers(0, channels, count).astype(np.uint8))


def written(tags: TimeTags, unit: Fraction = Fraction(1), *, chunk_events: int = 100) -> bytes:
    """A file's bytes."""
    buffer = io.BytesIO()
    with NativeWriter(buffer, NativeHeader(unit_ps=unit), chunk_events=chunk_events) as writer:
        writer.append(tags)
    assert writer.events == len(tags)
    return buffer.getvalue()


def read_bytes(data: bytes, *, repair: bool = False) -> tuple[list[TimeTags], NativeReader]:
    """All chunks, and the reader with its counts."""
    reader = NativeReader(io.BytesIO(data), "x", repair=repair)
    return list(reader), reader


def reseal(data: bytearray, at: int, size: int) -> None:
    """Make a block's checksum right again after it was changed: what is tested is not the checksum."""
    data[at : at + size] = qtag.seal(bytes(data[at : at + size - 4]))


def same(tags: TimeTags, other: TimeTags) -> bool:
    return bool(np.array_equal(tags.t_ps, other.t_ps) and np.array_equal(tags.channel, other.channel))


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_bytes_and_tags_are_the_references(unit: Fraction) -> None:
    tags = poisson(unit, 350)
    data = written(tags, unit)
    assert data == qtag.write(tags.t_ps.tolist(), tags.channel.tolist(), unit, chunk_events=100)
    assert qtag.read(data) == (tags.t_ps.tolist(), tags.channel.tolist())
    chunks, reader = read_bytes(data)
    assert [len(c) for c in chunks] == [100, 100, 100, 50]
    assert same(native._joined(chunks), tags)
    assert (reader.events, reader.damaged, reader.lost) == (350, 0, 0)


@pytest.mark.parametrize("k", [0, 3, 17, 40, 54])
def test_any_k_reads_back(k: int) -> None:
    units, channels = [5, 5, 9, 1 << 40, (1 << 40) + 3], [200, 0, 7, 7, 200]
    data = qtag.header(Fraction(1)) + qtag.chunk(0, units, channels, k) + qtag.end(1, 5, units[-1])
    (tags,), _ = read_bytes(data)
    assert (tags.t_ps.tolist(), tags.channel.tolist()) == (units, channels)


def test_extremes_come_back() -> None:
    far = (1 << 62) - 1
    tags = TimeTags(np.array([-far, -1, 0, 0, far]), np.array([0, 255, 1, 1, 254], np.uint8))
    assert same(read_bytes(written(tags))[0][0], tags)
    everything = TimeTags(np.arange(256), np.arange(256, dtype=np.uint8))
    assert same(native._joined(read_bytes(written(everything))[0]), everything)


def test_unit_that_does_not_divide_is_rounded_and_counted(tmp_path: Path) -> None:
    tags = TimeTags(np.array([-126, -62, 0, 62, 63, 250]), np.zeros(6, np.uint8))
    assert write_native(tmp_path / "x", tags, NativeHeader(unit_ps=Fraction(125))) == 4
    assert formats.read(tmp_path / "x").tags.t_ps.tolist() == [-125, 0, 0, 0, 125, 250]


def test_header_travels(tmp_path: Path) -> None:
    header = NativeHeader(unit_ps=Fraction(125, 32), clock_id="rubidium-1", device="µ-tagger", start_unix_ns=-5)
    write_native(tmp_path / "x.png", poisson(Fraction(125, 32), 10), header)
    recording = formats.read(tmp_path / "x.png")
    assert (recording.format, recording.records, recording.lost) == (Format.NATIVE, 10, 0)
    assert (recording.resolution_ps, recording.clock_id, recording.device) == (3.90625, "rubidium-1", "µ-tagger")
    assert recording.start_unix_ns == -5
    assert (tmp_path / "x.png").read_bytes()[:128] == qtag.header(header.unit_ps, "rubidium-1", "µ-tagger", -5)


def test_empty_recording_is_a_recording(tmp_path: Path) -> None:
    write_native(tmp_path / "x", EMPTY, NativeHeader())
    assert (tmp_path / "x").stat().st_size == native_codec.HEADER_BYTES + native_codec.BLOCK_BYTES
    assert len(formats.read(tmp_path / "x").tags) == 0


def test_appending_in_any_portions_gives_the_same_file() -> None:
    tags = poisson(Fraction(1), 1000)
    buffer = io.BytesIO()
    with NativeWriter(buffer, NativeHeader(), chunk_events=100) as writer:
        for start, stop in ((0, 0), (0, 1), (1, 99), (99, 100), (100, 731), (731, 1000)):
            writer.append(TimeTags(tags.t_ps[start:stop], tags.channel[start:stop]))
    assert buffer.getvalue() == written(tags)


def test_writer_refuses_disorder() -> None:
    one = TimeTags(np.array([100]), np.zeros(1, np.uint8))
    for chunk_events in (1, 10):
        writer = NativeWriter(io.BytesIO(), NativeHeader(), chunk_events=chunk_events)
        writer.append(one)
        with pytest.raises(TagFormatError, match="backwards"):
            writer.append(TimeTags(np.array([99]), np.zeros(1, np.uint8)))
    writer = NativeWriter(io.BytesIO(), NativeHeader())
    for times in ([5, 4], [1 << 62]):
        with pytest.raises(ParameterError, match="ascend"):
            writer.append(TimeTags(np.array(times), np.zeros(len(times), np.uint8)))


@pytest.mark.parametrize(
    "fields",
    [
        {"unit_ps": Fraction(0)},
        {"unit_ps": Fraction(-1)},
        {"unit_ps": Fraction(1, (1 << 20) + 1)},
        {"clock_id": "x" * 33},
        {"device": "µ" * 31},
        {"device": "a\0"},
        {"start_unix_ns": 1 << 63},
    ],
)
def test_impossible_headers(fields: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        NativeHeader(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", [Fraction(1), Fraction(125, 32), Fraction(125)], ids=str)
def test_size_is_within_a_hundredth_of_a_byte_of_the_entropy(unit: Fraction) -> None:
    """A Poisson gap of mean m units carries log2(e m) bits, one of four channels 2. n = 200 000: +-0.01 bit a sigma."""
    count = 200_000
    size = len(written(poisson(unit, count, seed=4), unit, chunk_events=native.CHUNK_EVENTS))
    entropy = (math.log2(math.e * 1e7 / float(unit)) + 2) / 8
    assert entropy - 0.01 < size / count < entropy + 0.015
    if unit == 125:
        assert size / count < 2.5


# --- Damage ------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_is_noticed_and_named() -> None:
    tags = poisson(Fraction(125), 250)
    data = written(tags, Fraction(125))
    rng = np.random.default_rng(2)
    for bit in rng.choice(8 * len(data), 400, replace=False).tolist():
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TagFormatError) as caught:
            read_bytes(bytes(damaged))
        assert caught.value.offset is not None
        # The block that is named is the one that was hit: no block is longer than a hundred events take.
        assert 0 <= bit // 8 - caught.value.offset < 400


def test_every_truncation_is_noticed_and_what_is_whole_is_kept() -> None:
    tags = poisson(Fraction(1), 250)
    data = written(tags)
    ends = [128, *(128 + _chunk_bytes(data, k) for k in range(1, 4))]
    for keep in range(128, len(data)):
        with pytest.raises(TagFormatError):
            read_bytes(data[:keep])
        chunks, reader = read_bytes(data[:keep], repair=True)
        whole = sum(keep >= end for end in ends[1:])
        assert (len(chunks), reader.events) == (whole, [0, 100, 200, 250][whole])
        assert (reader.damaged, reader.lost) == (1, None)


def test_repair_leaves_one_chunk_out_and_counts_it(tmp_path: Path) -> None:
    tags = poisson(Fraction(1), 1000)
    data = bytearray(written(tags))
    for chunk in (3, 7):
        data[128 + _chunk_bytes(bytes(data), chunk) + 60] ^= 4
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(TagFormatError, match="chunk 3 is damaged") as caught:
        formats.read(tmp_path / "x")
    assert caught.value.offset == 128 + _chunk_bytes(bytes(data), 3) + 36
    assert "--repair" in caught.value.hint
    recording = read_native(tmp_path / "x", repair=True)
    assert (recording.damaged, recording.lost, recording.records) == (2, 200, 800)
    kept = np.r_[0:300, 400:700, 800:1000]
    assert same(recording.tags, TimeTags(tags.t_ps[kept], tags.channel[kept]))


def test_repair_finds_the_next_chunk_behind_anything() -> None:
    data = written(poisson(Fraction(1), 300))
    cut = [128 + _chunk_bytes(data, k) for k in range(4)]
    junk = b"QTCH" * 3 + bytes(70_000) + b"QTNDQTC"
    for broken, lost, damaged in (
        (data[: cut[1]] + data[cut[2] :], 100, 1),  # a chunk is missing
        (data[: cut[1]] + junk + data[cut[1] :], 0, 1),  # something stands between two
        (data[: cut[1]] + data[cut[0] : cut[1]] + data[cut[1] :], 0, 1),  # one comes twice
        (data[: cut[0]] + data[cut[2] :], 200, 1),  # two are missing
    ):
        with pytest.raises(TagFormatError):
            read_bytes(broken)
        _, reader = read_bytes(broken, repair=True)
        assert (reader.events, reader.lost, reader.damaged) == (300 - lost, lost, damaged)


def test_nothing_whole_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(written(poisson(Fraction(1), 50))[:200])
    with pytest.raises(TagFormatError, match="no chunk"):
        read_native(tmp_path / "x", repair=True)


@pytest.mark.parametrize(
    ("at", "value", "what"),
    [
        (8, b"\x02", "newer"),
        (10, b"\x01", "absurd"),
        (12, bytes(4), "absurd"),
        (12, b"\xff\xff\xff\xff", "absurd"),
        (16, bytes(4), "absurd"),
        (16, b"\x02", None),
        (20, b"\x01", "absurd"),
        (32, b"\xff\xfe", "absurd"),
    ],
)
def test_absurd_headers_with_good_checksums(at: int, value: bytes, what: str | None) -> None:
    data = bytearray(written(poisson(Fraction(1), 5)))
    data[at : at + len(value)] = value
    reseal(data, 0, 128)
    if what is None:
        read_bytes(bytes(data))
    else:
        with pytest.raises(TagFormatError, match=what):
            read_bytes(bytes(data))


def test_unit_in_other_than_lowest_terms_is_absurd() -> None:
    data = bytearray(written(poisson(Fraction(1), 5)))
    data[12:20] = b"\x02\0\0\0\x02\0\0\0"
    reseal(data, 0, 128)
    with pytest.raises(TagFormatError, match="lowest terms"):
        read_bytes(bytes(data))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (4, b"\x05"),
        (8, bytes(4)),
        (8, b"\x0b"),
        (8, b"\0\0\x02"),
        (12, b"\x01"),
        (24, b"\x37"),
        (24, b"\x03"),
        (25, b"\x09"),
    ],
)
def test_absurd_chunks_with_good_checksums(at: int, value: bytes) -> None:
    data = bytearray(written(poisson(Fraction(1), 10)))
    data[128 + at : 128 + at + len(value)] = value
    reseal(data, 128, 36)
    with pytest.raises(TagFormatError) as caught:
        read_bytes(bytes(data))
    assert caught.value.offset is not None
    assert caught.value.offset >= 128


def test_whole_chunks_with_wrong_content() -> None:
    good = qtag.header(Fraction(1))
    far = (1 << 62) - 1
    backwards = qtag.chunk(0, [5], [0]) + qtag.chunk(1, [4], [0]) + qtag.end(2, 2, 4)
    beyond = qtag.chunk(0, [far, far + 5], [0, 0]) + qtag.end(1, 2, far + 5)
    miscounted = qtag.chunk(0, [5], [0]) + qtag.end(1, 2, 5)
    followed = qtag.chunk(0, [5], [0]) + qtag.end(1, 1, 5) + b"\0"
    unsorted = bytearray(qtag.chunk(0, [5, 6], [3, 4]))
    unsorted[36:38] = b"\x04\x03"
    unsorted[28:32] = native_codec.zlib.crc32(unsorted[36:]).to_bytes(4, "little")
    reseal(unsorted, 0, 36)
    for body, what in (
        (backwards, "begins before"),
        (beyond, "does not end"),
        (miscounted, "counts 2 events"),
        (followed, "follows the end"),
        (bytes(unsorted), "does not ascend"),
    ):
        with pytest.raises(TagFormatError, match=what):
            read_bytes(good + body)


def _chunk_bytes(data: bytes, count: int) -> int:
    """Bytes of the first `count` chunks of a file."""
    at = 128
    for _ in range(count):
        at += 36 + int.from_bytes(data[at + 12 : at + 16], "little")
    return at - 128
