"""Verification: do the two corrected strings agree? Alice sends universal hashes, Bob compares and says.

Two strings that differ pass with probability at most 2^-t over the seed (`qkd.toeplitz`), t tag bits per string. The
seed is drawn after both strings are fixed; Eve may read it, so the tags cost t secret bits each. One seed serves both
bases: the bound on either string holds for the seed's marginal, and the union bound over the two wants no
independence; the shorter string takes the front of the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

from qkd import toeplitz
from qkd.bits import Bits, pack, same, unpack
from qkd.errors import RemoteProtocolError, VerificationFailed
from qkd.exchange.messages import VerificationResult, VerificationTags
from qkd.exchange.steps import Steps, receive, send
from qkd.randomness import SecretBits, take_bits

Strings = tuple[Bits, Bits]


@dataclass(frozen=True, slots=True)
class Disclosed:
    """Verification passed; what the tags told everybody.

    Attributes:
        bits_z, bits_x: tag bits of the Z and the X string, to be charged to that basis's key.
    """

    bits_z: int
    bits_x: int


def alice(strings: Strings, tag_bits: int, secrets: SecretBits) -> Steps[Disclosed]:
    """Send the tags of both strings, wait for Bob's verdict.

    Args:
        strings: corrected Z and X bits, shape (n,) each, uint8 0/1; either may be empty.
        tag_bits: t.
        secrets: where the hash seed comes from.

    Raises:
        VerificationFailed: Bob's strings give other tags.
    """
    seed = take_bits(secrets, _seed_bits(strings))
    tag_z, tag_x = _tags(strings, tag_bits, seed)
    yield from send(VerificationTags(pack(seed), tag_z, tag_x))
    result = yield from receive(VerificationResult)
    _require(result)
    return _disclosed(strings, tag_bits)


def bob(strings: Strings, tag_bits: int) -> Steps[Disclosed]:
    """Compare Alice's tags with one's own, tell her, and raise after telling her if they differ.

    Raises:
        VerificationFailed: the strings differ. RemoteProtocolError: seed or tags are of another size.
    """
    theirs = yield from receive(VerificationTags)
    mine = _tags(strings, tag_bits, unpack(theirs.seed, _seed_bits(strings)))
    for name, tag, own in zip("zx", (theirs.tag_z, theirs.tag_x), mine, strict=True):
        if len(tag) != len(own):
            raise RemoteProtocolError(f"tag_{name} has {len(tag)} bytes, expected {len(own)}")
    result = VerificationResult(same(theirs.tag_z, mine[0]), same(theirs.tag_x, mine[1]))
    yield from send(result)
    _require(result)
    return _disclosed(strings, tag_bits)


def tag(bits: Bits, tag_bits: int, seed: Bits) -> Bits:
    """The tag of one string: its hash to min(tag_bits, n) bits; a shorter string is its own tag, an empty one has none.

    Args:
        bits: shape (n,), uint8 0/1.
        seed: at least n - 1 bits, of which the first n - 1 are used.
    """
    return toeplitz.hash_bits(bits, min(tag_bits, bits.size), seed[: toeplitz.seed_length(bits.size)])


def _tags(strings: Strings, tag_bits: int, seed: Bits) -> tuple[bytes, bytes]:
    return pack(tag(strings[0], tag_bits, seed)), pack(tag(strings[1], tag_bits, seed))


def _seed_bits(strings: Strings) -> int:
    return toeplitz.seed_length(max(strings[0].size, strings[1].size))


def _disclosed(strings: Strings, tag_bits: int) -> Disclosed:
    return Disclosed(min(tag_bits, strings[0].size), min(tag_bits, strings[1].size))


def _require(result: VerificationResult) -> None:
    different = [name for name, equal in (("Z", result.equal_z), ("X", result.equal_x)) if not equal]
    if different:
        raise VerificationFailed(
            f"the corrected {' and '.join(different)} strings differ: no key from this block",
            hint="rare by chance; if it repeats, the error correction or one end's data are broken",
        )
