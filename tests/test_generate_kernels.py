"""The simulator's two loops, click by click, against the slow reference: every branch of both is taken."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from distribution.detector import Response
from distribution.kernels.generate import NOBODY, NOTHING, ROWS, fill_alias, generate
from distribution.kernels.settle import PENDING, settle
from distribution.simulate import _exponential_layers
from tests.reference import generate as reference

BASES = 3
CHANNELS = 2 * BASES
SIZE = 30_000


def test_first_words_of_xoshiro() -> None:
    # State 1, 2, 3, 4: the reference vector of the rand_xoshiro crate, made with the authors' C code.
    expected = [41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205]
    source = reference.words([1, 2, 3, 4])
    assert [next(source) for _ in expected] == expected


def alias_tables(rng: np.random.Generator, tables: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random weights, some of them 0, and their alias tables."""
    weight = rng.exponential(1.0, (tables, columns)) * (rng.random((tables, columns)) < 0.8)
    keep, alias = np.empty(weight.shape, np.uint64), np.empty(weight.shape, np.uint16)
    fill_alias(weight.copy(), keep, alias)
    return weight, keep, alias


@pytest.mark.parametrize("columns", [2, 32, 1024])
def test_alias_tables_hold_the_weights(columns: int) -> None:
    weight, keep, alias = alias_tables(np.random.default_rng(columns), 3, columns)
    for row in range(3):
        stay = keep[row].astype(float) / 2.0**64  # in units of all: a full column is 1/columns
        chance = stay.copy()
        np.add.at(chance, alias[row], 1.0 / columns - stay)
        assert chance == pytest.approx(weight[row] / weight[row].sum(), abs=1e-12)


