"""Verification: does each corrected frame agree? Alice sends universal hashes, Bob says frame by frame whether his do.

Two frames that differ pass with probability at most 2^-t over the seed (`qkd.toeplitz`), t tag bits a frame, so that a
block in which any frame differs unnoticed has probability at most (number of frames) 2^-t: eps_cor. One seed serves
all frames: the bound for each holds for the seed's marginal, and the union bound over frames wants no independence; a
shorter frame takes the front of the seed. The seed is drawn after every frame is final; Eve may read it, so the tags
cost their bits. A frame of t bits or fewer is its own tag.

Bob's answer also says how many bits of each frame he corrected: with some methods only he can know. Where Alice knows
as well, the numbers must agree.

A frame that fails leaves the key, and nothing of it is used again as key. Throwing it away unread would not do: its
errors belong to the test by which the other basis is judged, and a test from which somebody removes the worst frames
proves nothing. So Alice shows the whole frame and Bob counts its errors against the bits that he sifted; the frame
joins the test with its exact count.

Why what remains is still secret. Which frames fail follows from the seeds and from where the strings differ, because
parities, syndromes and tags are linear; and where they differ is what Z (x) Z tells of each pair, which leaves X (x) X,
the phase errors, alone. The bound on phase errors is taken on the whole string of the basis, failed frames included,
and all of them are then charged to the frames that are left (`qkd.finitekey`), whichever these are. The uncertainty
relation holds for these frames with everything about the others in Eve's hands, so what was disclosed of a failed frame
costs the key nothing. Under every leak model this step rests on the error pattern's being harmless to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkd import toeplitz
from qkd.bits import Bits, pack, same, unpack
from qkd.errors import RemoteProtocolError, VerificationFailed
from qkd.exchange.messages import FailedErrors, FailedFrames, VerificationResult, VerificationTags
from qkd.exchange.steps import Steps, receive, send
from qkd.randomness import SecretBits, take_bits

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What verification found out; the same at both stations, and public.

    Attributes:
        equal: bool, shape (frames,): the tags agree.
        errors: int64, shape (frames,): bits in which the sifted frames differed, exact for every frame.
        sizes: int64, shape (frames,): their lengths.
        tag_length: t.
    """

    equal: npt.NDArray[np.bool_]
    errors: Counts
    sizes: Counts
    tag_length: int

    @property
    def tag_bits(self) -> Counts:
        """Bits of each frame that its tag disclosed, int64, shape (frames,)."""
        return np.minimum(self.sizes, self.tag_length)

    @property
    def answer_bits(self) -> Counts:
        """Bits that Bob's word on each frame can tell, int64: equal or not, and one of n + 1 counts."""
        return 1 + np.ceil(np.log2(self.sizes + 1)).astype(np.int64)

    @property
    def eps_cor(self) -> float:
        """Chance that some frame differs and passed, by the union bound."""
        return float(self.sizes.size) * 2.0**-self.tag_length


def alice(strings: Sequence[Bits], errors: Counts, tag_length: int, secrets: SecretBits) -> Steps[Verdict]:
    """Send the tags, wait for Bob's answer, show what failed.

    Args:
        strings: the corrected frames, shape (n,) each, uint8 0/1; at least one.
        errors: int64, shape (frames,): bits that Bob corrected, as far as Alice knows; -1 where she does not.
        tag_length: t, a multiple of 8.
        secrets: where the hash seed comes from.

    Raises:
        VerificationFailed: no frame passed.
        RemoteProtocolError: Bob's answer has another size, or counts that cannot be or are not what he answered before.
    """
    sizes = _sizes(strings)
    seed = take_bits(secrets, _seed_bits(strings))
    yield from send(VerificationTags(pack(seed), b"".join(_tags(strings, tag_length, seed))))
    answer = yield from receive(VerificationResult)
    equal = unpack(answer.equal, len(strings)).astype(np.bool_)
    counted = _counts(answer.errors, sizes)
    wrong = np.nonzero((errors >= 0) & (errors != counted))[0]
    if wrong.size:
        i = int(wrong[0])
        raise RemoteProtocolError(f"the peer corrected {errors[i]} bits of frame {i} and now says {counted[i]}")
    _require_any(equal)
    failed = np.nonzero(~equal)[0]
    if failed.size:
        yield from send(FailedFrames(pack(np.concatenate(_at(strings, failed)))))
        counted[failed] = _counts((yield from receive(FailedErrors)).errors, sizes[failed])
    return Verdict(equal, counted, sizes, tag_length)


