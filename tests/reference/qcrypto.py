"""qcrypto packets as strings of bits, by filespec.txt and, for the order of base bits, by chopper.c."""

from __future__ import annotations

import struct


def words(bits: str) -> bytes:
    """Bits in little-endian 32-bit words, from the top bit down, zeros behind."""
    bits += "0" * (-len(bits) % 32)
    return b"".join(struct.pack("<I", int(bits[i : i + 32], 2)) for i in range(0, len(bits), 32))


def bits_of(data: bytes) -> str:
    """Undo `words`."""
    return "".join(f"{word:032b}" for (word,) in struct.iter_unpack("<I", data))


def number(value: int, width: int) -> str:
    """A field, most significant bit first."""
    return f"{value:0{width}b}" if width else ""


def steps(values: list[int], bases: list[int], order: int, base_bits: int) -> str:
    """Coded steps and the code of the end."""
    coded = ""
    for step, base in zip(values, bases, strict=True):
        coded += number(0, order) + number(step, 32) if step >= 1 << order else number(step, order)
        coded += number(base, base_bits)
    return coded + number(1, order) + number(0, base_bits)


def decode_steps(bits: str, order: int, base_bits: int) -> tuple[list[int], list[int]]:
    """Undo `steps`."""
    values: list[int] = []
    bases: list[int] = []
    at = 0

    def take(width: int) -> int:
        nonlocal at
        at += width
        return int(bits[at - width : at] or "0", 2)

    while (step := take(order)) != 1:
        values.append(step or take(32))
        bases.append(take(base_bits))
    return values, bases


def type2(epoch: int, times: list[int], bases: list[int], order: int, base_bits: int, protocol: int) -> bytes:
    """A type-2 packet whose epoch counts from 1970."""
    gaps = [now - before for before, now in zip([0, *times], times, strict=False)]
    return struct.pack("<IIIiii", 0x102, epoch, len(times), order, base_bits, protocol) + words(
        steps(gaps, bases, order, base_bits)
    )


def type3(epoch: int, values: list[int], width: int) -> bytes:
    """A type-3 packet whose epoch counts from 1970."""
    coded = words("".join(number(value, width) for value in values))
    return struct.pack("<IIIi", 0x103, epoch, len(values), width) + coded


def type4(epoch: int, index: list[int], order: int) -> bytes:
    """A type-4 packet whose epoch counts from 1970, without base bits."""
    gaps = [now - before + 2 for before, now in zip([0, *index], index, strict=False)]
    return struct.pack("<IIIii", 0x104, epoch, len(index), order, 0) + words(steps(gaps, [0] * len(index), order, 0))


def type1(epoch: int, events: list[int]) -> bytes:
    """A type-1 packet whose epoch counts from 1970; events are 64-bit words."""
    body = b"".join(struct.pack("<II", event >> 32, event & 0xFFFFFFFF) for event in [*events, 0])
    return struct.pack("<IIIii", 0x101, epoch, len(events), 49, 4) + body


def spread(times: list[int]) -> list[int]:
    """A time that follows the one before by less than 2 moves on by 2, and further if that is not enough."""
    result: list[int] = []
    last = 0
    for time in times:
        last = time if time - last >= 2 else max(time + 2, last + 2)
        result.append(last)
    return result
