"""Cascade after its first pass: which parities are due, what they are, and what the answers imply.

Both parties run these loops (for `qkd.reconciliation.schedule`, which states the rule) on the same `State` but for
the KEY column. In both passes the string is cut into intervals: BOUNDS marks where one begins, and the end of the
last block; ODD marks at its beginning an interval in which the two strings are known to differ an odd number of
times, WAITS one that stands in the queue. A queue's rows are (pass, begin, half the length); each frame has a stretch
of it. An interval that became even while it waited is dropped. So the work of a round follows
its questions, not the length of the strings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, lean
from qkd.kernels.blocks import BOUNDS, KEY, ODD, WAITS, left_parity
from qkd.kernels.words import highest, lowest, parity, prefetch

U64 = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Table = npt.NDArray[np.unsignedinteger]
Settings = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]

FRAME = np.dtype(
    [
        ("n", np.int64),  # length, bits
        ("words", np.int64),  # rows of `cells` per pass; the end of the last block has a bit of its own
        ("base", np.int64),  # first row of `cells`; pass 1 starts `words` later
        ("table", np.int64),  # first entry of the tables that frames of this length share
        ("mask_base", np.int64),  # first word in `masks`
        ("mask_words", np.int64),  # words of each mask
        ("stage", np.int64),  # one of the stages below
        ("odd", np.int64),  # odd intervals, both passes
        ("queued", np.int64),  # rows of the queue
        ("asks", np.int64),  # one of the kinds of question below
        ("due", np.int64),  # parities of this round
        ("rest", np.int64),  # rows of the queue that the limit left for later
        ("mask", np.int64),  # the mask whose members low .. low + length - 1 are being searched
        ("low", np.int64),
        ("length", np.int64),  # 0 when none is
        ("differing", np.uint64),  # bit m: the strings differ an odd number of times in mask m
        ("leak", np.int64),  # independent parities disclosed so far
        ("errors", np.int64),  # bits corrected so far
    ],
    align=True,
)
PASSES, MASKS, FAILED = 0, 1, 2  # stages
NOTHING, HALVES, SUBSETS, RANGE = 0, 1, 2, 3  # kinds of question


class State(NamedTuple):
    """All frames of a batch at one party.

    Attributes:
        frames: shape (F,), dtype FRAME.
        cells: uint64 (words, 4): KEY is the string in the order of each pass, packed from the lowest bit; the others
            are explained above. Side by side, because every question touches them at one place.
        masks: uint64: members of each mask in the order of pass 0.
        forward: where a position of pass 0 is in pass 1; backward: the inverse. Unsigned, as narrow as n allows.
        settings: int64: number of masks, 1 if this party corrects (Bob) else 0, parities allowed beyond n, most
            intervals of pass 1 that a frame cuts in a round.
    """

    frames: npt.NDArray[Any]
    cells: U64
    masks: U64
    forward: Table
    backward: Table
    settings: Settings


_ONE = np.uint64(1)
_NONE = np.int64(-1)
_IMPOSSIBLE = np.int64(-2)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@inlined
def _bit(cells: U64, column: int, base: int, i: int) -> np.uint64:
    """Bit i of a column, counted from the lowest bit of row `base`."""
    return (cells[base + (i >> 6), column] >> np.uint64(i & 63)) & _ONE


@inlined
def _next_bound(cells: U64, base: int, i: int) -> int:
    """First boundary after i; there is one, because the end of the last block is marked."""
    w = (i + 1) >> 6
    x = cells[base + w, BOUNDS] & (_ALL << np.uint64((i + 1) & 63))
    while x == 0:
        w += 1
        x = cells[base + w, BOUNDS]
    return (w << 6) + lowest(x)


@inlined
def _this_bound(cells: U64, base: int, i: int) -> int:
    """Last boundary at or before i; there is one, because position 0 is marked."""
    w = i >> 6
    x = cells[base + w, BOUNDS] & (_ALL >> np.uint64(63 - (i & 63)))
    while x == 0:
        w -= 1
        x = cells[base + w, BOUNDS]
    return (w << 6) + highest(x)


@inlined
def _single(cells: U64, base: int, i: int) -> np.uint64:
    """1 if position i is an interval of its own, so that Alice's bit there has been disclosed."""
    return _bit(cells, BOUNDS, base, i) & _bit(cells, BOUNDS, base, i + 1)


