"""Packets of the qcrypto streams, bytes to values and back: types 1 (raw events), 2 (times and bases), 3 (outcomes) and
4 (accepted events), one packet an epoch of 2^29 ns.

A packet is a header of little-endian 32-bit words {type or type + 0x100, epoch, length, ...} and data packed into
32-bit words from the top bit down. 0x100 says that the epoch counts from 1970; otherwise it is the top 17 bits of the
card's counter, which an epoch that counts from 1970 ends in, too.

* 1: {.., 49, 4}, then every event's word, high half first, then a word of zeros.
* 2: {.., time order, base bits, protocol}; an entry is the step in 1/8 ns from the entry before (the first: from the
  epoch's beginning) in `time order` bits, then the base bits. A step that needs more: `time order` zeros, 32 bits of
  step, base bits. The end is the step 1 with base bits 0; a real step below 2 is made longer by 2.
* 3: {.., bits per entry}; the entries. Nothing marks the end, so the length must be stated and must fit the data: else
  whoever appends words has Alice use bits of his choice (filespec.txt, 3).
* 4: {.., time order, base bits}; steps as in 2, each the distance of an index from the one before (from 0), plus 2.

`length` is the number of entries; in 1, 2 and 4 it may be 0 for "not said". Sources: qcrypto `filespec.txt`. That text
puts the base bits ahead of the step; chopper.c, costream.c and splicer.c, which write and read every such file, and
fpfind's `parse_epochs.py` put them behind, and so do we. Padding must be 0 here, and an index may not come twice: a
peer who repeats one would have the same bit counted again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError, TagFormatError
from distribution.kernels.bitfields import pack_fields, pack_steps, spread, unpack_fields, unpack_steps

EPOCH_PS = (1 << 29) * 1000
EPOCH_UNITS = 1 << 32
"""Units of 1/8 ns in an epoch."""
COUNTER_EPOCHS = 1 << 17
"""Epochs after which the card's counter begins anew."""
EXTENDED = 0x100
MAX_BASE_BITS = 8

_RAW = struct.Struct("<IIIii")
_TIMES = struct.Struct("<IIIiii")
_OUTCOMES = struct.Struct("<IIIi")
_ACCEPTED = struct.Struct("<IIIii")
_RAW_BITS, _RAW_BASE_BITS = 49, 4
_COUNTER_SHIFT = 64 - 17

Values = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """Which 2^29 ns a packet is about.

    Attributes:
        number: of the epoch, 32 bits.
        extended: True = counted from 1970, False = by the card's counter.
    """

    number: int
    extended: bool = False

    def __post_init__(self) -> None:
        most = 1 << 32 if self.extended else COUNTER_EPOCHS
        if not 0 <= self.number < most:
            raise ParameterError(f"epoch {self.number} must lie in [0, {most})")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvents:
    """Type 1: the events of one epoch as the card gave them.

    Attributes:
        epoch: of all the events.
        words: shape (n,), uint64, as in a1 files, low half first; none is 0, bits 63..47 are the epoch's low 17.
    """

    epoch: Epoch
    words: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class TimesAndBases:
    """Type 2: when the low-rate side saw something, and in which basis.

    Attributes:
        epoch: of all the events.
        times: shape (n,), int64, 1/8 ns since the epoch's beginning, ascending by 2 or more.
        bases: shape (n,), uint8, below 2^base_bits.
        base_bits: bits a basis takes, 0 .. 8.
        protocol: 0 service, 1 BB84, 2 rich BB84, 3 and 4 device-independent, 5 bit commitment, 6 BBM92.
        time_order: bits of a step, 2 .. 32 - base_bits; 0 when encoding = the shortest.
    """

    epoch: Epoch
    times: Integers
    bases: Values
    base_bits: int
    protocol: int
    time_order: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Type 3: what the low-rate side keeps for itself.

    Attributes:
        epoch: of all the events.
        values: shape (n,), uint8, below 2^bits_per_entry, one for every entry of the type-2 packet; not printed.
        bits_per_entry: 1 .. 8.
    """

    epoch: Epoch
    values: Values = field(repr=False)
    bits_per_entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Type 4: which entries of a type-2 packet the high-rate side matched and kept.

    Attributes:
        epoch: of the type-2 packet.
        index: shape (n,), int64, strictly ascending.
        bases: shape (n,), uint8, below 2^base_bits.
        base_bits: 0 .. 8.
        time_order: as in `TimesAndBases`.
    """

    epoch: Epoch
    index: Integers
    bases: Values
    base_bits: int = 0
    time_order: int = 0


