"""Counts per epoch: singles, coincidences, accidentals and outcomes of equal stretches of time, row after row.

Rows are counts, so those of consecutive epochs add up to those of the whole, and every rate, error and Bell value is
derived from the counts of a row. A coincidence belongs to the epoch of Alice's event. Rows do not depend on how the
streams were cut, and no more than the open epoch is held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distribution.coincidence import (
    SHIFTED_WINDOWS,
    CoincidenceSummary,
    Matches,
    MatchStream,
    accidental_delays_ps,
    shifted_pairs,
)
from distribution.correlators import Counts, outcome_counts
from distribution.errors import ParameterError
from distribution.tags import EMPTY, TimeTags, join
from distribution.units import PS_PER_S

MOST_EPOCHS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What both stations counted from `start_ps` on, for `length_ps`; rows of consecutive epochs add.

    Attributes:
        start_ps: beginning, on the common clock.
        length_ps: duration.
        singles_a, singles_b: events.
        coincidences: pairs within the window, accidental ones included.
        shifted: pairs in 200 windows of the same width at delays where no true pair can be.
        ambiguous: coincidences for which a second partner was in reach.
        delay_ps: sum of b - a over the coincidences, ps.
        outcomes: coincidences per pair of detectors, int64; of shape (0, 0) where they were not counted.
    """

    start_ps: int
    length_ps: int
    singles_a: int
    singles_b: int
    coincidences: int
    shifted: int
    ambiguous: int
    delay_ps: int
    outcomes: Counts

    @property
    def seconds(self) -> float:
        """Duration, s."""
        return self.length_ps / PS_PER_S

    def summary(self, dark_cps: tuple[float, float] = (0.0, 0.0)) -> CoincidenceSummary:
        """Accidentals, CAR and heralding efficiencies with their errors.

        Args:
            dark_cps: dark and background counts per second of Alice and of Bob, for the efficiencies.
        """
        return CoincidenceSummary(
            dark_a=dark_cps[0] * self.seconds,
            dark_b=dark_cps[1] * self.seconds,
            singles_a=self.singles_a,
            singles_b=self.singles_b,
            coincidences=self.coincidences,
            accidentals=self.shifted / SHIFTED_WINDOWS,
        )

    def __add__(self, other: Epoch) -> Epoch:
        return Epoch(
            start_ps=min(self.start_ps, other.start_ps),
            length_ps=self.length_ps + other.length_ps,
            singles_a=self.singles_a + other.singles_a,
            singles_b=self.singles_b + other.singles_b,
            coincidences=self.coincidences + other.coincidences,
            shifted=self.shifted + other.shifted,
            ambiguous=self.ambiguous + other.ambiguous,
            delay_ps=self.delay_ps + other.delay_ps,
            outcomes=self.outcomes + other.outcomes,
        )


