"""Readers against real recordings, writers against readers, and damaged files against their errors.

Expected counts come from the projects that published the recordings: fpfind (its tests/data README and its
docs/user/parser.md, read with its own parser) and the ETA project. Where they are not published, the shared data README
gives them. PicoQuant's files have tests/test_picoquant.py, tables and other containers tests/test_containers.py.
"""

from __future__ import annotations

import itertools
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from distribution import formats
from distribution.errors import ParameterError, TagFormatError
from distribution.formats import Format, generic, id900, qutag, s15, s15_text
from distribution.kernels.words import split_detections, split_words
from distribution.tags import EMPTY, TimeTags
from tests.data_files import find
from tests.reference.words import split_word

S15_PLAIN = "s15/timestamp7_c1234.Aa1.ts"
S15_LEGACY = "s15/timestamp7_c14_rollover.Aa1fX.ts"
QUTAG = "qutag/19_qutag_80MHz_HBT_sync_filtered.qutag"
V30 = "picoquant/v30_t2.ptu"


def tags(t_ps: list[int], channel: list[int]) -> TimeTags:
    return TimeTags(np.array(t_ps, np.int64), np.array(channel, np.uint8))


def same(first: TimeTags, second: TimeTags) -> bool:
    return bool(np.array_equal(first.t_ps, second.t_ps) and np.array_equal(first.channel, second.channel))


def adds_up(recording: formats.Recording) -> bool:
    parts = recording.events + recording.dummies + recording.overflows + recording.markers
    return parts == recording.records and bool(np.all(np.diff(recording.tags.t_ps) >= 0))


# --- S-Fifteen ---------------------------------------------------------------------------------------------------


def test_s15_plain_counts() -> None:
    recording = formats.read(find(S15_PLAIN))
    assert recording.format is Format.S15_A1
    assert recording.records == recording.events == 2000
    assert recording.patterns == {1: 614, 2: 481, 4: 476, 8: 417, 3: 2, 5: 2, 6: 3, 9: 3, 10: 2}
    # Every set bit is a tag: channel 0 fires in patterns 1, 3, 5, 9 and so on.
    assert recording.tags.counts() == {0: 614 + 2 + 2 + 3, 1: 481 + 2 + 3 + 2, 2: 476 + 2 + 3, 3: 417 + 3 + 2}
    assert adds_up(recording)
    # 239 363 217 units of 1/256 ns between first and last word, read off the file's first and last 8 bytes.
    first, last = np.fromfile(find(S15_PLAIN), "<u8")[[0, -1]] >> np.uint64(10)
    assert recording.tags.span_ps == pytest.approx(int(last - first) * 1000 / 256, abs=1)


def test_s15_legacy_counts_and_duration() -> None:
    """fpfind docs/user/parser.md: 862 events, 431 on channels 1 and 4, 65333.011796794 s to 65333.045492610 s."""
    recording = formats.read(find(S15_LEGACY))
    assert recording.format is Format.S15_A1_LEGACY
    assert (recording.records, recording.dummies, recording.events) == (1000, 138, 862)
    assert recording.tags.counts() == {0: 431, 3: 431}
    assert int(recording.tags.t_ps[0]) // 1000 == 65333_011796794
    assert int(recording.tags.t_ps[-1]) // 1000 == 65333_045492610
    assert recording.reordered == 8
    assert adds_up(recording)


def test_s15_wrong_word_order_is_refused() -> None:
    for name, legacy in ((S15_PLAIN, True), (S15_LEGACY, False)):
        with pytest.raises(TagFormatError) as caught:
            s15.read_a1(find(name), legacy=legacy)
        assert caught.value.offset is not None
        assert caught.value.offset % s15.WORD_BYTES == 0


