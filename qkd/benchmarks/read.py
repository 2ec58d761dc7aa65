"""How fast tag files become tags: one row a format, each against a plain reading of the same file in the same run.

Files are written from made-up clicks of Poisson light, 1 Mcps over four detectors, and read from the page cache, so
that the disk does not count. Before anything is timed, what comes back is held against what was written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from distribution.formats import Recording, ptu, read, s15
from distribution.formats.ptu_header import Value, build_header
from distribution.formats.recording import write_atomically
from distribution.tags import TimeTags
from distribution.units import PS_PER_S
from qkd.benchmarks.result import Result, Row, median_seconds

MEAN_GAP_PS = 1_000_000
DETECTORS = 4
SYNC_HZ = 7_999_993
"""Of the T3 file: a prime, so that its period is no whole number of picoseconds."""

_FINE_PS = 16
_WRAP = 1 << 10
_OVERFLOW = 0x7F << 25


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A format to measure.

    Attributes:
        case: its name.
        unit: what is counted: events or records.
        write: makes the file.
        tolerance_ps: how far times may lie from those written.
        reference: another reading of the file, or None where its library is not installed.
        against: what that is.
    """

    case: str
    unit: str
    write: Callable[[Path, TimeTags], None]
    tolerance_ps: int
    reference: Callable[[Path], object] | None
    against: str


def run(rng: Generator, *, events: int = 8_000_000, repeats: int = 5) -> Result:
    """Measure every format.

    Args:
        rng: draws the clicks.
        events: clicks in each file, at least one.
        repeats: timed readings of each, whose median counts.

    Returns:
        A row per format; headline `mevents_per_s`: the one of S-Fifteen a1.
    """
    gaps = rng.exponential(MEAN_GAP_PS, events).astype(np.int64)
    tags = TimeTags(np.cumsum(gaps), rng.integers(0, DETECTORS, events, dtype=np.uint8))
    with tempfile.TemporaryDirectory(prefix="qkd-bench-") as folder:
        rows = tuple(_measure(case, tags, Path(folder), repeats) for case in _cases())
    return Result(headline={"mevents_per_s": rows[0].value}, rows=rows)


def _cases() -> tuple[_Case, ...]:
    return (
        _Case(
            case="s-fifteen a1",
            unit="Mevents/s",
            write=s15.write_a1,
            tolerance_ps=2,
            reference=_plain_a1,
            against="numpy fromfile and shift, times left in units",
        ),
        _Case(
            case="picoquant ptu t2",
            unit="Mrecords/s",
            write=ptu.write_ptu,
            tolerance_ps=0,
            reference=_ptufile(),
            against="ptufile decode_records",
        ),
        _Case(
            case="picoquant ptu t3",
            unit="Mrecords/s",
            write=_write_t3,
            tolerance_ps=_FINE_PS,
            reference=_ptufile(),
            against="ptufile decode_records, pulses and fine times left apart",
        ),
    )


def _measure(case: _Case, tags: TimeTags, folder: Path, repeats: int) -> Row:
    path = folder / "tags"
    case.write(path, tags)
    records = _check(case, read(path), tags)
    per_second = records / 1e6 / median_seconds(lambda: read(path), repeats=repeats)
    reference = case.reference
    plain = None
    if reference is not None:
        plain = records / 1e6 / median_seconds(lambda: reference(path), repeats=repeats)
    return Row(
        case=case.case,
        value=per_second,
        unit=case.unit,
        reference=plain,
        against=case.against,
        details={"records": records, "bytes": path.stat().st_size},
    )


def _check(case: _Case, recording: Recording, tags: TimeTags) -> int:
    """Number of records, once it is sure that they are the right ones."""
    off = np.abs(np.sort(recording.tags.t_ps) - tags.t_ps)
    if recording.tags.counts() != tags.counts() or int(off.max()) > case.tolerance_ps:
        raise AssertionError(f"{case.case}: what was read is not what was written: a bug of ours")
    return recording.records


def _plain_a1(path: Path) -> object:
    raw = np.fromfile(path, "<u8")
    return raw >> np.uint64(10), (raw & np.uint64(15)).astype(np.uint8)


def _ptufile() -> Callable[[Path], object] | None:
    try:
        import ptufile
    except ImportError:
        return None

    def decode(path: Path) -> object:
        with ptufile.PtuFile(path) as file:
            records: Any = file.decode_records()
        return records

    return decode


def _write_t3(path: Path, tags: TimeTags) -> None:
    """The clicks as a HydraHarp 2 would have written them in T3, behind a sync of SYNC_HZ."""
    # Whole seconds apart: 10^12 times less than SYNC_HZ stays below 2^63.
    seconds, rest = np.divmod(tags.t_ps, PS_PER_S)
    pulse = rest * SYNC_HZ // PS_PER_S
    fine = (rest - pulse * PS_PER_S // SYNC_HZ) // _FINE_PS
    pulse += seconds * SYNC_HZ
    turns = np.diff(pulse // _WRAP, prepend=0)
    place = np.arange(len(tags)) + np.cumsum(turns > 0)
    words = np.full(int(place[-1]) + 1, _OVERFLOW, np.int64)
    words[place[turns > 0] - 1] += turns[turns > 0]
    words[place] = tags.channel.astype(np.int64) << 25 | fine << 10 | pulse % _WRAP
    header: dict[str, Value] = {
        "Measurement_Mode": 3,
        "Measurement_SubMode": 0,
        "TTResultFormat_TTTRRecType": 0x01010304,
        "TTResultFormat_BitsPerRecord": 32,
        "MeasDesc_Resolution": _FINE_PS * 1e-12,
        "MeasDesc_GlobalResolution": 1 / SYNC_HZ,
        "TTResult_SyncRate": SYNC_HZ,
        "TTResult_NumberOfRecords": words.size,
    }
    write_atomically(path, build_header(header) + words.astype("<u4").tobytes())
