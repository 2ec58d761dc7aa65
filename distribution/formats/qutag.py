"""qutools quTAG, and the quTAU and ID800 of the same make: a 40-byte header, then 10-byte records.

A record is {int64 time, uint16 channel}, little-endian. The quTAG counts picoseconds; quTAU and ID800 count
units of 80.955 ps and nothing in the file says so, so `unit_ps` is the caller's to give. The header holds no
documented signature: a file is recognised by its length and by records that make sense. Checked on a real
quTAG recording (ETA project), in which 173 of 267 801 records come late, by up to 86 ns: channels are merged
per block, not per tag.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError, TagFormatError
from distribution.formats.recording import Format, Recording, scale_to_ps, settle_order, write_atomically
from distribution.kernels.rice import to_units
from distribution.tags import TimeTags

HEADER_BYTES = 40
RECORD = np.dtype([("time", "<i8"), ("channel", "<u2")])
REORDER_PS = 10_000_000
MAX_CHANNEL = 127
QUTAU_UNIT_PS = Fraction("80.955")
"""What quTAU and ID800 count."""


def read_qutag(path: Path | str, *, unit_ps: Fraction | int = 1) -> Recording:
    """Read a quTAG, quTAU or ID800 file.

    Args:
        path: the file.
        unit_ps: the device's time unit, ps: 1 for quTAG, Fraction("80.955") for quTAU and ID800.

    Raises:
        TagFormatError: shorter than its header, cut inside a record, impossible times or channels, or
            shuffled.
    """
    name = Path(path).name
    size = Path(path).stat().st_size
    if size <= HEADER_BYTES:
        raise TagFormatError(f"{name}: {size} bytes hold no record after a {HEADER_BYTES}-byte header", offset=size)
    if (size - HEADER_BYTES) % RECORD.itemsize:
        rest = (size - HEADER_BYTES) % RECORD.itemsize
        raise TagFormatError(
            f"{name}: the last record has {rest} of {RECORD.itemsize} bytes",
            offset=size - rest,
            hint="the file was cut short",
        )
    unit = Fraction(unit_ps)
    if not 0 < unit <= 1_000_000:
        raise ParameterError(f"unit_ps must lie in (0, 1e6], got {unit_ps}")
    records = np.fromfile(path, RECORD, offset=HEADER_BYTES)
    t_units = np.ascontiguousarray(records["time"], np.int64)
    _check_values(t_units, records["channel"], unit, name)
    t_ps = scale_to_ps(t_units, unit.numerator, unit.denominator)
    channel = records["channel"].astype(np.uint8)
    order, reordered = settle_order(
        t_ps, depth_ps=REORDER_PS, what=name, header_bytes=HEADER_BYTES, record_bytes=RECORD.itemsize
    )
    return Recording(
        tags=TimeTags(t_ps, channel) if order is None else TimeTags(t_ps[order], channel[order]),
        format=Format.QUTAG,
        resolution_ps=float(unit),
        records=records.size,
        reordered=reordered,
        device="qutools time tagger",
    )


def write_qutag(path: Path, tags: TimeTags, *, unit_ps: Fraction | int = 1) -> None:
    """Write tags as a file of this lay-out, atomically, rounded to the unit; the header's 40 bytes are zeros.

    Raises:
        ParameterError: a channel above 127 or a negative time.
    """
    if len(tags) and (int(tags.channel.max()) > MAX_CHANNEL or tags.t_ps[0] < 0):
        raise ParameterError(
            f"records hold channels 0..{MAX_CHANNEL} and no negative times,"
            f" got channel {tags.channel.max()} and {tags.t_ps[0]} ps"
        )
    unit = Fraction(unit_ps)
    units = np.empty(len(tags), np.int64)
    to_units(np.ascontiguousarray(tags.t_ps), unit.numerator, unit.denominator, -1, units)
    records = np.empty(len(tags), RECORD)
    records["time"], records["channel"] = units, tags.channel
    write_atomically(Path(path), bytes(HEADER_BYTES) + records.tobytes())


def fits(head: bytes) -> bool:
    """True if the head of a file reads as a header and sensible records (for format detection)."""
    body = head[HEADER_BYTES:]
    records = np.frombuffer(body[: len(body) // RECORD.itemsize * RECORD.itemsize], RECORD)
    t = records["time"]
    if not records.size or not int(t.min()) >= 0 or not int(t.max()) or int(records["channel"].max()) > MAX_CHANNEL:
        return False
    return bool(np.max(np.maximum.accumulate(t) - t) <= REORDER_PS)


def _check_values(t_units: npt.NDArray[np.int64], channel: npt.NDArray[np.uint16], unit: Fraction, name: str) -> None:
    limit = (1 << 62) // max(1, int(unit) + 1)
    wrong = np.flatnonzero((t_units < 0) | (t_units > limit) | (channel > MAX_CHANNEL))
    if wrong.size:
        i = int(wrong[0])
        raise TagFormatError(
            f"{name}: record {i} has time {t_units[i]} and channel {channel[i]}, which no quTAG writes",
            offset=HEADER_BYTES + i * RECORD.itemsize,
            hint="this is another format, or the file is damaged",
        )
