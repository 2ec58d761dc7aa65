"""The modified Toeplitz hash: both computations against the definition and against galois' matrix product."""

from __future__ import annotations

import itertools

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd import toeplitz
from qkd.bits import Bits, pack
from qkd.errors import ParameterError
from qkd.randomness import expand_bits
from tests.reference.toeplitz import by_definition, by_galois

Sizes = st.integers(0, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


def _example(n: int, label: str) -> tuple[Bits, Bits]:
    return expand_bits(b"", f"{label} input", n), expand_bits(b"", f"{label} seed", toeplitz.seed_length(n))


@settings(max_examples=80, deadline=None)
@given(Sizes)
def test_equals_the_definition(sizes: tuple[int, int]) -> None:
    n, length = sizes
    bits, seed = _example(n, "definition")
    assert (toeplitz.hash_bits(bits, length, seed) == by_definition(bits, length, seed)).all()


@pytest.mark.parametrize(
    ("n", "length"), [(1, 0), (1, 1), (2, 1), (64, 32), (65, 64), (129, 1), (700, 350), (1000, 999)]
)
def test_both_computations_equal_galois(n: int, length: int) -> None:
    bits, seed = _example(n, "galois")
    expected = by_galois(bits, length, seed)
    assert (toeplitz.hash_bits(bits, length, seed) == expected).all()
    if 0 < length < n:
        by_transform = bits[:length].copy()
        tiling = toeplitz._tiling(n - length, length)
        toeplitz._add_by_transform(by_transform, bits[length:][::-1], seed, tiling)
        assert (by_transform == expected).all()


@pytest.mark.parametrize(("text", "length"), [(100, 100), (97, 30), (30, 97), (1, 60), (60, 1), (64, 33)])
@pytest.mark.parametrize("size", [4, 16, 64])
def test_tiles_of_any_size_give_the_same(text: int, length: int, size: int) -> None:
    """Many small tiles, the last ones partly filled: what only blocks of millions of bits would meet otherwise."""
    bits, seed = _example(text + length, "tiles")
    half = size // 2
    tiling = toeplitz._Tiling(size, half, half, -(-text // half), -(-length // half))
    output = bits[:length].copy()
    toeplitz._add_by_transform(output, bits[length:][::-1], seed, tiling)
    assert (output == by_definition(bits, length, seed)).all()


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="minutes in plain Python")
@pytest.mark.parametrize(("n", "length"), [(200_000, 120_000), (2_500_000, 900_000)])
def test_transform_equals_words_on_large_blocks(n: int, length: int) -> None:
    """The two computations share no code; sampled output bits are also taken by their definition."""
    bits, seed = _example(n, "large")
    text = bits[length:][::-1]
    transformed, words = bits[:length].copy(), bits[:1000].copy()
    toeplitz._add_by_transform(transformed, text, seed, toeplitz._tiling(text.size, length))
    toeplitz._add_by_words(words, bits[length:], seed[: text.size + 999])
    assert (transformed[:1000] == words).all()
    for i in np.random.default_rng(1).integers(0, length, 50):
        assert transformed[i] == (int(bits[i]) + int((seed[i : i + text.size] & text).sum())) % 2


def test_known_answer_is_galois() -> None:
    """The constant that every process checks itself against, by an implementation that is not ours."""
    bits, seed = expand_bits(b"", "toeplitz input", 500), expand_bits(b"", "toeplitz seed", 499)
    assert pack(by_galois(bits, 100, seed)).hex() == toeplitz.KNOWN_ANSWER


@pytest.mark.parametrize("kernel", ["slide", "multiply_add"])
def test_a_wrong_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    """Either computation, replaced by one that does nothing."""
    toeplitz.self_test.cache_clear()
    monkeypatch.setattr(toeplitz.ntt, kernel, lambda *_: None)
    with pytest.raises(RuntimeError, match="known-answer"):
        toeplitz.self_test()
    monkeypatch.undo()
    toeplitz.self_test()


def test_collisions_are_no_more_than_universal() -> None:
    """All inputs and all seeds of n = 7, l = 3: for every difference at most 2^(6-3) of the 64 seeds collide.

    The hash is linear in its input, so a collision of x and x' is a zero of x xor x'.
    """
    n, length = 7, 3
    seeds = [np.array(s, np.uint8) for s in itertools.product((0, 1), repeat=n - 1)]
    for difference in itertools.product((0, 1), repeat=n):
        if not any(difference):
            continue
        bits = np.array(difference, np.uint8)
        zeros = sum(not toeplitz.hash_bits(bits, length, seed).any() for seed in seeds)
        assert zeros == (len(seeds) >> length if any(difference[length:]) else 0)


@settings(max_examples=20, deadline=None)
@given(Sizes)
def test_is_linear(sizes: tuple[int, int]) -> None:
    n, length = sizes
    bits, seed = _example(n, "linear")
    other = expand_bits(b"", "other", n)
    both = toeplitz.hash_bits(bits, length, seed) ^ toeplitz.hash_bits(other, length, seed)
    assert (toeplitz.hash_bits(bits ^ other, length, seed) == both).all()


def test_inputs_are_left_alone() -> None:
    bits, seed = _example(300, "untouched")
    kept = bits.copy(), seed.copy()
    toeplitz.hash_bits(bits, 300, seed)[:] = 1
    toeplitz.hash_bits(bits, 100, seed)[:] = 1
    assert (bits == kept[0]).all()
    assert (seed == kept[1]).all()


@pytest.mark.parametrize(
    ("n", "length", "seed_bits"), [(10, 11, 9), (10, -1, 9), (10, 5, 10), (10, 5, 8), (0, 0, 1), (0, 1, 0)]
)
def test_sizes_that_do_not_fit_are_refused(n: int, length: int, seed_bits: int) -> None:
    with pytest.raises(ParameterError, match="hash of"):
        toeplitz.hash_bits(np.zeros(n, np.uint8), length, np.zeros(seed_bits, np.uint8))


def test_what_is_not_bits_is_refused() -> None:
    with pytest.raises(ParameterError, match="0 and 1"):
        toeplitz.hash_bits(np.full(10, 2, np.uint8), 5, np.zeros(9, np.uint8))
    with pytest.raises(ParameterError, match="seed"):
        toeplitz.hash_bits(np.zeros(10, np.uint8), 5, np.full(9, 2, np.uint8))
