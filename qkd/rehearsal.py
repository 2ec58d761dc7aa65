"""One small block through every stage, in process: it compiles all kernels with the types they will meet.

Running the real thing is the only list of kernels that cannot go stale. The link corrects its block by one method;
the others are run on strings made up for them.
"""

from __future__ import annotations

import numpy as np

from distribution.formats.s15 import decode_words, encode_words
from distribution.scenario import load_scenario
from distribution.simulate import simulate
from distribution.sources.replay import Replay
from qkd.estimation import Estimate
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.link import Link, Side, run_to_end
from qkd.randomness import FixedBits, expand_bits
from qkd.reconciliation import frames
from qkd.reconciliation.choice import Method
from qkd.reconciliation.methods import METHODS
from qkd.session import SessionParameters
from qkd.testing import MemoryVault
from qkd.transport.memory import MemoryLine

CORRECTED_BITS = 10_000


def rehearse(seconds: float = 1.6, seed: int = 1) -> int:
    """Simulate a short link, make one block, and return how many secret bits it gave; nothing is kept."""
    tags = simulate(load_scenario("metro"), seconds, np.random.default_rng(seed))
    pre_shared = FixedBits("rehearsal").take_bytes(16384)

    def side(words: bytes, name: str) -> Side:
        return Side(Replay(decode_words(words), simulated=True), MemoryVault(pre_shared), FixedBits(name))

    link = Link(
        SessionParameters(block_bits=20_000),
        side(encode_words(tags.alice), "alice"),
        side(encode_words(tags.bob), "bob"),
    )
    record = run_to_end(link)
    for method in METHODS:
        correct(method)
    return sum(alice.block.bits for alice, _ in record.outcomes)


def correct(method: Method) -> None:
    """Error correction alone, of two strings with 3 % errors."""
    params = SessionParameters(reconciliation=method)
    z, x = (expand_bits(b"rehearsal", name, CORRECTED_BITS) for name in "zx")
    wrong = (np.arange(CORRECTED_BITS) % 33 == 0).astype(np.uint8)
    at_alice, at_bob = Estimate(z, x, 200, 200, 6, 6), Estimate(z ^ wrong, x ^ wrong, 200, 200, 6, 6)
    alice = Engine(Role.ALICE, frames.alice(at_alice, params, FixedBits("alice"), 0.0, 1.0), Transcript())
    MemoryLine(alice, Engine(Role.BOB, frames.bob(at_bob, params, FixedBits("bob")), Transcript())).run()