class EpochCounter:
    """Turns two streams of tags on one clock into rows.

    Args:
        epoch_ps: length of an epoch.
        window_ps: coincidence window, FULL width.
        start_ps: where the first epoch begins; no event may be earlier.
        shape: numbers of detectors of Alice and of Bob, for the outcomes; None: these are not counted.

    Raises:
        ParameterError: a window below 1 ps, or an epoch that is not longer than the delays at which accidentals are
            counted (110 windows).
    """

    def __init__(self, epoch_ps: int, window_ps: int, start_ps: int, *, shape: tuple[int, int] | None = (4, 4)) -> None:
        self._far_ps = accidental_delays_ps(window_ps)[1]
        if epoch_ps <= self._far_ps:
            raise ParameterError(
                f"an epoch of {epoch_ps} ps is too short for a window of {window_ps} ps",
                hint=f"accidentals are counted up to {self._far_ps} ps away: make it longer than that",
            )
        self._epoch_ps, self._window_ps, self._shape = epoch_ps, window_ps, shape
        self._origin_ps = self._start_ps = start_ps
        self._stream = MatchStream(window_ps)
        self._a, self._b = _Held(), _Held()
        self._pairs = _NO_PAIRS

    @property
    def held(self) -> int:
        """Tags kept for rows that are not complete."""
        return len(self._a.tags) + len(self._b.tags)

    def feed(self, a: TimeTags, b: TimeTags, *, complete_ps: int | None = None) -> list[Epoch]:
        """Rows that are complete by now; arguments as for `MatchStream.feed`.

        Raises:
            ParameterError: unordered times, an event before `start_ps`, a detector beyond the shape, or more than a
                million epochs at once.
        """
        for tags in (a, b):
            if len(tags) and tags.t_ps[0] < self._origin_ps:
                raise ParameterError(f"an event at {tags.t_ps[0]} ps: the first epoch starts at {self._origin_ps} ps")
        self._pairs = _joined(self._pairs, self._stream.feed(a.t_ps, b.t_ps, complete_ps=complete_ps))
        self._a.extend(a, complete_ps)
        self._b.extend(b, complete_ps)
        if self._a.reached_ps is None or self._b.reached_ps is None:
            return []
        return self._close(min(self._a.reached_ps, self._b.reached_ps) - self._far_ps)

    def finish(self, stop_ps: int | None = None) -> list[Epoch]:
        """The rest, when no more events will come; the last row is as short as what is left.

        Args:
            stop_ps: where the recording ends; None: just after its last event.

        Raises:
            ParameterError: the end comes before an event.
        """
        last_ps = max((int(held.tags.t_ps[-1]) for held in (self._a, self._b) if len(held.tags)), default=-1)
        end_ps = max(last_ps + 1, self._start_ps) if stop_ps is None else stop_ps
        if end_ps <= last_ps:
            raise ParameterError(f"the recording cannot end at {end_ps} ps: an event comes at {last_ps} ps")
        self._pairs = _joined(self._pairs, self._stream.finish())
        rows = self._close(end_ps)
        if end_ps > self._start_ps:
            rows.append(self._row(end_ps))
        return rows

    def _close(self, until_ps: int) -> list[Epoch]:
        """All whole epochs that end by `until_ps`."""
        count = (until_ps - self._start_ps) // self._epoch_ps
        if count > MOST_EPOCHS:
            raise ParameterError(f"{count} epochs of {self._epoch_ps} ps at once", hint="choose longer epochs")
        return [self._row(self._start_ps + self._epoch_ps) for _ in range(count)]

    def _row(self, stop_ps: int) -> Epoch:
        """Count one epoch, and let go of what no later one needs."""
        a, b = self._a, self._b
        mine = a.tags.between(self._start_ps, stop_ps)
        theirs = b.tags.between(self._start_ps, stop_ps)
        pairs, self._pairs = _split(self._pairs, a.first + len(mine))
        index_a, index_b = pairs.index_a - a.first, pairs.index_b - b.first
        row = Epoch(
            start_ps=self._start_ps,
            length_ps=stop_ps - self._start_ps,
            singles_a=len(mine),
            singles_b=len(theirs),
            coincidences=len(pairs),
            shifted=shifted_pairs(mine.t_ps, b.tags.t_ps, self._window_ps),
            ambiguous=int(pairs.ambiguous.sum()),
            delay_ps=int((b.tags.t_ps[index_b] - a.tags.t_ps[index_a]).sum()),
            outcomes=_NO_OUTCOMES
            if self._shape is None
            else outcome_counts(a.tags.channel[index_a], b.tags.channel[index_b], self._shape),
        )
        self._start_ps = stop_ps
        a.drop_before(stop_ps)
        b.drop_before(stop_ps - self._far_ps)
        return row


class _Held:
    """The tags of one side that an epoch still needs."""

    def __init__(self) -> None:
        self.tags = EMPTY
        self.first = 0  # number of the first of them in the whole stream
        self.reached_ps: int | None = None

    def extend(self, more: TimeTags, complete_ps: int | None) -> None:
        self.tags = join(self.tags, more)
        last_ps = int(more.t_ps[-1]) if len(more) else None
        self.reached_ps = max((t for t in (self.reached_ps, last_ps, complete_ps) if t is not None), default=None)

    def drop_before(self, t_ps: int) -> None:
        gone = int(np.searchsorted(self.tags.t_ps, t_ps))
        self.tags = TimeTags(self.tags.t_ps[gone:], self.tags.channel[gone:])
        self.first += gone


_NO_OUTCOMES = np.zeros((0, 0), np.int64)
_NO_PAIRS = Matches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))


def _joined(one: Matches, other: Matches) -> Matches:
    return Matches(
        np.concatenate([one.index_a, other.index_a]),
        np.concatenate([one.index_b, other.index_b]),
        np.concatenate([one.ambiguous, other.ambiguous]),
    )


def _split(pairs: Matches, stop_a: int) -> tuple[Matches, Matches]:
    """Those whose event of a comes before number `stop_a`, and the others."""
    cut = int(np.searchsorted(pairs.index_a, stop_a))

    def part(piece: slice) -> Matches:
        return Matches(pairs.index_a[piece], pairs.index_b[piece], pairs.ambiguous[piece])

    return part(slice(0, cut)), part(slice(cut, None))
