"""The one schedule that both parties run, so that a question costs one bit each way and no address.

Only public things drive it: lengths, error-rate priors, the seed, and the difference bits. Each round, each frame by
itself, in the order of the batch:

1. it halves all its intervals in which the strings differ an odd number of times, by pass and position: the parity of
   the left half [a, (a+b)//2) is asked, that of the right half follows;
2. with no such interval it begins its next pass: the string in a fresh random order, cut into blocks of the pass's
   length; the last block of a later pass follows from the others;
3. after the last pass it asks the parities of `masks` random subsets, all at once;
4. while one of these differs, it halves the members of the first that does; then back to 1.

An interval of one bit that is odd is an error. It is corrected at once, in all passes and masks, and every interval
that it makes odd is due in the next round. All answers of a round are about the strings as they were when it began.

Expansion from the seed (`qkd.randomness`), for frames of n bits: entry j of the permutation labelled
"cascade/<n>/pass/0" is the place in the caller's string of position j of pass 0; entry j of "cascade/<n>/pass/<r>" is
the place in pass 0 of position j of pass r; bit c of "cascade/<n>/mask/<m>" says whether position c of pass 0 is a
member of mask m. Frames of one length share them: their errors have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkd.bits import Bits
from qkd.errors import ReconciliationFailed, RemoteProtocolError
from qkd.kernels import bitslice
from qkd.kernels import cascade as kernels
from qkd.randomness import expand_bits, expand_permutation

# A frame that has disclosed more parities than it has bits keeps no secret; a frame of few bits is let off some.
LEAK_SLACK_BITS = 64
# About ten times what a megabit frame takes: only a peer that makes answers up gets there.
MAX_ROUNDS = 20_000
SLICE = 64


@dataclass(frozen=True, slots=True)
class _Tables:
    """What frames of one length share."""

    orders: list[npt.NDArray[np.uint32]]  # place in the caller's string of each position, per pass
    forward: npt.NDArray[np.uint32]
    backward: npt.NDArray[np.uint32]
    masks: npt.NDArray[np.uint64]

    @classmethod
    def expand(cls, seed: bytes, n: int, passes: int, masks: int) -> _Tables:
        natural = expand_permutation(seed, f"cascade/{n}/pass/0", n)
        orders = [natural]
        forward = np.empty((n, passes), np.uint32)
        backward = np.empty((passes - 1, n), np.uint32)
        forward[:, 0] = natural
        for r in range(1, passes):
            order = expand_permutation(seed, f"cascade/{n}/pass/{r}", n)
            forward[order, r] = np.arange(n, dtype=np.uint32)
            backward[r - 1] = order
            orders.append(natural[order])
        packed = np.zeros((masks, 8 * (n // 64 + 1)), np.uint8)
        for m in range(masks):
            members = expand_bits(seed, f"cascade/{n}/mask/{m}", n)
            packed[m, : (n + 7) // 8] = np.packbits(members, bitorder="little")
        return cls(orders, forward, backward, packed.reshape(-1).view("<u8").astype(np.uint64))


class Schedule:
    """One party's side of a batch.

    Args:
        strings: the frames' bits, each a vector of 0 and 1; copied.
        blocks: int64, shape (frames, passes): block length of each pass, at least 2.
        masks: how many subset parities end the schedule, 1 .. 64.
        seed: the public seed.
        corrects: True at the party whose string is corrected.
    """

    def __init__(
        self, strings: Sequence[Bits], blocks: npt.NDArray[np.int64], masks: int, seed: bytes, *, corrects: bool
    ) -> None:
        passes = blocks.shape[1]
        lengths = np.array([bits.size for bits in strings], np.int64)
        tables = {int(n): _Tables.expand(seed, int(n), passes, masks) for n in dict.fromkeys(lengths.tolist())}
        frames = _layout(lengths, passes, masks)
        words = int((frames["words"] * passes).sum())
        self._state = kernels.State(
            frames=frames,
            blocks=blocks,
            cells=np.zeros((words, 3), np.uint64),
            summary=np.zeros(int((frames["lines"] * passes).sum()), np.uint64),
            masks=np.concatenate([t.masks for t in tables.values()]),
            forward=np.concatenate([t.forward for t in tables.values()]),
            backward=np.concatenate([t.backward for t in tables.values()], axis=1),
            strings=np.concatenate(strings),
            settings=np.array([masks, corrects, LEAK_SLACK_BITS], np.int64),
        )
        for n, shared in tables.items():
            self._load(np.nonzero(lengths == n)[0], n, shared)
        self._asked = np.empty((0, 4), np.int32)
        self._due = 0
        self.rounds = 0

    def _load(self, members: npt.NDArray[np.int64], n: int, shared: _Tables) -> None:
        """Write the strings of the frames of one length in the order of every pass."""
        for start in range(0, members.size, SLICE):
            frames = self._state.frames[members[start : start + SLICE]]
            slices = np.zeros(n, np.uint64)
            bitslice.slice_frames(self._state.strings, np.ascontiguousarray(frames["string"]), slices)
            for r, order in enumerate(shared.orders):
                bitslice.gather_frames(slices, order, frames["base"] + r * frames["words"], self._state.cells)

    def next_round(self) -> bool:
        """Settle what is due; False when the batch is done.

        Raises:
            ReconciliationFailed: too many rounds, or a frame has disclosed more parities than it has bits.
        """
        frames = self._state.frames
        self._due = int(kernels.plan(self._state))
        if self._due < 0:
            frame = -1 - self._due
            raise ReconciliationFailed(
                f"frame {frame} of {frames['n'][frame]} bits has disclosed {frames['leak'][frame]} parities: "
                "nothing of it is left to keep secret",
                hint="the error rate is far above the prior, or the peer's parities are made up",
            )
        if self._due == 0 and (frames["stage"] > self._state.blocks.shape[1]).all():
            return False
        self.rounds += 1
        if self.rounds > MAX_ROUNDS:
            raise ReconciliationFailed(f"error correction has not ended after {MAX_ROUNDS} rounds")
        return True

    def ask(self) -> Bits:
        """This party's parities that are due, packed; shape (ceil(due / 8),)."""
        packed = np.zeros((self._due + 7) // 8, np.uint8)
        self._asked = np.empty((self._due, 4), np.int32)
        kernels.ask(self._state, self._asked, packed)
        return packed

    def check(self, data: bytes) -> Bits:
        """The peer's bits of this round, still packed.

        Raises:
            RemoteProtocolError: their number is not what is due, or padding bits are set.
        """
        if len(data) != (self._due + 7) // 8:
            raise RemoteProtocolError(f"{self._due} parities are due, the peer sent {len(data)} bytes")
        if self._due % 8 and data[-1] & (0xFF >> self._due % 8):
            raise RemoteProtocolError("padding bits after the last parity are not zero")
        return np.frombuffer(data, np.uint8)

    def apply(self, differences: Bits) -> None:
        """Take in the difference bits of this round, packed.

        Raises:
            ReconciliationFailed: they contradict what was said before.
        """
        frame = int(kernels.apply(self._state, self._asked, differences))
        if frame >= 0:
            raise ReconciliationFailed(
                f"the parities of frame {frame} contradict each other in round {self.rounds}",
                hint="the peer does not follow the protocol, or the line was altered",
            )

    @property
    def leak_bits(self) -> npt.NDArray[np.int64]:
        """Parities disclosed, per frame."""
        return self._state.frames["leak"].copy()

    @property
    def errors(self) -> npt.NDArray[np.int64]:
        """Bits corrected, per frame."""
        return self._state.frames["errors"].copy()

    @property
    def strings(self) -> tuple[Bits, ...]:
        """The strings as they are now."""
        ends = np.cumsum(self._state.frames["n"])
        return tuple(np.split(self._state.strings, ends[:-1]))


def _layout(lengths: npt.NDArray[np.int64], passes: int, masks: int) -> npt.NDArray[np.void]:
    """Where each frame's words, tables and bits begin in the flat arrays; everything else starts at zero."""
    frames = np.zeros(lengths.size, kernels.FRAME)
    frames["n"] = lengths
    frames["words"] = lengths // 64 + 1
    frames["lines"] = (frames["words"] + 63) // 64
    frames["base"] = _starts(frames["words"] * passes)
    frames["line"] = _starts(frames["lines"] * passes)
    frames["string"] = _starts(lengths)
    distinct = np.array(list(dict.fromkeys(lengths.tolist())), np.int64)
    group = np.array([int(np.nonzero(distinct == n)[0][0]) for n in lengths])
    frames["table"] = _starts(distinct)[group]
    frames["mask_base"] = _starts((distinct // 64 + 1) * masks)[group]
    return frames


def _starts(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where parts of these sizes begin when they are laid end to end."""
    return np.cumsum(sizes) - sizes