Packet: TypeAlias = RawEvents | TimesAndBases | Outcomes | Accepted


def encode(packet: Packet) -> bytes:
    """A packet's bytes, its length stated.

    Raises:
        ParameterError: something in it does not fit the type.
    """
    match packet:
        case RawEvents():
            return _encode_raw(packet)
        case TimesAndBases():
            return _encode_times(packet)
        case Outcomes():
            return _encode_outcomes(packet)
        case Accepted():
            return _encode_accepted(packet)


def decode(data: bytes, offset: int = 0, *, what: str = "the packet") -> tuple[Packet, int]:
    """The packet that begins at a byte, and where the next one would.

    Args:
        data: a file's bytes.
        offset: where the packet begins.
        what: name of the file, for messages.

    Raises:
        TagFormatError: no packet of these types, cut, or against its rules.
    """
    if len(data) < offset + 4:
        raise TagFormatError(f"{what}: {len(data) - offset} bytes are no packet", offset=offset)
    tag = int.from_bytes(data[offset : offset + 4], "little")
    reader = _READERS.get(tag & ~EXTENDED)
    if reader is None:
        raise TagFormatError(f"{what}: {tag:#x} begins no packet of type 1, 2, 3 or 4", offset=offset)
    layout, decoder = reader
    if len(data) < offset + layout.size:
        raise TagFormatError(f"{what}: the header of type {tag & 7} was cut", offset=offset)
    _, number, *fields = layout.unpack_from(data, offset)
    try:
        epoch = Epoch(number=number, extended=bool(tag & EXTENDED))
    except ParameterError as error:
        raise TagFormatError(f"{what}: {error}", offset=offset + 4) from error
    packet, after = decoder(epoch, fields, data, offset + layout.size, what)
    return packet, after


def spread_times(times: Integers) -> tuple[Integers, int]:
    """Times that type 2 can carry: one that follows the time before by less than 2 moves on by 2.

    Args:
        times: shape (n,), int64, 1/8 ns since the epoch's beginning, ascending.

    Returns:
        (the times, how many moved)
    """
    result = np.empty_like(times)
    return result, int(spread(np.ascontiguousarray(times), result))


def splice(outcomes: Outcomes, accepted: Accepted) -> Values:
    """The outcomes that the other side accepted.

    Raises:
        TagFormatError: the two are of different epochs, or an index lies outside of the outcomes.
    """
    if outcomes.epoch != accepted.epoch:
        raise TagFormatError(f"{accepted.epoch} answers {outcomes.epoch}: not the same")
    if accepted.index.size and int(accepted.index[-1]) >= outcomes.values.size:
        raise TagFormatError(f"event {accepted.index[-1]} was accepted, of {outcomes.values.size} sent")
    return outcomes.values[accepted.index]


def _encode_raw(packet: RawEvents) -> bytes:
    words = packet.words
    if words.size and not (words.all() and (words >> np.uint64(_COUNTER_SHIFT) == _in_counter(packet.epoch)).all()):
        raise ParameterError(f"a word is 0 or not of epoch {packet.epoch.number}")
    halves = (words << np.uint64(32) | words >> np.uint64(32)).astype("<u8")
    head = _RAW.pack(_tag(1, packet.epoch), packet.epoch.number, words.size, _RAW_BITS, _RAW_BASE_BITS)
    return head + halves.tobytes() + bytes(8)


