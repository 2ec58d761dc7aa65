"""Verification: equal strings pass at both ends, others fail at both, malformed messages are the peer's fault."""

from __future__ import annotations

import numpy as np
import pytest

from qkd import verification
from qkd.bits import Bits, unpack
from qkd.errors import QkdError, RemoteProtocolError, VerificationFailed
from qkd.exchange.codec import decode
from qkd.exchange.engine import Engine
from qkd.exchange.messages import CascadeStart, Message, VerificationResult, VerificationTags
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.randomness import FixedBits, OperatingSystemBits, expand_bits
from qkd.verification import Disclosed
from tests.reference.toeplitz import by_definition

Z, X = expand_bits(b"", "z", 500), expand_bits(b"", "x", 300)
Outcome = Disclosed | QkdError


def _outcome(action) -> Outcome | None:
    try:
        return action()
    except QkdError as error:
        return error


def _run(
    alice_strings: tuple[Bits, Bits], bob_strings: tuple[Bits, Bits], tag_bits: int = 64
) -> tuple[Outcome, Outcome]:
    """Both engines, every message through the codec; the two outcomes."""
    alice = Engine(Role.ALICE, verification.alice(alice_strings, tag_bits, FixedBits("v")), Transcript())
    bob = Engine(Role.BOB, verification.bob(bob_strings, tag_bits), Transcript())
    _outcome(lambda: bob.receive(alice.take_outgoing()[0]))
    _outcome(lambda: alice.receive(bob.take_outgoing()[0]))
    return _outcome(lambda: alice.result), _outcome(lambda: bob.result)


@pytest.mark.parametrize("tag_bits", [32, 64, 72, 256])
def test_equal_strings_pass(tag_bits: int) -> None:
    assert _run((Z, X), (Z.copy(), X.copy()), tag_bits) == (Disclosed(tag_bits, tag_bits),) * 2


def test_a_single_flipped_bit_fails_at_both_ends() -> None:
    """Every 37th position of either string; chance of one miss is 2^-64."""
    for which, position in [(0, i) for i in range(0, 500, 37)] + [(1, i) for i in range(0, 300, 37)]:
        other = [Z.copy(), X.copy()]
        other[which][position] ^= 1
        for outcome in _run((Z, X), (other[0], other[1])):
            assert isinstance(outcome, VerificationFailed)
            assert f"corrected {'ZX'[which]} strings" in str(outcome)


def test_bob_answers_before_he_gives_up() -> None:
    alice = Engine(Role.ALICE, verification.alice((Z, X), 64, FixedBits("v")), Transcript())
    bob = Engine(Role.BOB, verification.bob((Z ^ 1, X), 64), Transcript())
    with pytest.raises(VerificationFailed):
        bob.receive(alice.take_outgoing()[0])
    assert decode(bob.take_outgoing()[0]) == VerificationResult(False, True)


def test_tags_are_the_hash_of_each_string() -> None:
    """Seed and tags as sent, recomputed by the definition of the hash."""
    engine = Engine(Role.ALICE, verification.alice((Z, X), 64, FixedBits("v")), Transcript())
    sent = decode(engine.take_outgoing()[0])
    assert isinstance(sent, VerificationTags)
    seed = unpack(sent.seed, 499)
    assert (unpack(sent.tag_z, 64) == by_definition(Z, 64, seed)).all()
    assert (unpack(sent.tag_x, 64) == by_definition(X, 64, seed[:299])).all()


def test_short_strings_are_their_own_tags_and_empty_ones_have_none() -> None:
    short, empty = Z[:20], Z[:0]
    assert _run((short, empty), (short, empty)) == (Disclosed(20, 0),) * 2
    assert _run((empty, empty), (empty, empty)) == (Disclosed(0, 0),) * 2
    alice, bob = _run((short, X), (short ^ 1, X))
    assert isinstance(alice, VerificationFailed)
    assert isinstance(bob, VerificationFailed)


def test_every_run_draws_its_own_seed() -> None:
    secrets = OperatingSystemBits()
    first, second = (next(verification.alice((Z, X), 64, secrets)) for _ in range(2))
    assert isinstance(first, VerificationTags)
    assert isinstance(second, VerificationTags)
    assert first.seed != second.seed


@pytest.mark.parametrize(
    "message",
    [
        VerificationTags(bytes(62), bytes(8), bytes(8)),
        VerificationTags(bytes(64), bytes(8), bytes(8)),
        VerificationTags(bytes(62) + b"\x01", bytes(8), bytes(8)),  # a padding bit
        VerificationTags(bytes(63), bytes(7), bytes(8)),
        VerificationTags(bytes(63), bytes(8), bytes(9)),
        VerificationTags(bytes(63), bytes(8), b""),
        CascadeStart(bytes(32)),
    ],
)
def test_malformed_tags_are_refused(message: Message) -> None:
    steps = verification.bob((Z, X), 64)
    next(steps)
    with pytest.raises(RemoteProtocolError):
        steps.send(message)


def test_collisions_are_as_rare_as_promised() -> None:
    """8-bit tags of strings that differ in 3 bits, 20,000 seeds (seed 7): 2^-8 within five sigma (sigma = 4.4e-4)."""
    generator = np.random.default_rng(7)
    difference = np.zeros(40, np.uint8)
    difference[[3, 20, 39]] = 1
    trials = 20_000
    seeds = generator.integers(0, 2, (trials, 39), dtype=np.uint8)
    missed = sum(not verification.tag(difference, 8, seed).any() for seed in seeds)
    assert abs(missed / trials - 2**-8) < 5 * np.sqrt(2**-8 / trials)
