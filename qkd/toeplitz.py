"""The one hash family of the stack: modified Toeplitz matrices (I | T), computed exactly.

Definition. Input x of n bits, output y of l bits (0 <= l <= n), seed s of n - 1 bits, everything counted from 0:

    y[i] = x[i]  xor  sum over j of  s[i + j] x[n - 1 - j],     0 <= i < l,  0 <= j < n - l     (sum modulo 2)

so the first l input bits pass through an identity and the other n - l, last one first, meet the Toeplitz (here
Hankel) matrix s[i + j]. Seed bit 0 meets output bit 0 and the last input bit; seed bit n - 2 meets output bit l - 1
and input bit l.

The family is universal_2: for x != x' the outputs agree with probability at most 2^-l over the seed. If they differ
in the last n - l bits, output bit i of the difference is s[i + j*] plus seed bits of smaller index, j* the largest
differing j, so all l bits are uniform; if they do not, the identity keeps the difference. It needs n - 1 seed bits
where a full Toeplitz matrix needs n + l - 1 (Hayashi and Tsurumaru, IEEE Trans. Inf. Theory 62:2213, 2016).

No floating point: long outputs by polynomials over GF(2^64) where the processor multiplies without carries
(`qkd.gf2product`), by integers modulo a prime elsewhere; short ones by packed words. All answer a known question
before the first use in a process.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from qkd import gf2product
from qkd.bits import Bits, as_bits, pack
from qkd.errors import ParameterError
from qkd.kernels import ntt
from qkd.randomness import expand_bits

# Measured relative costs: of one entry of the matrix by packed words; of one point through one level of a transform;
# of one point of a product. Only speed depends on them.
WORD_COST, LEVEL_COST, PRODUCT_COST = 0.002, 0.36, 0.7
# Longer convolutions are cut into tiles; transforms of more points than CACHED_TRANSFORM fall out of the cache.
SHORTEST_TRANSFORM, CACHED_TRANSFORM, LONGEST_TRANSFORM = 1 << 13, 1 << 20, 1 << 23
UNCACHED_COST = 1.5
# Counts must stay below the modulus of the transform.
LONGEST_INPUT = 1 << 30
KNOWN_ANSWER = "67972cada333c35c379e9f5b30"  # by galois: see tests/test_toeplitz.py
# SHA-256 of 130,000 packed bits, by one product of Python integers: see tests/test_gf2product.py
LONG_KNOWN_ANSWER = "64fda7a8a9e667cedbd21dc25cdd029fa7292b7931fbe8d75012439f2cfab2b7"


class Method(StrEnum):
    """How a hash is computed; the bits are the same."""

    WORDS = "packed words"
    CARRYLESS = "additive transform over GF(2^64)"
    NUMBER_THEORETIC = "number-theoretic transform"


def seed_length(input_bits: int) -> int:
    """How many seed bits an input of `input_bits` needs."""
    return max(0, input_bits - 1)


def hash_bits(bits: Bits, length: int, seed: Bits) -> Bits:
    """The hash of the module docstring.

    Args:
        bits: x, shape (n,), uint8 0/1.
        length: l, output bits.
        seed: s, shape (n - 1,), uint8 0/1; (0,) for n = 0.

    Returns:
        y, shape (l,), uint8 0/1.

    Raises:
        ParameterError: l above n, n above 2^30, or a seed of another length.
    """
    bits, seed = as_bits(bits), as_bits(seed, name="seed")
    if not 0 <= length <= bits.size <= LONGEST_INPUT:
        raise ParameterError(f"hash of {bits.size} bits to {length}: need 0 <= output <= input <= {LONGEST_INPUT}")
    if seed.size != seed_length(bits.size):
        raise ParameterError(f"a hash of {bits.size} bits takes {seed_length(bits.size)} seed bits, got {seed.size}")
    self_test()
    return _hash(bits, length, seed)


@cache
def self_test() -> None:
    """Known answer of every computation, once per process: a miscompiled kernel must not make keys."""
    bits, seed = expand_bits(b"", "toeplitz input", 500), expand_bits(b"", "toeplitz seed", 499)
    words, transformed = bits[:100].copy(), bits[:100].copy()
    _add_by_words(words, bits[100:], seed)
    _add_by_transform(transformed, bits[100:][::-1], seed, _tiling(400, 100))
    right = all(pack(output).hex() == KNOWN_ANSWER for output in (words, transformed))
    if not right or (gf2product.available() and _long_answer() != LONG_KNOWN_ANSWER):
        raise RuntimeError("the Toeplitz hash fails its known-answer test: this machine must not make keys")


def _long_answer() -> str:
    """Of a size at which every step of the additive transforms is taken, cut ones included."""
    bits, seed = expand_bits(b"", "toeplitz input", 300_000), expand_bits(b"", "toeplitz seed", 299_999)
    output = bits[:130_000].copy()
    gf2product.add_windows(output, bits[130_000:][::-1], seed)
    return hashlib.sha256(pack(output)).hexdigest()


def method(input_bits: int, length: int) -> Method:
    """How this process computes a hash of these sizes, 0 <= length <= input_bits."""
    text = input_bits - length
    words = WORD_COST * text * length
    if gf2product.available():
        return Method.WORDS if words < gf2product.cost(text, length) else Method.CARRYLESS
    return Method.WORDS if not words or words < _tiling(text, length).cost else Method.NUMBER_THEORETIC


def _hash(bits: Bits, length: int, seed: Bits) -> Bits:
    rest = bits[length:]
    output = bits[:length].copy()
    if not length or not rest.size:
        return output
    chosen = method(bits.size, length)
    if chosen is Method.CARRYLESS:
        gf2product.add_windows(output, rest[::-1], seed)
    elif chosen is Method.WORDS:
        _add_by_words(output, rest, seed)
    else:
        _add_by_transform(output, rest[::-1], seed, _tiling(rest.size, length))
    return output


def _add_by_words(output: Bits, rest: Bits, seed: Bits) -> None:
    """output[i] ^= sum_j seed[i + j] rest[-1 - j]."""
    words = -(-rest.size // 64)
    # Packed from the far end and the bytes turned about: packing a reversed view takes thirty times as long.
    backwards = np.packbits(np.concatenate([np.zeros(-rest.size % 8, np.uint8), rest]))[::-1]
    ntt.slide(
        _words(np.packbits(seed, bitorder="little"), words + -(-output.size // 64)), _words(backwards, words), output
    )


def _words(packed: Bits, count: int) -> npt.NDArray[np.uint64]:
    return np.frombuffer(packed.tobytes().ljust(8 * count, b"\0"), "<u8").astype(np.uint64)


@dataclass(frozen=True, slots=True)
class _Tiling:
    """A convolution cut into rows (stretches of text) and columns (of output), transforms of `size` points."""

    size: int
    row: int
    column: int
    rows: int
    columns: int

    @property
    def cost(self) -> float:
        transforms = 2 * (self.rows + self.columns) - 1
        levels = self.size.bit_length() - 1
        slower = UNCACHED_COST if self.size > CACHED_TRANSFORM else 1.0
        return self.size * (transforms * levels * LEVEL_COST + self.rows * self.columns * PRODUCT_COST) * slower


def _tiling(text: int, output: int) -> _Tiling:
    """The cheapest tiling; one tile where text + output - 1 points suffice, else square tiles of half a transform."""
    least = 1 << (text + output - 2).bit_length()
    if least <= SHORTEST_TRANSFORM:
        return _Tiling(least, text, output, 1, 1)
    tilings = [_Tiling(least, text, output, 1, 1)] if least <= LONGEST_TRANSFORM else []
    size = SHORTEST_TRANSFORM
    while size <= min(least // 2, LONGEST_TRANSFORM):
        half = size // 2
        tilings.append(_Tiling(size, half, half, -(-text // half), -(-output // half)))
        size *= 2
    return min(tilings, key=lambda tiling: tiling.cost)


def _add_by_transform(output: Bits, text: Bits, seed: Bits, t: _Tiling) -> None:
    """output[i] ^= sum_j seed[i + j] text[j], by cyclic convolutions.

    Tile (r, c) needs the seed from r row + c column on, row + column - 1 bits of it. Convolved cyclically with the
    reversed stretch of text, its points row - 1 .. row + column - 2 are the sums wanted: what wraps round lands
    below them, because the transform is at least as long as the stretch of seed.
    """
    to_frequency, to_time = _roots(t.size)
    texts = [
        _transformed(text[r * t.row : (r + 1) * t.row], t.row, to_frequency, t.size, backwards=True)
        for r in range(t.rows)
    ]
    sums = np.zeros((t.columns, t.size), np.uint32)
    # Square tiles on one diagonal share their stretch of seed; a single tile is its own diagonal.
    for diagonal in range(t.rows + t.columns - 1):
        start = diagonal * t.row
        stretch = _transformed(seed[start : start + t.row + t.column - 1], 0, to_frequency, t.size)
        for c in range(max(0, diagonal - t.rows + 1), min(t.columns, diagonal + 1)):
            ntt.multiply_add(sums[c], stretch, texts[diagonal - c])
    # The product left 1/R, `parities` leaves another, the inverse transform the size.
    scale = pow(2, 64, ntt.P) * pow(t.size, -1, ntt.P) % ntt.P
    for c in range(t.columns):
        ntt.inverse(sums[c], to_time)
        ntt.parities(sums[c, t.row - 1 :], scale, output[c * t.column : (c + 1) * t.column])


def _transformed(bits: Bits, length: int, table: ntt.Residues, size: int, *, backwards: bool = False) -> ntt.Residues:
    points = np.zeros(size, np.uint32)
    if backwards:
        points[length - bits.size : length] = bits[::-1]
    else:
        points[: bits.size] = bits
    ntt.forward(points, table)
    return points


@lru_cache(maxsize=4)
def _roots(size: int) -> tuple[ntt.Residues, ntt.Residues]:
    """Tables of the forward and the inverse transform of `size` points, in Montgomery form."""
    root = pow(ntt.GENERATOR, (ntt.P - 1) // size, ntt.P)
    one = (1 << 32) % ntt.P
    forward, inverse = (ntt.roots(size, r * one % ntt.P, one) for r in (root, pow(root, -1, ntt.P)))
    return forward, inverse
