"""Sifting: from two stations' detections to the bits of the pairs that both measured in the same basis.

Bob tells when he detected, never what. Alice aligns the clocks from these times alone, matches coincidences and answers
which of Bob's events they share. Both count them, so both know when the block is full without another message. Window,
matching and alignment never look at a basis or a bit.

Bases are told when all events of the block are fixed, and not before. Told epoch by epoch they would let Eve watch
which of her touches fell into the test, and choose her next ones, or the moment to stop, by that; the tested bits would
be no random sample then (Pfister, Luetkenhaus, Wehner, Coles, NJP 18:053001, 2016: "sifting attacks"). For the same
reason a block is full by its coincidences, whose number no basis has a say in.

Where the protocol has a Bell test every coincidence is of use, and all of them are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from distribution.clock import acquire
from distribution.clock.tracker import ClockTracker
from distribution.coarsen import bin_centres_ps, bin_numbers
from distribution.coincidence import match
from distribution.monitors.pairs import PairMonitor
from distribution.states import Basis
from distribution.units import PS_PER_S, seconds_to_ps
from qkd.bits import Bits, pack, unpack
from qkd.errors import ClockNotFound, ParameterError, RemoteProtocolError
from qkd.exchange.codec import pack_ascending, unpack_ascending
from qkd.exchange.messages import Bases, Detections, Kept, MoreDetections
from qkd.exchange.steps import Role, Steps, receive, send
from qkd.kernels.split import part
from qkd.protocols import NO_KEY, inversions, pack_settings, setting_bits, settings_of, unpack_settings
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
        basis, bit: shape (n,), uint8. Bob's bits are already inverted where the Bell state says so. Where the
            protocol has a Bell test, `basis` is the number of the pair of settings (`qkd.protocols`) until the
            outcomes that give no key were told (`qkd.belltest`).
        detections, double_clicks: this station's events during the block.
        coincidences: pairs in any bases.
        ended: one of the taggers has no more.
        alarms: names of the monitors whose alarms stand at this station.
        seconds: how much of Bob's time the block took.
        muted: this station's events that came too soon after a click to count.
    """

    basis: Bits
    bit: Bits = field(repr=False)
    detections: int
    double_clicks: int
    coincidences: int
    ended: bool
    alarms: tuple[str, ...] = ()
    seconds: float = 0.0
    muted: int = 0

    def __len__(self) -> int:
        return int(self.bit.size)

    def of(self, basis: Basis) -> Bits:
        """The bits that were measured in one basis."""
        return self.strings()[basis.value]

    def strings(self) -> tuple[Bits, Bits]:
        """The bits measured in Z and those measured in X."""
        z, x = np.empty(len(self) + 1, np.uint8), np.empty(len(self) + 1, np.uint8)
        in_z = part(self.bit, self.basis, z, x)
        return z[:in_z], x[: len(self) - in_z]


class _Growing:
    """A block that fills up epoch by epoch; bases are compared when it is full."""

    def __init__(self) -> None:
        self.bases: list[Bits] = [np.empty(0, np.uint8)]
        self.bits: list[Bits] = [np.empty(0, np.uint8)]
        self.detections = self.double_clicks = self.coincidences = self.epochs = 0
        self.ended = False

    def keep(self, basis: Bits, bit: Bits) -> None:
        """Add coincidences, own basis and bit of each."""
        self.bases.append(basis)
        self.bits.append(bit)
        self.coincidences += bit.size

    def wants_more(self, params: SessionParameters) -> bool:
        """Whether another epoch is due."""
        return self.coincidences < params.block_coincidences and not self.ended

    @property
    def basis(self) -> Bits:
        """Own basis of every coincidence."""
        return np.concatenate(self.bases)

    def close(self, theirs: Bits, role: Role, station: Station, params: SessionParameters) -> SiftedBlock:
        """What is kept, now that the peer's bases are known."""
        settings, basis, bit = settings_of(params.protocol), self.basis, np.concatenate(self.bits)
        station.tally.add_pairs(basis, theirs)
        if settings.tested:
            basis = settings.numbers(basis, theirs) if role is Role.ALICE else settings.numbers(theirs, basis)
            station.sifted += int(np.count_nonzero(settings.key_of[basis] != NO_KEY))
        else:
            # By number and not by mask: selecting by a mask that is true by chance is slow.
            same = np.flatnonzero(basis == theirs)
            basis, bit = basis[same], bit[same]
            station.sifted += same.size
        return SiftedBlock(
            basis,
            bit,
            self.detections,
            self.double_clicks,
            self.coincidences,
            self.ended,
            tuple(sorted({alarm.watch.value for alarm in station.standing_alarms()})),
            self.epochs * params.epoch_s,
            station.tally.muted,
        )


def bob(station: Station, params: SessionParameters) -> Steps[SiftedBlock]:
    """Bob's part: announce detections epoch by epoch until the block is full or a tagger ends, then his bases."""
    block = _Growing()
    station.begin_block()
    pending = NO_EVENTS
    while block.wants_more(params):
        events = yield from _next_epoch(station, params)
        block.epochs += 1
        block.detections += len(events)
        block.double_clicks += events.double_clicks
        station.tally.add_events(events)
        pending = join_events(pending, events)
        yield from send(_announce(events, params.bin_ps, station.ended))
        answer = yield from receive(Kept, MoreDetections)
        if isinstance(answer, MoreDetections):
            if station.ended:
                raise RemoteProtocolError("asked for more detections after the last were announced")
            continue
        index = _read_kept(answer, len(pending))
        block.keep(pending.basis[index], pending.bit[index] ^ _inversion(params)[pending.basis[index]])
        station.coincidences += index.size
        pending = NO_EVENTS
        block.ended = answer.ended
    yield from send(_bases(block, Role.BOB, params))
    theirs = _read_bases((yield from receive(Bases)), block, Role.ALICE, params)
    return block.close(theirs, Role.BOB, station, params)


