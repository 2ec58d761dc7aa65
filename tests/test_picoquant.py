"""PicoQuant files: real recordings, a slow reference, ptufile as an independent reading, and headers that lie.

Expected counts come from PicoQuant's acquisition settings inside the files, from libpicoquant's decoded lists beside
its samples (head20.txt), and where they are not published from the shared data README.
"""

from __future__ import annotations

import itertools
import json
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import ptufile
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from ptufile._ptufile import decode_t2_records, decode_t3_records

from cli.main import main
from distribution import formats
from distribution.errors import ParameterError, TagFormatError
from distribution.formats import Format, picoquant, ptu, tttr
from distribution.formats.ptu_header import Value, build_header, read_header
from distribution.formats.tttr import SYNC_CHANNEL, Layout, Timing
from distribution.tags import EMPTY, TimeTags
from tests.data_files import find
from tests.reference import tttr as reference

HYDRAHARP = "picoquant/200204_HH400_T2_320MHz_HBT.timeres"
V30 = "picoquant/v30_t2.ptu"
V30_HEAD = "picoquant/v30_t2_first400.ptu"
Words = npt.NDArray[np.uint32]

MODES: dict[tuple[str, str], tuple[Layout, int]] = {
    ("harp", "T2"): (tttr.HARP_T2, 0x01010204),
    ("harp", "T2 v1"): (tttr.HYDRAHARP_V1_T2, 0x00010204),
    ("harp", "T3"): (tttr.HARP_T3, 0x00010307),
    ("harp", "T3 v1"): (tttr.HYDRAHARP_V1_T3, 0x00010304),
    ("pico", "T2"): (tttr.PICOHARP_T2, 0x00010203),
    ("pico", "T3"): (tttr.PICOHARP_T3, 0x00010303),
}


def words_of(device: str, mode: str, rng: np.random.Generator, count: int) -> Words:
    """Random records of every sort that the layout defines."""
    if device == "pico":
        channel = rng.choice(np.array([int(mode == "T3"), 1, 2, 3, 4, 15], np.uint32), count)
        body = rng.integers(0, 1 << 28, count, dtype=np.uint32)
        if mode == "T3":  # markers are four bits
            body = np.where(channel == 15, body & np.uint32(0x000FFFFF), body)
        quiet = (channel == 15) & (rng.random(count) < 0.5)
        return channel << np.uint32(28) | np.where(quiet, body & np.uint32(0xFFF0 if mode == "T3" else 0xFFFFF0), body)
    special = rng.integers(0, 2, count, dtype=np.uint32)
    kinds = [1, 2, 4, 15, 63] + ([0] if mode.startswith("T2") else [])
    channel = np.where(special, rng.choice(kinds, count), rng.integers(0, 63, count)).astype(np.uint32)
    low = rng.integers(0, 1 << 25, count, dtype=np.uint32)
    low = np.where(channel == 63, rng.integers(0, 9, count), low).astype(np.uint32)
    return special << np.uint32(31) | channel << np.uint32(25) | low


def decoded(tmp_path: Path, words: Words, layout: Layout, timing: Timing) -> tttr.Photons:
    path = tmp_path / "records"
    path.write_bytes(b"head" + words.astype("<u4").tobytes())
    return tttr.decode(path, layout, timing, start=4, records=words.size)


def adds_up(recording: formats.Recording) -> bool:
    parts = recording.events + recording.dummies + recording.overflows + recording.markers
    return parts == recording.records and bool(np.all(np.diff(recording.tags.t_ps) >= 0))


# --- Records -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("device", "mode"), MODES)
def test_records_against_the_reference(tmp_path: Path, device: str, mode: str) -> None:
    """Units and periods with awkward denominators; depth without end, since random records are in no order."""
    words = words_of(device, mode, np.random.default_rng(5), 3000)
    is_t3 = mode.startswith("T3")
    coarse, fine = (Fraction(10**12, 1_000_447), Fraction(25, 3)) if is_t3 else (Fraction(1, 2), Fraction(0))
    expected, overflows, markers = reference.photons(words.tolist(), device, mode, coarse, fine)
    ours = decoded(tmp_path, words, MODES[device, mode][0], Timing(coarse, fine, 1 << 60))
    assert sorted(zip(ours.tags.t_ps.tolist(), ours.tags.channel.tolist(), strict=True)) == sorted(expected)
    assert (ours.overflows, ours.markers) == (overflows, markers)
    assert ours.reordered == sum(b[0] < a[0] for a, b in itertools.pairwise(expected))


