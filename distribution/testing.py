"""Does a tag source keep the contract of `distribution.delivery.TagSource`? For authors of drivers, in their own tests.

    def test_my_driver():
        check_tag_source(lambda: MyTagger("file-or-address"), expected=the_tags_it_must_give)

The source is opened several times and asked in different ways: in even steps, in uneven steps, after a skipped
backlog, while it is closed. Every call is checked; the first rule that does not hold is raised by name.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TypeVar

import numpy as np

from distribution.delivery import TagSource
from distribution.errors import FeedError, QkdError
from distribution.health import SourceHealth
from distribution.tags import Channels, Gap, TagChunk, TimesPs, TimeTags, join
from distribution.units import seconds_to_ps

R = TypeVar("R")

FOR_EVER_PS = 1 << 61
MOST_STEPS = 20_000
CLOSERS = 4


class Clause(Enum):
    """The rules, one by one."""

    TYPES = "until returns a TagChunk: TimeTags of int64 and uint8, ended a bool, gaps a tuple of Gap"
    SIMULATED = "simulated is a bool"
    ERRORS = "only our own errors come out"
    PATIENCE = "until returns or raises in time"
    ASCENDING = "times ascend within a chunk"
    IN_ORDER = "times ascend from chunk to chunk"
    BEFORE_LIMIT = "until(t) hands out tags before t only"
    HORIZON = "no tag comes after its time was handed out"
    NONE = "until(None) hands out at least one tag, unless the tagger ended"
    AGAIN = "a time that was reached gives nothing more"
    ONCE = "each tag comes once: nothing is lost and nothing comes twice, however the stream is cut"
    OWNED = "tags that were handed out do not change any more"
    END = "after the end there is nothing, and it stays ended"
    SKIP = "after skip_backlog the stream goes on"
    GAPS = "gaps ascend and are told with the stretch that they start in"
    HEALTH = "the counters are natural numbers that never go down, and events counts the tags handed out"
    SUM = "events, skipped, dropped and late add up to the same in every reading of the same stream"
    CLOSE = "close may be called twice and from any thread, and raises nothing"
    CLOSED = "until raises FeedError once the source is closed"
    UNBLOCKS = "close ends a waiting until"


class ContractBroken(QkdError, AssertionError):
    """A tag source does not keep its contract.

    Args:
        clause: which rule.
        seen: what happened instead.
    """

    def __init__(self, clause: Clause, seen: str) -> None:
        super().__init__(f"{clause.name}: {clause.value}; {seen}")
        self.clause = clause


def check_tag_source(
    open_source: Callable[[], TagSource],
    *,
    expected: TimeTags | None = None,
    seconds: float | None = None,
    step_s: float = 0.05,
    repeatable: bool = True,
    patience_s: float = 10.0,
) -> TimeTags:
    """Open a source again and again, and check every clause of the contract.

    Args:
        open_source: opens it, fresh.
        expected: the tags it must give, bit for bit; None when nobody knows.
        seconds: read so much of the stream; None = to its end, so it must have one.
        step_s: stream time per question.
        repeatable: every opening gives the same stream from its beginning (a file, a seeded simulator). With False,
            two readings are not compared.
        patience_s: longest real time that one call may take.

    Returns:
        What the first reading gave.

    Raises:
        ContractBroken: the first clause that does not hold, and what was seen.
    """
    run = _Run(open_source, seconds, seconds_to_ps(step_s), patience_s)
    first = run.even_steps()
    if expected is not None:
        _same(first, expected.between(-FOR_EVER_PS, run.stop_ps), "even steps")
    if repeatable:
        run.uneven_steps(first)
    run.skipping(compare_sums=repeatable and seconds is None)
    run.closing()
    run.closing_while_waiting()
    return first


@dataclass(slots=True)
class _Worker:
    """The one thread that asks a source; the checks wait for it, but not for ever."""

    patience_s: float
    _jobs: queue.SimpleQueue[Callable[[], object]] = field(default_factory=queue.SimpleQueue)
    _answers: queue.SimpleQueue[tuple[bool, object]] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                self._answers.put((True, job()))
            except BaseException as error:
                self._answers.put((False, error))

    def start(self, job: Callable[[], object]) -> None:
        self._jobs.put(job)

    def answer(self, clause: Clause) -> object:
        """What the job gave, or raise what it raised."""
        try:
            good, value = self._answers.get(timeout=self.patience_s)
        except queue.Empty:
            raise ContractBroken(clause, f"no answer in {self.patience_s:g} s") from None
        if good:
            return value
        assert isinstance(value, BaseException)
        raise value


class _Probe:
    """One opened source, every answer of it checked."""

    def __init__(self, source: TagSource, patience_s: float) -> None:
        self.source = source
        self.ended = False
        self._worker = _Worker(patience_s)
        self._given: list[TimeTags] = []
        self._copies: list[tuple[TimesPs, Channels]] = []
        self._reached_ps = -FOR_EVER_PS
        self._last_ps = -FOR_EVER_PS
        self._gaps: list[Gap] = []
        self._health = SourceHealth()
        if not isinstance(source.simulated, bool):
            raise ContractBroken(Clause.SIMULATED, f"it is {source.simulated!r}")

    def start_asking(self, until_ps: int | None) -> None:
        self._worker.start(lambda: self.source.until(until_ps))

    def answer(self, clause: Clause) -> object:
        return self._worker.answer(clause)

    def ask(self, until_ps: int | None) -> TimeTags:
        """One question; its answer is checked and kept."""
        self.start_asking(until_ps)
        chunk = _ours(lambda: self.answer(Clause.PATIENCE), "until")
        tags = self._checked(chunk, until_ps)
        self._given.append(tags)
        self._copies.append((tags.t_ps.copy(), tags.channel.copy()))
        self._check_health()
        return tags

    def finish(self) -> TimeTags:
        """Close it; all that it gave."""
        for tags, (t_ps, channel) in zip(self._given, self._copies, strict=True):
            if not (np.array_equal(tags.t_ps, t_ps) and np.array_equal(tags.channel, channel)):
                raise ContractBroken(Clause.OWNED, f"a chunk of {len(tags)} tags was overwritten")
        _ours(self.source.close, "close", Clause.CLOSE)
        return join(*self._given)

    @property
    def health(self) -> SourceHealth:
        return self._health

    def _checked(self, chunk: object, until_ps: int | None) -> TimeTags:
        if not isinstance(chunk, TagChunk) or not isinstance(chunk.tags, TimeTags) or type(chunk.ended) is not bool:
            raise ContractBroken(Clause.TYPES, f"got {chunk!r:.200}")
        tags = chunk.tags
        if tags.t_ps.dtype != np.int64 or tags.channel.dtype != np.uint8:
            raise ContractBroken(Clause.TYPES, f"got arrays of {tags.t_ps.dtype} and {tags.channel.dtype}")
        if len(tags):
            self._check_times(tags.t_ps, until_ps)
        elif until_ps is None and not chunk.ended:
            raise ContractBroken(Clause.NONE, "it handed out none, and did not say that it ended")
        self._check_gaps(chunk, until_ps)
        if self.ended and not chunk.ended:
            raise ContractBroken(Clause.END, "it had ended, and is running again")
        self.ended = chunk.ended
        if until_ps is not None:
            self._reached_ps = max(self._reached_ps, until_ps)
        return tags

    def _check_times(self, t_ps: TimesPs, until_ps: int | None) -> None:
        if np.any(t_ps[1:] < t_ps[:-1]):
            raise ContractBroken(Clause.ASCENDING, "they run backwards")
        if self.ended:
            raise ContractBroken(Clause.END, f"{t_ps.size} tags came after it")
        if until_ps is not None and until_ps <= self._reached_ps:
            raise ContractBroken(Clause.AGAIN, f"{t_ps.size} tags came when {until_ps} ps was asked for again")
        if until_ps is not None and t_ps[-1] >= until_ps:
            raise ContractBroken(Clause.BEFORE_LIMIT, f"a tag at {t_ps[-1]} ps came for until({until_ps})")
        if t_ps[0] < self._last_ps:
            raise ContractBroken(Clause.IN_ORDER, f"{t_ps[0]} ps came after {self._last_ps} ps")
        if t_ps[0] < self._reached_ps:
            raise ContractBroken(Clause.HORIZON, f"{t_ps[0]} ps came after until({self._reached_ps})")
        self._last_ps = int(t_ps[-1])

    def _check_gaps(self, chunk: TagChunk, until_ps: int | None) -> None:
        if not isinstance(chunk.gaps, tuple) or not all(isinstance(gap, Gap) for gap in chunk.gaps):
            raise ContractBroken(Clause.TYPES, f"gaps are {chunk.gaps!r:.200}")
        before_ps = self._gaps[-1].start_ps if self._gaps else -FOR_EVER_PS
        for gap in chunk.gaps:
            early = until_ps is not None and not chunk.ended and gap.start_ps >= until_ps
            if gap.start_ps < before_ps or early:
                raise ContractBroken(Clause.GAPS, f"{gap} came after one at {before_ps} ps, for until({until_ps})")
            before_ps = gap.start_ps
            self._gaps.append(gap)

    def _check_health(self) -> None:
        health: object = _ours(lambda: self.source.health, "health")
        if not isinstance(health, SourceHealth):
            raise ContractBroken(Clause.HEALTH, f"health is {health!r:.200}")
        before, now = asdict(self._health), asdict(health)
        for name, value in now.items():
            if not isinstance(value, int) or value < before[name]:
                raise ContractBroken(Clause.HEALTH, f"{name} went from {before[name]} to {value}")
        given = sum(len(tags) for tags in self._given)
        if health.events != given or health.gaps < len(self._gaps):
            seen = f"{given} tags and {len(self._gaps)} gaps were handed out, the counters say {health}"
            raise ContractBroken(Clause.HEALTH, seen)
        self._health = health


@dataclass(slots=True)
class _Run:
    """The readings that `check_tag_source` makes."""

    open_source: Callable[[], TagSource]
    seconds: float | None
    step_ps: int
    patience_s: float
    stop_ps: int = FOR_EVER_PS
    whole: SourceHealth = field(default_factory=SourceHealth)

    def _probe(self) -> _Probe:
        return _Probe(_ours(self.open_source, "opening it"), self.patience_s)

    def even_steps(self) -> TimeTags:
        """First tags, then step by step; each limit is asked for twice, and now and then the next tags there are."""
        probe = self._probe()
        first = probe.ask(None)
        if not len(first):
            return probe.finish()
        if self.seconds is not None:
            self.stop_ps = int(first.t_ps[0]) + seconds_to_ps(self.seconds)
        limit_ps = int(first.t_ps[0])
        for step in range(MOST_STEPS):
            limit_ps = min(limit_ps + self.step_ps, self.stop_ps)
            probe.ask(limit_ps)
            probe.ask(limit_ps)
            probe.ask(limit_ps - self.step_ps)
            if probe.ended or limit_ps >= self.stop_ps:
                probe.ask(limit_ps)
                self.whole = probe.health
                return probe.finish().between(-FOR_EVER_PS, self.stop_ps)
            if step % 3 == 2 and self.seconds is None:
                probe.ask(None)
        raise ContractBroken(Clause.END, f"no end after {MOST_STEPS} steps of {self.step_ps} ps")

    def uneven_steps(self, first: TimeTags) -> None:
        """The same stream cut elsewhere: on tags, between them, and in one long stretch."""
        probe = self._probe()
        cuts = [] if not len(first) else [int(t) + n % 2 for n, t in enumerate(first.t_ps[:: len(first) // 7 + 1])]
        for cut_ps in sorted({c for c in cuts if c <= self.stop_ps}):
            probe.ask(cut_ps)
        probe.ask(self.stop_ps)
        _same(probe.finish().between(-FOR_EVER_PS, self.stop_ps), first, "uneven steps")

    def skipping(self, *, compare_sums: bool) -> None:
        """Some tags, a skipped backlog, the rest."""
        probe = self._probe()
        first = probe.ask(None)
        _ours(probe.source.skip_backlog, "skip_backlog")
        if self.seconds is None:
            probe.ask(FOR_EVER_PS)
        if not (probe.ended if self.seconds is None else self._goes_on(probe, first)):
            raise ContractBroken(Clause.SKIP, "neither further tags nor the end came")
        probe.finish()
        if compare_sums and _accounted(probe.health) != _accounted(self.whole):
            raise ContractBroken(Clause.SUM, f"read to the end: {self.whole}; with a skip: {probe.health}")

    def _goes_on(self, probe: _Probe, first: TimeTags) -> bool:
        """True once a further tag comes, or the end."""
        assert self.seconds is not None
        for step in range(1, round(seconds_to_ps(self.seconds) / self.step_ps) + 1):
            start_ps = int(first.t_ps[-1]) if len(first) else 0
            if probe.ended or len(probe.ask(start_ps + step * self.step_ps)):
                return True
        return probe.ended

    def closing(self) -> None:
        """Closed by several at once, then once more, then asked."""
        probe = self._probe()
        errors: list[BaseException] = []

        def close() -> None:
            try:
                probe.source.close()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=close, daemon=True) for _ in range(CLOSERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.patience_s)
        close()
        if errors or any(thread.is_alive() for thread in threads):
            raise ContractBroken(Clause.CLOSE, f"it raised {errors[0]!r}" if errors else "it did not return")
        probe.start_asking(None)
        try:
            got = _ours(lambda: probe.answer(Clause.CLOSED), "until")
        except FeedError:
            return
        raise ContractBroken(Clause.CLOSED, f"it returned {got!r:.200}")

    def closing_while_waiting(self) -> None:
        """One thread waits for a time that is far away, another one closes."""
        probe = self._probe()
        probe.start_asking(FOR_EVER_PS)
        threading.Event().wait(0.1)
        _ours(probe.source.close, "close", Clause.CLOSE)
        with suppress(FeedError):
            _ours(lambda: probe.answer(Clause.UNBLOCKS), "until")


def _ours(act: Callable[[], R], what: str, clause: Clause = Clause.ERRORS) -> R:
    """Do it; any error that is not ours is a broken clause."""
    try:
        return act()
    except QkdError:
        raise
    except Exception as error:
        raise ContractBroken(clause, f"{what} raised {type(error).__name__}: {error}") from error


def _accounted(health: SourceHealth) -> int:
    return health.events + health.skipped + health.dropped + health.late


def _same(got: TimeTags, wanted: TimeTags, how: str) -> None:
    if np.array_equal(got.t_ps, wanted.t_ps) and np.array_equal(got.channel, wanted.channel):
        return
    common = min(len(got), len(wanted))
    differs = np.flatnonzero(
        (got.t_ps[:common] != wanted.t_ps[:common]) | (got.channel[:common] != wanted.channel[:common])
    )
    where = int(differs[0]) if differs.size else common
    raise ContractBroken(
        Clause.ONCE, f"read in {how}: {len(got)} tags instead of {len(wanted)}, the first difference is tag {where}"
    )