class Case:
    """A link with everything random: two segments, six channels a side, and what the flags switch on."""

    def __init__(self, *, active: bool, pulsed: bool, smeared: bool, timed: bool) -> None:
        rng = np.random.default_rng([active, pulsed, smeared, timed])
        choices, columns = (BASES * BASES if active else 1), 16
        count = 2 * choices
        self.keep, self.alias = alias_tables(rng, count, columns)[1:]
        self.kind = rng.choice([0, 0, 0, 1], (count, columns)).astype(np.uint8)
        self.hits = rng.integers(0, CHANNELS, (count, columns, 4)).astype(np.uint8)
        self.hits[rng.random(self.hits.shape) < 0.4] = NOBODY
        self.hits[..., 1][self.hits[..., 0] == NOBODY] = NOBODY
        self.hits[..., 3][self.hits[..., 2] == NOBODY] = NOBODY
        self.kind[:, -1], self.hits[:, -1] = NOTHING, NOBODY
        self.late = rng.normal(0, 300, (count, columns, 2)) * timed
        self.theta = rng.uniform(0.1, 0.7, count) * pulsed
        self.tables = np.arange(count).reshape(2, choices)
        self.length, self.gap = np.array([4e7, 9e7]), np.array([2e4, 3.5e4])
        self.whole = np.array([[10**12, 3 * 10**12], [10**12 + 40_000_100, 3 * 10**12 + 40_000_300]])
        self.line = np.stack([rng.random((2, 2)), 1 + rng.normal(0, 1e-5, (2, 2)), rng.normal(0, 1e-17, (2, 2))], -1)
        self.spread = rng.normal(0, 80, (2, 2)) * smeared
        self.pulse, self.phase = np.array([12_345.678, 20.0]) * pulsed, -rng.uniform(0, 12_000, 2) * pulsed
        self.slots = np.array([1_000_000, 700_000]) * active
        self.seed = rng.integers(0, 1 << 64, 2, dtype=np.uint64)
        self.shares = np.array([0.5, 0.8, 1.0]), np.array([0.2, 0.6, 1.0])
        self.responses = [np.sort(rng.normal(0, 150, (ROWS, 4097)), axis=1).astype(np.float32) for _ in range(2)]
        self.fixed = [rng.normal(0, 40, ROWS).astype(np.float32) for _ in range(2)]
        self.normal = Response(sigma_ps=1.0).table()[None]
        self.state = rng.integers(1, 1 << 64, 4, dtype=np.uint64)

    def slow(self) -> reference.Link:
        """The reference, run."""
        sides = [
            reference.Side(
                self.responses[k],
                self.fixed[k],
                self.whole[:, k].tolist(),
                self.line[:, k].tolist(),
                self.spread[:, k].tolist(),
                int(self.slots[k]),
                int(self.seed[k]),
                self.shares[k].tolist(),
            )
            for k in (0, 1)
        ]
        tables = [
            reference.Table(self.keep[t], self.alias[t], self.kind[t], self.hits[t], self.late[t], float(self.theta[t]))
            for t in range(len(self.theta))
        ]
        link = reference.Link(
            self.length.tolist(), self.gap.tolist(), self.tables.tolist(), self.phase.tolist(), tables,
            (sides[0], sides[1]), self.normal[0], float(self.pulse[0]), float(self.pulse[1]),
        )  # fmt: skip
        link.run(self.state.tolist(), *_exponential_layers(), 17.5)
        return link

    def fast(self) -> tuple[list[tuple[np.ndarray, np.ndarray, np.ndarray]], np.ndarray]:
        """The kernel, run in several batches as small as it allows."""
        state, count, t = self.state.copy(), np.zeros(4, np.int64), 17.5
        arrays = [(np.empty(SIZE, np.int64), np.empty(SIZE, np.uint8), np.empty(SIZE, np.int64)) for _ in (0, 1)]
        with np.errstate(over="ignore"):
            for batches in range(1, SIZE // 1500 + 1):
                # The room that the kernel sees ends 1500 clicks further each time.
                seen = [tuple(x[: 1500 * batches] for x in side) for side in arrays]
                t = generate(
                    state, *_exponential_layers(), t, count[3], self.length, self.gap, self.tables, self.whole,
                    self.line, self.spread, self.phase, self.pulse, self.keep, self.alias, self.kind,
                    self.hits.view(np.uint32)[..., 0], self.late, self.theta, self.slots, self.seed, *self.shares,
                    self.normal, *self.responses,
                    *self.fixed, *seen[0], *seen[1], count,
                )  # fmt: skip
                if count[3] == 2:
                    break
        assert count[3] == 2
        assert batches > 1
        return arrays, count


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("pulsed", [False, True])
@pytest.mark.parametrize(("smeared", "timed"), [(False, False), (True, True)])
def test_clicks_are_those_of_the_reference(active: bool, pulsed: bool, smeared: bool, timed: bool) -> None:
    case = Case(active=active, pulsed=pulsed, smeared=smeared, timed=timed)
    slow = case.slow()
    arrays, count = case.fast()
    assert count[2] == slow.pairs > 500
    for side, (time, label, pair) in enumerate(arrays):
        n = int(count[side])
        fast = list(
            zip(time[:n].tolist(), (label[:n] & 15).tolist(), (label[:n] >> 4).tolist(), pair[:n].tolist(), strict=True)
        )
        assert n > 1500
        assert fast == [(c.t_ps, c.channel, c.kind, c.pair) for c in slow.out[side]]
        assert (np.diff(time[:n]) < 0).any()


SETTLED = {
    "dead": {"dead_ps": 9_000},
    "muted": {"dead_ps": 9_000, "owner": [0] * CHANNELS},
    "paralysable": {"dead_ps": 30_000, "paralysable": True},
    "recovering": {"dead_ps": 9_000, "recovery_ps": 20_000.0},
    "afterpulsing": {"dead_ps": 9_000, "afterpulse": 0.3, "decay": ((0.6, 30_000.0), (1.0, 200_000.0))},
    "active": {"dead_ps": 9_000, "owner": [0, 1] * BASES, "afterpulse": 0.3, "decay": ((1.0, 90_000.0),),
               "slot_ps": 50_000, "seed": 12345, "shares": (0.3, 0.6, 1.0)},
    "coarse": {"unit": Fraction(125, 32)},
    "saturated": {"gap_ps": 1e4, "buffer_tags": 20.0, "unit": Fraction(625, 4)},
}  # fmt: skip


@pytest.mark.parametrize("name", list(SETTLED))
@pytest.mark.parametrize("batch", [4000, 300])
def test_settled_clicks_are_those_of_the_reference(name: str, batch: int) -> None:
    rng = np.random.default_rng(5)
    electronics = reference.Electronics(**{"owner": list(range(CHANNELS)), **SETTLED[name]})
    n = 4000
    emitted = np.cumsum(rng.exponential(7_000, n)) + 10**15
    time = np.rint(emitted + rng.normal(0, 9_000, n)).astype(np.int64)  # jitter beyond the gaps: it reorders
    channel, kind = rng.integers(0, CHANNELS, n).astype(np.uint8), rng.integers(0, 2, n).astype(np.uint8)
    clicks = [
        reference.Click(*row) for row in zip(time.tolist(), channel.tolist(), kind.tolist(), range(n), strict=True)
    ]
    state = rng.integers(1, 1 << 64, 4, dtype=np.uint64)
    kept, lost = electronics.settled(clicks, state.tolist())
    assert 0.2 * n < len(kept) < 1.5 * n
    assert bool(lost) == (name == "saturated")
    got = run_settle(electronics, (time, channel | (kind << 4), np.arange(n)), emitted, state, batch)
    assert list(zip(*(x.tolist() for x in got[:4]), strict=True)) == [(c.t_ps, c.channel, c.kind, c.pair) for c in kept]
    assert got[4].tolist() == lost


def run_settle(
    e: reference.Electronics,
    clicks: tuple[np.ndarray, np.ndarray, np.ndarray],
    emitted: np.ndarray,
    state: np.ndarray,
    batch: int,
) -> list[np.ndarray]:
    """The kernel over batches of clicks; what it leaves goes in front of the next."""
    n = len(emitted)
    held = tuple(np.empty(n, x.dtype) for x in clicks)
    last, books, level = np.full(CHANNELS, -(1 << 62)), np.zeros(2, np.int64), np.zeros(1)
    waiting = np.zeros(PENDING, np.int64), np.zeros(PENDING, np.uint8)
    limited, left, parts = e.gap_ps > 0, 0, []
    with np.errstate(over="ignore"):
        for start in range(0, n, batch):
            stop = min(n, start + batch)
            for mine, given in zip(held, clicks, strict=True):
                mine[left : left + stop - start] = given[start:stop]
            safe = 1 << 61 if stop == n else int(emitted[stop]) - 60_000
            out = [np.empty(3 * n, d) for d in (np.int64, np.uint8, np.int64)] + [np.empty(n * limited, np.int64)]
            count = np.zeros(3, np.int64)
            settle(
                *held, left + stop - start, safe, np.array(e.owner), e.dead_ps, e.paralysable, e.recovery_ps,
                e.afterpulse, np.array(e.decay), e.slot_ps, np.uint64(e.seed), np.array(e.shares),
                np.array(e.unit.as_integer_ratio()), np.array([e.gap_ps, e.buffer_tags]), state, last, books,
                level, *waiting, *out, count,
            )  # fmt: skip
            done, left, gone = count.tolist()
            parts.append([out[0][:done], out[1][:done] & 15, out[1][:done] >> 4, out[2][:done], out[3][:gone]])
    assert left == 0
    return [np.concatenate(column) for column in zip(*parts, strict=True)]
