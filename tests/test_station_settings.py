"""A station of three settings: its rule against a plain one, and the fairness of what it draws."""

from __future__ import annotations

import numpy as np
import pytest

from distribution.tags import TimeTags
from qkd.errors import ParameterError
from qkd.randomness import FixedBits
from qkd.station import ACROSS, group_clicks


def random_tags(rng: np.random.Generator, clicks: int, detectors: int) -> TimeTags:
    t_ps = np.cumsum(rng.integers(0, 4000, clicks)).astype(np.int64)
    return TimeTags(t_ps, rng.integers(0, detectors, clicks).astype(np.uint8))


def plain_groups(tags: TimeTags, gap_ps: int) -> list[tuple[int, set[int]]]:
    """First time and detectors of each event, click by click."""
    groups: list[tuple[int, set[int]]] = []
    last = None
    for t, detector in zip(tags.t_ps.tolist(), tags.channel.tolist(), strict=True):
        if last is None or t - last >= gap_ps:
            groups.append((t, set()))
        groups[-1][1].add(detector)
        last = t
    return groups


def test_events_are_those_of_the_plain_rule() -> None:
    tags = random_tags(np.random.default_rng(3), 5000, 6)
    events = group_clicks(tags, 1500, FixedBits("s"), settings=3)
    groups = plain_groups(tags, 1500)
    assert len(events) == len(groups)
    several = 0
    for i, (t_ps, fired) in enumerate(groups):
        assert events.t_ps[i] == t_ps
        settings = {detector // 2 for detector in fired}
        assert bool(events.bit[i] >= ACROSS) is (len(settings) > 1)
        several += len(fired) > 1
        if len(settings) == 1:
            assert events.basis[i] in settings
        if len(fired) == 1:
            assert events.bit[i] == next(iter(fired)) % 2
    assert events.double_clicks == several
    assert set(np.unique(events.basis)) == {0, 1, 2}


def test_a_random_setting_is_any_of_the_three_with_a_random_bit() -> None:
    """30000 events across settings 0 and 1 (fixed bits): each of 6 outcomes 5000 times, five sigma 323."""
    t_ps = np.repeat(np.arange(30_000, dtype=np.int64) * 10_000, 2)
    channel = np.tile(np.array([0, 2], np.uint8), 30_000)
    events = group_clicks(TimeTags(t_ps, channel), 2000, FixedBits("fair"), settings=3)
    assert (events.bit >= ACROSS).all()
    counts = np.bincount(2 * events.basis + (events.bit & 1), minlength=6)
    assert counts.sum() == 30_000
    assert np.abs(counts - 5000).max() < 323


def test_a_double_click_within_a_setting_keeps_it_and_is_not_across() -> None:
    tags = TimeTags(np.array([0, 10, 90_000], np.int64), np.array([4, 5, 3], np.uint8))
    events = group_clicks(tags, 2000, FixedBits("x"), settings=3)
    assert events.basis.tolist() == [2, 1]
    assert events.bit[1] == 1
    assert events.bit[0] < ACROSS
    assert events.double_clicks == 1


def test_an_event_at_the_edge_of_a_gap_counts_as_across() -> None:
    tags = TimeTags(np.array([0, 50_000], np.int64), np.array([4, 5], np.uint8))
    events = group_clicks(tags, 2000, FixedBits("x"), [49_500], settings=3)
    assert (events.bit >= ACROSS).tolist() == [False, True]


@pytest.mark.parametrize(("settings", "detector"), [(2, 4), (3, 6)])
def test_a_detector_that_the_settings_do_not_have_is_refused(settings: int, detector: int) -> None:
    tags = TimeTags(np.array([0], np.int64), np.array([detector], np.uint8))
    with pytest.raises(ParameterError, match=f"detector {detector} fired"):
        group_clicks(tags, 2000, FixedBits("x"), settings=settings)
