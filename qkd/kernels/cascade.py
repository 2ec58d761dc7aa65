"""The Cascade schedule: which parities are due, what they are, and what the answers imply.

Both parties run these loops (for `qkd.reconciliation.schedule`, which states the rule) on the same `State` but for
the KEY column and `strings`. In every pass the string is cut into intervals: BOUNDS marks where one begins, and the end
of the string; ODD marks at its beginning an interval in which the two strings are known to differ an odd number of
times; `summary` marks the words of ODD that are not zero. So the work of a round follows its questions, not the
length of the strings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from distribution.kernels._jit import inlined, kernel
from qkd.kernels.words import count, highest, lowest, parity

U64 = npt.NDArray[np.uint64]
Asked = npt.NDArray[np.int32]  # (due, 4): one row per parity of the round

FRAME = np.dtype(
    [
        ("n", np.int64),  # length, bits
        ("words", np.int64),  # n // 64 + 1: packed words per pass, the bit at n included
        ("lines", np.int64),  # words of `summary` per pass
        ("base", np.int64),  # first row of `cells`; pass r starts r * words later
        ("line", np.int64),  # first word in `summary`; pass r starts r * lines later
        ("table", np.int64),  # first entry of the tables that frames of this length share
        ("mask_base", np.int64),  # first word in `masks`
        ("string", np.int64),  # first entry in `strings`
        ("stage", np.int64),  # passes begun; len(passes) + 1 once the masks are answered
        ("odd", np.int64),  # how many odd intervals there are, all passes
        ("due", np.int64),  # parities of this round
        ("mask", np.int64),  # the mask whose members low .. high - 1 are being searched
        ("low", np.int64),
        ("high", np.int64),
        ("differing", np.uint64),  # bit m: the strings differ an odd number of times in mask m
        ("leak", np.int64),  # parities disclosed so far
        ("errors", np.int64),  # bits corrected so far
    ],
    align=True,
)


KEY, BOUNDS, ODD = 0, 1, 2


class State(NamedTuple):
    """All frames of a batch at one party.

    Attributes:
        frames: shape (F,), dtype FRAME.
        blocks: int64 (F, passes): top-level block length of each pass.
        cells: uint64 (words, 3): KEY is the string in the order of each pass, packed from the lowest bit; BOUNDS and
            ODD are explained above. Side by side, because every question touches all three at one place.
        summary: uint64: bit w tells whether word w of ODD is not zero.
        masks: uint64: members of each mask in the order of pass 0.
        forward: uint32 (positions, passes): where a position of pass 0 is in the caller's string (column 0) and in
            the passes r > 0 (column r).
        backward: uint32 (passes - 1, positions): where a position of pass r > 0 is in pass 0 (row r - 1).
        strings: uint8 0/1: the caller's strings, one after the other.
        settings: int64: number of masks, 1 if this party corrects (Bob) else 0, parities allowed beyond n.
    """

    frames: npt.NDArray[Any]
    blocks: npt.NDArray[np.int64]
    cells: U64
    summary: U64
    masks: U64
    forward: npt.NDArray[np.uint32]
    backward: npt.NDArray[np.uint32]
    strings: npt.NDArray[np.uint8]
    settings: npt.NDArray[np.int64]


_ONE = np.uint64(1)
_NONE = np.int64(-1)
_IMPOSSIBLE = np.int64(-2)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@inlined
def _bit(cells: U64, column: int, base: int, i: int) -> np.uint64:
    """Bit i of a column, counted from the lowest bit of row `base`."""
    return (cells[base + (i >> 6), column] >> np.uint64(i & 63)) & _ONE


@inlined
def _flip(cells: U64, column: int, base: int, i: int) -> None:
    """Invert that bit."""
    cells[base + (i >> 6), column] ^= _ONE << np.uint64(i & 63)


@inlined
def _next_bound(cells: U64, base: int, i: int) -> int:
    """First boundary after i; there is one, because the end of the string is marked."""
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
def _range_parity(cells: U64, base: int, a: int, b: int) -> np.uint64:
    """Parity of the key bits a .. b - 1, b > a."""
    first = base + (a >> 6)
    last = base + ((b - 1) >> 6)
    x = cells[first, KEY] & (_ALL << np.uint64(a & 63))
    tail = _ALL >> np.uint64(63 - ((b - 1) & 63))
    if first == last:
        x &= tail
    else:
        for w in range(first + 1, last):
            x ^= cells[w, KEY]
        x ^= cells[last, KEY] & tail
    return parity(x)


@kernel
def _member(masks: U64, base: int, rank: int) -> int:
    """Position of the member of a mask with `rank` members before it."""
    w = base
    ones = count(masks[w])
    while ones <= rank:
        rank -= ones
        w += 1
        ones = count(masks[w])
    x = masks[w]
    for _ in range(rank):
        x &= x - _ONE
    return ((w - base) << 6) + lowest(x)


@kernel
def _members(masks: U64, base: int, words: int) -> int:
    """How many members a mask has."""
    total = np.int64(0)
    for w in range(base, base + words):
        total += count(masks[w])
    return total


@kernel
def _masked_parity(cells: U64, base: int, masks: U64, mask_base: int, a: int, b: int) -> np.uint64:
    """Parity of the mask's members among bits a .. b - 1, b > a."""
    first = a >> 6
    last = (b - 1) >> 6
    x = np.uint64(0)
    for w in range(first, last + 1):
        y = cells[base + w, KEY] & masks[mask_base + w]
        if w == first:
            y &= _ALL << np.uint64(a & 63)
        if w == last:
            y &= _ALL >> np.uint64(63 - ((b - 1) & 63))
        x ^= y
    return parity(x)


