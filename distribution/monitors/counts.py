"""What the monitors count: sums over stretches of data, of which any two can be added.

Detectors are numbered 2 x basis + outcome, 0 .. 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

Share = tuple[str, int, int]
"""What it is a share of, how many, of how many."""

BINS = 64
"""Sub-bins of the coincidence window."""


class Tally(Protocol):
    """Counts of either kind."""

    @property
    def events(self) -> int:
        """All of them."""
        ...

    @property
    def singles(self) -> Counts:
        """Of each own detector, shape (4,), int64."""
        ...

    def shares(self) -> list[Share]:
        """Shares of bases and outcomes that an undisturbed link leaves as they are."""
        ...

    def __add__(self, other: Self, /) -> Self: ...


def _own_shares(singles: Counts) -> list[Share]:
    n = [int(x) for x in singles]
    outcomes = [(f"share of outcome 0 in {name}", n[2 * b], n[2 * b] + n[2 * b + 1]) for b, name in enumerate("ZX")]
    return [("share of basis Z", n[0] + n[1], sum(n)), *outcomes]


@dataclass(frozen=True, slots=True, eq=False)
class StationCounts:
    """One station's tags.

    Attributes:
        singles: shape (4,), int64, clicks of each detector.
        together: clicks of two different detectors less than the double-click window apart.
        apart: such pairs at larger distances, over `apart_windows` times as many delays.
        due: how many `together` independent detectors would make of these singles.
        seconds: length of the stretch.
    """

    singles: Counts
    together: int = 0
    apart: int = 0
    due: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: StationCounts) -> StationCounts:
        return StationCounts(
            self.singles + other.singles,
            self.together + other.together,
            self.apart + other.apart,
            self.due + other.due,
            self.seconds + other.seconds,
        )

    @property
    def events(self) -> int:
        """All clicks."""
        return int(self.singles.sum())

    def shares(self) -> list[Share]:
        """Shares of basis Z, and of outcome 0 in each basis."""
        return _own_shares(self.singles)


@dataclass(frozen=True, slots=True, eq=False)
class PairCounts:
    """Matched pairs, by this station's detector, the other one's basis and the delay.

    Attributes:
        table: shape (4, 2, BINS), int64.
        bin_ps: width of a sub-bin of the coincidence window, ps.
        seconds: length of the stretch.
    """

    table: Counts
    bin_ps: float
    seconds: float = 0.0

    def __add__(self, other: PairCounts) -> PairCounts:
        return PairCounts(self.table + other.table, self.bin_ps, self.seconds + other.seconds)

    @property
    def events(self) -> int:
        """All pairs."""
        return int(self.table.sum())

    @property
    def singles(self) -> Counts:
        """Pairs of each own detector, shape (4,), int64."""
        total: Counts = self.table.sum(axis=(1, 2))
        return total

    @property
    def bases(self) -> Counts:
        """Pairs by own and other basis, shape (2, 2), int64."""
        total: Counts = self.table.sum(axis=2).reshape(2, 2, 2).sum(axis=1)
        return total

    def shares(self) -> list[Share]:
        """Own shares of basis Z and of outcome 0 in each basis, and the other station's of basis Z."""
        return [*_own_shares(self.singles), ("the peer's share of basis Z", int(self.bases[:, 0].sum()), self.events)]

    def sifted(self, basis: int) -> Counts:
        """Pairs of equal bases, by own outcome and delay, shape (2, BINS), int64."""
        chosen: Counts = self.table[2 * basis : 2 * basis + 2, basis]
        return chosen

    def mean_delay_ps(self) -> npt.NDArray[np.float64]:
        """Mean delay of the pairs of each own detector about the middle of the window, shape (4,); 0 without pairs."""
        counts = self.table.sum(axis=1)
        centres = (np.arange(BINS) + 0.5 - BINS / 2) * self.bin_ps
        return (counts @ centres) / np.maximum(counts.sum(axis=1), 1)
