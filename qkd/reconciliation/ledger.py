"""The leak ledger: what error correction told the line, counted in linear forms, and what of it the key must pay.

A form is the parity of a set of positions. One that follows from others disclosed before tells nothing new and is
not counted, where that can be proven. Every frame carries its own ledger to privacy amplification; an average over
frames or a nominal f never takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from qkd.errors import ParameterError


class LeakModel(Enum):
    """Under which assumption the disclosed forms are charged to the key.

    * ERROR_PATTERN_PUBLIC (default): the positions at which the strings differ are taken as known to Eve, whatever
      Bob said; what is left to charge are the forms of Alice's string. It rests on a security proof that gives Eve
      X xor Y: entropic uncertainty bounds her knowledge of Alice's string by the phase errors alone.
    * ONE_WAY_PARITIES: the forms of Alice's string, Bob's answers passed over, as most of the literature counts.
      Sound by itself only where Bob says nothing that depends on his string (one-way LDPC).
    * BOTH_DIRECTIONS: the forms of either string, added up. Needs no assumption about X xor Y and costs twice.

    Under the last two, what Bob says of each frame in verification is charged as well (`frames.join`).

    Tupkary and Luetkenhaus, PR Applied 20, 064040 (2023): why the answers of a two-way protocol cannot be passed over
    without an argument.
    """

    ERROR_PATTERN_PUBLIC = "error_pattern_public"
    ONE_WAY_PARITIES = "one_way_parities"
    BOTH_DIRECTIONS = "both_directions"


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """Independent linear forms disclosed, per frame of a batch.

    Attributes:
        alice: int64, shape (frames,): forms of Alice's string.
        bob: int64, shape (frames,): forms of Bob's string; with Alice's they tell those of the error pattern.
    """

    alice: npt.NDArray[np.int64]
    bob: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.alice.shape != self.bob.shape or self.alice.ndim != 1:
            raise ParameterError(f"a ledger has one entry a frame, got shapes {self.alice.shape} and {self.bob.shape}")
        if self.alice.size and min(self.alice.min(), self.bob.min()) < 0:
            raise ParameterError("a ledger counts disclosed forms: it cannot be negative")

    def leak_bits(self, model: LeakModel) -> npt.NDArray[np.int64]:
        """Bits to be taken off the key of each frame, int64, shape (frames,)."""
        return self.alice + self.bob if model is LeakModel.BOTH_DIRECTIONS else self.alice