@inlined
def _put(out: npt.NDArray[np.uint8], i: int, bit: np.uint64) -> None:
    """Bit i of a packed message, most significant bit of each byte first; the message starts as zeros."""
    out[i >> 3] |= np.uint8(bit << np.uint64(7 - (i & 7)))


@inlined
def _get(message: npt.NDArray[np.uint8], i: int) -> np.uint64:
    """Inverse of `_put`."""
    return np.uint64(message[i >> 3] >> np.uint8(7 - (i & 7))) & _ONE


@inlined
def _toggle(s: State, frame: Any, r: int, a: int) -> None:
    """The interval of pass r that begins at a changes between odd and even."""
    w = a >> 6
    place = frame["base"] + r * frame["words"] + w
    s.cells[place, ODD] ^= _ONE << np.uint64(a & 63)
    frame["odd"] += 2 * np.int64((s.cells[place, ODD] >> np.uint64(a & 63)) & _ONE) - 1
    line = frame["line"] + r * frame["lines"] + (w >> 6)
    if s.cells[place, ODD] != 0:
        s.summary[line] |= _ONE << np.uint64(w & 63)
    else:
        s.summary[line] &= ~(_ONE << np.uint64(w & 63))


@inlined
def _correct(s: State, frame: Any, c: int) -> bool:
    """Position c of pass 0 holds an error: note it in every pass and mask.

    Returns False if a pass has that bit singled out as right: only parities that contradict each other do that.
    """
    passes = s.blocks.shape[1]
    corrects = s.settings[1] != 0
    frame["errors"] += 1
    if corrects:
        s.strings[frame["string"] + np.int64(s.forward[frame["table"] + c, 0])] ^= np.uint8(1)
    sound = True
    j = c
    for r in range(passes):
        if r > 0:
            j = np.int64(s.forward[frame["table"] + c, r])
        base = frame["base"] + r * frame["words"]
        if corrects:
            _flip(s.cells, KEY, base, j)
        if r < frame["stage"]:
            a = _this_bound(s.cells, base, j)
            _toggle(s, frame, r, a)
            if a == j and _bit(s.cells, ODD, base, a) and _bit(s.cells, BOUNDS, base, a + 1):
                sound = False
    if frame["stage"] > passes:
        for m in range(s.settings[0]):
            w = frame["mask_base"] + m * frame["words"] + (c >> 6)
            frame["differing"] ^= ((s.masks[w] >> np.uint64(c & 63)) & _ONE) << np.uint64(m)
    return sound


