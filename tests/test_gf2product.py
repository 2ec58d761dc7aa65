"""The product over GF(2^64): its field, its transforms and its whole, against obvious versions of each."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import galois
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd import gf2product, toeplitz
from qkd.bits import Bits
from qkd.kernels import additive, conversion, gf64
from qkd.kernels.features import carryless_bits
from qkd.randomness import expand_bits
from tests.reference.toeplitz import by_definition, by_galois
from tests.vectormaker.hashing import by_integers

INTERPRETED = bool(numba.config.DISABLE_JIT)
can_multiply = pytest.mark.skipif(
    not INTERPRETED and not gf2product.available(), reason="no carry-less multiplication here"
)
compiled = pytest.mark.skipif(INTERPRETED, reason="minutes in plain Python")
Sizes = st.integers(2, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1)))


def _example(n: int) -> tuple[Bits, Bits]:
    return expand_bits(b"", "product input", n), expand_bits(b"", "product seed", n - 1)


def _hashed(bits: Bits, length: int, seed: Bits) -> Bits:
    output = bits[:length].copy()
    gf2product.add_windows(output, bits[length:][::-1], seed)
    return output


def _random_words(count: int, seed: int) -> gf64.Words:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


# ------------------------------------------------------------------------------------------------ the processor


@pytest.mark.parametrize(
    ("told", "bits"),
    [
        ("+vpclmulqdq,+avx512f,+avx2,+pclmul,+sse4.1", 512),
        ("+vpclmulqdq,-avx512f,+avx2,+pclmul,+sse4.1", 256),
        ("-vpclmulqdq,+avx512f,+avx2,+pclmul,+sse4.1", 128),
        ("+vpclmulqdq,+pclmul,+sse4.1", 128),
        ("+avx512f,+avx2,-pclmul", 0),
        ("+neon,+aes", 0),
        ("", 0),
    ],
)
def test_the_widest_product_that_is_compiled(told: str, bits: int) -> None:
    everything = dict.fromkeys(("vpclmulqdq", "avx512f", "avx2", "pclmul", "sse4.1", "neon", "aes"), True)
    assert carryless_bits(told, everything) == bits


def test_what_the_processor_lacks_is_not_used_whatever_the_compiler_is_told() -> None:
    told = "+vpclmulqdq,+avx512f,+avx2,+pclmul,+sse4.1"
    assert carryless_bits(told, {"pclmul": True, "sse4.1": True, "avx2": True}) == 128
    assert carryless_bits(told, {"pclmul": False, "sse4.1": True}) == 0
    assert carryless_bits(told, {}) == 0


_ELSEWHERE = """
import sys
from qkd import gf2product, toeplitz
from qkd.kernels import gf64steps
from qkd.bits import pack
from qkd.randomness import expand_bits
n, length = 40_000, 17_000
key = toeplitz.hash_bits(expand_bits(b"", "product input", n), length, expand_bits(b"", "product seed", n - 1))
print(gf64steps.WIDTH, gf2product.available(), toeplitz.method(n, length).name, pack(key).hex())
"""


@compiled
@pytest.mark.parametrize(
    ("environment", "width"),
    [
        ({"NUMBA_CPU_NAME": "generic"}, 0),
        ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse4.1,+pclmul"}, 128),
        ({"NUMBA_ENABLE_AVX": "0"}, 128),
    ],
)
def test_features_switched_off_change_the_method_and_not_the_key(environment: dict[str, str], width: int) -> None:
    """In a process of its own, which must end well: an instruction that is not there would end it."""
    if width and not gf2product.available():
        pytest.skip("no carry-less multiplication here")
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE], capture_output=True, text=True, env=os.environ | environment, check=False
    )
    assert done.returncode == 0, done.stderr
    found, available, method, key = done.stdout.split()
    assert (int(found), available) == (width, str(width > 0))
    assert (method == "CARRYLESS") == (width > 0)
    bits, seed = _example(40_000)
    expected = bits[:17_000].copy()
    toeplitz._add_by_transform(expected, bits[17_000:][::-1], seed, toeplitz._tiling(23_000, 17_000))
    assert np.packbits(expected).tobytes().hex() == key


# ------------------------------------------------------------------------------------------------ the field


def test_products_are_those_of_galois() -> None:
    field = galois.GF(2**64, irreducible_poly="x^64 + x^4 + x^3 + x + 1", primitive_element="x")
    a, b = _random_words(8, 1), _random_words(8, 2)
    expected = [int(field(int(x)) * field(int(y))) for x, y in zip(a, b, strict=True)]
    assert [gf64.product(int(x), int(y)) for x, y in zip(a, b, strict=True)] == expected


def test_the_basis_is_cantors() -> None:
    assert gf64.BASIS[0] == 1
    for before, element in zip(gf64.BASIS, gf64.BASIS[1:], strict=False):
        assert gf64.product(element, element) ^ element == before


@can_multiply
def test_instructions_multiply_as_integers_do() -> None:
    a, b = _random_words(64, 3), _random_words(64, 4)
    a[:8], b[:8] = 2**64 - 1, [2**64 - 1, 2**63, 1, 0, 2**63 + 1, 27, 2**32, 2**60]
    expected = [gf64.product(int(x), int(y)) for x, y in zip(a, b, strict=True)]
    additive.multiply(a, b, 64)
    assert a.tolist() == expected


# ------------------------------------------------------------------------------------------------ the transforms


def _values(coefficients: gf64.Words, points: int) -> list[int]:
    """The polynomial with these coefficients of powers of y at the first sums of the basis, by Horner's rule."""
    values = []
    for point in gf64.span(gf64.BASIS[: max(1, (points - 1).bit_length())])[:points]:
        total = 0
        for c in coefficients[::-1]:
            total = gf64.product(total, int(point)) ^ int(c)
        values.append(total)
    return values


