"""Damaged containers: reading ends in a valid recording or a TagFormatError, in memory that the file's size bounds."""

from __future__ import annotations

import importlib.util
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distribution import formats
from distribution.errors import TagFormatError
from distribution.formats import parquet, photon_hdf5, ptu, swabian
from distribution.formats.ptu_header import build_header
from distribution.tags import TimeTags
from tests.data_files import find

FILES = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
# What reading a file of some kilobytes may take on top of a hundred times its size: imports, the kernel, buffers.
BASE_BYTES = 48 << 20

TAGS = TimeTags(np.arange(100) * 50_000_000, (np.arange(100) % 5 + 1).astype(np.uint8))


def written(writer: Callable[[Path, TimeTags], None]) -> Callable[[Path], bytes]:
    """A file of TAGS as one of our writers makes it."""

    def make(folder: Path) -> bytes:
        writer(folder / "sample", TAGS)
        return (folder / "sample").read_bytes()

    return make


def t3(_: Path) -> bytes:
    """A T3 file with overflows, photons and markers."""
    words = [word for k in range(60) for word in (0xFE000001, k % 4 << 25 | k << 11 | 9 * k, 1 << 31 | 1 << 25 | 9 * k)]
    header = build_header(
        {
            "HW_Type": "MultiHarp 150",
            "TTResultFormat_TTTRRecType": 0x00010307,
            "MeasDesc_Resolution": 5e-12,
            "MeasDesc_GlobalResolution": 1e-7,
            "TTResult_SyncRate": 10_000_000,
            "TTResult_StopAfter": 1000,
            "TTResult_NumberOfRecords": len(words),
        }
    )
    return header + np.array(words, "<u4").tobytes()


def picoharp(_: Path) -> bytes:
    """A pt3 file; its mode, rate and counts stand in the last 40 bytes of the header."""
    words = [word for k in range(60) for word in (15 << 28, 1 << 28 | k << 17 | 900 * k, 15 << 28 | 4 << 16 | 900 * k)]
    head = bytearray(728)
    head[:19] = b"PicoHarp 300\0\0\0\0" + b"2.0"
    struct.pack_into("<i", head, 328 + 5 * 4, 3)
    struct.pack_into("<f", head, 728 - 36 - 27 * 4, 0.008)
    struct.pack_into("<6i", head, 728 - 24, 80_000_000, 1000, 1000, 0, len(words), 0)
    return bytes(head) + np.array(words, "<u4").tobytes()


SAMPLES: dict[str, Callable[[Path], bytes]] = {
    "ptu": written(ptu.write_ptu),
    "ptu t3": t3,
    "ht2": lambda _: find("picoquant/v10.ht2").read_bytes(),
    "ht2 v2": lambda _: find("picoquant/v20.ht2").read_bytes(),
    "ht3": lambda _: find("picoquant/v10.ht3").read_bytes(),
    "pt3": picoharp,
    "t3r": lambda _: find("picoquant/v50.t3r").read_bytes()[:3000],
    "swabian": written(swabian.write_swabian),
    "parquet": written(parquet.write_parquet),
    "hdf5": written(photon_hdf5.write_photon_hdf5),
}
NEEDS = {"parquet": "pyarrow", "hdf5": "h5py"}


@pytest.fixture
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """The bytes of the sample that a test is called with."""
    name = request.param
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"OPTIONAL LIBRARY MISSING: {NEEDS[name]}; pip install 'entangled-qkd[parquet,hdf5]'")
    return SAMPLES[name](tmp_path)


def read_or_refuse(path: Path, data: bytes) -> None:
    """Read, and hold the outcome and the memory it took against what is promised."""
    path.write_bytes(data)
    recording, offset = None, None
    tracemalloc.start()
    try:
        recording = formats.read(path)
    except TagFormatError as error:
        offset = error.offset
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BASE_BYTES + 100 * len(data)
    assert offset is None or 0 <= offset <= max(len(data), 16)
    if recording is None:
        return
    parts = recording.events + recording.dummies + recording.overflows + recording.markers
    assert parts == recording.records
    assert recording.events >= 0
    assert recording.lost is not None
    assert recording.lost >= 0
    assert np.all(np.diff(recording.tags.t_ps) >= 0)
    assert recording.resolution_ps > 0


@pytest.mark.parametrize("sample", SAMPLES, indirect=True)
def test_the_samples_themselves_are_read(tmp_path: Path, sample: bytes) -> None:
    (tmp_path / "x").write_bytes(sample)
    assert len(formats.read(tmp_path / "x").tags) >= 19


@pytest.mark.parametrize("sample", SAMPLES, indirect=True)
@FILES
@given(data=st.data())
def test_cut_flipped_and_overwritten(tmp_path: Path, sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(0, 4), label="changes")):
        # Half of the changes fall into the first 900 bytes, where most headers are.
        top = data.draw(st.sampled_from([min(900, len(damaged)), len(damaged)]), label="reach")
        at = data.draw(st.integers(0, top - 1), label="byte")
        if data.draw(st.booleans(), label="flip"):
            damaged[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
        else:  # a word of extremes: counts, lengths and rates that are absurd
            word = data.draw(
                st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\xf0\x7f", b"\x01\0\0\0"])
            )
            damaged[at : at + 4] = word
    keep = data.draw(st.one_of(st.just(len(damaged)), st.integers(0, len(damaged))), label="keep")
    read_or_refuse(tmp_path / "x", bytes(damaged[:keep]))


@FILES
@given(
    magic=st.sampled_from([b"PQTTTR\0\0" + b"1.0.00\0\0", b"HydraHarp\0", b"PicoHarp 300\0", b"TimeHarp 200\0"]),
    tail=st.binary(max_size=2000),
)
def test_random_bytes_after_a_magic(tmp_path: Path, magic: bytes, tail: bytes) -> None:
    read_or_refuse(tmp_path / "x", magic + tail)


@FILES
@given(records=st.binary(min_size=16, max_size=800))
def test_random_records_of_a_dump(tmp_path: Path, records: bytes) -> None:
    (tmp_path / "x").write_bytes(records)
    try:
        recording = swabian.read_swabian(tmp_path / "x")
    except TagFormatError:
        return
    assert recording.events + recording.overflows == recording.records


@pytest.mark.parametrize("layout", [0x00010203, 0x00010204, 0x01010204, 0x00010303, 0x00010304, 0x00010307])
@FILES
@given(words=st.lists(st.integers(0, (1 << 32) - 1), max_size=60))
def test_random_records_of_every_layout(tmp_path: Path, layout: int, words: list[int]) -> None:
    header = build_header(
        {
            "TTResultFormat_TTTRRecType": layout,
            "MeasDesc_Resolution": 5e-12,
            "MeasDesc_GlobalResolution": 1e-12 if layout >> 8 & 0xF == 2 else 1e-5,
            "TTResult_NumberOfRecords": len(words),
        }
    )
    read_or_refuse(tmp_path / "x", header + np.array(words, "<u4").tobytes())
