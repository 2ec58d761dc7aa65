"""The codewords of a batch, as both parties lay them out, and what has been disclosed of each.

Frames are cut into pieces, each piece is a codeword (`qkd.reconciliation.adaption`); codewords follow one another in
the order of the frames, and a position is counted through the whole batch. Both parties keep this record, so each
knows what the other may ask or say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkd.bits import Bits
from qkd.errors import ParameterError, RemoteProtocolError
from qkd.kernels import ldpc as kernels
from qkd.randomness import expand_permutation
from qkd.reconciliation.adaption import Adapted, Library, adapt, split
from qkd.reconciliation.codes import Code
from qkd.reconciliation.frame import Frame, check_batch
from qkd.reconciliation.ledger import Ledger

Positions = npt.NDArray[np.int64]
LeakRule = Callable[[int, float], float]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Where a codeword comes from and where it lies.

    Attributes:
        frame: number of its frame.
        start: first bit of the frame that it holds; it holds as many as `adapted.payload` has places.
        qber: of the frame.
        adapted: its code.
        base: its first position in the batch.
        check: its first parity in the batch.
    """

    frame: int
    start: int
    qber: float
    adapted: Adapted
    base: int
    check: int

    @property
    def bits(self) -> int:
        """How many bits of the string it holds."""
        return self.adapted.payload.size

    @property
    def span(self) -> slice:
        """Its positions in the batch."""
        return slice(self.base, self.base + self.adapted.length)

    @property
    def string(self) -> slice:
        """Its bits in the frame."""
        return slice(self.start, self.start + self.bits)


class Codewords:
    """A batch cut into codewords.

    Args:
        frames: the strings, of which only lengths and error rates matter here.
        leak_rule: leak wanted for a piece of n bits at an error rate.
        library: the code families.

    Raises:
        ParameterError: no frames, too many bits, or a frame that no code suits.
    """

    def __init__(self, frames: Sequence[Frame], leak_rule: LeakRule, library: Library) -> None:
        check_batch(sum(frame.bits.size for frame in frames), len(frames))
        self.frames = len(frames)
        self.pieces = _cut(frames, leak_rule, library)
        last = self.pieces[-1]
        self.positions = last.base + last.adapted.length
        self.checks = last.check + last.adapted.checks
        self.known = np.zeros(self.positions, np.bool_)
        self.revealed = np.zeros(len(self.pieces), np.int64)
        for piece in self.pieces:
            self.known[piece.base + piece.adapted.shortened] = True
        self._bases = np.array([piece.base for piece in self.pieces] + [self.positions], np.int64)
        self._room = np.array([piece.bits - piece.adapted.leak_bits for piece in self.pieces], np.int64)
        self._orders: dict[int, npt.NDArray[np.uint32]] = {}

    def shuffle(self, seed: bytes) -> None:
        """Fix the order in which strings enter codewords."""
        for n in {piece.bits for piece in self.pieces}:
            self._orders[n] = expand_permutation(seed, f"ldpc/{n}", n)

    def order(self, piece: Piece) -> npt.NDArray[np.uint32]:
        """Entry i is the bit of the piece at payload place i."""
        return self._orders[piece.bits]

    def room(self, index: int) -> int:
        """Values of a piece that can still be revealed before more is disclosed than it has bits."""
        return int(self._room[index] - self.revealed[index])

    def per_piece(self, positions: Positions) -> Positions:
        """How many of ascending positions lie in each piece."""
        return np.diff(np.searchsorted(positions, self._bases))

    def admit(self, positions: Positions) -> None:
        """Note these positions, ascending, as revealed.

        Raises:
            RemoteProtocolError: one is asked twice, is known already, or a piece would disclose more than it has.
        """
        if (np.diff(positions) <= 0).any():
            raise RemoteProtocolError("the peer asks for a position twice")
        if self.known[positions].any():
            raise RemoteProtocolError("the peer asks for a position that is shortened or revealed already")
        asked = self.per_piece(positions)
        over = np.nonzero(self.revealed + asked > self._room)[0]
        if over.size:
            piece = self.pieces[over[0]]
            raise RemoteProtocolError(
                f"the peer asks for {asked[over[0]]} more values of frame {piece.frame}: with them more would be "
                f"disclosed than the {piece.bits} bits there are"
            )
        self.known[positions] = True
        self.revealed += asked

    def askable(self) -> int:
        """Most positions that any request may name."""
        return int(np.maximum(self._room - self.revealed, 0).sum())

    def ledger(self, requested_bits: Positions) -> Ledger:
        """What was disclosed, per frame.

        Args:
            requested_bits: int64, shape (pieces,): length of Bob's requests about each piece.
        """
        owner = np.array([piece.frame for piece in self.pieces])
        leak = np.array([piece.adapted.leak_bits for piece in self.pieces], np.int64) + self.revealed
        alice = np.bincount(owner, leak, self.frames).astype(np.int64)
        bob = np.bincount(owner, np.minimum(requested_bits, leak), self.frames).astype(np.int64)
        return Ledger(alice, bob)


def syndrome(adapted: Adapted, word: Bits) -> Bits:
    """Parities of a codeword, uint8 (m,)."""
    code = adapted.code
    out = np.empty(adapted.checks, np.uint8)
    kernels.syndrome(code.starts, code.column, code.shift, code.lifting, word, out)
    return out


def _cut(frames: Sequence[Frame], leak_rule: LeakRule, library: Library) -> list[Piece]:
    shapes: dict[tuple[int, float], Adapted] = {}
    pieces: list[Piece] = []
    base = check = 0
    for f, frame in enumerate(frames):
        family, lengths = split(frame.bits.size, library)
        start = 0
        for n in lengths:
            key = (n, frame.qber)
            if key not in shapes:
                shapes[key] = _adapted(library[family], n, leak_rule(n, frame.qber), f, frame)
            adapted = shapes[key]
            pieces.append(Piece(f, start, frame.qber, adapted, base, check))
            start, base, check = start + n, base + adapted.length, check + adapted.checks
    return pieces


def _adapted(family: tuple[Code, ...], n: int, leak: float, f: int, frame: Frame) -> Adapted:
    adapted = adapt(family, n, leak)
    if adapted.leak_bits >= n:
        raise ParameterError(
            f"frame {f} of {frame.bits.size} bits at an error rate of {frame.qber:.2%} would disclose more than it has",
            hint="take longer frames, or Cascade",
        )
    return adapted
