"""Where a driver's reading thread leaves tags and a station fetches them: order, patience and memory in one place.

A live tagger does not wait, so a thread of the driver reads it and `put`s what came, with a horizon: all tags before
it are in. The station asks by `until`, which waits for the horizon, never for ever: stream time has to pass, however
slowly, and a first tag has to come. Tags of different stretches may interleave as long as none comes before the
horizon; what was already handed out stays handed out, so a tag that comes too late is dropped and counted.
"""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from distribution.errors import FeedError, QkdError, TagFormatError
from distribution.health import SourceHealth
from distribution.tags import EMPTY, Gap, GapCause, TagChunk, TimeTags, merge
from distribution.units import PS_PER_S

MAX_BACKLOG = 1 << 26
MAX_GAPS = 1 << 12
# A driver that can make its tagger wait stops reading at this many tags.
PAUSE_BACKLOG = 1 << 20
# Stream time must pass at this fraction of real time at least, else the stream counts as stalled.
LEAST_PACE = 1e-3
# How long the tagger may be alive without a single tag before whoever waits for the first one is told.
DARK_S = 60.0
# How often whoever waits looks at the progress.
LOOK_S = 1.0
_BEGINNING = -(1 << 63)


class TagInbox:
    """A buffer between one reading thread and one station.

    Args:
        what: names the source in errors, "the feed at host:port".
        timeout_s: how long stream time may stand still.
        max_backlog: tags kept at most; beyond it the oldest are dropped, which is a gap.
        waits: the tagger can wait (a recording, a simulator): `skip_backlog` drops nothing, and the reader is to call
            `wait_for_room` between stretches.
        clock: seconds that ascend.
    """

    def __init__(
        self,
        what: str,
        *,
        timeout_s: float = 10.0,
        max_backlog: int = MAX_BACKLOG,
        waits: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._timeout_s = timeout_s
        self._max_backlog = max_backlog
        self._waits = waits
        self._clock = clock
        self._news = threading.Condition()
        self._waiting: list[TimeTags] = []
        self._gaps: list[Gap] = []
        self._backlog = 0
        self._horizon_ps = _BEGINNING
        self._given_ps = _BEGINNING
        self._wanted = False
        self._wanted_ps: int | None = None
        self._ended = False
        self._closed = False
        self._broken: QkdError | None = None
        self._counts: Counter[str] = Counter()

    @property
    def health(self) -> SourceHealth:
        """The counters so far."""
        with self._news:
            return SourceHealth(**self._counts)

    @property
    def closed(self) -> bool:
        """True once the station let go of the source: the reading thread is to stop."""
        return self._closed

    @property
    def horizon_ps(self) -> int | None:
        """All tags before this time are in; None before the first `put`."""
        return None if self._horizon_ps == _BEGINNING else self._horizon_ps

    # ---- the reading thread's side

    def put(self, tags: TimeTags, horizon_ps: int) -> None:
        """More tags, and the time before which all are in.

        Raises:
            TagFormatError: the tags do not ascend. FeedError: the horizon runs backwards.
        """
        if np.any(tags.t_ps[1:] < tags.t_ps[:-1]):
            raise TagFormatError(f"{self._what} sent tags that do not ascend")
        with self._news:
            if horizon_ps < self._horizon_ps:
                raise FeedError(
                    f"the clock of {self._what} ran back from {self._horizon_ps} to {horizon_ps} ps",
                    hint="was the tagger reset or restarted? open it anew",
                )
            if self._closed:
                return
            late = int(np.searchsorted(tags.t_ps, self._given_ps))
            self._count(late=late)
            self._store(TimeTags(tags.t_ps[late:], tags.channel[late:]))
            self._horizon_ps = horizon_ps
            self._shed()
            # Whoever waits looks at the progress now and then; waking him for every put would cost more than the put.
            if self._wanted and self._reaches(self._wanted_ps):
                self._news.notify_all()

    def miss(self, gap: Gap) -> None:
        """Tags are missing."""
        with self._news:
            self._record(gap)
            self._news.notify_all()

    def reconnected(self) -> None:
        """The line to the tagger was mended; `miss` tells what was lost."""
        with self._news:
            self._count(reconnects=1)

    def end(self) -> None:
        """The tagger has no more."""
        with self._news:
            self._ended = True
            self._news.notify_all()

    def fail(self, error: Exception) -> None:
        """The stream broke; whoever asks for more is told."""
        with self._news:
            if not isinstance(error, QkdError):
                error = FeedError(f"{self._what} broke off: {error or type(error).__name__}")
            self._broken = self._broken or error
            self._news.notify_all()

    def wait_for_room(self) -> None:
        """Return when the station wants more, or less than PAUSE_BACKLOG tags wait."""
        with self._news:
            while self._backlog >= PAUSE_BACKLOG and not (self._wanted or self._closed):
                self._news.wait(1.0)

    def pause(self, seconds: float) -> bool:
        """Sleep on the reading thread; returns early, and True, when the source is closed."""
        with self._news:
            end = self._clock() + seconds
            while not self._closed and (left := end - self._clock()) > 0:
                self._news.wait(left)
            return self._closed

    # ---- the station's side

    def until(self, until_ps: int | None) -> TagChunk:
        """See TagSource.

        Raises:
            FeedError: broken, closed, stalled, or (asked for the first tags) dark.
        """
        with self._news:
            self._wanted, self._wanted_ps = True, until_ps
            self._news.notify_all()
            try:
                self._wait(until_ps)
            finally:
                self._wanted = False
            return self._take(until_ps)

    def skip_backlog(self) -> None:
        """See TagSource."""
        if self._waits:
            return
        with self._news:
            self._count(skipped=self._backlog)
            self._given_ps = max(self._given_ps, self._horizon_ps)
            self._gaps = [gap for gap in self._gaps if gap.stop_ps > self._given_ps]
            self._waiting.clear()
            self._backlog = 0

    def close(self) -> None:
        """See TagSource."""
        with self._news:
            self._closed = True
            self._waiting.clear()
            self._news.notify_all()

    # ---- with the lock held

    def _wait(self, until_ps: int | None) -> None:
        asked = marked = self._clock()
        mark_ps = self._horizon_ps
        while not self._closed and not self._reaches(until_ps):
            if self._broken:
                raise self._broken
            now = self._clock()
            if self._horizon_ps >= mark_ps + self._timeout_s * LEAST_PACE * PS_PER_S:
                marked, mark_ps = now, self._horizon_ps
            if now - marked >= self._timeout_s:
                raise FeedError(
                    f"{self._what} has been silent for {self._timeout_s:g} s",
                    hint="is the tagger running, and is its clock?",
                )
            if until_ps is None and now - asked >= DARK_S:
                raise FeedError(f"{self._what} is alive but shows no detection", hint="are the detectors switched on?")
            self._news.wait(min(max(marked + self._timeout_s - now, 0.0) + 1e-3, LOOK_S))
        if self._closed:
            raise FeedError(f"{self._what} was closed")

    def _reaches(self, until_ps: int | None) -> bool:
        if self._ended:
            return True
        if until_ps is None:
            return bool(self._waiting) and int(self._waiting[0].t_ps[0]) < self._horizon_ps
        return self._horizon_ps >= until_ps

    def _take(self, until_ps: int | None) -> TagChunk:
        limit_ps = until_ps if until_ps is not None else self._given_ps
        if until_ps is None and self._waiting:
            # Only the first: how much may be taken at once is for the station to say.
            limit_ps = int(self._waiting[0].t_ps[0]) + 1
        taken = [stretch.between(_BEGINNING, limit_ps) for stretch in self._waiting]
        count = sum(len(stretch) for stretch in taken)
        rest = [TimeTags(s.t_ps[len(t) :], s.channel[len(t) :]) for s, t in zip(self._waiting, taken, strict=True)]
        self._waiting = [stretch for stretch in rest if len(stretch)]
        self._backlog -= count
        self._given_ps = max(self._given_ps, limit_ps)
        self._count(events=count)
        ended = self._ended and not self._waiting
        gaps = tuple(gap for gap in self._gaps if ended or gap.start_ps < limit_ps)
        self._gaps = self._gaps[len(gaps) :]
        if not count:
            return TagChunk(EMPTY, ended, gaps)
        parts = ([s.t_ps for s in taken], [s.channel for s in taken])
        return TagChunk(TimeTags(np.concatenate(parts[0]), np.concatenate(parts[1])), ended, gaps)

    def _store(self, tags: TimeTags) -> None:
        """Append; a stretch that reaches back among the waiting ones is sorted in."""
        if not len(tags):
            return
        first_ps = tags.t_ps[0]
        back: list[TimeTags] = []
        while self._waiting and self._waiting[-1].t_ps[-1] > first_ps:
            stretch = self._waiting.pop()
            cut = int(np.searchsorted(stretch.t_ps, first_ps, side="right"))
            back.append(TimeTags(stretch.t_ps[cut:], stretch.channel[cut:]))
            if cut:
                self._waiting.append(TimeTags(stretch.t_ps[:cut], stretch.channel[:cut]))
        self._waiting.append(merge(*reversed(back), tags) if back else tags)
        self._backlog += len(tags)

    def _shed(self) -> None:
        while self._backlog > self._max_backlog:
            lost = self._waiting.pop(0)
            self._backlog -= len(lost)
            self._record(Gap(int(lost.t_ps[0]), int(lost.t_ps[-1]) + 1, GapCause.BACKLOG, len(lost)))

    def _record(self, gap: Gap) -> None:
        before = self._gaps[-1] if self._gaps else None
        # What was handed out without the gap cannot be told any more, so it is told as of now.
        start_ps = max(gap.start_ps, self._given_ps)
        gap = replace(gap, start_ps=start_ps, stop_ps=max(gap.stop_ps, start_ps))
        joins = before is not None and (len(self._gaps) >= MAX_GAPS or (before.cause is gap.cause is GapCause.BACKLOG))
        self._count(dropped=gap.lost, overflows=int(gap.cause is GapCause.OVERFLOW))
        if before is not None and joins:
            wider = replace(before, stop_ps=max(before.stop_ps, gap.stop_ps), lost=before.lost + gap.lost)
            self._gaps[-1] = wider
            self._count(missing_ps=wider.stop_ps - before.stop_ps)
            return
        insort(self._gaps, gap, key=lambda g: g.start_ps)
        self._count(gaps=1, missing_ps=gap.stop_ps - gap.start_ps)

    def _count(self, **more: int) -> None:
        for name, value in more.items():
            self._counts[name] += value


class InboxSource:
    """What every TagSource shares whose own thread fills an inbox; a subclass makes `_inbox` before its thread starts.

    A subclass that holds a device, a line or a program lets go of it in its own `close`, after this one.
    """

    _inbox: TagInbox

    @property
    def health(self) -> SourceHealth:
        """See TagSource."""
        return self._inbox.health

    def until(self, until_ps: int | None) -> TagChunk:
        """See TagSource."""
        return self._inbox.until(until_ps)

    def skip_backlog(self) -> None:
        """See TagSource; a tagger that can wait (`TagInbox.waits`) drops nothing."""
        self._inbox.skip_backlog()

    def close(self) -> None:
        """See TagSource."""
        self._inbox.close()