@pytest.mark.parametrize(("device", "mode"), MODES)
def test_records_against_ptufile(tmp_path: Path, device: str, mode: str) -> None:
    """ptufile's compiled decoder is an independent reading, except that it merges sync into channel 0.

    It gives nsync and dtime apart; with a sync period longer than every dtime they can be told from our time.
    """
    layout, kind = MODES[device, mode]
    words = words_of(device, mode, np.random.default_rng(kind), 20_000)
    is_t3 = mode.startswith("T3")
    expected = np.zeros(words.size, ptufile.T3_RECORD_DTYPE if is_t3 else ptufile.T2_RECORD_DTYPE)
    decode = decode_t3_records if is_t3 else decode_t2_records
    decode(expected, words, kind)
    photon = expected["channel"] >= 0
    period = 1 << 15 if is_t3 else 1
    times = expected["time"][photon].astype(np.int64) * period
    if is_t3:
        times += expected["dtime"][photon].astype(np.int64)
    ours = decoded(tmp_path, words, layout, Timing(Fraction(period), Fraction(int(is_t3)), 1 << 60))
    order = np.argsort(times, kind="stable")
    assert np.array_equal(ours.tags.t_ps, times[order])
    channel = np.where(ours.tags.channel == SYNC_CHANNEL, 0, ours.tags.channel).astype(np.int64)
    if (device, mode) == ("pico", "T3"):
        channel = channel - 1  # the PicoHarp counts router inputs from 1, and ptufile from 0
    assert np.array_equal(channel, expected["channel"][photon][order])
    assert ours.markers == np.count_nonzero(expected["marker"] > 0)


def test_stretches_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = words_of("harp", "T3", np.random.default_rng(8), 5000)
    timing = Timing(Fraction(10**12, 10_004_461), Fraction(1, 3), 1 << 60)
    whole = decoded(tmp_path, words, tttr.HARP_T3, timing)
    monkeypatch.setattr(tttr, "_STRETCH", 37)
    parts = decoded(tmp_path, words, tttr.HARP_T3, timing)
    assert np.array_equal(whole.tags.t_ps, parts.tags.t_ps)
    assert np.array_equal(whole.tags.channel, parts.tags.channel)
    assert (whole.overflows, whole.markers, whole.reordered) == (parts.overflows, parts.markers, parts.reordered)


def test_sync_events_keep_their_own_channel(tmp_path: Path) -> None:
    found = decoded(tmp_path, np.array([5, 1 << 31 | 7, 1 << 25 | 9], np.uint32), tttr.HARP_T2, Timing(Fraction(1)))
    assert found.tags.channel.tolist() == [0, SYNC_CHANNEL, 1]
    assert found.tags.t_ps.tolist() == [5, 7, 9]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ([5, 1 << 31 | 40 << 25 | 7], "special one of channel 40"),
        ([900, 899], "before an earlier one"),
        ([5, 0xFFFFFFFF], None),
        ([5] + [0xFFFFFFFF] * 3000, "beyond 26 days"),
    ],
)
def test_records_that_cannot_be(tmp_path: Path, words: list[int], match: str | None) -> None:
    records = np.array(words, np.uint32)
    if match is None:
        assert decoded(tmp_path, records, tttr.HARP_T2, Timing(Fraction(1))).overflows == 1
        return
    with pytest.raises(TagFormatError, match=match) as caught:
        decoded(tmp_path, records, tttr.HARP_T2, Timing(Fraction(1)))
    assert caught.value.offset is not None
    assert caught.value.offset >= 4 + 4
    assert (caught.value.offset - 4) % 4 == 0


