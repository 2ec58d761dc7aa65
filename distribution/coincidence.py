"""Coincidences: which events of two stations belong together, and how many of them are accidental.

Both streams are on one clock. A coincidence window is always the FULL width w: events at a and b coincide when
|b - a| <= w // 2, which for odd w is exactly w of the integer delays and for even w one more.

One greedy rule: going up in time, the earliest unused events that coincide are paired, and each event is used once.
The rule looks at times only, never at detectors, and gives the largest possible number of pairs. A pair is ambiguous
when either of its events coincides with a neighbour of its partner as well. `match` takes whole streams, `MatchStream`
takes them piece by piece and gives the same pairs however they are cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distribution.errors import ParameterError
from distribution.kernels.match import count_pairs, flag_ambiguous, merge_pairs
from distribution.tags import TimesPs
from distribution.times import ascending_times, check_one_clock

# Accidentals are counted at delays of 10 to 110 windows on either side: beyond jitter and any tail of it, near enough
# that a slow change of the rates makes no difference.
_NEAREST, _FARTHEST = 10, 110
SHIFTED_WINDOWS = 2 * (_FARTHEST - _NEAREST)
"""Over how many windows accidentals are averaged."""

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of coincident events.

    Attributes:
        index_a, index_b: shape (pairs,), int64, ascending: events of the two streams.
        ambiguous: shape (pairs,), bool: another candidate was in reach of one of the two events.
    """

    index_a: Index
    index_b: Index
    ambiguous: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.index_a.size)

    def delay_ps(self, a_ps: TimesPs, b_ps: TimesPs) -> TimesPs:
        """b - a of every pair, shape (pairs,), int64, ps."""
        return b_ps[self.index_b] - a_ps[self.index_a]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoincidenceSummary:
    """Counts of two streams over the same time; those of two stretches add.

    Attributes:
        singles_a, singles_b: events.
        coincidences: pairs within the window, accidental ones included.
        accidentals: how many of them are expected to be accidental.
        dark_a, dark_b: how many of the singles are dark counts or background, from a run without the source.
    """

    singles_a: int
    singles_b: int
    coincidences: int
    accidentals: float
    dark_a: float = 0.0
    dark_b: float = 0.0

    @property
    def car(self) -> float | None:
        """Coincidences over accidentals; None when no accidental was seen."""
        return self.coincidences / self.accidentals if self.accidentals else None

    @property
    def car_error(self) -> float | None:
        """Standard error of `car`: Poisson counts, the accidentals as the mean of 200 windows."""
        if self.car is None or not self.coincidences:
            return None
        return self.car * math.sqrt(1.0 / self.coincidences + 1.0 / (SHIFTED_WINDOWS * self.accidentals))

    @property
    def heralding_a(self) -> float | None:
        """Klyshko efficiency of a: true coincidences over the photons that b saw; None without any."""
        return self._heralding(self.singles_b - self.dark_b)

    @property
    def heralding_b(self) -> float | None:
        """Klyshko efficiency of b: true coincidences over the photons that a saw; None without any."""
        return self._heralding(self.singles_a - self.dark_a)

    @property
    def heralding_a_error(self) -> float | None:
        """Standard error of `heralding_a`, dark counts taken as known."""
        return self._heralding_error(self.heralding_a, self.singles_b, self.singles_b - self.dark_b)

    @property
    def heralding_b_error(self) -> float | None:
        """Standard error of `heralding_b`, dark counts taken as known."""
        return self._heralding_error(self.heralding_b, self.singles_a, self.singles_a - self.dark_a)

    def _heralding(self, photons: float) -> float | None:
        """D. N. Klyshko, Sov. J. Quantum Electron. 10, 1112 (1980), accidentals and dark counts taken off."""
        return (self.coincidences - self.accidentals) / photons if photons > 0 else None

    def _heralding_error(self, share: float | None, singles: int, photons: float) -> float | None:
        if share is None:
            return None
        # Of each coincidence one single is certain, so numerator and denominator are correlated: the binomial part is
        # c (1 - eta)^2, singles without a partner add eta^2 each, and the accidentals' own error comes on top.
        lone = max(singles - self.coincidences, 0)
        variance = self.coincidences * (1.0 - share) ** 2 + lone * share**2 + self.accidentals / SHIFTED_WINDOWS
        return math.sqrt(variance) / photons


