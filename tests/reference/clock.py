"""Slow, exact versions of the clock map and of the pair list, and a small source of streams with a known clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from distribution.clock.model import ClockModel

Times = npt.NDArray[np.int64]


def exact_to_bob(model: ClockModel, t_alice: int) -> Fraction:
    """The model's definition in rational numbers."""
    since = t_alice - model.reference_ps
    bend = Fraction(model.acceleration_per_s) / (2 * 10**12) * since**2
    return t_alice + model.offset_ps + Fraction(model.offset_fraction_ps) + Fraction(model.drift) * since + bend


def near_pairs(model: ClockModel, a: Times, b: Times, half_ps: int) -> list[tuple[int, Fraction]]:
    """(index into a, measured minus expected delay) of every pair within half_ps of the rounded expectation."""
    found = []
    for i, t in enumerate(a.tolist()):
        expected = exact_to_bob(model, t)
        for s in b.tolist():
            if abs(s - int(expected // 1 + (expected % 1 >= Fraction(1, 2)))) <= half_ps:
                found.append((i, s - expected))
    return found


@dataclass(frozen=True)
class Streams:
    """Two recordings, and where Bob's events truly are on Alice's clock."""

    a_ps: Times
    b_ps: Times
    truth_ps: Times

    @property
    def tags(self) -> tuple[Times, Times]:
        """Both recordings."""
        return self.a_ps, self.b_ps


def pair_streams(
    rng: np.random.Generator,
    *,
    seconds: float,
    pairs_per_s: float,
    singles_a: float,
    singles_b: float,
    delay: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    jitter_ps: float = 150.0,
    origin_ps: int = 10**15,
) -> Streams:
    """Poisson pairs and Poisson singles; `singles_*` per second include the pairs.

    Args:
        delay: Bob's clock minus Alice's in ps at a time in seconds since the origin; must keep the order of events.
        jitter_ps: standard deviation, each side.
    """

    def poisson(rate: float) -> npt.NDArray[np.float64]:
        return rng.uniform(0.0, seconds * 1e12, rng.poisson(rate * seconds))

    def measured(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return t + rng.normal(0.0, jitter_ps, t.size)

    born = poisson(pairs_per_s)
    a = np.sort(np.concatenate([measured(born), poisson(singles_a - pairs_per_s)]))
    b = np.sort(np.concatenate([measured(born), poisson(singles_b - pairs_per_s)]))
    shown = np.rint(b + delay(b * 1e-12)).astype(np.int64) + origin_ps
    assert (np.diff(shown) >= 0).all(), "the delay must keep the order"
    return Streams(np.rint(a).astype(np.int64) + origin_ps, shown, np.rint(b).astype(np.int64) + origin_ps)
