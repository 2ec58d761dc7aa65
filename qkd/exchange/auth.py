"""Authentication: every block's conversation under information-theoretic tags, two per direction.

A tag is Poly1305 (RFC 8439, section 2.5) with a hash key r that is kept and a pad s that is used once. Poly1305 is
then a Wegman-Carter code: for two different messages and any difference d of their tags, at most 8 ceil(L / 16) of
the 2^106 clamped r give d (Bernstein, "The Poly1305-AES message-authentication code", 2005, Theorem 3.3), and s, added
modulo 2^128, hides the hash perfectly. That makes the family almost strongly universal given a fresh s, which is what
recycling r asks for (Portmann, IEEE Trans. Inf. Theory 60:4383, 2014): the errors of all tags add up, so each costs a
pad of 128 bits and `forgery_probability`. Nothing here rests on a computational assumption.

The tagged message is  header || transcript.  Every part of the header has a fixed length or is preceded by its length,
so no two contexts share one; it stops tags from being moved between senders (reflection), stages, blocks, sessions,
releases of the software and configurations. Parameters and software stand there in full and not as a digest, which
would bring in an assumption on a hash function.

A pad allows one guess: whoever checks a tag burns the pad that it names before looking at its bytes, and that pad only,
so that a forged message costs the link one pad. Pads before it go when, and only when, the tag verifies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from cryptography.hazmat.primitives.poly1305 import Poly1305

from qkd.bits import same
from qkd.block import Vault
from qkd.errors import AuthenticationError, ParameterError
from qkd.exchange.messages import PROTOCOL_VERSION, Tag
from qkd.exchange.steps import Role, Steps, receive, send
from qkd.exchange.transcript import Transcript

KEY_BYTES = 16
PAD_BITS = 128
SESSION_ID_BYTES = 16
DOMAIN = b"entangled-qkd tag"


class Stage(Enum):
    """What a tag is about: the transcript so far, or that the block is accepted, at once or after a lost line."""

    TRANSCRIPT = b"T"
    ACCEPT = b"A"
    SETTLE = b"S"


# From sender, pad number and the eps of a guess: the hash key and the pad, burnt and charged.
Keys = Callable[[Role, int, float], tuple[bytes, bytes]]

_SENDER = {Role.ALICE: b"A", Role.BOB: b"B"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TagContext:
    """What both ends must agree on for a tag to verify, beyond the transcript.

    Attributes:
        session_id: 16 bytes, equal at both ends, never repeated.
        block: number of the block in the life of the link.
        parameters: the session parameters, byte for byte, in full.
        software: what both ends run, in full.

    Raises:
        ParameterError: session_id is not 16 bytes, or the block number does not fit 64 bits.
    """

    session_id: bytes
    block: int
    parameters: bytes
    software: bytes = b""

    def __post_init__(self) -> None:
        if len(self.session_id) != SESSION_ID_BYTES:
            raise ParameterError(f"session_id has {len(self.session_id)} bytes, must have {SESSION_ID_BYTES}")
        if not 0 <= self.block < 1 << 64:
            raise ParameterError(f"block = {self.block} must be in 0 .. 2^64 - 1")


def header(context: TagContext, sender: Role, stage: Stage, transcript_bytes: int) -> bytes:
    """DOMAIN || version (2) || sender "A"/"B" || stage "T"/"A"/"S" || session id (16) || block (8) ||
    length of software (8) || software || length of parameters (8) || parameters || length of transcript (8); integers
    big-endian."""
    return b"".join(
        (
            DOMAIN,
            PROTOCOL_VERSION.to_bytes(2, "big"),
            _SENDER[sender],
            stage.value,
            context.session_id,
            context.block.to_bytes(8, "big"),
            len(context.software).to_bytes(8, "big"),
            context.software,
            len(context.parameters).to_bytes(8, "big"),
            context.parameters,
            transcript_bytes.to_bytes(8, "big"),
        )
    )


def wegman_carter_tag(hash_key: bytes, pad: bytes, *message: bytes) -> bytes:
    """Poly1305 of the message, which may come in parts, under r = hash_key and s = pad.

    Args:
        hash_key: 16 bytes, secret, kept; 22 of its bits are cleared by the clamp of Poly1305.
        pad: 16 bytes, secret, used for this one message.

    Returns:
        16 bytes.

    Raises:
        ParameterError: a key is not 16 bytes.
    """
    if len(hash_key) != KEY_BYTES or len(pad) != KEY_BYTES:
        raise ParameterError(f"hash key and pad must have {KEY_BYTES} bytes, got {len(hash_key)} and {len(pad)}")
    code = Poly1305(hash_key + pad)
    for part in message:
        code.update(part)
    return code.finalize()


def forgery_probability(message_bytes: int) -> float:
    """Chance that a tag over another message of at most this length verifies, per tag, header included."""
    return 8.0 * -(-message_bytes // 16) * 2.0**-106


def send_tag(vault: Vault, role: Role, context: TagContext, transcript: Transcript, stage: Stage) -> Steps[int]:
    """Send a tag over the transcript as it stands; returns the pad bits used.

    Args:
        vault: own hash key and pads; the pad is burnt, durably, before the tag leaves.
        role: who we are.

    Raises:
        KeyExhausted: no pad is left.
    """
    yield from send(make_tag(vault, role, context, transcript, stage))
    return PAD_BITS


def make_tag(vault: Vault, role: Role, context: TagContext, transcript: Transcript, stage: Stage) -> Tag:
    """The tag that `send_tag` sends, for whoever has something to do between making and sending it."""
    head, said = _tagged_message(context, role, transcript, stage)
    number, pad = vault.take_pad(role, forgery_probability(len(head) + len(said)))
    return Tag(number, wegman_carter_tag(vault.hash_key(role), pad, head, said))


def check_tag(vault: Vault, role: Role, context: TagContext, transcript: Transcript, stage: Stage) -> Steps[int]:
    """Wait for the peer's tag and verify it over the transcript as it stands now; returns the pad bits used.

    The pad that the peer names is burnt, durably, whether or not the tag verifies: one guess per pad.

    Raises:
        AuthenticationError: the tag does not verify, or its pad was used before. KeyExhausted: no such pad here.
    """

    def keys(sender: Role, number: int, eps: float) -> tuple[bytes, bytes]:
        return vault.hash_key(sender), vault.peer_pad(sender, number, eps)

    number = yield from check_tag_under(keys, role, context, transcript, stage)
    vault.accept_pad(role.peer, number)
    return PAD_BITS


def check_tag_under(keys: Keys, role: Role, context: TagContext, transcript: Transcript, stage: Stage) -> Steps[int]:
    """The same with keys from elsewhere; returns the number of the pad, for `accept_pad`."""
    # Taken now, because the engine records the Tag message itself before we see it.
    head, said = _tagged_message(context, role.peer, transcript, stage)
    received = yield from receive(Tag)
    hash_key, pad = keys(role.peer, received.pad, forgery_probability(len(head) + len(said)))
    expected = wegman_carter_tag(hash_key, pad, head, said)
    if not same(expected, received.tag):
        raise AuthenticationError(
            f"the tag of {role.peer.value} on block {context.block} ({stage.name.lower()}) does not verify",
            hint="somebody alters the conversation, or the two ends hold different pre-shared keys or parameters",
        )
    return received.pad


def _tagged_message(context: TagContext, sender: Role, transcript: Transcript, stage: Stage) -> tuple[bytes, bytes]:
    return header(context, sender, stage, len(transcript)), transcript.recorded()
