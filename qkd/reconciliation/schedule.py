"""The one schedule that both parties run, so that a question costs one bit each way and no address.

Only public things drive it: lengths, error-rate priors, the seed, and the difference bits. A block of pass 0 or 1 is
an aligned power of two long, and so is every half of it; a string is thought to go on with zeros behind its end.
Each round asks, frame by frame in the order of the batch:

1. the parities of the blocks of pass 0: the string in a random order, cut into blocks;
2. by position, the left halves of all intervals of pass 0 in which the strings differ an odd number of times (the
   parity of the right half follows), until each is one bit: an error, which is corrected;
3. when no frame has any left, the blocks of pass 1: the string in a second order; the last block follows.

From then on each frame goes its own way, with a queue of odd intervals: at first the odd blocks of pass 1 by position.
A round first drops from the queue what has become even, and then asks

4. the left halves of all intervals of pass 0 in the queue, and of as many of pass 1 as the preset's limit allows, in
   the queue's order. An odd half of one bit is an error, corrected at once in both passes. The next queue is: the odd
   halves of what was asked; the interval of pass 0 and the one of pass 1 that each correction in turn made odd, unless
   they stand there already; what the limit left over;
5. with an empty queue, the parities of the `masks` random subsets, once;
6. with an empty queue and a subset that differs, the left half of the range in which the first such subset is being
   searched; it begins with all positions 0 .. 2^j - 1, 2^j > n, and a half without members is passed over. A range of
   one member is an error; what its correction makes odd joins the queue.

A frame that would have disclosed more than n + 64 parities is given up: it asks nothing more and stays as it is.

All answers of a round are about the strings as they were when it began.

The leak counts what was asked, less what follows from earlier parities: a left half whose right half lies behind the
string's end, and one bit of two in an interval of step 4 if the other pass has singled out either of them. Of a
frame of at most 512 bits it is the rank of all forms asked (`qkd.reconciliation.rank`).

Expansion from the seed (`qkd.randomness`), for frames of n bits: entry j of the permutation labelled
"cascade/<n>/pass/0" is the place in the caller's string of position j of pass 0; entry j of "cascade/<n>/pass/1" is
the place in pass 0 of position j of pass 1; bit c of "cascade/<n>/mask/<m>" says whether position c of pass 0 is a
member of mask m. Frames of one length share them: their errors have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkd.bits import Bits
from qkd.errors import ReconciliationFailed
from qkd.kernels import bitslice, blocks
from qkd.kernels import cascade as kernels
from qkd.kernels.shuffle import invert
from qkd.randomness import expand_bytes, expand_permutation
from qkd.reconciliation import rank
from qkd.reconciliation.rank import Forms

# A frame that has disclosed more parities than it has bits keeps no secret; a frame of few bits is let off some.
LEAK_SLACK_BITS = 64
# Several times what the most patient preset takes: only a peer that makes answers up gets there.
MAX_ROUNDS = 50_000
SLICE, EIGHT = 64, 8
# Below so many frames of one length it is cheaper to move their bits one by one.
FEW = 3
# Each byte with its bits the other way round: members come most significant bit first and are kept lowest first.
_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
Order = npt.NDArray[np.unsignedinteger]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cut:
    """How a pass of n bits is cut: `wide` blocks of 2^(log + 1) bits, then blocks of 2^log, `blocks` in all."""

    log: int
    wide: int
    blocks: int

    @classmethod
    def near(cls, length: float, n: int) -> Cut:
        """Blocks of about `length` bits: the two powers of two around it, mixed so that f has no steps.

        A share length / 2^log - 1 of the string, rounded down to whole words, goes to the wider ones.
        """
        log = 1
        while log < 40 and 2 << log <= min(length, n):
            log += 1
        share = min(max(length / (1 << log) - 1.0, 0.0), 1.0)
        unit = max(64, 2 << log)
        wide = int(share * n / unit) * (unit >> (log + 1))
        return cls(log, wide, wide + -(-(n - (wide << (log + 1))) // (1 << log)))

    @property
    def end(self) -> int:
        """Where the last block ends, at or behind the end of the string."""
        return (self.wide + self.blocks) << self.log


@dataclass(frozen=True, slots=True)
class _Tables:
    """What frames of one length share."""

    natural: Order  # place in the caller's string of each position of pass 0
    forward: Order
    backward: Order
    masks: npt.NDArray[np.uint64]

    @classmethod
    def expand(cls, seed: bytes, n: int, masks: int) -> _Tables:
        packed = np.zeros((masks, 8 * (n // 64 + 1)), np.uint8)
        size = (n + 7) // 8
        for m in range(masks):
            stream = expand_bytes(seed, f"cascade/{n}/mask/{m}", size)
            packed[m, :size] = np.frombuffer(stream.translate(_TURNED), np.uint8)
        packed[:, size - 1] &= 0xFF >> -n % 8
        natural, backward = (_narrow(expand_permutation(seed, f"cascade/{n}/pass/{r}", n)) for r in range(2))
        return cls(natural, _inverse(backward), backward, packed.reshape(-1).view("<u8").astype(np.uint64))


def _narrow(order: npt.NDArray[np.uint32]) -> Order:
    """Two bytes an entry where they suffice: the tables then stay in the cache."""
    return order.astype(np.uint16) if order.size <= 1 << 16 else order


def _inverse(order: Order) -> Order:
    inverse = np.empty_like(order)
    invert(order, inverse)
    return inverse


class Schedule:
    """One party's side of a batch.

    Args:
        strings: the frames' bits, each a vector of 0 and 1; not written to.
        cuts: how both passes of each frame are cut.
        masks: how many subset parities end the schedule, 1 .. 64.
        limit: most intervals of pass 1 that a frame cuts in a round.
        seed: the public seed.
        corrects: True at the party whose string is corrected.

    Attributes:
        due: parities of this round.
        rounds: begun so far.
    """

    def __init__(
        self,
        strings: Sequence[Bits],
        cuts: Sequence[tuple[Cut, Cut]],
        masks: int,
        limit: int,
        seed: bytes,
        *,
        corrects: bool,
    ) -> None:
        self._given = tuple(strings)
        self._corrects = corrects
        lengths = np.array([bits.size for bits in strings], np.int64)
        self._tables = {int(n): _Tables.expand(seed, int(n), masks) for n in dict.fromkeys(lengths.tolist())}
        frames = _layout(lengths, cuts, masks)
        tables = self._tables.values()
        self._state = kernels.State(
            frames=frames,
            cells=np.zeros((int(frames["words"].sum()) * 2, 4), np.uint64),
            masks=np.concatenate([t.masks for t in tables]),
            forward=np.concatenate([t.forward for t in tables]),
            backward=np.concatenate([t.backward for t in tables]),
            settings=np.array([masks, corrects, LEAK_SLACK_BITS, limit], np.int64),
        )
        self._cuts = np.array([[(cut.log, cut.wide, cut.blocks) for cut in pair] for pair in cuts], np.int64)
        self._load()
        self._short = {
            f: Forms(self._tables[n].backward) for f, n in enumerate(lengths.tolist()) if n <= rank.MOST_BITS
        }
        self._mine = np.empty(0, np.uint8)
        self._turns = self._conversation()
        self._differences: Bits | None = None
        self.due = 0
        self.rounds = 0

    def _load(self) -> None:
        """Write the strings in the order of pass 0; the room of pass 1 holds them in the caller's order meanwhile."""
        frames, cells = self._state.frames, self._state.cells
        for bits, frame in zip(self._given, frames, strict=True):
            packed = np.packbits(bits, bitorder="little")
            words = np.zeros(8 * int(frame["mask_words"]), np.uint8)
            words[: packed.size] = packed
            at = frame["base"] + frame["words"]
            cells[at : at + frame["mask_words"], blocks.KEY] = words.view("<u8")
        self._permute(frames["base"] + frames["words"], frames["base"], lambda tables: tables.natural)

    def _permute(
        self, source: npt.NDArray[np.int64], target: npt.NDArray[np.int64], order: Callable[[_Tables], Order]
    ) -> None:
        """Every frame's string, from its rows of `cells` at `source` to those at `target`."""
        lengths = self._state.frames["n"]
        for n, tables in self._tables.items():
            members = np.nonzero(lengths == n)[0]
            for start in range(0, members.size, SLICE):
                part = members[start : start + SLICE]
                if part.size < FEW:
                    for f in part:
                        bitslice.gather_one(self._state.cells, source[f], order(tables), target[f])
                    continue
                places = 64 * ((n + 63) // 64)
                if part.size <= EIGHT:
                    eight = np.empty(places, np.uint8)
                    bitslice.slice_eight(self._state.cells, source[part], eight)
                    bitslice.gather_eight(eight, order(tables), target[part], self._state.cells)
                    continue
                slices = np.empty(places, np.uint64)
                bitslice.slice_frames(self._state.cells, source[part], slices)
                bitslice.gather_frames(slices, order(tables), target[part], self._state.cells)

    def _conversation(self) -> Generator[int, Bits, None]:
        """The schedule of the module's docstring: yields how many parities are due, is sent where they differ."""
        state, cuts = self._state, self._cuts
        frames, cells = state.frames, state.cells
        self._mine = np.empty(int(cuts[:, :, 2].max(axis=1).sum()), np.uint8)
        answers = yield int(blocks.ask_blocks(frames, cuts, cells, 0, self._mine))
        self._note_blocks(0)
        entries = int(answers.sum()) + 1
        odd = blocks.Odd(
            np.empty(entries, np.int64), np.empty(entries, np.uint64), np.zeros((frames.size, 3), np.int64)
        )
        blocks.open_first(frames, cuts, cells, answers, odd)
        for level in range(int(cuts[:, 0, 0].max()) + 1):
            due = int(blocks.ask_level(frames, cuts, cells, odd, level, self._mine))
            if due:
                self._note_level(odd, level)
                blocks.take_level(frames, cuts, cells, odd, level, (yield due))
        self._sound(int(blocks.close_first(frames, cuts, cells, odd, self._corrects)))
        self._permute(frames["base"], frames["base"] + frames["words"], lambda tables: tables.backward)
        due = int(blocks.ask_blocks(frames, cuts, cells, 1, self._mine))
        self._note_blocks(1)
        blocks.open_second(frames, cuts, cells, (yield due) if due else np.empty(0, np.uint8))
        yield from self._searches()

    def _searches(self) -> Generator[int, Bits, None]:
        """Steps 4 to 6."""
        state = self._state
        room = int(self._cuts[:, 1, 2].sum())
        queue = np.empty((room, 3), np.int32)
        rows = int(kernels.begin(state, queue))
        subsets = state.frames.size * int(state.settings[0])
        asked, following = np.empty((room + subsets, 3), np.int32), np.empty((room, 3), np.int32)
        self._mine = np.empty(room + subsets, np.uint8)
        due = int(kernels.ask(state, queue, asked, self._mine))
        while due:
            if self._short:
                self._note_questions(asked)
            answers = yield due
            most = rows + 2 * (due + state.frames.size)
            if most > room:
                room = 2 * most
                asked = np.concatenate([asked, np.empty((room + subsets - asked.shape[0], 3), np.int32)])
                self._mine = np.empty(room + subsets, np.uint8)
            if following.shape[0] < room:
                following = np.empty((room, 3), np.int32)
            due, rows = kernels.turn(state, queue, asked, answers, following, self._mine)
            self._sound(-1 - due)
            queue, following = following, queue

    def _sound(self, frame: int) -> None:
        if frame >= 0:
            raise ReconciliationFailed(
                f"the parities of frame {frame} contradict each other in round {self.rounds}",
                hint="the peer does not follow the protocol, or the line was altered",
            )

    def _note_blocks(self, r: int) -> None:
        for f, forms in self._short.items():
            log, wide, count = self._cuts[f, r].tolist()
            for t in range(count - r):
                begin, length = (t << log + 1, 2 << log) if t < wide else (wide + t << log, 1 << log)
                forms.add_range(r, begin, length)

    def _note_level(self, odd: blocks.Odd, level: int) -> None:
        for f, forms in self._short.items():
            for narrow in range(2):
                half = 1 << int(self._cuts[f, 0, 0]) - narrow >> level
                for begin in odd.at[odd.spans[f, narrow] : odd.spans[f, narrow + 1]] if half else ():
                    forms.add_range(0, int(begin), half)

    def _note_questions(self, asked: npt.NDArray[np.int32]) -> None:
        frames = self._state.frames
        ends = np.cumsum(frames["due"])
        for f, forms in self._short.items():
            frame = frames[f]
            if frame["asks"] == kernels.HALVES:
                for r, begin, half in asked[ends[f] - frame["due"] : ends[f]].tolist():
                    forms.add_range(r, begin, half)
            elif frame["asks"] == kernels.SUBSETS:
                for m in range(int(frame["due"])):
                    forms.add_members(self._members(f, m), 0, int(frame["n"]))
            elif frame["asks"] == kernels.RANGE:
                members = self._members(f, int(frame["mask"]))
                forms.add_members(members, int(frame["low"]), int(frame["length"]) // 2)

    def _members(self, f: int, m: int) -> int:
        frame = self._state.frames[f]
        at = frame["mask_base"] + m * frame["mask_words"]
        return int.from_bytes(self._state.masks[at : at + frame["mask_words"]].astype("<u8").tobytes(), "little")

    def next_round(self) -> bool:
        """Draw the conclusions from the last round, and ask what is due in the next; False when the batch is done.

        Raises:
            ReconciliationFailed: the differences contradict what was said before, or too many rounds.
        """
        try:
            self.due = self._turns.send(self._differences)  # type: ignore[arg-type]
        except StopIteration:
            return False
        self.rounds += 1
        if self.rounds > MAX_ROUNDS:
            raise ReconciliationFailed(f"error correction has not ended after {MAX_ROUNDS} rounds")
        return True

    def ask(self) -> Bits:
        """This party's parities that are due, one byte each; shape (due,)."""
        return self._mine[: self.due]

    def apply(self, differences: Bits) -> None:
        """Take in the difference bits of this round, one byte each, shape (due,)."""
        self._differences = differences

    @property
    def leak_bits(self) -> npt.NDArray[np.int64]:
        """Independent parities disclosed, per frame; of a short one exactly, of a long one at most so many."""
        leak = self._state.frames["leak"].copy()
        for f, forms in self._short.items():
            leak[f] = forms.rank
        return leak

    @property
    def errors(self) -> npt.NDArray[np.int64]:
        """Bits corrected, per frame."""
        return self._state.frames["errors"].copy()

    def strings(self) -> tuple[Bits, ...]:
        """The strings at the end: the given ones, at the party that corrects with the errors inverted; call it once."""
        if not self._corrects:
            return self._given
        frames, cells = self._state.frames, self._state.cells
        self._permute(frames["base"], frames["base"] + frames["words"], lambda tables: _inverse(tables.natural))
        corrected = []
        for frame in frames:
            at = frame["base"] + frame["words"]
            packed = cells[at : at + frame["mask_words"], blocks.KEY].astype("<u8").view(np.uint8)
            corrected.append(np.unpackbits(packed, count=int(frame["n"]), bitorder="little"))
        return tuple(corrected)


def _layout(lengths: npt.NDArray[np.int64], cuts: Sequence[tuple[Cut, Cut]], masks: int) -> npt.NDArray[np.void]:
    """Where each frame's words, tables and bits begin in the flat arrays; everything else starts at zero."""
    frames = np.zeros(lengths.size, kernels.FRAME)
    frames["n"] = lengths
    ends = np.array([max(pair[0].end, pair[1].end) for pair in cuts], np.int64)
    frames["words"] = (ends + 63) // 64 + 1
    frames["base"] = _starts(frames["words"] * 2)
    distinct = np.array(list(dict.fromkeys(lengths.tolist())), np.int64)
    group = np.array([int(np.nonzero(distinct == n)[0][0]) for n in lengths])
    frames["table"] = _starts(distinct)[group]
    frames["mask_words"] = lengths // 64 + 1
    frames["mask_base"] = _starts((distinct // 64 + 1) * masks)[group]
    return frames


def _starts(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where parts of these sizes begin when they are laid end to end."""
    return np.cumsum(sizes) - sizes
