"""S-Fifteen words taken apart with Python's exact integers."""

from __future__ import annotations


def split_word(word: int, legacy: bool) -> tuple[int, int]:
    """(time in ps rounded to nearest, halves up; low five bits) of one 64-bit word."""
    if legacy:
        word = (word & 0xFFFFFFFF) << 32 | word >> 32
    return ((word >> 10) * 1000 + 128) // 256, word & 0b11111