def match(a_ps: TimesPs, b_ps: TimesPs, window_ps: int) -> Matches:
    """Pair the events of two streams by the rule of the module docstring.

    Args:
        a_ps, b_ps: shape (n,) and (m,), int64, ps, ascending, on one clock.
        window_ps: coincidence window, FULL width.

    Raises:
        ParameterError: unordered times, or a window below 1 ps.
    """
    a, b = ascending_times(a_ps, name="a_ps"), ascending_times(b_ps, name="b_ps")
    half_ps = _half(window_ps)
    index_a, index_b, _, _ = _merge(a, b, half_ps)
    return Matches(index_a, index_b, _ambiguous(a, b, half_ps, index_a, index_b))


def _merge(a: TimesPs, b: TimesPs, half_ps: int) -> tuple[Index, Index, int, int]:
    """The two index vectors, and how many events of each stream are used up."""
    check_one_clock(a, b)
    room = min(a.size, b.size) + 1
    index_a, index_b = np.empty(room, np.int64), np.empty(room, np.int64)
    found, used_a, used_b = merge_pairs(a, b, half_ps, index_a, index_b)
    return index_a[:found], index_b[:found], used_a, used_b


def _ambiguous(a: TimesPs, b: TimesPs, half_ps: int, index_a: Index, index_b: Index) -> npt.NDArray[np.bool_]:
    """Flag of every pair; both streams must reach at least `half_ps` beyond it on either side, or end there."""
    flags = np.empty(index_a.size, np.bool_)
    flag_ambiguous(a, b, half_ps, index_a, index_b, flags)
    return flags


class MatchStream:
    """`match` for streams that arrive in pieces; holds only events whose partners may still come.

    Events of one side wait for the other side to get there, so memory is bounded by how far one runs ahead. A side that
    falls silent never gets anywhere: who knows that it is complete up to some time says so, and nothing piles up.

    Args:
        window_ps: coincidence window, FULL width.

    Raises:
        ParameterError: a window below 1 ps.
    """

    def __init__(self, window_ps: int) -> None:
        self._half_ps = _half(window_ps)
        self._a = _Tail()
        self._b = _Tail()

    @property
    def held(self) -> int:
        """Events kept for later."""
        return int(self._a.t_ps.size + self._b.t_ps.size)

    def feed(self, a_ps: TimesPs, b_ps: TimesPs, *, complete_ps: int | None = None) -> Matches:
        """Pairs that are settled by now; either piece may be empty, and they need not cover the same time.

        Args:
            a_ps, b_ps: shape (n,) and (m,), int64, ps, ascending, each continuing its stream.
            complete_ps: both streams are complete up to here: no later piece of either brings an event before it.
                None: no more is known than the events say.

        Returns:
            Pairs not returned before; indices count from the stream's first event.

        Raises:
            ParameterError: unordered times, also from piece to piece, or an event before what was called complete.
        """
        self._a.append(a_ps, complete_ps, name="a_ps")
        self._b.append(b_ps, complete_ps, name="b_ps")
        if self._a.reached_ps is None or self._b.reached_ps is None:
            return self._take(0, 0)
        # Up to here every partner, and every rival of it, has arrived.
        horizon = min(self._a.reached_ps, self._b.reached_ps) - self._half_ps
        found = self._take(self._a.before(horizon), self._b.before(horizon))
        # What had no partner yet, and cannot reach an event behind the horizon, never will have one.
        for tail in (self._a, self._b):
            tail.drop(max(tail.before(horizon - self._half_ps) - tail.used, 0))
        return found

    def finish(self) -> Matches:
        """The rest, when no more events will come."""
        return self._take(self._a.t_ps.size, self._b.t_ps.size)

    def _take(self, stop_a: int, stop_b: int) -> Matches:
        a, b = self._a, self._b
        index_a, index_b, used_a, used_b = _merge(a.t_ps[a.used : stop_a], b.t_ps[b.used : stop_b], self._half_ps)
        ambiguous = _ambiguous(a.t_ps, b.t_ps, self._half_ps, index_a + a.used, index_b + b.used)
        found = Matches(index_a + (a.first + a.used), index_b + (b.first + b.used), ambiguous)
        a.drop(used_a)
        b.drop(used_b)
        return found


