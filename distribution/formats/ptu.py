"""PicoQuant PTU containers: T2 (every photon with its absolute time) and T3 (sync pulses and the time after them).

Read: T2 and T3 of PicoHarp 300, HydraHarp (versions 1 and 2), TimeHarp 260, MultiHarp and PicoHarp 330; how records
become times stands in `tttr`. The file must hold exactly the records that its header declares.

Written: T2 only, as a MultiHarp writes it. Channels 0..63 and `SYNC_CHANNEL` come back, and times to half a unit of
the caller's choice (1 ps by default: exact). T3 is not written: it names times against the pulses of a sync input, and
tags do not say which pulses those were.
"""

from __future__ import annotations

import uuid
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError, TagFormatError
from distribution.formats import tttr
from distribution.formats.ptu_header import Value, build_header, read_header
from distribution.formats.recording import Format, Recording, write_atomically
from distribution.formats.tttr import SYNC_CHANNEL, Timing
from distribution.tags import TimeTags

_WRITTEN_TYPE = 0x00010207
# TTResultFormat_TTTRRecType. PicoQuant's own page lists TimeHarp 260 with and without the leading 01.
_T2 = {
    0x00010203: tttr.PICOHARP_T2,
    0x00010204: tttr.HYDRAHARP_V1_T2,
    0x01010204: tttr.HARP_T2,
    0x00010205: tttr.HARP_T2,  # TimeHarp 260 N
    0x01010205: tttr.HARP_T2,
    0x00010206: tttr.HARP_T2,  # TimeHarp 260 P
    0x01010206: tttr.HARP_T2,
    _WRITTEN_TYPE: tttr.HARP_T2,  # MultiHarp, PicoHarp 330
}
_T3 = {
    0x00010303: tttr.PICOHARP_T3,
    0x00010304: tttr.HYDRAHARP_V1_T3,
    0x01010304: tttr.HARP_T3,
    0x00010305: tttr.HARP_T3,
    0x01010305: tttr.HARP_T3,
    0x00010306: tttr.HARP_T3,
    0x01010306: tttr.HARP_T3,
    0x00010307: tttr.HARP_T3,
}

_TIME_BITS = 25
# The most wraps that one overflow record can stand for.
_MAX_TURNS = (1 << _TIME_BITS) - 1
_UNIT_RANGE_PS = (Fraction(1, 100), 10**6)


def read_ptu(path: Path | str, *, sync_period_ps: Fraction | float | None = None) -> Recording:
    """Read a PTU file.

    Args:
        path: the file, whatever its suffix.
        sync_period_ps: for T3: the period of the sync input, ps, where the caller knows it better than the header.

    Returns:
        The recording; channels are PicoQuant's input numbers from 0 (PicoHarp in T3: from 1), sync events of T2
        `SYNC_CHANNEL`.

    Raises:
        TagFormatError: no PTU, an unknown record type, a record block that is not as long as declared, times out of
            order, or a header that its records refute.
        ParameterError: a sync period that is absurd, or given for T2.
    """
    path = Path(path)
    header, start = read_header(path)
    kind = _whole(header, "TTResultFormat_TTTRRecType")
    if kind in _T2:
        if sync_period_ps is not None:
            raise ParameterError(f"sync_period_ps is for T3 recordings, {path.name} is T2")
        form, layout, timing = Format.PTU_T2, _T2[kind], Timing(_unit(header, path.name))
    elif kind in _T3:
        form, layout, timing = Format.PTU_T3, _T3[kind], _t3_timing(header, path.name, sync_period_ps)
    else:
        raise TagFormatError(f"{path.name}: record type {kind:#010x} is no T2 or T3 type that we know", offset=16)
    if _whole(header, "TTResultFormat_BitsPerRecord") not in (0, 32):
        raise TagFormatError(f"{path.name}: {header['TTResultFormat_BitsPerRecord']} bits a record, 32 are known")
    count = _count(path, header, start)
    photons = tttr.decode(path, layout, timing, start=start, records=count)
    return Recording(
        tags=photons.tags,
        format=form,
        resolution_ps=float(timing.fine_ps or timing.coarse_ps),
        records=count,
        overflows=photons.overflows,
        markers=photons.markers,
        reordered=photons.reordered,
        device=" ".join(str(header[key]) for key in ("HW_Type", "HW_Version") if header.get(key)),
    )


def write_ptu(path: Path, tags: TimeTags, *, unit_ps: Fraction | int = 1, device: str = "") -> None:
    """Write tags as a T2 file, atomically.

    Args:
        path: the file.
        tags: times from 0 on.
        unit_ps: time unit, ps; times are rounded to it, halves up.
        device: what to state as the instrument, or "".

    Raises:
        ParameterError: a channel above 64, a negative time, or an absurd unit.
    """
    unit = Fraction(unit_ps)
    if not _UNIT_RANGE_PS[0] <= unit <= _UNIT_RANGE_PS[1] or unit.denominator > 1000:
        raise ParameterError(f"unit_ps must lie in [0.01, 1e6] and be a fraction over at most 1000, got {unit_ps}")
    records = encode_t2(tags, unit)
    seconds = float(unit / 10**12)
    header: dict[str, Value] = {
        "File_GUID": f"{{{str(uuid.uuid4()).upper()}}}",
        "Measurement_Mode": 2,
        "Measurement_SubMode": 0,
        "TTResultFormat_TTTRRecType": _WRITTEN_TYPE,
        "TTResultFormat_BitsPerRecord": 32,
        "MeasDesc_Resolution": seconds,
        "MeasDesc_GlobalResolution": seconds,
        "TTResult_SyncRate": 0,
        "TTResult_NumberOfRecords": records.size,
    }
    if device:
        header["HW_Type"] = device
    write_atomically(Path(path), build_header(header) + records.tobytes())