def test_s15_units_become_exactly_rounded_picoseconds() -> None:
    for u in (0, 1, 2, 16, 32, 0x2AAAAAAAAAAAAA, (1 << 54) - 1):
        # round(u * 1000 / 256), halves up, in Python's exact integers
        assert s15.decode_words((u << 10 | 1).to_bytes(8, "little")).t_ps.tolist() == [(u * 1000 + 128) // 256]


@pytest.mark.parametrize("legacy", [False, True])
def test_s15_words_against_the_reference(legacy: bool) -> None:
    raw = np.random.default_rng(9).integers(0, 1 << 64, 3000, dtype=np.uint64)
    t_ps, flags, count = np.empty(raw.size, np.int64), np.empty(raw.size, np.uint8), np.zeros(32, np.int64)
    split_words(raw, legacy, t_ps, flags, count)
    expected = [split_word(w, legacy) for w in raw.tolist()]
    assert list(zip(t_ps.tolist(), flags.tolist(), strict=True)) == expected
    assert count.tolist() == [sum(flag == k for _, flag in expected) for k in range(32)]


@pytest.mark.parametrize("legacy", [False, True])
def test_s15_detections_against_the_reference(legacy: bool) -> None:
    """Random words, none of which is too late: every one is moved to its place, stably."""
    raw = np.random.default_rng(10).integers(0, 1 << 64, 3000, dtype=np.uint64)
    words = [split_word(w, legacy) for w in raw.tolist()]
    expected = sorted(
        ((t, c) for t, low in words if low < 16 for c in range(4) if low >> c & 1), key=lambda tag: tag[0]
    )
    t_ps, channel = np.empty(12_000, np.int64), np.empty(12_000, np.uint8)
    count, state, end = np.zeros(32, np.int64), np.zeros(3, np.int64), 0
    for part in (raw[:7], raw[7:2000], raw[2000:]):
        end = split_detections(part, legacy, 1 << 62, s15.LOWEST_BIT, end, t_ps, channel, count, state)
    assert list(zip(t_ps[:end].tolist(), channel[:end].tolist(), strict=True)) == expected
    assert count.tolist() == [sum(low == k for _, low in words) for k in range(32)]
    times = [t for t, _ in words]
    back = sum(later < earlier for earlier, later in itertools.pairwise(times))
    assert state.tolist() == [max(times), times[-1], back]


def test_s15_late_words_equal_the_general_path() -> None:
    """Nearly sorted words in one pass, against sorting: the same tags, and the same count of steps back."""
    rng = np.random.default_rng(11)
    units = np.sort(rng.integers(0, 1 << 30, 20_000)) + rng.integers(0, 1 << 16, 20_000)
    raw = (units.astype(np.uint64) << np.uint64(10)) | rng.integers(0, 32, 20_000, dtype=np.uint64)
    found = s15.recording_of(raw, legacy=False, format=Format.S15_A1, what="x")
    assert found.reordered == np.count_nonzero(np.diff(units) < 0) > 1000
    in_order = s15.recording_of(raw[np.argsort(units, kind="stable")], legacy=False, format=Format.S15_A1, what="x")
    assert in_order.reordered == 0
    assert same(found.tags, in_order.tags)
    assert found.patterns == in_order.patterns


def test_s15_many_multiple_clicks_outgrow_the_room() -> None:
    """Every word names four detectors: four times as many tags as words, in more than one stretch."""
    units = np.arange(100_000, dtype=np.uint64) * np.uint64(5000)
    decoded = s15.decode_words((units << np.uint64(10) | np.uint64(15)).tobytes())
    assert np.array_equal(decoded.channel, np.tile(np.arange(4, dtype=np.uint8), 100_000))
    assert np.array_equal(decoded.t_ps, np.repeat((units.astype(np.int64) * 1000 + 128) // 256, 4))


@pytest.mark.parametrize("legacy", [False, True])
def test_s15_round_trip(tmp_path: Path, legacy: bool) -> None:
    rng = np.random.default_rng(5)
    t_ps = np.sort(rng.integers(0, 10**12, 5000))
    original = TimeTags(t_ps, rng.integers(0, 4, 5000).astype(np.uint8))
    path = tmp_path / "tags.bin"
    s15.write_a1(path, original, legacy=legacy)
    recording = formats.read(path)
    assert recording.format is (Format.S15_A1_LEGACY if legacy else Format.S15_A1)
    assert np.array_equal(recording.tags.channel, original.channel)
    assert np.max(np.abs(recording.tags.t_ps - original.t_ps)) <= 2  # half a unit is 1.95 ps
    s15.write_a1(path, recording.tags)
    assert same(formats.read(path).tags, recording.tags)
    assert [p.name for p in tmp_path.iterdir()] == ["tags.bin"]


def test_s15_simultaneous_clicks_share_a_word_and_come_back() -> None:
    together = tags([1000, 1000, 1000, 1000, 5000], [0, 3, 1, 1, 2])
    data = s15.encode_words(together)
    # {0, 3} in one word; 1 is below 3 and starts another; the second 1 cannot share a bit; then 2.
    assert [int(w) & 0xF for w in np.frombuffer(data, "<u8")] == [0b1001, 0b0010, 0b0010, 0b0100]
    assert same(s15.decode_words(data), together)


def test_s15_rollover_is_carried_on() -> None:
    start = s15.WRAP_PS - 10**9
    crossing = tags([start, start + 5 * 10**8, start + 2 * 10**9, start + 3 * 10**9], [0, 1, 2, 3])
    recording_words = np.frombuffer(s15.encode_words(crossing), "<u8")
    assert (np.diff((recording_words >> np.uint64(10)).astype(np.int64)) < 0).sum() == 1
    assert same(s15.decode_words(recording_words.tobytes()), crossing)


def test_s15_late_word_across_the_rollover() -> None:
    wrap = s15.WRAP_UNITS
    words = np.array([u << 10 | 1 for u in (wrap - 900, 40, wrap - 8, 70)], "<u8")
    decoded = s15.decode_words(words.tobytes())
    assert decoded.t_ps.tolist() == [(u * 1000 + 128) // 256 for u in (wrap - 900, wrap - 8, wrap + 40, wrap + 70)]


def test_s15_stream_in_stretches_equals_the_stream_at_once() -> None:
    t_ps = np.sort(np.random.default_rng(1).integers(s15.WRAP_PS - 10**12, s15.WRAP_PS + 10**12, 400))
    whole = s15.decode_words(s15.encode_words(TimeTags(t_ps, np.zeros(400, np.uint8))))
    after, parts = 0, []
    data = s15.encode_words(whole)
    for k in range(0, len(data), 8 * 37):
        part = s15.decode_words(data[k : k + 8 * 37], after_ps=after)
        after = int(part.t_ps[-1])
        parts.append(part.t_ps)
    assert np.array_equal(np.concatenate(parts), whole.t_ps)


def test_s15_refuses_what_it_cannot_write() -> None:
    with pytest.raises(ParameterError, match="channel 4"):
        s15.encode_words(tags([0], [4]))
    with pytest.raises(ParameterError, match="-1 ps"):
        s15.encode_words(tags([-1], [0]))
    assert s15.encode_words(EMPTY) == b""
    assert len(s15.decode_words(b"")) == 0


@pytest.mark.parametrize(
    ("write", "expected"), [(s15_text.write_a0, Format.S15_A0), (s15_text.write_a2, Format.S15_A2)]
)
@pytest.mark.parametrize("legacy", [False, True])
def test_s15_text_holds_the_words_of_a1(
    tmp_path: Path, write: Callable[..., None], expected: Format, legacy: bool
) -> None:
    recording = formats.read(find(S15_LEGACY))
    write(tmp_path / "x.csv", recording.tags, legacy=legacy)
    found = formats.read(tmp_path / "x.csv")
    assert (found.format, found.records) == (expected, 862)
    assert same(found.tags, recording.tags)
    raw = s15.encode_words(recording.tags)
    numbers = [int(line, 16) for line in (tmp_path / "x.csv").read_text().split()]
    bits = 32 if expected is Format.S15_A0 else 64
    words = np.frombuffer(s15.swap_halves(np.frombuffer(raw, "<u8")).tobytes() if legacy else raw, f"<u{bits // 8}")
    assert numbers == words.tolist()


def test_s15_text_by_hand_and_with_other_line_ends(tmp_path: Path) -> None:
    """256 units (1 ns) with detector 1, then 512 units with detectors 0 and 3."""
    path = tmp_path / "x"
    for text in (
        "00040002\n00000000\n00080009\n00000000\n",
        "00040002\r\n00000000\r\n00080009\r\n00000000\r\n",
        "00040002\n00000000\n00080009\n00000000",
        "0000000000040002\n0000000000080009\n",
        "0000000000040002\r\n0000000000080009",
    ):
        path.write_text(text, newline="")
        assert same(formats.read(path).tags, tags([1000, 2000, 2000], [1, 0, 3])), text


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("00040002\n00000000\n0008000\n00000000\n", 18),
        ("00040002\n00000000\n0008000g\n00000000\n", 18),
        ("00040002\n00000000\n000 0009\n00000000\n", 18),
        ("00040002\n00000000\n00080009\n", 18),
        ("00040002\n00000000\n\n00080009\n00000000\n", 18),
        ("00040002\n00000000\r\n", 9),
        ("0000000000040002\n00000000\n", 17),
        ("0000000000000000\n", 0),
        ("0030000100300001\n0010000100100001\n0020000100200001\n", 17),
        ("00300001\n00300001\n00100001\n00100001\n00200001\n00200001\n", 18),
    ],
)
def test_s15_text_errors_name_the_byte(tmp_path: Path, text: str, offset: int) -> None:
    (tmp_path / "x").write_text(text, newline="")
    with pytest.raises(TagFormatError) as caught:
        formats.read(tmp_path / "x")
    assert caught.value.offset == offset


def test_numbers_of_other_widths_are_no_s15_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1234567\n")
    with pytest.raises(TagFormatError, match="no tag"):
        formats.read(tmp_path / "x")
    with pytest.raises(TagFormatError, match="hex digits"):
        s15_text.read_text(tmp_path / "x")


# --- quTAG -------------------------------------------------------------------------------------------------------


def test_qutag_counts() -> None:
    recording = formats.read(find(QUTAG))
    assert recording.format is Format.QUTAG
    assert recording.records == recording.events == 267_801
    assert recording.tags.counts() == {1: 79_314, 2: 94_287, 5: 94_200}
    assert recording.seconds == pytest.approx(5.04, abs=0.005)
    assert adds_up(recording)
    raw = np.fromfile(find(QUTAG), qutag.RECORD, offset=qutag.HEADER_BYTES)
    assert recording.reordered == int((np.diff(raw["time"]) < 0).sum())
    assert sorted(zip(raw["time"].tolist(), raw["channel"].tolist(), strict=True)) == sorted(
        zip(recording.tags.t_ps.tolist(), recording.tags.channel.tolist(), strict=True)
    )


def test_qutag_units_of_the_qutau(tmp_path: Path) -> None:
    records = np.array([(0, 1), (1000, 2), (10**9, 3)], qutag.RECORD)
    path = tmp_path / "id800.bin"
    path.write_bytes(bytes(40) + records.tobytes())
    assert qutag.read_qutag(path, unit_ps=qutag.Fraction("80.955")).tags.t_ps.tolist() == [0, 80_955, 80_955_000_000]


@pytest.mark.parametrize("unit", [Fraction(1), qutag.QUTAU_UNIT_PS])
def test_qutag_round_trip(tmp_path: Path, unit: Fraction) -> None:
    original = tags([0, 80_955, 80_955, 809_550_000], [1, 127, 0, 3])
    qutag.write_qutag(tmp_path / "x", original, unit_ps=unit)
    assert same(qutag.read_qutag(tmp_path / "x", unit_ps=unit).tags, original)
    assert formats.read(tmp_path / "x").format is Format.QUTAG
    for wrong in (tags([0], [128]), tags([-1], [0])):
        with pytest.raises(ParameterError, match="no negative times"):
            qutag.write_qutag(tmp_path / "x", wrong)


# --- ID900 -------------------------------------------------------------------------------------------------------


def test_id900_by_hand_and_back(tmp_path: Path) -> None:
    path = tmp_path / "timestamps_C3.bin"
    path.write_bytes(struct.pack("<3Q", 5, 5, 1 << 40))
    recording = id900.read_id900(path, channel=3)
    assert (recording.format, recording.records, recording.resolution_ps) == (Format.ID900, 3, 1.0)
    assert same(recording.tags, tags([5, 5, 1 << 40], [3, 3, 3]))
    assert id900.read_id900(path, channel=0, unit_ps=Fraction(25, 2)).tags.t_ps.tolist() == [
        63,
        63,
        (1 << 40) * 25 // 2,
    ]
    id900.write_id900(tmp_path / "y", recording.tags)
    assert (tmp_path / "y").read_bytes() == path.read_bytes()
    for wrong in (tags([0, 1], [0, 1]), tags([-1], [0])):
        with pytest.raises(ParameterError):
            id900.write_id900(tmp_path / "y", wrong)


def test_id900_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data, offset in (
        (b"", 0),
        (bytes(12), 8),
        (struct.pack("<2Q", 5, 4), 8),
        (struct.pack("<2Q", 5, (1 << 62) + 1), 8),
        (struct.pack("<2Q", 5, (1 << 64) - 1), 8),
    ):
        path.write_bytes(data)
        with pytest.raises(TagFormatError) as caught:
            id900.read_id900(path, channel=0)
        assert caught.value.offset == offset
    for channel, unit in ((256, 1), (-1, 1), (0, 0), (0, 10**7)):
        with pytest.raises(ParameterError):
            id900.read_id900(path, channel=channel, unit_ps=unit)


# --- NPZ, CSV ----------------------------------------------------------------------------------------------------


def test_npz_and_csv_round_trip(tmp_path: Path) -> None:
    original = tags([-5, 0, 7, 7, 9_000_000_000_000_000_123], [0, 1, 1, 255, 2])
    generic.write_npz(tmp_path / "a", original, resolution_ps=4.0, device="bench")
    generic.write_csv(tmp_path / "b", original)
    from_npz, from_csv = formats.read(tmp_path / "a"), formats.read(tmp_path / "b")
    assert (from_npz.format, from_npz.resolution_ps, from_npz.device) == (Format.NPZ, 4.0, "bench")
    assert from_csv.format is Format.CSV
    assert same(from_npz.tags, original)
    assert same(from_csv.tags, original)


def test_csv_dialects(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for text in (
        "# bench\r\n10;1\r\n20;2\r\n",
        "T_PS, Channel\n10, 1\n20, 2",
        "10\t1\n\n# note\n20\t2\n",
        "10 1\n20 2\n",
    ):
        path.write_text(text, newline="")
        assert same(formats.read(path).tags, tags([10, 20], [1, 2])), text


@pytest.mark.parametrize(
    ("text", "offset"),
    [("1,1\n2,x\n", 4), ("1,1\n2,256\n", 4), ("1.5,1\n", 0), ("5,1\n4,1\n", 4), ("time,ch\n1,1\n", 0), ("# only\n", 0)],
)
def test_csv_errors_name_the_byte(tmp_path: Path, text: str, offset: int) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(TagFormatError) as caught:
        formats.read(tmp_path / "x")
    assert caught.value.offset == offset


def test_npz_with_the_wrong_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for arrays in (
        {"t": np.arange(3)},
        {"t_ps": np.arange(3.0), "channel": np.zeros(3, np.uint8)},
        {"t_ps": np.arange(3), "channel": np.zeros(2, np.uint8)},
        {"t_ps": np.array([3, 1]), "channel": np.zeros(2, np.uint8)},
        {"t_ps": np.arange(2), "channel": np.zeros(2, np.uint8), "resolution_ps": np.array(0.0)},
        {"t_ps": np.array([object()]), "channel": np.zeros(1, np.uint8)},
    ):
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with pytest.raises(TagFormatError):
            formats.read(path)


# --- Detection and damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [S15_PLAIN, S15_LEGACY, QUTAG, V30])
def test_suffix_says_nothing(tmp_path: Path, name: str) -> None:
    shutil.copy(find(name), tmp_path / "x.png")
    assert same(formats.read(tmp_path / "x.png").tags, formats.read(find(name)).tags)


def test_empty_missing_and_foreign(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    with pytest.raises(FileNotFoundError):
        formats.read(path)
    path.write_bytes(b"")
    with pytest.raises(TagFormatError, match="empty"):
        formats.read(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(TagFormatError, match="PNG"):
        formats.read(path)
    for size in (8, 64, 90, 4096):
        path.write_bytes(bytes(size))
        with pytest.raises(TagFormatError, match="no format"):
            formats.read(path)


@pytest.mark.parametrize("name", [S15_PLAIN, S15_LEGACY])
def test_s15_cut_inside_a_word(tmp_path: Path, name: str) -> None:
    data = find(name).read_bytes()
    (tmp_path / "x").write_bytes(data[:-3])
    with pytest.raises(TagFormatError, match="5 of 8 bytes") as caught:
        formats.read(tmp_path / "x")
    assert caught.value.offset == len(data) - 8


def test_qutag_cut_inside_a_record(tmp_path: Path) -> None:
    data = find(QUTAG).read_bytes()[: 40 + 10 * 1000 - 1]
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(TagFormatError, match="9 of 10 bytes") as caught:
        formats.read(tmp_path / "x")
    assert caught.value.offset == 40 + 10 * 999


def test_shuffled_recording_is_refused(tmp_path: Path) -> None:
    words = np.fromfile(find(S15_PLAIN), "<u8")
    np.random.default_rng(3).permutation(words).tofile(tmp_path / "x")
    with pytest.raises(TagFormatError, match="before an earlier one") as caught:
        formats.read(tmp_path / "x")
    assert caught.value.offset is not None
    assert caught.value.hint


def test_two_files_joined_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    data = find(S15_PLAIN).read_bytes()
    (tmp_path / "x").write_bytes(data[8000:] + data[:8000])
    with pytest.raises(TagFormatError) as caught:
        formats.read(tmp_path / "x")
    assert caught.value.offset == 8000


def test_reading_a1_imports_no_libraries_of_containers() -> None:
    code = (
        "import sys; from distribution import formats;"
        f"formats.read({str(find(S15_PLAIN))!r}); print({{'ptufile', 'pyarrow', 'h5py'}} & set(sys.modules))"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "set()"
