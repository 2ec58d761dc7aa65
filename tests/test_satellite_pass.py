"""A ten-minute pass of a satellite from tags to keys: acquired at 3 degrees, followed over the zenith, and down again.

Everything is streamed: no more than a few seconds of tags exist at any time.
"""

from __future__ import annotations

import numpy as np
import pytest

from distribution.scenario import load_scenario
from distribution.simulate import LinkSimulator
from distribution.tags import EMPTY, TagChunk, TimeTags, join
from qkd.link import Link, Side, run_to_end
from qkd.randomness import FixedBits
from qkd.session import SessionParameters
from qkd.testing import MemoryVault
from tests.small_link import same_blocks

SECONDS = 599.0
STEP_S = 0.5
PRE_SHARED = FixedBits("pass").take_bytes(1 << 16)
PARAMS = SessionParameters(
    window_ps=1500,
    epoch_s=1.0,
    clock_uncertainty_s=0.05,
    max_drift_ppm=30.0,
    block_bits=20_000,
    least_block_bits=5_000,
    eps_sec=1e-9,
)


class Pass:
    """One simulator and two taps; keeps only what one station has not fetched yet."""

    def __init__(self, seed: int) -> None:
        self.simulator = LinkSimulator(load_scenario("leo-pass"), np.random.default_rng(seed))
        self.left_s = SECONDS
        self.waiting = {"alice": EMPTY, "bob": EMPTY}
        self.horizon_ps = {"alice": -1, "bob": -1}
        self.given = {"alice": 0, "bob": 0}
        self.most_waiting = 0

    def advance(self) -> None:
        step = self.simulator.advance(min(STEP_S, self.left_s))
        self.left_s -= STEP_S
        for name, tags, horizon in (
            ("alice", step.alice, step.alice_horizon_ps),
            ("bob", step.bob, step.bob_horizon_ps),
        ):
            self.waiting[name] = join(self.waiting[name], tags)
            self.horizon_ps[name] = horizon
        self.most_waiting = max(self.most_waiting, *(len(tags) for tags in self.waiting.values()))

    def take(self, name: str, until_ps: int | None) -> TagChunk:
        while self.left_s > 0 and (
            self.horizon_ps[name] < until_ps if until_ps is not None else not len(self.waiting[name])
        ):
            self.advance()
        tags = self.waiting[name]
        cut = 1 if until_ps is None else int(np.searchsorted(tags.t_ps, until_ps))
        self.waiting[name] = TimeTags(tags.t_ps[cut:], tags.channel[cut:])
        self.given[name] += min(cut, len(tags))
        return TagChunk(TimeTags(tags.t_ps[:cut], tags.channel[:cut]), ended=self.left_s <= 0 and cut >= len(tags))


class Tap:
    """One station's tag source."""

    simulated = True

    def __init__(self, whole: Pass, name: str) -> None:
        self.whole, self.name = whole, name

    def until(self, until_ps: int | None) -> TagChunk:
        return self.whole.take(self.name, until_ps)

    def skip_backlog(self) -> None:
        """A simulator waits."""

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.mark.slow
def test_ten_minutes_from_tags_to_keys() -> None:
    whole = Pass(seed=1)
    alice, bob = MemoryVault(PRE_SHARED), MemoryVault(PRE_SHARED)
    link = Link(
        PARAMS,
        Side(Tap(whole, "alice"), alice, FixedBits("alice")),
        Side(Tap(whole, "bob"), bob, FixedBits("bob")),
    )
    record = run_to_end(link)
    import sys
    print(len(record.outcomes), record.aborts, whole.given, whole.most_waiting, file=sys.stderr)
    for o,_ in record.outcomes:
        r=o.block.report
        print(r.block, r.sifted_bits, r.qber_z, r.qber_x, r.secret_bits, r.f, file=sys.stderr)
    tr=link.alice.station.tracker
    print(tr.jumps, tr.model, file=sys.stderr)
    assert same_blocks(alice, bob)
