"""What every reader returns, and the three rules they share: exact picoseconds, honest order, whole files.

A device counts in its own unit; times become int64 picoseconds by integer arithmetic, rounded to nearest
(halves up). Some devices deliver a few tags late, so a reader may sort, but only within the depth its format
is known to show, and it counts what it moved. Files are written beside their name and renamed, so nobody ever
reads half of one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distribution.errors import TagFormatError
from distribution.tags import TimesPs, TimeTags
from distribution.units import PS_PER_S


class Format(Enum):
    """The formats that `distribution.formats.read` tells apart."""

    S15_A1 = "s-fifteen a1"
    S15_A1_LEGACY = "s-fifteen a1, high word first"
    S15_A0 = "s-fifteen a0"
    S15_A2 = "s-fifteen a2"
    S15_T1 = "qcrypto type 1"
    NATIVE = "qtag"
    ID900 = "id900"
    PTU_T2 = "picoquant ptu, t2"
    PTU_T3 = "picoquant ptu, t3"
    HT2 = "picoquant ht2"
    HT3 = "picoquant ht3"
    PT2 = "picoquant pt2"
    PT3 = "picoquant pt3"
    T3R = "picoquant t3r"
    SWABIAN_DUMP = "swabian dump"
    PARQUET = "parquet"
    PHOTON_HDF5 = "photon-hdf5"
    QUTAG = "qutag"
    NPZ = "npz"
    CSV = "csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One file of a time tagger, with counts that add up: records = events + dummies + overflows + markers.

    Attributes:
        tags: times and detectors, ascending. One event with several detectors gives several tags of equal
            time.
        format: what the file was.
        resolution_ps: the tagger's time unit, ps.
        records: records in the file.
        dummies: records without a detection (S-Fifteen: flagged as dummy, or an empty detector pattern).
        overflows: records that only carry the counter on (PicoQuant) or tell of a full buffer (Swabian).
        markers: records of external marker inputs (PicoQuant), which are no detections.
        rollovers: times that the counter wrapped and was carried on.
        reordered: records that were earlier than the one before them and were moved to their place.
        patterns: S-Fifteen only: number of events per detector bit mask.
        device: what the file says about the instrument, or "".
        clock_id: name of the clock that gave the times, or "".
        start_unix_ns: Unix time of t = 0, or None where the file does not say.
        damaged: stretches of the file that were left out, which happens only where the caller asked for it.
        lost: events that were there and are not here: in damaged stretches, those that the tagger had no room for
            (Swabian), records that a cut-off file declares (older PicoQuant containers); None = nobody knows how many.
    """

    tags: TimeTags
    format: Format
    resolution_ps: float
    records: int
    dummies: int = 0
    overflows: int = 0
    markers: int = 0
    rollovers: int = 0
    reordered: int = 0
    patterns: Mapping[int, int] = field(default_factory=dict)
    device: str = ""
    clock_id: str = ""
    start_unix_ns: int | None = None
    damaged: int = 0
    lost: int | None = 0

    @property
    def events(self) -> int:
        """Records that are detections; an event in which two detectors fired is one event and two tags."""
        return self.records - self.dummies - self.overflows - self.markers

    @property
    def seconds(self) -> float:
        """From the first tag to the last."""
        return self.tags.span_ps / PS_PER_S


def scale_to_ps(units: npt.NDArray[np.int64], numerator: int, denominator: int) -> TimesPs:
    """Device units of numerator/denominator ps each as int64 ps, rounded to nearest, halves up, without a
    float.

    Args:
        units: shape (n,), int64.
        numerator, denominator: the unit in ps as a fraction; the denominator at most 2^30, the result below 2^62.
    """
    if denominator == 1:
        return units * numerator
    # Whole picoseconds and whole denominators first: units * numerator alone would overflow for times of some days.
    whole_ps, rest_ps = divmod(numerator, denominator)
    turns = units // denominator
    rest = units - denominator * turns
    return units * whole_ps + turns * rest_ps + (2 * rest * rest_ps + denominator) // (2 * denominator)


def settle_order(
    t_ps: TimesPs, *, depth_ps: int, what: str, header_bytes: int, record_bytes: int
) -> tuple[npt.NDArray[np.int64] | None, int]:
    """Order that makes times ascend, if nothing is later than `depth_ps` behind an earlier record.

    Args:
        t_ps: shape (n,), int64, as they stand in the file.
        depth_ps: how far the format's devices are known to run out of order; 0 = not at all.
        what: name for the message.
        header_bytes, record_bytes: lay-out of the file, to turn an index into a byte offset.

    Returns:
        (permutation or None if the times ascend already, number of backward steps)

    Raises:
        TagFormatError: with the byte offset of the first record that is too late.
    """
    back = t_ps[1:] < t_ps[:-1]
    if not back.any():
        return None, 0
    late = np.maximum.accumulate(t_ps) - t_ps
    wrong = np.flatnonzero(late > depth_ps)
    if wrong.size:
        i = int(wrong[0])
        raise TagFormatError(
            f"{what}: record {i} lies {late[i]} ps before an earlier one; {wrong.size} of {t_ps.size} do"
            f" by more than the {depth_ps} ps this format may show",
            offset=header_bytes + i * record_bytes,
            hint="the file is shuffled, joined from several, or of another format",
        )
    return np.argsort(t_ps, kind="stable"), int(np.count_nonzero(back))


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write `data` as the file `path`: a temporary file in the same folder, flushed, then renamed over it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; a recording is as readable as any other new file.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a failed write does not know what it was writing
        raise
