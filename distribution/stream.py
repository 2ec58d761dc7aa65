"""One station's clicks on their way from emission order to settled tags: through its detectors and its tagger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from distribution.detector import per_detector
from distribution.kernels.generate import ROWS
from distribution.kernels.settle import PENDING, settle
from distribution.scenario import Station
from distribution.tags import EMPTY, TimeTags
from distribution.units import PS_PER_NS, PS_PER_S

BATCH = 1 << 15  # the arrays of a batch stay in a core's cache
# Settled clicks in one array, or more where more are due at once: 4 MiB of times, which the system maps in huge pages.
CHUNK = 16 * BATCH
_NEVER = -(1 << 62)
_DETECTOR = np.uint8(15)

Numbers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Settled tags: times, labels (detector in the low four bits, cause above), pair numbers or none, times lost."""

    time: Numbers
    label: Codes
    pair: Numbers
    lost: Numbers

    def tags(self) -> TimeTags:
        """The tags alone."""
        return TimeTags(self.time, self.label & _DETECTOR) if self.time.size else EMPTY

    @property
    def cause(self) -> Codes:
        """Why each came about."""
        return self.label >> np.uint8(4)


class _Electronics(NamedTuple):
    """What `kernels.settle.settle` wants to know of analyser, detectors and tagger, in its order."""

    owner: Numbers
    dead_ps: int
    paralysable: bool
    recovery_ps: float
    afterpulse: float
    decay: npt.NDArray[np.float64]
    slot_ps: int
    seed: np.uint64
    shares: npt.NDArray[np.float64]
    unit: Numbers
    buffer: npt.NDArray[np.float64]


def _electronics(station: Station, slot_seed: np.uint64, shares: npt.NDArray[np.float64]) -> _Electronics:
    analyser, detectors, tagger = station.analyser, station.detectors, station.tagger
    after, decay = detectors.afterpulsing, np.ones((1, 2))
    if after is not None:
        decay = np.stack([np.cumsum(after.share), np.array(after.decay_ns) * PS_PER_NS], axis=1)
    gap_ps = PS_PER_S / tagger.max_rate_cps if tagger.max_rate_cps else 0.0
    return _Electronics(
        owner=np.zeros_like(analyser.owner) if detectors.mutes_station else analyser.owner,
        dead_ps=detectors.dead_ps,
        paralysable=detectors.paralysable,
        recovery_ps=detectors.recovery_ns * PS_PER_NS,
        afterpulse=after.probability if after else 0.0,
        decay=decay,
        slot_ps=analyser.slot_ps,
        seed=slot_seed,
        shares=shares,
        unit=np.array(tagger.unit.as_integer_ratio(), np.int64),
        buffer=np.array([gap_ps, float(tagger.buffer_tags)]),
    )


class _Queue:
    """An array filled behind and emptied in front by views: what is handed out is never copied.

    When it is full, what has not been taken moves to the front of a new one.
    """

    def __init__(self, dtype: type[np.generic]) -> None:
        self._array = np.empty(0, dtype)
        self._first, self._end = 0, 0

    @property
    def ready(self) -> npt.NDArray[Any]:
        """What is in it; a view."""
        return self._array[self._first : self._end]

    def room(self, n: int) -> npt.NDArray[Any]:
        """A view of at least n free places behind what is in it."""
        if self._end + n > self._array.size:
            left = self.ready
            self._array = np.empty(max(CHUNK, 2 * (left.size + n)), left.dtype)
            self._array[: left.size] = left
            self._first, self._end = 0, left.size
        return self._array[self._end :]

    def extend(self, n: int) -> None:
        """Count the first n of those places as filled."""
        self._end += n

    def take(self, first: int, cut: int) -> npt.NDArray[Any]:
        """A view of what is between `first` and `cut`; all before `cut` is dropped."""
        taken = self.ready[first:cut]
        self._first += cut
        return taken


