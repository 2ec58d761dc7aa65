"""Sifting: from two stations' detections to the bits of the pairs that both measured in the same basis.

Bob tells when he detected and in which basis, never what. Alice aligns the clocks from these times alone, matches
coincidences and answers which of Bob's events to keep. Both count what is kept, so both know when the block is full
without another message. Window, matching and alignment never look at a basis or a bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from distribution.clock import acquire
from distribution.clock.tracker import ClockTracker
from distribution.coarsen import bin_centres_ps, bin_numbers
from distribution.coincidence import Matches, match
from distribution.monitors.pairs import PairMonitor
from distribution.states import Basis
from distribution.units import PS_PER_S, seconds_to_ps
from qkd.bits import Bits, pack, unpack
from qkd.errors import ClockNotFound, ParameterError, RemoteProtocolError
from qkd.exchange.codec import pack_ascending, unpack_ascending
from qkd.exchange.messages import Detections, Kept, MoreDetections
from qkd.exchange.steps import Steps, receive, send
from qkd.session import SessionParameters
from qkd.station import NO_EVENTS, Events, Station, join_events

# Alice waits this much longer than the aligned end of Bob's epoch: far above any jitter or window, far below a second.
MARGIN_PS = 1_000_000
LAST_PS = np.iinfo(np.int64).max // 4
# A search that finds nothing takes seconds, so it is tried again only with much more data.
ACQUISITION_EPOCHS = (1, 4, 16, 64)
# How far ahead of her own stream Alice will follow Bob's times: she must not be made to wait for ever.
MOST_AHEAD_S = 60.0
# Events of one message, and of all that wait for a clock: what the peer announces must fit into memory.
MOST_EVENTS = 1 << 24
MOST_PENDING = 1 << 26


@dataclass(frozen=True, slots=True)
class SiftedBlock:
    """Same-basis bits of one station, both bases interleaved in order of detection.

    Attributes:
        basis, bit: shape (n,), uint8. Bob's bits are already inverted where the Bell state says so.
        detections, double_clicks: this station's events during the block.
        coincidences: pairs in any bases (Alice), -1 at Bob, who is not told.
        ended: one of the taggers has no more.
        alarms: names of the monitors that have raised an alarm at this station so far.
        seconds: how much of Bob's time the block took.
    """

    basis: Bits
    bit: Bits = field(repr=False)
    detections: int
    double_clicks: int
    coincidences: int
    ended: bool
    alarms: tuple[str, ...] = ()
    seconds: float = 0.0

    def __len__(self) -> int:
        return int(self.bit.size)

    def of(self, basis: Basis) -> Bits:
        """The bits that were measured in one basis."""
        return self.bit[self.basis == basis.value]


class _Growing:
    """A block that fills up epoch by epoch."""

    def __init__(self) -> None:
        self.bases: list[Bits] = []
        self.bits: list[Bits] = []
        self.size = self.detections = self.double_clicks = 0
        self.coincidences = self.epochs = 0

    def keep(self, basis: Bits, bit: Bits) -> None:
        self.bases.append(basis)
        self.bits.append(bit)
        self.size += bit.size

    def close(self, station: Station, params: SessionParameters, *, coincidences: int, ended: bool) -> SiftedBlock:
        empty = np.empty(0, np.uint8)
        return SiftedBlock(
            np.concatenate([empty, *self.bases]),
            np.concatenate([empty, *self.bits]),
            self.detections,
            self.double_clicks,
            coincidences,
            ended,
            tuple(sorted({alarm.watch.value for alarm in station.alarms})),
            self.epochs * params.epoch_s,
        )


def bob(station: Station, params: SessionParameters) -> Steps[SiftedBlock]:
    """Bob's part: announce detections epoch by epoch until the block is full or a tagger ends."""
    block = _Growing()
    pending = NO_EVENTS
    ended = False
    while block.size < params.block_bits and not ended:
        events = yield from _next_epoch(station, params)
        block.epochs += 1
        block.detections += len(events)
        block.double_clicks += events.double_clicks
        pending = join_events(pending, events)
        yield from send(_announce(events, params.bin_ps, station.ended))
        answer = yield from receive(Kept, MoreDetections)
        if isinstance(answer, MoreDetections):
            if station.ended:
                raise RemoteProtocolError("asked for more detections after the last were announced")
            continue
        index = _read_kept(answer, len(pending))
        basis = pending.basis[index]
        block.keep(basis, pending.bit[index] ^ _inversion(params)[basis])
        station.sifted += index.size
        pending = NO_EVENTS
        ended = answer.ended
    return block.close(station, params, coincidences=-1, ended=ended)