def _transformed(coefficients: gf64.Words, points: int) -> gf64.Words:
    k = max(4, (max(points, coefficients.size) - 1).bit_length())
    f = np.zeros(1 << k, np.uint64)
    f[: coefficients.size] = coefficients
    gf2product._convert(f, k, coefficients.size, conversion.PLAIN)
    additive.evaluate(f, gf64.TWIDDLES, k, points, coefficients.size)
    return f[:points]


@can_multiply
@pytest.mark.parametrize(
    ("filled", "points"), [(16, 16), (5, 16), (32, 32), (17, 48), (48, 48), (3, 112), (80, 80), (96, 128), (30, 16)]
)
def test_transform_evaluates_the_polynomial(filled: int, points: int) -> None:
    coefficients = _random_words(filled, filled)
    assert _transformed(coefficients, points).tolist() == _values(coefficients, points)


@can_multiply
@compiled
@pytest.mark.parametrize(("filled", "points"), [(300, 512), (5000, 9216), (40_000, 40_960), (70_000, 139_264)])
def test_transform_evaluates_long_polynomials(filled: int, points: int) -> None:
    """At a few of the points; lengths on both sides of every change of blocking."""
    coefficients = _random_words(filled, filled)
    got = _transformed(coefficients, points)
    for at in (0, 1, 2, points // 3, points - 2, points - 1):
        point = 0
        for j in range(at.bit_length()):
            point ^= gf64.BASIS[j] if at >> j & 1 else 0
        total = 0
        for c in coefficients[::-1].tolist():
            total = gf64.product(total, point) ^ c if point > 1 else total * point ^ c
        assert int(got[at]) == total


@can_multiply
@pytest.mark.parametrize("mode", [conversion.PLAIN, conversion.INVERSE_TRANSPOSED, conversion.TRANSPOSED])
@pytest.mark.parametrize("k", [4, 6, 9] if INTERPRETED else [4, 5, 7, 8, 9, 10, 12, 17])
def test_rows_are_converted_as_each_of_their_columns(k: int, mode: int) -> None:
    """Rows apart, which only the longest polynomials have at their top, against rows of one word."""
    f = _random_words(16 << k, k)
    columns = [f.reshape(1 << k, 16)[:, c].copy() for c in (0, 7, 15)]
    gf2product._convert(f, k, f.size, mode, 0, 16)
    for c, column in zip((0, 7, 15), columns, strict=True):
        gf2product._convert(column, k, column.size, mode)
        assert (f.reshape(1 << k, 16)[:, c] == column).all()


@can_multiply
@pytest.mark.parametrize("k", [4, 5, 8] if INTERPRETED else [4, 5, 8, 9, 13, 16, 17])
def test_the_three_conversions_are_of_one_matrix(k: int) -> None:
    """(x, C y) = (C^t x, y) and (C^-t x, C y) = (x, y) for products of x and y summed."""
    x, y = (_random_words(1 << k, 10 * k + n) for n in (1, 2))
    pairing = _paired(x, y)
    converted = y.copy()
    gf2product._convert(converted, k, converted.size, conversion.PLAIN)
    transposed, inverse_transposed = x.copy(), x.copy()
    gf2product._convert(transposed, k, x.size, conversion.TRANSPOSED)
    gf2product._convert(inverse_transposed, k, x.size, conversion.INVERSE_TRANSPOSED)
    assert _paired(x, converted) == _paired(transposed, y)
    assert _paired(inverse_transposed, converted) == pairing


def _paired(x: gf64.Words, y: gf64.Words) -> int:
    products = x.copy()
    additive.multiply(products, y, x.size)
    return int(np.bitwise_xor.reduce(products))


# ------------------------------------------------------------------------------------------------ the whole


@can_multiply
@settings(max_examples=15 if INTERPRETED else 80, deadline=None)
@given(Sizes)
def test_equals_the_definition(sizes: tuple[int, int]) -> None:
    n, length = sizes
    bits, seed = _example(n)
    assert (_hashed(bits, length, seed) == by_definition(bits, length, seed)).all()


@can_multiply
@pytest.mark.parametrize(("n", "length"), [(700, 350), (1000, 999), (1000, 1), (1025, 512), (2047, 1024)])
def test_equals_galois(n: int, length: int) -> None:
    bits, seed = _example(n)
    assert (_hashed(bits, length, seed) == by_galois(bits, length, seed)).all()


@can_multiply
@compiled
@pytest.mark.parametrize(
    ("n", "length"),
    [
        (4097, 2000),
        (10_000, 9_000),
        (65_536, 32_768),
        (98_765, 1_234),
        (98_765, 97_000),
        (131_072, 65_537),
        (150_000, 60_000),
        (177_777, 88_888),
        (262_144, 100_000),
        (500_000, 250_000),
        (786_433, 393_216),
        (1_000_000, 500_000),
        (1_000_003, 310_000),
        (2_097_152, 1_048_576),
        (2_500_000, 900_000),
    ],
)
def test_equals_the_portable_transform(n: int, length: int) -> None:
    """The two share no code."""
    bits, seed = _example(n)
    portable = bits[:length].copy()
    toeplitz._add_by_transform(portable, bits[length:][::-1], seed, toeplitz._tiling(n - length, length))
    assert (_hashed(bits, length, seed) == portable).all()


@can_multiply
@compiled
@pytest.mark.slow
@pytest.mark.parametrize(("n", "length"), [(5_000_000, 2_500_000), (10_000_000, 4_000_000), (40_000_000, 11_000_000)])
def test_equals_the_definition_at_sampled_bits_of_long_blocks(n: int, length: int) -> None:
    bits, seed = _example(n)
    text = bits[length:][::-1]
    output = _hashed(bits, length, seed)
    sampled = np.random.default_rng(1).integers(0, length, 40).tolist()
    for i in [0, 1, 31, 32, length - 1, length - 32, length - 33, *sampled]:
        assert output[i] == (int(bits[i]) + int((seed[i : i + text.size] & text).sum(dtype=np.int64))) % 2


def test_the_long_known_answer_is_one_product_of_integers() -> None:
    """The constant that every process checks these transforms against."""
    bits = expand_bits(b"", "toeplitz input", 300_000).tolist()
    key = by_integers(bits, 130_000, expand_bits(b"", "toeplitz seed", 299_999).tolist())
    assert hashlib.sha256(np.packbits(np.array(key, np.uint8)).tobytes()).hexdigest() == toeplitz.LONG_KNOWN_ANSWER


@pytest.mark.parametrize("kernel", ["multiply", "load", "evaluate", "evaluate_transposed", "interpolate_transposed"])
@can_multiply
@compiled
def test_a_wrong_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    toeplitz.self_test.cache_clear()
    monkeypatch.setattr(gf2product.additive, kernel, lambda *_: None)
    with pytest.raises(RuntimeError, match="known-answer"):
        toeplitz.self_test()
    monkeypatch.undo()
    toeplitz.self_test()


@can_multiply
def test_inputs_are_left_alone() -> None:
    bits, seed = _example(300)
    kept = bits.copy(), seed.copy()
    _hashed(bits, 100, seed)[:] = 1
    assert (bits == kept[0]).all()
    assert (seed == kept[1]).all()


@pytest.mark.parametrize("text", [1, 31, 32, 33, 1000, 4095, 4097, 100_000, 5_000_000])
@pytest.mark.parametrize("output", [1, 32, 33, 1000, 70_000, 5_000_000])
def test_transforms_are_long_enough_and_not_much_longer(text: int, output: int) -> None:
    needed = -(-text // 32) + -(-output // 32)
    points = gf2product.points(text, output)
    assert points >= needed
    assert points % 16 == 0
    assert points < needed * 9 / 8 + 32
