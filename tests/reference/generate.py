"""The link simulator's two loops in slow, obvious Python: integers of any size masked to 64 bits, lists, sorted().

Written from the algorithms' own descriptions (xoshiro256++, the ziggurat, the alias method, splitmix64), to be compared
with `distribution.kernels.generate` and `distribution.kernels.settle` event by event.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

MASK = (1 << 64) - 1
NOBODY = 255
PHOTONS, NOISE, AFTERPULSE = 0, 1, 2


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


def hashed_basis(time_ps: int, slot_ps: int, seed: int, shares: Sequence[float]) -> int:
    """splitmix64 of the slot's number picks a basis by cumulated shares."""
    z = (seed + (time_ps // slot_ps) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return min(bisect.bisect_right(list(shares), unit(z ^ (z >> 31))), len(shares) - 1)


def cluster_size(source: Iterator[int], theta: float) -> int:
    """Logarithmic distribution by inversion of its distribution function."""
    u, n, p = unit(next(source)), 1, -theta / math.log(1.0 - theta)
    while u >= p:
        u, p, n = u - p, p * (theta * n / (n + 1.0)), n + 1
    return n


@dataclass
class Click:
    """One detection."""

    t_ps: int
    channel: int
    kind: int
    pair: int


@dataclass
class Table:
    """One alias table: chance to stay (64-bit integers), where to go else, and what the outcomes are."""

    keep: Sequence[int]
    alias: Sequence[int]
    kind: Sequence[int]
    hits: Sequence[Sequence[int]]
    late: Sequence[Sequence[float]]
    theta: float = 0.0

    def draw(self, source: Iterator[int]) -> int:
        """An outcome: the top bits choose a column, the others whether to stay there."""
        columns = len(self.keep)
        bits = columns.bit_length() - 1
        word = next(source)
        column = word >> (64 - bits)
        return column if word % (1 << (64 - bits)) < int(self.keep[column]) else int(self.alias[column])


@dataclass
class Side:
    """What a station adds: per-channel quantile tables and delays, its clock (by segment), its basis choice."""

    tables: np.ndarray
    delays: np.ndarray
    whole: Sequence[int]
    lines: Sequence[Sequence[float]]
    spread: Sequence[float]
    slot_ps: int = 0
    seed: int = 0
    shares: Sequence[float] = (1.0,)

    def show(self, segment: int, t_ps: float, late: float) -> int:
        """When the station's clock says that it was, rounded to the nearest ps."""
        fraction, rate, bend = self.lines[segment]
        return self.whole[segment] + math.floor(t_ps * (rate + t_ps * bend) + (fraction + 0.5) + late)

    def stamp(self, segment: int, t_ps: float, late: float, smear: float, word32: int, channel: int) -> int:
        """When the station's clock says that the click was."""
        fraction, rate, bend = self.lines[segment]
        behind = float(lateness(word32, self.tables[channel]) + np.float32(self.delays[channel]))
        base = t_ps * (rate + t_ps * bend) + (fraction + 0.5) + late + smear
        return self.whole[segment] + math.floor(base + behind)


@dataclass
class Link:
    """Segments (length, mean gap, table per pair of bases, time of a pulse), tables, both sides, the pulses."""

    length: Sequence[float]
    gap_ps: Sequence[float]
    choice: Sequence[Sequence[int]]
    phase: Sequence[float]
    tables: Sequence[Table]
    sides: tuple[Side, Side]
    normal: np.ndarray
    period_ps: float = 0.0
    width_ps: float = 0.0
    out: tuple[list[Click], list[Click]] = field(default_factory=lambda: ([], []))
    pairs: int = 0

    def run(self, state: Sequence[int], edge: Sequence[float], height: Sequence[float], t_ps: float) -> None:
        """All clicks of all segments, in order of emission."""
        source = words(state)
        for segment, (length, gap) in enumerate(zip(self.length, self.gap_ps, strict=True)):
            while t_ps < length:
                self._event(source, segment, t_ps)
                t_ps += exponential(source, edge, height) * gap
            if segment + 1 < len(self.length):
                t_ps = (t_ps - length) / gap * self.gap_ps[segment + 1]

    def _event(self, source: Iterator[int], segment: int, t_ps: float) -> None:
        pulse_ps = t_ps
        if self.period_ps:
            phase = self.phase[segment]
            pulse_ps = phase + math.ceil((t_ps - phase) / self.period_ps) * self.period_ps
        bases = [
            hashed_basis(s.show(segment, pulse_ps, 0.0), s.slot_ps, s.seed, s.shares) if s.slot_ps else 0
            for s in self.sides
        ]
        per_a = len(self.sides[1].shares) if self.sides[1].slot_ps else 1
        table = self.tables[self.choice[segment][bases[0] * per_a + bases[1]]]
        outcome = table.draw(source)
        cluster = cluster_size(source, table.theta) if table.theta and table.kind[outcome] == PHOTONS else 1
        for k in range(cluster):
            if k:
                outcome = table.draw(source)
                while table.kind[outcome] != PHOTONS:
                    outcome = table.draw(source)
            self._emit(source, segment, table, outcome, pulse_ps if table.kind[outcome] == PHOTONS else t_ps)

    def _emit(self, source: Iterator[int], segment: int, table: Table, outcome: int, t_ps: float) -> None:
        kind, jitter, z = int(table.kind[outcome]), next(source), 0.0
        if kind == PHOTONS and (self.width_ps or any(any(s.spread) for s in self.sides)):
            word = next(source)
            z = float(lateness(word >> 32, self.normal))
            t_ps += self.width_ps * float(lateness(word & 0xFFFFFFFF, self.normal))
        hits = [int(h) for h in table.hits[outcome]]
        number = -1
        if hits[0] != NOBODY and hits[2] != NOBODY:
            number, self.pairs = self.pairs, self.pairs + 1
        for side, (who, sign) in enumerate(zip(self.sides, (1, -1), strict=True)):
            first, second = hits[2 * side : 2 * side + 2]
            late, smear = float(table.late[outcome][side]), sign * (z * who.spread[segment])
            if first != NOBODY:
                word32 = jitter >> 32 if side == 0 else jitter & 0xFFFFFFFF
                stamp = who.stamp(segment, t_ps, late, smear, word32, first)
                self.out[side].append(Click(stamp, first, kind, number))
            if first != NOBODY and second != NOBODY:
                stamp = who.stamp(segment, t_ps, late, smear, next(source) >> 32, second)
                self.out[side].append(Click(stamp, second, kind, -1))


@dataclass
class Electronics:
    """Detectors and tagger of a station."""

    owner: Sequence[int]
    dead_ps: int = 0
    paralysable: bool = False
    recovery_ps: float = 0.0
    afterpulse: float = 0.0
    decay: Sequence[tuple[float, float]] = ((1.0, 1.0),)
    slot_ps: int = 0
    seed: int = 0
    shares: Sequence[float] = (1.0,)
    unit: Fraction = Fraction(1)
    gap_ps: float = 0.0
    buffer_tags: float = 1.0

    def settled(self, clicks: list[Click], state: Sequence[int]) -> tuple[list[Click], list[int]]:
        """What comes out of the tagger, and the times of what its buffer dropped."""
        source, last = words(state), {}
        queue = [(c.t_ps, 1, k, c) for k, c in enumerate(sorted(clicks, key=lambda c: c.t_ps))]
        left = self._geometric(source) if self.afterpulse else 0
        kept, lost, level, tagged = [], [], 0.0, 0
        while queue:
            click = queue.pop(0)[3]
            if click.kind == AFTERPULSE and self.slot_ps:
                click.channel = 2 * hashed_basis(click.t_ps, self.slot_ps, self.seed, self.shares) + click.channel % 2
            who = self.owner[click.channel]
            since = click.t_ps - last[who] - self.dead_ps if who in last else math.inf
            seen = since >= 0
            if seen and self.recovery_ps and since < 16.0 * self.recovery_ps:
                seen = unit(next(source)) >= math.exp(-since / self.recovery_ps)
            if seen or self.paralysable:
                last[who] = click.t_ps
            if not seen:
                continue
            left -= 1
            if self.afterpulse and left == 0:
                left = self._geometric(source)
                u = unit(next(source))
                mean = next((m for share, m in self.decay if u < share), self.decay[-1][1])
                due = click.t_ps + math.floor(-math.log(1.0 - unit(next(source))) * mean) + 1
                # A click of the same time goes first.
                bisect.insort(queue, (due, 2, len(kept), Click(due, click.channel, AFTERPULSE, -1)))
            if self.gap_ps:
                level, tagged = max(0.0, level - (click.t_ps - tagged) / self.gap_ps), click.t_ps
                if level + 1.0 > self.buffer_tags + 1e-6:  # a tie is for rounding to decide: none here
                    lost.append(click.t_ps)
                    continue
                level += 1.0
            unit_number = math.floor(click.t_ps / self.unit)
            kept.append(Click(math.floor(unit_number * self.unit), click.channel, click.kind, click.pair))
        return kept, lost

    def _geometric(self, source: Iterator[int]) -> int:
        return 1 + math.floor(math.log(1.0 - unit(next(source))) / math.log(1.0 - self.afterpulse))
