"""Verification frame by frame: equal frames pass at both ends, others leave the key with their errors counted exactly,
malformed messages are the peer's fault."""

from __future__ import annotations

import numpy as np
import pytest

from qkd import verification
from qkd.bits import Bits, pack, unpack
from qkd.errors import QkdError, RemoteProtocolError, VerificationFailed
from qkd.exchange.codec import decode
from qkd.exchange.engine import Engine
from qkd.exchange.messages import (
    CascadeStart,
    FailedErrors,
    FailedFrames,
    Message,
    VerificationResult,
    VerificationTags,
)
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.randomness import FixedBits, OperatingSystemBits, expand_bits
from qkd.transport.memory import MemoryLine
from qkd.verification import Verdict
from tests.reference.toeplitz import by_definition

FRAMES = [expand_bits(b"", name, n) for name, n in (("z0", 500), ("z1", 500), ("x0", 300))]
UNKNOWN = np.full(3, -1)
Shown = tuple[list[bool], list[int], list[int]]


def flipped(frames: list[Bits], *places: tuple[int, int]) -> list[Bits]:
    """Copies of the frames with (frame, position) inverted."""
    copies = [frame.copy() for frame in frames]
    for frame, position in places:
        copies[frame][position] ^= 1
    return copies


def shown(verdict: Verdict) -> Shown:
    return verdict.equal.tolist(), verdict.errors.tolist(), verdict.tag_bits.tolist()


def run(
    alice: list[Bits],
    bob: list[Bits],
    before: list[Bits] | None = None,
    *,
    tag_length: int = 64,
    known: np.ndarray | None = None,
) -> tuple[Verdict, Verdict]:
    """Both engines, every message through the codec; the two verdicts."""
    known = np.full(len(alice), -1) if known is None else known
    steps = verification.alice(alice, known, tag_length, FixedBits("v"))
    at_alice = Engine(Role.ALICE, steps, Transcript())
    at_bob = Engine(Role.BOB, verification.bob(bob, before or bob, tag_length), Transcript())
    MemoryLine(at_alice, at_bob).run()
    return at_alice.result, at_bob.result


@pytest.mark.parametrize("tag_length", [32, 64, 72, 256])
def test_equal_frames_pass(tag_length: int) -> None:
    before = flipped(FRAMES, (0, 3), (0, 499), (2, 7))
    for verdict in run(FRAMES, flipped(FRAMES), before, tag_length=tag_length):
        assert shown(verdict) == ([True] * 3, [2, 0, 1], [tag_length] * 3)
        assert verdict.eps_cor == 3 * 2.0**-tag_length


def test_a_single_flipped_bit_fails_its_frame_at_both_ends() -> None:
    """Every 37th position of every frame; chance of one miss is 2^-64."""
    for which, frame in enumerate(FRAMES):
        for position in range(0, frame.size, 37):
            for verdict in run(FRAMES, flipped(FRAMES, (which, position))):
                assert verdict.equal.tolist() == [i != which for i in range(3)]
                assert verdict.errors.tolist() == [int(i == which) for i in range(3)]


def test_a_failed_frame_is_judged_by_what_was_sifted() -> None:
    """Bob spoilt two bits of frame 1 and left four of its five errors: five is what both must end with."""
    before = flipped(FRAMES, *((1, i) for i in range(5)), (0, 9))
    corrected = flipped(FRAMES, *((1, i) for i in range(1, 5)), (1, 100), (1, 200))
    for verdict in run(FRAMES, corrected, before):
        assert shown(verdict) == ([True, False, True], [1, 5, 0], [64] * 3)


def test_a_right_frame_that_bob_spoilt_has_no_errors() -> None:
    for verdict in run(FRAMES, flipped(FRAMES, (2, 0)), FRAMES):
        assert shown(verdict)[:2] == ([True, True, False], [0, 0, 0])


def test_nothing_of_a_good_frame_is_shown() -> None:
    said: list[Message] = []

    def listen(_sender: Role, encoded: bytes) -> list[bytes]:
        said.append(decode(encoded))
        return [encoded]

    bob = flipped(FRAMES, (1, 2))
    alice = Engine(Role.ALICE, verification.alice(FRAMES, UNKNOWN, 64, FixedBits("v")), Transcript())
    MemoryLine(alice, Engine(Role.BOB, verification.bob(bob, bob, 64), Transcript()), tamper=listen).run()
    assert said[1:] == [
        VerificationResult(b"\xa0", bytes(12)),
        FailedFrames(pack(FRAMES[1])),
        FailedErrors(b"\0\0\0\1"),
    ]


