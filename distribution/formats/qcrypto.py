"""Files of qcrypto packets, and type 1 as a recording: the raw events of a high-rate side, epoch by epoch.

A file holds one packet (named by its epoch, eight hex digits) or several in a row. Types 2, 3 and 4 carry no detectors
and stay packets: type 2 times and bases, type 3 outcomes, type 4 the entries that were accepted. The bytes are
described in `qcrypto_codec`; type 7, final key, belongs to whoever keeps keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from distribution.errors import TagFormatError
from distribution.formats.qcrypto_codec import COUNTER_EPOCHS, EXTENDED, Epoch, Packet, RawEvents, decode, encode
from distribution.formats.recording import Format, Recording, write_atomically
from distribution.formats.s15 import DETECTORS, RESOLUTION_PS, WRAP_PS, encode_words, recording_of
from distribution.tags import TimeTags, join

COUNTER_NS = COUNTER_EPOCHS << 29
"""The card's counter begins anew after this, ns."""

_RAW_HEAD_BYTES = 20


def fits(head: bytes) -> bool:
    """True if a file begins with the header of a type-1 packet (for format detection)."""
    if len(head) < _RAW_HEAD_BYTES:
        return False
    tag, number, _, bits, base_bits = (int.from_bytes(head[k : k + 4], "little") for k in range(0, 20, 4))
    named = tag == 1 | EXTENDED or (tag == 1 and number < COUNTER_EPOCHS)
    return named and (bits, base_bits) == (49, DETECTORS)


def read_packets(path: Path | str) -> list[Packet]:
    """All packets of a file, in order.

    Raises:
        TagFormatError: empty, or something in it is no packet of types 1 to 4.
    """
    name, data = Path(path).name, Path(path).read_bytes()
    return [packet for packet, _ in _located(data, name)]


def describe(path: Path) -> str:
    """What a file of packets without detectors is, in words; "" if it is none."""
    try:
        packets = read_packets(path)
    except TagFormatError:
        return ""
    kinds = {type(packet).__name__ for packet in packets}
    return f"{len(packets)} qcrypto packets ({', '.join(sorted(kinds))}) without detectors: no recording"


def write_packets(path: Path, packets: list[Packet]) -> None:
    """Write packets in a row, atomically.

    Raises:
        ParameterError: something in a packet does not fit its type.
    """
    write_atomically(Path(path), b"".join(encode(packet) for packet in packets))


def read_type1(path: Path | str) -> Recording:
    """Read a file of type-1 packets.

    Returns:
        The recording. Times are the card's, carried on where its counter begins anew; where the epochs count from
        1970, `start_unix_ns` says when t = 0 was.

    Raises:
        TagFormatError: other packets, damaged ones, epochs or events out of order, or no detection at all.
    """
    name, data = Path(path).name, Path(path).read_bytes()
    files = _Type1(name)
    for packet, at in _located(data, name):
        files.add(packet, at)
    return files.recording()


def write_type1(path: Path, tags: TimeTags, *, start_unix_ns: int | None = None) -> None:
    """Write tags as type-1 packets in a row, atomically; what survives, and what is refused, as in a1.

    Args:
        path: the file.
        tags: detections of channels 0..3.
        start_unix_ns: Unix time of t = 0. Where it is a multiple of 2^46 ns, which is when the card's counter began
            anew, epochs count from 1970; else by the counter.

    Raises:
        ParameterError: a channel above 3, or a negative time.
    """
    write_packets(path, list(type1_packets(tags, start_unix_ns=start_unix_ns)))


def type1_packets(tags: TimeTags, *, start_unix_ns: int | None = None) -> list[RawEvents]:
    """Tags as one packet for every epoch that has any; arguments as for `write_type1`."""
    words = np.frombuffer(encode_words(tags), "<u8")
    numbers = (words >> np.uint64(47)).astype(np.int64)
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    extended = start_unix_ns is not None and start_unix_ns >= 0 and start_unix_ns % COUNTER_NS == 0
    turn = (start_unix_ns or 0) // COUNTER_NS
    packets = []
    for start, stop in zip(starts, [*starts[1:], words.size], strict=True):
        if start and numbers[start] < numbers[start - 1]:
            turn += 1
        number = int(numbers[start]) + (turn * COUNTER_EPOCHS % (1 << 32) if extended else 0)
        packets.append(RawEvents(epoch=Epoch(number=number, extended=extended), words=words[start:stop]))
    return packets


def _located(data: bytes, name: str) -> list[tuple[Packet, int]]:
    if not data:
        raise TagFormatError(f"{name} is empty", offset=0)
    found, at = [], 0
    while at < len(data):
        packet, after = decode(data, at, what=name)
        found.append((packet, at))
        at = after
    return found


@dataclass(slots=True)
class _Type1:
    """What the packets of a file come to, added one by one."""

    name: str
    stretches: list[TimeTags] = field(default_factory=list)
    parts: list[Recording] = field(default_factory=list)
    first: Epoch | None = None
    last: Epoch | None = None
    turn: int = 0
    rollovers: int = 0
    idle: int = 0

    def add(self, packet: Packet, at: int) -> None:
        if not isinstance(packet, RawEvents):
            raise TagFormatError(f"{self.name}: a packet of another type among type 1", offset=at)
        self._follow(packet.epoch, at)
        if not ((packet.words & np.uint64(16)) == 0)[packet.words & np.uint64(15) > 0].any():
            self.idle += packet.words.size
            return
        part = recording_of(
            packet.words, legacy=False, format=Format.S15_T1, what=self.name, header_bytes=at + _RAW_HEAD_BYTES
        )
        self.parts.append(part)
        self.stretches.append(TimeTags(part.tags.t_ps + self.turn * WRAP_PS, part.tags.channel))

    def _follow(self, epoch: Epoch, at: int) -> None:
        """Epochs ascend; one that counts by the counter may begin anew."""
        before = self.last or epoch
        step = epoch.number - before.number
        if not epoch.extended and step < -COUNTER_EPOCHS // 2:
            step += COUNTER_EPOCHS
        if epoch.extended != before.extended or step < 0 or (self.last and not step):
            raise TagFormatError(f"{self.name}: epoch {epoch.number:08x} follows {before.number:08x}", offset=at + 4)
        turned = before.number % COUNTER_EPOCHS + step >= COUNTER_EPOCHS
        self.turn += (before.number % COUNTER_EPOCHS + step) // COUNTER_EPOCHS
        self.rollovers += turned
        self.first, self.last = self.first or epoch, epoch

    def recording(self) -> Recording:
        if not self.parts or self.first is None:
            raise TagFormatError(f"{self.name}: no event names a detector", offset=0)
        patterns: dict[int, int] = {}
        for part in self.parts:
            for pattern, count in part.patterns.items():
                patterns[pattern] = patterns.get(pattern, 0) + count
        since_1970 = self.first.number // COUNTER_EPOCHS * COUNTER_NS
        return Recording(
            tags=join(*self.stretches),
            format=Format.S15_T1,
            resolution_ps=RESOLUTION_PS,
            records=self.idle + sum(part.records for part in self.parts),
            dummies=self.idle + sum(part.dummies for part in self.parts),
            rollovers=self.rollovers,
            reordered=sum(part.reordered for part in self.parts),
            patterns=dict(sorted(patterns.items())),
            device=self.parts[0].device,
            start_unix_ns=since_1970 if self.first.extended else None,
        )
