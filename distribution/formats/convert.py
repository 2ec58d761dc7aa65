"""One or several recordings as one file of another format, and what that cost.

Nothing is taken on trust: the new file is read back, compared tag by tag with what went in, and given its name only if
the same detectors come in the same order and no time moved by more than rounding to the new unit explains.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from distribution.errors import ParameterError
from distribution.formats import read
from distribution.formats.native import read_native
from distribution.formats.recording import Format, Recording
from distribution.formats.registry import Entry, Options
from distribution.kernels.rice import to_units
from distribution.tags import TimesPs, TimeTags, merge


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What a conversion did.

    Attributes:
        events: tags in, and out.
        unit_ps: unit of the new file.
        rounded: tags whose time changed.
        largest_ps: by how much at most.
        dropped: what the inputs said that the new file has no place for.
    """

    events: int
    unit_ps: Fraction
    rounded: int
    largest_ps: int
    dropped: tuple[str, ...]


def read_as(path: Path, entry: Entry | None, options: Options) -> Recording:
    """Read a file as the named format, or as what its content says.

    Raises:
        ParameterError: an option that the format does not know, or one that it needs is missing.
        TagFormatError: the file cannot be read so.
    """
    if entry is not None:
        return entry.read(path, options)
    return read_native(path, repair=True) if options.repair else read(path, sync_period_ps=options.sync_period_ps)


def combine(recordings: Sequence[Recording], channel_map: Mapping[int, int]) -> Recording:
    """Several recordings as one, channels renamed; times as they are unless every recording says when t = 0 was.

    Args:
        recordings: at least one.
        channel_map: old number -> new; others stay.

    Returns:
        A recording whose tags are all tags by time, and whose resolution is the coarsest.

    Raises:
        ParameterError: the recordings name different clocks.
    """
    named = sorted({recording.clock_id for recording in recordings} - {""})
    if len(named) > 1:
        raise ParameterError(
            f"the recordings name different clocks: {', '.join(named)}",
            hint="tags of two clocks make no common order; bring them together with qkd analyse first",
        )
    starts = [recording.start_unix_ns for recording in recordings]
    known = [start for start in starts if start is not None]
    start = min(known) if len(known) == len(starts) else None
    streams = [_moved(r.tags, 0 if start is None else 1000 * ((r.start_unix_ns or 0) - start)) for r in recordings]
    tags = streams[0] if len(streams) == 1 else merge(*streams)
    return Recording(
        tags=TimeTags(tags.t_ps, _renumbered(channel_map)[tags.channel]) if channel_map else tags,
        format=recordings[0].format,
        resolution_ps=max(recording.resolution_ps for recording in recordings),
        records=len(tags),
        device="; ".join(sorted({recording.device for recording in recordings} - {""})),
        clock_id=named[0] if named and all(recording.clock_id for recording in recordings) else "",
        start_unix_ns=start,
    )


def from_zero(recording: Recording) -> Recording:
    """The same with the first tag at t = 0; what t = 0 was in Unix time moves along, to whole nanoseconds.

    Raises:
        ParameterError: it is longer than 53 days.
    """
    if not len(recording.tags):
        return recording
    first_ps = int(recording.tags.t_ps[0])
    if int(recording.tags.t_ps[-1]) - first_ps >= 1 << 62:
        raise ParameterError("the recording is longer than 53 days")
    start = None if recording.start_unix_ns is None else recording.start_unix_ns + first_ps // 1000
    tags = TimeTags(recording.tags.t_ps - first_ps, recording.tags.channel)
    return replace(recording, tags=tags, start_unix_ns=start)


