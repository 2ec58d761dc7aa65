"""Rate-adaptive LDPC: Alice sends parities of a code cut to measure, Bob finds the errors; few messages, long frames.

`one-way`: one message. Alice sends a seed and the parities of all frames; Bob decodes and says nothing.
`blind`: as that, but with fewer parities than most frames need. For those that fail, Bob asks in one message for the
values of bits that his decoder knows little about; Alice reveals them, and he goes on. For those whose syndrome shows
far more errors than expected he asks for further parities first.
Martinez-Mateo, Elkouss, Martin, QIC 12:791 (2012) is the first of the kind; Kiktenko et al., PR Applied 8, 044017
(2017) let both parties decode and exchange unreliable bits; Borisov et al., Entropy 25, 31 (2023) let one decode and
start from the error-rate estimate. This is built like the last: Alice's work stays small, and Bob's bits are never
sent. What is measured and why it is done so: docs/ldpc-decoder.md.

Where the string enters a codeword: entry i of the permutation "ldpc/<n>" expanded from the seed is the place in the
caller's piece of payload position i (`qkd.reconciliation.adaption`, which also says what pieces are). Bursts are
thereby scattered, and who makes errors could not know where to.

The leak of a frame counts m - p parities and every value revealed. Bob's requests follow from H (X xor Y) and from
values of X xor Y revealed before. So they tell nothing to whom the error pattern is public; else they tell no more
than what they follow from, which has as many forms as Alice disclosed, and no more than their own length: a message
of b bits lowers a min-entropy by b at most. `Ledger.bob` is the lesser of the two; to be passed over in a request
costs a frame one bit.

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
from qkd.reconciliation.codewords import Asked, Codewords, syndrome
from qkd.reconciliation.decoder import PieceDecoder, within
from qkd.reconciliation.efficiency import shannon_limit_bits
from qkd.reconciliation.frame import Frame, Reconciled

# A frame that lacks so much at the error rate that its syndrome shows is not worth an attempt: it gets parities until
# it has (RESCUE + RESCUE_SLOPE times the share that it lacked) n h(q). Two codes in one are denser than one code should
# be, so the more is added the more it takes.
HOPELESS = 0.93
RESCUE = 1.09
RESCUE_SLOPE = 0.25
# The same for a frame whose syndrome did not show it, but of which three rounds of values leave so much in doubt.
HOPELESS_DOUBT = 0.85
SECOND_RESCUE = 0.12
# What a stuck frame lacks, in units of n h(q), is doubt^2 (NEED + NEED_SPREAD s) with s a standard deviation as in
# `LdpcPreset`: measured by asking for 0.4 % at a time; the real need scatters by a third about that.
NEED = 0.02
NEED_SPREAD = 1.2
LEAST = 0.004  # of n h(q), and at least
LEAST_VALUES = 16  # so many: what is left in the end is a handful of bits that hold each other
# Decoders whose state is kept between rounds; the others start anew, which takes half as many iterations more.
STATE_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class LdpcPreset:
    """How much is disclosed when.

    The first message discloses  linear n h(q) + spread s  bits of n. Here s = sqrt(n q (1 - q)) log2((1 - q) / q) is
    one standard deviation of what the frame's own number of errors costs (Tomamichel et al., QIP 16:280, eq. 2; linear
    and spread are fitted to the codes). A frame that fails lacks the more the less its decoder has found out: what
    is asked for goes with the square of the doubt that is left (`Decoder.doubt`).

    Attributes:
        name: what the session's parameters call it.
        linear, spread: as above.
        iterations: most iterations of the decoder in each round; as many entries as rounds.
        steps: values revealed before each round but the first, over what a frame so far from its end lacks on average.
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
        q = within(qber)
        return self.linear * shannon_limit_bits(n, q) + self.spread * _deviation_bits(n, q)

    def step_bits(self, r: int, n: int, qber: float, doubt: float) -> int:
        """Values to be revealed when round r has failed and left that doubt; none after the last."""
        if r == len(self.steps):
            return 0
        q = within(qber)
        limit = shannon_limit_bits(n, q)
        lacking = doubt * doubt * (NEED * limit + NEED_SPREAD * _deviation_bits(n, q))
        return math.ceil(max(LEAST_VALUES, LEAST * limit, self.steps[r] * lacking))

    def lacking_bits(self, n: int, qber: float, leak_bits: int) -> float:
        """Parities to be had before the first attempt: 0 unless the strings differ far more than was expected."""
        needed = shannon_limit_bits(n, within(qber))
        share = leak_bits / needed
        return (RESCUE + RESCUE_SLOPE * (1 - share) - share) * needed if share < HOPELESS else 0.0


