"""Swabian Time Tagger raw dumps (the `Dump` measurement): 16-byte records, little-endian, without a header.

A record is {uint8 type, uint8 reserved, uint16 missed events, int32 channel, int64 time in ps}, the `Tag` of Swabian's
C++ API. Types: 0 a tag, 1 an error, 2 and 3 begin and end of a stretch in which the buffer was full, 4 events of a
channel that were missed in it. Only tags are detections; the others are counted as overflows, and the missed events as
lost.

Swabian numbers a falling edge of input n as -n. Channels here are unsigned, so rising n is channel n and falling n is
channel 128 + n. Nothing in the file says what it is: it is recognised by records that make sense.

Swabian's newer .ttbin files are not read: their format is documented through Swabian's closed library only, and that
(version 2.22.6) makes and replays them only on computers to which a Time Tagger has once been connected.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError, TagFormatError
from distribution.formats.recording import Format, Recording, settle_order, write_atomically
from distribution.tags import Channels, TimeTags

RECORD = np.dtype([("type", "u1"), ("reserved", "u1"), ("missed", "<u2"), ("channel", "<i4"), ("time", "<i8")])
FALLING = 128
"""Added to the number of an input to name its falling edge."""

_MAX_INPUT = FALLING - 1
_MAX_TIME_PS = 1 << 62


class TagType(IntEnum):
    """What a record is."""

    TIME_TAG = 0
    ERROR = 1
    OVERFLOW_BEGIN = 2
    OVERFLOW_END = 3
    MISSED_EVENTS = 4


def read_swabian(path: Path | str) -> Recording:
    """Read a raw dump.

    Args:
        path: the file.

    Returns:
        The recording; channels 0..127 are rising edges, 129..255 falling edges.

    Raises:
        TagFormatError: empty, cut inside a record, a record that no Time Tagger writes, or times out of order.
    """
    path = Path(path)
    size = path.stat().st_size
    if size == 0 or size % RECORD.itemsize:
        rest = size % RECORD.itemsize
        raise TagFormatError(
            f"{path.name}: the last record has {rest} of {RECORD.itemsize} bytes", offset=size - rest, hint="cut short"
        )
    records = np.fromfile(path, RECORD)
    sound = _sound(records)
    if not sound.all():
        i = int(np.argmin(sound))
        kind, _, missed, channel, time = records[i].item()
        raise TagFormatError(
            f"{path.name}: record {i} is of type {kind}, channel {channel}, time {time}, {missed} missed:"
            " no Time Tagger writes that",
            offset=i * RECORD.itemsize,
        )
    settle_order(
        np.ascontiguousarray(records["time"]), depth_ps=0, what=path.name, header_bytes=0, record_bytes=RECORD.itemsize
    )
    is_tag = records["type"] == TagType.TIME_TAG
    tags = records[is_tag]
    edge = tags["channel"]
    return Recording(
        tags=TimeTags(tags["time"].astype(np.int64), np.where(edge < 0, FALLING - edge, edge).astype(np.uint8)),
        format=Format.SWABIAN_DUMP,
        resolution_ps=1.0,
        records=records.size,
        overflows=int(np.count_nonzero(~is_tag)),
        lost=int(records["missed"][records["type"] == TagType.MISSED_EVENTS].sum(dtype=np.int64)),
        device="Swabian Time Tagger",
    )


def write_swabian(path: Path, tags: TimeTags) -> None:
    """Write tags as a raw dump, atomically; every tag comes back exactly.

    Raises:
        ParameterError: channel 128, which names no edge, or a time of more than 53 days.
    """
    write_atomically(Path(path), encode_dump(tags.t_ps, tags.channel))


def encode_dump(t_ps: npt.NDArray[np.int64], channel: Channels) -> bytes:
    """Tags as 16-byte records.

    Args:
        t_ps: shape (n,), int64, ps, ascending.
        channel: shape (n,), uint8: 0..127 rising, 129..255 falling edges.

    Raises:
        ParameterError: channel 128, or a time beyond +-53 days.
    """
    if (channel == FALLING).any():
        raise ParameterError(f"channel {FALLING} names no edge: falling edges are {FALLING} + input, inputs from 1")
    if t_ps.size and max(abs(int(t_ps[0])), abs(int(t_ps[-1]))) >= _MAX_TIME_PS:
        raise ParameterError(f"times reach {t_ps[-1]} ps, more than 53 days")
    records = np.zeros(t_ps.size, RECORD)
    records["time"] = t_ps
    edge = channel.astype(np.int32)
    records["channel"] = np.where(edge > FALLING, FALLING - edge, edge)
    return records.tobytes()


def fits(head: bytes) -> bool:
    """True if the head of a file reads as sensible records (for format detection).

    To be taken for one of these by chance, sixteen bytes of anything else need a zero in the second, a number below
    five in the first, and zeros or ones in the upper bits of both numbers; and then times must ascend besides.
    """
    records = np.frombuffer(head[: len(head) // RECORD.itemsize * RECORD.itemsize], RECORD)
    if not records["time"].any():
        return False
    return bool(_sound(records).all() and (np.diff(records["time"]) >= 0).all())


def _sound(records: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    is_missed = records["type"] == TagType.MISSED_EVENTS
    return (
        (records["type"] <= max(TagType))
        & (records["reserved"] == 0)
        & ((records["missed"] == 0) | is_missed)
        & (np.abs(records["channel"].astype(np.int64)) <= _MAX_INPUT)
        & (np.abs(records["time"] // 2) < _MAX_TIME_PS // 2)
    )
