"""Eavesdroppers on the photons, detectors that break an assumption: a session over each, and what the user sees.

The links are those of `tests.attack_table` and some more: here both stations run the protocol over the tags.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from distribution.analyser import Analyser
from distribution.eavesdroppers.blinding import Blinding
from distribution.eavesdroppers.intercept import InterceptResend
from distribution.eavesdroppers.middle import SourceInTheMiddle
from distribution.eavesdroppers.timeshift import TimeShift
from distribution.monitors.limits import Limits
from distribution.scenario import Scenario
from distribution.sources.replay import Replay
from qkd.errors import QkdError
from qkd.exchange.steps import Role
from qkd.link import Link, SessionRecord, Side, run_to_end
from qkd.randomness import FixedBits
from qkd.reconciliation.choice import Method
from qkd.session import SessionParameters
from qkd.station import station_for
from qkd.testing import MemoryVault
from tests.attack_table import CASES, Case, metro

PARAMS = SessionParameters(
    epoch_s=0.1,
    clock_uncertainty_s=0.2,
    block_bits=20_000,
    least_block_bits=5_000,
    reconciliation=Method.CASCADE_FAST,
)
LIMITS = Limits(interval_s=0.25, reference_events=20_000)
PRE_SHARED = FixedBits("photonic").take_bytes(16384)


def turned(**of_bob: Any) -> Scenario:
    """The metropolitan link with another analyser at Bob's."""
    link = metro()
    return msgspec.structs.replace(link, bob=msgspec.structs.replace(link.bob, analyser=Analyser(**of_bob)))


MORE = (
    Case("intercept-resend, half of the photons", frozenset(), InterceptResend(0.5)),
    Case("intercept-resend, 1 in 10 photons", frozenset(), InterceptResend(0.1)),
    Case("source in the middle, all pairs", frozenset(), SourceInTheMiddle(fraction=1.0)),
    Case("time shift, all pairs, efficiencies 1 : 1/2", frozenset(), TimeShift(fraction=1.0)),
    Case("blinded Bob, his usual rate, no trace", frozenset(), Blinding(efficiency=0.2)),
    Case("both blinded, all the time", frozenset(), Blinding(both=True)),
    Case(
        "light from elsewhere, 2 million clicks per second at each detector of Bob's",
        frozenset(),
        link=metro(background_cps=2e6),
    ),
    Case(
        "one dead time for all of Bob's detectors, 100 ns", frozenset(), link=metro(dead_ns=100.0, mutes_station=True)
    ),
    Case("Bob measures Z four times as often as X", frozenset(), link=turned(z_share=0.8)),
    Case("Bob's X analyser turned by 20 degrees", frozenset(), link=turned(x_error_deg=20.0)),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the users of both stations see of a session.

    Attributes:
        ends: why blocks were given up, by error; "no clock" if the session never began.
        alarms: at Alice and at Bob.
        blocks, secret_bits, sifted_bits: of the blocks that were made. claims: what was claimed of them. failed:
            which assumptions were found not to hold.
        text: the first error's text.
    """

    ends: tuple[str, ...]
    alarms: dict[Role, tuple[str, ...]]
    blocks: int
    secret_bits: int
    sifted_bits: int
    claims: tuple[str, ...]
    failed: tuple[str, ...]
    text: str

    @property
    def noticed(self) -> bool:
        """Somebody is told that something is wrong."""
        return bool(self.ends) or any(self.alarms.values()) or bool(self.failed)


def cases() -> tuple[Case, ...]:
    """All links."""
    return CASES + MORE


@cache
def seen(case: Case, seed: int = 1) -> Seen:
    """A whole session over the link."""
    at_alice, at_bob = case.tags(seed)
    sides = {}
    for role, tags in ((Role.ALICE, at_alice), (Role.BOB, at_bob)):
        secrets = FixedBits(role.value)
        station = station_for(role, PARAMS, secrets, LIMITS)
        sides[role] = Side(Replay(tags, simulated=True), MemoryVault(PRE_SHARED), secrets, station)
    link, lost = Link(PARAMS, sides[Role.ALICE], sides[Role.BOB]), []
    try:
        record = run_to_end(link)
    except QkdError as error:
        record, lost = SessionRecord(), [error]
    errors = [*record.aborts, *lost]
    reports = [alice.block.report for alice, _ in record.outcomes]
    alarms = {
        role: tuple(sorted({f.watch.value for f in side.station.alarms})) if side.station else ()
        for role, side in sides.items()
    }
    return Seen(
        ends=tuple(sorted({type(error).__name__ for error in errors})),
        alarms=alarms,
        blocks=len(reports),
        secret_bits=sum(r.secret_bits for r in reports),
        sifted_bits=sum(r.sifted_bits for r in reports),
        claims=tuple(dict.fromkeys(r.claim for r in reports)),
        failed=tuple(sorted({name for r in reports for name in r.failed_assumptions})),
        text=str(errors[0]) if errors else "",
    )
