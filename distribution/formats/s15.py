"""S-Fifteen "a1" raw events: one 64-bit word an event, as readevents writes them.

Bits 63..10 are the time in units of 1/256 ns, bit 4 marks a dummy event (the counter is alive, nothing was
detected), bits 3..0 are the detector pattern; bits 9..5 carry filler and flags that are no concern of ours.
Words are little-endian; "legacy" files (option -X) hold the two 32-bit halves in the other order. The word
order is found from the data: only the right one gives ascending times. The 54-bit counter wraps after 19.5 h
and is carried on.

Sources: qcrypto `filespec.txt` (raw event types) and fpfind `parse_timestamps.py`; both are facts about a
format. Real cards deliver a few words late (8 of 1000 in fpfind's `timestamp7_c14_rollover`, by up to 97 us),
so words are sorted within one period of the card's 25-bit coarse counter, 131 us, and the moves are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError, TagFormatError
from distribution.formats.recording import Format, Recording, settle_order, write_atomically
from distribution.tags import EMPTY, Channels, TimesPs, TimeTags

Words = npt.NDArray[np.uint64]

WORD_BYTES = 8
RESOLUTION_PS = 1000 / 256
DETECTORS = 4
WRAP_UNITS = 1 << 54
WRAP_PS = WRAP_UNITS * 125 // 32
REORDER_UNITS = 1 << 25
# Across a rollover a live tagger is never silent for long; random data meet this with probability 2^-22 a
# step.
ROLLOVER_GAP_UNITS = 1 << 32

MAX_TURNS = 128  # int64 picoseconds last 106 days, 131 turns of the counter

_DUMMY = np.uint64(1 << 4)
_PATTERN = np.uint64(0xF)
_BITS_IN = np.array([p.bit_count() for p in range(16)], np.int64)
_CHANNELS_OF = np.zeros((16, DETECTORS), np.uint8)
for _p in range(16):
    _set = [c for c in range(DETECTORS) if _p >> c & 1]
    _CHANNELS_OF[_p, : len(_set)] = _set


@dataclass(frozen=True, slots=True)
class _Fit:
    """How well a stretch of words reads in one word order; the smaller the better."""

    violations: int
    span_units: int


def read_a1(path: Path | str, legacy: bool | None = None) -> Recording:
    """Read an a1 file.

    Args:
        path: the file.
        legacy: True = high word first, False = low word first, None = find out.

    Returns:
        The recording; channel = bit number of the detector, 0..3.

    Raises:
        TagFormatError: empty, cut inside a word, no detector ever fired, or times that ascend in neither word
            order.
    """
    name = Path(path).name
    size = Path(path).stat().st_size
    if size == 0:
        raise TagFormatError(f"{name} is empty", offset=0)
    if size % WORD_BYTES:
        raise TagFormatError(
            f"{name}: the last word has {size % WORD_BYTES} of {WORD_BYTES} bytes",
            offset=size - size % WORD_BYTES,
            hint="the file was cut short; cut it to a multiple of 8 bytes to read the rest",
        )
    raw = np.fromfile(path, "<u8")
    if legacy is None:
        legacy = prefers_legacy(raw[: 1 << 16])
    return _recording(swap_halves(raw) if legacy else raw, legacy=legacy, what=name)


def fits(head: bytes) -> bool:
    """True if the head of a file reads as a1 words in at least one order (for format detection)."""
    raw = np.frombuffer(head[: len(head) // WORD_BYTES * WORD_BYTES], "<u8")
    words = swap_halves(raw) if prefers_legacy(raw) else raw
    return bool(raw.size) and _fit(words).violations == 0 and bool(np.any(words & (_DUMMY | _PATTERN)))


def prefers_legacy(raw: Words) -> bool:
    """True if `raw` reads better with the high half first: fewer backward steps, then the shorter time span.

    In the wrong order the fast low half sits on top, so that times jump about over the counter's full range.
    One single word carries no evidence; it is read as low half first.
    """
    plain, swapped = _fit(raw), _fit(swap_halves(raw))
    return (swapped.violations, swapped.span_units) < (plain.violations, plain.span_units)


def swap_halves(words: Words) -> Words:
    """Exchange the two 32-bit halves of every word."""
    return words << np.uint64(32) | words >> np.uint64(32)


def write_a1(path: Path, tags: TimeTags, *, legacy: bool = False) -> None:
    """Write tags as an a1 file, atomically; `encode_words` says what survives.

    Raises:
        ParameterError: a channel above 3, or a negative time.
    """
    data = encode_words(tags)
    if legacy:
        data = swap_halves(np.frombuffer(data, "<u8")).tobytes()
    write_atomically(Path(path), data)


def encode_words(tags: TimeTags) -> bytes:
    """Tags as little-endian uint64 words, low half first.

    Times are rounded to 1/256 ns, modulo 19.5 h. Tags of equal time whose channels ascend share a word, which
    is what the hardware does with a multiple click; every other tag has its own, so that decoding gives back
    each tag.

    Raises:
        ParameterError: a channel above 3, or a negative time.
    """
    if not len(tags):
        return b""
    if tags.channel.max() >= DETECTORS:
        raise ParameterError(f"a1 words know channels 0..{DETECTORS - 1}, got channel {tags.channel.max()}")
    if tags.t_ps.min() < 0:
        raise ParameterError(f"a1 words know no negative times, got {tags.t_ps.min()} ps")
    units = _to_units(tags.t_ps)
    words = (units.astype(np.uint64) << np.uint64(10)) | np.left_shift(np.uint64(1), tags.channel.astype(np.uint64))
    joins = (units[1:] == units[:-1]) & (tags.channel[1:] > tags.channel[:-1])
    if joins.any():
        words = np.bitwise_or.reduceat(words, np.flatnonzero(np.concatenate([[True], ~joins])))
    return words.astype("<u8", copy=False).tobytes()


def decode_words(data: bytes | memoryview, *, after_ps: int = 0) -> TimeTags:
    """Inverse of `encode_words` for a stretch of a live stream.

    Args:
        data: whole words, low half first; dummy words are dropped.
        after_ps: time of the stream's last tag so far; the counter's wraps are carried on from there.

    Raises:
        TagFormatError: `data` ends inside a word, or the order cannot be mended.
    """
    if len(data) % WORD_BYTES:
        whole = len(data) // WORD_BYTES * WORD_BYTES
        raise TagFormatError(f"a stretch of {len(data)} bytes ends inside a word", offset=whole)
    words = np.frombuffer(data, "<u8")
    if not words.size:
        return EMPTY
    tags = _recording(words, legacy=False, what="the stream").tags
    if not len(tags):
        return EMPTY
    # Nearest multiple of the wrap, so that a slightly late word does not count as a whole turn.
    turns = (after_ps - int(tags.t_ps[0]) + WRAP_PS // 2) // WRAP_PS
    return TimeTags(tags.t_ps + turns * WRAP_PS, tags.channel) if turns > 0 else tags


def _recording(words: Words, *, legacy: bool, what: str) -> Recording:
    units = (words >> np.uint64(10)).astype(np.int64)
    units, rollovers = _carry_rollovers(units)
    pattern = (words & _PATTERN).astype(np.uint8)
    detected = (pattern != 0) & (words & _DUMMY == 0)
    if not np.any(words & (_DUMMY | _PATTERN)):
        raise TagFormatError(f"{what}: no word names a detector", offset=0, hint="this is no S-Fifteen recording")
    t_ps = _to_ps(units)
    order, reordered = settle_order(
        t_ps, depth_ps=REORDER_UNITS * 125 // 32, what=what, header_bytes=0, record_bytes=WORD_BYTES
    )
    if order is not None:
        t_ps, pattern, detected = t_ps[order], pattern[order], detected[order]
    if not detected.all():
        t_ps, pattern = t_ps[detected], pattern[detected]
    count = np.bincount(pattern, minlength=16)
    return Recording(
        tags=_expand(t_ps, pattern),
        format=Format.S15_A1_LEGACY if legacy else Format.S15_A1,
        resolution_ps=RESOLUTION_PS,
        records=words.size,
        dummies=words.size - pattern.size,
        rollovers=rollovers,
        reordered=reordered,
        patterns={int(p): int(count[p]) for p in np.flatnonzero(count)},
        device="S-Fifteen time tagger",
    )


def _expand(t_ps: TimesPs, pattern: npt.NDArray[np.uint8]) -> TimeTags:
    """One tag for each set bit, channels ascending within an event."""
    clicks = _BITS_IN[pattern]
    if pattern.size == 0 or clicks.max() == 1:
        return TimeTags(t_ps, _CHANNELS_OF[pattern, 0])
    rank = np.arange(int(clicks.sum())) - np.repeat(np.cumsum(clicks) - clicks, clicks)
    channel: Channels = _CHANNELS_OF[np.repeat(pattern, clicks), rank]
    return TimeTags(np.repeat(t_ps, clicks), channel)


def _carry_rollovers(units: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    """Carry the time on after every clean wrap: back by nearly the whole range, on within 17 s.

    A late word from before the wrap looks like the same step forward, and belongs to the turn before.
    """
    if units.size < 2 or int(units.max()) - int(units.min()) < WRAP_UNITS - ROLLOVER_GAP_UNITS:
        return units, 0
    step = np.diff(units)
    back = step <= ROLLOVER_GAP_UNITS - WRAP_UNITS
    forth = step >= WRAP_UNITS - ROLLOVER_GAP_UNITS
    turn = np.concatenate([[0], np.cumsum(back.astype(np.int64) - forth)])
    turn -= min(0, int(turn.min()))
    if int(turn.max()) >= MAX_TURNS:
        return units, 0
    return units + turn * WRAP_UNITS, int(turn.max())


def _fit(words: Words) -> _Fit:
    units, _ = _carry_rollovers((words >> np.uint64(10)).astype(np.int64))
    if not units.size:
        return _Fit(0, 0)
    late = np.maximum.accumulate(units) - units
    return _Fit(int(np.count_nonzero(late > REORDER_UNITS)), int(units.max()) - int(units.min()))


def _to_ps(units: npt.NDArray[np.int64]) -> TimesPs:
    # 1000/256 = 125/32 exactly, rounded to nearest, halves up; split so that no product exceeds int64.
    return (units >> 5) * 125 + (((units & 31) * 125 + 16) >> 5)


def _to_units(t_ps: TimesPs) -> npt.NDArray[np.int64]:
    # Rounded to nearest, so that units -> ps -> units is the identity (a unit is 3.9 ps, rounding loses 0.5).
    whole, rest = np.divmod(t_ps, 125)
    return (whole * 32 + (rest * 64 + 125) // 250) & (WRAP_UNITS - 1)
