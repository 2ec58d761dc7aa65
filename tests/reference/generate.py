"""The link simulator's two loops in slow, obvious Python: integers of any size masked to 64 bits, lists, sorted().

Written from the algorithms' own descriptions (xoshiro256++, the ziggurat, the alias method), to be compared with
`distribution.kernels.generate` event by event.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

MASK = (1 << 64) - 1


def rotate(word: int, by: int) -> int:
    """Rotate a 64-bit word left."""
    return ((word << by) | (word >> (64 - by))) & MASK


def words(state: Sequence[int]) -> Iterator[int]:
    """xoshiro256++ (Blackman and Vigna, https://prng.di.unimi.it/xoshiro256plusplus.c)."""
    s = [int(x) for x in state]
    while True:
        yield (rotate((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)


def unit(word: int) -> float:
    """53 bits of a word as a number in [0, 1)."""
    return (word >> 11) * 2.0**-53


def exponential(source: Iterator[int], edge: Sequence[float], height: Sequence[float]) -> float:
    """Ziggurat of exp(-x): layer i spans 0 .. edge[i], its part below edge[i + 1] lies wholly under the curve."""
    while True:
        word = next(source)
        i = word % 256
        x = unit(word) * edge[i]
        if x < edge[i + 1]:
            return x
        if i == 0:
            return edge[1] - math.log(1.0 - unit(next(source)))
        if height[i + 1] + (height[i] - height[i + 1]) * unit(next(source)) < math.exp(-x):
            return x


def lateness(word32: int, table: np.ndarray) -> np.float32:
    """Linear interpolation in a quantile table, in float32: 12 bits of step, 20 bits of place."""
    step, place = word32 >> 20, np.float32(word32 & 0xFFFFF) * np.float32(2.0**-20)
    return table[step] + (table[step + 1] - table[step]) * place


@dataclass
class Click:
    """One detection."""

    t_ps: int
    channel: int
    pair: int


@dataclass
class Side:
    """What a station adds: per-detector quantile tables and delays, its clock."""

    tables: np.ndarray
    delays: np.ndarray
    rate: float
    fraction: float
    whole: int

    def stamp(self, t_ps: float, word32: int, detector: int) -> int:
        """When the station's clock says that the click was."""
        late = float(lateness(word32, self.tables[detector]) + np.float32(self.delays[detector]))
        return self.whole + math.floor(t_ps * self.rate + self.fraction + late + 0.5)


def clicks(
    state: Sequence[int],
    edge: Sequence[float],
    height: Sequence[float],
    gap_ps: float,
    start_ps: float,
    events: int,
    keep: Sequence[int],
    alias: Sequence[int],
    hits: Sequence[Sequence[int]],
    alice: Side,
    bob: Side,
) -> tuple[list[Click], list[Click]]:
    """The first `events` events of the stream, in order of emission."""
    source = words(state)
    t_ps, pairs = start_ps, 0
    out: tuple[list[Click], list[Click]] = ([], [])
    for _ in range(events):
        word = next(source)
        outcome = word >> 59
        if word % (1 << 59) >= int(keep[outcome]):
            outcome = int(alias[outcome])
        jitter = next(source)
        fired = [int(h) for h in hits[outcome]]
        number = -1
        if fired[0] < 4 and fired[1] < 4:
            number, pairs = pairs, pairs + 1
        if fired[0] < 4:
            out[0].append(Click(alice.stamp(t_ps, jitter >> 32, fired[0]), fired[0], number))
        if fired[1] < 4:
            out[1].append(Click(bob.stamp(t_ps, jitter & 0xFFFFFFFF, fired[1]), fired[1], number))
        t_ps += exponential(source, edge, height) * gap_ps
    return out


def after_dead_time(events: list[Click], dead_ps: int, mutes_station: bool) -> list[Click]:
    """Sort, then drop every click within the dead time of the last one that was kept by the same detector."""
    last: dict[int, int] = {}
    kept = []
    for click in sorted(events, key=lambda c: c.t_ps):
        who = 0 if mutes_station else click.channel
        if who not in last or click.t_ps - last[who] >= dead_ps:
            last[who] = click.t_ps
            kept.append(click)
    return kept
