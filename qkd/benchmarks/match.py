"""Speed of the matcher, and of the whole way from raw words to sifted bits, on a simulated link with drifting clocks.

Events are those of both stations together. The matcher's reference pairs the same streams by numpy: the nearest event
of the other side by binary search. The whole way is what stations do with a recording: decode S-Fifteen words, group
clicks into events, follow Bob's clock (which was found beforehand, once a session), match, keep equal bases. It has no
reference: no other package does it in one process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from distribution.clock import Acquisition, ClockTracker, acquire
from distribution.coincidence import Matches, MatchStream, match
from distribution.formats import s15
from distribution.scenario import Scenario, load_scenario
from distribution.simulate import simulate
from distribution.tags import TimesPs
from qkd.benchmarks.result import Result, Row, median_seconds
from qkd.bits import Bits
from qkd.randomness import OperatingSystemBits
from qkd.station import NO_EVENTS, Events, group_clicks, join_events

WINDOW_PS = 1000
DOUBLE_CLICK_PS = 2000
PIECE_PS = 10**11
STRETCH_BYTES = 1 << 22  # half a million words, a third of a second: what a station works on at a time
_MARGIN_PS = 1_000_000_000  # above what Bob's clock can move against the first model in a benchmark's few seconds
# Four times the pairs at half the transmission a side: twice the singles of the shipped link, a tenth coincident.
_BRIGHTER = 4.0
_EXTRA_LOSS_DB = 10.0 * np.log10(2.0)


@dataclass(frozen=True, slots=True)
class Sifted:
    """Bits of the pairs that both stations measured in one basis, shape (n,), uint8.

    Attributes:
        basis: 0 = Z, 1 = X.
        alice, bob: outcomes; equal but for errors.
    """

    basis: Bits
    alice: Bits
    bob: Bits


def run(rng: Generator, *, seconds: float = 4.0, repeats: int = 5) -> Result:
    """Measure; the headline is the matcher's speed.

    Args:
        rng: for the simulated link.
        seconds: length of the recording.
        repeats: timed calls of each stage, of which the median counts.

    Raises:
        ClockNotFound: the recording is too short to find the clocks in.
    """
    recording = simulate(link(), seconds, rng)
    words_a, words_b = s15.encode_words(recording.alice), s15.encode_words(recording.bob)
    clock = acquire(recording.alice.t_ps, recording.bob.t_ps)
    a_ps, b_ps = recording.alice.t_ps, clock.model.to_alice(recording.bob.t_ps)
    mevents = (a_ps.size + b_ps.size) / 1e6
    rows = [
        _matcher_row(a_ps, b_ps, mevents, repeats),
        _stream_row(a_ps, b_ps, mevents, repeats),
        *_stage_rows(words_a, words_b, clock, mevents, repeats),
        _whole_row(words_a, words_b, clock, mevents, repeats),
    ]
    headline = {"mevents_per_s": rows[0].value, "whole_mevents_per_s": rows[-1].value}
    return Result(headline=headline, rows=tuple(rows))


def link() -> Scenario:
    """The shipped metropolitan link, brighter and lossier: 1.6 million clicks a second and side, a tenth coincident."""
    metro = load_scenario("metro")
    brighter = msgspec.structs.replace(metro.pairs, pairs_per_s=_BRIGHTER * metro.pairs.pairs_per_s)
    lossier = metro.with_extra_loss(alice_db=_EXTRA_LOSS_DB, bob_db=_EXTRA_LOSS_DB)
    return msgspec.structs.replace(lossier, pairs=brighter)


def sifted_bits(words_a: bytes, words_b: bytes, clock: Acquisition) -> Sifted:
    """The whole way: raw words of both stations to their sifted bits, stretch by stretch as they would arrive."""
    tracker, alice = ClockTracker(clock), _Alice(words_a)
    parts = []
    for words in _stretches(words_b):
        bob = _events(words)
        alice.cover(int(clock.model.to_alice(bob.t_ps[-1:])[0]) + _MARGIN_PS)
        aligned = tracker.align(alice.events.t_ps, bob.t_ps)
        pairs = match(alice.events.t_ps, aligned, WINDOW_PS)
        parts.append(_sift(alice.events, bob, pairs))
        alice.drop(pairs, int(aligned[-1]) - WINDOW_PS)
    return Sifted(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("basis", "alice", "bob")))


class _Alice:
    """Her events that are still to be matched: decoded as far as Bob's reach, used ones gone, as `qkd.sifting` does."""

    def __init__(self, words: bytes) -> None:
        self._more = iter(_stretches(words))
        self.events = NO_EVENTS

    def cover(self, until_ps: int) -> None:
        while not len(self.events) or self.events.t_ps[-1] < until_ps:
            words = next(self._more, None)
            if words is None:
                return
            self.events = join_events(self.events, _events(words))

    def drop(self, pairs: Matches, before_ps: int) -> None:
        done = int(np.searchsorted(self.events.t_ps, before_ps))
        if len(pairs):
            done = max(done, int(pairs.index_a[-1]) + 1)
        self.events = self.events.from_index(done)