@inlined
def _masked_parity(cells: U64, base: int, masks: U64, mask_base: int, a: int, length: int) -> np.uint64:
    """Parity of the mask's members among bits a .. a + length - 1; length is a power of two and divides a."""
    w = a >> 6
    x = cells[base + w, KEY] & masks[mask_base + w]
    if length < 64:
        x = (x >> np.uint64(a & 63)) & ~(_ALL << np.uint64(length))
    else:
        for v in range(w + 1, w + (length >> 6)):
            x ^= cells[base + v, KEY] & masks[mask_base + v]
    return parity(x)


@inlined
def _has_member(masks: U64, mask_base: int, words: int, a: int, length: int) -> bool:
    """Whether the mask has a member among positions a .. a + length - 1."""
    w = a >> 6
    if w >= words:
        return False
    if length < 64:
        return (masks[mask_base + w] >> np.uint64(a & 63)) & ~(_ALL << np.uint64(length)) != 0
    found = False
    for v in range(w, min(words, w + (length >> 6))):
        if masks[mask_base + v] != 0:
            found = True
            break
    return found


@inlined
def _put(rows: Rows, i: int, r: int, a: int, half: int) -> None:
    """Row i of a queue."""
    rows[i, 0] = r
    rows[i, 1] = a
    rows[i, 2] = half


@lean
def begin(s: State, queue: Rows) -> int:
    """Queue the odd intervals with which pass 1 begins; returns their number. There must be room for all its blocks."""
    frames, cells = s.frames, s.cells
    i = np.int64(0)
    for f in range(frames.size):
        frame = frames[f]
        base = frame["base"] + frame["words"]
        before = i
        for w in range(frame["words"]):
            m = cells[base + w, ODD]
            cells[base + w, WAITS] = m
            while m != 0:
                a = (w << 6) + lowest(m)
                m &= m - _ONE
                _put(queue, i, 1, a, (_next_bound(cells, base, a) - a) >> 1)
                i += 1
        frame["queued"] = i - before
        frame["odd"] = i - before
    return i


@inlined
def _tells(cells: U64, table: Table, at: int, base: int, room: int, half: int) -> bool:
    """Whether the parity of the left half of an interval is independent of what was disclosed before.

    It is not if the right half lies behind the string's end, nor if the interval is two bits long and the other pass,
    whose rows begin at `base`, has singled out one of them.
    """
    told = half < room
    if told and half == 1:
        u = np.int64(table[at])
        v = np.int64(table[at + 1])
        told = (_single(cells, base, u) | _single(cells, base, v)) == 0
    return told


@inlined
def _foresee(cells: U64, forward: Table, backward: Table, frame: Any, rows: Rows, at: int, count: int) -> None:
    """Have the cells brought into the cache that the rows at .. at + count - 1 of a frame are about to touch.

    They lie all over a few megabytes, and nothing else in a round takes as long as waiting for them.
    """
    n, words, table, first = frame["n"], frame["words"], frame["table"], frame["base"]
    for t in range(at, at + count):
        r = np.int64(rows[t, 0])
        a = np.int64(rows[t, 1])
        prefetch(cells, first + r * words + (a >> 6))
        if rows[t, 2] == 1 and a + 1 < n:
            if r == 0:
                prefetch(cells, first + words + (np.int64(forward[table + a]) >> 6))
                prefetch(cells, first + words + (np.int64(forward[table + a + 1]) >> 6))
            else:
                prefetch(cells, first + (np.int64(backward[table + a]) >> 6))
                prefetch(cells, first + (np.int64(backward[table + a + 1]) >> 6))


