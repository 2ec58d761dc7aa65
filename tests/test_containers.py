"""Swabian dumps, Parquet, Photon-HDF5: round trips, other people's dialects, and what is refused.

Tests of Parquet need pyarrow and tests of Photon-HDF5 need h5py (extras `parquet` and `hdf5`); without them they are
skipped and say so, and what a user is told instead is tested in any case.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distribution import formats
from distribution.errors import ParameterError, TagFormatError
from distribution.formats import Format, parquet, photon_hdf5, swabian
from distribution.formats.recording import scale_to_ps
from distribution.formats.swabian import FALLING, RECORD, TagType
from distribution.tags import EMPTY, TimeTags

FILES = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def need(module: str) -> Any:
    """An optional library, or a skip that says which extra is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        pytest.skip(f"OPTIONAL LIBRARY MISSING: {module}; pip install 'entangled-qkd[parquet,hdf5]'")


def tags(t_ps: list[int], channel: list[int]) -> TimeTags:
    return TimeTags(np.array(t_ps, np.int64), np.array(channel, np.uint8))


def same(first: TimeTags, second: TimeTags) -> bool:
    return bool(np.array_equal(first.t_ps, second.t_ps) and np.array_equal(first.channel, second.channel))


# Gaps up to half an hour, from a start that may lie before zero.
some_tags = st.builds(
    lambda start, gaps, seed: TimeTags(
        start + np.cumsum(np.array(gaps, np.int64)),
        np.random.default_rng(seed).integers(0, FALLING, len(gaps)).astype(np.uint8),
    ),
    st.integers(-(1 << 60), 1 << 60),
    st.lists(st.integers(0, 1 << 50), min_size=2, max_size=60),
    st.integers(0, 1 << 32),
)


@FILES
@given(original=some_tags)
@pytest.mark.parametrize("writer", [swabian.write_swabian, parquet.write_parquet, photon_hdf5.write_photon_hdf5])
def test_every_tag_comes_back(tmp_path: Path, writer: Callable[[Path, TimeTags], None], original: TimeTags) -> None:
    if writer is not swabian.write_swabian:
        need("pyarrow" if writer is parquet.write_parquet else "h5py")
    original.t_ps[-1] += 1  # a dump in which all times are zero would not be recognised
    path = tmp_path / "x"
    writer(path, original)
    recording = formats.read(path)
    assert same(recording.tags, original)
    assert recording.records == recording.events == len(original)
    assert recording.resolution_ps == 1.0
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@settings(deadline=None)
@given(
    units=st.lists(st.integers(-(1 << 40), 1 << 40), max_size=20),
    unit=st.fractions(Fraction(1, 1000), 1 << 20, max_denominator=1 << 24),
)
def test_units_become_exactly_rounded_picoseconds(units: list[int], unit: Fraction) -> None:
    expected = [floor(u * unit + Fraction(1, 2)) for u in units]
    assert scale_to_ps(np.array(units, np.int64), unit.numerator, unit.denominator).tolist() == expected


# --- Swabian -----------------------------------------------------------------------------------------------------


def dump(*records: tuple[int, int, int, int]) -> bytes:
    """Records of (type, missed, channel, time)."""
    return np.array([(kind, 0, missed, channel, t) for kind, missed, channel, t in records], RECORD).tobytes()


