"""PicoQuant PTU containers in T2 mode: every photon with its absolute time.

`ptufile` parses the tagged header; the 32-bit records are decoded here, because it gives sync events the
number of the first input and so makes two detectors one. Layouts and wraps as in PicoQuant's file format
documentation:

* HydraHarp, MultiHarp, TimeHarp 260: special(1) channel(6) time(25). Special with channel 63 is an overflow
  that stands for `time` wraps (at least one) of 2^25 units, or one of 33 552 000 in HydraHarp version 1;
  special with channel 0 is a sync event, 1..15 are markers.
* PicoHarp 300: channel(4) time(28). Channel 15 is an overflow of 210 698 240 units if the low four bits are
  0, else a marker.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ptufile

from distribution.errors import TagFormatError
from distribution.formats.recording import Format, Recording, scale_to_ps, settle_order
from distribution.tags import TimeTags

MAGIC = b"PQTTTR\0\0"
RECORD_BYTES = 4
SYNC_CHANNEL = 64
"""Channel number given to sync events: one above the highest that six bits can name."""

_PICOHARP_T2 = 0x00010203
_HYDRAHARP_V1_T2 = 0x00010204
_WRAP_UNITS = {
    _PICOHARP_T2: 210_698_240,
    _HYDRAHARP_V1_T2: 33_552_000,
    0x01010204: 1 << 25,  # HydraHarp version 2
    0x00010205: 1 << 25,  # TimeHarp 260 N
    0x00010206: 1 << 25,  # TimeHarp 260 P
    0x00010207: 1 << 25,  # MultiHarp, PicoHarp 330
}

Records = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Every record in file order: absolute time in units, channel number, and what it is."""

    units: npt.NDArray[np.int64]
    channel: npt.NDArray[np.uint8]
    is_overflow: npt.NDArray[np.bool_]
    is_marker: npt.NDArray[np.bool_]


def read_ptu(path: Path | str) -> Recording:
    """Read a PTU file recorded in T2 mode.

    Args:
        path: the file, whatever its suffix.

    Returns:
        The recording; channels are PicoQuant's input numbers from 0, sync events `SYNC_CHANNEL`.

    Raises:
        TagFormatError: no PTU, T3 mode, an unknown record type, or a record block that is not as long as
            declared.
    """
    name = Path(path).name
    header, start = _header(Path(path), name)
    kind, unit_ps = _kind(header, name)
    records = _records(Path(path), header, start, name)
    decoded = decode_t2(records, kind, header_bytes=start)
    photon = ~(decoded.is_overflow | decoded.is_marker)
    t_ps = _in_ps(decoded.units[photon], unit_ps, name)
    settle_order(t_ps, depth_ps=0, what=name, header_bytes=start, record_bytes=RECORD_BYTES)
    return Recording(
        tags=TimeTags(t_ps, decoded.channel[photon]),
        format=Format.PTU_T2,
        resolution_ps=float(unit_ps),
        records=records.size,
        overflows=int(np.count_nonzero(decoded.is_overflow)),
        markers=int(np.count_nonzero(decoded.is_marker)),
        device=" ".join(str(header[key]) for key in ("HW_Type", "HW_Version") if header.get(key)),
    )


def decode_t2(records: Records, kind: int, *, header_bytes: int = 0) -> _Decoded:
    """Decode T2 records.

    Args:
        records: shape (n,), uint32, as in the file.
        kind: the header's TTResultFormat_TTTRRecType.
        header_bytes: where the records begin in the file, for messages.

    Raises:
        TagFormatError: a special record that the layout does not define.
    """
    wrap = _WRAP_UNITS[kind]
    if kind == _PICOHARP_T2:
        channel = (records >> np.uint32(28)).astype(np.uint8)
        low = (records & np.uint32(0x0FFFFFFF)).astype(np.int64)
        special = channel == 15
        is_overflow = special & (low & 0xF == 0)
        turns = is_overflow.astype(np.int64)
    else:
        channel = (records >> np.uint32(25) & np.uint32(63)).astype(np.uint8)
        low = (records & np.uint32(0x01FFFFFF)).astype(np.int64)
        flagged = records >> np.uint32(31) == 1
        is_overflow = flagged & (channel == 63)
        special = flagged & (channel != 0)
        undefined = flagged & (channel > 15) & (channel != 63)
        if undefined.any():
            i = int(np.argmax(undefined))
            raise TagFormatError(
                f"record {i} is a special one of channel {channel[i]}: no such thing is defined",
                offset=header_bytes + i * RECORD_BYTES,
            )
        channel[flagged & (channel == 0)] = SYNC_CHANNEL
        repeats = np.ones_like(low) if kind == _HYDRAHARP_V1_T2 else np.maximum(low, 1)
        turns = np.where(is_overflow, repeats, 0)
    return _Decoded(np.cumsum(turns) * wrap + low, channel, is_overflow, special & ~is_overflow)


def _header(path: Path, name: str) -> tuple[dict[str, Any], int]:
    """The header's tags and the byte at which the records begin."""
    with path.open("rb") as file:
        if file.read(8) != MAGIC:
            raise TagFormatError(f"{name} does not begin with PQTTTR", offset=0)
    try:
        with ptufile.PtuFile(path) as container:
            return dict(container.tags), int(container._data_offset)
    except Exception as error:  # whatever a damaged header makes a foreign parser do, it is the file's fault
        raise TagFormatError(f"{name}: the PTU header is damaged: {str(error)[:120]}", offset=16) from error


def _kind(header: dict[str, Any], name: str) -> tuple[int, Fraction]:
    """Record type and time unit, ps."""
    kind = header.get("TTResultFormat_TTTRRecType")
    if kind not in _WRAP_UNITS:
        shown = f"{kind:#010x}" if isinstance(kind, int) else repr(kind)
        raise TagFormatError(
            f"{name}: record type {shown} is no T2 type that we know",
            hint="only T2 recordings carry absolute times; record in T2 mode",
        )
    seconds = header.get("MeasDesc_GlobalResolution")
    if not isinstance(seconds, float) or not 1e-14 <= seconds <= 1e-6:
        raise TagFormatError(f"{name}: a time unit of {seconds!r} s is absurd")
    return kind, Fraction(seconds * 1e12).limit_denominator(1000)


def _records(path: Path, header: dict[str, Any], start: int, name: str) -> Records:
    """The record block, which must fill the rest of the file."""
    declared = header.get("TTResult_NumberOfRecords")
    size = path.stat().st_size
    if not isinstance(declared, int) or declared < 0:
        raise TagFormatError(f"{name}: the header declares {declared!r} records")
    if start + declared * RECORD_BYTES != size:
        raise TagFormatError(
            f"{name}: {declared} records declared, the file holds {(size - start) / RECORD_BYTES:g}",
            offset=min(size, start + declared * RECORD_BYTES),
            hint="the file was cut short or has something appended",
        )
    return np.fromfile(path, "<u4", offset=start)


def _in_ps(units: npt.NDArray[np.int64], unit_ps: Fraction, name: str) -> npt.NDArray[np.int64]:
    if units.size and int(units.max()) * unit_ps >= 1 << 62:
        raise TagFormatError(f"{name}: times reach {units.max()} units of {float(unit_ps):g} ps: over 53 days")
    return scale_to_ps(units, unit_ps.numerator, unit_ps.denominator)
