"""Every built-in driver keeps the contract of a tag source; every way to break it is caught by the clause it breaks."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distribution.delivery import Site, open_source
from distribution.feed import FeedHeader, encode_end, encode_frame
from distribution.formats.s15 import write_a1
from distribution.health import SourceHealth
from distribution.inbox import TagInbox
from distribution.tags import EMPTY, Gap, GapCause, TagChunk, TimeTags
from distribution.testing import Clause, ContractBroken, check_tag_source

STEP_S = 0.01


def made(count: int = 3000, seed: int = 8) -> TimeTags:
    """Tags on the grid of a1 words (whole multiples of 125 ps survive), 0.3 s of 10 kcps."""
    rng = np.random.default_rng(seed)
    t_ps = np.sort(rng.integers(1, 2_400_000_000, count)) * 125
    return TimeTags(t_ps.astype(np.int64), rng.integers(0, 4, count).astype(np.uint8))


TAGS = made()


@contextmanager
def tag_server(frames: list[bytes], *, hold: bool = False, every_s: float = 0.0) -> Iterator[int]:
    """A tagger that gives every caller the same feed, so many seconds a frame; `hold` keeps the line open after it."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                for frame in frames:
                    connection.sendall(frame)
                    over.wait(every_s)
                if hold:
                    over.wait(10)
            except OSError:
                pass  # the reader hung up in the middle

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        over.set()
        server.close()


def framed(tags: TimeTags, frame_ps: int = 7_000_000_000) -> list[bytes]:
    """A whole feed of Alice's: header, frames of equal duration, end."""
    header = FeedHeader("alice", "test", simulated=True, clock="c").encode()
    last_ps = int(tags.t_ps[-1])
    stops = range(frame_ps, last_ps + 2 * frame_ps, frame_ps)
    return [header, *(encode_frame(tags.between(s - frame_ps, s), s) for s in stops), encode_end()]


@pytest.mark.parametrize("pace", [0.0, 50.0])
def test_a_replay_keeps_the_contract(tmp_path: Path, pace: float) -> None:
    write_a1(tmp_path / "a.ts", TAGS)
    options = {"file": "a.ts", "pace": pace}
    got = check_tag_source(
        lambda: open_source("replay", options, Site("alice", tmp_path)), expected=TAGS, step_s=STEP_S
    )
    assert len(got) == len(TAGS)


def test_a_network_feed_keeps_the_contract() -> None:
    with tag_server(framed(TAGS)) as port:
        options = {"address": f"127.0.0.1:{port}", "timeout_s": 5.0}
        check_tag_source(lambda: open_source("network", options, Site("alice")), expected=TAGS, step_s=STEP_S)


def test_a_network_feed_that_does_not_end_keeps_the_contract() -> None:
    with tag_server(framed(TAGS)[:-1], hold=True, every_s=0.005) as port:
        options = {"address": f"127.0.0.1:{port}", "timeout_s": 5.0}
        got = check_tag_source(
            lambda: open_source("network", options, Site("alice")), expected=TAGS, seconds=0.2, step_s=STEP_S
        )
    assert 1000 < len(got) < len(TAGS)


def test_a_simulated_tagger_keeps_the_contract() -> None:
    options = {"scenario": "edinburgh-36db", "seed": 4, "seconds": 0.5, "pace": 0.0}
    got = check_tag_source(lambda: open_source("simulator", options, Site("bob")), step_s=0.05)
    assert len(got) > 1000


def test_readevents_keeps_the_contract(tmp_path: Path) -> None:
    write_a1(tmp_path / "a.ts", TAGS)
    code = "import sys; sys.stdout.buffer.write(open('a.ts', 'rb').read())"
    options = {"command": [sys.executable, "-c", code]}
    check_tag_source(lambda: open_source("readevents", options, Site("alice", tmp_path)), expected=TAGS, step_s=STEP_S)


# ---- deliberately broken drivers

GAPS = (
    Gap(60_000_000_000, 61_000_000_000, GapCause.OVERFLOW, 5),
    Gap(90_000_000_000, 90_000_000_001, GapCause.BACKLOG),
)