def _stretches(words: bytes) -> list[memoryview]:
    view = memoryview(words)
    return [view[start : start + STRETCH_BYTES] for start in range(0, len(view), STRETCH_BYTES)]


def _events(words: bytes | memoryview) -> Events:
    return group_clicks(s15.decode_words(words), DOUBLE_CLICK_PS, OperatingSystemBits())


def _sift(alice: Events, bob: Events, pairs: Matches) -> Sifted:
    same = alice.basis[pairs.index_a] == bob.basis[pairs.index_b]
    kept_a, kept_b = pairs.index_a[same], pairs.index_b[same]
    return Sifted(alice.basis[kept_a], alice.bit[kept_a], bob.bit[kept_b])


def nearest_pairs(a_ps: TimesPs, b_ps: TimesPs, window_ps: int) -> npt.NDArray[np.int64]:
    """The reference: for each event of a the nearest of b, where it is within the window; index pairs, shape (n, 2)."""
    right = np.searchsorted(b_ps, a_ps).clip(1, b_ps.size - 1)
    nearest = right - (a_ps - b_ps[right - 1] < b_ps[right] - a_ps)
    index_a = np.flatnonzero(np.abs(b_ps[nearest] - a_ps) <= window_ps // 2)
    return np.stack([index_a, nearest[index_a]], axis=1)


def _matcher_row(a_ps: TimesPs, b_ps: TimesPs, mevents: float, repeats: int) -> Row:
    found = match(a_ps, b_ps, WINDOW_PS)
    reference_s = median_seconds(lambda: nearest_pairs(a_ps, b_ps, WINDOW_PS), repeats=repeats)
    return Row(
        case="match",
        value=mevents / median_seconds(lambda: match(a_ps, b_ps, WINDOW_PS), repeats=repeats),
        unit="Mevents/s",
        reference=mevents / reference_s,
        against="numpy.searchsorted, nearest neighbour",
        details={
            "mevents": mevents,
            "coincidences": len(found),
            "ambiguous": int(found.ambiguous.sum()),
            "reference_coincidences": len(nearest_pairs(a_ps, b_ps, WINDOW_PS)),
        },
    )


def _stream_row(a_ps: TimesPs, b_ps: TimesPs, mevents: float, repeats: int) -> Row:
    """The matcher on streams that arrive a tenth of a second at a time."""
    edges = np.arange(min(a_ps[0], b_ps[0]), max(a_ps[-1], b_ps[-1]) + PIECE_PS, PIECE_PS)
    pieces = [np.split(t_ps, np.searchsorted(t_ps, edges[1:])) for t_ps in (a_ps, b_ps)]

    def work() -> None:
        stream = MatchStream(WINDOW_PS)
        for a_piece, b_piece in zip(*pieces, strict=True):
            stream.feed(a_piece, b_piece)
        stream.finish()

    return Row(case="match stream", value=mevents / median_seconds(work, repeats=repeats), unit="Mevents/s")


def _stage_rows(words_a: bytes, words_b: bytes, clock: Acquisition, mevents: float, repeats: int) -> list[Row]:
    """The parts of the whole way that are not the matcher, each alone, on the same stretches."""
    raw = [words for side in (words_a, words_b) for words in _stretches(side)]
    tags = [s15.decode_words(words) for words in raw]
    alice, bob = (_joined([_events(words) for words in _stretches(side)]) for side in (words_a, words_b))
    pairs = match(alice.t_ps, ClockTracker(clock).align(alice.t_ps, bob.t_ps), WINDOW_PS)
    secrets = OperatingSystemBits()

    def decode() -> None:
        for words in raw:
            s15.decode_words(words)

    def group() -> None:
        for stretch in tags:
            group_clicks(stretch, DOUBLE_CLICK_PS, secrets)

    stages: dict[str, Callable[[], object]] = {
        "decode": decode,
        "group": group,
        "clock": lambda: ClockTracker(clock).align(alice.t_ps, bob.t_ps),
        "sift": lambda: _sift(alice, bob, pairs),
    }
    return [
        Row(case=name, value=mevents / median_seconds(work, repeats=repeats), unit="Mevents/s")
        for name, work in stages.items()
    ]


def _joined(parts: list[Events]) -> Events:
    whole = NO_EVENTS
    for part in parts:
        whole = join_events(whole, part)
    return whole


def _whole_row(words_a: bytes, words_b: bytes, clock: Acquisition, mevents: float, repeats: int) -> Row:
    bits = sifted_bits(words_a, words_b, clock)
    return Row(
        case="decode, clock, match, sift",
        value=mevents / median_seconds(lambda: sifted_bits(words_a, words_b, clock), repeats=repeats),
        unit="Mevents/s",
        details={"sifted_bits": int(bits.alice.size), "qber": float((bits.alice != bits.bob).mean())},
    )