def test_the_byte_of_a_late_photon_counts_every_record(tmp_path: Path) -> None:
    words = np.array([0xFE000001, 900, 1 << 31 | 1 << 25, 899], np.uint32)
    with pytest.raises(TagFormatError) as caught:
        decoded(tmp_path, words, tttr.HARP_T2, Timing(Fraction(1)))
    assert caught.value.offset == 4 + 3 * 4


# --- PTU ---------------------------------------------------------------------------------------------------------


def test_hydraharp_counts() -> None:
    recording = formats.read(find(HYDRAHARP))
    assert recording.format is Format.PTU_T2
    assert (recording.records, recording.overflows, recording.markers) == (409_482, 25_463, 0)
    assert recording.tags.counts() == {0: 159_298, 1: 224_721}
    # The header's acquisition time is 1000 ms, and a photon comes every 2.6 us.
    assert recording.seconds == pytest.approx(1.0, abs=1e-4)
    assert recording.device == "HydraHarp 400 2.0"
    assert adds_up(recording)


def test_v30_counts_and_acquisition_time() -> None:
    recording = formats.read(find(V30))
    assert (recording.records, recording.overflows, recording.events) == (435_319, 129_754, 305_565)
    # 5000 ms by the header; a photon every 16 us. Wraps of 33 552 000 would end 360 us too early.
    assert 0 < 5_000_000_000_000 - int(recording.tags.t_ps[-1]) < 100_000_000
    assert 33_552_000 < int((recording.tags.t_ps % (1 << 25)).max()) < 33_554_432
    assert adds_up(recording)


def test_v30_first_photons_are_libpicoquants_but_for_the_wrap() -> None:
    """The list takes 33 552 000 units a wrap, as HydraHarp version 1 did; this file says 2.0 and holds larger times.

    So list entry = ours - 2432 * (wraps before it), exactly. The whole file tells which wrap is right: its photons'
    times between wraps reach 33 554 382, and it ends at 5.000 s only so (test above).
    """
    listed = np.loadtxt(find("picoquant/v30_t2.ptu.head20.txt"), delimiter=",", dtype=np.int64)
    t_ps = formats.read(find(V30_HEAD)).tags.t_ps[: len(listed)]
    assert len(listed) == 100
    wraps = t_ps // (1 << 25)
    assert np.array_equal(listed[:, 1], t_ps - (33_554_432 - 33_552_000) * wraps)


@pytest.mark.parametrize("name", [HYDRAHARP, V30, V30_HEAD])
def test_headers_are_ptufiles(name: str) -> None:
    ours, start = read_header(find(name))
    with ptufile.PtuFile(find(name)) as theirs:
        assert start == theirs._data_offset
        for key, value in ours.items():
            other = theirs.tags[key]
            if isinstance(value, int | str) and isinstance(other, type(value)):
                assert value == other, key
        assert ours["MeasDesc_GlobalResolution"] == theirs.tags["MeasDesc_GlobalResolution"]


def test_ptu_cut_short(tmp_path: Path) -> None:
    data = find(V30_HEAD).read_bytes()
    for keep in (len(data) - 1, len(data) - 400, 3000, 60, 9):
        (tmp_path / "cut.ptu").write_bytes(data[:keep])
        with pytest.raises(TagFormatError) as caught:
            formats.read(tmp_path / "cut.ptu")
        assert caught.value.offset is not None
        assert caught.value.offset <= max(keep, 16)


def t3_file(path: Path, words: list[int], *, rate_hz: int = 10_000_000, **changes: Value) -> Path:
    """A HydraHarp 2 T3 file, made by hand."""
    header: dict[str, Value] = {
        "TTResultFormat_TTTRRecType": 0x01010304,
        "MeasDesc_Resolution": 16e-12,
        "MeasDesc_GlobalResolution": 1 / rate_hz,
        "TTResult_SyncRate": rate_hz,
        "TTResult_StopAfter": 1000,
        "TTResult_NumberOfRecords": len(words),
    }
    path.write_bytes(build_header(header | changes) + np.array(words, "<u4").tobytes())
    return path


def t3_word(channel: int, nsync: int, dtime: int) -> int:
    return channel << 25 | dtime << 10 | nsync


