"""A short simulated link for tests: tags made once per process, sides made anew for every run."""

from __future__ import annotations

from functools import cache

import numpy as np

from distribution.eavesdroppers.intercept import InterceptResend
from distribution.formats.s15 import decode_words, encode_words
from distribution.scenario import load_scenario
from distribution.simulate import simulate
from distribution.sources.replay import Replay
from distribution.tags import TimeTags
from qkd.block import SecretBlock
from qkd.link import Link, Side
from qkd.randomness import FixedBits
from qkd.reconciliation.choice import Method
from qkd.session import SessionParameters
from qkd.testing import MemoryVault
from qkd.transport.memory import Tamper, untouched

PRE_SHARED = FixedBits("small link").take_bytes(16384)
PARAMS = SessionParameters(
    epoch_s=0.02,
    clock_uncertainty_s=0.2,
    block_bits=6000,
    least_block_bits=3000,
    eps_sec=1e-8,
    reconciliation=Method.CASCADE_FAST,  # few messages: many tests run through all of them
)


@cache
def tags(seconds: float = 0.4, intercept: float = 0.0) -> tuple[TimeTags, TimeTags]:
    """Both stations' tags of the `metro` scenario, as a tagger's words would carry them."""
    made = simulate(load_scenario("metro"), seconds, np.random.default_rng(11), InterceptResend(intercept))
    return decode_words(encode_words(made.alice)), decode_words(encode_words(made.bob))


def small_link(
    params: SessionParameters = PARAMS,
    *,
    tamper: Tamper = untouched,
    vaults: tuple[MemoryVault, MemoryVault] | None = None,
    seconds: float = 0.4,
    intercept: float = 0.0,
) -> tuple[Link, MemoryVault, MemoryVault]:
    """A link over the short recording, with the vaults of its two sides."""
    alice, bob = vaults or (MemoryVault(PRE_SHARED), MemoryVault(PRE_SHARED))
    at_alice, at_bob = tags(seconds, intercept)
    link = Link(
        params,
        Side(Replay(at_alice, simulated=True), alice, FixedBits("alice")),
        Side(Replay(at_bob, simulated=True), bob, FixedBits("bob")),
        tamper,
    )
    return link, alice, bob


def same_blocks(alice: MemoryVault, bob: MemoryVault) -> bool:
    """Both vaults hold the same blocks with the same bits."""

    def shown(blocks: list[SecretBlock]) -> list[tuple[int, bytes]]:
        return [(b.number, b.key) for b in blocks]

    return shown(alice.blocks) == shown(bob.blocks)
