"""Rate-adaptive LDPC: Alice sends parities of a code cut to measure, Bob finds the errors; few messages, long frames.

`one-way`: one message. Alice sends a seed and the parities of all frames; Bob decodes and says nothing.
`blind`: as that, but with fewer parities than most frames need. For those that fail, Bob asks in one message for the
values of the bits that his decoder knows least about, punctured ones among them; Alice reveals them, and he goes on.
Martinez-Mateo, Elkouss, Martin, QIC 12:791 (2012) is the first of the kind; Kiktenko et al., PR Applied 8, 044017
(2017) let both parties decode and exchange unreliable bits; Borisov et al., Entropy 25, 31 (2023) let one decode and
start from the error-rate estimate. This is the last: Alice's work stays small, and Bob's bits are never sent.

Where the string enters a codeword: entry i of the permutation "ldpc/<n>" expanded from the seed is the place in the
caller's piece of payload position i (`qkd.reconciliation.adaption`, which also says what pieces are). Bursts are
thereby scattered, and who makes errors could not know where to.

The leak of a frame counts m - p parities and every value revealed. Bob's requests follow from H (X xor Y) and from
values of X xor Y revealed before. So they tell nothing to whom the error pattern is public; else they tell no more
than what they follow from, and no more than their own length, and `Ledger.bob` is the lesser of the two.

A frame for which even that fails is returned as it is and left to the verification.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qkd.bits import Bits, pack, unpack
from qkd.errors import ParameterError, RemoteProtocolError
from qkd.exchange.codec import pack_ascending, unpack_ascending
from qkd.exchange.messages import LdpcRequest, LdpcReveal, LdpcSyndromes
from qkd.exchange.steps import Steps, receive, send
from qkd.randomness import SEED_BYTES, SecretBits, take_bits
from qkd.reconciliation.adaption import SHIPPED, Library
from qkd.reconciliation.codewords import Codewords, Piece, Positions, syndrome
from qkd.reconciliation.decoder import QBER_RANGE, Decoder
from qkd.reconciliation.efficiency import shannon_limit_bits
from qkd.reconciliation.frame import Frame, Reconciled


# Decoders whose state is kept between rounds; the others start anew, which takes half as many iterations more.
STATE_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class LdpcPreset:
    """How much is disclosed when.

    The first message discloses  linear n h(q) + spread sqrt(n q (1 - q)) log2((1 - q) / q)  bits of n: the second
    term is one standard deviation of what the frame's own number of errors costs, times `spread`
    (Tomamichel et al., QIP 16:280, eq. 2, fitted to real codes).

    Attributes:
        name: what the session's parameters call it.
        linear, spread: as above.
        iterations: most iterations of the decoder in each round; as many entries as rounds.
        steps: what is revealed before each round but the first, in units of n h(q).
        patience: iterations without progress after which the decoder gives up.
        source: where the numbers come from.
    """

    name: str
    linear: float
    spread: float
    iterations: tuple[int, ...]
    steps: tuple[float, ...]
    patience: int
    source: str

    def __post_init__(self) -> None:
        if not self.linear > 0 or not math.isfinite(self.spread):
            raise ParameterError(f"preset {self.name}: linear = {self.linear} must be positive, spread finite")
        if len(self.iterations) != len(self.steps) + 1 or min(self.iterations) < 1 or self.patience < 1:
            raise ParameterError(f"preset {self.name}: each round needs iterations, and each but the first a step")
        if not all(step > 0 for step in self.steps):
            raise ParameterError(f"preset {self.name}: steps must be positive")

    def leak_bits(self, n: int, qber: float) -> float:
        """What the first message discloses of n bits."""
        q = min(max(qber, QBER_RANGE[0]), QBER_RANGE[1])
        deviation = math.sqrt(n * q * (1 - q)) * math.log2((1 - q) / q)
        return self.linear * shannon_limit_bits(n, q) + self.spread * deviation

    def step_bits(self, index: int, n: int, qber: float) -> int:
        """Values to be revealed before round index + 1."""
        q = min(max(qber, QBER_RANGE[0]), QBER_RANGE[1])
        return math.ceil(self.steps[index] * shannon_limit_bits(n, q))


PRESETS: dict[str, LdpcPreset] = {
    preset.name: preset
    for preset in (
        LdpcPreset("one-way", 1.05, 2.0, (120,), (), 60, "interim"),
        LdpcPreset("blind", 1.02, 0.0, (20, 20, 20, 25, 30, 100), (0.01, 0.012, 0.015, 0.03, 0.06), 60, "interim"),
    )
}


def alice(
    frames: Sequence[Frame], preset: LdpcPreset, secrets: SecretBits, *, library: Library = SHIPPED
) -> Steps[Reconciled]:
    """Alice's side: send the parities, then the values that Bob asks for.

    Args:
        frames: her strings, in Bob's order, with the same lengths and priors.
        preset: the same as Bob's.
        secrets: the seed, drawn now, after sifting; and what stands at punctured positions.
        library: the code families, the same as Bob's.

    Raises:
        ParameterError: no frames, too many bits, or a frame that no code suits.
        RemoteProtocolError: a request for what may not be asked for, or malformed.
    """
    words = Codewords(frames, preset.leak_bits, library)
    seed = secrets.take_bytes(SEED_BYTES)
    words.shuffle(seed)
    values = _values(frames, words, take_bits(secrets, sum(p.adapted.punctured.size for p in words.pieces)))
    parities = np.concatenate([syndrome(p.adapted, values[p.span]) for p in words.pieces])
    yield from send(LdpcSyndromes(seed, pack(parities)))
    requested = np.zeros(len(words.pieces), np.int64)
    rounds = 1
    for _ in preset.steps:
        request = yield from receive(LdpcRequest)
        positions = _read(request, words)
        if not positions.size:
            break
        words.admit(positions)
        requested += _cost(request, words.per_piece(positions))
        yield from send(LdpcReveal(pack(values[positions])))
        rounds += 1
    strings = tuple(frame.bits.copy() for frame in frames)
    return Reconciled(strings, words.ledger(requested), np.full(len(frames), -1, np.int64), rounds)


def bob(
    frames: Sequence[Frame], preset: LdpcPreset, secrets: SecretBits | None = None, *, library: Library = SHIPPED
) -> Steps[Reconciled]:
    """Bob's side: decode, and ask where that fails; arguments and errors as for `alice`, he draws nothing."""
    words = Codewords(frames, preset.leak_bits, library)
    start = yield from receive(LdpcSyndromes)
    if len(start.seed) != SEED_BYTES:
        raise RemoteProtocolError(f"a seed has {SEED_BYTES} bytes, the peer sent {len(start.seed)}")
    parities = unpack(start.bits, words.checks)
    words.shuffle(start.seed)
    values = _values(frames, words, np.zeros(sum(p.adapted.punctured.size for p in words.pieces), np.uint8))
    pieces = [_Decoding(i, piece, values, parities) for i, piece in enumerate(words.pieces)]
    requested = np.zeros(len(pieces), np.int64)
    rounds = 1
    positions = _decode(pieces, words, preset, 0)
    for r in range(1, len(preset.iterations)):
        request = LdpcRequest(positions.size, *pack_ascending(positions))
        yield from send(request)
        if not positions.size:
            break
        words.admit(positions)
        requested += _cost(request, words.per_piece(positions))
        revealed = yield from receive(LdpcReveal)
        theirs = unpack(revealed.bits, positions.size)
        for piece in pieces:
            if not piece.done:
                piece.take(positions, theirs)
        positions = _decode(pieces, words, preset, r)
        rounds += 1
    return _corrected(frames, words, pieces, requested, rounds)