def test_t3_times_are_pulses_and_fine_times(tmp_path: Path) -> None:
    words = [t3_word(1, 5, 100), 0xFE000003, t3_word(0, 7, 6000), 1 << 31 | 2 << 25]
    recording = formats.read(t3_file(tmp_path / "a.ptu", words))
    assert recording.format is Format.PTU_T3
    assert recording.tags.t_ps.tolist() == [5 * 100_000 + 1600, (3 * 1024 + 7) * 100_000 + 96_000]
    assert recording.tags.channel.tolist() == [1, 0]
    assert (recording.records, recording.overflows, recording.markers, recording.resolution_ps) == (4, 1, 1, 16.0)
    assert adds_up(recording)


def test_t3_periods_that_are_no_whole_picoseconds_add_up_without_error(tmp_path: Path) -> None:
    """40 000 wraps of 1023 * 1024 periods of 99 955.419 ps: an error of 1e-9 ps a period would show."""
    rate = 10_004_460
    words = [0xFE0003FF] * 40_000 + [t3_word(0, 1, 0)]
    recording = formats.read(t3_file(tmp_path / "a.ptu", words, rate_hz=rate, TTResult_StopAfter=10**9))
    exact = Fraction(10**12, rate) * (40_000 * 1023 * 1024 + 1)
    assert recording.tags.t_ps.tolist() == [round(exact)]


def test_t3_photons_of_one_pulse_may_be_swapped_and_no_others(tmp_path: Path) -> None:
    swapped = [t3_word(0, 5, 4000), t3_word(1, 5, 100), t3_word(0, 6, 0)]
    recording = formats.read(t3_file(tmp_path / "a.ptu", swapped))
    assert recording.reordered == 1
    assert recording.tags.channel.tolist() == [1, 0, 0]
    with pytest.raises(TagFormatError, match="record 1 lies before"):
        formats.read(t3_file(tmp_path / "b.ptu", [t3_word(0, 9, 0), t3_word(0, 5, 0)]))


def test_the_callers_sync_period_overrides_the_header(tmp_path: Path) -> None:
    path = t3_file(tmp_path / "a.ptu", [t3_word(0, 100, 3)])
    assert ptu.read_ptu(path, sync_period_ps=Fraction(99_999_999, 1000)).tags.t_ps.tolist() == [10_000_048]
    for absurd in (0, 1e13):
        with pytest.raises(ParameterError, match="sync_period_ps"):
            ptu.read_ptu(path, sync_period_ps=absurd)
    assert formats.read(path, sync_period_ps=99_999.999).tags.t_ps.tolist() == [10_000_048]
    with pytest.raises(ParameterError, match="is T2"):
        ptu.read_ptu(find(V30_HEAD), sync_period_ps=12_500)
    for other in ("picoquant/v10.ht2", "s15/timestamp7_c1234.Aa1.ts"):
        with pytest.raises(ParameterError, match="T3 recordings"):
            formats.read(find(other), sync_period_ps=12_500)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        # The rate before a divider of 8: photons then come up to eight stated periods after their pulse.
        ({"TTResult_SyncRate": 80_000_000, "MeasDesc_GlobalResolution": 1.25e-8}, "after their sync pulse"),
        ({"TTResult_SyncRate": 20_000_000}, "states a sync period"),
        ({"TTResult_SyncRate": 1_000, "MeasDesc_GlobalResolution": 1e-3}, "measurement ended after"),
        ({"TTResult_SyncRate": 0, "MeasDesc_GlobalResolution": 0.0}, "absurd"),
        ({"TTResult_SyncRate": 0, "MeasDesc_GlobalResolution": float("nan")}, "absurd"),
        ({"MeasDesc_GlobalResolution": float("inf")}, "states a sync period"),
        ({"MeasDesc_GlobalResolution": -1e-7}, "states a sync period"),
        ({"TTResult_SyncRate": 0, "MeasDesc_GlobalResolution": 1e-300}, "absurd"),
        ({"MeasDesc_Resolution": 0.0}, "resolution"),
        ({"TTResult_NumberOfRecords": -1}, "declares -1"),
        ({"TTResultFormat_TTTRRecType": 0x00020304}, "no T2 or T3 type"),
    ],
)
def test_headers_that_lie_are_caught(tmp_path: Path, changes: dict[str, Value], match: str) -> None:
    words = [0xFE0003FF] * 5 + [t3_word(0, 5, 6000), t3_word(0, 900, 3000)]
    path = t3_file(tmp_path / "a.ptu", words)
    assert len(formats.read(path).tags) == 2
    with pytest.raises(TagFormatError, match=match):
        formats.read(t3_file(tmp_path / "b.ptu", words, **changes))


