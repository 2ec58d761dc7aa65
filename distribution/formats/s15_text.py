"""S-Fifteen "a0" and "a2": the words of a1 written as hexadecimal text.

a0 is a line of eight digits for each half of a word, the low half first; a2 is a line of sixteen digits for each
word. Lines end in \\n or \\r\\n and hold nothing else, which is how the two are told from CSV. Text with the high
half first is in no specification; as its order shows in the data it is read, too.

Sources: qcrypto `filespec.txt` (raw event types) and fpfind `parse_timestamps.py`; both are facts about a format.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np

from distribution.errors import TagFormatError
from distribution.formats.recording import Format, Recording, write_atomically
from distribution.formats.s15 import Words, encode_words, prefers_legacy, recording_of, swap_halves
from distribution.tags import TimeTags

A0_DIGITS, A2_DIGITS = 8, 16

_HEX = b"0123456789abcdefABCDEF"


def digits_of(head: bytes) -> int:
    """How many hexadecimal digits the first line of a text consists of; 0 if of anything else."""
    line = head.split(b"\n", 1)[0].rstrip(b"\r")
    return 0 if line.translate(None, _HEX) else len(line)


def read_text(path: Path | str, legacy: bool | None = None) -> Recording:
    """Read an a0 or a2 file; which of the two, its first line says.

    Args:
        path: the file.
        legacy: True = high half of every word first, False = low half first, None = find out.

    Raises:
        TagFormatError: a line of another length or with other characters, with its byte offset; an odd number of
            halves; or what `read_a1` refuses.
    """
    name, text = Path(path).name, Path(path).read_bytes()
    digits = digits_of(text[: 2 * A2_DIGITS])
    if digits not in (A0_DIGITS, A2_DIGITS):
        raise TagFormatError(f"{name} does not begin with a line of {A0_DIGITS} or {A2_DIGITS} hex digits", offset=0)
    words = _words(text, digits, name)
    line_bytes = len(text.split(b"\n", 1)[0]) + 1
    return recording_of(
        words,
        legacy=prefers_legacy(words[: 1 << 16]) if legacy is None else legacy,
        format=Format.S15_A0 if digits == A0_DIGITS else Format.S15_A2,
        what=name,
        record_bytes=line_bytes * A2_DIGITS // digits,
    )


def write_a0(path: Path, tags: TimeTags, *, legacy: bool = False) -> None:
    """Write tags as a0 text, atomically; what survives, and what is refused, as in `encode_words`."""
    write_atomically(Path(path), _lines(tags, A0_DIGITS, legacy=legacy))


def write_a2(path: Path, tags: TimeTags, *, legacy: bool = False) -> None:
    """Write tags as a2 text, atomically; what survives, and what is refused, as in `encode_words`."""
    write_atomically(Path(path), _lines(tags, A2_DIGITS, legacy=legacy))


def _words(text: bytes, digits: int, name: str) -> Words:
    ending = b"\r\n" if text[digits : digits + 1] == b"\r" else b"\n"
    if not text.endswith(b"\n"):
        text += ending
    width = digits + len(ending)
    grid = np.frombuffer(text, np.uint8)[: len(text) // width * width].reshape(-1, width)
    regular = len(text) % width == 0 and bool((grid[:, digits:] == np.frombuffer(ending, np.uint8)).all())
    try:
        # fromhex would skip blanks, which no line has once every ending is in its place and no digit is one.
        packed = bytes.fromhex(text.decode("ascii")) if regular else b""
    except ValueError:
        packed = b""
    if 2 * len(packed) != digits * grid.shape[0]:
        _refuse_line(text, digits, width, name)
    if digits == A2_DIGITS:
        return np.frombuffer(packed, ">u8").astype("<u8")
    if grid.shape[0] % 2:
        raise TagFormatError(f"{name}: the last word has one half only", offset=len(text) - width)
    return np.frombuffer(packed, ">u4").astype("<u4").view("<u8")


def _refuse_line(text: bytes, digits: int, width: int, name: str) -> NoReturn:
    at = 0
    for line in text.split(b"\n"):
        if len(line) != width - 1 or line[:digits].translate(None, _HEX):
            break
        at += width
    raise TagFormatError(
        f"{name}: {line[:40]!r} is no line of {digits} hex digits", offset=at, hint="the file was cut or edited"
    )


def _lines(tags: TimeTags, digits: int, *, legacy: bool) -> bytes:
    words = np.frombuffer(encode_words(tags), "<u8")
    if legacy:
        words = swap_halves(words)
    numbers = words.astype("<u8").view("<u4").astype(">u4") if digits == A0_DIGITS else words.astype(">u8")
    # The separator counts from the right: a line for every `digits` digits.
    text = numbers.tobytes().hex("\n", digits // 2)
    return f"{text}\n".encode("ascii") if text else b""
