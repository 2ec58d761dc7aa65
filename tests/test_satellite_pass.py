"""A ten-minute pass of a satellite from tags to keys: acquired at 3 degrees, followed over the zenith, and down again.

Everything is streamed: no more than a few seconds of tags exist at any time.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from distribution.channels.satellite import SatellitePass
from distribution.expectation import mean_model
from distribution.scenario import Scenario, load_scenario
from distribution.simulate import LinkSimulator
from distribution.tags import EMPTY, TagChunk, TimeTags, join
from qkd.link import Link, SessionRecord, Side, run_to_end
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


def leo_pass(begin_s: float = 0.0) -> Scenario:
    """The shipped pass, or what is left of it from `begin_s` on."""
    scenario = load_scenario("leo-pass")
    channel = msgspec.structs.replace(pass_of(scenario), begin_s=begin_s)
    return msgspec.structs.replace(scenario, bob=msgspec.structs.replace(scenario.bob, channel=channel))


def pass_of(scenario: Scenario) -> SatellitePass:
    channel = scenario.bob.channel
    assert isinstance(channel, SatellitePass)
    return channel


class Pass:
    """One simulator and two taps; keeps only what one station has not fetched yet."""

    def __init__(self, scenario: Scenario, seconds: float, seed: int) -> None:
        self.simulator = LinkSimulator(scenario, np.random.default_rng(seed))
        self.left_s = seconds
        self.waiting = {"alice": EMPTY, "bob": EMPTY}
        self.horizon_ps = {"alice": -1, "bob": -1}
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


def fly(scenario: Scenario, seconds: float, params: SessionParameters) -> tuple[SessionRecord, Link, Pass]:
    """Run both stations over a stretch of the pass; both must end with the same keys."""
    whole = Pass(scenario, seconds, seed=1)
    alice, bob = MemoryVault(PRE_SHARED), MemoryVault(PRE_SHARED)
    link = Link(
        params,
        Side(Tap(whole, "alice"), alice, FixedBits("alice")),
        Side(Tap(whole, "bob"), bob, FixedBits("bob")),
    )
    record = run_to_end(link)
    assert same_blocks(alice, bob)
    return record, link, whole


def drift_error_ppm(link: Link, scenario: Scenario, t_s: float) -> float:
    """Drift that Alice's tracker ends with, less what geometry and Bob's clock say."""
    assert link.alice.station is not None
    assert link.alice.station.tracker is not None
    rate = pass_of(scenario).orbit.sight(t_s).rate_km_per_s / 299_792.458
    return link.alice.station.tracker.model.drift_ppm - (rate * 1e6 + scenario.bob.clock.drift_ppm)


def test_twelve_seconds_over_the_zenith_make_a_key() -> None:
    # The satellite comes nearer by 2.2 ppm, stands still to the light for a moment, and leaves at 2.2 ppm.
    scenario = leo_pass(begin_s=293.5)
    record, link, _ = fly(scenario, 12.0, replace(PARAMS, block_bits=6_000, epoch_s=0.25))
    assert not record.aborts
    assert sum(ours.block.report.secret_bits for ours, _ in record.outcomes) > 3_000
    assert abs(drift_error_ppm(link, scenario, 305.3)) < 0.2  # the model may be half a second old: 0.36 ppm/s


@pytest.mark.slow
def test_ten_minutes_from_tags_to_keys() -> None:
    scenario = leo_pass()
    assert pass_of(scenario).orbit.duration_s == pytest.approx(SECONDS, abs=0.1)
    record, link, whole = fly(scenario, SECONDS, PARAMS)
    reports = [ours.block.report for ours, _ in record.outcomes]
    assert not record.aborts
    assert len(reports) >= 10
    assert sum(r.secret_bits for r in reports) > 100_000
    assert max(r.qber_z for r in reports) < 0.03
    # Followed from -23.7 over 0 to +23.7 ppm without a single alarm, and hardly a pair was missed.
    assert link.alice.station is not None
    assert link.alice.station.tracker is not None
    assert link.alice.station.tracker.jumps == ()
    assert abs(drift_error_ppm(link, scenario, SECONDS)) < 0.01
    expected = mean_model(scenario, SECONDS, np.random.default_rng(1)).sifted_cps(PARAMS.window_ps) * SECONDS
    assert sum(r.sifted_bits for r in reports) > 0.97 * expected
    assert whole.most_waiting < 1_000_000  # of 48 million
