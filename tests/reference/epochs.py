"""Slow, obvious counts per epoch, from whole streams."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference.match import ambiguous_pairs, greedy_pairs

Tag = tuple[int, int]


def rows(
    a: Sequence[Tag], b: Sequence[Tag], epoch_ps: int, window_ps: int, start_ps: int, stop_ps: int
) -> list[dict[str, object]]:
    """One row for each epoch from start to stop, the last perhaps short."""
    times_a, times_b = [t for t, _ in a], [t for t, _ in b]
    pairs = greedy_pairs(times_a, times_b, window_ps)
    flags = ambiguous_pairs(times_a, times_b, window_ps)
    wide = 2 * (window_ps // 2) + 1
    found = []
    for begin in range(start_ps, stop_ps, epoch_ps):
        end = min(begin + epoch_ps, stop_ps)
        mine = [(i, j, flag) for (i, j), flag in zip(pairs, flags, strict=True) if begin <= times_a[i] < end]
        outcomes = [[0] * 4 for _ in range(4)]
        for i, j, _ in mine:
            outcomes[a[i][1]][b[j][1]] += 1
        found.append(
            {
                "start_ps": begin,
                "length_ps": end - begin,
                "singles_a": sum(begin <= t < end for t in times_a),
                "singles_b": sum(begin <= t < end for t in times_b),
                "coincidences": len(mine),
                "shifted": sum(
                    10 * wide <= abs(s - t) < 110 * wide for t in times_a if begin <= t < end for s in times_b
                ),
                "ambiguous": sum(flag for _, _, flag in mine),
                "delay_ps": sum(times_b[j] - times_a[i] for i, j, _ in mine),
                "outcomes": outcomes,
            }
        )
    return found