def _decode_raw(epoch: Epoch, fields: list[int], data: bytes, at: int, what: str) -> tuple[RawEvents, int]:
    length, bits, base_bits = fields
    if (bits, base_bits) != (_RAW_BITS, _RAW_BASE_BITS):
        raise TagFormatError(f"{what}: {bits} and {base_bits} bits an event, type 1 has 49 and 4", offset=at - 8)
    halves = np.frombuffer(data, "<u8", (len(data) - at) // 8, at)
    zeros = halves == 0 if not length else halves[length : length + 1] == 0
    if not zeros.any():
        raise TagFormatError(
            f"{what}: the word of zeros that ends type 1 is missing", offset=at + 8 * min(length, halves.size)
        )
    count = length or int(zeros.argmax())
    words = halves[:count] << np.uint64(32) | halves[:count] >> np.uint64(32)
    wrong = np.flatnonzero((words == 0) | (words >> np.uint64(_COUNTER_SHIFT) != _in_counter(epoch)))
    if wrong.size:
        i = int(wrong[0])
        raise TagFormatError(f"{what}: event {i} is not of epoch {epoch.number}", offset=at + 8 * i)
    return RawEvents(epoch=epoch, words=words), at + 8 * (count + 1)


def _encode_times(packet: TimesAndBases) -> bytes:
    times = packet.times
    if times.size and not (int(times[0]) >= 0 and int(times.max()) < EPOCH_UNITS):
        raise ParameterError(f"times must lie in [0, {EPOCH_UNITS}) units of 1/8 ns")
    order, body = _encode_steps(np.diff(times, prepend=0), packet.bases, packet.base_bits, packet.time_order)
    head = (_tag(2, packet.epoch), packet.epoch.number, times.size, order, packet.base_bits, packet.protocol)
    return _TIMES.pack(*head) + body


def _decode_times(epoch: Epoch, fields: list[int], data: bytes, at: int, what: str) -> tuple[TimesAndBases, int]:
    length, order, base_bits, protocol = fields
    steps, bases, after = _decode_steps(length, order, base_bits, data, at, what)
    times = np.cumsum(steps)
    if times.size and int(times[-1]) >= EPOCH_UNITS:
        raise TagFormatError(f"{what}: the times run over the end of the epoch", offset=at)
    packet = TimesAndBases(
        epoch=epoch, times=times, bases=bases, base_bits=base_bits, protocol=protocol, time_order=order
    )
    return packet, after


def _encode_outcomes(packet: Outcomes) -> bytes:
    width = packet.bits_per_entry
    if not 1 <= width <= MAX_BASE_BITS or (packet.values >> np.uint8(width - 1) > 1).any():
        raise ParameterError(f"outcomes must fit {width} bits, of 1 .. {MAX_BASE_BITS}")
    words = np.zeros((packet.values.size * width + 31) // 32 + 1, np.uint32)
    pack_fields(packet.values, width, words)
    head = _OUTCOMES.pack(_tag(3, packet.epoch), packet.epoch.number, packet.values.size, width)
    return head + words[:-1].astype("<u4").tobytes()


def _decode_outcomes(epoch: Epoch, fields: list[int], data: bytes, at: int, what: str) -> tuple[Outcomes, int]:
    length, width = fields
    if not 1 <= width <= MAX_BASE_BITS:
        raise TagFormatError(f"{what}: {width} bits an outcome, 1 .. {MAX_BASE_BITS} are possible", offset=at - 4)
    after = at + (length * width + 31) // 32 * 4
    if after > len(data):
        raise TagFormatError(
            f"{what}: {length} outcomes are stated, {(len(data) - at) * 8 // width} came", offset=len(data)
        )
    words = _words(data, at, after)
    values = np.empty(length, np.uint8)
    unpack_fields(words, width, values)
    _check_padding(words, length * width, at, what)
    return Outcomes(epoch=epoch, values=values, bits_per_entry=width), after


def _encode_accepted(packet: Accepted) -> bytes:
    index = packet.index
    if index.size and (int(index[0]) < 0 or (np.diff(index) <= 0).any()):
        raise ParameterError("accepted indices must ascend from 0 on, each once")
    order, body = _encode_steps(np.diff(index, prepend=0) + 2, packet.bases, packet.base_bits, packet.time_order)
    head = _ACCEPTED.pack(_tag(4, packet.epoch), packet.epoch.number, index.size, order, packet.base_bits)
    return head + body


def _decode_accepted(epoch: Epoch, fields: list[int], data: bytes, at: int, what: str) -> tuple[Accepted, int]:
    length, order, base_bits = fields
    steps, bases, after = _decode_steps(length, order, base_bits, data, at, what)
    if (steps[1:] == 2).any():
        raise TagFormatError(f"{what}: event {int((steps[1:] == 2).argmax()) + 1} is accepted twice", offset=at)
    index = np.cumsum(steps - 2)
    return Accepted(epoch=epoch, index=index, bases=bases, base_bits=base_bits, time_order=order), after


def _encode_steps(steps: Integers, bases: Values, base_bits: int, order: int) -> tuple[int, bytes]:
    if steps.size and not (int(steps.min()) >= 2 and int(steps.max()) < EPOCH_UNITS):
        raise ParameterError(f"steps must lie in [2, {EPOCH_UNITS}), got {steps.min()} .. {steps.max()}")
    order = order or _shortest(steps, base_bits)
    if not (0 <= base_bits <= MAX_BASE_BITS and 2 <= order <= 32 - base_bits):
        raise ParameterError(
            f"{order} bits of time and {base_bits} of basis: 2 or more, at most 8, at most 32 together"
        )
    if bases.shape != steps.shape or (bases.astype(np.int64) >> base_bits).any():
        raise ParameterError(f"every event needs a basis of {base_bits} bits")
    longest = steps.size * (order + 32 + base_bits) + order + base_bits
    words = np.zeros((longest + 31) // 32 + 1, np.uint32)
    bits = pack_steps(steps, bases, order, base_bits, words)
    return order, words[: (bits + 31) // 32].astype("<u4").tobytes()


def _decode_steps(
    length: int, order: int, base_bits: int, data: bytes, at: int, what: str
) -> tuple[Integers, Values, int]:
    if not (0 <= base_bits <= MAX_BASE_BITS and 2 <= order <= 32 - base_bits):
        raise TagFormatError(f"{what}: {order} bits of time and {base_bits} of basis are impossible", offset=at)
    words = _words(data, at, at + (len(data) - at) // 4 * 4)
    most = (words.size - 1) * 32 // (order + base_bits)
    if length > most:
        raise TagFormatError(f"{what}: {length} entries are stated, at most {most} can be here", offset=at)
    steps, bases = np.empty(length or most, np.int64), np.empty(length or most, np.uint8)
    entries, bits, base = unpack_steps(words, order, base_bits, steps, bases)
    if entries < 0 or (length and entries != length) or base:
        raise TagFormatError(f"{what}: the code of the end is not where it must be", offset=at + bits // 32 * 4)
    if entries and int(steps[:entries].min()) < 2:
        raise TagFormatError(f"{what}: entry {int(steps[:entries].argmin())} has a step below 2", offset=at)
    after = at + (bits + 31) // 32 * 4
    _check_padding(words[: (after - at) // 4 + 1], bits, at, what)
    return steps[:entries], bases[:entries], after


def _words(data: bytes, start: int, stop: int) -> npt.NDArray[np.uint32]:
    """The 32-bit words of a stretch, and one more that the kernels may read."""
    words = np.zeros((stop - start) // 4 + 1, np.uint32)
    words[:-1] = np.frombuffer(data, "<u4", words.size - 1, start)
    return words


def _check_padding(words: npt.NDArray[np.uint32], bits: int, at: int, what: str) -> None:
    if bits % 32 and int(words[bits // 32]) << bits % 32 & 0xFFFFFFFF:
        raise TagFormatError(f"{what}: bits are set behind the end", offset=at + bits // 32 * 4)


def _shortest(steps: Integers, base_bits: int) -> int:
    """The order that makes the packet shortest."""
    above = np.bincount(np.frexp(steps.astype(np.float64))[1], minlength=34)
    escaped = steps.size - np.cumsum(above)  # entry b: steps of more than b bits
    orders = np.arange(2, 33 - base_bits)
    return int(orders[np.argmin((steps.size + 1) * orders + 32 * escaped[orders])])


def _tag(kind: int, epoch: Epoch) -> int:
    return kind | (EXTENDED if epoch.extended else 0)


def _in_counter(epoch: Epoch) -> np.uint64:
    return np.uint64(epoch.number % COUNTER_EPOCHS)


_Decoder: TypeAlias = Callable[[Epoch, list[int], bytes, int, str], tuple[Packet, int]]
_READERS: dict[int, tuple[struct.Struct, _Decoder]] = {
    1: (_RAW, _decode_raw),
    2: (_TIMES, _decode_times),
    3: (_OUTCOMES, _decode_outcomes),
    4: (_ACCEPTED, _decode_accepted),
}
