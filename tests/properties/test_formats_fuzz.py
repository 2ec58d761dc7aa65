"""Damaged files: whatever happens to the bytes, reading ends in a valid recording or a TagFormatError."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distribution import formats
from distribution.errors import TagFormatError
from distribution.formats import qutag, s15
from distribution.tags import TimeTags
from tests.data_files import find

FILES = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, t_ps=np.arange(0, 5000, 50), channel=np.arange(100, dtype=np.uint8), resolution_ps=np.float64(4))
    return buffer.getvalue()


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


@pytest.mark.parametrize("name", ["a1", "legacy", "qutag", "npz", "csv", "ptu"])
def test_the_samples_themselves_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(_sample(name))
    assert len(formats.read(tmp_path / "x").tags) >= 99


@pytest.mark.parametrize("name", ["a1", "legacy", "qutag", "npz", "csv", "ptu"])
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
@given(magic=st.sampled_from([b"", b"PQTTTR\0\0", b"PK\x03\x04", b"\x93NUMPY", b"t_ps,channel\n"]), tail=st.binary())
def test_random_bytes(tmp_path: Path, magic: bytes, tail: bytes) -> None:
    _read_or_refuse(tmp_path / "x", magic + tail)


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
