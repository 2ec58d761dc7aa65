"""What we claim of error correction, as bounds that the study's rows either keep or break.

Where a frame error rate is claimed its 95 % upper bound must keep the claim, so a claim needs its number of frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

FER = "frame_error_rate_upper"


class Verdict(Enum):
    """Kept, broken, or not to be told: the frame error rate keeps the claim and its upper bound does not."""

    KEPT = "yes"
    BROKEN = "NO"
    TOO_FEW_FRAMES = "too few frames"


@dataclass(frozen=True, slots=True)
class Claim:
    """A bound of one figure over a range of error rates.

    Attributes:
        preset: METHOD/PRESET.
        frame: bits.
        figure: field of a row.
        low, high: error rates, both included.
        bound: what the worst point must not pass.
        at_least: True if the figure must not fall below the bound, else it must not exceed it.
    """

    preset: str
    frame: int
    figure: str
    low: float
    high: float
    bound: float
    at_least: bool = False

    def worst(self, rows: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
        """The row with the worst figure in the range; None where nothing was measured, or no batch came to an end."""
        found = [
            row
            for row in rows
            if row["kind"] == "curve"
            and f"{row['method']}/{row['preset']}" == self.preset
            and row["frame"] == self.frame
            and self.low <= row["qber"] <= self.high
            and row[self.figure] is not None
        ]
        if not found:
            return None
        return (min if self.at_least else max)(found, key=lambda row: row[self.figure])

    def verdict(self, row: dict[str, Any]) -> Verdict:
        """What a row says about the claim."""
        value = row[self.figure]
        if value >= self.bound if self.at_least else value <= self.bound:
            return Verdict.KEPT
        few = self.figure == FER and row["frame_error_rate"] <= self.bound
        return Verdict.TOO_FEW_FRAMES if few else Verdict.BROKEN


LARGE = 1 << 20
SPEED = "mbit_per_s"
# Of f between neighbours on the fine grid.
LARGEST_STEP = 0.01
CLAIMS: tuple[Claim, ...] = (
    Claim("cascade/fast", 65536, "f", 0.001, 0.03, 1.055),
    Claim("cascade/fast", 65536, "f", 0.04, 0.05, 1.07),
    Claim("cascade/fast", 65536, "f", 0.06, 0.11, 1.095),
    Claim("cascade/fast", 65536, FER, 0.001, 0.11, 1e-3),
    Claim("cascade/fast", 65536, SPEED, 0.01, 0.01, 100, at_least=True),
    Claim("cascade/fast", 65536, SPEED, 0.03, 0.03, 60, at_least=True),
    Claim("cascade/fast", 65536, SPEED, 0.11, 0.11, 20, at_least=True),
    Claim("cascade/fast", 65536, "wire_bits_per_key_bit", 0.03, 0.03, 0.5),
    Claim("cascade/fast", 65536, "rounds", 0.001, 0.11, 400),
    Claim("cascade/tight", 65536, "f", 0.01, 0.03, 1.043),
    Claim("cascade/tight", 65536, FER, 0.001, 0.11, 1e-3),
    Claim("cascade/tight", 65536, SPEED, 0.03, 0.03, 40, at_least=True),
    Claim("cascade/large", LARGE, "f", 0.01, 0.01, 1.035),
    Claim("cascade/large", LARGE, "f", 0.03, 0.03, 1.045),
    Claim("cascade/large", LARGE, FER, 0.01, 0.03, 1e-2),
    Claim("cascade/large", LARGE, SPEED, 0.01, 0.01, 40, at_least=True),
    Claim("ldpc/one-way", 65536, "f", 0.02, 0.08, 1.10),
    Claim("ldpc/one-way", 65536, FER, 0.02, 0.08, 1e-2),
    Claim("ldpc/one-way", 65536, SPEED, 0.02, 0.08, 5, at_least=True),
    Claim("ldpc/one-way", 65536, "messages", 0.02, 0.08, 1),
    Claim("ldpc/blind", 65536, "f", 0.02, 0.08, 1.07),
    Claim("ldpc/blind", 65536, FER, 0.02, 0.08, 1e-3),
    Claim("ldpc/blind", 65536, SPEED, 0.02, 0.08, 1, at_least=True),
    Claim("ldpc/blind", 65536, "rounds", 0.02, 0.08, 6),
)