def test_a_sync_rate_or_a_period_will_do_and_a_divider_explains_their_ratio(tmp_path: Path) -> None:
    words = [t3_word(0, 1000, 0)]
    before_divider: dict[str, Value] = {"TTResult_SyncRate": 80_000_000, "HWSync_Divider": 8}
    for changes in ({"TTResult_SyncRate": 0}, {"MeasDesc_GlobalResolution": 0.0}, before_divider):
        assert formats.read(t3_file(tmp_path / "a.ptu", words, **changes)).tags.t_ps.tolist() == [10**8]


def test_the_command_takes_a_sync_period(tmp_path: Path) -> None:
    path = t3_file(tmp_path / "a.ptu", [t3_word(0, 100, 0), t3_word(0, 300, 0)])
    done = CliRunner().invoke(main, ["analyse", str(path), "--sync-period-ps", "50000", "--json"])
    assert done.exit_code == 0, done.output
    fields = json.loads(done.output)
    assert (fields["format"], fields["seconds"], fields["lost"]) == ("picoquant ptu, t3", 1e-5, 0)


# --- PTU, written ------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    gaps=st.lists(st.one_of(st.integers(0, 1 << 26), st.integers(0, 1 << 53)), min_size=1, max_size=40),
    seed=st.integers(0, 1 << 32),
)
def test_ptu_gives_back_every_tag(tmp_path_factory: pytest.TempPathFactory, gaps: list[int], seed: int) -> None:
    t_ps = np.cumsum(np.array(gaps, np.int64))
    channel = np.random.default_rng(seed).integers(0, SYNC_CHANNEL + 1, t_ps.size).astype(np.uint8)
    path = tmp_path_factory.mktemp("ptu") / "x"
    ptu.write_ptu(path, TimeTags(t_ps, channel), device="bench")
    recording = formats.read(path)
    assert np.array_equal(recording.tags.t_ps, t_ps)
    assert np.array_equal(recording.tags.channel, channel)
    assert (recording.device, recording.format, recording.resolution_ps) == ("bench", Format.PTU_T2, 1.0)
    assert adds_up(recording)


@pytest.mark.parametrize("unit", [Fraction(1), Fraction(4), Fraction(125, 32), Fraction("80.955")])
def test_ptu_in_other_units_rounds_once(tmp_path: Path, unit: Fraction) -> None:
    t_ps = np.sort(np.random.default_rng(2).integers(0, 1 << 60, 500))
    tags = TimeTags(t_ps, np.zeros(500, np.uint8))
    ptu.write_ptu(tmp_path / "a", tags, unit_ps=unit)
    once = formats.read(tmp_path / "a")
    assert once.resolution_ps == pytest.approx(float(unit), rel=1e-12)
    assert np.max(np.abs(once.tags.t_ps - t_ps)) <= unit / 2 + 1
    ptu.write_ptu(tmp_path / "b", once.tags, unit_ps=unit)
    assert np.array_equal(formats.read(tmp_path / "b").tags.t_ps, once.tags.t_ps)