@kernel
def plan(s: State) -> int:
    """Set how many parities each frame has due; returns their sum, or -1 - f if frame f would disclose too many."""
    passes = s.blocks.shape[1]
    total = np.int64(0)
    for f in range(s.frames.size):
        frame = s.frames[f]
        due = np.int64(0)
        if frame["odd"] > 0:
            due = frame["odd"]
        elif frame["high"] > frame["low"]:
            due = np.int64(1)
        elif frame["stage"] < passes:
            due = (frame["n"] - 1) // s.blocks[f, frame["stage"]]
            # Later passes leave out the last block: the parity of the whole string is known from pass 0.
            if frame["stage"] == 0:
                due += 1
        elif frame["stage"] == passes:
            due = s.settings[0]
        frame["due"] = due
        if frame["leak"] + due > frame["n"] + s.settings[2]:
            return -1 - f
        frame["leak"] += due
        total += due
    return total


@inlined
def _ask_halves(s: State, frame: Any, asked: Asked, out: npt.NDArray[np.uint8], i: int) -> None:
    """Left halves of all odd intervals, by pass and position; `asked` keeps pass, start, middle and end of each."""
    for r in range(min(frame["stage"], s.blocks.shape[1])):
        base = frame["base"] + r * frame["words"]
        line = frame["line"] + r * frame["lines"]
        for v in range(frame["lines"]):
            some = s.summary[line + v]
            while some != 0:
                w = (v << 6) + lowest(some)
                some &= some - _ONE
                x = s.cells[base + w, ODD]
                while x != 0:
                    a = (w << 6) + lowest(x)
                    x &= x - _ONE
                    b = _next_bound(s.cells, base, a)
                    middle = (a + b) >> 1
                    _put(out, i, _range_parity(s.cells, base, a, middle))
                    asked[i, 0] = r
                    asked[i, 1] = a
                    asked[i, 2] = middle
                    asked[i, 3] = b
                    i += 1


@kernel
def ask(s: State, asked: Asked, out: npt.NDArray[np.uint8]) -> None:
    """This party's parities that `plan` found due, frame by frame, packed into `out`."""
    passes = s.blocks.shape[1]
    i = np.int64(0)
    for f in range(s.frames.size):
        frame = s.frames[f]
        base = frame["base"]
        if frame["odd"] > 0:
            _ask_halves(s, frame, asked, out, i)
        elif frame["high"] > frame["low"]:
            mask = frame["mask_base"] + frame["mask"] * frame["words"]
            a = _member(s.masks, mask, frame["low"])
            b = _member(s.masks, mask, (frame["low"] + frame["high"]) >> 1)
            _put(out, i, _masked_parity(s.cells, base, s.masks, mask, a, b))
        elif frame["stage"] < passes:
            k = s.blocks[f, frame["stage"]]
            for t in range(frame["due"]):
                end = min(frame["n"], (t + 1) * k)
                _put(out, i + t, _range_parity(s.cells, base + frame["stage"] * frame["words"], t * k, end))
        else:
            for m in range(frame["due"]):
                mask = frame["mask_base"] + m * frame["words"]
                _put(out, i + m, _masked_parity(s.cells, base, s.masks, mask, 0, frame["n"]))
        i += frame["due"]


@inlined
def _halve(s: State, frame: Any, asked: Asked, answer: npt.NDArray[np.uint8], i: int) -> int:
    """Cut the odd intervals: one half is odd, the other even. Odd halves of one bit go to rows i .. (returned) - 1."""
    singles = i
    for t in range(i, i + frame["due"]):
        r = np.int64(asked[t, 0])
        a = np.int64(asked[t, 1])
        end = np.int64(asked[t, 2])
        _flip(s.cells, BOUNDS, frame["base"] + r * frame["words"], end)
        if _get(answer, t) == 0:
            _toggle(s, frame, r, a)
            _toggle(s, frame, r, end)
            a = end
            end = np.int64(asked[t, 3])
        if end - a == 1:
            asked[singles, 0] = r
            asked[singles, 1] = a
            singles += 1
    return singles