class Good:
    """A live source with two gaps that comes in pieces; each `BROKEN` one breaks it in one place."""

    simulated = True

    def __init__(self) -> None:
        self.inbox = TagInbox("good", timeout_s=5)
        for gap in GAPS:
            self.inbox.miss(gap)
        self.pieces = list(range(1, 31))
        self.more()

    def more(self) -> None:
        """The next 10 ms arrive; the end comes with the last."""
        piece = self.pieces.pop(0)
        stop_ps = piece * 10_000_000_000
        self.inbox.put(TAGS.between(stop_ps - 10_000_000_000, stop_ps), stop_ps)
        if not self.pieces:
            self.inbox.end()

    @property
    def health(self) -> SourceHealth:
        return self.inbox.health

    def until(self, until_ps: int | None) -> TagChunk:
        while self.pieces and (until_ps is None or (self.inbox.horizon_ps or 0) < until_ps):
            self.more()
            if until_ps is None:
                break
        return self.inbox.until(until_ps)

    def skip_backlog(self) -> None:
        self.more()
        self.inbox.skip_backlog()

    def close(self) -> None:
        self.inbox.close()


def test_a_good_source_passes() -> None:
    check_tag_source(Good, expected=TAGS, step_s=STEP_S)


def with_until(change: Callable[[Good, TagChunk, int | None], Any]) -> type[Good]:
    class Bad(Good):
        def until(self, until_ps: int | None) -> TagChunk:
            return change(self, super().until(until_ps), until_ps)  # type: ignore[no-any-return]

    return Bad


def with_health(change: Callable[[Good, SourceHealth], Any]) -> type[Good]:
    class Bad(Good):
        @property
        def health(self) -> SourceHealth:
            return change(self, super().health)  # type: ignore[no-any-return]

    return Bad


def on_tags(change: Callable[[TimeTags], TimeTags], least: int = 2) -> type[Good]:
    """Break the tags of every chunk that has so many."""
    return with_until(lambda _, c, __: replace(c, tags=change(c.tags)) if len(c.tags) >= least else c)