@dataclass(slots=True)
class ClickStream:
    """Clicks of one station.

    Attributes:
        station: what stands there.
        rng: seeds whatever is random in its detectors.
        numbered: whether pair numbers are kept.
        slot_seed: of the active analyser's choices.
        time, label, pair: clicks that are not settled yet, in front, and room for a batch.
    """

    station: Station
    rng: np.random.Generator
    numbered: bool
    slot_seed: np.uint64 = field(init=False)
    response: npt.NDArray[np.float32] = field(init=False)
    fixed: npt.NDArray[np.float32] = field(init=False)
    early_ps: float = field(init=False)
    shares: npt.NDArray[np.float64] = field(init=False)
    time: Numbers = field(default_factory=lambda: np.empty(BATCH, np.int64))
    label: Codes = field(default_factory=lambda: np.empty(BATCH, np.uint8))
    pair: Numbers = field(init=False)
    _electronics: _Electronics = field(init=False)
    _state: npt.NDArray[np.uint64] = field(init=False)
    _last: Numbers = field(init=False)
    _books: Numbers = field(default_factory=lambda: np.zeros(2, np.int64))
    _level: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    _waiting: tuple[Numbers, Codes] = field(
        default_factory=lambda: (np.zeros(PENDING, np.int64), np.zeros(PENDING, np.uint8))
    )
    _ready_time: _Queue = field(default_factory=lambda: _Queue(np.int64))
    _ready_label: _Queue = field(default_factory=lambda: _Queue(np.uint8))
    _ready_pair: _Queue = field(default_factory=lambda: _Queue(np.int64))
    _ready_lost: _Queue = field(default_factory=lambda: _Queue(np.int64))

    def __post_init__(self) -> None:
        analyser, detectors = self.station.analyser, self.station.detectors
        delays = per_detector(detectors.delay_ps, analyser.detectors)[analyser.owner]
        tables = [response.table() for response in detectors.responses(analyser.detectors)]
        self.response, self.fixed = np.zeros((ROWS, tables[0].size), np.float32), np.zeros(ROWS, np.float32)
        self.response[: analyser.owner.size] = [tables[k] for k in analyser.owner]
        self.fixed[: analyser.owner.size] = delays
        self.early_ps = -min(0.0, float(self.response.min()) + float(delays.min()))
        self.shares = np.cumsum([setting.share for setting in analyser.bases])
        self.pair = np.empty(BATCH if self.numbered else 0, np.int64)
        self._state = self.rng.integers(1, 1 << 64, 4, dtype=np.uint64)
        self.slot_seed = np.uint64(self.rng.integers(0, 1 << 64, dtype=np.uint64))
        self._electronics = _electronics(self.station, self.slot_seed, self.shares)
        self._last = np.full(analyser.owner.size, _NEVER, np.int64)

    def settle(self, n: int, safe_ps: int) -> int:
        """Make the first n clicks that no later click can precede ready; returns how many are left."""
        room = n + (n + PENDING if self.station.detectors.afterpulsing else 0)
        limited = self.station.tagger.max_rate_cps > 0
        count = np.zeros(3, np.int64)
        settle(
            self.time,
            self.label,
            self.pair,
            n,
            safe_ps,
            *self._electronics,
            self._state,
            self._last,
            self._books,
            self._level,
            *self._waiting,
            self._ready_time.room(room),
            self._ready_label.room(room),
            self._ready_pair.room(room if self.numbered else 0),
            self._ready_lost.room(room if limited else 0),
            count,
        )
        done, left, gone = (int(c) for c in count)
        self._ready_time.extend(done)
        self._ready_label.extend(done)
        self._ready_pair.extend(done if self.numbered else 0)
        self._ready_lost.extend(gone)
        if left > self.time.size // 2:
            self._grow()
        return left

    def _grow(self) -> None:
        """More room, for a clock that jumps back so far that most of a batch must wait for what comes before it."""
        more = self.time.size
        self.time = np.concatenate([self.time, np.empty(more, np.int64)])
        self.label = np.concatenate([self.label, np.empty(more, np.uint8)])
        self.pair = np.concatenate([self.pair, np.empty(more if self.numbered else 0, np.int64)])

    def take(self, from_ps: int, until_ps: int) -> Stretch:
        """The ready clicks in from_ps <= t < until_ps; those before are dropped."""
        first, cut = (int(k) for k in np.searchsorted(self._ready_time.ready, np.array([from_ps, until_ps], np.int64)))
        gone = int(np.searchsorted(self._ready_lost.ready, until_ps))
        pairs = (first, cut) if self.numbered else (0, 0)
        return Stretch(
            self._ready_time.take(first, cut),
            self._ready_label.take(first, cut),
            self._ready_pair.take(*pairs),
            self._ready_lost.take(0, gone),
        )


def joined_stretches(parts: list[Stretch]) -> Stretch:
    """Consecutive stretches as one."""
    return Stretch(
        np.concatenate([np.empty(0, np.int64), *(p.time for p in parts)]),
        np.concatenate([np.empty(0, np.uint8), *(p.label for p in parts)]),
        np.concatenate([np.empty(0, np.int64), *(p.pair for p in parts)]),
        np.concatenate([np.empty(0, np.int64), *(p.lost for p in parts)]),
    )
