"""A session over a source with a hole: equal keys or a clean end, whoever lost the tags and however long."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from distribution.clock import servo
from distribution.inbox import TagInbox
from distribution.scenario import load_scenario
from distribution.simulate import simulate
from distribution.tags import Gap, GapCause, TimeTags
from distribution.units import seconds_to_ps
from qkd.errors import ClockNotFound, KeyTooShort, QkdError, RemoteProtocolError
from qkd.link import Link, Side, run_to_end
from qkd.randomness import FixedBits
from qkd.session import SessionParameters
from qkd.testing import MemoryVault
from tests.small_link import PRE_SHARED, same_blocks

PARAMS = SessionParameters(
    epoch_s=0.1, clock_uncertainty_s=0.2, block_bits=20_000, least_block_bits=5_000, eps_sec=1e-8
)


@cache
def recorded() -> tuple[TimeTags, TimeTags, float]:
    """Five seconds of a link with 6 dB more loss at Alice, and Bob's drift."""
    made = simulate(load_scenario("metro").with_extra_loss(alice_db=6.0), 5.0, np.random.default_rng(11))
    return made.alice, made.bob, made.truth.drift_ppm


class Live(TagInbox):
    """A whole stream with its gaps, as a live source would hand it out."""

    simulated = True

    def __init__(self, tags: TimeTags, *gaps: Gap) -> None:
        super().__init__("a test's tagger")
        for gap in gaps:
            self.miss(gap)
        self.put(tags, int(tags.t_ps[-1]) + 1)
        self.end()


def holed(tags: TimeTags, start_s: float, stop_s: float) -> Live:
    """The stream without what lies between two times after its first tag."""
    first_ps = int(tags.t_ps[0])
    gap = Gap(first_ps + seconds_to_ps(start_s), first_ps + seconds_to_ps(stop_s), GapCause.OVERFLOW)
    keep = (tags.t_ps < gap.start_ps) | (tags.t_ps >= gap.stop_ps)
    return Live(TimeTags(tags.t_ps[keep], tags.channel[keep]), gap)


def link_of(alice: Live, bob: Live) -> tuple[Link, MemoryVault, MemoryVault]:
    vaults = MemoryVault(PRE_SHARED * 4), MemoryVault(PRE_SHARED * 4)
    sides = Side(alice, vaults[0], FixedBits("alice")), Side(bob, vaults[1], FixedBits("bob"))
    return Link(PARAMS, *sides), *vaults


def run_like_a_node(link: Link) -> list[QkdError]:
    """Block after block; after an error a new line, for which the stations drop what they have collected."""
    errors: list[QkdError] = []
    while True:
        try:
            for _ in link.blocks():
                pass
            return errors
        except QkdError as error:
            errors.append(error)
            for side in (link.alice, link.bob):
                assert side.station is not None
                if side.station.exhausted:
                    return errors
                side.station.forget_events()


@pytest.mark.parametrize(
    ("who", "start_s", "stop_s"),
    [("alice", 1.0, 4.0), ("bob", 1.0, 4.0), ("both", 1.0, 4.0), ("alice", 1.03, 1.2), ("bob", 1.03, 1.2)],
)
def test_seconds_without_tags_cost_their_coincidences_only(who: str, start_s: float, stop_s: float) -> None:
    alice, bob, _ = recorded()
    at_alice = holed(alice, start_s, stop_s) if who != "bob" else Live(alice)
    at_bob = holed(bob, start_s, stop_s) if who != "alice" else Live(bob)
    link, vault_a, vault_b = link_of(at_alice, at_bob)
    record = run_to_end(link)
    assert record.aborts == []
    assert len(record.outcomes) >= 2
    assert same_blocks(vault_a, vault_b)
    reports = [ours.block.report for ours, _ in record.outcomes]
    assert max(report.qber_z for report in reports) < 0.03
    told = sum(side.source.health.gaps for side in (link.alice, link.bob))
    assert told == (2 if who == "both" else 1)


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_hole_before_the_clock_is_known_well_costs_a_block_at_most(who: str) -> None:
    """150 ms of tags, 3 s of none: whatever was concluded from so little is given up, and keys are made afterwards."""
    alice, bob, _ = recorded()
    at_alice = holed(alice, 0.15, 3.15) if who == "alice" else Live(alice)
    at_bob = holed(bob, 0.15, 3.15) if who == "bob" else Live(bob)
    link, vault_a, vault_b = link_of(at_alice, at_bob)
    errors = run_like_a_node(link)
    assert len(errors) <= 2
    assert all(isinstance(error, ClockNotFound | KeyTooShort) for error in errors)  # the last one is the leftover
    assert len(vault_a.blocks) >= 1
    assert same_blocks(vault_a, vault_b)


def torn(tags: TimeTags, cut_s: float, hole_ps: int) -> Live:
    """A recording in which everything after `cut_s` comes later by `hole_ps`."""
    cut_ps = int(tags.t_ps[0]) + seconds_to_ps(cut_s)
    return Live(TimeTags(np.where(tags.t_ps < cut_ps, tags.t_ps, tags.t_ps + hole_ps), tags.channel))


def test_half_a_minute_without_tags_is_bridged_by_a_steady_clock() -> None:
    """The clocks went on through the hole as they had before: every block is made."""
    alice, bob, drift_ppm = recorded()
    hole_ps = seconds_to_ps(30.0)
    at_bob_ps = hole_ps + round(hole_ps * drift_ppm * 1e-6)
    link, vault_a, vault_b = link_of(torn(alice, 1.0, hole_ps), torn(bob, 1.0, at_bob_ps))
    assert run_like_a_node(link) == []
    assert len(vault_a.blocks) >= 4
    assert same_blocks(vault_a, vault_b)


def test_a_hole_longer_than_alice_waits_gives_up_the_block_and_no_more() -> None:
    alice, bob, drift_ppm = recorded()
    hole_ps = seconds_to_ps(90.0)
    at_bob_ps = hole_ps + round(hole_ps * drift_ppm * 1e-6)
    link, vault_a, vault_b = link_of(torn(alice, 1.0, hole_ps), torn(bob, 1.0, at_bob_ps))
    errors = run_like_a_node(link)
    assert {type(error) for error in errors} == {RemoteProtocolError}
    assert len(errors) <= 3  # each new line drops what is at hand, until Alice's stream is over the hole as well
    assert len(vault_a.blocks) >= 3
    assert same_blocks(vault_a, vault_b)


def test_a_clock_that_starts_anew_costs_a_block_and_not_the_keys_made_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servo, "PATIENCE_S", 1.0)
    alice, bob, drift_ppm = recorded()
    hole_ps, jump_ps = seconds_to_ps(3.0), seconds_to_ps(0.01)
    at_bob_ps = hole_ps + round(hole_ps * drift_ppm * 1e-6) + jump_ps
    link, vault_a, vault_b = link_of(torn(alice, 2.0, hole_ps), torn(bob, 2.0, at_bob_ps))
    record = run_to_end(link)
    assert [type(error) for error in record.aborts] == [ClockNotFound]
    assert len(record.outcomes) >= 3
    assert same_blocks(vault_a, vault_b)
