"""Rows of epochs: the slow count of whole streams, however these are cut; they add up, and hold one epoch at most."""

from __future__ import annotations

from dataclasses import fields
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distribution.coincidence import accidentals, match, summarise
from distribution.correlators import error_rate
from distribution.epochs import Epoch, EpochCounter
from distribution.errors import ParameterError, QkdError
from distribution.states import Basis, BellState
from distribution.tags import EMPTY, TimeTags
from tests.reference import epochs as slow

# A window of 1 ps counts accidentals up to 109 ps away, so epochs of 130 ps are the shortest worth testing.
tags = st.lists(st.tuples(st.integers(0, 700), st.integers(0, 3)), max_size=40).map(
    lambda found: sorted(found, key=lambda tag: tag[0])
)


def as_tags(found: list[tuple[int, int]]) -> TimeTags:
    return TimeTags(np.array([t for t, _ in found], np.int64), np.array([c for _, c in found], np.uint8))


def plain(row: Epoch) -> dict[str, object]:
    found = {field.name: getattr(row, field.name) for field in fields(row)}
    return found | {"outcomes": row.outcomes.tolist()}


@settings(max_examples=200, deadline=None)
@given(a=tags, b=tags, epoch_ps=st.integers(130, 400), data=st.data())
def test_rows_are_the_slow_count_however_the_streams_are_cut(
    a: list[tuple[int, int]], b: list[tuple[int, int]], epoch_ps: int, data: st.DataObject
) -> None:
    def pieces(whole: TimeTags) -> list[TimeTags]:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=3, max_size=3)))
        return [
            TimeTags(whole.t_ps[i:j], whole.channel[i:j]) for i, j in zip([0, *cuts], [*cuts, len(whole)], strict=True)
        ]

    counter, rows = EpochCounter(epoch_ps, 1, 0), []
    for x, y in zip(pieces(as_tags(a)), pieces(as_tags(b)), strict=True):
        rows += counter.feed(x, y)
    rows += counter.finish(900)
    assert [plain(row) for row in rows] == slow.rows(a, b, epoch_ps, 1, 0, 900)


def made_up(seconds: float = 1.0) -> tuple[TimeTags, TimeTags]:
    """20 000 phi+ pairs/s with 4 % errors in H/V and 2 % in D/A, and 30 000 lone clicks/s a side."""
    rng = np.random.default_rng(1)
    t = np.sort(rng.integers(0, int(seconds * 1e12), int(20_000 * seconds)))
    basis, bit = rng.integers(0, 2, (2, t.size))
    wrong = rng.random(t.size) < np.where(basis == 0, 0.04, 0.02)
    lone = [np.sort(rng.integers(0, int(seconds * 1e12), int(30_000 * seconds))) for _ in range(2)]

    def side(bits: np.ndarray, extra: np.ndarray) -> TimeTags:
        t_ps = np.concatenate([t, extra])
        channel = np.concatenate([2 * basis + bits, rng.integers(0, 4, extra.size)]).astype(np.uint8)
        order = np.argsort(t_ps, kind="stable")
        return TimeTags(t_ps[order], channel[order])

    return side(bit, lone[0]), side(bit ^ wrong, lone[1])


def test_rows_add_up_to_the_whole() -> None:
    a, b = made_up()
    counter = EpochCounter(10**11, 1000, 0)
    rows = [*counter.feed(a, b), *counter.finish(10**12)]
    assert len(rows) == 10
    whole = reduce(add, rows)
    assert whole.seconds == 1.0
    found = summarise(a.t_ps, b.t_ps, 1000)
    assert whole.summary() == found
    assert whole.summary().accidentals == accidentals(a.t_ps, b.t_ps, 1000)
    known = whole.summary((100.0, 3e4))
    assert (known.dark_a, known.dark_b) == (100.0, 3e4)
    assert whole.ambiguous == match(a.t_ps, b.t_ps, 1000).ambiguous.sum()
    assert whole.outcomes.sum() == found.coincidences


def test_every_row_measures_within_its_own_error() -> None:
    """About 1000 pairs a basis and row: each error rate within five of its stated errors, the mean of ten too."""
    a, b = made_up()
    counter = EpochCounter(10**11, 1000, 0)
    rows = [*counter.feed(a, b), *counter.finish()]
    for basis, true in ((Basis.Z, 0.04), (Basis.X, 0.02)):
        # Accidentals, 2.5 of 2000 pairs, add 0.06 %.
        found = [error_rate(row.outcomes, basis, BellState.PHI_PLUS) for row in rows]
        pulls = np.array([(e.value - true - 0.0006) / e.error for e in found if e is not None])
        assert pulls.size == 10
        assert np.abs(pulls).max() < 5
        assert np.sqrt((pulls**2).mean()) == pytest.approx(1.0, abs=5 / np.sqrt(20))


def test_memory_is_that_of_one_epoch() -> None:
    a, b = made_up(2.0)
    counter, rows, most = EpochCounter(10**11, 1000, 0), [], 0
    for stop in range(10**10, 2 * 10**12 + 1, 10**10):
        x, y = (t.between(stop - 10**10, stop) for t in (a, b))
        rows += counter.feed(x, y, complete_ps=stop)
        most = max(most, counter.held)
    rows += counter.finish(2 * 10**12)
    assert len(rows) == 20
    # 10^5 events/s in 0.1 s and the stretch of 10 ms that came last: 11 000, and five sigma.
    assert most < 11_000 + 5 * np.sqrt(11_000)


def test_silence_is_a_row_of_zeros() -> None:
    counter = EpochCounter(1000, 1, 0)
    rows = counter.feed(as_tags([(5, 0)]), EMPTY, complete_ps=5000)
    assert [row.singles_a for row in rows] == [1, 0, 0, 0]  # the fifth ends where more may come
    assert rows[1].summary().car is None
    assert rows[0].summary().heralding_a is None
    assert EpochCounter(1000, 1, 0, shape=None).feed(as_tags([(5, 9)]), EMPTY, complete_ps=2000)[0].outcomes.size == 0
    last = counter.finish(5500)
    assert [row.length_ps for row in last] == [1000, 500]


def test_what_cannot_be_counted() -> None:
    with pytest.raises(ParameterError, match="too short"):
        EpochCounter(100, 1000, 0)
    with pytest.raises(ParameterError, match="first epoch starts"):
        EpochCounter(1000, 1, 50).feed(as_tags([(49, 0)]), EMPTY)
    with pytest.raises(ParameterError, match="epochs of"):
        EpochCounter(1000, 1, 0).feed(EMPTY, EMPTY, complete_ps=10**15)
    counter = EpochCounter(1000, 1, 0)
    counter.feed(as_tags([(70, 0)]), EMPTY)
    with pytest.raises(QkdError):
        counter.feed(as_tags([(60, 0)]), EMPTY)
    with pytest.raises(ParameterError, match="cannot end"):
        counter.finish(70)
    assert EpochCounter(1000, 1, 0).finish() == []