def alice(station: Station, params: SessionParameters) -> Steps[SiftedBlock]:
    """Alice's part: align, match and answer, until the block is full or a tagger ends."""
    block = _Growing()
    theirs = _Announced()
    ended = False
    while block.size < params.block_bits and not ended:
        theirs.extend((yield from receive(Detections)), params)
        block.epochs += 1
        yield from _cover(station, params, theirs)
        _align_clock(station, params, theirs)
        if station.tracker is None:
            yield from send(MoreDetections())
            continue
        events, ours, index = _coincidences(station, params, theirs)
        block.detections += len(events)
        block.double_clicks += events.double_clicks
        block.coincidences += index.size
        same = events.basis[ours] == theirs.basis[index]
        block.keep(events.basis[ours[same]], events.bit[ours[same]])
        station.sifted += int(same.sum())
        ended = theirs.ended or station.exhausted
        if ended and station.pair_monitor is not None:
            station.pair_monitor.finish()
        width, deltas = pack_ascending(index[same])
        yield from send(Kept(int(same.sum()), width, deltas, ended))
        theirs = _Announced(theirs)
    return block.close(station, params, coincidences=block.coincidences, ended=ended)


def _inversion(params: SessionParameters) -> Bits:
    """Per basis: whether Bob's bits come inverted."""
    return np.array([params.state.anticorrelated(b) for b in (Basis.Z, Basis.X)], np.uint8)


def _next_epoch(station: Station, params: SessionParameters) -> Steps[Events]:
    """Bob's next epoch; the very first one starts with his first tag."""
    epoch_ps = seconds_to_ps(params.epoch_s)
    if station.next_epoch_ps is None:
        # Nothing is known of the stream yet, not even where its clock stands: its first tag says so.
        yield from station.collect(None)
        station.next_epoch_ps = station.first_ps
    station.next_epoch_ps += epoch_ps
    yield from station.collect(station.next_epoch_ps)
    return station.take_events()


def _announce(events: Events, bin_ps: int, ended: bool) -> Detections:
    """Times and bases of an epoch, coarsened and packed."""
    bins = bin_numbers(events.t_ps, bin_ps)
    start = int(bins[0]) if bins.size else 0
    if len(events) > MOST_EVENTS:
        raise ParameterError(
            f"{len(events)} detections in one epoch, a message holds {MOST_EVENTS}", hint="lower epoch_s at both ends"
        )
    width, deltas = pack_ascending(bins - start)
    return Detections(start, bin_ps, len(events), width, deltas, pack(events.basis), ended)


def _read_kept(answer: Kept, pending: int) -> npt.NDArray[np.int64]:
    """Indices that Alice keeps: ascending, each once, among the pending events."""
    if answer.count > pending:
        raise RemoteProtocolError(f"Alice kept {answer.count} of {pending} events")
    index = unpack_ascending(answer.width, answer.deltas, answer.count, largest=pending - 1)
    if np.any(np.diff(index) <= 0):
        raise RemoteProtocolError("Alice kept one of Bob's events twice")
    return index