def test_without_a_frame_left_there_is_no_key_and_nothing_is_shown() -> None:
    bob = flipped(FRAMES, (0, 1), (1, 1), (2, 1))
    alice = Engine(Role.ALICE, verification.alice(FRAMES, UNKNOWN, 64, FixedBits("v")), Transcript())
    at_bob = Engine(Role.BOB, verification.bob(bob, bob, 64), Transcript())
    with pytest.raises(VerificationFailed, match="all 3"):
        at_bob.receive(alice.take_outgoing()[0])
    answer, _abort = at_bob.take_outgoing()
    assert decode(answer) == VerificationResult(b"\x00", bytes(12))
    with pytest.raises(VerificationFailed, match="all 3"):
        alice.receive(answer)
    assert not isinstance(decode(alice.take_outgoing()[0]), FailedFrames)


def test_what_alice_knows_of_the_errors_must_be_what_bob_says() -> None:
    before = flipped(FRAMES, (0, 3), (2, 7))
    for known in ([1, 0, 1], [-1, 0, -1], [-1, -1, -1]):
        assert run(FRAMES, FRAMES, before, known=np.array(known))[0].errors.tolist() == [1, 0, 1]
    with pytest.raises(RemoteProtocolError, match="corrected 2 bits of frame 2 and now says 1"):
        run(FRAMES, FRAMES, before, known=np.array([1, -1, 2]))


def test_tags_are_the_hash_of_each_frame() -> None:
    """Seed and tags as sent, recomputed by the definition of the hash."""
    engine = Engine(Role.ALICE, verification.alice(FRAMES, UNKNOWN, 64, FixedBits("v")), Transcript())
    sent = decode(engine.take_outgoing()[0])
    assert isinstance(sent, VerificationTags)
    seed = unpack(sent.seed, 499)
    for i, frame in enumerate(FRAMES):
        assert (unpack(sent.tags[8 * i : 8 * i + 8], 64) == by_definition(frame, 64, seed[: frame.size - 1])).all()
    assert len(sent.tags) == 24


@pytest.mark.parametrize("n", [63, 64, 65, 127, 128, 129, 191, 192, 193, 1000, 4097])
def test_the_tag_is_right_at_every_edge_of_a_word(n: int) -> None:
    bits, seed = expand_bits(b"", f"edge/{n}", n), expand_bits(b"", f"edge seed/{n}", n - 1)
    for length in (8, 64, 256):
        length = min(length, n)
        assert (verification.tag(bits, length, seed) == by_definition(bits, length, seed)).all()


def test_short_frames_are_their_own_tags() -> None:
    short = [FRAMES[0][:20], FRAMES[1][:64], FRAMES[2]]
    for verdict in run(short, short):
        assert shown(verdict) == ([True] * 3, [0] * 3, [20, 64, 64])
        assert verdict.answer_bits.tolist() == [1 + 5, 1 + 7, 1 + 9]
    for verdict in run(short, flipped(short, (0, 19))):
        assert verdict.equal.tolist() == [False, True, True]


def test_every_run_draws_its_own_seed() -> None:
    secrets = OperatingSystemBits()
    first, second = (next(verification.alice(FRAMES, UNKNOWN, 64, secrets)) for _ in range(2))
    assert isinstance(first, VerificationTags)
    assert isinstance(second, VerificationTags)
    assert first.seed != second.seed


@pytest.mark.parametrize(
    "message",
    [
        VerificationTags(bytes(62), bytes(24)),
        VerificationTags(bytes(64), bytes(24)),
        VerificationTags(bytes(62) + b"\x01", bytes(24)),  # a padding bit
        VerificationTags(bytes(63), bytes(23)),
        VerificationTags(bytes(63), bytes(25)),
        VerificationTags(bytes(63), b""),
        CascadeStart(bytes(32)),
    ],
)
def test_malformed_tags_are_refused(message: Message) -> None:
    steps = verification.bob(FRAMES, FRAMES, 64)
    next(steps)
    with pytest.raises(RemoteProtocolError):
        steps.send(message)