@kernel
def _begin_pass(s: State, frame: Any, k: int, asked: Asked, answer: npt.NDArray[np.uint8], i: int) -> int:
    """Cut the next pass into blocks and mark the odd ones; an odd last block of one bit goes to row i, as above."""
    r = frame["stage"]
    n = frame["n"]
    base = frame["base"] + r * frame["words"]
    last = (n - 1) // k
    frame["stage"] += 1
    _flip(s.cells, BOUNDS, base, n)
    total = np.uint64(0)
    for t in range(last + 1):
        # The whole string differs evenly when a later pass begins, which gives the block that was not asked.
        d = total
        if t < frame["due"]:
            d = _get(answer, i + t)
        total ^= d
        _flip(s.cells, BOUNDS, base, t * k)
        if d != 0:
            _toggle(s, frame, r, t * k)
    if last * k < n - 1 or _bit(s.cells, ODD, base, n - 1) == 0:
        return i
    asked[i, 0] = r
    asked[i, 1] = n - 1
    return i + 1


@kernel
def _search(s: State, frame: Any) -> int:
    """With all intervals even, go on in the masks.

    Returns a position of pass 0 that is in error, _NONE, or _IMPOSSIBLE if a mask without members is said to differ.
    """
    if frame["odd"] > 0 or frame["stage"] <= s.blocks.shape[1]:
        return _NONE
    if frame["high"] == frame["low"]:
        if frame["differing"] == 0:
            return _NONE
        frame["mask"] = lowest(frame["differing"])
        frame["low"] = 0
        frame["high"] = _members(s.masks, frame["mask_base"] + frame["mask"] * frame["words"], frame["words"])
        if frame["high"] == 0:
            return _IMPOSSIBLE
    if frame["high"] - frame["low"] != 1:
        return _NONE
    c = _member(s.masks, frame["mask_base"] + frame["mask"] * frame["words"], frame["low"])
    frame["low"] = 0
    frame["high"] = 0
    return c


@inlined
def _take(s: State, f: int, frame: Any, asked: Asked, answer: npt.NDArray[np.uint8], i: int) -> int:
    """Take in one frame's answers; rows i .. (returned) - 1 of `asked` then hold its odd intervals of one bit."""
    singles = i
    if frame["odd"] > 0:
        singles = _halve(s, frame, asked, answer, i)
    elif frame["high"] > frame["low"]:
        middle = (frame["low"] + frame["high"]) >> 1
        if _get(answer, i) != 0:
            frame["high"] = middle
        else:
            frame["low"] = middle
    elif frame["stage"] < s.blocks.shape[1]:
        singles = _begin_pass(s, frame, s.blocks[f, frame["stage"]], asked, answer, i)
    else:
        frame["stage"] += 1
        for m in range(frame["due"]):
            frame["differing"] |= _get(answer, i + m) << np.uint64(m)
    return singles


@inlined
def _settle(s: State, frame: Any, asked: Asked, i: int, singles: int) -> bool:
    """Correct what was singled out, then what the masks single out; False if that contradicts itself."""
    c = np.int64(0)
    sound = True
    while sound and c >= 0:
        if i < singles:
            r = np.int64(asked[i, 0])
            a = np.int64(asked[i, 1])
            i += 1
            if _bit(s.cells, ODD, frame["base"] + r * frame["words"], a) == 0:
                continue  # two passes found the same error in this round; the first correction settled both
            c = a
            if r > 0:
                c = np.int64(s.backward[r - 1, frame["table"] + a])
        else:
            c = _search(s, frame)
        if c >= 0:
            sound = _correct(s, frame, c)
    return sound and c != _IMPOSSIBLE


@kernel
def apply(s: State, asked: Asked, answer: npt.NDArray[np.uint8]) -> int:
    """Take in the difference bits of the round that `ask` asked; returns -1, or the frame that contradicts itself."""
    i = np.int64(0)
    for f in range(s.frames.size):
        frame = s.frames[f]
        if frame["due"] == 0 and frame["stage"] > s.blocks.shape[1]:
            continue
        singles = _take(s, f, frame, asked, answer, i)
        if not _settle(s, frame, asked, i, singles):
            return f
        i += frame["due"]
    return -1
