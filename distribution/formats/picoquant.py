"""PicoQuant's containers from before PTU: ht2 and ht3 (HydraHarp 1.0, 2.0), pt2 and pt3 (PicoHarp 2.0), t3r (TimeHarp
200, 5.0).

Each is a text block, fixed binary blocks, and 32-bit records; what the records mean stands in `tttr`. Block layouts as
in PicoQuant's file access demos, checked on the samples of libpicoquant (BSD-3) and its decoded lists. Peculiarities:

* HydraHarp 1.0 counts half picoseconds in T2, and its header says so.
* The TimeHarp 200 keeps its coarse time on a 100 ns clock that knows nothing of the laser, so that its fine time
  (pulse to photon) cannot be added: times are good to 100 ns.
* libpicoquant's own samples are cut off after some records, with the count of the whole recording in the header. What
  is there is read, and `Recording.lost` says how many records are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from distribution.errors import ParameterError, TagFormatError
from distribution.formats import tttr
from distribution.formats.recording import Format, Recording
from distribution.formats.tttr import Layout, Timing

Block = Any  # one element of a structured array

_I4 = "<i4"
_HEAD_BYTES = 1 << 16
_T2_MODE, _T3_MODE = 2, 3
_MAX_INPUTS, _MAX_EXTRA_WORDS = 64, 1 << 12
_MAX_RECORDS = 1 << 40


def _fields(*names: str) -> list[tuple[str, str]]:
    return [(name, _I4) for name in names]


_STOP = _fields("offset", "acquisition_ms", "stop_at", "stop_on_overflow", "restart", "log_scale")
_DISPLAY = [
    ("axes", "<i4", 4),
    ("curves", "<i4", 16),
    ("parameters", "<f4", 9),
    ("repeat", "<i4", 4),
    ("script", "S20"),
]
_TEXT = [("ident", "S16"), ("version", "S6"), ("creator", "S18"), ("creator_version", "S12")]
_TEXT += [("time", "S18"), ("line_end", "S2"), ("comment", "S256")]

_HYDRAHARP = np.dtype(
    [
        *_TEXT,
        *_fields("curve_count", "bits", "active_curve", "mode", "sub_mode", "binning"),
        ("resolution_ps", "<f8"),
        *_STOP,
        *_DISPLAY,
        ("hardware", "S16"),
        ("part", "S8"),
        *_fields("serial", "module_count"),
        ("modules", "<i4", 20),
        ("base_resolution_ps", "<f8"),
        ("enabled", "<u8"),
        *_fields("inputs", "clock", "external", "markers", "divider", "level", "zero_crossing", "sync_offset"),
    ]
)
_HYDRAHARP_INPUT_BYTES = 20
_HYDRAHARP_END = np.dtype([*_fields("sync_rate", "stop_after_ms", "stop_reason", "extra_words"), ("records", "<u8")])

_PICOHARP = np.dtype(
    [
        *_TEXT,
        *_fields("curve_count", "bits", "routing", "boards", "active_curve", "mode", "sub_mode", "range"),
        *_STOP,
        *_DISPLAY,
        ("hardware", "S16"),
        ("hardware_version", "S8"),
        *_fields("serial", "divider"),
        ("discriminators", "<i4", 4),
        ("resolution_ns", "<f4"),
        ("router", "<i4", 26),
        *_fields(
            "external", "reserved_1", "reserved_2", "sync_rate", "rate", "stop_after_ms", "stop_reason", "records"
        ),
        *_fields("extra_words"),
    ]
)

_TIMEHARP = np.dtype(
    [
        ("ident", "S16"),
        ("version", "S6"),
        ("hardware_version", "S6"),
        ("time", "S18"),
        ("line_end", "S2"),
        ("comment", "S256"),
        *_fields("channels", "curve_count", "bits", "routing", "boards", "active_curve", "mode", "sub_mode", "range"),
        *_STOP,
        *_DISPLAY,
        *_fields("serial", "zero_crossing", "level", "sync_level", "curve_offset"),
        ("resolution_ns", "<f4"),
        *_fields("clock_ns"),
        ("reserved", "<i4", 6),
        *_fields("sync_rate", "rate", "stop_after_ms", "stop_reason", "records", "extra_words"),
    ]
)


@dataclass(frozen=True, slots=True)
class _Header:
    """What every one of these headers comes down to."""

    form: Format
    layout: Layout
    timing: Timing
    resolution_ps: float
    start: int
    declared: int
    device: str


def read_picoquant(path: Path | str, *, sync_period_ps: Fraction | float | None = None) -> Recording:
    """Read an ht2, ht3, pt2, pt3 or t3r file.

    Args:
        path: the file, whatever its suffix.
        sync_period_ps: for ht3 and pt3: the period of the sync input, ps, where the caller knows it better.

    Returns:
        The recording; channels are the file's input numbers, sync events of T2 `tttr.SYNC_CHANNEL`.

    Raises:
        TagFormatError: another format or version, a damaged header, more records than declared, times out of order,
            or a header that its records refute.
        ParameterError: a sync period that is absurd, or given for a file that needs none.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for ident, parse in _PARSERS.items():
        if head.startswith(ident):
            return _read(path, parse(head, path.name, sync_period_ps))
    raise TagFormatError(f"{path.name} is no older PicoQuant container", offset=0)


