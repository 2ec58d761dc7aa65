"""Secret randomness and public expansion: two of the stack's three kinds of randomness.

* `SecretBits` is unpredictable to everybody else; it comes from the operating system. Tests inject `FixedBits`.
* `expand_permutation` and `expand_bits` turn a public seed that travels in a message into what both sides need, by a
  rule that any second implementation can follow.
* The third kind, simulation, is an explicit `np.random.Generator` and never meets a key: it has no `SecretBits` type.

Expansion rule: the byte stream is the ChaCha20 key stream (RFC 8439, section 2.4; block counter from 0, nonce 0) under
the key SHA-256(seed || label), where label is ASCII. Bits are its bytes, most significant bit first. A permutation of n
is Fisher-Yates from the top: for i = n-1 .. 1, j = uniform(i+1) and entries i and j swap; uniform(m) takes successive
little-endian uint32 words w and rejects those with w m mod 2^32 < 2^32 mod m, else it is floor(w m / 2^32) (Lemire, ACM
Trans. Model. Comput. Simul. 29:3, 2019).
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Protocol

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from qkd.bits import Bits
from qkd.errors import ParameterError
from qkd.kernels.shuffle import fisher_yates, shuffled_end

SEED_BYTES = 32


class SecretBits(Protocol):
    """A source of bits that nobody else can predict."""

    def take_bytes(self, count: int) -> bytes:
        """`count` fresh bytes, each used once."""
        ...


class OperatingSystemBits:
    """Secret bits from the operating system's generator (getrandom)."""

    def take_bytes(self, count: int) -> bytes:
        """`count` bytes from the operating system."""
        return secrets.token_bytes(count)


class FixedBits:
    """Reproducible stand-in for vectors and tests: SHAKE-256 of a label. Never use it for a key that matters."""

    def __init__(self, label: str) -> None:
        self._label = label.encode()
        self._calls = 0

    def take_bytes(self, count: int) -> bytes:
        """The next `count` bytes of this label's sequence; every call starts a new stretch."""
        self._calls += 1
        return hashlib.shake_256(self._label + self._calls.to_bytes(8, "big")).digest(count)


def take_bits(source: SecretBits, count: int) -> Bits:
    """`count` secret bits, shape (count,), uint8 0/1."""
    return np.unpackbits(np.frombuffer(source.take_bytes((count + 7) // 8), np.uint8))[:count].copy()


def expand_bytes(seed: bytes, label: str, count: int) -> bytes:
    """The first `count` bytes of the stream of this seed and label; less than 256 GiB of it exist."""
    key = hashlib.sha256(seed + label.encode("ascii")).digest()
    return Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(count))


def expand_bits(seed: bytes, label: str, count: int) -> Bits:
    """The first `count` bits of the stream of `expand_bytes`, most significant bit of each byte first."""
    return np.unpackbits(np.frombuffer(expand_bytes(seed, label, (count + 7) // 8), np.uint8))[:count].copy()


def expand_permutation(seed: bytes, label: str, size: int) -> npt.NDArray[np.uint32]:
    """A permutation of range(size) by the rule of the module docstring, shape (size,), uint32.

    Raises:
        ParameterError: size is not in 1 .. 2^31.
    """
    if not 1 <= size <= 1 << 31:
        raise ParameterError(f"a permutation of {size} entries: the size must be in 1 .. 2^31")
    permutation = np.arange(size, dtype=np.uint32)
    words = size + 64
    # Rejections are rare (below size/2^32 per draw); when the stretch runs dry, take a longer prefix of the
    # same stream and start again: the result does not depend on how much was taken at first.
    while fisher_yates(permutation, _words(seed, label, words)) < 0:
        permutation = np.arange(size, dtype=np.uint32)
        words *= 2
    return permutation


def expand_sample(seed: bytes, label: str, size: int, count: int) -> npt.NDArray[np.int64]:
    """The last `count` entries of `expand_permutation`, ascending, shape (count,), int64.

    The shuffle comes to them first, so a small sample takes little of the stream, few swaps and little memory.

    Raises:
        ParameterError: size is not in 1 .. 2^31, or count not in 0 .. size.
    """
    if not 1 <= size <= 1 << 31 or not 0 <= count <= size:
        raise ParameterError(f"a sample of {count} of {size} entries: need 0 <= count <= size, size in 1 .. 2^31")
    found = np.empty(count, np.int64)
    room = 2 << count.bit_length()
    words = count + 64
    while shuffled_end(size, _words(seed, label, words), np.full(room, -1), np.empty(room, np.int64), found) < 0:
        words *= 2
    return np.sort(found)


def _words(seed: bytes, label: str, count: int) -> npt.NDArray[np.uint32]:
    """The stream as little-endian words."""
    return np.frombuffer(expand_bytes(seed, label, 4 * count), "<u4").astype(np.uint32, copy=False)
