"""Each station tells the other which of its assumptions failed in this block, so that both state the same claim.

What is announced, and what that costs. A station's counts depend on its outcomes, so they depend on the key: the
numbers of its sifted bits by outcome would be the Hamming weight of its key, and singles are no better in the worst
case, where Eve knows every outcome that is not in the key. So counts by outcome stay at home. What leaves are the
failed assumptions, one bit for each that a station judges from its data: 2^14 possible answers of both together.
Conditioning on a classical answer lowers a smooth min-entropy by at most the logarithm of how many answers there are
(Renner, arXiv quant-ph/0512258, chain rule; Winkler et al., PRL 107, 010501 (2011), Lemma 11), so 14 bits are taken off
each basis's key, whatever was answered.

The order of the names is fixed, so a message of given content has one form. The transcript's tags cover both messages.
"""

from __future__ import annotations

import numpy as np

from qkd.assumptions.claim import ANNOUNCED, Assumption, Findings, Verdict
from qkd.assumptions.judge import Seen, verdicts
from qkd.assumptions.limits import OnFailed
from qkd.assumptions.tally import Counts
from qkd.bits import Bits
from qkd.errors import AssumptionFailed, RemoteProtocolError
from qkd.exchange.messages import StationFindings
from qkd.exchange.steps import Role, Steps, receive, send
from qkd.session import SessionParameters
from qkd.sifting import SiftedBlock
from qkd.station import Station

ANNOUNCED_BITS = 2 * len(ANNOUNCED)
"""Taken off the key of each basis: one bit per assumption and station."""


def alice(station: Station, sifted: SiftedBlock, params: SessionParameters) -> Steps[Findings]:
    """Alice's part: she speaks first.

    Raises:
        AssumptionFailed: something failed, at either station, and this one makes no key then.
        RemoteProtocolError: Bob's answer makes no sense.
    """
    own = verdicts(_seen(station, sifted), params)
    yield from send(StationFindings(_failed(own)))
    answer = yield from receive(StationFindings)
    return _findings(Role.ALICE, own, _read(answer), station)


def bob(station: Station, sifted: SiftedBlock, params: SessionParameters) -> Steps[Findings]:
    """Bob's part; raises the same."""
    message = yield from receive(StationFindings)
    own = verdicts(_seen(station, sifted), params)
    yield from send(StationFindings(_failed(own)))
    return _findings(Role.BOB, own, _read(message), station)


def _seen(station: Station, sifted: SiftedBlock) -> Seen:
    return Seen(
        tally=station.tally,
        sifted=_by_outcome(sifted.basis, sifted.bit),
        pairs=station.tally.pairs,
        alarms=station.standing_alarms(),
        limits=station.assumption_limits,
        monitor_limits=station.limits,
    )


def _by_outcome(basis: Bits, bit: Bits) -> Counts:
    return np.bincount(2 * basis + bit, minlength=4)


def _failed(own: tuple[Verdict, ...]) -> tuple[str, ...]:
    holds = {verdict.assumption: verdict.holds for verdict in own}
    return tuple(a.value for a in ANNOUNCED if not holds[a.value])


def _read(message: StationFindings) -> tuple[Assumption, ...]:
    named = tuple(a for a in ANNOUNCED if a.value in message.failed)
    if tuple(a.value for a in named) != message.failed:
        raise RemoteProtocolError(
            f"{len(message.failed)} assumptions are said to have failed, not all of them known, or out of order"
        )
    return named


def _findings(role: Role, own: tuple[Verdict, ...], theirs: tuple[Assumption, ...], station: Station) -> Findings:
    mine = tuple(a for a in ANNOUNCED if a.value in _failed(own))
    found = Findings({role: mine, role.peer: theirs}, own)
    if (mine or theirs) and station.assumption_limits.on_failed is OnFailed.ABORT:
        raise AssumptionFailed([f"{r.value}: {a.value}" for r in Role for a in found.failed[r]])
    return found