def test_swabian_edges_and_overflows(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(
        dump(
            (TagType.TIME_TAG, 0, 1, 100),
            (TagType.TIME_TAG, 0, -1, 250),
            (TagType.OVERFLOW_BEGIN, 0, 0, 300),
            (TagType.MISSED_EVENTS, 70, 1, 400),
            (TagType.MISSED_EVENTS, 65535, -1, 400),
            (TagType.OVERFLOW_END, 0, 0, 500),
            (TagType.ERROR, 0, 0, 600),
            (TagType.TIME_TAG, 0, 18, 700),
        )
    )
    recording = formats.read(path)
    assert recording.format is Format.SWABIAN_DUMP
    assert same(recording.tags, tags([100, 250, 700], [1, FALLING + 1, 18]))
    assert (recording.records, recording.events, recording.overflows, recording.lost) == (8, 3, 5, 65605)


def test_swabian_layout_is_byte_for_byte() -> None:
    data = swabian.encode_dump(np.array([0x0102030405060708]), np.array([FALLING + 5], np.uint8))
    assert data == bytes([0, 0, 0, 0, 0xFB, 0xFF, 0xFF, 0xFF, 8, 7, 6, 5, 4, 3, 2, 1])


@pytest.mark.parametrize(
    ("record", "match"),
    [
        ((5, 0, 1, 9), "type 5"),
        ((0, 3, 1, 9), "3 missed"),
        ((0, 0, 200, 9), "channel 200"),
        ((0, 0, 1, 1 << 62), "no Time Tagger"),
        ((0, 0, 1, -(1 << 63)), "no Time Tagger"),
        ((0, 0, 1, 1), "before an earlier one"),
    ],
)
def test_swabian_records_that_cannot_be(tmp_path: Path, record: tuple[int, int, int, int], match: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(dump((0, 0, 1, 5), (0, 0, 2, 6), record))
    with pytest.raises(TagFormatError, match=match) as caught:
        swabian.read_swabian(path)
    assert caught.value.offset == 32
    path.write_bytes(path.read_bytes()[:39])
    with pytest.raises(TagFormatError, match="7 of 16") as caught:
        swabian.read_swabian(path)
    assert caught.value.offset == 32


def test_swabian_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="128"):
        swabian.write_swabian(tmp_path / "x", tags([0], [FALLING]))
    with pytest.raises(ParameterError, match="53 days"):
        swabian.write_swabian(tmp_path / "x", tags([1 << 62], [1]))
    assert list(tmp_path.iterdir()) == []


# --- Parquet -----------------------------------------------------------------------------------------------------


def table(path: Path, columns: dict[str, Any], metadata: dict[str, str] | None = None) -> Path:
    """A Parquet file as somebody else might write it."""
    arrow, pq = need("pyarrow"), need("pyarrow.parquet")
    pq.write_table(arrow.table(columns).replace_schema_metadata(metadata or {}), path)
    return path


@pytest.mark.parametrize(
    ("columns", "metadata", "t_ps"),
    [
        ({"t_ps": [1, 5], "ch": [0, 3]}, {}, [1, 5]),
        ({"timestamps": [1, 5], "detectors": [0, 3]}, {"unit": "ns"}, [1000, 5000]),
        ({"Timestamp": [1, 5], "Channel": [0, 3], "note": ["a", "b"]}, {"unit_ps": "125/32"}, [4, 20]),
        ({"time": [1, 5], "channel": [0, 3]}, {"unit_ps": "80.955"}, [81, 405]),
        ({"ts": [1, 5], "detector": [0, 3]}, {"unit": "ps", "unit_ps": "1"}, [1, 5]),
    ],
)
def test_parquet_dialects(tmp_path: Path, columns: dict[str, Any], metadata: dict[str, str], t_ps: list[int]) -> None:
    recording = formats.read(table(tmp_path / "x", columns, metadata))
    assert same(recording.tags, tags(t_ps, [0, 3]))
    assert recording.format is Format.PARQUET


@pytest.mark.parametrize(
    ("columns", "metadata", "match"),
    [
        ({"ts": [1, 5], "ch": [0, 3]}, {}, "no unit"),
        ({"t_ps": [1, 5], "ch": [0, 3]}, {"unit": "ns"}, "contradictory"),
        ({"t_ps": [1, 5], "time": [1, 5], "ch": [0, 3]}, {}, "compete"),
        ({"t_ps": [1, 5], "ch": [0, 3], "detectors": [0, 3]}, {}, "compete"),
        ({"t_ps": [1, 5]}, {}, "no column"),
        ({"t_ps": [1.0, 5.0], "ch": [0, 3]}, {}, "double"),
        ({"t_ps": [1, None], "ch": [0, 3]}, {}, "empty values"),
        ({"t_ps": [1, 5], "ch": [0, 256]}, {}, "do not fit"),
        ({"t_ps": [1, 5], "ch": [0, -1]}, {}, "do not fit"),
        ({"t_ps": [5, 1], "ch": [0, 3]}, {}, "before an earlier one"),
        ({"time": [1, 5], "ch": [0, 3]}, {"unit": "fortnight"}, "fortnight"),
        ({"time": [1, 5], "ch": [0, 3]}, {"unit_ps": "1/0"}, "no number"),
        ({"time": [1, 1 << 60], "ch": [0, 3]}, {"unit": "s"}, "53 days"),
    ],
)
def test_parquet_tables_that_leave_a_choice_are_refused(
    tmp_path: Path, columns: dict[str, Any], metadata: dict[str, str], match: str
) -> None:
    with pytest.raises(TagFormatError, match=match):
        formats.read(table(tmp_path / "x", columns, metadata))


def test_parquet_keeps_the_headings_and_bounds_its_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = need("pyarrow.parquet")
    monkeypatch.setattr(parquet, "GROUP_ROWS", 100)
    rng = np.random.default_rng(3)
    original = TimeTags(np.sort(rng.integers(0, 10**12, 1050)), rng.integers(0, 4, 1050).astype(np.uint8))
    parquet.write_parquet(tmp_path / "x", original, resolution_ps=1000 / 256, device="bench", clock_id="rb-1")
    recording = formats.read(tmp_path / "x")
    assert (recording.device, recording.clock_id, recording.resolution_ps) == ("bench", "rb-1", 1000 / 256)
    assert same(recording.tags, original)
    metadata = pq.ParquetFile(tmp_path / "x").metadata
    assert [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)] == [100] * 10 + [50]


