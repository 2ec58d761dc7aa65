"""IDQ ID900 and ID1000 time stamps: one channel a file, each a little-endian uint64 in picoseconds, and nothing else.

Any file of whole 8-byte words could be one, and no file says which channel it is; so these are read only where a caller
says so. Times must ascend: a channel has nothing to be late against.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from distribution.errors import ParameterError, TagFormatError
from distribution.formats.recording import Format, Recording, scale_to_ps, settle_order, write_atomically
from distribution.kernels.rice import to_units
from distribution.tags import TimeTags

STAMP_BYTES = 8


def read_id900(path: Path | str, *, channel: int, unit_ps: Fraction | int = 1) -> Recording:
    """Read the file of one channel.

    Args:
        path: the file.
        channel: number to give its tags, 0 .. 255.
        unit_ps: what the stamps count, ps; 1 as the instrument writes them.

    Raises:
        ParameterError: an impossible channel or unit.
        TagFormatError: empty, cut inside a stamp, beyond 53 days, or out of order.
    """
    name, size, unit = Path(path).name, Path(path).stat().st_size, Fraction(unit_ps)
    if not (0 <= channel < 256 and 0 < unit <= 1_000_000):
        raise ParameterError(f"channel {channel} must lie in [0, 256) and unit_ps {unit} in (0, 1e6]")
    if size == 0 or size % STAMP_BYTES:
        rest = size % STAMP_BYTES
        raise TagFormatError(f"{name}: the last stamp has {rest} of {STAMP_BYTES} bytes", offset=size - rest)
    stamps = np.fromfile(path, "<u8")
    far = np.flatnonzero(stamps > int((1 << 62) / max(Fraction(1), unit)))
    if far.size:
        raise TagFormatError(
            f"{name}: stamp {far[0]} is {stamps[far[0]]} units, over 53 days",
            offset=int(far[0]) * STAMP_BYTES,
            hint="newer instruments stream pairs of stamp and reference index: export one column",
        )
    t_ps = scale_to_ps(stamps.astype(np.int64), unit.numerator, unit.denominator)
    settle_order(t_ps, depth_ps=0, what=name, header_bytes=0, record_bytes=STAMP_BYTES)
    return Recording(
        tags=TimeTags(t_ps, np.full(t_ps.size, channel, np.uint8)),
        format=Format.ID900,
        resolution_ps=float(unit),
        records=stamps.size,
        device="IDQ time controller",
    )


def write_id900(path: Path, tags: TimeTags, *, unit_ps: Fraction | int = 1) -> None:
    """Write the tags of one channel, atomically, rounded to the unit.

    Raises:
        ParameterError: several channels, or a negative time.
    """
    if len(tags.counts()) > 1:
        raise ParameterError(f"one file has one channel, got {sorted(tags.counts())}", hint="write a file for each")
    if len(tags) and tags.t_ps[0] < 0:
        raise ParameterError(f"stamps are not negative, got {tags.t_ps[0]} ps")
    unit = Fraction(unit_ps)
    units = np.empty(len(tags), np.int64)
    to_units(np.ascontiguousarray(tags.t_ps), unit.numerator, unit.denominator, -1, units)
    write_atomically(Path(path), units.astype("<u8").tobytes())
