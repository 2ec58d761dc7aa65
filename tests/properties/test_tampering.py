"""Eve on the classical line: whatever she does to a message, the outcome is equal keys or a QkdError."""

from __future__ import annotations

import random

import pytest

from qkd.errors import QkdError
from qkd.testing import EveOnTheLine, cut, drop, flip, repeat
from tests.small_link import same_blocks, small_link

SEED = 20261123


def messages() -> int:
    eve = EveOnTheLine(-1, drop)
    link, _, _ = small_link(tamper=eve)
    next(link.blocks())
    return eve.seen


def play(eve: EveOnTheLine) -> str:
    """One run with Eve; returns what it came to. Any exception but a QkdError fails the test."""
    link, alice, bob = small_link(tamper=eve)
    came_to = "key"
    try:
        next(link.blocks())
    except QkdError as error:
        came_to = type(error).__name__
    # A block that both committed is the same; one that only Alice committed waits, prepared, at Bob.
    if len(alice.blocks) == len(bob.blocks) + 1:
        assert bob.prepared == alice.committed
        bob.commit(bob.prepared)
    assert same_blocks(alice, bob)
    return came_to


def run(cases: int, seed: int) -> dict[str, int]:
    rng = random.Random(seed)
    count = messages()
    edges = [*range(8), *range(count - 8, count)]
    seen: dict[str, int] = {}
    for _ in range(cases):
        target = rng.randrange(count) if rng.random() < 0.5 else rng.choice(edges)
        act = rng.choice(
            [drop, repeat, cut, flip(rng.randrange(200)), *(flip(rng.randrange(1 << 22)) for _ in range(4))]
        )
        came_to = play(EveOnTheLine(target, act))
        seen[came_to] = seen.get(came_to, 0) + 1
    return seen


def test_tampering_never_gives_two_keys() -> None:
    seen = run(150, SEED)
    assert seen.get("key", 0) < 15  # only a repeated message may pass unnoticed
    assert seen["AuthenticationError"] > 0
    assert seen["RemoteProtocolError"] > 0


@pytest.mark.parametrize("bit", range(0, 128, 5))
def test_every_altered_tag_is_refused(bit: int) -> None:
    """Alice's transcript tag is the last message but two; its pad number and tag fill the end of it."""
    count = messages()
    assert play(EveOnTheLine(count - 3, flip(-1 - bit))) in ("AuthenticationError", "RemoteProtocolError")


def test_swapped_messages_are_refused() -> None:
    """Each message in turn is held back and delivered after the next one of the same sender."""
    held: list[bytes] = []
    count = messages()
    rng = random.Random(SEED)
    for target in rng.sample(range(count), 25):
        held.clear()
        seen = 0

        def reorder(_sender: object, encoded: bytes, target: int = target) -> list[bytes]:
            nonlocal seen
            number, seen = seen, seen + 1
            if number == target:
                held.append(encoded)
                return []
            out = [encoded, *held]
            held.clear()
            return out

        link, alice, bob = small_link(tamper=reorder)
        with pytest.raises(QkdError):
            next(link.blocks())
        assert len(bob.blocks) == 0
        assert len(alice.blocks) <= 1


@pytest.mark.slow
def test_tampering_soak() -> None:
    run(2000, random.SystemRandom().randrange(1 << 32))