@pytest.mark.parametrize(
    "message",
    [
        VerificationResult(b"", bytes(12)),
        VerificationResult(b"\xe0\x00", bytes(12)),
        VerificationResult(b"\xf0", bytes(12)),  # a padding bit: a fourth frame
        VerificationResult(b"\xe0", bytes(11)),
        VerificationResult(b"\xe0", bytes(16)),
        VerificationResult(b"\xe0", b""),
        VerificationResult(b"\xe0", b"\0\0\1\xf5" + bytes(8)),  # 501 errors in 500 bits
        VerificationResult(b"\xe0", bytes(8) + b"\xff" * 4),
        FailedErrors(bytes(12)),
    ],
)
def test_malformed_answers_are_refused(message: Message) -> None:
    steps = verification.alice(FRAMES, UNKNOWN, 64, FixedBits("v"))
    next(steps)
    next(steps)
    with pytest.raises(RemoteProtocolError):
        steps.send(message)


@pytest.mark.parametrize(
    "message",
    [
        FailedErrors(b""),
        FailedErrors(bytes(3)),
        FailedErrors(bytes(8)),
        FailedErrors(b"\0\0\1\xf5"),
        VerificationResult(b"\xa0", bytes(12)),
    ],
)
def test_malformed_counts_of_a_failed_frame_are_refused(message: Message) -> None:
    steps = verification.alice(FRAMES, UNKNOWN, 64, FixedBits("v"))
    next(steps)
    next(steps)
    assert steps.send(VerificationResult(b"\xa0", bytes(12))) == FailedFrames(pack(FRAMES[1]))
    next(steps)
    with pytest.raises(RemoteProtocolError):
        steps.send(message)


@pytest.mark.parametrize(
    "message",
    [
        FailedFrames(b""),
        FailedFrames(bytes(62)),
        FailedFrames(bytes(64)),
        FailedFrames(bytes(62) + b"\x08"),  # 500 bits end in half a byte
        VerificationTags(bytes(63), bytes(24)),
    ],
)
def test_a_failed_frame_shown_in_another_length_is_refused(message: Message) -> None:
    engine = Engine(Role.ALICE, verification.alice(FRAMES, UNKNOWN, 64, FixedBits("v")), Transcript())
    tags = decode(engine.take_outgoing()[0])
    bob = flipped(FRAMES, (1, 2))
    steps = verification.bob(bob, bob, 64)
    next(steps)
    assert isinstance(steps.send(tags), VerificationResult)
    next(steps)
    with pytest.raises(RemoteProtocolError):
        steps.send(message)


def test_a_frame_that_passed_cannot_be_asked_for_by_a_false_answer() -> None:
    """Somebody tells Alice that frame 0 failed: she shows it, Bob does not wait for it, and neither has a key."""

    def lie(sender: Role, encoded: bytes) -> list[bytes]:
        message = decode(encoded)
        if sender is Role.BOB and isinstance(message, VerificationResult):
            return [encoded.replace(b"\xc4\x01\xe0", b"\xc4\x01\x60")]
        return [encoded]

    alice = Engine(Role.ALICE, verification.alice(FRAMES, UNKNOWN, 64, FixedBits("v")), Transcript())
    bob = Engine(Role.BOB, verification.bob(FRAMES, FRAMES, 64), Transcript())
    with pytest.raises(QkdError):
        MemoryLine(alice, bob, tamper=lie).run()
    assert not alice.done


def test_collisions_are_as_rare_as_promised() -> None:
    """8-bit tags of frames that differ in 3 bits, 20,000 seeds (seed 7): 2^-8 within five sigma (sigma = 4.4e-4)."""
    generator = np.random.default_rng(7)
    difference = np.zeros(40, np.uint8)
    difference[[3, 20, 39]] = 1
    trials = 20_000
    seeds = generator.integers(0, 2, (trials, 39), dtype=np.uint8)
    missed = sum(not verification.tag(difference, 8, seed).any() for seed in seeds)
    assert abs(missed / trials - 2**-8) < 5 * np.sqrt(2**-8 / trials)