def test_parquet_is_as_compact_as_its_gaps(tmp_path: Path) -> None:
    """Exponential gaps of 10 us (23.3 bits of entropy in ps, + 2 for the detector) fit into four bytes a tag."""
    need("pyarrow")
    rng = np.random.default_rng(3)
    t_ps = np.cumsum(rng.exponential(1e7, 50_000).astype(np.int64))
    parquet.write_parquet(tmp_path / "x", TimeTags(t_ps, rng.integers(0, 4, t_ps.size).astype(np.uint8)))
    assert (tmp_path / "x").stat().st_size < 4 * t_ps.size


# --- Photon-HDF5 -------------------------------------------------------------------------------------------------


def photon_file(path: Path, **datasets: Any) -> Path:
    """A Photon-HDF5 file as somebody else might write it; `__` stands for / in the names, None leaves one out."""
    h5py = need("h5py")
    fields = {"timestamps": np.array([10, 20, 20]), "detectors": np.array([0, 1, 3], np.uint8)}
    fields |= {"timestamps_specs__timestamps_unit": 1e-9} | datasets
    with h5py.File(path, "w") as file:
        for name, value in fields.items():
            if value is not None:
                file[f"photon_data/{name.replace('__', '/')}"] = value
    return path


def test_photon_hdf5_units_and_missing_detectors(tmp_path: Path) -> None:
    assert same(formats.read(photon_file(tmp_path / "a")).tags, tags([10_000, 20_000, 20_000], [0, 1, 3]))
    recording = formats.read(photon_file(tmp_path / "b", detectors=None, timestamps_specs__timestamps_unit=12.5e-9))
    assert same(recording.tags, tags([125_000, 250_000, 250_000], [0, 0, 0]))
    assert (recording.format, recording.resolution_ps) == (Format.PHOTON_HDF5, 12_500.0)


