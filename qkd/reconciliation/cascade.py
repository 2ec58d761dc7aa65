"""Cascade: Bob's strings become Alice's by parities over a public line, in few rounds and with every bit counted.

Brassard and Salvail, "Secret-key reconciliation by public discussion" (EUROCRYPT '93), with what was learnt since: much
longer blocks in the second pass, known sub-blocks used again, and random subsets instead of all later passes. Alice
sends parities, Bob answers with one bit each: does his differ. Both run `qkd.reconciliation.schedule` on these bits,
so no address is ever sent. All frames of a batch move together: a round is one message each way, and Bob speaks last.

The ledger counts Alice's parities. Bob's answers tell Eve where the strings differed; `LeakModel` says what that means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qkd.bits import pack, unpack
from qkd.errors import ParameterError, RemoteProtocolError
from qkd.exchange.messages import CascadeStart, Parities, ParityDifferences
from qkd.exchange.steps import Steps, receive, send
from qkd.randomness import SEED_BYTES, SecretBits
from qkd.reconciliation.frame import MAX_FRAME_BITS, Frame, Reconciled, check_batch
from qkd.reconciliation.ledger import Ledger
from qkd.reconciliation.schedule import Cut, Schedule

QBER_RANGE = (0.001, 0.25)


@dataclass(frozen=True, slots=True)
class CascadePreset:
    """How the passes are cut.

    Attributes:
        name: what the session's parameters call it.
        first: mean block length of the first pass times the error rate.
        second: the same for the second pass.
        limit: most intervals of the second pass that a frame cuts in a round. Searches that run at the same time
            cannot use what the others find; the fewer there are, the less is asked, and the more rounds it takes.
        masks: random subsets whose parities end the schedule: an error pattern that survived the passes survives
            these with probability 2^-masks.
        frame_bits: how long frames should be.
        source: where the numbers come from.
    """

    name: str
    first: float
    second: float
    limit: int
    masks: int
    frame_bits: int
    source: str

    def __post_init__(self) -> None:
        if not (0 < self.first < math.inf and 0 < self.second < math.inf):
            raise ParameterError(f"preset {self.name}: block lengths must be positive and finite")
        if not 1 <= self.masks <= 64:
            raise ParameterError(f"preset {self.name}: masks = {self.masks} must be in 1 .. 64")
        if self.limit < 1:
            raise ParameterError(f"preset {self.name}: limit = {self.limit} must be at least 1")
        if not 1 <= self.frame_bits <= MAX_FRAME_BITS:
            raise ParameterError(f"preset {self.name}: frame_bits = {self.frame_bits} must be in 1 .. {MAX_FRAME_BITS}")

    def cuts(self, n: int, qber: float) -> tuple[Cut, Cut]:
        """How both passes of a frame of n bits are cut; the second has at least two blocks where n allows it."""
        q = min(max(qber, QBER_RANGE[0]), QBER_RANGE[1])
        return Cut.near(self.first / q, n), Cut.near(min(self.second / q, n / 2), n)


_SCAN = "own scan of f, rounds and speed: 128 to 320 frames of 65536 bits at each of five error rates in 0.5 .. 11 %"
PRESETS: dict[str, CascadePreset] = {
    preset.name: preset
    for preset in (
        CascadePreset("fast", 1.1, 3.2, 1 << 20, 16, 1 << 16, f"{_SCAN}; least f that stays within 400 rounds"),
        CascadePreset("tight", 1.0, 12.0, 16, 16, 1 << 16, f"{_SCAN}; f at two thirds of the speed of fast"),
        CascadePreset("serial", 1.0, 16.0, 4, 16, 1 << 16, f"{_SCAN}; least f, thousands of rounds"),
        CascadePreset("large", 1.0, 12.0, 256, 16, 1 << 20, "tight, with the limit in proportion to the frame"),
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
        yield from send(Parities(pack(schedule.ask())))
        answer = yield from receive(ParityDifferences)
        schedule.apply(unpack(answer.bits, schedule.due))
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
        differences = unpack(theirs.bits, schedule.due) ^ schedule.ask()
        yield from send(ParityDifferences(pack(differences)))
        schedule.apply(differences)
    return _reconciled(schedule)


def _schedule(frames: Sequence[Frame], preset: CascadePreset, seed: bytes, *, corrects: bool) -> Schedule:
    kinds = {(frame.bits.size, frame.qber) for frame in frames}
    shared = {kind: preset.cuts(*kind) for kind in kinds}
    cuts = [shared[frame.bits.size, frame.qber] for frame in frames]
    return Schedule([frame.bits for frame in frames], cuts, preset.masks, preset.limit, seed, corrects=corrects)


def _reconciled(schedule: Schedule) -> Reconciled:
    # Bob's differences are the same forms of his string.
    ledger = Ledger(schedule.leak_bits, schedule.leak_bits)
    return Reconciled(schedule.strings(), ledger, schedule.errors, schedule.rounds)