@inlined
def _ask_halves(
    cells: U64,
    forward: Table,
    backward: Table,
    limit: int,
    frame: Any,
    queue: Rows,
    at: int,
    asked: Rows,
    out: Bytes,
    i: int,
) -> None:
    """Left halves of the intervals whose turn it is; rows that the limit leaves for later close up at `at`."""
    n, words, table, first = frame["n"], frame["words"], frame["table"], frame["base"]
    told = np.int64(0)
    due = np.int64(0)
    rest = np.int64(0)
    room = np.int64(limit)
    for t in range(at, at + frame["queued"]):
        r = np.int64(queue[t, 0])
        a = np.int64(queue[t, 1])
        half = np.int64(queue[t, 2])
        base = first + r * words
        if _bit(cells, ODD, base, a) == 0:
            cells[base + (a >> 6), WAITS] ^= _ONE << np.uint64(a & 63)
        elif r > 0 and room == 0:
            _put(queue, at + rest, r, a, half)
            rest += 1
        else:
            room -= r
            out[i + due] = left_parity(cells, base, a, half)
            if r == 0:
                told += _tells(cells, forward, table + a, first + words, n - a, half)
            else:
                told += _tells(cells, backward, table + a, first, n - a, half)
            _put(asked, i + due, r, a, half)
            due += 1
    frame["due"] = due
    frame["rest"] = rest
    frame["leak"] += told


@inlined
def _ask_masks(cells: U64, masks: U64, count: int, frame: Any, out: Bytes, i: int) -> None:
    """The parities of all random subsets."""
    for m in range(count):
        mask = frame["mask_base"] + m * frame["mask_words"]
        x = np.uint64(0)
        for w in range(frame["mask_words"]):
            x ^= cells[frame["base"] + w, KEY] & masks[mask + w]
        out[i + m] = parity(x)
    frame["due"] = count
    frame["leak"] += count


@lean
def ask(s: State, queue: Rows, asked: Rows, out: Bytes) -> int:
    """This party's parities that are due, frame by frame, one byte each; returns their number.

    `asked` gets the rows of the queue that are due. A frame that would disclose more than it has bits is given up.
    """
    frames, cells, masks, settings = s.frames, s.cells, s.masks, s.settings
    forward, backward = s.forward, s.backward
    i = np.int64(0)
    at = np.int64(0)
    for f in range(frames.size):
        frame = frames[f]
        queued = np.int64(frame["queued"])
        if f + 1 < frames.size:
            ahead = frames[f + 1]
            _foresee(cells, forward, backward, ahead, queue, at + queued, ahead["queued"])
        frame["due"] = 0
        frame["rest"] = 0
        frame["asks"] = NOTHING
        if frame["stage"] != FAILED:
            _ask_halves(cells, forward, backward, settings[3], frame, queue, at, asked, out, i)
            if frame["due"] > 0:
                frame["asks"] = HALVES
            elif frame["stage"] == PASSES:
                frame["asks"] = SUBSETS
                _ask_masks(cells, masks, settings[0], frame, out, i)
            elif frame["length"] > 0:
                frame["asks"] = RANGE
                mask = frame["mask_base"] + frame["mask"] * frame["mask_words"]
                out[i] = _masked_parity(cells, frame["base"], masks, mask, frame["low"], frame["length"] >> 1)
                frame["due"] = 1
                frame["leak"] += 1
            if frame["leak"] > frame["n"] + settings[2]:
                frame["stage"] = FAILED
                frame["asks"] = NOTHING
                frame["due"] = 0
                frame["rest"] = 0
        at += queued
        i += frame["due"]
    return i