def convert(recording: Recording, out: Path, entry: Entry, options: Options) -> Conversion:
    """Write a recording as a file of another format, read it back and compare.

    Args:
        recording: what to write.
        out: the new file; replaced if it is there.
        entry: its format.
        options: `unit_ps` and whatever the format wants to know.

    Raises:
        ParameterError: the format cannot hold these tags, or they would not come back.
    """
    tags = recording.tags
    if not len(tags) and Format.NATIVE not in entry.formats:
        raise ParameterError("there is no tag to write", hint="only qtag files can be empty")
    over = sorted(c for c in tags.counts() if c >= entry.channels)
    if over:
        raise ParameterError(
            f"{entry.name} holds channels 0..{entry.channels - 1}, the tags have {', '.join(map(str, over))}",
            hint=_free_numbers(tags, over, entry),
        )
    unit = _unit(recording, entry, options)
    wanted = replace(
        options,
        unit_ps=unit,
        resolution_ps=recording.resolution_ps,
        device=recording.device,
        clock_id=recording.clock_id,
        start_unix_ns=recording.start_unix_ns,
    )
    draft = out.with_name(f".{out.name}.{secrets.token_hex(4)}.draft")
    try:
        entry.write(draft, tags, wanted)
        back = entry.read(draft, replace(wanted, channel=int(tags.channel[0]) if len(tags) else 0))
        rounded, largest_ps = _difference(tags, back.tags, unit, entry)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return Conversion(
        events=len(tags), unit_ps=unit, rounded=rounded, largest_ps=largest_ps, dropped=_dropped(recording, back)
    )


def _free_numbers(tags: TimeTags, over: list[int], entry: Entry) -> str:
    free = [c for c in range(entry.channels) if c not in tags.counts()]
    if len(free) < len(over):
        return f"{entry.name} has no numbers for so many; qtag, npz and csv have"
    return f"give them other numbers: --map {','.join(f'{old}={new}' for old, new in zip(over, free, strict=False))}"


def _unit(recording: Recording, entry: Entry, options: Options) -> Fraction:
    if "unit_ps" not in entry.writes:
        if options.unit_ps not in (None, entry.unit_ps):
            raise ParameterError(
                f"{entry.name} has a unit of its own, {float(entry.unit_ps):g} ps", hint="omit --unit-ps"
            )
        return entry.unit_ps
    if options.unit_ps is not None:
        return options.unit_ps
    if Format.NATIVE not in entry.formats:
        return entry.unit_ps
    own = Fraction(recording.resolution_ps).limit_denominator(1000)
    return own if 1 < own <= 1 << 20 and _divides(recording.tags.t_ps, own) else Fraction(1)


def _divides(t_ps: TimesPs, unit: Fraction) -> bool:
    """True if every time is a multiple of the unit, rounded to whole ps."""
    units = np.empty(t_ps.size, np.int64)
    return to_units(np.ascontiguousarray(t_ps), unit.numerator, unit.denominator, -1, units) == 0


def _difference(tags: TimeTags, back: TimeTags, unit: Fraction, entry: Entry) -> tuple[int, int]:
    """How many times moved, and by how much at most."""
    if len(back) != len(tags) or not np.array_equal(back.channel, tags.channel):
        raise ParameterError(
            f"{len(tags)} tags do not come back from {entry.name}: {len(back)} do, or their detectors differ",
            hint="qtag, npz and csv hold any tags",
        )
    if not len(tags):
        return 0, 0
    moved = np.abs(back.t_ps - tags.t_ps)
    largest = int(moved.max())
    if largest > unit / 2 + 1:
        raise ParameterError(
            f"times come back from {entry.name} up to {largest} ps away, its unit is {float(unit):g} ps",
            hint="its counter cannot reach these times: --from-zero lets the first tag be at t = 0",
        )
    return int(np.count_nonzero(moved)), largest


def _dropped(recording: Recording, back: Recording) -> tuple[str, ...]:
    said = {
        "device": recording.device != "" and recording.device != back.device,
        "clock id": recording.clock_id != "" and recording.clock_id != back.clock_id,
        "start time": recording.start_unix_ns is not None and recording.start_unix_ns != back.start_unix_ns,
        "resolution": recording.resolution_ps != back.resolution_ps,
    }
    return tuple(name for name, lost in said.items() if lost)


def _moved(tags: TimeTags, by_ps: int) -> TimeTags:
    if not by_ps or not len(tags):
        return tags
    if max(abs(int(t) + by_ps) for t in tags.t_ps[[0, -1]]) >= 1 << 62:
        raise ParameterError("the recordings began more than 53 days apart: they fit on no common time scale")
    return TimeTags(tags.t_ps + by_ps, tags.channel)


def _renumbered(channel_map: Mapping[int, int]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    table = np.arange(256, dtype=np.uint8)
    for old, new in channel_map.items():
        table[old] = new
    return table
