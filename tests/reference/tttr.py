"""PicoQuant TTTR records taken apart one by one with Python's exact integers and fractions."""

from __future__ import annotations

from fractions import Fraction
from math import floor

HARP_WRAPS = {"T2": 1 << 25, "T2 v1": 33_552_000, "T3": 1024, "T3 v1": 1024}


def split_harp(word: int, mode: str) -> tuple[str, int, int, int]:
    """(what it is, channel, coarse count or number of wraps, fine count) of a HydraHarp or MultiHarp word."""
    special, channel, low = word >> 31, word >> 25 & 0x3F, word & 0x1FFFFFF
    fine, coarse = (0, low) if mode.startswith("T2") else (low >> 10, low & 0x3FF)
    if not special:
        return "photon", channel, coarse, fine
    if channel == 63:
        return "overflow", channel, 1 if mode.endswith("v1") else max(coarse, 1), 0
    if channel == 0 and mode.startswith("T2"):
        return "photon", 64, coarse, 0
    return ("marker" if 1 <= channel <= 15 else "undefined"), channel, coarse, fine


def split_picoharp(word: int, mode: str) -> tuple[str, int, int, int]:
    """The same of a PicoHarp 300 word."""
    channel = word >> 28
    fine, coarse = (0, word & 0xFFFFFFF) if mode == "T2" else (word >> 16 & 0xFFF, word & 0xFFFF)
    if channel != 15:
        return "photon", channel, coarse, fine
    marker = coarse & 0xF if mode == "T2" else fine
    return ("marker", channel, coarse, 0) if marker else ("overflow", channel, 1, 0)


def photons(
    words: list[int], device: str, mode: str, coarse_ps: Fraction, fine_ps: Fraction
) -> tuple[list[tuple[int, int]], int, int]:
    """([(time in ps rounded to nearest, halves up; channel)], number of overflows, number of markers)."""
    wrap = HARP_WRAPS[mode] if device == "harp" else {"T2": 210_698_240, "T3": 65536}[mode]
    turns, found, overflows, markers = 0, [], 0, 0
    for word in words:
        kind, channel, coarse, fine = (split_harp if device == "harp" else split_picoharp)(word, mode)
        if kind == "overflow":
            turns += coarse
            overflows += 1
        elif kind == "marker":
            markers += 1
        else:
            exact = (turns * wrap + coarse) * coarse_ps + fine * fine_ps
            found.append((floor(exact + Fraction(1, 2)), channel))
    return found, overflows, markers