def bob(strings: Sequence[Bits], before: Sequence[Bits], tag_length: int) -> Steps[Verdict]:
    """Compare Alice's tags with one's own, tell her, and count the errors of what failed.

    Args:
        strings: the corrected frames; before: the same frames as they were sifted.
        tag_length: t, a multiple of 8.

    Raises:
        VerificationFailed: no frame passed; Alice has been told.
        RemoteProtocolError: seed, tags or failed frames are of another size.
    """
    sizes = _sizes(strings)
    theirs = yield from receive(VerificationTags)
    mine = _tags(strings, tag_length, unpack(theirs.seed, _seed_bits(strings)))
    equal = np.array([same(tag, own) for tag, own in zip(_cut(theirs.tags, mine), mine, strict=True)], np.bool_)
    errors = _differing(strings, before)
    yield from send(VerificationResult(pack(equal.astype(np.uint8)), errors.astype(">u4").tobytes()))
    _require_any(equal)
    failed = np.nonzero(~equal)[0]
    if failed.size:
        shown = unpack((yield from receive(FailedFrames)).bits, int(sizes[failed].sum()))
        truth = np.split(shown, np.cumsum(sizes[failed])[:-1])
        errors[failed] = _differing(truth, _at(before, failed))
        yield from send(FailedErrors(errors[failed].astype(">u4").tobytes()))
    return Verdict(equal, errors, sizes, tag_length)


def tag(bits: Bits, tag_length: int, seed: Bits) -> Bits:
    """The tag of one frame: its hash to min(tag_length, n) bits; a shorter frame is its own tag.

    Args:
        bits: shape (n,), uint8 0/1.
        seed: at least n - 1 bits, of which the first n - 1 are used.
    """
    return toeplitz.hash_bits(bits, min(tag_length, bits.size), seed[: toeplitz.seed_length(bits.size)])


def _tags(strings: Sequence[Bits], tag_length: int, seed: Bits) -> list[bytes]:
    return [pack(tag(bits, tag_length, seed)) for bits in strings]


def _cut(tags: bytes, like: Sequence[bytes]) -> list[bytes]:
    """Tags that were sent end to end, each as long as one's own."""
    ends = np.cumsum([len(own) for own in like])
    if len(tags) != ends[-1]:
        raise RemoteProtocolError(f"the tags of {len(like)} frames have {ends[-1]} bytes, the peer sent {len(tags)}")
    return [tags[end - len(own) : end] for end, own in zip(ends, like, strict=True)]


def _counts(data: bytes, sizes: Counts) -> Counts:
    """Error counts as the peer sends them: four bytes a frame, big-endian."""
    if len(data) != 4 * sizes.size:
        raise RemoteProtocolError(f"error counts of {sizes.size} frames have {4 * sizes.size} bytes, not {len(data)}")
    counts = np.frombuffer(data, ">u4").astype(np.int64)
    if (counts > sizes).any():
        i = int(np.argmax(counts > sizes))
        raise RemoteProtocolError(f"the peer counts {counts[i]} errors in {sizes[i]} bits")
    return counts


def _differing(one: Sequence[Bits], other: Sequence[Bits]) -> Counts:
    return np.array([np.count_nonzero(a != b) for a, b in zip(one, other, strict=True)], np.int64)


def _at(strings: Sequence[Bits], places: Counts) -> list[Bits]:
    return [strings[int(i)] for i in places]


def _sizes(strings: Sequence[Bits]) -> Counts:
    return np.array([bits.size for bits in strings], np.int64)


def _seed_bits(strings: Sequence[Bits]) -> int:
    return toeplitz.seed_length(max(bits.size for bits in strings))


def _require_any(equal: npt.NDArray[np.bool_]) -> None:
    if not equal.any():
        raise VerificationFailed(
            f"all {equal.size} corrected frames differ between the stations: no key from this block",
            hint="rare by chance; if it repeats, the error correction or one end's data are broken",
        )
