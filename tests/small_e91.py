"""A short simulated link with a Bell test, like `tests.small_link`: tags once per process, sides anew for every run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import msgspec
import numpy as np

from distribution.eavesdroppers.intercept import InterceptResend
from distribution.scenario import Scenario, load_scenario
from distribution.simulate import simulate
from distribution.sources.replay import Replay
from distribution.states import BellState
from distribution.tags import TimeTags
from qkd.link import Link, Side
from qkd.protocols import Protocol
from qkd.randomness import FixedBits
from qkd.session import SessionParameters
from qkd.testing import MemoryVault
from qkd.transport.memory import Tamper, untouched
from tests.small_link import PARAMS, PRE_SHARED

SCENARIOS = {Protocol.E91: "metro-e91", Protocol.E91_3X2: "metro-e91-3x2"}
E91 = replace(PARAMS, protocol=Protocol.E91, block_bits=8000)
E91_3X2 = replace(PARAMS, protocol=Protocol.E91_3X2, block_bits=6000)


def scenario(protocol: Protocol, state: BellState = BellState.PHI_PLUS) -> Scenario:
    """The metropolitan link with the protocol's analysers and this state at its source."""
    link = load_scenario(SCENARIOS[protocol])
    return msgspec.structs.replace(link, pairs=msgspec.structs.replace(link.pairs, state=state))


@cache
def tags(
    protocol: Protocol, seconds: float = 0.4, intercept: float = 0.0, state: BellState = BellState.PHI_PLUS
) -> tuple[TimeTags, TimeTags]:
    """Both stations' tags."""
    made = simulate(scenario(protocol, state), seconds, np.random.default_rng(12), InterceptResend(intercept))
    return made.alice, made.bob


def e91_link(
    params: SessionParameters = E91,
    *,
    seconds: float = 0.4,
    intercept: float = 0.0,
    tamper: Tamper = untouched,
    recorded: tuple[TimeTags, TimeTags] | None = None,
) -> tuple[Link, MemoryVault, MemoryVault]:
    """A link over the short recording (or another one), with the vaults of its two sides."""
    alice, bob = MemoryVault(PRE_SHARED), MemoryVault(PRE_SHARED)
    at_alice, at_bob = recorded or tags(params.protocol, seconds, intercept, params.state)
    link = Link(
        params,
        Side(Replay(at_alice, simulated=True), alice, FixedBits("alice")),
        Side(Replay(at_bob, simulated=True), bob, FixedBits("bob")),
        tamper,
    )
    return link, alice, bob
