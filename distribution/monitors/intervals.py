"""Intervals of equal length on a stream's own clock, whatever pieces the stream comes in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from distribution.tags import TimesPs


class Intervals:
    """Cuts a stream of times into intervals; the first one starts with the first time.

    Args:
        interval_ps: length of an interval.
    """

    def __init__(self, interval_ps: int) -> None:
        self._interval_ps = interval_ps
        self._start_ps: int | None = None

    def pieces(self, t_ps: TimesPs) -> Iterator[tuple[slice, bool]]:
        """Which of these times fall into the open interval, and whether it is over after them; then into the next.

        A gap of any length counts as one empty interval.

        Args:
            t_ps: shape (n,), int64, ps, ascending, continuing the stream.
        """
        if not t_ps.size:
            return
        start = int(t_ps[0]) if self._start_ps is None else self._start_ps
        done = 0
        while True:
            stop = int(np.searchsorted(t_ps, start + self._interval_ps))
            over = stop < t_ps.size
            yield slice(done, stop), over
            if not over:
                self._start_ps = start
                return
            start, done = start + self._interval_ps, stop
            skipped = (int(t_ps[stop]) - start) // self._interval_ps
            if skipped:
                yield slice(stop, stop), True
                start += skipped * self._interval_ps

    def elapsed_ps(self, last_ps: int) -> int:
        """How much of the open interval has passed at `last_ps`."""
        return 0 if self._start_ps is None else max(last_ps - self._start_ps, 0)

    def restart(self) -> None:
        """The stream breaks off; a new interval starts with its next time."""
        self._start_ps = None
