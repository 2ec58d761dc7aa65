"""Verification on any frames and any errors, and against any bytes on the line."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd import verification
from qkd.bits import Bits
from qkd.errors import QkdError, VerificationFailed
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.randomness import FixedBits
from qkd.testing import EveOnTheLine, cut, drop, flip, repeat
from qkd.transport.memory import MemoryLine, Tamper, untouched
from qkd.verification import Verdict

TAG_LENGTH = 64


@dataclass
class Case:
    """Alice's frames, Bob's before and after his correction."""

    alice: list[Bits]
    bob: list[Bits]
    before: list[Bits]

    def run(self, tamper: Tamper = untouched) -> tuple[Verdict, Verdict]:
        known = np.full(len(self.alice), -1)
        alice = Engine(Role.ALICE, verification.alice(self.alice, known, TAG_LENGTH, FixedBits("v")), Transcript())
        bob = Engine(Role.BOB, verification.bob(self.bob, self.before, TAG_LENGTH), Transcript())
        MemoryLine(alice, bob, tamper=tamper).run()
        return alice.result, bob.result


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One to eight frames of 1 to 300 bits; any errors before, and in some frames some errors after."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=8))
    alice = [rng.integers(0, 2, n, dtype=np.uint8) for n in sizes]
    before = [a ^ (rng.random(a.size) < draw(st.floats(0, 1))).astype(np.uint8) for a in alice]
    spoilt = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    bob = []
    for a, wrong in zip(alice, spoilt, strict=True):
        places = rng.random(a.size) < 0.05
        places[rng.integers(a.size)] = True
        bob.append(a ^ (wrong & places).astype(np.uint8))
    return Case(alice, bob, before)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_frames_pass_if_they_are_equal_and_every_error_is_counted(case: Case) -> None:
    """A wrong pass has probability 2^-64 a frame."""
    same = [bool((a == b).all()) for a, b in zip(case.alice, case.bob, strict=True)]
    truth = [int(np.count_nonzero(a != b)) for a, b in zip(case.alice, case.before, strict=True)]
    try:
        verdicts = case.run()
    except VerificationFailed:
        assert not any(same)
        return
    for verdict in verdicts:
        assert verdict.equal.tolist() == same
        assert verdict.errors.tolist() == truth
        assert verdict.sizes.tolist() == [a.size for a in case.alice]
        assert (verdict.tag_bits <= verdict.sizes).all()
        assert (2**verdict.answer_bits >= 2 * (verdict.sizes + 1)).all()


@settings(max_examples=300, deadline=None)
@given(cases(), st.integers(0, 3), st.integers(0, 2**32))
def test_whatever_arrives_ends_in_a_verdict_or_in_our_error(case: Case, target: int, seed: int) -> None:
    """A flipped bit of a tag or an answer may change the verdict; that is the transcript's tag to notice."""
    act = random.Random(seed).choice([drop, repeat, cut, *(flip(seed % (1 << n)) for n in (8, 12, 20, 32))])
    try:
        verdicts = case.run(EveOnTheLine(target, act))
    except QkdError:
        return
    for verdict in verdicts:
        assert verdict.equal.any()
        assert ((verdict.errors >= 0) & (verdict.errors <= verdict.sizes)).all()
