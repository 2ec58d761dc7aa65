"""The public rules of the stack once more, from their wording and without any of its code.

Everything here is the slow obvious loop over Python integers; hashlib is the only help.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise


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


def rice(values: Sequence[int], width: int) -> bytes:
    """Differences of ascending integers: all remainders modulo 2^width, then all quotients in unary, then zeros."""
    deltas = [b - a for a, b in pairwise([0, *values])]
    text = "".join(f"{d % (1 << width):0{width}b}" for d in deltas) if width else ""
    text += "".join("1" * (d >> width) + "0" for d in deltas)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def pack_ascending(values: Sequence[int]) -> tuple[int, bytes]:
    """The same with the narrowest of the widths 0 .. 32 that takes the fewest bits."""
    deltas = [b - a for a, b in pairwise([0, *values])]
    width = min(range(33), key=lambda w: sum(w + (d >> w) + 1 for d in deltas))
    return width, rice(values, width)


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
