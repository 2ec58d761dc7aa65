"""Time tags: what a time tagger delivers, and the one value that flows out of every reader, feed and simulator.

A tag is a time in picoseconds on that station's own clock and the number of the detector that fired. Two arrays of
equal length, times ascending; several detectors may fire at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError, TagFormatError

TimesPs = npt.NDArray[np.int64]
Channels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class TimeTags:
    """Detection events of one station.

    Attributes:
        t_ps: shape (n,), int64, picoseconds on the station's clock, ascending (equal times allowed).
        channel: shape (n,), uint8, detector number.

    Raises:
        ParameterError: shapes or dtypes do not fit. Order is the readers' business.
    """

    t_ps: TimesPs
    channel: Channels

    def __post_init__(self) -> None:
        if self.t_ps.dtype != np.int64 or self.channel.dtype != np.uint8:
            kinds = f"{self.t_ps.dtype} and {self.channel.dtype}"
            raise ParameterError(f"tags need int64 times and uint8 channels, got {kinds}")
        if self.t_ps.ndim != 1 or self.t_ps.shape != self.channel.shape:
            raise ParameterError(f"tags need two equal vectors, got shapes {self.t_ps.shape} and {self.channel.shape}")

    def __len__(self) -> int:
        return int(self.t_ps.size)

    @property
    def span_ps(self) -> int:
        """Time from the first tag to the last, ps; 0 when there are fewer than two."""
        return int(self.t_ps[-1] - self.t_ps[0]) if len(self) > 1 else 0

    def between(self, start_ps: int, stop_ps: int) -> TimeTags:
        """The tags with start_ps <= t_ps < stop_ps, as views."""
        lo, hi = np.searchsorted(self.t_ps, np.array([start_ps, stop_ps], dtype=np.int64))
        return TimeTags(self.t_ps[lo:hi], self.channel[lo:hi])

    def select(self, *channels: int) -> TimeTags:
        """Only the tags of the named detectors."""
        keep = np.isin(self.channel, np.array(channels, dtype=np.uint8))
        return TimeTags(self.t_ps[keep], self.channel[keep])

    def counts(self) -> dict[int, int]:
        """Number of tags per detector that fired at least once."""
        count = np.bincount(self.channel, minlength=1)
        return {int(c): int(count[c]) for c in np.nonzero(count)[0]}


class GapCause(Enum):
    """Why tags are missing."""

    OVERFLOW = "overflow"  # the tagger's own buffer overran
    RECONNECT = "reconnect"  # the line to the tagger was down
    BACKLOG = "backlog"  # we could not keep up and dropped the oldest


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a stream in which tags may be missing; the clock went on through it.

    Attributes:
        start_ps, stop_ps: start_ps <= t < stop_ps, ps on the station's clock.
        cause: why.
        lost: how many tags are known to be missing, 0 when nobody counted them.

    Raises:
        ParameterError: it ends before it starts, or a negative count.
    """

    start_ps: int
    stop_ps: int
    cause: GapCause
    lost: int = 0

    def __post_init__(self) -> None:
        if self.stop_ps < self.start_ps or self.lost < 0:
            raise ParameterError(f"a gap from {self.start_ps} to {self.stop_ps} ps with {self.lost} tags lost")


@dataclass(frozen=True, slots=True)
class TagChunk:
    """The next stretch of a station's stream.

    Attributes:
        tags: the tags.
        ended: the tagger has ended after them.
        gaps: where tags are missing, ascending; those that start in this stretch.
    """

    tags: TimeTags
    ended: bool
    gaps: tuple[Gap, ...] = ()


EMPTY = TimeTags(np.empty(0, np.int64), np.empty(0, np.uint8))


def join(*stretches: TimeTags) -> TimeTags:
    """Consecutive stretches of one stream as one.

    Raises:
        TagFormatError: a stretch starts before the one before it ended.
    """
    filled = [s for s in stretches if len(s)]
    if len(filled) < 2:
        return filled[0] if filled else EMPTY
    for before, after in pairwise(filled):
        if after.t_ps[0] < before.t_ps[-1]:
            raise TagFormatError(f"tags at {after.t_ps[0]} ps follow tags at {before.t_ps[-1]} ps: time runs backwards")
    return TimeTags(np.concatenate([s.t_ps for s in filled]), np.concatenate([s.channel for s in filled]))


def merge(*streams: TimeTags) -> TimeTags:
    """Several streams on one clock, interleaved by time (ties keep the order of the arguments)."""
    t_ps = np.concatenate([s.t_ps for s in streams])
    order = np.argsort(t_ps, kind="stable")
    return TimeTags(t_ps[order], np.concatenate([s.channel for s in streams])[order])