def alice(station: Station, params: SessionParameters) -> Steps[SiftedBlock]:
    """Alice's part: align, match and answer, until the block is full or a tagger ends, then her bases."""
    block = _Growing()
    station.begin_block()
    theirs = _Announced()
    watched: list[_Watched] = []
    while block.wants_more(params):
        theirs.extend((yield from receive(Detections)), params)
        station.peer_ended = theirs.ended
        block.epochs += 1
        yield from _cover(station, params, theirs)
        _align_clock(station, params, theirs)
        if station.tracker is None:
            yield from send(MoreDetections())
            continue
        events, ours, index, delay_ps = _coincidences(station, params, theirs)
        block.detections += len(events)
        block.double_clicks += events.double_clicks
        block.keep(events.basis[ours], events.bit[ours])
        watched.append(_Watched(events.t_ps[ours], delay_ps, 2 * events.basis[ours] + events.bit[ours]))
        station.coincidences += index.size
        block.ended = theirs.ended or station.exhausted
        width, deltas = pack_ascending(index)
        yield from send(Kept(int(index.size), width, deltas, block.ended))
        theirs = _Announced(theirs)
    bases = _read_bases((yield from receive(Bases)), block, Role.BOB, params)
    _watch(station, params, watched, bases)
    if block.ended and station.pair_monitor is not None:
        station.pair_monitor.finish()
    yield from send(_bases(block, Role.ALICE, params))
    return block.close(bases, Role.ALICE, station, params)


def _bases(block: _Growing, role: Role, params: SessionParameters) -> Bases:
    """Own basis of every coincidence of the block, for the wire."""
    return Bases(pack(pack_settings(block.basis, settings_of(params.protocol).count(role))))


def _read_bases(message: Bases, block: _Growing, role: Role, params: SessionParameters) -> Bits:
    """The peer's basis of each, shape (coincidences,), uint8.

    Raises:
        RemoteProtocolError: they are not as many as they must be, or one of them does not exist.
    """
    count = settings_of(params.protocol).count(role)
    read = unpack_settings(unpack(message.bits, block.coincidences * setting_bits(count)), count)
    if read.size and read.max() >= count:
        raise RemoteProtocolError(f"the peer names setting {read.max()}, the last is {count - 1}")
    return read


def _inversion(params: SessionParameters) -> Bits:
    """Per setting: whether Bob's bits come inverted."""
    return inversions(params.protocol, params.state)


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
    """Times of an epoch, coarsened and packed."""
    bins = bin_numbers(events.t_ps, bin_ps)
    start = int(bins[0]) if bins.size else 0
    if len(events) > MOST_EVENTS:
        raise ParameterError(
            f"{len(events)} detections in one epoch, a message holds {MOST_EVENTS}", hint="lower epoch_s at both ends"
        )
    width, deltas = pack_ascending(bins - start)
    return Detections(start, bin_ps, len(events), width, deltas, ended)


def _read_kept(answer: Kept, pending: int) -> npt.NDArray[np.int64]:
    """Indices that Alice keeps: ascending, each once, among the pending events."""
    if answer.count > pending:
        raise RemoteProtocolError(f"Alice kept {answer.count} of {pending} events")
    index = unpack_ascending(answer.width, answer.deltas, answer.count, largest=pending - 1)
    if np.any(np.diff(index) <= 0):
        raise RemoteProtocolError("Alice kept one of Bob's events twice")
    return index


class _Announced:
    """Bob's events as Alice knows them: centres of his time bins.

    Args:
        before: the events that were answered already; the new ones must come after them in time.
    """

    def __init__(self, before: _Announced | None = None) -> None:
        self.t_ps = np.empty(0, np.int64)
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
) -> tuple[Events, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Match Bob's pending events; returns the Alice events looked at, the two index vectors, and Bob's delays in ps.

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
    done = int(np.searchsorted(events.t_ps, end_ps - params.window_ps))
    if found.index_a.size:
        done = max(done, int(found.index_a[-1]) + 1)
    used, station.events = events.split(done)
    station.tally.add_events(used)
    return used, found.index_a, found.index_b, found.delay_ps(events.t_ps, aligned)


@dataclass(frozen=True, slots=True)
class _Watched:
    """An epoch's pairs as Alice's monitor wants them, Bob's bases still missing."""

    t_ps: npt.NDArray[np.int64]
    delay_ps: npt.NDArray[np.int64]
    own: Bits


def _watch(station: Station, params: SessionParameters, watched: list[_Watched], bases: Bits) -> None:
    """Show the block's pairs to Alice's monitor, which knows two bases a side: her outcomes, delays, Bob's bases."""
    if settings_of(params.protocol).tested:
        return
    if station.pair_monitor is None:
        station.pair_monitor = PairMonitor(params.window_ps, station.limits)
    first = 0
    for epoch in watched:
        station.pair_monitor.feed(epoch.t_ps, epoch.delay_ps, epoch.own, bases[first : first + epoch.own.size])
        first += epoch.own.size
