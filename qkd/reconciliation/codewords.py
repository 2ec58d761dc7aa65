"""The codewords of a batch, as both parties lay them out, and what has been disclosed of each.

Frames are cut into pieces, each piece is a codeword (`qkd.reconciliation.adaption`); codewords follow one another in
the order of the frames, and a position is counted through the whole batch. Both parties keep this record, so each
knows what the other may ask or say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkd.bits import Bits
from qkd.errors import ParameterError, RemoteProtocolError
from qkd.kernels import ldpc as kernels
from qkd.randomness import expand_permutation
from qkd.reconciliation.adaption import Adapted, Library, adapt, extend, spare_rows, split
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
        family: the codes that `adapted` was chosen from.
        adapted: its code.
        base: its first position in the batch.
        check: its first parity in the batch.
    """

    frame: int
    start: int
    qber: float
    family: tuple[Code, ...]
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
    def checks(self) -> slice:
        """Its parities in the batch."""
        return slice(self.check, self.check + self.adapted.checks)

    @property
    def string(self) -> slice:
        """Its bits in the frame."""
        return slice(self.start, self.start + self.bits)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What Bob asks for.

    Attributes:
        positions: int64, ascending: positions of the batch.
        rows: int64, shape (pieces,): further base rows of parities.
    """

    positions: Positions
    rows: Positions

    @property
    def nothing(self) -> bool:
        """Whether it asks for nothing, which ends the exchange."""
        return not self.positions.size and not self.rows.any()


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
        self.positions = self.pieces[-1].span.stop
        self.checks = self.pieces[-1].checks.stop
        self.known = np.zeros(self.positions, np.bool_)
        for piece in self.pieces:
            self.known[piece.base + piece.adapted.shortened] = True
        self._bases = np.array([piece.base for piece in self.pieces] + [self.positions], np.int64)
        self._bits = np.array([piece.bits for piece in self.pieces], np.int64)
        self._leak = np.array([piece.adapted.leak_bits for piece in self.pieces], np.int64)
        self._extended: dict[int, Adapted] = {}
        self._rows = np.zeros(len(self.pieces), np.int64)
        self._asked_bits = np.zeros(len(self.pieces), np.int64)
        self._orders: dict[int, Positions] = {}

    def shuffle(self, seed: bytes) -> None:
        """Fix the order in which strings enter codewords."""
        for n in {piece.bits for piece in self.pieces}:
            self._orders[n] = expand_permutation(seed, f"ldpc/{n}", n).astype(np.int64)

    def order(self, piece: Piece) -> Positions:
        """Entry i is the bit of the piece at payload place i."""
        return self._orders[piece.bits]

    def adapted(self, index: int) -> Adapted:
        """The code of a piece as it is now."""
        return self._extended.get(index, self.pieces[index].adapted)

    def leak(self, index: int) -> int:
        """What a piece has disclosed."""
        return int(self._leak[index])

    def room(self, index: int) -> int:
        """What a piece can still disclose before it is more than it has bits."""
        return int(self._bits[index] - self._leak[index])

    def rows(self, index: int, bits: float) -> int:
        """How many further base rows make up for that many bits, as far as there are rows and room."""
        piece = self.pieces[index]
        lifting = piece.adapted.code.lifting
        spare = spare_rows(piece.adapted.code, piece.family) - int(self._rows[index])
        return max(0, min(math.ceil(bits / lifting), spare, self.room(index) // lifting, 255))

    def admit(self, asked: Asked, request_bits: int) -> None:
        """Note what is disclosed when this is answered, and Bob's own disclosure of request_bits.

        Raises:
            RemoteProtocolError: a position is asked twice or known already, there are not so many rows, or a piece
                would disclose more than it has.
        """
        positions = asked.positions
        if (np.diff(positions) <= 0).any():
            raise RemoteProtocolError("the peer asks for a position twice")
        if self.known[positions].any():
            raise RemoteProtocolError("the peer asks for a position that is shortened or revealed already")
        extended = {i: self._extend(i, int(asked.rows[i])) for i in np.flatnonzero(asked.rows).tolist()}
        values = np.diff(np.searchsorted(positions, self._bases))
        more = values.copy()
        for i, adapted in extended.items():
            more[i] += adapted.checks - self.adapted(i).checks
        over = np.nonzero(self._leak + more > self._bits)[0]
        if over.size:
            piece = self.pieces[over[0]]
            raise RemoteProtocolError(
                f"the peer asks for {more[over[0]]} more bits of frame {piece.frame}: with them more would be "
                f"disclosed than the {piece.bits} that there are"
            )
        self.known[positions] = True
        self._extended |= extended
        self._rows += asked.rows
        self._leak += more
        # Shared out by the number of positions; that a piece is passed over tells one bit of it.
        self._asked_bits += np.maximum(1, -(-request_bits * (1 + values) // (len(self.pieces) + values.sum())))

    def _extend(self, index: int, rows: int) -> Adapted:
        piece = self.pieces[index]
        try:
            return extend(piece.adapted, piece.family, int(self._rows[index]) + rows)
        except ParameterError as error:
            raise RemoteProtocolError(f"the peer asks for {rows} more base rows: {error}") from error

    def askable(self) -> int:
        """Most positions that any request may name."""
        return int((self._bits - self._leak).sum())

    def ledger(self) -> Ledger:
        """What was disclosed, per frame."""
        owner = np.array([piece.frame for piece in self.pieces])
        alice = np.bincount(owner, self._leak, self.frames).astype(np.int64)
        bob = np.bincount(owner, np.minimum(self._asked_bits, self._leak), self.frames).astype(np.int64)
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
        size, lengths = split(frame.bits.size, library)
        start = 0
        for n in lengths:
            key = (n, frame.qber)
            if key not in shapes:
                shapes[key] = _adapted(library[size], n, leak_rule(n, frame.qber), f, frame)
            piece = Piece(f, start, frame.qber, library[size], shapes[key], base, check)
            pieces.append(piece)
            start, base, check = start + n, piece.span.stop, piece.checks.stop
    return pieces


def _adapted(family: tuple[Code, ...], n: int, leak: float, f: int, frame: Frame) -> Adapted:
    adapted = adapt(family, n, leak)
    if adapted.leak_bits >= n:
        raise ParameterError(
            f"frame {f} of {frame.bits.size} bits at an error rate of {frame.qber:.2%} would disclose more than it has",
            hint="take longer frames, or Cascade",
        )
    return adapted
