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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError, TagFormatError
from distribution.formats.recording import Format, Recording, settle_order, write_atomically
from distribution.kernels.words import split_detections, split_words
from distribution.tags import EMPTY, TimesPs, TimeTags

Words = npt.NDArray[np.uint64]
Patterns = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

WORD_BYTES = 8
RESOLUTION_PS = 1000 / 256
DETECTORS = 4
WRAP_UNITS = 1 << 54
WRAP_PS = WRAP_UNITS * 125 // 32
REORDER_PS = (1 << 25) * 125 // 32
# A live tagger is never silent this long across a rollover; random data come so near with probability 2^-22 a step.
ROLLOVER_GAP_PS = (1 << 32) * 125 // 32
MAX_TURNS = 128  # int64 picoseconds last 106 days, 131 turns of the counter

# Words are put together in stretches that stay in the cache: passes over whole files are bound by memory.
_STRETCH = 1 << 15
_TIME_SHIFT = np.uint64(10)
_DUMMY = 1 << 4
_BITS_IN = np.array([p.bit_count() for p in range(16)], np.int64)
_CHANNELS_OF = np.zeros((16, DETECTORS), np.uint8)
for _p in range(16):
    _set = [c for c in range(DETECTORS) if _p >> c & 1]
    _CHANNELS_OF[_p, : len(_set)] = _set
_FIRST_CHANNEL = _CHANNELS_OF[:, 0].tobytes().ljust(256, b"\0")
LOWEST_BIT = np.frombuffer(bytearray(_FIRST_CHANNEL[:32]), np.uint8)
_IS_MULTIPLE = (_BITS_IN > 1).tobytes().ljust(256, b"\0")


