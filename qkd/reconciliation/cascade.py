"""Cascade: Bob's strings become Alice's by parities over a public line, in few rounds and with every bit counted.

Brassard and Salvail, "Secret-key reconciliation by public discussion" (EUROCRYPT '93), with what was learnt since:
longer blocks in the second pass, known sub-blocks used again, and random subsets instead of late passes. Alice sends
parities, Bob answers with one bit each: does his differ. Both run `qkd.reconciliation.schedule` on these bits, so no
address is ever sent. All frames of a batch move together: a round is one message each way, and Bob speaks last.

The leak counts Alice's parities. Bob's answers tell Eve where the strings differed, so the security argument must
take the error pattern as public: the bound on phase errors does not lean on bit errors being unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qkd.errors import ParameterError, RemoteProtocolError
from qkd.exchange.messages import CascadeStart, Parities, ParityDifferences
from qkd.exchange.steps import Steps, receive, send
from qkd.randomness import SEED_BYTES, SecretBits
from qkd.reconciliation.frame import Frame, Reconciled, check_batch
from qkd.reconciliation.ledger import Ledger
from qkd.reconciliation.schedule import Schedule

QBER_RANGE = (0.001, 0.25)


@dataclass(frozen=True, slots=True)
class CascadePreset:
    """How the passes are cut.

    The first two block lengths are powers of two: a search in such a block asks whole bits of information, while one
    in a block of 3/2 that length wastes 0.08 bit per error, which is 1 % of all that is disclosed.

    Attributes:
        name: what the session's parameters call it.
        first: block length of the first pass times the error rate, before rounding to the nearest power of two.
        second: the same for the second pass.
        later: block lengths of the passes after these; never more than half a frame.
        masks: random subsets whose parities end the schedule: an error pattern that survived the passes survives
            these with probability 2^-masks.
        source: where the numbers come from.
    """

    name: str
    first: float
    second: float
    later: tuple[int, ...]
    masks: int
    source: str

    def __post_init__(self) -> None:
        if not (self.first > 0 and self.second > 0 and all(k >= 2 for k in self.later)):
            raise ParameterError(f"preset {self.name}: block lengths must be positive, later ones at least 2")
        if not 1 <= self.masks <= 64:
            raise ParameterError(f"preset {self.name}: masks = {self.masks} must be in 1 .. 64")

    def block_lengths(self, n: int, qber: float) -> list[int]:
        """Block length of each pass for a frame of n bits: at least 2, after the first pass at most n / 2."""
        q = min(max(qber, QBER_RANGE[0]), QBER_RANGE[1])
        half = max(2, (n + 1) // 2)
        later = [_power_of_two(self.second / q), *self.later]
        return [max(2, min(n, _power_of_two(self.first / q))), *(max(2, min(half, k)) for k in later)]


def _power_of_two(length: float) -> int:
    """The power of two nearest to a block length, on a logarithmic scale; at least 2."""
    return 1 << max(1, round(math.log2(length)))


PRESETS: dict[str, CascadePreset] = {
    preset.name: preset
    for preset in (
        CascadePreset(
            "fast",
            first=0.85,
            second=4.5,
            later=(8192,),
            masks=10,
            source="own scan: 24 frames of 65536 bits at each of eight error rates in 1 .. 11 %; least f in 400 rounds",
        ),
    )
}


def alice(frames: Sequence[Frame], preset: CascadePreset, secrets: SecretBits) -> Steps[Reconciled]:
    """Alice's side: draw the seed, then send the parities that are due until none is.

    Args:
        frames: her strings, in Bob's order, with the same lengths and priors.
        preset: the same as Bob's.
        secrets: where the seed comes from; drawn now, after sifting, so that nobody could place errors to suit it.

    Raises:
        ParameterError: no frames, or too many bits. RemoteProtocolError: an answer of the wrong length.
        ReconciliationFailed: answers that contradict each other, or more disclosed than there is.
    """
    check_batch(sum(frame.bits.size for frame in frames), len(frames))
    seed = secrets.take_bytes(SEED_BYTES)
    yield from send(CascadeStart(seed))
    schedule = _schedule(frames, preset, seed, corrects=False)
    while schedule.next_round():
        yield from send(Parities(schedule.ask().tobytes()))
        answer = yield from receive(ParityDifferences)
        schedule.apply(schedule.check(answer.bits))
    return _reconciled(schedule)


def bob(frames: Sequence[Frame], preset: CascadePreset) -> Steps[Reconciled]:
    """Bob's side: answer with the differences and correct; arguments and errors as for `alice`."""
    check_batch(sum(frame.bits.size for frame in frames), len(frames))
    start = yield from receive(CascadeStart)
    if len(start.seed) != SEED_BYTES:
        raise RemoteProtocolError(f"a seed has {SEED_BYTES} bytes, the peer sent {len(start.seed)}")
    schedule = _schedule(frames, preset, start.seed, corrects=True)
    while schedule.next_round():
        theirs = yield from receive(Parities)
        differences = schedule.check(theirs.bits) ^ schedule.ask()
        yield from send(ParityDifferences(differences.tobytes()))
        schedule.apply(differences)
    return _reconciled(schedule)


def _schedule(frames: Sequence[Frame], preset: CascadePreset, seed: bytes, *, corrects: bool) -> Schedule:
    blocks = np.array([preset.block_lengths(frame.bits.size, frame.qber) for frame in frames], np.int64)
    return Schedule([frame.bits for frame in frames], blocks, preset.masks, seed, corrects=corrects)


def _reconciled(schedule: Schedule) -> Reconciled:
    return Reconciled(
        schedule.strings, Ledger(schedule.leak_bits, schedule.leak_bits), schedule.errors, schedule.rounds
    )
