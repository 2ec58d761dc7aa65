"""The public sample: same positions at both ends, gone from the key, and an early stop when errors are too many."""

from __future__ import annotations

import numpy as np
import pytest

from qkd import estimation
from qkd.errors import KeyTooShort, ParameterError, QberTooHigh
from qkd.estimation import Estimate
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.randomness import FixedBits, expand_permutation, expand_sample
from qkd.session import SessionParameters
from qkd.sifting import SiftedBlock
from qkd.transport.memory import MemoryLine


def blocks(size: int, qber: float, seed: int = 1) -> tuple[SiftedBlock, SiftedBlock]:
    rng = np.random.default_rng(seed)
    basis = rng.integers(0, 2, size, dtype=np.uint8)
    bit = rng.integers(0, 2, size, dtype=np.uint8)
    wrong = (rng.random(size) < qber).astype(np.uint8)
    return SiftedBlock(basis, bit, size, 0, size, False), SiftedBlock(basis, bit ^ wrong, size, 0, -1, False)


def run(size: int, qber: float) -> tuple[Estimate, Estimate]:
    at_alice, at_bob = blocks(size, qber)
    params = SessionParameters()
    alice = Engine(Role.ALICE, estimation.alice(at_alice, params, FixedBits("sample")), Transcript())
    bob = Engine(Role.BOB, estimation.bob(at_bob, params), Transcript())
    MemoryLine(alice, bob).run()
    return alice.result, bob.result


def test_the_sample_leaves_the_key_at_both_ends_alike() -> None:
    alice, bob = run(20_000, 0.03)
    assert (alice.errors_z, alice.errors_x, alice.sample_z) == (bob.errors_z, bob.errors_x, bob.sample_z)
    assert alice.z.size + alice.x.size + alice.sample_z + alice.sample_x == 20_000
    differing = np.count_nonzero(alice.z != bob.z) + np.count_nonzero(alice.x != bob.x)
    at_alice, at_bob = blocks(20_000, 0.03)
    assert differing + alice.errors_z + alice.errors_x == np.count_nonzero(at_alice.bit != at_bob.bit)


def test_the_estimate_is_unbiased() -> None:
    """n = 10 000 sampled bits at 5 % (block of 1e6, 1 %): within five sigma."""
    alice, _ = run(1_000_000, 0.05)
    n = alice.sample_z + alice.sample_x
    assert abs(alice.errors_z + alice.errors_x - 0.05 * n) < 5 * np.sqrt(n * 0.05 * 0.95)


def test_intercept_resend_is_stopped_here() -> None:
    with pytest.raises(QberTooHigh) as caught:
        run(20_000, 0.25)
    assert caught.value.qber_z > 0.15
    assert "eavesdropper" in caught.value.hint


def test_a_block_without_one_of_the_bases_gives_no_key() -> None:
    bits = np.zeros(6000, np.uint8)
    only_z = SiftedBlock(bits, bits, 6000, 0, 6000, False)
    with pytest.raises(KeyTooShort, match="6000 sifted bits give 0 secret bits; it takes about 24000 or more"):
        Engine(Role.ALICE, estimation.alice(only_z, SessionParameters(), FixedBits("x")), Transcript())


@pytest.mark.parametrize(("in_z", "in_x", "least"), [(3000, 1000, 5000), (5998, 2, 12_000), (4999, 0, 19_996)])
def test_too_few_bits_name_the_least_block(in_z: int, in_x: int, least: int) -> None:
    """The session's own least block (5000), or the one in which the shorter basis has four bits."""
    bits = np.zeros(in_z + in_x, np.uint8)
    few = SiftedBlock((np.arange(bits.size) < in_x).astype(np.uint8), bits, bits.size, 0, bits.size, False)
    with pytest.raises(KeyTooShort) as caught:
        Engine(Role.BOB, estimation.bob(few, SessionParameters()), Transcript())
    assert caught.value.least_sifted_bits == least


@pytest.mark.parametrize(("bits", "size"), [(100_000, 1000), (10_000, 200), (400, 100), (4, 1)])
def test_sample_size(bits: int, size: int) -> None:
    assert estimation.sample_size(bits, 0.01) == size


@pytest.mark.parametrize(("size", "count"), [(1, 0), (1, 1), (2, 1), (7, 7), (7, 6), (1000, 10), (200_000, 2000)])
def test_a_sample_is_the_end_of_the_permutation(size: int, count: int) -> None:
    """Though it stops shuffling there."""
    seed = bytes(range(32))
    whole = expand_permutation(seed, "sample/z", size)
    assert np.array_equal(expand_sample(seed, "sample/z", size, count), np.sort(whole[size - count :]))


@pytest.mark.parametrize(("size", "count"), [(0, 0), (5, 6), (5, -1)])
def test_an_impossible_sample_is_refused(size: int, count: int) -> None:
    with pytest.raises(ParameterError, match="a sample of"):
        expand_sample(bytes(32), "x", size, count)


@pytest.mark.parametrize("size", [0, 1, 63, 1000])
def test_a_block_parts_by_basis(size: int) -> None:
    block, _ = blocks(size, 0.0)
    z, x = block.strings()
    assert np.array_equal(z, block.bit[block.basis == 0])
    assert np.array_equal(x, block.bit[block.basis == 1])


@pytest.mark.parametrize("places", [[], [0], [9], [0, 1, 2], [7, 8, 9], [3, 5, 6], list(range(10))])
def test_places_are_left_out(places: list[int]) -> None:
    bits = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1, 1], np.uint8)
    at = np.array(places, np.int64)
    assert np.array_equal(estimation._without(bits, at), np.delete(bits, at))
