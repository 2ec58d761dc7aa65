"""Files in the native format: written as tags come, read chunk by chunk in bounded memory, repaired only on request.

A damaged or missing chunk is an error that names its byte. With `repair` it is left out and counted instead, and the
search goes on at the next chunk that proves itself by its checksum; nothing is ever guessed. The bytes themselves are
described in `native_codec`.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from distribution.errors import ParameterError, TagFormatError
from distribution.formats.native_codec import (
    BLOCK_BYTES,
    CHUNK_MAGIC,
    END_MAGIC,
    HEADER_BYTES,
    MAGIC,
    MAX_EVENTS,
    REPAIR_HINT,
    ChunkHead,
    End,
    NativeHeader,
    decode_chunk,
    decode_head,
    decode_header,
    encode_chunk,
    encode_end,
    encode_header,
    is_sealed,
)
from distribution.formats.recording import Format, Recording, write_atomically
from distribution.kernels.rice import to_units
from distribution.tags import EMPTY, TimeTags, join

__all__ = ["MAGIC", "NativeHeader", "NativeReader", "NativeWriter", "read_native", "write_native"]

CHUNK_EVENTS = 1 << 15

_SCAN_BYTES = 1 << 16
_BLOCK_MAGIC = re.compile(CHUNK_MAGIC + b"|" + END_MAGIC)


class NativeWriter:
    """Writes tags as they come; what is written so far can be read, with `repair`, even if the end never comes.

    Args:
        file: open for writing bytes; stays open.
        header: of the file.
        chunk_events: events a chunk; memory, and what one damaged byte costs, grow with it.

    Attributes:
        events: tags accepted so far.
        rounded: how many of those written do not come back exactly, because the unit does not divide them.
    """

    def __init__(self, file: BinaryIO, header: NativeHeader, *, chunk_events: int = CHUNK_EVENTS) -> None:
        if not 1 <= chunk_events <= MAX_EVENTS:
            raise ParameterError(f"chunk_events must lie in [1, {MAX_EVENTS}], got {chunk_events}")
        self._file, self._header, self._chunk_events = file, header, chunk_events
        self._waiting = EMPTY
        self._chunks = 0
        self._last = 0
        self.events = 0
        self.rounded = 0
        file.write(encode_header(header))

    def append(self, tags: TimeTags) -> None:
        """Add tags that follow those before.

        Raises:
            TagFormatError: they start before the last ones ended.
            ParameterError: out of order among themselves, or 53 days or more from t = 0 (less in units below 1 ps).
        """
        if not len(tags):
            return
        largest_ps = int(self._header.limit * self._header.unit_ps)
        if (tags.t_ps[1:] < tags.t_ps[:-1]).any() or max(-int(tags.t_ps[0]), int(tags.t_ps[-1])) > largest_ps:
            raise ParameterError(f"times to write must ascend and stay within {largest_ps} ps of t = 0")
        waiting = join(self._waiting, tags)
        whole = len(waiting) // self._chunk_events * self._chunk_events
        for start in range(0, whole, self._chunk_events):
            self._write(waiting, slice(start, start + self._chunk_events))
        self._waiting = TimeTags(waiting.t_ps[whole:].copy(), waiting.channel[whole:].copy())
        self.events += len(tags)

    def finish(self) -> None:
        """Write what waits, and the end block; nothing can be added any more."""
        if len(self._waiting):
            self._write(self._waiting, slice(None))
            self._waiting = EMPTY
        self._file.write(encode_end(End(self._chunks, self.events, self._last)))

    def __enter__(self) -> NativeWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.finish()

    def _write(self, tags: TimeTags, part: slice) -> None:
        t_ps = np.ascontiguousarray(tags.t_ps[part])
        units = np.empty(t_ps.size, np.int64)
        self.rounded += to_units(t_ps, *self._header.scale, units)
        if self._chunks and units[0] < self._last:
            raise TagFormatError(f"tags at {t_ps[0]} ps follow later ones: time runs backwards")
        self._file.write(encode_chunk(self._chunks, units, np.ascontiguousarray(tags.channel[part])))
        self._chunks += 1
        self._last = int(units[-1])


class NativeReader:
    """Reads a file chunk by chunk: iterate for the tags, then look at the counts.

    Args:
        file: open for reading bytes, seekable; stays open.
        name: what to call it in messages.
        repair: leave damaged or missing stretches out and count them, instead of raising.
        room: arrays to put the tags into, one chunk behind the other, as long as they fit; what does not fit
            gets arrays of its own.

    Attributes:
        header: of the file.
        events: tags read so far.
        damaged: stretches left out so far; an end that is missing is one.
        lost: events left out, once the end block was read; until then, or without one, None.

    Raises:
        TagFormatError: no header that can be read.
    """

    def __init__(self, file: BinaryIO, name: str, *, repair: bool = False, room: TimeTags = EMPTY) -> None:
        self._file, self._name, self._repair, self._room = file, name, repair, room
        self.header = decode_header(self._bytes(0, HEADER_BYTES), name)
        self.events = 0
        self.damaged = 0
        self.lost: int | None = None
        self._due = 0
        self._last: int | None = None
        self._skipped = False

    def __iter__(self) -> Iterator[TimeTags]:
        """The tags of every chunk, in order.

        Raises:
            TagFormatError: damage or a missing end, unless `repair`.
        """
        at = HEADER_BYTES
        while True:
            try:
                head = self._head(at)
                if isinstance(head, End):
                    self._finish(head, at)
                    return
                tags = self._tags(head, at)
            except TagFormatError:
                if not self._repair:
                    raise
                self._skipped = True
                found = self._search(at + 1)
                if found is None:
                    self.damaged += 1
                    return
                at = found
                continue
            at += BLOCK_BYTES + head.payload_bytes
            yield tags

    def _head(self, at: int) -> ChunkHead | End:
        block = self._bytes(at, BLOCK_BYTES)
        if not block:
            raise self._refuse("the end block is missing: the file was cut", at)
        return decode_head(block, at, self._name)

    def _tags(self, head: ChunkHead, at: int) -> TimeTags:
        start = at + BLOCK_BYTES
        tags = self._place(head.events)
        last = decode_chunk(self.header, head, self._bytes(start, head.payload_bytes), tags, start, self._name)
        if head.index < self._due or (head.index > self._due and not self._repair):
            raise self._refuse(f"chunk {head.index} stands where {self._due} is due", at)
        if self._last is not None and head.first < self._last:
            raise self._refuse(f"chunk {head.index} begins before the one ahead of it ends", at)
        self._count_gap(head.index)
        self._due, self._last = head.index + 1, last
        self.events += len(tags)
        return tags

    def _place(self, events: int) -> TimeTags:
        """Where the tags of the next chunk go."""
        part = slice(self.events, self.events + events)
        if part.stop <= len(self._room):
            return TimeTags(self._room.t_ps[part], self._room.channel[part])
        return TimeTags(np.empty(events, np.int64), np.empty(events, np.uint8))

    def _finish(self, end: End, at: int) -> None:
        if self._bytes(at + BLOCK_BYTES, 1):
            raise self._refuse("something follows the end of the file", at + BLOCK_BYTES)
        whole = (end.chunks, end.events, end.last) == (self._due, self.events, self._last or 0)
        if not whole and not self._repair:
            raise self._refuse(f"the end counts {end.events} events in {end.chunks} chunks, {self.events} came", at)
        self._count_gap(end.chunks)
        self.lost = max(0, end.events - self.events)

    def _count_gap(self, index: int) -> None:
        self.damaged += self._skipped or index != self._due
        self._skipped = False

    def _search(self, at: int) -> int | None:
        """Where the next block with a good checksum begins, at or after `at`."""
        while len(piece := self._bytes(at, _SCAN_BYTES)) >= BLOCK_BYTES:
            for found in _BLOCK_MAGIC.finditer(piece):
                if is_sealed(piece[found.start() : found.start() + BLOCK_BYTES], BLOCK_BYTES):
                    return at + found.start()
            at += len(piece) - BLOCK_BYTES + 1
        return None

    def _bytes(self, at: int, count: int) -> bytes:
        self._file.seek(at)
        return self._file.read(count)

    def _refuse(self, message: str, at: int) -> TagFormatError:
        return TagFormatError(f"{self._name}: {message}", offset=at, hint=REPAIR_HINT)


def read_native(path: Path | str, *, repair: bool = False) -> Recording:
    """Read a whole file.

    Args:
        path: the file.
        repair: leave damaged stretches out; the recording's `damaged` and `lost` count them.

    Raises:
        TagFormatError: damage, unless `repair`; or no chunk that is whole in a file that is not empty.
    """
    name = Path(path).name
    with Path(path).open("rb") as file:
        events = _stated_events(file)
        room = TimeTags(np.empty(events, np.int64), np.empty(events, np.uint8))
        reader = NativeReader(file, name, repair=repair, room=room)
        chunks = list(reader)
    if reader.damaged and not chunks:
        raise TagFormatError(f"{name}: no chunk of it is whole", offset=HEADER_BYTES)
    header = reader.header
    return Recording(
        # What fits into the room lies there one behind the other; a whole file does.
        tags=TimeTags(room.t_ps[: reader.events], room.channel[: reader.events])
        if reader.events <= events
        else _joined(chunks),
        format=Format.NATIVE,
        resolution_ps=float(header.unit_ps),
        records=reader.events,
        device=header.device,
        clock_id=header.clock_id,
        start_unix_ns=header.start_unix_ns,
        damaged=reader.damaged,
        lost=reader.lost if repair else 0,
    )


def write_native(path: Path, tags: TimeTags, header: NativeHeader) -> int:
    """Write all tags as one file, atomically; returns how many do not come back exactly.

    Raises:
        ParameterError: as `NativeWriter.append`.
    """
    buffer = io.BytesIO()
    with NativeWriter(buffer, header) as writer:
        writer.append(tags)
    write_atomically(Path(path), buffer.getbuffer())
    return writer.rounded


def write_tags(
    path: Path,
    tags: TimeTags,
    *,
    unit_ps: Fraction = Fraction(1),
    device: str = "",
    clock_id: str = "",
    start_unix_ns: int | None = None,
) -> None:
    """Write all tags as one file, atomically; arguments as in `NativeHeader`, a device of any length.

    Raises:
        ParameterError: as `NativeWriter.append`.
    """
    short = device.encode()[:60].decode(errors="ignore")
    header = NativeHeader(unit_ps=unit_ps, device=short, clock_id=clock_id, start_unix_ns=start_unix_ns)
    write_native(path, tags, header)


def _stated_events(file: BinaryIO) -> int:
    """How many events the end block states, if there is one and the file could hold so many: each takes a bit."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - BLOCK_BYTES))
    try:
        end = decode_head(file.read(), 0, "")
    except TagFormatError:
        return 0
    return end.events if isinstance(end, End) and end.events <= 8 * size else 0


def _joined(chunks: list[TimeTags]) -> TimeTags:
    if not chunks:
        return EMPTY
    return TimeTags(np.concatenate([c.t_ps for c in chunks]), np.concatenate([c.channel for c in chunks]))