def _read(path: Path, header: _Header) -> Recording:
    held, beyond = divmod(path.stat().st_size - header.start, tttr.RECORD_BYTES)
    if held < 0:
        raise TagFormatError(f"{path.name}: its records would begin at byte {header.start}, behind its end", offset=0)
    if not 0 <= header.declared <= _MAX_RECORDS:
        raise TagFormatError(f"{path.name}: the header declares {header.declared} records")
    if held > header.declared:
        end = header.start + header.declared * tttr.RECORD_BYTES
        raise TagFormatError(
            f"{path.name}: {header.declared} records declared, the file holds {held + beyond / tttr.RECORD_BYTES:g}",
            offset=end,
            hint="something was appended to the file",
        )
    photons = tttr.decode(path, header.layout, header.timing, start=header.start, records=held)
    return Recording(
        tags=photons.tags,
        format=header.form,
        resolution_ps=header.resolution_ps,
        records=held,
        overflows=photons.overflows,
        markers=photons.markers,
        reordered=photons.reordered,
        lost=header.declared - held,
        device=header.device,
    )


def _hydraharp(head: bytes, name: str, override_ps: Fraction | float | None) -> _Header:
    block = _block(head, _HYDRAHARP, 0, name)
    version = _version(block, ("1.0", "2.0"), name)
    inputs = _bounded(block["inputs"], _MAX_INPUTS, "inputs", name)
    at = _HYDRAHARP.itemsize + inputs * _HYDRAHARP_INPUT_BYTES
    end = _block(head, _HYDRAHARP_END, at, name)
    resolution = _resolution(float(block["resolution_ps"]), name)
    if int(block["mode"]) == _T2_MODE:
        layout = tttr.HYDRAHARP_V1_T2 if version == "1.0" else tttr.HARP_T2
        form, timing = Format.HT2, _t2_timing(resolution, override_ps, name)
    else:
        layout = tttr.HYDRAHARP_V1_T3 if version == "1.0" else tttr.HARP_T3
        form, timing = Format.HT3, _t3_timing(block, end, resolution, override_ps, name)
    start = at + _HYDRAHARP_END.itemsize + _extra(end, name)
    return _Header(form, layout, timing, float(resolution), start, int(end["records"]), _text(block["hardware"]))