class _Announced:
    """Bob's events as Alice knows them: centres of his time bins, and bases.

    Args:
        before: the events that were answered already; the new ones must come after them in time.
    """

    def __init__(self, before: _Announced | None = None) -> None:
        self.t_ps = np.empty(0, np.int64)
        self.basis: Bits = np.empty(0, np.uint8)
        self.ended = False
        self.epochs = 0
        self.after_ps = -LAST_PS if before is None else before.last_ps

    @property
    def last_ps(self) -> int:
        """Time of the latest event on Bob's clock."""
        return int(self.t_ps[-1]) if self.t_ps.size else self.after_ps

    def extend(self, message: Detections, params: SessionParameters) -> None:
        """Add one epoch.

        Raises:
            RemoteProtocolError: other bins than agreed, times that run backwards, or numbers out of range.
        """
        if message.bin_ps != params.bin_ps or abs(message.start_bin) > LAST_PS // message.bin_ps:
            raise RemoteProtocolError(f"detections in bins of {message.bin_ps} ps from bin {message.start_bin}")
        if message.count > min(MOST_EVENTS, MOST_PENDING - self.t_ps.size):
            raise RemoteProtocolError(f"Bob announced {message.count} detections at once, {self.t_ps.size} pending")
        bins = unpack_ascending(message.width, message.deltas, message.count, largest=LAST_PS // message.bin_ps)
        t_ps = bin_centres_ps(bins + message.start_bin, message.bin_ps)
        if t_ps.size and t_ps[0] < self.last_ps:
            raise RemoteProtocolError("Bob announced detections that precede those announced before")
        self.t_ps = np.concatenate([self.t_ps, t_ps])
        self.basis = np.concatenate([self.basis, unpack(message.bases, message.count)])
        self.ended = message.ended
        self.epochs += 1


def _cover(station: Station, params: SessionParameters, theirs: _Announced) -> Steps[None]:
    """Collect Alice's own events until they cover Bob's last one.

    Raises:
        RemoteProtocolError: his times are far ahead of her stream.
    """
    if station.reached_ps is None:
        yield from station.collect(None)
    if station.tracker is None:
        reach_ps = theirs.last_ps + seconds_to_ps(params.clock_uncertainty_s)
    else:
        reach_ps = int(station.tracker.model.to_alice(np.array([theirs.last_ps], np.int64))[0])
    ahead_s = (reach_ps - (station.reached_ps or 0)) / PS_PER_S - 2.0 * params.clock_uncertainty_s
    if ahead_s > MOST_AHEAD_S and not station.ended:
        raise RemoteProtocolError(
            f"Bob announces detections {ahead_s:.0f} s ahead of Alice's stream",
            hint="do both taggers count time from the same origin? if not, raise clock_uncertainty_s",
        )
    yield from station.collect(reach_ps + MARGIN_PS)


def _align_clock(station: Station, params: SessionParameters, theirs: _Announced) -> None:
    """Try to find the common clock, at 1, 4, 16, 64 epochs of data; gives up when no more can come.

    Raises:
        ClockNotFound: Bob's tagger ended, or too much was tried.
    """
    last_chance = theirs.ended or theirs.epochs >= ACQUISITION_EPOCHS[-1]
    if station.tracker is not None or not (last_chance or theirs.epochs in ACQUISITION_EPOCHS):
        return
    try:
        found = acquire(
            station.events.t_ps,
            theirs.t_ps,
            uncertainty_s=params.clock_uncertainty_s,
            max_drift_ppm=params.max_drift_ppm,
        )
    except ClockNotFound:
        if last_chance:
            raise
        return
    station.tracker = ClockTracker(found)


def _coincidences(
    station: Station, params: SessionParameters, theirs: _Announced
) -> tuple[Events, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Match Bob's pending events; returns the Alice events looked at and the two index vectors.

    Alice's events up to the last one that was used, and all too early for Bob's next epoch, are gone afterwards, so
    none can be used in two epochs.

    Raises:
        ClockNotFound: the tracker lost the pairs; the station forgets the clock and the next block acquires anew.
    """
    assert station.tracker is not None
    try:
        aligned = station.tracker.align(station.events.t_ps, theirs.t_ps)
    except ClockNotFound:
        station.tracker = None
        station.lose_pairs()
        raise
    events = station.take_events()
    found = match(events.t_ps, aligned, params.window_ps)
    end_ps = int(aligned[-1]) if aligned.size else -LAST_PS
    _watch(station, params, events, theirs, found, aligned)
    done = int(np.searchsorted(events.t_ps, end_ps - params.window_ps))
    if found.index_a.size:
        done = max(done, int(found.index_a[-1]) + 1)
    station.events = events.from_index(done)
    used = Events(events.t_ps[:done], events.basis[:done], events.bit[:done], events.double_clicks)
    return used, found.index_a, found.index_b


def _watch(
    station: Station,
    params: SessionParameters,
    events: Events,
    theirs: _Announced,
    found: Matches,
    aligned: npt.NDArray[np.int64],
) -> None:
    """Show the pairs to Alice's monitor: her own outcomes with their delays, and Bob's bases."""
    if station.pair_monitor is None:
        station.pair_monitor = PairMonitor(params.window_ps, station.limits)
    own = 2 * events.basis[found.index_a] + events.bit[found.index_a]
    delay_ps = found.delay_ps(events.t_ps, aligned)
    station.pair_monitor.feed(events.t_ps[found.index_a], delay_ps, own, theirs.basis[found.index_b])
