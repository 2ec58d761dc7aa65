"""Poly1305 in Python integers, by RFC 8439 section 2.5.1."""

from __future__ import annotations


def poly1305(hash_key: bytes, pad: bytes, message: bytes) -> bytes:
    """((sum of blocks times powers of clamped r) mod 2^130 - 5, plus s) mod 2^128, little-endian."""
    r = int.from_bytes(hash_key, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(message), 16):
        block = int.from_bytes(message[start : start + 16] + b"\x01", "little")
        total = (total + block) * r % ((1 << 130) - 5)
    return ((total + int.from_bytes(pad, "little")) % (1 << 128)).to_bytes(16, "little")
