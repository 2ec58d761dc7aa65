"""Every message that either party ever sends: all that Eve may read is this file.

Bits travel packed, most significant bit first (`qkd.bits`); numbers travel as MessagePack. A message is a tagged
struct; unknown fields and unknown tags are refused. Directions are Alice -> Bob (A>B), Bob -> Alice (B>A) or both.

The conversation is half-duplex: at any moment exactly one side may speak, so both sides record the same transcript.
"""

from __future__ import annotations

import msgspec

PROTOCOL_VERSION = 3
MOST_SHOWN_CHARACTERS = 400


def printable(text: str) -> str:
    """Words from the line as they may stand on a screen and in a log: one line of plain text, not too long of it."""
    shown = text[:MOST_SHOWN_CHARACTERS].encode("ascii", "backslashreplace").decode()
    cleaned = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)
    return cleaned if len(text) <= MOST_SHOWN_CHARACTERS else cleaned + "..."


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base of all messages; never sent itself."""


class Hello(Message, frozen=True):
    """Both, first on a line (Bob speaks first): who I am, what I run, where I stand.

    `committed` is the number of the last block whose key this side holds for good, `prepared` that of a block
    waiting for the other side's word, or -1. `parameters` is the JSON of the session parameters: both must be equal.
    """

    version: int
    role: str
    software: str
    session_nonce: bytes
    parameters: bytes
    committed: int
    prepared: int
    simulated: bool


class Detections(Message, frozen=True):
    """B>A: when Bob detected something; never what, and not in which basis.

    Times are coarsened to `bin_ps`; `deltas` codes the differences (see `qkd.exchange.codec`). `ended` says that
    Bob's tagger has no more.
    """

    start_bin: int
    bin_ps: int
    count: int
    width: int
    deltas: bytes
    ended: bool


class MoreDetections(Message, frozen=True):
    """A>B: the clocks are not yet aligned; keep what you sent pending and send more."""


class Kept(Message, frozen=True):
    """A>B: which of Bob's pending events Alice shares with him, in any bases (index differences, coded)."""

    count: int
    width: int
    deltas: bytes
    ended: bool


class Bases(Message, frozen=True):
    """Both, Bob first, once all events of the block are fixed: own basis, or setting, of each that is kept.

    One bit each where the station has two of them, two bits each (high one first) where three.
    """

    bits: bytes


class BellOutcomes(Message, frozen=True):
    """Both, Alice first: own outcomes of all kept pairs that give no key, in order; they decide the Bell test.

    `across` is how many of all kept pairs were, at this station, clicks at several settings, which got a random one.
    """

    bits: bytes
    across: int


class SampleRequest(Message, frozen=True):
    """A>B: Alice's bits at sample positions drawn from `seed`, per basis; these bits leave the key."""

    seed: bytes
    bits_z: bytes
    bits_x: bytes


class SampleAnswer(Message, frozen=True):
    """B>A: Bob's bits at the same positions."""

    bits_z: bytes
    bits_x: bytes


class ReconciliationStart(Message, frozen=True):
    """A>B: how this block is corrected, and in one line for people why; the method's own messages follow."""

    method: str
    reason: str


class CascadeStart(Message, frozen=True):
    """A>B: the public seed of all permutations and masks of this block, drawn after sifting."""

    seed: bytes


class Parities(Message, frozen=True):
    """A>B: Alice's parities of the blocks due in this round, in schedule order."""

    bits: bytes


class ParityDifferences(Message, frozen=True):
    """B>A: for each of those blocks, whether Bob's parity differs."""

    bits: bytes


class LdpcSyndromes(Message, frozen=True):
    """A>B: the public seed of this block's payload order, drawn after sifting, and the parities of all codewords."""

    seed: bytes
    bits: bytes


class LdpcRequest(Message, frozen=True):
    """B>A: codeword positions whose values Bob asks for (differences, coded), counted through the batch.

    `more` is empty, or one byte a codeword: how many further base rows of parities he asks for. No position and no
    row ends the exchange.
    """

    count: int
    width: int
    deltas: bytes
    more: bytes


class LdpcReveal(Message, frozen=True):
    """A>B: the further parities, codeword by codeword, then Alice's values at the positions, in their order."""

    bits: bytes


class VerificationTags(Message, frozen=True):
    """A>B: universal-hash tags of Alice's corrected frames, under a fresh public hash seed.

    Each tag is packed to whole bytes; they follow one another in the order of the frames, Z first.
    """

    seed: bytes
    tags: bytes


class VerificationResult(Message, frozen=True):
    """B>A: for each frame whether Bob's gives the same tag (a bit), and how many bits he corrected (4 bytes)."""

    equal: bytes
    errors: bytes


class FailedFrames(Message, frozen=True):
    """A>B: Alice's bits of the frames whose tags differ, one string in the order of the frames; they leave the key."""

    bits: bytes


class FailedErrors(Message, frozen=True):
    """B>A: in how many bits each of these frames, as it was sifted, differs from Alice's (4 bytes a frame)."""

    errors: bytes


class Amplify(Message, frozen=True):
    """A>B: fresh public seeds of the privacy amplification, the lengths they give, and the pad refill."""

    seed_z: bytes
    seed_x: bytes
    length_z: int
    length_x: int
    refill_alice: int
    refill_bob: int


class Tag(Message, frozen=True):
    """Both: a one-time-padded tag over the whole transcript of this block so far."""

    pad: int
    tag: bytes


class Abort(Message, frozen=True):
    """Both: no key from this block. `reason` is the error's class name, `text` its message, `numbers` its figures."""

    reason: str
    text: str
    numbers: dict[str, float]


class StationFindings(Message, frozen=True):
    """Both, once a block, Alice first: which of the assumptions that a station judges failed there, by name, in order.

    What this costs the key stands in `qkd.assumptions.exchange`.
    """

    failed: tuple[str, ...]


class BootstrapHello(Message, frozen=True):
    """Both, first on a line between stations that began without a pre-shared file (Bob speaks first).

    `own_key` and `peer_key` are SHA-256 fingerprints of the sender's public key and of the one that it believes,
    `link_id` names the keys that it holds already (empty: none), `committed` is as in `Hello`.
    """

    version: int
    role: str
    software: str
    nonce: bytes
    parameters: bytes
    own_key: bytes
    peer_key: bytes
    link_id: bytes
    committed: int


class BootstrapKey(Message, frozen=True):
    """A>B: a fresh ML-KEM-1024 encapsulation key, used once."""

    key: bytes


class BootstrapCiphertext(Message, frozen=True):
    """B>A: the ML-KEM-1024 ciphertext of the new shared secret."""

    ciphertext: bytes


class BootstrapProof(Message, frozen=True):
    """Both: ML-DSA-87 signature over all that was said, and a MAC of the same under the new key."""

    signature: bytes
    confirmation: bytes


AnyMessage = (
    Hello
    | Detections
    | MoreDetections
    | Kept
    | Bases
    | SampleRequest
    | SampleAnswer
    | ReconciliationStart
    | CascadeStart
    | Parities
    | ParityDifferences
    | LdpcSyndromes
    | LdpcRequest
    | LdpcReveal
    | VerificationTags
    | VerificationResult
    | FailedFrames
    | FailedErrors
    | Amplify
    | Tag
    | Abort
    | BellOutcomes
    | StationFindings
    | BootstrapHello
    | BootstrapKey
    | BootstrapCiphertext
    | BootstrapProof
)
