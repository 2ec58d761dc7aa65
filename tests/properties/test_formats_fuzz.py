"""Damaged files: whatever happens to the bytes, reading ends in a valid recording or a TagFormatError."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distribution import formats
from distribution.errors import TagFormatError
from distribution.formats import id900, native, native_codec, qcrypto_codec, qutag, registry, s15
from distribution.tags import TimeTags
from tests.data_files import find
from tests.reference import qtag

MAGICS = [
    b"", b"PQTTTR\0\0", b"PK\x03\x04", b"\x93NUMPY", b"t_ps,channel\n", native_codec.MAGIC,
    qtag.header(Fraction(1)), qtag.header(Fraction(1)) + b"QTCH", bytes([1, 1, 0, 0]),
]  # fmt: skip
NAMES = ["a1", "legacy", "a0", "a2", "t1", "qtag", "qutag", "npz", "csv", "ptu"]
FILES = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, t_ps=np.arange(0, 5000, 50), channel=np.arange(100, dtype=np.uint8), resolution_ps=np.float64(4))
    return buffer.getvalue()


def _converted(name: str) -> bytes:
    """The S-Fifteen sample as another format."""
    tags = s15.decode_words(_sample("a1"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        registry.by_name(name).write(path, tags, registry.Options(unit_ps=Fraction(125, 32)))
        return path.read_bytes()


@functools.cache
def _sample(name: str) -> bytes:
    match name:
        case "a1":
            return find("s15/timestamp7_c1234.Aa1.ts").read_bytes()[:2400]
        case "legacy":
            return find("s15/timestamp7_c14_rollover.Aa1fX.ts").read_bytes()[:2400]
        case "qutag":
            records = np.zeros(100, qutag.RECORD)
            records["time"], records["channel"] = np.arange(100) * 1000, 1
            return bytes(40) + records.tobytes()
        case "a0" | "a2" | "t1" | "qtag":
            return _converted(name)
        case "npz":
            return _npz()
        case "csv":
            return b"# bench\nt_ps,channel\n" + b"".join(b"%d,%d\n" % (7 * k, k % 4) for k in range(100))
        case _:
            return find("picoquant/v30_t2_first400.ptu").read_bytes()


def _read_or_refuse(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        recording = formats.read(path)
    except TagFormatError:
        return
    parts = recording.events + recording.dummies + recording.overflows + recording.markers
    assert parts == recording.records
    assert recording.events >= 0
    assert np.all(np.diff(recording.tags.t_ps) >= 0)
    assert recording.resolution_ps > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_samples_themselves_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(_sample(name))
    assert len(formats.read(tmp_path / "x").tags) >= 99


@pytest.mark.parametrize("name", NAMES)
@FILES
@given(data=st.data())
def test_cut_and_flipped(tmp_path: Path, name: str, data: st.DataObject) -> None:
    sample = bytearray(_sample(name))
    for _ in range(data.draw(st.integers(0, 4), label="flips")):
        # Half of the flips fall into the first 200 bytes, where headers are.
        top = data.draw(st.sampled_from([min(200, len(sample)), len(sample)]), label="reach")
        sample[data.draw(st.integers(0, top - 1), label="byte")] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    keep = data.draw(st.one_of(st.just(len(sample)), st.integers(0, len(sample))), label="keep")
    _read_or_refuse(tmp_path / "x", bytes(sample[:keep]))


@FILES
@given(magic=st.sampled_from(MAGICS), tail=st.binary())
def test_random_bytes(tmp_path: Path, magic: bytes, tail: bytes) -> None:
    _read_or_refuse(tmp_path / "x", magic + tail)


@FILES
@given(data=st.data())
def test_repair_survives_any_damage(data: st.DataObject) -> None:
    """What repair gives back is always a part of what was written, in order."""
    tags = TimeTags(np.arange(0, 5000, 50), np.arange(100, dtype=np.uint8) % 3)
    buffer = io.BytesIO()
    with native.NativeWriter(buffer, native.NativeHeader(), chunk_events=16) as writer:
        writer.append(tags)
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(0, 3), label="cuts")):
        start = data.draw(st.integers(128, len(damaged)), label="start")
        width = data.draw(st.integers(0, 60), label="width")
        damaged[start : start + width] = data.draw(st.binary(max_size=60), label="instead")
    reader = native.NativeReader(io.BytesIO(bytes(damaged)), "x", repair=True)
    chunks = list(reader)
    found = [t for chunk in chunks for t in chunk.t_ps.tolist()]
    assert found == sorted(set(found))
    assert set(found) <= set(tags.t_ps.tolist())
    assert all(c == t // 50 % 3 for chunk in chunks for t, c in zip(chunk.t_ps, chunk.channel, strict=True))
    if len(found) < 100:
        assert reader.damaged > 0
    if reader.lost is not None:
        assert reader.lost == 100 - len(found)


@FILES
@given(
    gaps=st.lists(st.integers(0, 1 << 55), min_size=1, max_size=60),
    channels=st.lists(st.integers(0, 255), min_size=60, max_size=60),
    start=st.integers(-(1 << 61), 0),
    chunk_events=st.integers(1, 30),
    unit=st.sampled_from([Fraction(1), Fraction(125, 32), Fraction(125), Fraction("80.955"), Fraction(1000)]),
)
def test_native_gives_back_every_tag(
    gaps: list[int], channels: list[int], start: int, chunk_events: int, unit: Fraction
) -> None:
    t_ps = start + np.cumsum(np.array(gaps, np.int64))
    buffer = io.BytesIO()
    header = native.NativeHeader(unit_ps=unit)
    with native.NativeWriter(buffer, header, chunk_events=chunk_events) as writer:
        writer.append(TimeTags(t_ps, np.array(channels[: len(gaps)], np.uint8)))
    chunks = list(native.NativeReader(buffer, "x"))
    found = np.concatenate([chunk.t_ps for chunk in chunks])
    assert found.tolist() == [qtag.to_ps(qtag.to_units(t, unit), unit) for t in t_ps.tolist()]
    assert np.concatenate([chunk.channel for chunk in chunks]).tolist() == channels[: len(gaps)]
    assert writer.rounded == np.count_nonzero(found != t_ps)
    assert qtag.read(buffer.getvalue()) == (found.tolist(), channels[: len(gaps)])


@FILES
@given(kind=st.integers(1, 4), extended=st.booleans(), fields=st.binary(min_size=20, max_size=120))
def test_random_qcrypto_packets(kind: int, extended: bool, fields: bytes) -> None:
    data = bytes([kind, extended, 0, 0]) + fields
    with contextlib.suppress(TagFormatError):
        packet, after = qcrypto_codec.decode(data)
        assert 4 < after <= len(data)
        again, _ = qcrypto_codec.decode(qcrypto_codec.encode(packet))
        assert qcrypto_codec.encode(again) == qcrypto_codec.encode(packet)


@FILES
@given(
    gaps=st.lists(st.integers(2, 1 << 27), max_size=30),
    base_bits=st.integers(0, 8),
    order=st.integers(2, 24),
    flip=st.integers(0, 1 << 16),
)
def test_type_2_comes_back_and_a_flipped_bit_never_escapes(
    gaps: list[int], base_bits: int, order: int, flip: int
) -> None:
    times = np.cumsum(np.array(gaps, np.int64))
    bases = (times % (1 << base_bits)).astype(np.uint8)
    epoch = qcrypto_codec.Epoch(number=9)
    packet = qcrypto_codec.TimesAndBases(
        epoch=epoch, times=times, bases=bases, base_bits=base_bits, protocol=0, time_order=order
    )
    data = qcrypto_codec.encode(packet)
    back, after = qcrypto_codec.decode(data)
    assert isinstance(back, qcrypto_codec.TimesAndBases)
    assert (after, back.times.tolist(), back.bases.tolist()) == (len(data), times.tolist(), bases.tolist())
    broken = bytearray(data)
    broken[flip // 8 % len(data)] ^= 1 << flip % 8
    with contextlib.suppress(TagFormatError):
        qcrypto_codec.decode(bytes(broken))


@FILES
@given(data=st.binary(max_size=80), whole=st.booleans())
def test_random_id900(tmp_path: Path, data: bytes, whole: bool) -> None:
    data = data[: len(data) // 8 * 8] if whole else data
    (tmp_path / "x").write_bytes(data)
    with contextlib.suppress(TagFormatError):
        recording = id900.read_id900(tmp_path / "x", channel=1)
        assert np.all(np.diff(recording.tags.t_ps) >= 0)
        assert recording.tags.t_ps.tolist() == [t for (t,) in struct.iter_unpack("<Q", data)]


@FILES
@given(text=st.text(alphabet="0123456789abcdefABCDEF\n\r ,", max_size=80), digits=st.sampled_from([8, 16]))
def test_random_hex_text(tmp_path: Path, text: str, digits: int) -> None:
    _read_or_refuse(tmp_path / "x", f"{'1' * digits}\n{text}".encode())


@FILES
@given(
    gaps=st.lists(st.integers(0, 1 << 40), min_size=1, max_size=40),
    channels=st.lists(st.integers(0, 3), min_size=40, max_size=40),
    start=st.integers(0, s15.WRAP_PS - (1 << 47)),
)
def test_a1_gives_back_every_tag(gaps: list[int], channels: list[int], start: int) -> None:
    t_ps = start + np.cumsum(np.array(gaps, np.int64))
    original = TimeTags(t_ps, np.array(channels[: len(gaps)], np.uint8))
    once = s15.decode_words(s15.encode_words(original))
    twice = s15.decode_words(s15.encode_words(once))
    assert np.array_equal(once.channel, original.channel)
    assert np.max(np.abs(once.t_ps - original.t_ps)) <= 2
    assert np.array_equal(once.t_ps, twice.t_ps)
    assert np.array_equal(once.channel, twice.channel)