def encode_t2(tags: TimeTags, unit_ps: Fraction) -> tttr.Records:
    """Tags as T2 records: one for each tag, and overflow records for the wraps between them.

    Args:
        tags: times from 0 on, channels 0..63 and `SYNC_CHANNEL`.
        unit_ps: time unit, ps.

    Returns:
        Shape (n,), uint32, little-endian.

    Raises:
        ParameterError: a channel above 64, or a negative time.
    """
    if not len(tags):
        return np.empty(0, "<u4")
    if tags.channel.max() > SYNC_CHANNEL:
        raise ParameterError(f"T2 records know channels 0..{SYNC_CHANNEL}, got channel {tags.channel.max()}")
    if tags.t_ps[0] < 0:
        raise ParameterError(f"T2 records know no negative times, got {tags.t_ps[0]} ps")
    if tags.t_ps[-1] >= (1 << 61) * min(Fraction(1), unit_ps):
        raise ParameterError(f"times reach {tags.t_ps[-1]} ps, beyond what units of {float(unit_ps):g} ps can say")
    units = _to_units(tags.t_ps, unit_ps)
    turns = np.diff(units >> _TIME_BITS, prepend=0)
    before = -(-turns // _MAX_TURNS)
    place = np.arange(len(tags)) + np.cumsum(before)
    overflow = np.uint32(0x7F << _TIME_BITS)
    records = np.full(int(place[-1]) + 1, overflow | np.uint32(_MAX_TURNS), "<u4")
    # The last overflow before a tag carries what the full ones ahead of it leave.
    crossing = np.flatnonzero(before)
    records[place[crossing] - 1] = overflow | (turns - (before - 1) * _MAX_TURNS)[crossing].astype(np.uint32)
    is_sync = tags.channel == SYNC_CHANNEL
    source = np.where(is_sync, np.uint32(1 << 6), tags.channel.astype(np.uint32))
    records[place] = source << np.uint32(_TIME_BITS) | (units & _MAX_TURNS).astype(np.uint32)
    return records


def _to_units(t_ps: npt.NDArray[np.int64], unit_ps: Fraction) -> npt.NDArray[np.int64]:
    # Whole units first: t_ps * denominator alone would overflow for times of some days.
    up, down = unit_ps.denominator, unit_ps.numerator
    whole = t_ps // down
    rest = t_ps - down * whole
    return whole * up + (2 * rest * up + down) // (2 * down)


def _unit(header: dict[str, Value], name: str) -> Fraction:
    """The time unit of a T2 file, ps."""
    seconds = header.get("MeasDesc_GlobalResolution")
    if not isinstance(seconds, float) or not 1e-14 <= seconds <= 1e-6:
        raise TagFormatError(f"{name}: a time unit of {seconds!r} s is absurd")
    return Fraction(seconds * 1e12).limit_denominator(1000)


def _t3_timing(header: dict[str, Value], name: str, sync_period_ps: Fraction | float | None) -> Timing:
    resolution = header.get("MeasDesc_Resolution")
    if not isinstance(resolution, float) or not 1e-14 <= resolution <= 1e-6:
        raise TagFormatError(f"{name}: a resolution of {resolution!r} s is absurd")
    fine_ps = Fraction(resolution * 1e12).limit_denominator(1000)
    stated = header.get("MeasDesc_GlobalResolution")
    period_ps = Fraction(0)
    if sync_period_ps is None:
        seconds = stated if isinstance(stated, float) else 0.0
        divider = min(max(1, _whole(header, "HWSync_Divider")), 1 << 16)
        period_ps = tttr.period_of(seconds, _whole(header, "TTResult_SyncRate"), name, divider=divider)
    stop_after_ms = min(max(0, _whole(header, "TTResult_StopAfter")), 1 << 40)
    return tttr.t3_timing(period_ps, fine_ps, stop_after_ms, sync_period_ps)


def _whole(header: dict[str, Value], key: str) -> int:
    value = header.get(key)
    return value if isinstance(value, int) else 0


def _count(path: Path, header: dict[str, Value], start: int) -> int:
    """How many records there are, which must fill the rest of the file."""
    declared = header.get("TTResult_NumberOfRecords")
    size = path.stat().st_size
    if not isinstance(declared, int) or isinstance(declared, bool) or declared < 0:
        raise TagFormatError(f"{path.name}: the header declares {declared!r} records")
    if start + declared * tttr.RECORD_BYTES != size:
        raise TagFormatError(
            f"{path.name}: {declared} records declared, the file holds {(size - start) / tttr.RECORD_BYTES:g}",
            offset=min(size, start + declared * tttr.RECORD_BYTES),
            hint="the file was cut short or has something appended",
        )
    return declared