def _deviation_bits(n: int, q: float) -> float:
    return math.sqrt(n * q * (1 - q)) * math.log2((1 - q) / q)


PRESETS: dict[str, LdpcPreset] = {
    preset.name: preset
    for preset in (
        LdpcPreset(
            "one-way",
            linear=1.036,
            spread=4.3,
            iterations=(100,),
            steps=(),
            patience=30,
            source="own scan: least f with a frame error rate of 1e-2, 250 frames each at six error rates in 2 .. 8 %",
        ),
        LdpcPreset(
            "blind",
            linear=1.03,
            spread=0.0,
            iterations=(25, 25, 25, 30, 50, 120),
            steps=(0.35, 0.4, 0.55, 0.9, 6.0),
            patience=60,
            source="own scan: 100 frames of 65536 bits at 2 and 5 % a setting; least f at 1.3 Mbit/s",
        ),
    )
}


def alice(
    frames: Sequence[Frame], preset: LdpcPreset, secrets: SecretBits, *, library: Library = SHIPPED
) -> Steps[Reconciled]:
    """Alice's side: send the parities, then what Bob asks for.

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
    values = _values(frames, words, take_bits(secrets, _punctured(words)))
    parities = np.concatenate([syndrome(piece.adapted, values[piece.span]) for piece in words.pieces])
    yield from send(LdpcSyndromes(seed, pack(parities)))
    rounds = 1
    for _ in preset.steps:
        request = yield from receive(LdpcRequest)
        asked = _read(request, words)
        known = [words.adapted(i).checks for i in range(len(words.pieces))]
        words.admit(asked, _length_bits(request))
        if asked.nothing:
            break
        further = [_syndrome(words, i, values)[known[i] :] for i in np.flatnonzero(asked.rows).tolist()]
        yield from send(LdpcReveal(pack(np.concatenate([*further, values[asked.positions]]))))
        rounds += 1
    strings = tuple(frame.bits.copy() for frame in frames)
    return Reconciled(strings, words.ledger(), np.full(len(frames), -1, np.int64), rounds)


def bob(frames: Sequence[Frame], preset: LdpcPreset, *, library: Library = SHIPPED) -> Steps[Reconciled]:
    """Bob's side: decode, and ask where that fails; arguments and errors as for `alice`, he draws nothing."""
    words = Codewords(frames, preset.leak_bits, library)
    start = yield from receive(LdpcSyndromes)
    if len(start.seed) != SEED_BYTES:
        raise RemoteProtocolError(f"a seed has {SEED_BYTES} bytes, the peer sent {len(start.seed)}")
    parities = unpack(start.bits, words.checks)
    words.shuffle(start.seed)
    values = _values(frames, words, np.zeros(_punctured(words), np.uint8))
    pieces = [
        PieceDecoder(piece, values[piece.span], parities[piece.checks], words.known[piece.span])
        for piece in words.pieces
    ]
    rounds = 1
    asked = _decode(pieces, words, preset, 0)
    for r in range(1, len(preset.iterations)):
        request = _write(asked)
        yield from send(request)
        words.admit(asked, _length_bits(request))
        if asked.nothing:
            break
        revealed = yield from receive(LdpcReveal)
        _take(pieces, words, asked, revealed)
        asked = _decode(pieces, words, preset, r)
        rounds += 1
    return _corrected(frames, words, pieces, rounds)


