"""A recording as a stream, as fast as it is asked for or at true speed.

A recording waits for its reader: nothing is ever dropped, and `pace` only holds back what would come too early. It
ends with its last tag and never loops, because a tag that comes twice would be key that is used twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from distribution.bounds import require
from distribution.delivery import Driver, Site
from distribution.errors import FeedError
from distribution.formats import read
from distribution.health import SourceHealth
from distribution.tags import TagChunk, TimeTags
from distribution.units import ps_to_seconds

LARGEST_PACE = 1e6


class Replay:
    """A recording as a stream; see TagSource.

    Args:
        tags: the whole recording.
        simulated: what to say of its origin.
        pace: recorded seconds per second, counted from the first question on; 0 = as fast as it is asked for.
        clock: seconds that ascend.
        wait: sleeps so many seconds; None = a sleep that `close` interrupts.

    Raises:
        ParameterError: a negative or absurd pace.
    """

    def __init__(
        self,
        tags: TimeTags,
        *,
        simulated: bool = False,
        pace: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        require("pace", pace, 0.0, LARGEST_PACE)
        self._tags = tags
        self._given = 0
        self._pace = pace
        self._clock = clock
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._begin_s: float | None = None
        self.simulated = simulated

    @classmethod
    def of_file(cls, path: Path, *, simulated: bool = False, pace: float = 0.0) -> Replay:
        """Open a tag file of any format that `distribution.formats` knows.

        Raises:
            FeedError: it cannot be opened. TagFormatError: it is no tag file.
        """
        try:
            tags = read(path).tags
        except OSError as error:
            raise FeedError(f"cannot read the recording {path}: {error.strerror}") from error
        return cls(tags, simulated=simulated, pace=pace)

    @property
    def health(self) -> SourceHealth:
        """See TagSource."""
        return SourceHealth(events=self._given)

    def until(self, until_ps: int | None) -> TagChunk:
        """See TagSource."""
        t_ps = self._tags.t_ps
        stop = self._given + 1 if until_ps is None else int(t_ps.searchsorted(until_ps))
        stop = min(max(stop, self._given), len(self._tags))
        self._hold_back(until_ps, stop)
        if self._closed.is_set():
            raise FeedError("the recording was closed")
        chunk = TimeTags(t_ps[self._given : stop], self._tags.channel[self._given : stop])
        self._given = stop
        return TagChunk(chunk, ended=stop == len(self._tags))

    def _hold_back(self, until_ps: int | None, stop: int) -> None:
        """Sleep until the recording's time has come, which ends with its last tag."""
        if not self._pace or not len(self._tags):
            return
        if self._begin_s is None:
            self._begin_s = self._clock()
        last_ps = int(self._tags.t_ps[-1])
        reached_ps = int(self._tags.t_ps[stop - 1]) if until_ps is None else min(until_ps, last_ps)
        due_s = self._begin_s + ps_to_seconds(reached_ps - int(self._tags.t_ps[0])) / self._pace
        while not self._closed.is_set() and (left := due_s - self._clock()) > 0:
            self._wait(left)

    def skip_backlog(self) -> None:
        """A recording waits for its reader."""

    def close(self) -> None:
        """Whoever still waits for its time is told."""
        self._closed.set()


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the driver `replay`.

    Attributes:
        file: a recording in any format that `qkd tags` reads.
        pace: recorded seconds per second; 0 = as fast as it is asked for.
        simulated: the photons came from a simulator.
    """

    file: str
    pace: float = 1.0
    simulated: bool = False


def _open(options: ReplayOptions, site: Site) -> Replay:
    return Replay.of_file(site.folder / options.file, simulated=options.simulated, pace=options.pace)


DRIVER = Driver(ReplayOptions, _open, "a recording, at true speed")
