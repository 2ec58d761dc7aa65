"""The native format written and read by its description alone: strings of bits, Python's integers, no kernel."""

from __future__ import annotations

import itertools
import struct
import zlib
from fractions import Fraction

MAGIC = bytes.fromhex("89515441470d0a1a")
CHUNK_EVENTS = 1 << 15


def to_ps(units: int, unit: Fraction) -> int:
    """Nearest whole picosecond, halves up."""
    return (2 * units * unit.numerator + unit.denominator) // (2 * unit.denominator)


def to_units(t_ps: int, unit: Fraction) -> int:
    """Nearest whole unit, halves up."""
    return to_ps(t_ps, 1 / unit)


def seal(block: bytes) -> bytes:
    """The block and its CRC."""
    return block + struct.pack("<I", zlib.crc32(block))


def low_first(value: int, width: int) -> str:
    """The bits of a field, least significant first."""
    return "".join(str(value >> i & 1) for i in range(width))


def gap_bits(gap: int, k: int) -> int:
    """How many bits the gap takes without its channel."""
    return (gap >> k) + 1 + k if gap >> k < 24 else 24 + 62


def shortest_k(gaps: list[int]) -> int:
    """The k that the writer's rule finds: from the mean gap's bit length less 1, down, then up, while it helps."""

    def cost(k: int) -> int:
        return sum(gap_bits(gap, k) for gap in gaps)

    k = min(54, max(0, (sum(gaps) // len(gaps)).bit_length() - 1))
    for step in (-1, 1):
        while 0 <= k + step <= 54 and cost(k + step) < cost(k):
            k += step
    return k


def payload(units: list[int], channels: list[int], k: int) -> bytes:
    """A chunk's payload."""
    present = sorted(set(channels))
    s = (len(present) - 1).bit_length()
    bits = ""
    for before, now, channel in zip([units[0], *units], units, channels, strict=False):
        gap, place = now - before, low_first(present.index(channel), s)
        if gap >> k < 24:
            bits += "1" * (gap >> k) + "0" + low_first(gap & ((1 << k) - 1), k) + place
        else:
            bits += "1" * 24 + place + low_first(gap, 62)
    bits += "0" * (-len(bits) % 64)
    packed = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    return bytes(present) + bytes(-len(present) % 8) + packed


def chunk(index: int, units: list[int], channels: list[int], k: int | None = None) -> bytes:
    """A whole chunk."""
    if k is None:
        k = shortest_k([0, *(b - a for a, b in itertools.pairwise(units))])
    body = payload(units, channels, k)
    head = b"QTCH" + struct.pack(
        "<IIIqBBHI", index, len(units), len(body), units[0], k, len(set(channels)) - 1, 0, zlib.crc32(body)
    )
    return seal(head) + body


def header(unit: Fraction, clock_id: str = "", device: str = "", start: int | None = None) -> bytes:
    """The first 128 bytes."""
    since = -(1 << 63) if start is None else start
    numbers = struct.pack("<HHIIIq", 1, 0, unit.numerator, unit.denominator, 0, since)
    return seal(MAGIC + numbers + clock_id.encode().ljust(32, b"\0") + device.encode().ljust(60, b"\0"))


def end(chunks: int, events: int, last: int) -> bytes:
    """The end block."""
    return seal(b"QTND" + struct.pack("<IQq8x", chunks, events, last))


def write(
    t_ps: list[int], channels: list[int], unit: Fraction, *, chunk_events: int = CHUNK_EVENTS, **about: object
) -> bytes:
    """A whole file."""
    units = [to_units(t, unit) for t in t_ps]
    starts = range(0, len(units), chunk_events)
    chunks = [chunk(i, units[s : s + chunk_events], channels[s : s + chunk_events]) for i, s in enumerate(starts)]
    tail = end(len(chunks), len(units), units[-1] if units else 0)
    return header(unit, **about) + b"".join(chunks) + tail  # type: ignore[arg-type]


def read(data: bytes) -> tuple[list[int], list[int]]:
    """Times in ps and channels of a whole file that is in order; nothing is checked."""
    above, below = struct.unpack_from("<II", data, 12)
    t_ps: list[int] = []
    channels: list[int] = []
    at = 128
    while data[at : at + 4] == b"QTCH":
        _, events, size, unit, k, more, _, _ = struct.unpack_from("<IIIqBBHI", data, at + 4)
        listed = data[at + 36 : at + 37 + more]
        start = at + 36 + (more + 8) // 8 * 8
        stream = iter("".join(low_first(byte, 8) for byte in data[start : at + 36 + size]))

        def take(width: int, stream: object = stream) -> int:
            return sum(int(next(stream)) << i for i in range(width))  # type: ignore[call-overload]

        s = more.bit_length()
        for _ in range(events):
            quotient = 0
            while quotient < 24 and take(1):
                quotient += 1
            if quotient < 24:
                gap = quotient << k | take(k)
                place = take(s)
            else:
                place = take(s)
                gap = take(62)
            unit += gap
            t_ps.append(to_ps(unit, Fraction(above, below)))
            channels.append(listed[place])
        at += 36 + size
    return t_ps, channels