@inlined
def _enter(cells: U64, frame: Any, r: int, a: int, half: int, queue: Rows, to: int) -> int:
    """Put an odd interval into the queue, unless it stands there already; returns the queue's new end."""
    place = frame["base"] + r * frame["words"] + (a >> 6)
    bit = _ONE << np.uint64(a & 63)
    if cells[place, WAITS] & bit != 0:
        return to
    cells[place, WAITS] |= bit
    _put(queue, to, r, a, half)
    return to + 1


@inlined
def _halve(cells: U64, frame: Any, asked: Rows, answer: Bytes, i: int, queue: Rows, to: int) -> tuple[int, int]:
    """Cut the intervals asked: one half is odd, the other even.

    Odd halves of one bit go to rows i .. (first returned) - 1 of `asked`, others to the queue, whose end comes second.
    """
    singles = i
    for t in range(i, i + frame["due"]):
        r = np.int64(asked[t, 0])
        a = np.int64(asked[t, 1])
        half = np.int64(asked[t, 2])
        base = frame["base"] + r * frame["words"]
        here = base + (a >> 6)
        there = base + ((a + half) >> 6)
        left = _ONE << np.uint64(a & 63)
        right = _ONE << np.uint64((a + half) & 63)
        cells[there, BOUNDS] |= right
        cells[here, WAITS] ^= left
        if answer[t] == 0:
            cells[here, ODD] ^= left
            cells[there, ODD] |= right
            a += half
        if half > 1:
            to = _enter(cells, frame, r, a, half >> 1, queue, to)
        else:
            _put(asked, singles, r, a, 0)
            singles += 1
    return singles, to


@inlined
def _toggle(cells: U64, frame: Any, r: int, j: int, key: np.uint64, queue: Rows, to: int) -> int:
    """Position j of pass r was in error: its interval changes between odd and even.

    `key` is 1 where the bit itself is corrected. Returns the queue's new end, or -1 if the position had been singled
    out as right: only parities that contradict each other do that.
    """
    base = frame["base"] + r * frame["words"]
    cells[base + (j >> 6), KEY] ^= key << np.uint64(j & 63)
    a = _this_bound(cells, base, j)
    place = base + (a >> 6)
    bit = _ONE << np.uint64(a & 63)
    cells[place, ODD] ^= bit
    if cells[place, ODD] & bit == 0:
        frame["odd"] -= 1
        return to
    frame["odd"] += 1
    length = _next_bound(cells, base, j) - a
    if length == 1:
        return -1
    return _enter(cells, frame, r, a, length >> 1, queue, to)


@inlined
def _correct(
    cells: U64, masks: U64, forward: Table, settings: Settings, frame: Any, c: int, queue: Rows, to: int
) -> int:
    """Position c of pass 0 holds an error: note it in both passes and all masks; returns as `_toggle`."""
    frame["errors"] += 1
    key = np.uint64(settings[1])
    to = _toggle(cells, frame, 0, c, key, queue, to)
    if to >= 0:
        to = _toggle(cells, frame, 1, np.int64(forward[frame["table"] + c]), key, queue, to)
    if frame["stage"] == MASKS:
        for m in range(settings[0]):
            w = frame["mask_base"] + m * frame["mask_words"] + (c >> 6)
            frame["differing"] ^= ((masks[w] >> np.uint64(c & 63)) & _ONE) << np.uint64(m)
    return to


@inlined
def _search(masks: U64, frame: Any) -> int:
    """With all intervals even, go on in the masks.

    Returns a position of pass 0 that is in error, _NONE, or _IMPOSSIBLE if a mask without members is said to differ.
    """
    if frame["length"] == 0:
        if frame["differing"] == 0:
            return _NONE
        frame["mask"] = lowest(frame["differing"])
        frame["low"] = 0
        frame["length"] = np.int64(1) << (1 + highest(np.uint64(frame["n"])))
    mask = frame["mask_base"] + frame["mask"] * frame["mask_words"]
    while frame["length"] > 1:
        half = frame["length"] >> 1
        # A half without members tells nothing: the error is in the other one.
        middle = frame["low"] + half
        left = _has_member(masks, mask, frame["mask_words"], frame["low"], half)
        right = _has_member(masks, mask, frame["mask_words"], middle, half)
        if left and right:
            return _NONE
        if not left and not right:
            return _IMPOSSIBLE
        frame["length"] = half
        if right:
            frame["low"] = middle
    frame["length"] = 0
    return np.int64(frame["low"])