class _Tail:
    """End of a stream: the last event that is used up, if any, and those that are not."""

    def __init__(self) -> None:
        self.t_ps: TimesPs = np.empty(0, np.int64)
        self.first = 0  # index of t_ps[0] in the whole stream
        self.used = 0  # events at the front that are used up: none or one
        self.reached_ps: int | None = None  # no event before this will come any more

    def append(self, t_ps: TimesPs, complete_ps: int | None, *, name: str) -> None:
        more = ascending_times(t_ps, name=name)
        if more.size and self.reached_ps is not None and more[0] < self.reached_ps:
            raise ParameterError(f"{name}: a piece starts {self.reached_ps - more[0]} ps before the last one ended")
        if more.size:
            self.reached_ps = int(more[-1])
            self.t_ps = np.concatenate([self.t_ps, more])
        if complete_ps is not None:
            self.reached_ps = complete_ps if self.reached_ps is None else max(complete_ps, self.reached_ps)

    def before(self, t_ps: int) -> int:
        """How many of the events at hand are earlier than this."""
        return int(np.searchsorted(self.t_ps, t_ps))

    def drop(self, used: int) -> None:
        # The last used event stays: it may be a rival that makes the next pair ambiguous.
        gone = max(self.used + used - 1, 0)
        self.used += used - gone
        self.first += gone
        self.t_ps = self.t_ps[gone:]


def _half(window_ps: int) -> int:
    if window_ps < 1:
        raise ParameterError(f"window_ps = {window_ps} must be at least 1: it is the full width of the window")
    return int(window_ps) // 2


def accidentals(a_ps: TimesPs, b_ps: TimesPs, window_ps: int, *, period_ps: int | None = None) -> float:
    """Expected number of accidental coincidences, from windows shifted to delays where no pair can be.

    Args:
        a_ps, b_ps: as for `match`.
        window_ps: coincidence window, FULL width.
        period_ps: repetition period of a pulsed source; accidentals then come at whole periods only, and the windows
            are shifted by these. None: a continuous source.

    Returns:
        The mean count of 200 windows shifted both ways; its relative error is 1/sqrt(200 x itself).

    Raises:
        ParameterError: unordered times, or a window that does not fit into the period.
    """
    a, b = ascending_times(a_ps, name="a_ps"), ascending_times(b_ps, name="b_ps")
    half_ps = _half(window_ps)
    check_one_clock(a, b)
    if period_ps is None:
        return shifted_pairs(a, b, window_ps) / SHIFTED_WINDOWS
    if period_ps < 2 * half_ps + 1:
        raise ParameterError(f"a window of {window_ps} ps does not fit into a period of {period_ps} ps")
    shifts = period_ps * np.arange(1, SHIFTED_WINDOWS // 2 + 1)
    count = sum(count_pairs(a, b, int(s) - half_ps, int(s) + half_ps) for s in np.concatenate([shifts, -shifts]))
    return count / SHIFTED_WINDOWS


def shifted_pairs(a_ps: TimesPs, b_ps: TimesPs, window_ps: int) -> int:
    """All pairs in the 200 shifted windows whose mean `accidentals` takes; counts of consecutive stretches of a add.

    Args:
        a_ps, b_ps: ascending int64 ps on one clock, as `match` has checked them; for counts of stretches to add, b must
            go on to the farthest of `accidental_delays_ps` on both sides of each stretch of a.
        window_ps: coincidence window, FULL width.
    """
    near_ps, far_ps = accidental_delays_ps(window_ps)
    return count_pairs(a_ps, b_ps, near_ps, far_ps) + count_pairs(a_ps, b_ps, -far_ps, -near_ps)


def accidental_delays_ps(window_ps: int) -> tuple[int, int]:
    """Shortest and longest delay at which accidentals are counted, both ways, for a window of this FULL width."""
    delays = 2 * _half(window_ps) + 1
    return _NEAREST * delays, _FARTHEST * delays - 1


def summarise(a_ps: TimesPs, b_ps: TimesPs, window_ps: int, *, period_ps: int | None = None) -> CoincidenceSummary:
    """Singles, coincidences and accidentals of two streams on one clock; arguments as for `accidentals`."""
    return CoincidenceSummary(
        singles_a=int(a_ps.size),
        singles_b=int(b_ps.size),
        coincidences=len(match(a_ps, b_ps, window_ps)),
        accidentals=accidentals(a_ps, b_ps, window_ps, period_ps=period_ps),
    )


def centre_ps(a_ps: TimesPs, b_ps: TimesPs, window_ps: int) -> float:
    """Static delay of b that is left after the clocks were aligned: mean delay of the pairs, accidentals taken off.

    Args:
        a_ps, b_ps: as for `match`.
        window_ps: FULL width of the window to look in; the delay must be well inside.

    Returns:
        Mean of b - a, ps; nan when nothing stands above the accidentals.
    """
    found = match(a_ps, b_ps, window_ps)
    net = len(found) - accidentals(a_ps, b_ps, window_ps)
    # Accidentals are spread evenly about zero: they dilute the mean by their share and add nothing else.
    return float(found.delay_ps(a_ps, b_ps).sum()) / net if net > 0 else float("nan")
