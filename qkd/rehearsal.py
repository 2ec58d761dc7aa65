"""One small block through every stage, in process: it compiles all kernels with the types they will meet.

Running the real thing is the only list of kernels that cannot go stale.
"""

from __future__ import annotations

import numpy as np

from distribution.formats.s15 import decode_words, encode_words
from distribution.scenario import load_scenario
from distribution.simulate import simulate
from distribution.sources.replay import Replay
from qkd.link import Link, Side, run_to_end
from qkd.randomness import FixedBits
from qkd.session import SessionParameters
from qkd.testing import MemoryVault


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
    return sum(alice.block.bits for alice, _ in record.outcomes)