def test_photon_hdf5_nanotimes_are_added_where_timestamps_count_pulses(tmp_path: Path) -> None:
    fine = {
        "timestamps_specs__timestamps_unit": 1 / 80e6,
        "nanotimes": np.array([5, 700, 20], np.uint16),
        "nanotimes_specs__tcspc_unit": 16e-12,
    }
    pulses = formats.read(photon_file(tmp_path / "a", **fine, measurement_specs__laser_repetition_rate=80e6))
    assert same(pulses.tags, tags([125_080, 250_320, 261_200], [0, 3, 1]))
    assert (pulses.reordered, pulses.resolution_ps) == (1, 16.0)
    clock = formats.read(photon_file(tmp_path / "b", **fine))
    assert clock.tags.t_ps.tolist() == [125_000, 250_000, 250_000]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"timestamps": None}, "timestamps is no vector"),
        ({"timestamps": np.array([1.0, 2.0, 3.0])}, "no vector of whole numbers"),
        ({"timestamps": np.array([20, 10, 30])}, "before an earlier one"),
        ({"timestamps": np.array([1, 2])}, "2 timestamps, 3 detectors"),
        ({"timestamps": np.array([1, 2, 1 << 63], np.uint64)}, "reach"),
        ({"timestamps": np.array([1, 2, 1 << 60])}, "53 days"),
        ({"detectors": np.array([0, 1, 256])}, "0..255"),
        ({"timestamps_specs__timestamps_unit": None}, "timestamps_unit"),
        ({"timestamps_specs__timestamps_unit": float("nan")}, "timestamps_unit"),
    ],
)
def test_photon_hdf5_files_that_cannot_be(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(TagFormatError, match=match):
        formats.read(photon_file(tmp_path / "x", **changes))


def test_photon_hdf5_of_several_spots_or_of_something_else(tmp_path: Path) -> None:
    h5py = need("h5py")
    for group, match in (("photon_data0", "several spots"), ("images", "no /photon_data")):
        with h5py.File(tmp_path / "x", "w") as file:
            file.create_group(group)
        with pytest.raises(TagFormatError, match=match):
            formats.read(tmp_path / "x")


def test_photon_hdf5_of_chunks_that_are_not_there(tmp_path: Path) -> None:
    h5py = need("h5py")
    with h5py.File(tmp_path / "x", "w") as file:
        file.create_dataset("photon_data/timestamps", shape=(1 << 40,), dtype="i8", chunks=(1024,))
    with pytest.raises(TagFormatError, match="absurd"):
        formats.read(tmp_path / "x")


def test_photon_hdf5_keeps_the_headings(tmp_path: Path) -> None:
    need("h5py")
    original = tags([-5, 7], [0, 255])
    photon_hdf5.write_photon_hdf5(tmp_path / "x", original, resolution_ps=4.0, device="bench", clock_id="rb-1")
    recording = formats.read(tmp_path / "x")
    assert (recording.device, recording.clock_id, recording.resolution_ps) == ("bench", "rb-1", 4.0)
    assert same(recording.tags, original)


def test_photon_hdf5_is_what_the_format_says(tmp_path: Path) -> None:
    h5py = need("h5py")
    photon_hdf5.write_photon_hdf5(tmp_path / "x", tags([1000, 3000], [2, 0]))
    with h5py.File(tmp_path / "x") as file:
        assert file.attrs["format_name"] == b"Photon-HDF5"
        assert file["photon_data/timestamps"][:].tolist() == [1000, 3000]
        assert file["photon_data/timestamps_specs/timestamps_unit"][()] == 1e-12
        assert file["photon_data/detectors"][:].tolist() == [2, 0]
        assert file["setup/num_pixels"][()] == 2
        untitled = [name for name in ("photon_data", "setup", "identity") if "TITLE" not in file[name].attrs]
        assert untitled == []


# --- Without the libraries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["parquet", "hdf5"])
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    head = {"parquet": b"PAR1", "hdf5": photon_hdf5.MAGIC}[module]
    for name in ("pyarrow", "pyarrow.parquet", "h5py"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "x").write_bytes(head + bytes(100))
    with pytest.raises(TagFormatError, match="not installed") as caught:
        formats.read(tmp_path / "x")
    assert caught.value.hint == f"pip install 'entangled-qkd[{module}]'"
    writer = parquet.write_parquet if module == "parquet" else photon_hdf5.write_photon_hdf5
    with pytest.raises(TagFormatError, match="not installed"):
        writer(tmp_path / "y", EMPTY)
    assert not (tmp_path / "y").exists()


def test_empty_recordings_come_back_empty(tmp_path: Path) -> None:
    for module, writer in (("pyarrow", parquet.write_parquet), ("h5py", photon_hdf5.write_photon_hdf5)):
        need(module)
        writer(tmp_path / "x", EMPTY)
        assert formats.read(tmp_path / "x").records == 0
