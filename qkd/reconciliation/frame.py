"""What goes into error correction and what comes out of it, whichever method runs in between."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qkd.bits import Bits
from qkd.errors import ParameterError
from qkd.reconciliation.ledger import Ledger

MAX_FRAME_BITS = 1 << 20
MAX_BATCH_BITS = 1 << 28


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One string to reconcile.

    Attributes:
        bits: uint8 0/1, shape (n,), n in 1 .. 2^20.
        qber: error rate expected, a fraction, the same at both parties.
    """

    bits: Bits = field(repr=False)
    qber: float

    def __post_init__(self) -> None:
        if self.bits.dtype != np.uint8 or self.bits.ndim != 1 or (self.bits.size and self.bits.max() > 1):
            raise ParameterError(f"a frame is a uint8 vector of 0 and 1, got {self.bits.dtype} {self.bits.shape}")
        if not 1 <= self.bits.size <= MAX_FRAME_BITS:
            raise ParameterError(f"a frame of {self.bits.size} bits must have 1 .. {MAX_FRAME_BITS}")
        if not 0 <= self.qber <= 0.5:
            raise ParameterError(f"qber = {self.qber} must be in 0 .. 0.5")


@dataclass(frozen=True, slots=True, eq=False)
class Reconciled:
    """What error correction gives; all but `strings` is public.

    Attributes:
        strings: Alice's own, or Bob's after correction; equal but for what the verification must catch.
        ledger: forms disclosed, per frame, the same at both parties.
        errors: int64, shape (frames,): bits corrected, so the frame's error count if the strings are equal now;
            -1 at Alice where only Bob can know.
        rounds: messages sent each way.
    """

    strings: tuple[Bits, ...] = field(repr=False)
    ledger: Ledger
    errors: npt.NDArray[np.int64]
    rounds: int


def check_batch(total_bits: int, frames: int) -> None:
    """Refuse an empty batch and one that would not fit the memory set aside for it.

    Raises:
        ParameterError: the total is not in 1 .. MAX_BATCH_BITS.
    """
    if not 1 <= total_bits <= MAX_BATCH_BITS:
        raise ParameterError(f"a batch of {frames} frames has {total_bits} bits, must have 1 .. {MAX_BATCH_BITS}")
