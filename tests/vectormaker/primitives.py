"""The public rules of the stack once more, from their wording and without any of its code.

Everything here is the slow obvious loop over Python integers; hashlib is the only help.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Sequence
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


def chacha20(key: bytes, count: int) -> bytes:
    """RFC 8439, sections 2.1 to 2.4, line by line: the key stream with nonce 0 from block 0 on."""
    stream = b""
    constant = [int.from_bytes(b"expand 32-byte k"[i : i + 4], "little") for i in range(0, 16, 4)]
    words = [int.from_bytes(key[i : i + 4], "little") for i in range(0, 32, 4)]
    for block in range(-(-count // 64)):
        initial = [*constant, *words, block, 0, 0, 0]
        state = list(initial)
        for _ in range(10):
            for column in range(4):
                _quarter_round(state, column, 4 + column, 8 + column, 12 + column)
            for diagonal in range(4):
                _quarter_round(state, diagonal, 4 + (diagonal + 1) % 4, 8 + (diagonal + 2) % 4, 12 + (diagonal + 3) % 4)
        added = [(x + y) & 0xFFFFFFFF for x, y in zip(state, initial, strict=True)]
        stream += b"".join(word.to_bytes(4, "little") for word in added)
    return stream[:count]


def _quarter_round(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for target, source, mixed, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[target] = (state[target] + state[source]) & 0xFFFFFFFF
        x = state[mixed] ^ state[target]
        state[mixed] = (x << bits | x >> 32 - bits) & 0xFFFFFFFF


@functools.cache
def _stream(seed: bytes, label: str, count: int) -> bytes:
    return chacha20(hashlib.sha256(seed + label.encode("ascii")).digest(), count)


def expand_bits(seed: bytes, label: str, count: int) -> list[int]:
    """Bits of the stream of this seed and label."""
    return to_bits(_stream(seed, label, (count + 7) // 8), count)


def expand_permutation(seed: bytes, label: str, size: int) -> tuple[list[int], int]:
    """Fisher-Yates from the top, words w with w m mod 2^32 < 2^32 mod m rejected; and how many were."""
    stream = _stream(seed, label, 4 * (size + 64))
    words = iter(int.from_bytes(stream[i : i + 4], "little") for i in range(0, len(stream), 4))
    permutation = list(range(size))
    rejected = 0
    for i in range(size - 1, 0, -1):
        m = i + 1
        product = next(words) * m
        while product % (1 << 32) < (1 << 32) % m:
            rejected += 1
            product = next(words) * m
        j = product >> 32
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
