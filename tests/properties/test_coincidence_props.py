"""Coincidences against the slow reference and against an independent maximum matching, on small random streams."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from distribution.coincidence import Matches, MatchStream, match
from distribution.kernels.match import count_pairs
from tests.reference import match as slow

streams = st.lists(st.integers(-60, 60), max_size=14).map(lambda t: np.array(sorted(t), np.int64))
windows = st.integers(1, 25)


@settings(max_examples=300, deadline=None)
@given(a=streams, b=streams, window_ps=windows)
def test_pairs_are_those_of_the_slow_rule(a: np.ndarray, b: np.ndarray, window_ps: int) -> None:
    found = match(a, b, window_ps)
    pairs = list(zip(found.index_a.tolist(), found.index_b.tolist(), strict=True))
    assert pairs == slow.greedy_pairs(a.tolist(), b.tolist(), window_ps)
    assert found.ambiguous.tolist() == slow.ambiguous_pairs(a.tolist(), b.tolist(), window_ps)


@settings(max_examples=200, deadline=None)
@given(a=streams, b=streams, window_ps=windows)
def test_no_event_twice_and_no_pair_more_is_possible(a: np.ndarray, b: np.ndarray, window_ps: int) -> None:
    found = match(a, b, window_ps)
    assert (np.diff(found.index_a) > 0).all()
    assert (np.diff(found.index_b) > 0).all()
    within = csr_array(np.abs(b[None, :] - a[:, None]) <= window_ps // 2)
    assert len(found) == int((maximum_bipartite_matching(within, perm_type="column") >= 0).sum())


@settings(max_examples=200, deadline=None)
@given(a=streams, b=streams, window_ps=windows, data=st.data())
def test_pairs_do_not_depend_on_how_streams_are_cut(
    a: np.ndarray, b: np.ndarray, window_ps: int, data: st.DataObject
) -> None:
    def pieces(t: np.ndarray) -> list[np.ndarray]:
        cuts = sorted(data.draw(st.lists(st.integers(0, t.size), min_size=4, max_size=4)))
        return np.split(t, cuts)

    stream = MatchStream(window_ps)
    parts = [stream.feed(x, y) for x, y in zip(pieces(a), pieces(b), strict=True)]
    assert_same([*parts, stream.finish()], match(a, b, window_ps))


@settings(max_examples=200, deadline=None)
@given(a=streams, b=streams, window_ps=windows, stops=st.lists(st.integers(-70, 70), max_size=6).map(sorted))
def test_pairs_do_not_depend_on_what_is_called_complete(
    a: np.ndarray, b: np.ndarray, window_ps: int, stops: list[int]
) -> None:
    stream, parts, done_a, done_b = MatchStream(window_ps), [], 0, 0
    for stop in stops:
        till_a, till_b = int(np.searchsorted(a, stop)), int(np.searchsorted(b, stop))
        parts.append(stream.feed(a[done_a:till_a], b[done_b:till_b], complete_ps=stop))
        done_a, done_b = till_a, till_b
        # One used event a side, and those from two half windows before on.
        assert stream.held <= 2 + sum(int(np.sum((t >= stop - 2 * (window_ps // 2)) & (t < stop))) for t in (a, b))
    parts += [stream.feed(a[done_a:], b[done_b:]), stream.finish()]
    assert_same(parts, match(a, b, window_ps))


def assert_same(parts: list[Matches], whole: Matches) -> None:
    for name in ("index_a", "index_b", "ambiguous"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert joined.tolist() == getattr(whole, name).tolist(), name


@settings(max_examples=200, deadline=None)
@given(a=streams, b=streams, least=st.integers(-40, 40), width=st.integers(0, 40))
def test_count_of_all_pairs(a: np.ndarray, b: np.ndarray, least: int, width: int) -> None:
    assert count_pairs(a, b, least, least + width) == slow.count_pairs(a, b, least, least + width)
