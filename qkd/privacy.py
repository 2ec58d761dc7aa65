"""Privacy amplification: the corrected string through a freshly drawn hash, down to the length that is secret.

The leftover hash lemma with quantum side information (Tomamichel, Schaffner, Smith, Renner, IEEE Trans. Inf. Theory
57:5524, 2011) wants a seed that is uniform and independent of the string and of everything Eve did. A seed that
travels in public is that only if it is drawn after error correction and never met before: `PaSeed` cannot be drawn
without the corrected string, takes its bits from `SecretBits` alone, and works once.
"""

from __future__ import annotations

from qkd import toeplitz
from qkd.bits import Bits, pack, unpack
from qkd.errors import LocalProtocolError, ParameterError
from qkd.randomness import SecretBits, take_bits


class PaSeed:
    """The public seed of one privacy amplification; made by `draw` or `received`, spent by `amplify`."""

    def __init__(self, seed: Bits, input_bits: int) -> None:
        self._seed: Bits | None = seed
        self.input_bits = input_bits

    @classmethod
    def draw(cls, corrected: Bits, secrets: SecretBits) -> PaSeed:
        """A fresh seed for this string, which must have been corrected and verified.

        Args:
            corrected: shape (n,), uint8 0/1.
            secrets: where the n - 1 bits come from.
        """
        return cls(take_bits(secrets, toeplitz.seed_length(corrected.size)), corrected.size)

    @classmethod
    def received(cls, corrected: Bits, data: bytes) -> PaSeed:
        """The seed that the peer drew and sent for the same string.

        Raises:
            RemoteProtocolError: its length does not fit the string.
        """
        return cls(unpack(data, toeplitz.seed_length(corrected.size)), corrected.size)

    def to_bytes(self) -> bytes:
        """What travels to the peer, packed.

        Raises:
            LocalProtocolError: the seed is spent, and a spent seed must not travel again.
        """
        return pack(self._fresh())

    def take(self) -> Bits:
        """The seed bits, shape (n - 1,), once.

        Raises:
            LocalProtocolError: the seed is spent.
        """
        seed, self._seed = self._fresh(), None
        return seed

    def _fresh(self) -> Bits:
        if self._seed is None:
            raise LocalProtocolError("this privacy-amplification seed was used before: draw one per string and block")
        return self._seed


def amplify(bits: Bits, length: int, seed: PaSeed) -> Bits:
    """The secret key: `length` bits of the corrected string's hash; spends the seed, whatever comes of it.

    Args:
        bits: the corrected string, shape (n,), uint8 0/1.
        length: secret bits by `qkd.finitekey`; 0 gives an empty key.
        seed: drawn or received for this string.

    Returns:
        The key, shape (length,), uint8 0/1.

    Raises:
        LocalProtocolError: the seed was used before.
        ParameterError: it was drawn for a string of another length, or `length` is not in 0 .. n.
    """
    fresh = seed.take()
    if seed.input_bits != bits.size:
        raise ParameterError(f"the seed was drawn for {seed.input_bits} bits, the string has {bits.size}")
    return toeplitz.hash_bits(bits, length, fresh)
