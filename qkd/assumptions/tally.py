"""What a station counts of its own events while a block fills up: the counts stay here, verdicts leave.

Neighbours are consecutive events that count. Those of one basis are compared by outcome, so that an analyser that turns
between bases has no part in it; near ones are those that come just after the dead window, where a detector that is
still dead, or an after-pulse, shows most.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from qkd.bits import Bits
from qkd.kernels.clicks import follow

Counts = npt.NDArray[np.int64]
LEAST_NEAR_PS = 100_000
MOST_BASES = 3


class CountedEvents(Protocol):
    """Detection events; see `qkd.station.Events`."""

    @property
    def t_ps(self) -> npt.NDArray[np.int64]:
        """Ascending."""
        ...

    @property
    def basis(self) -> Bits:
        """From 0 on."""
        ...

    @property
    def bit(self) -> Bits:
        """The lowest bit is the outcome."""
        ...

    @property
    def double_clicks(self) -> int:
        """How many were multiple."""
        ...

    @property
    def across(self) -> int:
        """How many of these fired detectors of both bases."""
        ...

    @property
    def muted(self) -> int:
        """How many are not among them."""
        ...


class Tally:
    """Counts of one block at one station.

    Args:
        mute_ps: the session's dead window; neighbours less than that much (or 100 ns) after its end are near.
        bases: how many bases a station has; events and pairs name none above.

    Attributes:
        events: shape (2 x bases,), int64: events that count, by basis and bit, at 2 x basis + bit.
        multiple, across: of them, clicks of several detectors, and of detectors of both bases.
        muted: events that came too soon after a click to count.
        near, every: shape (2 x bases,), int64: neighbours of one basis at 2 x basis + (equal outcomes).
        pairs: shape (bases, 3), int64: pairs with the peer, by own basis and his.
    """

    def __init__(self, mute_ps: int = 0, bases: int = 2) -> None:
        self.near_ps = mute_ps + max(mute_ps, LEAST_NEAR_PS)
        self.events: Counts = np.zeros(2 * bases, np.int64)
        self.multiple = self.across = self.muted = 0
        self.near: Counts = np.zeros(2 * bases, np.int64)
        self.every: Counts = np.zeros(2 * bases, np.int64)
        self.pairs: Counts = np.zeros((bases, MOST_BASES), np.int64)

    def add_events(self, found: CountedEvents) -> None:
        """Count the next events; neighbours across two calls are not looked at."""
        self.multiple += found.double_clicks
        self.across += found.across
        self.muted += found.muted
        follow(found.t_ps, found.basis, found.bit & np.uint8(1), self.near_ps, self.events, self.near, self.every)

    def add_pairs(self, own_basis: Bits, their_basis: Bits) -> None:
        """Count pairs by both bases; shape (n,), uint8 each."""
        cells = MOST_BASES * own_basis + their_basis
        self.pairs += np.bincount(cells, minlength=self.pairs.size).reshape(self.pairs.shape)