def _decode(pieces: Sequence[_Decoding], words: Codewords, preset: LdpcPreset, r: int) -> Positions:
    """Round r at Bob: decode what is not yet done; returns the positions to ask for, none after the last round."""
    asked = [np.zeros(0, np.int64)]
    budget_bytes = STATE_BYTES
    for piece in pieces:
        if piece.done:
            continue
        piece.run(preset.iterations[r], preset.patience)
        if not piece.done and r < len(preset.steps):
            asked.append(piece.choose(words, preset.step_bits(r, piece.piece.bits, piece.piece.qber)))
        budget_bytes = piece.keep(budget_bytes)
    return np.concatenate(asked)


class _Decoding:
    """A piece at Bob: what he knows of its error pattern."""

    def __init__(self, index: int, piece: Piece, values: Bits, parities: Bits) -> None:
        self.index = index
        self.piece = piece
        self.done = False
        self.pattern = np.zeros(piece.adapted.length, np.uint8)
        self._word = values[piece.span]
        self._theirs = parities[piece.check : piece.check + piece.adapted.checks]
        self._revealed: list[tuple[Positions, Bits]] = []
        self._decoder: Decoder | None = None

    def run(self, limit: int, patience: int) -> None:
        """Decode from where the last run ended, or from the start if that state was dropped."""
        if self._decoder is None:
            adapted = self.piece.adapted
            self._decoder = Decoder(adapted, self.piece.qber, self._theirs ^ syndrome(adapted, self._word))
            for places, pattern in self._revealed:
                self._decoder.reveal(places, pattern)
        self.done = self._decoder.run(limit, patience) > 0
        self.pattern = self._decoder.pattern

    def choose(self, words: Codewords, count: int) -> Positions:
        """The places it knows least about, as positions of the batch, ascending."""
        count = min(count, words.room(self.index))
        if self._decoder is None or count <= 0:
            return np.zeros(0, np.int64)
        return self._decoder.doubtful(count, words.known[self.piece.span]) + self.piece.base

    def keep(self, budget_bytes: int) -> int:
        """Drop the decoder's state if it is not needed or too large; returns what is left of the budget."""
        if self._decoder is not None and (self.done or self._decoder.size_bytes > budget_bytes):
            self._decoder = None
        return budget_bytes - (self._decoder.size_bytes if self._decoder else 0)

    def take(self, positions: Positions, theirs: Bits) -> None:
        """Take in Alice's values at those of the positions that are this piece's."""
        low, high = np.searchsorted(positions, [self.piece.span.start, self.piece.span.stop])
        places = positions[low:high] - self.piece.base
        pattern = theirs[low:high] ^ self._word[places]
        self._revealed.append((places, pattern))
        if self._decoder is not None:
            self._decoder.reveal(places, pattern)