def _decode(pieces: Sequence[PieceDecoder], words: Codewords, preset: LdpcPreset, r: int) -> Asked:
    """Round r at Bob: decode what is not yet done; returns what to ask for, nothing after the last round."""
    positions = [np.zeros(0, np.int64)]
    rows = np.zeros(len(pieces), np.int64)
    budget_bytes = STATE_BYTES
    for i, piece in enumerate(pieces):
        if piece.done:
            continue
        if r == 0 and preset.steps:
            rows[i] = words.rows(i, preset.lacking_bits(piece.bits, piece.qber, words.leak(i)))
        if not rows[i]:
            piece.run(preset.iterations[r], preset.patience)
            doubt = 0.0 if piece.done else piece.doubt()
            if 3 <= r < len(preset.steps) and doubt > HOPELESS_DOUBT:
                rows[i] = words.rows(i, SECOND_RESCUE * shannon_limit_bits(piece.bits, within(piece.qber)))
            count = 0 if piece.done or rows[i] else preset.step_bits(r, piece.bits, piece.qber, doubt)
            positions.append(piece.doubtful(min(count, words.room(i))) + words.pieces[i].base)
        budget_bytes = piece.keep(budget_bytes)
    return Asked(np.concatenate(positions), rows)


def _take(pieces: Sequence[PieceDecoder], words: Codewords, asked: Asked, revealed: LdpcReveal) -> None:
    """Hand what Alice revealed to the pieces that it is about."""
    sizes = [int(asked.rows[i]) * piece.adapted.code.lifting for i, piece in enumerate(words.pieces)]
    theirs = unpack(revealed.bits, sum(sizes) + asked.positions.size)
    used = 0
    for i in np.flatnonzero(asked.rows).tolist():
        pieces[i].extend(words.adapted(i), theirs[used : used + sizes[i]])
        used += sizes[i]
    for piece, place in zip(pieces, words.pieces, strict=True):
        low, high = np.searchsorted(asked.positions, [place.span.start, place.span.stop])
        if low < high:
            piece.reveal(asked.positions[low:high] - place.base, theirs[used + low : used + high])


def _syndrome(words: Codewords, index: int, values: Bits) -> Bits:
    """Alice's parities of a piece, all rows by which it was extended included."""
    return syndrome(words.adapted(index), values[words.pieces[index].span])


def _punctured(words: Codewords) -> int:
    return sum(piece.adapted.punctured.size for piece in words.pieces)


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


def _write(asked: Asked) -> LdpcRequest:
    more = asked.rows.astype(np.uint8).tobytes() if asked.rows.any() else b""
    return LdpcRequest(asked.positions.size, *pack_ascending(asked.positions), more)


def _read(request: LdpcRequest, words: Codewords) -> Asked:
    most = words.askable()
    if not 0 <= request.count <= most:
        raise RemoteProtocolError(f"the peer asks for {request.count} values, of which at most {most} may be revealed")
    positions = unpack_ascending(request.width, request.deltas, request.count, largest=words.positions - 1)
    rows = np.zeros(len(words.pieces), np.int64)
    if request.more:
        if len(request.more) != rows.size:
            raise RemoteProtocolError(f"{len(request.more)} counts of base rows where there are {rows.size} codewords")
        rows[:] = np.frombuffer(request.more, np.uint8)
    return Asked(positions, rows)


def _length_bits(request: LdpcRequest) -> int:
    return 8 * (len(request.deltas) + len(request.more))


def _corrected(frames: Sequence[Frame], words: Codewords, pieces: Sequence[PieceDecoder], rounds: int) -> Reconciled:
    strings = tuple(frame.bits.copy() for frame in frames)
    errors = np.zeros(len(frames), np.int64)
    for place, piece in zip(words.pieces, pieces, strict=True):
        wrong = words.order(place)[np.flatnonzero(piece.pattern[place.adapted.payload])]
        strings[place.frame][place.string][wrong] ^= 1
        errors[place.frame] += wrong.size
    return Reconciled(strings, words.ledger(), errors, rounds)
