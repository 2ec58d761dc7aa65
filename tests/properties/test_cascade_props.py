"""Cascade on whatever hypothesis thinks of: equal strings or one of our errors, and never a wrong count."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distribution.kernels._jit import kernel
from qkd.errors import QkdError
from qkd.exchange.codec import encode
from qkd.exchange.engine import Engine
from qkd.exchange.messages import Parities, ParityDifferences
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.kernels import words
from qkd.randomness import FixedBits
from qkd.reconciliation import cascade
from qkd.reconciliation.cascade import CascadePreset
from qkd.reconciliation.frame import Frame
from tests.reference import cascade as reference

presets = st.builds(
    CascadePreset,
    name=st.just("any"),
    first=st.floats(0.3, 3.0),
    second=st.floats(1.0, 10.0),
    limit=st.integers(1, 9),
    masks=st.integers(1, 20),
    frame_bits=st.just(256),
    source=st.just("hypothesis"),
)


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """A few short frames: Alice's bits, Bob's bits, prior."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames = []
    for n in draw(st.lists(st.integers(1, 150), min_size=1, max_size=4)):
        alice = rng.integers(0, 2, n, dtype=np.uint8)
        wrong = draw(st.lists(st.integers(0, n - 1), max_size=n // 8, unique=True))
        bob = alice.copy()
        bob[wrong] ^= 1
        frames.append((alice, bob, draw(st.floats(0, 0.5))))
    return frames


@given(batches(), presets, st.text(max_size=5))
@settings(max_examples=60, deadline=None)
def test_the_conversation_is_that_of_the_reference(
    batch: list[tuple[np.ndarray, np.ndarray, float]], preset: CascadePreset, label: str
) -> None:
    alice = Engine(
        Role.ALICE, cascade.alice([Frame(a, q) for a, _, q in batch], preset, FixedBits(label)), Transcript()
    )
    bob = Engine(Role.BOB, cascade.bob([Frame(b, q) for _, b, q in batch], preset), Transcript())
    said = []
    while not (alice.done and bob.done):
        for engine, peer in ((alice, bob), (bob, alice)):
            for message in engine.take_outgoing():
                said.append(message)
                peer.receive(message)
    pairs = [preset.cuts(a.size, q) for a, _, q in batch]
    cuts = [((a.log, a.wide, a.blocks), (b.log, b.wide, b.blocks)) for a, b in pairs]
    seed = FixedBits(label).take_bytes(32)
    expected = reference.reconcile(
        [a for a, _, _ in batch], [b for _, b, _ in batch], cuts, preset.masks, preset.limit, seed
    )
    assert said[1::2] == [encode(Parities(bits)) for bits in expected.parities]
    assert said[2::2] == [encode(ParityDifferences(bits)) for bits in expected.differences]
    assert alice.result.ledger.alice.tolist() == bob.result.ledger.alice.tolist() == expected.leak_bits
    assert [bits.tolist() for bits in bob.result.strings] == [frame.bob for frame in expected.frames]


@given(batches(), presets, st.data())
@settings(max_examples=40, deadline=None)
def test_bob_survives_any_parities(
    batch: list[tuple[np.ndarray, np.ndarray, float]], preset: CascadePreset, data: st.DataObject
) -> None:
    bob = Engine(Role.BOB, cascade.bob([Frame(b, q) for _, b, q in batch], preset), Transcript())
    alice = Engine(Role.ALICE, cascade.alice([Frame(a, q) for a, _, q in batch], preset, FixedBits("x")), Transcript())
    start, first = alice.take_outgoing()
    bob.receive(start)
    assert len(first) > 0
    try:
        for _ in range(sum(a.size + 64 for a, _, _ in batch)):
            if bob.done:
                break
            size = data.draw(st.integers(0, 40))
            bob.receive(encode(Parities(data.draw(st.binary(min_size=size, max_size=size)))))
    except QkdError:
        pass
    assert bob.done


@settings(deadline=None)
@given(st.integers(1, 2**64 - 1))
def test_word_instructions(x: int) -> None:
    word = np.uint64(x)
    assert _count(word) == x.bit_count()
    assert _lowest(word) == (x & -x).bit_length() - 1
    assert _highest(word) == x.bit_length() - 1
    assert _parity(word) == x.bit_count() % 2


@kernel
def _count(x: np.uint64) -> int:
    return words.count(x)


@kernel
def _lowest(x: np.uint64) -> int:
    return words.lowest(x)


@kernel
def _highest(x: np.uint64) -> int:
    return words.highest(x)


@kernel
def _parity(x: np.uint64) -> int:
    return words.parity(x)