def _values(frames: Sequence[Frame], words: Codewords, filler: Bits) -> Bits:
    """All codewords, uint8 (positions,): the strings in their order, `filler` where punctured, zeros elsewhere."""
    values = np.zeros(words.positions, np.uint8)
    used = 0
    for piece in words.pieces:
        word = values[piece.span]
        adapted = piece.adapted
        word[adapted.payload] = frames[piece.frame].bits[piece.string][words.order(piece)]
        word[adapted.punctured] = filler[used : used + adapted.punctured.size]
        used += adapted.punctured.size
    return values


def _read(request: LdpcRequest, words: Codewords) -> Positions:
    most = words.askable()
    if not 0 <= request.count <= most:
        raise RemoteProtocolError(f"the peer asks for {request.count} values, of which at most {most} may be revealed")
    return unpack_ascending(request.width, request.deltas, request.count, largest=words.positions - 1)


def _cost(request: LdpcRequest, per_piece: Positions) -> Positions:
    """Length of a request in bits, shared out by the number of positions, rounded up."""
    return -(-8 * len(request.deltas) * per_piece // max(1, request.count))


def _corrected(
    frames: Sequence[Frame], words: Codewords, pieces: Sequence[_Decoding], requested: Positions, rounds: int
) -> Reconciled:
    strings = tuple(frame.bits.copy() for frame in frames)
    errors = np.zeros(len(frames), np.int64)
    for decoding in pieces:
        piece = decoding.piece
        wrong = decoding.pattern[piece.adapted.payload]
        strings[piece.frame][piece.string][words.order(piece)] ^= wrong
        errors[piece.frame] += int(wrong.sum())
    return Reconciled(strings, words.ledger(requested), errors, rounds)