def _picoharp(head: bytes, name: str, override_ps: Fraction | float | None) -> _Header:
    block = _block(head, _PICOHARP, 0, name)
    _version(block, ("2.0",), name)
    resolution = _resolution(float(block["resolution_ns"]) * 1000, name)
    if int(block["mode"]) == _T2_MODE:
        resolution = Fraction(4)  # T2 always counts in the base resolution, whatever the histograms had
        form, layout, timing = Format.PT2, tttr.PICOHARP_T2, _t2_timing(resolution, override_ps, name)
    else:
        form, layout = Format.PT3, tttr.PICOHARP_T3
        timing = _t3_timing(block, block, resolution, override_ps, name)
    start = _PICOHARP.itemsize + _extra(block, name)
    return _Header(form, layout, timing, float(resolution), start, int(block["records"]), _text(block["hardware"]))


def _timeharp(head: bytes, name: str, override_ps: Fraction | float | None) -> _Header:
    block = _block(head, _TIMEHARP, 0, name)
    _version(block, ("5.0",), name)
    if int(block["boards"]) != 1 or int(block["mode"]) != _T2_MODE:  # mode 2 is TTTR here
        raise TagFormatError(f"{name}: {block['boards']} boards in mode {block['mode']} are no TTTR recording")
    unit_ps = Fraction(int(block["clock_ns"]) * 1000)
    if not 1000 <= unit_ps <= 10**9:
        raise TagFormatError(f"{name}: a clock of {block['clock_ns']} ns is absurd")
    start = _TIMEHARP.itemsize + _extra(block, name)
    timing = _t2_timing(unit_ps, override_ps, name)
    return _Header(Format.T3R, tttr.TIMEHARP_200, timing, float(unit_ps), start, int(block["records"]), "TimeHarp 200")


_PARSERS: dict[bytes, Callable[[bytes, str, Fraction | float | None], _Header]] = {
    b"HydraHarp\0": _hydraharp,
    b"PicoHarp 300": _picoharp,
    b"TimeHarp 200": _timeharp,
}


def _t2_timing(unit_ps: Fraction, override_ps: Fraction | float | None, name: str) -> Timing:
    if override_ps is not None:
        raise ParameterError(f"sync_period_ps is for T3 recordings, {name} counts time itself")
    return Timing(unit_ps)


def _t3_timing(block: Block, end: Block, fine_ps: Fraction, override_ps: Fraction | float | None, name: str) -> Timing:
    if int(block["mode"]) != _T3_MODE:
        raise TagFormatError(f"{name}: measurement mode {block['mode']} has no time tags")
    period_ps = Fraction(0) if override_ps is not None else tttr.period_of(0.0, int(end["sync_rate"]), name)
    return tttr.t3_timing(period_ps, fine_ps, max(0, int(end["stop_after_ms"])), override_ps)


def _block(head: bytes, dtype: np.dtype[Any], at: int, name: str) -> Block:
    if len(head) < at + dtype.itemsize:
        raise TagFormatError(f"{name}: the header is cut short", offset=len(head))
    return np.frombuffer(head, dtype, count=1, offset=at)[0]


def _version(block: Block, known: tuple[str, ...], name: str) -> str:
    version = _text(block["version"])
    if version not in known:
        raise TagFormatError(
            f"{name}: {_text(block['ident'])} format version {version!r}, known: {', '.join(known)}",
            offset=16,
            hint="convert it to PTU with PicoQuant's software",
        )
    return version


def _resolution(resolution_ps: float, name: str) -> Fraction:
    if not 0.01 <= resolution_ps <= 1e6:
        raise TagFormatError(f"{name}: a resolution of {resolution_ps!r} ps is absurd")
    return Fraction(resolution_ps).limit_denominator(1000)


def _extra(block: Block, name: str) -> int:
    """Bytes of the imaging header between the last block and the records."""
    return _bounded(block["extra_words"], _MAX_EXTRA_WORDS, "words of imaging header", name) * 4


def _bounded(value: Any, limit: int, what: str, name: str) -> int:
    if not 0 <= int(value) <= limit:
        raise TagFormatError(f"{name}: the header claims {int(value)} {what}, at most {limit} are possible")
    return int(value)


def _text(raw: bytes) -> str:
    return bytes(raw).split(b"\0", 1)[0].decode("latin-1").strip()
