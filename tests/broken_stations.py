"""Detectors that break one assumption each, on the real simulator: `python -m tests.broken_stations` prints the table.

Every row is the metropolitan link with other detectors at Bob's, or with Eve on it; its last block's claim is shown,
and what was said to have failed where.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

import msgspec
import numpy as np

from distribution.analyser import Analyser
from distribution.detector import Afterpulsing
from distribution.eavesdroppers.blinding import Blinding
from distribution.eavesdroppers.middle import SourceInTheMiddle
from distribution.eavesdroppers.named import Attack, link_under
from distribution.eavesdroppers.timeshift import TimeShift
from distribution.monitors.limits import Limits
from distribution.scenario import Scenario
from distribution.simulate import simulate
from distribution.sources.replay import Replay
from distribution.tags import TimeTags
from qkd.assumptions.limits import AssumptionLimits
from qkd.link import Link, SessionRecord, Side, run_to_end
from qkd.randomness import FixedBits
from qkd.reconciliation.choice import Method
from qkd.session import BlockReport, SessionParameters
from qkd.station import Station
from qkd.testing import MemoryVault
from tests.attack_table import metro

PARAMS = SessionParameters(
    epoch_s=0.1,
    clock_uncertainty_s=0.2,
    block_bits=30_000,
    least_block_bits=10_000,
    reconciliation=Method.CASCADE_FAST,
)
USUAL, WATCHED = AssumptionLimits(), Limits(interval_s=0.25)
PRE_SHARED = FixedBits("broken stations").take_bytes(16384)


def analysed(**of_bob: object) -> Scenario:
    """The link with another analyser at Bob's."""
    link = metro()
    return msgspec.structs.replace(link, bob=msgspec.structs.replace(link.bob, analyser=Analyser(**of_bob)))


@cache
def tags(link: Scenario, attack: Attack | None, seconds: float, seed: int) -> tuple[TimeTags, TimeTags]:
    """Both stations' tags."""
    made = simulate(link_under(attack, link), seconds, np.random.default_rng(seed), attack)
    return made.alice, made.bob


@dataclass(frozen=True, slots=True)
class Broken:
    """A link, and what must be said of its blocks.

    Attributes:
        failed: all that fails, "station: assumption".
        claim: what is left.
    """

    name: str
    failed: frozenset[str]
    claim: str
    link: Scenario = field(default_factory=metro)
    attack: Attack | None = None
    params: SessionParameters = PARAMS
    limits: AssumptionLimits = USUAL
    monitors: Limits = WATCHED
    seconds: float = 0.6

    def run(self, seed: int = 1) -> SessionRecord:
        """All blocks of the recording."""
        at_alice, at_bob = tags(self.link, self.attack, self.seconds, seed)

        def side(stream: TimeTags, name: str, limits: AssumptionLimits) -> Side:
            secrets = FixedBits(name)
            station = Station(
                self.params.double_click_ps,
                secrets,
                self.monitors,
                mute_ps=self.params.mute_ps,
                assumption_limits=limits,
            )
            return Side(Replay(stream, simulated=True), MemoryVault(PRE_SHARED), secrets, station)

        return run_to_end(Link(self.params, side(at_alice, "alice", USUAL), side(at_bob, "bob", self.limits)))

    def reports(self, seed: int = 1) -> tuple[BlockReport, BlockReport]:
        """Of the last block, at Alice and at Bob."""
        at_alice, at_bob = self.run(seed).outcomes[-1]
        return at_alice.block.report, at_bob.block.report


FAIR, NONE = "fair sampling", "no claim"
CASES = (
    Broken("nobody, nothing broken", frozenset(), "composable"),
    Broken("active analyser, honest", frozenset(), "composable", analysed(slot_ns=1000.0)),
    Broken(
        "each detector its own dead time, mute_ps = 0",
        frozenset({"alice: one-dead-window", "bob: one-dead-window"}),
        FAIR,
        params=replace(PARAMS, mute_ps=0),
    ),
    Broken("dead time 400 ns, mute_ps = 50 ns", frozenset({"bob: one-dead-window"}), FAIR, metro(dead_ns=400.0)),
    Broken(
        "dead time 30 ns declared as 80 ns",
        frozenset({"bob: one-dead-window"}),
        FAIR,
        limits=AssumptionLimits(dead_ps=80_000),
    ),
    Broken(
        "one detector at 4/5 of its efficiency",
        frozenset({"bob: even-efficiency", "alice: even-efficiency"}),
        FAIR,
        metro(efficiency=(0.8, 0.64, 0.8, 0.8)),
    ),
    Broken(
        "one detector declared at 17/20",
        frozenset({"bob: even-efficiency"}),
        FAIR,
        limits=AssumptionLimits(efficiencies=(0.8, 0.68, 0.8, 0.8)),
    ),
    Broken(
        "X detectors at 3/4 of the efficiency of Z",
        frozenset({"bob: basis-independent-loss", "bob: even-split"}),
        FAIR,
        metro(efficiency=(0.8, 0.8, 0.6, 0.6)),
    ),
    Broken(
        "split 60 : 40, declared so",
        frozenset({"bob: even-split"}),
        FAIR,
        analysed(z_share=0.6),
        limits=AssumptionLimits(z_share=0.6),
    ),
    Broken(
        "active analyser 60 : 40, declared so",
        frozenset(),
        "composable",
        analysed(z_share=0.6, slot_ns=1000.0),
        limits=AssumptionLimits(z_share=0.6, passive=False),
    ),
    Broken(
        "passive analyser declared as one that is switched",
        frozenset({"bob: even-split"}),
        FAIR,
        limits=AssumptionLimits(passive=False),
    ),
    Broken(
        "after-pulses of 10 %, decay 100 ns",
        frozenset({"bob: no-memory"}),
        NONE,
        metro(afterpulsing=Afterpulsing(probability=0.1, decay_ns=(100.0,))),
    ),
    Broken(
        "detectors skewed by 60 ps",
        frozenset({"alice: silent-times"}),
        NONE,
        metro(delay_ps=(0.0, 60.0, 0.0, 60.0)),
    ),
    Broken("time shift", frozenset({"alice: silent-times"}), NONE, attack=TimeShift(fraction=0.5)),
    Broken(
        "source in the middle",
        frozenset({"alice: detectors-free", "bob: detectors-free"}),
        NONE,
        attack=SourceInTheMiddle(fraction=0.05),
    ),
    Broken("blinded Bob", frozenset({"bob: detectors-free"}), NONE, attack=Blinding(efficiency=0.2, dead_ns=80.0)),
    Broken(
        "double-click window below the coincidence window",
        frozenset({"both: double-clicks-random"}),
        FAIR,
        params=replace(PARAMS, double_click_ps=500),
    ),
)


def markdown(seed: int = 1) -> str:
    """The table."""
    lines = ["| link | claim | failed |", "|---|---|---|"]
    for case in CASES:
        report, _ = case.reports(seed)
        lines.append(f"| {case.name} | {report.claim} | {', '.join(report.failed_assumptions) or '-'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
