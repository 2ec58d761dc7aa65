"""Tags in files that any program can write: NPZ (fast, exact) and CSV (readable).

NPZ: arrays `t_ps` (int64) and `channel` (uint8), optionally the scalar `resolution_ps` and the text `device`.
CSV: a line per tag, `t_ps,channel`, both integers; comma, semicolon, tab or blanks between them; an optional
heading `t_ps,channel`; lines that start with # are comments. Times are whole picoseconds in both: seconds
written as decimals lose picoseconds. Both must ascend: whoever writes them can sort them.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distribution.errors import TagFormatError
from distribution.formats.recording import Format, Recording, settle_order, write_atomically
from distribution.tags import EMPTY, TimeTags

NPZ_MAGIC = b"PK\x03\x04"
TEXT_BYTES = bytes(range(0x20, 0x7F)) + b"\t\r\n"

_LINE = re.compile(rb"[ \t]*([+-]?\d{1,19})[ \t]*[,;\t ][ \t]*(\d{1,3})[ \t]*")
_HEADING = re.compile(rb"[ \t]*t_ps[ \t]*[,;\t ][ \t]*channel[ \t]*", re.IGNORECASE)


def read_npz(path: Path | str) -> Recording:
    """Read tags from an NPZ archive.

    Raises:
        TagFormatError: no archive, damaged, arrays missing or of another type, or times out of order.
    """
    name = Path(path).name
    arrays = _load(Path(path), name)
    missing = {"t_ps", "channel"} - arrays.keys()
    if missing:
        raise TagFormatError(
            f"{name} has no array {' nor '.join(sorted(missing))}, only {sorted(arrays)}",
            hint="save with numpy.savez(file, t_ps=int64 array, channel=uint8 array)",
        )
    t_ps, channel = arrays["t_ps"], arrays["channel"]
    if t_ps.dtype != np.int64 or channel.dtype != np.uint8 or t_ps.ndim != 1 or t_ps.shape != channel.shape:
        raise TagFormatError(
            f"{name}: needs equal vectors of int64 and uint8, got t_ps {t_ps.dtype}{t_ps.shape}"
            f" and channel {channel.dtype}{channel.shape}"
        )
    settle_order(t_ps, depth_ps=0, what=name, header_bytes=0, record_bytes=0)
    return Recording(
        tags=TimeTags(t_ps, channel),
        format=Format.NPZ,
        resolution_ps=_resolution(arrays.get("resolution_ps"), name),
        records=t_ps.size,
        device=str(arrays["device"])[:200] if "device" in arrays else "",
    )


def write_npz(path: Path, tags: TimeTags, *, resolution_ps: float = 1.0, device: str = "") -> None:
    """Write tags as an NPZ archive, atomically."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        t_ps=tags.t_ps,
        channel=tags.channel,
        resolution_ps=np.float64(resolution_ps),
        device=np.str_(device),
    )
    write_atomically(Path(path), buffer.getbuffer())


def read_csv(path: Path | str) -> Recording:
    """Read tags from text.

    Raises:
        TagFormatError: a line that is no tag, with its byte offset; no tag at all; times out of order.
    """
    name = Path(path).name
    tags, starts = _parse(Path(path).read_bytes(), name)
    if not len(tags):
        raise TagFormatError(f"{name} holds no tag", offset=0)
    back = np.flatnonzero(np.diff(tags.t_ps) < 0)
    if back.size:
        i = int(back[0]) + 1
        raise TagFormatError(
            f"{name}: tag {i} is {tags.t_ps[i - 1] - tags.t_ps[i]} ps earlier than the one before it",
            offset=starts[i],
            hint="sort the lines by time",
        )
    return Recording(tags=tags, format=Format.CSV, resolution_ps=1.0, records=len(tags))


def write_csv(path: Path, tags: TimeTags) -> None:
    """Write tags as text with a heading, atomically."""
    lines = [f"{t},{c}" for t, c in zip(tags.t_ps.tolist(), tags.channel.tolist(), strict=True)]
    write_atomically(Path(path), "\n".join(["t_ps,channel", *lines, ""]).encode("ascii"))


def _load(path: Path, name: str) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in ("t_ps", "channel", "resolution_ps", "device") if key in archive.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # zip, zlib and npy parsing raise a dozen kinds; all mean a damaged file
        raise TagFormatError(f"{name} is no readable NPZ archive: {str(error)[:120]}", offset=0) from error


def _resolution(value: npt.NDArray[Any] | None, name: str) -> float:
    if value is None:
        return 1.0
    if value.shape != () or value.dtype.kind not in "fiu" or not 1e-3 <= float(value.item()) <= 1e9:
        raise TagFormatError(f"{name}: resolution_ps must be one number in [0.001, 1e9]")
    return float(value.item())


def _parse(text: bytes, name: str) -> tuple[TimeTags, list[int]]:
    """The tags, and the byte at which each one's line starts."""
    times: list[int] = []
    channels: list[int] = []
    starts: list[int] = []
    at = 0
    heading_allowed = True
    for line in text.split(b"\n"):
        body = line.rstrip(b"\r")
        match = _LINE.fullmatch(body)
        if match and int(match[2]) < 256 and abs(int(match[1])) < 1 << 63:
            times.append(int(match[1]))
            channels.append(int(match[2]))
            starts.append(at)
            heading_allowed = False
        elif body.strip() and not body.startswith(b"#"):
            if not (heading_allowed and _HEADING.fullmatch(body)):
                raise TagFormatError(
                    f"{name}: {body[:40]!r} is no tag",
                    offset=at,
                    hint="a line is t_ps,channel: whole picoseconds and a detector number below 256",
                )
            heading_allowed = False
        at += len(line) + 1
    if not times:
        return EMPTY, starts
    return TimeTags(np.array(times, np.int64), np.array(channels, np.uint8)), starts