@inlined
def _take_singles(
    cells: U64,
    masks: U64,
    forward: Table,
    backward: Table,
    settings: Settings,
    frame: Any,
    asked: Rows,
    i: int,
    singles: int,
    queue: Rows,
    to: int,
) -> int:
    """Correct what was singled out; returns the queue's new end, or -1 if the answers contradict each other."""
    words, first, table = frame["words"], frame["base"], frame["table"]
    for t in range(i, singles):
        r = np.int64(asked[t, 0])
        a = np.int64(asked[t, 1])
        if _bit(cells, ODD, first + r * words, a) == 0:
            continue  # two passes found the same error in this round; the first correction settled both
        if a >= frame["n"]:
            return -1
        c = a
        if r > 0:
            c = np.int64(backward[table + a])
        to = _correct(cells, masks, forward, settings, frame, c, queue, to)
        if to < 0:
            return -1
    return to


@inlined
def _take_masks(frame: Any, answer: Bytes, i: int) -> None:
    """Which subsets differ, or which half of the range that is being searched."""
    if frame["asks"] == SUBSETS:
        frame["stage"] = MASKS
        for m in range(frame["due"]):
            frame["differing"] |= np.uint64(answer[i + m]) << np.uint64(m)
    elif frame["asks"] == RANGE:
        frame["length"] >>= 1
        if answer[i] == 0:
            frame["low"] += frame["length"]


@lean
def take(s: State, queue: Rows, asked: Rows, answer: Bytes, following: Rows) -> int:
    """Take in the difference bits of the round that `ask` asked.

    `following` is the next round's queue: halves of what was asked, what corrections made odd, what was left over.
    Returns its rows, at most those of `queue`, two more a question and two a frame; or -1 - f if frame f contradicts
    itself.
    """
    frames, cells, masks, settings = s.frames, s.cells, s.masks, s.settings
    forward, backward = s.forward, s.backward
    i = np.int64(0)
    at = np.int64(0)
    to = np.int64(0)
    for f in range(frames.size):
        frame = frames[f]
        begin_to = to
        if f + 1 < frames.size and frames[f + 1]["asks"] == HALVES:
            ahead = frames[f + 1]
            _foresee(cells, forward, backward, ahead, asked, i + frame["due"], ahead["due"])
        if frame["asks"] == HALVES:
            singles, to = _halve(cells, frame, asked, answer, i, following, to)
            to = _take_singles(cells, masks, forward, backward, settings, frame, asked, i, singles, following, to)
            if to < 0:
                return -1 - f
        else:
            _take_masks(frame, answer, i)
        for t in range(at, at + frame["rest"]):
            _put(following, to, queue[t, 0], queue[t, 1], queue[t, 2])
            to += 1
        if frame["asks"] != NOTHING and frame["stage"] == MASKS and frame["odd"] == 0:
            c = _search(masks, frame)
            if c >= 0:
                to = _correct(cells, masks, forward, settings, frame, c, following, to)
            elif c == _IMPOSSIBLE:
                to = np.int64(-1)
        if to < 0:
            return -1 - f
        at += frame["queued"]
        frame["queued"] = to - begin_to
        i += frame["due"]
    return to


@lean
def turn(s: State, queue: Rows, asked: Rows, answer: Bytes, following: Rows, out: Bytes) -> tuple[int, int]:
    """`take`, then `ask` from the queue that follows: what is due, or -1 - f, and the rows of that queue."""
    rows = take(s, queue, asked, answer, following)
    if rows < 0:
        return rows, np.int64(0)
    return ask(s, following, asked, out), rows