def test_ptufile_reads_what_we_write(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    t_ps = np.sort(rng.integers(0, 10**12, 5000))
    channel = rng.integers(0, SYNC_CHANNEL, 5000).astype(np.uint8)
    ptu.write_ptu(tmp_path / "x.ptu", TimeTags(t_ps, channel))
    with ptufile.PtuFile(tmp_path / "x.ptu") as file:
        records = file.decode_records()
        assert not file.is_t3
        assert file.global_resolution == 1e-12
    photon = records["channel"] >= 0
    assert np.array_equal(records["time"][photon].astype(np.int64), t_ps)
    assert np.array_equal(records["channel"][photon], channel)


def test_ptu_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    one = np.zeros(1, np.uint8)
    with pytest.raises(ParameterError, match="channel 65"):
        ptu.write_ptu(tmp_path / "x", TimeTags(np.zeros(1, np.int64), one + np.uint8(65)))
    with pytest.raises(ParameterError, match="-1 ps"):
        ptu.write_ptu(tmp_path / "x", TimeTags(np.array([-1]), one))
    with pytest.raises(ParameterError, match="reach"):
        ptu.write_ptu(tmp_path / "x", TimeTags(np.array([1 << 61]), one))
    for unit in (0, -1, Fraction(1, 7777), 10**7):
        with pytest.raises(ParameterError, match="unit_ps"):
            ptu.write_ptu(tmp_path / "x", EMPTY, unit_ps=unit)
    assert list(tmp_path.iterdir()) == []
    ptu.write_ptu(tmp_path / "x", EMPTY)
    assert formats.read(tmp_path / "x").records == 0


# --- Older containers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v10.ht2", "v20.ht2"])
def test_ht2_is_libpicoquants_list(name: str) -> None:
    """The list cuts the half picoseconds of version 1.0 off, and calls sync the channel after the last input (4)."""
    listed = np.loadtxt(find(f"picoquant/{name}.head20.txt"), delimiter=",", dtype=np.int64)
    recording = formats.read(find(f"picoquant/{name}"))
    assert recording.format is Format.HT2
    halves = 2 if name == "v10.ht2" else 1
    assert recording.resolution_ps == 1 / halves
    layout = tttr.HYDRAHARP_V1_T2 if halves == 2 else tttr.HARP_T2
    units = tttr.decode(find(f"picoquant/{name}"), layout, Timing(Fraction(1)), start=0x320, records=25).tags
    count = len(listed)
    assert count == recording.events == {2: 19, 1: 25}[halves]
    assert np.array_equal(units.t_ps[:count] // halves, listed[:, 1])
    assert np.array_equal(recording.tags.t_ps, (units.t_ps + halves - 1) // halves)
    channel = np.where(recording.tags.channel == SYNC_CHANNEL, 4, recording.tags.channel)
    assert np.array_equal(channel[:count], listed[:, 0])
    assert adds_up(recording)


@pytest.mark.parametrize(("name", "rate_hz"), [("v10.ht3", 10_004_460), ("v20.ht3", 998_898)])
def test_ht3_is_libpicoquants_list(name: str, rate_hz: int) -> None:
    """The list gives channel, pulse and ps after it; rates are the headers', at which 10^12 / rate ps is a period."""
    listed = np.loadtxt(find(f"picoquant/{name}.head20.txt"), delimiter=",", dtype=np.int64)
    recording = formats.read(find(f"picoquant/{name}"))
    assert recording.format is Format.HT3
    exact = [Fraction(10**12, rate_hz) * int(pulse) + int(after) for _, pulse, after in listed]
    assert recording.tags.t_ps[: len(listed)].tolist() == [round(t) for t in exact]
    assert np.array_equal(recording.tags.channel[: len(listed)], listed[:, 0])
    assert len(listed) >= 20
    assert adds_up(recording)


def test_ht3_lasts_as_long_as_it_says() -> None:
    """v20.ht3 is whole: 53 606 records, 10 000 ms at a sync rate of 998 898 Hz."""
    recording = formats.read(find("picoquant/v20.ht3"))
    assert (recording.records, recording.overflows, recording.lost) == (53_606, 9_465, 0)
    assert recording.tags.counts() == {0: 7_102, 1: 26_648, 2: 3_085, 3: 7_306}
    assert 9.999 < int(recording.tags.t_ps[-1]) / 1e12 < 10.0


def test_cut_off_samples_say_what_is_missing() -> None:
    recording = formats.read(find("picoquant/v10.ht2"))
    assert (recording.records, recording.lost) == (25, 52_378_636 - 25)


def test_t3r_counts_and_acquisition_time() -> None:
    """The header declares 86 997 records and 9 344 ms; one byte follows the last record."""
    recording = formats.read(find("picoquant/v50.t3r"))
    assert recording.format is Format.T3R
    assert (recording.records, recording.overflows, recording.markers, recording.lost) == (86_997, 1_425, 1, 0)
    assert recording.tags.counts() == {0: 85_571}
    assert 0 < 9.344 - int(recording.tags.t_ps[-1]) / 1e12 < 1e-3
    assert recording.resolution_ps == 100_000
    assert adds_up(recording)


def picoharp_file(path: Path, words: list[int], *, mode: int, rate_hz: int = 80_000_000) -> Path:
    """A pt2 or pt3 file, made by hand after PicoQuant's file access demo: no recording may be given away."""
    text = struct.pack("<16s6s18s12s18s2s256s", b"PicoHarp 300", b"2.0", b"test", b"2.3", b"", b"\r\n", b"")
    binary = struct.pack("<18i16i9f4i20s", 0, 32, 4, 1, 0, mode, *[0] * 12, *[0] * 16, *[0.0] * 9, *[0] * 4, b"")
    board = struct.pack("<16s8s6if26i", b"PicoHarp 300", b"2.0", 1, 1, 0, 0, 0, 0, 0.008, *[0] * 26)
    # Two more words of an imaging header, which readers skip.
    ending = struct.pack("<9i2i", 0, 0, 0, rate_hz, 1000, 1000, 0, len(words), 2, 7, 7)
    path.write_bytes(text + binary + board + ending + np.array(words, "<u4").tobytes())
    return path


def test_pt2(tmp_path: Path) -> None:
    words = [0 << 28 | 10, 1 << 28 | 20, 15 << 28, 15 << 28 | 0x21, 4 << 28 | 5]
    recording = formats.read(picoharp_file(tmp_path / "x", words, mode=2))
    assert recording.format is Format.PT2
    assert recording.tags.t_ps.tolist() == [40, 80, 4 * (210_698_240 + 5)]
    assert recording.tags.channel.tolist() == [0, 1, 4]
    assert (recording.overflows, recording.markers, recording.device) == (1, 1, "PicoHarp 300")


def test_pt3(tmp_path: Path) -> None:
    words = [1 << 28 | 100 << 16 | 10, 15 << 28, 15 << 28 | 4 << 16 | 9, 2 << 28 | 7 << 16 | 3]
    recording = formats.read(picoharp_file(tmp_path / "x", words, mode=3))
    assert recording.format is Format.PT3
    assert recording.tags.t_ps.tolist() == [10 * 12_500 + 800, 65_539 * 12_500 + 56]
    assert recording.tags.channel.tolist() == [1, 2]
    assert (recording.overflows, recording.markers, recording.resolution_ps) == (1, 1, 8.0)
    twice = picoquant.read_picoquant(tmp_path / "x", sync_period_ps=25_000)
    assert twice.tags.t_ps.tolist() == [10 * 25_000 + 800, 65_539 * 25_000 + 56]


@pytest.mark.parametrize(
    ("at", "value", "match"),
    [
        (0x10, b"9.9", "format version"),
        (0x154, struct.pack("<i", 7), "mode 7"),
        (0x160, struct.pack("<d", float("inf")), "resolution"),
        (0x298, struct.pack("<i", -1), "inputs"),
        (0x308, struct.pack("<i", 0), "absurd"),
        (0x308, struct.pack("<i", 998_898 * 4), "after their sync pulse"),
        (0x308, struct.pack("<i", 998_898 // 4), "measurement ended after"),
        (0x314, struct.pack("<i", 1 << 20), "imaging header"),
        (0x318, struct.pack("<q", 3), "records declared"),
        (0x318, struct.pack("<q", -3), "declares"),
    ],
)
def test_older_headers_that_lie_are_caught(tmp_path: Path, at: int, value: bytes, match: str) -> None:
    data = bytearray(find("picoquant/v20.ht3").read_bytes())
    data[at : at + len(value)] = value
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(TagFormatError, match=match):
        formats.read(tmp_path / "x")
