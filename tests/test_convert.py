"""From every format into every other: what survives, what is said to be lost, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from distribution import formats
from distribution.errors import ParameterError, TagFormatError
from distribution.formats import native
from distribution.formats.convert import combine, convert, from_zero, read_as
from distribution.formats.recording import Format, Recording, scale_to_ps
from distribution.formats.registry import FORMATS, Entry, Options, by_name, by_suffix
from distribution.tags import EMPTY, TimeTags

WRITABLE = [entry for entry in FORMATS if entry.writer and entry.installed]


def recording(
    t_ps: list[int], channel: list[int], *, resolution_ps: float = 1.0, clock_id: str = "", start: int | None = None
) -> Recording:
    tags = TimeTags(np.array(t_ps, np.int64), np.array(channel, np.uint8))
    return Recording(
        tags=tags, format=Format.CSV, resolution_ps=resolution_ps, records=len(tags), device="bench",
        clock_id=clock_id, start_unix_ns=start,
    )  # fmt: skip


def on_grid(unit: Fraction, channels: int = 4, count: int = 400) -> Recording:
    rng = np.random.default_rng(3)
    units = np.sort(rng.integers(0, 10**9, count))
    t_ps = scale_to_ps(units, unit.numerator, unit.denominator)
    return recording(t_ps.tolist(), rng.integers(0, channels, count).tolist(), resolution_ps=float(unit))


@pytest.mark.parametrize("entry", WRITABLE, ids=lambda entry: entry.name)
def test_what_the_unit_divides_comes_back_exactly(tmp_path: Path, entry: Entry) -> None:
    source = on_grid(entry.unit_ps, channels=1 if entry.name == "id900" else 4)
    done = convert(source, tmp_path / "out", entry, Options())
    assert (done.events, done.rounded, done.largest_ps, done.unit_ps) == (400, 0, 0, entry.unit_ps)
    back = entry.read(tmp_path / "out", Options(channel=0))
    assert np.array_equal(back.tags.t_ps, source.tags.t_ps)
    assert np.array_equal(back.tags.channel, source.tags.channel)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    if entry.suffix:  # the content says what it is
        read_as = formats.read(tmp_path / "out").format
        assert [one for one in FORMATS if read_as in one.formats] == [entry]
        assert by_suffix(tmp_path / f"x{entry.suffix.upper()}") is entry


@pytest.mark.parametrize("entry", WRITABLE, ids=lambda entry: entry.name)
def test_what_is_rounded_is_counted_as_it_is(tmp_path: Path, entry: Entry) -> None:
    source = on_grid(Fraction(1), channels=1)
    options = Options(unit_ps=Fraction(1000)) if "unit_ps" in entry.writes else Options()
    done = convert(source, tmp_path / "out", entry, options)
    back = entry.read(tmp_path / "out", Options(channel=0, unit_ps=options.unit_ps))
    moved = np.abs(back.tags.t_ps - source.tags.t_ps)
    assert (done.rounded, done.largest_ps) == (np.count_nonzero(moved), moved.max())
    assert done.largest_ps <= done.unit_ps / 2 + 1
    assert ("device" in done.dropped) == (back.device != "bench")


def test_native_takes_the_unit_that_is_exact(tmp_path: Path) -> None:
    for unit in (Fraction(125, 32), Fraction(125), Fraction("80.955"), Fraction(1)):
        assert convert(on_grid(unit), tmp_path / "x", by_name("qtag"), Options()).unit_ps == unit
    off_grid = recording([0, 1, 130], [0, 0, 0], resolution_ps=125.0)
    done = convert(off_grid, tmp_path / "x", by_name("qtag"), Options())
    assert (done.unit_ps, done.rounded, done.dropped) == (1, 0, ("resolution",))


def test_native_keeps_device_clock_and_start(tmp_path: Path) -> None:
    source = recording([1, 2], [0, 1], clock_id="rb", start=77)
    assert convert(source, tmp_path / "x", by_name("qtag"), Options()).dropped == ()
    done = convert(source, tmp_path / "y", by_name("csv"), Options())
    assert done.dropped == ("device", "clock id", "start time")


def test_channels_out_of_range_name_free_numbers(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"a1 holds channels 0..3, the tags have 5, 64") as caught:
        convert(
            recording(
                [1, 2, 3],
                [0, 5, 64],
            ),
            tmp_path / "x",
            by_name("a1"),
            Options(),
        )
    assert caught.value.hint.endswith("--map 5=1,64=2")
    crowd = recording(list(range(6)), [0, 1, 2, 3, 4, 5])
    with pytest.raises(ParameterError) as caught:
        convert(crowd, tmp_path / "x", by_name("a1"), Options())
    assert "no numbers for so many" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_times_that_a_counter_cannot_reach_are_refused_or_moved(tmp_path: Path) -> None:
    late = recording([10**17, 10**17 + 1000], [0, 1], start=5)
    with pytest.raises(ParameterError, match="ps away") as caught:
        convert(late, tmp_path / "x", by_name("a1"), Options())
    assert "--from-zero" in caught.value.hint
    assert not list(tmp_path.iterdir())
    moved = from_zero(late)
    assert (moved.tags.t_ps.tolist(), moved.start_unix_ns) == ([0, 1000], 5 + 10**14)
    assert convert(moved, tmp_path / "x", by_name("a1"), Options()).rounded == 0


def test_units_that_are_not_the_callers_to_choose(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="unit of its own"):
        convert(recording([1], [0]), tmp_path / "x", by_name("a1"), Options(unit_ps=Fraction(1)))
    with pytest.raises(ParameterError, match="read but not written"):
        next(entry for entry in FORMATS if not entry.writer).write(tmp_path / "x", EMPTY, Options())


def test_no_tags_fit_only_the_native_format(tmp_path: Path) -> None:
    nothing = recording([], [])
    assert convert(from_zero(nothing), tmp_path / "x", by_name("qtag"), Options()).events == 0
    with pytest.raises(ParameterError, match="no tag"):
        convert(nothing, tmp_path / "y", by_name("csv"), Options())


def test_several_recordings_of_one_clock_interleave() -> None:
    one, other = recording([5, 20], [0, 0], resolution_ps=4.0), recording([1, 20], [7, 7], clock_id="rb")
    both = combine([one, other], {7: 1})
    assert both.tags.t_ps.tolist() == [1, 5, 20, 20]
    assert both.tags.channel.tolist() == [1, 0, 0, 1]
    assert (both.resolution_ps, both.clock_id, both.device) == (4.0, "", "bench")
    assert combine([other, other], {}).clock_id == "rb"
    with pytest.raises(ParameterError, match="different clocks: cs, rb"):
        combine([other, recording([1], [0], clock_id="cs")], {})


def test_starts_that_are_known_shift_the_times() -> None:
    both = combine([recording([5000], [0], start=1000), recording([7000], [1], start=998)], {})
    assert (both.start_unix_ns, both.tags.t_ps.tolist(), both.tags.channel.tolist()) == (998, [7000, 7000], [0, 1])
    assert combine([recording([5], [0], start=1000), recording([7], [1])], {}).start_unix_ns is None
    with pytest.raises(ParameterError, match="53 days"):
        combine([recording([5], [0], start=0), recording([5], [0], start=1 << 62)], {})


def test_reading_by_name_and_with_repair(tmp_path: Path) -> None:
    tags = on_grid(Fraction(1)).tags
    native.write_native(tmp_path / "x", tags, native.NativeHeader())
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data[:-36])
    with pytest.raises(TagFormatError, match="end block is missing"):
        read_as(tmp_path / "x", None, Options())
    for entry in (None, by_name("qtag")):
        found = read_as(tmp_path / "x", entry, Options(repair=True))
        assert (found.records, found.damaged, found.lost) == (400, 1, None)
    with pytest.raises(ParameterError, match="which channel"):
        read_as(tmp_path / "x", by_name("id900"), Options())
    with pytest.raises(ParameterError, match="no format 'a9'"):
        by_name("a9")


def test_registry_is_one_to_one() -> None:
    names = [entry.name for entry in FORMATS]
    suffixes = [entry.suffix for entry in FORMATS if entry.suffix]
    assert len(set(names)) == len(names)
    assert len(set(suffixes)) == len(suffixes)
    assert sorted(f.value for entry in FORMATS for f in entry.formats) == sorted(f.value for f in Format)
    missing = Entry(
        name="x",
        formats=(),
        suffix="",
        title="",
        module="s15",
        reader="read_a1",
        package="no_such_package",
        extra="opt",
    )
    assert not missing.installed
    with pytest.raises(ParameterError, match="needs no_such_package") as caught:
        missing.read(Path("x"), Options())
    assert caught.value.hint == "pip install 'entangled-qkd[opt]'"
