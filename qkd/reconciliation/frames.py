"""From a block's two strings to frames of equal size, through error correction, and back.

A string of n bits becomes c = ceil(n / 65536) frames of n // c bits each; the n mod c < c bits left over at its end
are dropped by both sides. All frames of both bases are corrected in one batch, so a round trip is paid once a block.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qkd.bits import Bits
from qkd.estimation import Estimate
from qkd.exchange.steps import Steps
from qkd.randomness import SecretBits
from qkd.reconciliation import cascade
from qkd.reconciliation.cascade import PRESETS
from qkd.reconciliation.efficiency import shannon_limit_bits
from qkd.reconciliation.frame import Frame
from qkd.reconciliation.frame import Reconciled as Batch

FRAME_BITS = 65536


@dataclass(frozen=True, slots=True)
class CorrectedString:
    """One basis after error correction.

    Attributes:
        bits: shape (n,), the string (Bob's now equals Alice's, with high probability).
        errors: how many bits differed; both sides know it.
        leak_bits: parities of Alice's string that were disclosed.
        dropped: bits left over by the framing.
    """

    bits: Bits = field(repr=False)
    errors: int
    leak_bits: int
    dropped: int

    @property
    def limit_bits(self) -> float:
        """The least a perfect one-way code would have disclosed at this error rate."""
        return shannon_limit_bits(self.bits.size, self.errors / self.bits.size) if self.bits.size else 0.0


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Both bases after error correction, and how many rounds it took."""

    z: CorrectedString
    x: CorrectedString
    rounds: int


def alice(estimate: Estimate, preset: str, secrets: SecretBits) -> Steps[Reconciled]:
    """Alice's part: her strings stay as they are."""
    frames, in_z = _frames(estimate)
    return _rejoin(estimate, in_z, (yield from cascade.alice(frames, PRESETS[preset], secrets)))


def bob(estimate: Estimate, preset: str) -> Steps[Reconciled]:
    """Bob's part: his strings become Alice's."""
    frames, in_z = _frames(estimate)
    return _rejoin(estimate, in_z, (yield from cascade.bob(frames, PRESETS[preset])))


def _frames(estimate: Estimate) -> tuple[list[Frame], int]:
    z = _split(estimate.z, estimate.errors_z, estimate.sample_z)
    x = _split(estimate.x, estimate.errors_x, estimate.sample_x)
    return z + x, len(z)


def _split(bits: Bits, errors: int, sample: int) -> list[Frame]:
    # Laplace's rule keeps the prior off zero when the sample showed no error.
    qber = (errors + 1) / (sample + 2)
    count = max(1, -(-bits.size // FRAME_BITS))
    size = bits.size // count
    return [Frame(bits[i * size : (i + 1) * size], qber) for i in range(count)]


def _rejoin(estimate: Estimate, in_z: int, done: Batch) -> Reconciled:
    def one(bits: Bits, part: slice) -> CorrectedString:
        joined = np.concatenate(done.strings[part])
        errors, leak = int(done.errors[part].sum()), int(done.ledger.alice[part].sum())
        return CorrectedString(joined, errors, leak, bits.size - joined.size)

    return Reconciled(one(estimate.z, slice(0, in_z)), one(estimate.x, slice(in_z, None)), done.rounds)
