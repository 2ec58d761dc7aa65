"""The public rules of the stack once more, from their wording and without any of its code.

Everything here is the slow obvious loop over Python integers; hashlib is the only help.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence


def shake(data: bytes, count: int) -> bytes:
    """SHAKE-256."""
    return hashlib.shake_256(data).digest(count)


def fixed_bytes(label: str, call: int, count: int) -> bytes:
    """`FixedBits`: call number (from 1) of the sequence with this label."""
    return shake(label.encode() + call.to_bytes(8, "big"), count)


def to_bits(data: bytes, count: int) -> list[int]:
    """Most significant bit of each byte first."""
    return [data[i // 8] >> (7 - i % 8) & 1 for i in range(count)]


def expand_bits(seed: bytes, label: str, count: int) -> list[int]:
    """Bits of SHAKE-256(seed || label)."""
    return to_bits(shake(seed + label.encode("ascii"), (count + 7) // 8), count)


def _words(seed: bytes, label: str, count: int) -> Iterator[int]:
    stream = shake(seed + label.encode("ascii"), 4 * count)
    for i in range(count):
        yield int.from_bytes(stream[4 * i : 4 * i + 4], "little")


def expand_permutation(seed: bytes, label: str, size: int) -> tuple[list[int], int]:
    """Fisher-Yates from the top, words rejected from floor(2^32 / m) m on; and how many were rejected."""
    words = _words(seed, label, size + 10_000)
    permutation = list(range(size))
    rejected = 0
    for i in range(size - 1, 0, -1):
        m = i + 1
        word = next(words)
        while word >= (1 << 32) // m * m:
            rejected += 1
            word = next(words)
        j = word % m
        permutation[i], permutation[j] = permutation[j], permutation[i]
    return permutation, rejected


def pack_fields(values: Sequence[int], width: int) -> bytes:
    """Ascending integers as differences in fields of `width` bits with escapes, padded with zeros."""
    escape = (1 << width) - 1
    text = ""
    before = 0
    for value in values:
        rest = value - before
        before = value
        while rest >= escape:
            text += f"{escape:0{width}b}"
            rest -= escape
        text += f"{rest:0{width}b}"
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def pack_ascending(values: Sequence[int]) -> tuple[int, bytes]:
    """The same with the narrowest of the widths 2 .. 32 that takes the fewest bits."""
    deltas = [b - a for a, b in zip([0, *values], values, strict=False)]

    def size(width: int) -> int:
        return sum(width * (d // ((1 << width) - 1) + 1) for d in deltas)

    width = min(range(2, 33), key=size)
    return width, pack_fields(values, width)


def poly1305(r: bytes, s: bytes, message: bytes) -> bytes:
    """RFC 8439, section 2.5.1, line by line."""
    key = int.from_bytes(r, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    prime = (1 << 130) - 5
    accumulator = 0
    for i in range(0, len(message), 16):
        block = int.from_bytes(message[i : i + 16] + b"\x01", "little")
        accumulator = (accumulator + block) * key % prime
    return ((accumulator + int.from_bytes(s, "little")) & ((1 << 128) - 1)).to_bytes(16, "little")


def message_pack(value: object) -> bytes:
    """MessagePack in its shortest forms (https://github.com/msgpack/msgpack/blob/master/spec.md)."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _pack_integer(value)
    if isinstance(value, bytes):
        return _length(len(value), (0xC4, 0xC5, 0xC6)) + value
    if isinstance(value, str):
        text = value.encode()
        head = bytes([0xA0 | len(text)]) if len(text) < 32 else _length(len(text), (0xD9, 0xDA, 0xDB))
        return head + text
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, dict) and len(value) < 16:
        items = (message_pack(k) + message_pack(v) for k, v in value.items())
        return bytes([0x80 | len(value)]) + b"".join(items)
    raise AssertionError(f"no message holds {value!r}")


def _pack_integer(value: int) -> bytes:
    if 0 <= value < 128 or -32 <= value < 0:
        return value.to_bytes(1, "big", signed=value < 0)
    signed = value < 0
    for code, size in zip((0xD0, 0xD1, 0xD2, 0xD3) if signed else (0xCC, 0xCD, 0xCE, 0xCF), (1, 2, 4, 8), strict=True):
        low, high = (-(1 << (8 * size - 1)), 0) if signed else (0, 1 << (8 * size))
        if low <= value < high:
            return bytes([code]) + value.to_bytes(size, "big", signed=signed)
    raise AssertionError(value)


def _length(length: int, codes: tuple[int, int, int]) -> bytes:
    for code, size in zip(codes, (1, 2, 4), strict=True):
        if length < 1 << (8 * size):
            return bytes([code]) + length.to_bytes(size, "big")
    raise AssertionError(length)