@dataclass(frozen=True, slots=True, order=True)
class _Fit:
    """How badly a stretch of words reads in one word order."""

    violations: int
    span_ps: int


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
    if legacy is None:
        legacy = prefers_legacy(np.fromfile(path, "<u8", 1 << 16))
    which = Format.S15_A1_LEGACY if legacy else Format.S15_A1
    split = _split_nearly_sorted(_stretches_of(Path(path)), size // WORD_BYTES, legacy=legacy)
    if split is None:
        return recording_of(np.fromfile(path, "<u8"), legacy=legacy, format=which, what=name)
    tags, count, reordered = split
    return _counted(tags, count, format=which, what=name, reordered=reordered)


def fits(head: bytes) -> bool:
    """True if the head of a file reads as a1 words in at least one order (for format detection)."""
    raw = own_words(head[: len(head) // WORD_BYTES * WORD_BYTES])
    legacy = prefers_legacy(raw)
    named = _split(raw, legacy=legacy)[2][1:].any()
    return bool(named) and _fit(raw, legacy=legacy).violations == 0


def prefers_legacy(raw: Words) -> bool:
    """True if `raw` reads better with the high half first: fewer backward steps, then the shorter time span.

    In the wrong order the fast low half sits on top, so that times jump about over the counter's full range.
    One single word carries no evidence; it is read as low half first.
    """
    return _fit(raw, legacy=True) < _fit(raw, legacy=False)


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
    words = np.empty(len(tags), "<u8")
    for start in range(0, len(tags), _STRETCH):
        part = slice(start, start + _STRETCH)
        pattern = np.left_shift(np.uint64(1), tags.channel[part], dtype=np.uint64)
        words[part] = (to_units(tags.t_ps[part]).view(np.uint64) << _TIME_SHIFT) | pattern
    joins = (words[1:] ^ words[:-1]) < 1 << int(_TIME_SHIFT)
    if joins.any():
        joins &= tags.channel[1:] > tags.channel[:-1]
        words = np.bitwise_or.reduceat(words, np.flatnonzero(np.concatenate([[True], ~joins])))
    return words.tobytes()


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
    words = own_words(data)
    if not words.size:
        return EMPTY
    tags = recording_of(words, legacy=False, format=Format.S15_A1, what="the stream").tags
    if not len(tags):
        return EMPTY
    # Nearest multiple of the wrap, so that a slightly late word does not count as a whole turn.
    turns = (after_ps - int(tags.t_ps[0]) + WRAP_PS // 2) // WRAP_PS
    return TimeTags(tags.t_ps + turns * WRAP_PS, tags.channel) if turns > 0 else tags


def own_words(data: bytes | memoryview) -> Words:
    """Whole words, low half first, copied: numba would compile its kernels a second time for read-only arrays."""
    return np.frombuffer(bytearray(data), "<u8")


def recording_of(
    raw: Words, *, legacy: bool, format: Format, what: str, header_bytes: int = 0, record_bytes: int = WORD_BYTES
) -> Recording:
    """The recording that words make, whatever file they came from.

    Args:
        raw: shape (n,), uint64, writable.
        legacy: True = the halves of each word are exchanged.
        format: what the file was.
        what: name of the file or stream, for messages.
        header_bytes, record_bytes: where word i stands in the file, for messages.

    Raises:
        TagFormatError: no detector ever fired, or times that do not ascend.
    """
    split = _split_nearly_sorted(_stretches(raw), raw.size, legacy=legacy)
    if split is not None:
        return _counted(split[0], split[1], format=format, what=what, reordered=split[2])
    t_ps, flags, count = _split(raw, legacy=legacy)
    t_ps, rollovers = _carry_rollovers(t_ps)
    order, reordered = settle_order(
        t_ps, depth_ps=REORDER_PS, what=what, header_bytes=header_bytes, record_bytes=record_bytes
    )
    if order is not None:
        t_ps, flags = t_ps[order], flags[order]
    detected = (flags > 0) & (flags < _DUMMY)
    tags = _expand(t_ps[detected], flags[detected])
    return _counted(tags, count, format=format, what=what, rollovers=rollovers, reordered=reordered)


def _split_nearly_sorted(
    stretches: Iterable[Words], words: int, *, legacy: bool
) -> tuple[TimeTags, Counts, int] | None:
    """Tags by time, how often each value of the low five bits came, and the steps back, in one pass.

    Args:
        stretches: the words, in pieces of at most `_STRETCH`.
        words: how many there are in all.

    Returns:
        None as soon as a word is later than a card can be: the counter wrapped, or the file is no such file.
    """
    # Multiple clicks are rare; room that stays untouched costs no memory.
    room = words + words // 16 + DETECTORS * min(words, _STRETCH)
    t_ps, channel = np.empty(room, np.int64), np.empty(room, np.uint8)
    count, state, tags = np.zeros(32, np.int64), np.zeros(3, np.int64), 0
    for raw in stretches:
        if t_ps.size - tags < DETECTORS * raw.size:
            t_ps, channel = np.resize(t_ps, 2 * t_ps.size), np.resize(channel, 2 * channel.size)
        tags = split_detections(raw, legacy, REORDER_PS, LOWEST_BIT, tags, t_ps, channel, count, state)
        if tags < 0:
            return None
    return TimeTags(t_ps[:tags], channel[:tags]), count, int(state[2])


def _stretches(raw: Words) -> Iterator[Words]:
    for start in range(0, raw.size, _STRETCH):
        yield raw[start : start + _STRETCH]


def _stretches_of(path: Path) -> Iterator[Words]:
    """The words of a file in one buffer that stays in the cache: a whole file in memory would be read twice."""
    buffer = np.empty(_STRETCH, "<u8")
    with path.open("rb", buffering=0) as file:
        while got := file.readinto(buffer.data):
            yield buffer[: got // WORD_BYTES]


def _counted(
    tags: TimeTags, count: Counts, *, format: Format, what: str, rollovers: int = 0, reordered: int = 0
) -> Recording:
    if not count[1:].any():
        raise TagFormatError(f"{what}: no word names a detector", offset=0, hint="this is no S-Fifteen recording")
    return Recording(
        tags=tags,
        format=format,
        resolution_ps=RESOLUTION_PS,
        records=int(count.sum()),
        dummies=int(count[0] + count[_DUMMY:].sum()),
        rollovers=rollovers,
        reordered=reordered,
        patterns={p: int(count[p]) for p in range(1, _DUMMY) if count[p]},
        device="S-Fifteen time tagger",
    )


def _split(raw: Words, *, legacy: bool) -> tuple[TimesPs, Patterns, Counts]:
    """Times as they stand (ps), low five bits of every word, counts of their values."""
    t_ps, flags, count = np.empty(raw.size, np.int64), np.empty(raw.size, np.uint8), np.zeros(32, np.int64)
    split_words(raw, legacy, t_ps, flags, count)
    return t_ps, flags, count


def _expand(t_ps: TimesPs, pattern: Patterns) -> TimeTags:
    """One tag for each set bit, channels ascending within an event; events without a bit must be gone."""
    text = pattern.tobytes()
    # bytes.translate looks tables up faster than numpy, whose index would be eight bytes wide.
    channel = np.frombuffer(bytearray(text.translate(_FIRST_CHANNEL)), np.uint8)
    several = np.flatnonzero(np.frombuffer(text.translate(_IS_MULTIPLE), np.bool_))
    if not several.size:
        return TimeTags(t_ps, channel)
    # Multiple clicks are rare: their further tags are inserted behind the first.
    extra = _BITS_IN[pattern[several]] - 1
    event = np.repeat(several, extra)
    rank = 1 + np.arange(event.size) - np.repeat(np.cumsum(extra) - extra, extra)
    further = _CHANNELS_OF[pattern[event], rank]
    return TimeTags(np.insert(t_ps, event + 1, t_ps[event]), np.insert(channel, event + 1, further))


def _carry_rollovers(t_ps: TimesPs) -> tuple[TimesPs, int]:
    """Carry the time on after every clean wrap: back by nearly the whole range, on within 17 s.

    A late word from before the wrap looks like the same step forward, and belongs to the turn before.
    """
    if t_ps.size < 2 or int(t_ps.max()) - int(t_ps.min()) < WRAP_PS - ROLLOVER_GAP_PS:
        return t_ps, 0
    step = np.diff(t_ps)
    back = step <= ROLLOVER_GAP_PS - WRAP_PS
    forth = step >= WRAP_PS - ROLLOVER_GAP_PS
    turn = np.concatenate([[0], np.cumsum(back.astype(np.int64) - forth)])
    turn -= min(0, int(turn.min()))
    if int(turn.max()) >= MAX_TURNS:
        return t_ps, 0
    return t_ps + turn * WRAP_PS, int(turn.max())


def _fit(raw: Words, *, legacy: bool) -> _Fit:
    if not raw.size:
        return _Fit(0, 0)
    t_ps, _ = _carry_rollovers(_split(raw, legacy=legacy)[0])
    late = np.maximum.accumulate(t_ps) - t_ps
    return _Fit(int(np.count_nonzero(late > REORDER_PS)), int(t_ps.max()) - int(t_ps.min()))


def to_units(t_ps: TimesPs) -> npt.NDArray[np.int64]:
    """Times as the counter counts them, 1/256 ns modulo 2^54."""
    # Rounded to nearest, so that units -> ps -> units is the identity (a unit is 3.9 ps, rounding loses 0.5).
    whole = t_ps // 125
    return (whole * 32 + ((t_ps - 125 * whole) * 64 + 125) // 250) & (WRAP_UNITS - 1)
