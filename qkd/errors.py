"""Whose fault it is, and what to do next.

    QkdError                      never raised itself
    +- ParameterError             you passed something impossible (names it, its value, the bound)
    +- LocalProtocolError         you called out of order
    +- RemoteProtocolError        the peer, or Eve, broke the rules: drop the line
    |  +- AuthenticationError     a tag did not verify: somebody altered the conversation
    +- ProtocolAborted            the protocol did its job: no key from this block
    |  +- QberTooHigh  BellTestFailed  ReconciliationFailed  VerificationFailed  KeyTooShort
    +- PeerUnreachable            nobody answers at the other end of the line
    +- EntropyFailed              the station's noise device broke, or fails its health tests
    +- TagFormatError  ClockNotFound  FeedError            (see distribution.errors)
    +- KeyStoreError              KeyNotFound  KeyExhausted  KeyExpired  NotAuthorised

Aborts raise and carry their numbers. Any other exception out of an engine is a bug of ours.
"""

from __future__ import annotations

from distribution.errors import ClockNotFound, FeedError, ParameterError, QkdError, TagFormatError

__all__ = [
    "AuthenticationError",
    "BellTestFailed",
    "ClockNotFound",
    "EntropyFailed",
    "FeedError",
    "KeyExhausted",
    "KeyExpired",
    "KeyNotFound",
    "KeyStoreError",
    "KeyTooShort",
    "LocalProtocolError",
    "NotAuthorised",
    "ParameterError",
    "PeerUnreachable",
    "ProtocolAborted",
    "QberTooHigh",
    "QkdError",
    "ReconciliationFailed",
    "RemoteProtocolError",
    "TagFormatError",
    "VerificationFailed",
]


class LocalProtocolError(QkdError):
    """You called out of order: for example fed an engine that has finished."""


class RemoteProtocolError(QkdError):
    """The peer, or Eve, broke the rules of the protocol: drop the line."""


class AuthenticationError(RemoteProtocolError):
    """A tag did not verify: somebody altered the conversation, or the two ends hold different keys."""


class PeerUnreachable(QkdError):
    """Nobody answers at the other end of the line, or the line went down."""


class EntropyFailed(QkdError):
    """The station's noise device broke off or fails its health tests: it hands out no more random bits."""


class ProtocolAborted(QkdError):
    """The protocol did its job: no key from this block."""


class QberTooHigh(ProtocolAborted):
    """The error rate is above what the session accepts; an eavesdropper may be the cause.

    Args:
        qber_z, qber_x: observed error rate of each basis, fractions.
        limit: the session's limit, a fraction.
    """

    def __init__(self, qber_z: float, qber_x: float, limit: float) -> None:
        super().__init__(
            f"QBER is {qber_z:.2%} in Z and {qber_x:.2%} in X, above the limit of {limit:.2%}: no key from this block",
            hint="check polarisation alignment and background light; if both are sound, assume an eavesdropper",
        )
        self.qber_z = qber_z
        self.qber_x = qber_x
        self.limit = limit


class BellTestFailed(ProtocolAborted):
    """The CHSH value does not clear its threshold."""

    def __init__(self, s: float, s_error: float, limit: float) -> None:
        super().__init__(f"CHSH S = {s:.3f} +- {s_error:.3f} does not clear {limit:.3f}: no key from this block")
        self.s = s
        self.s_error = s_error
        self.limit = limit


class ReconciliationFailed(ProtocolAborted):
    """Error correction ran out of rounds or of its leak allowance."""


class VerificationFailed(ProtocolAborted):
    """The universal hashes of the two corrected strings differ: errors survived error correction."""


class KeyTooShort(ProtocolAborted):
    """The finite-key bound leaves nothing of this block.

    Args:
        secret_bits: what the bound gives; zero or negative.
        sifted_bits: how many sifted bits the block had.
        least_sifted_bits: how many would have given a first key bit, or None if no block size does.
    """

    def __init__(self, secret_bits: int, sifted_bits: int, least_sifted_bits: int | None = None) -> None:
        need = "" if least_sifted_bits is None else f"; it takes about {least_sifted_bits} or more"
        super().__init__(
            f"{sifted_bits} sifted bits give {secret_bits} secret bits{need}",
            hint="collect larger blocks or lower the error rate",
        )
        self.secret_bits = secret_bits
        self.sifted_bits = sifted_bits
        self.least_sifted_bits = least_sifted_bits

    @classmethod
    def for_renewal(cls, secret_bits: int, sifted_bits: int, least_secret_bits: int) -> KeyTooShort:
        """The first block of a link cannot pay for the authentication keys that it has to replace."""
        error = cls(secret_bits, sifted_bits)
        error.args = (
            f"{sifted_bits} sifted bits give {secret_bits} secret bits; the first block after a computational"
            f" beginning needs {least_secret_bits} for new authentication keys",
        )
        error.hint = "collect a larger first block (session.block_bits), or begin with a pre-shared file"
        return error


class KeyStoreError(QkdError):
    """The key store cannot do what was asked."""


class KeyNotFound(KeyStoreError):
    """No such key here, or it was delivered already."""


class KeyExhausted(KeyStoreError):
    """Fewer keys are in store than were asked for.

    Args:
        available, requested: counts of keys (or of pads).
    """

    def __init__(self, message: str, *, available: int, requested: int) -> None:
        super().__init__(message, hint="wait for the link to make more key, or ask for less")
        self.available = available
        self.requested = requested


class KeyExpired(KeyStoreError):
    """The key outlived its time to live and was destroyed."""


class NotAuthorised(KeyStoreError):
    """The caller was not named when this key was made for somebody."""