class LateTags(Good):
    """Keeps the last tag of a chunk back for the next question."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = EMPTY

    def until(self, until_ps: int | None) -> TagChunk:
        chunk = super().until(until_ps)
        tags = TimeTags(
            np.concatenate([self.kept.t_ps, chunk.tags.t_ps]), np.concatenate([self.kept.channel, chunk.tags.channel])
        )
        cut = len(tags) if chunk.ended or until_ps is None else max(len(tags) - 1, 0)
        self.kept = TimeTags(tags.t_ps[cut:], tags.channel[cut:])
        return replace(chunk, tags=TimeTags(tags.t_ps[:cut], tags.channel[:cut]))

    @property
    def health(self) -> SourceHealth:
        return replace(super().health, events=super().health.events - len(self.kept))


class OneBuffer(Good):
    """Hands out views of one buffer."""

    buffer = np.zeros(len(TAGS), np.int64)

    def until(self, until_ps: int | None) -> TagChunk:
        chunk = super().until(until_ps)
        view = self.buffer[: len(chunk.tags)]
        view[:] = chunk.tags.t_ps
        return replace(chunk, tags=TimeTags(view, chunk.tags.channel))


class EndsTwice(Good):
    def until(self, until_ps: int | None) -> TagChunk:
        chunk = super().until(until_ps)
        again, self.again = getattr(self, "again", False), chunk.ended
        return replace(chunk, ended=chunk.ended and not again)


class RepeatsLast(Good):
    """Gives every stretch again when it is asked for twice."""

    last: tuple[int | None, TimeTags] = (0, EMPTY)

    def until(self, until_ps: int | None) -> TagChunk:
        before, self.last = self.last, (until_ps, super().until(until_ps).tags)
        return TagChunk(before[1] if before[0] == until_ps else self.last[1], ended=False)


class EndsForSome(Good):
    """Says that it ended to those only who ask for the first tags."""

    def until(self, until_ps: int | None) -> TagChunk:
        return replace(chunk := super().until(until_ps), ended=chunk.ended and until_ps is None)


class Stuck(Good):
    """Asked for far too much at once, it waits without looking at `close`."""

    def until(self, until_ps: int | None) -> TagChunk:
        if until_ps == 1 << 61 and not self.health.events:
            threading.Event().wait(2)
        return super().until(until_ps)


class DeafToClose(Good):
    def close(self) -> None:
        """Does nothing at all."""


class ClosesOnce(Good):
    def close(self) -> None:
        if self.inbox.closed:
            raise OSError(9, "bad file descriptor")
        super().close()


class Foreign(Good):
    def until(self, until_ps: int | None) -> TagChunk:
        raise KeyError("vendor error 17")


class Hangs(Good):
    def until(self, until_ps: int | None) -> TagChunk:
        threading.Event().wait(3)
        return super().until(until_ps)


class EmptyNone(Good):
    def until(self, until_ps: int | None) -> TagChunk:
        return TagChunk(EMPTY, ended=False) if until_ps is None else super().until(until_ps)


class SkipsUncounted(Good):
    def skip_backlog(self) -> None:
        self.pieces.pop(0)


class StopsAtSkip(Good):
    def skip_backlog(self) -> None:
        self.until = lambda _: TagChunk(EMPTY, ended=False)  # type: ignore[method-assign]


class TwoTypes(Good):
    simulated = "yes"  # type: ignore[assignment]


class Loses(Good):
    """Loses, and does not count, what comes with the tenth piece."""

    def more(self) -> None:
        if len(self.pieces) == 20:
            self.pieces.pop(0)
        super().more()


class Repeats(Good):
    """One detection comes as two."""

    def more(self) -> None:
        super().more()
        if len(self.pieces) == 20:
            last = self.inbox._waiting[-1]
            self.inbox._waiting[-1] = TimeTags(
                np.append(last.t_ps, last.t_ps[-1]), np.append(last.channel, np.uint8(1))
            )


def back_again(tags: TimeTags) -> TimeTags:
    return tags if tags.t_ps[0] < 10**11 else TimeTags(tags.t_ps - 20_000_000_000, tags.channel)


def swapped(tags: TimeTags) -> TimeTags:
    return TimeTags(tags.t_ps[::-1].copy(), tags.channel)


BROKEN: dict[str, tuple[type[Good], Clause]] = {
    "a plain tuple": (with_until(lambda _, c, __: (c.tags, c.ended)), Clause.TYPES),
    "stops at a skip": (StopsAtSkip, Clause.SKIP),
    "ended is 0 or 1": (with_until(lambda _, c, __: replace(c, ended=int(c.ended))), Clause.TYPES),
    "gaps as a list": (with_until(lambda _, c, __: replace(c, gaps=list(c.gaps))), Clause.TYPES),
    "simulated is a text": (TwoTypes, Clause.SIMULATED),
    "a vendor's exception": (Foreign, Clause.ERRORS),
    "hangs": (Hangs, Clause.PATIENCE),
    "times run backwards": (on_tags(swapped), Clause.ASCENDING),
    "chunks overlap": (on_tags(back_again), Clause.IN_ORDER),
    "limit included": (
        with_until(lambda _, c, u: replace(c, tags=TimeTags(np.full_like(c.tags.t_ps, u or 1), c.tags.channel))),
        Clause.BEFORE_LIMIT,
    ),
    "a tag too late": (LateTags, Clause.HORIZON),
    "no first tag": (EmptyNone, Clause.NONE),
    "a stretch twice": (RepeatsLast, Clause.AGAIN),
    "one buffer for all": (OneBuffer, Clause.OWNED),
    "ends for some": (EndsForSome, Clause.END),
    "ends and goes on": (EndsTwice, Clause.END),
    "a gap told late": (
        with_until(lambda s, c, _: replace(c, gaps=(GAPS[1], GAPS[0])) if c.gaps else c),
        Clause.GAPS,
    ),
    "a gap told early": (
        with_until(lambda s, c, u: replace(c, gaps=(Gap(1 << 50, 1 << 51, GapCause.OVERFLOW),)) if u else c),
        Clause.GAPS,
    ),
    "events do not count": (with_health(lambda s, h: replace(h, events=h.events + 1)), Clause.HEALTH),
    "gaps not counted": (with_health(lambda s, h: replace(h, gaps=0)), Clause.HEALTH),
    "a counter goes down": (with_health(lambda s, h: replace(h, late=4000 - h.events)), Clause.HEALTH),
    "a dictionary of counters": (with_health(lambda s, h: {"events": h.events}), Clause.HEALTH),
    "loses a tag": (Loses, Clause.ONCE),
    "gives a tag twice": (Repeats, Clause.ONCE),
    "skips without counting": (SkipsUncounted, Clause.SUM),
    "close twice": (ClosesOnce, Clause.CLOSE),
    "deaf to close": (DeafToClose, Clause.CLOSED),
    "close does not wake": (Stuck, Clause.UNBLOCKS),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_driver_is_caught_by_its_clause(name: str) -> None:
    bad, clause = BROKEN[name]
    with pytest.raises(ContractBroken) as caught:
        check_tag_source(bad, expected=TAGS, step_s=STEP_S, patience_s=1.0)
    assert caught.value.clause is clause, caught.value


def test_every_clause_has_a_driver_that_breaks_it() -> None:
    assert {clause for _, clause in BROKEN.values()} == set(Clause)
