"""Whose fault it is, and what to do next.

    QkdError                      never raised itself
    +- ParameterError             you passed something impossible (names it, its value, the bound)
    +- LocalProtocolError         you called out of order
    +- RemoteProtocolError        the peer, or Eve, broke the rules: drop the line
    |  +- AuthenticationError     a tag did not verify: somebody altered the conversation
    +- ProtocolAborted            the protocol did its job: no key from this block
    |  +- QberTooHigh  BellTestFailed  ReconciliationFailed  VerificationFailed  KeyTooShort
    |     AssumptionFailed
    +- PeerUnreachable            nobody answers at the other end of the line
    +- EntropyFailed              the station's noise device broke, or fails its health tests
    +- TagFormatError  ClockNotFound  FeedError            (see distribution.errors)
    +- KeyStoreError              KeyNotFound  KeyExhausted  KeyExpired  NotAuthorised
       +- EpsilonBudgetSpent      the link's life is over: what was to be risked is risked
       +- ClockSetBack            this machine's clock shows less than it showed before

Aborts raise and carry their numbers. Any other exception out of an engine is a bug of ours.
"""

from __future__ import annotations

from distribution.errors import ClockNotFound, FeedError, ParameterError, QkdError, TagFormatError

__all__ = [
    "AssumptionFailed",
    "AuthenticationError",
    "BellTestFailed",
    "ClockNotFound",
    "ClockSetBack",
    "EntropyFailed",
    "EpsilonBudgetSpent",
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
    """The Bell test does not refute local realism as clearly as the session asks.

    Args:
        s, s_error: CHSH value and its standard error; limit: the local bound.
        p_value, p_limit: chance of such data under local realism, and the most that the session accepts.
        qber: observed error rates of the two key strings, fractions.
    """

    def __init__(
        self, s: float, s_error: float, limit: float, *, p_value: float, p_limit: float, qber: tuple[float, float]
    ) -> None:
        super().__init__(
            f"CHSH S = {s:.3f} +- {s_error:.3f} does not clear {limit:g} (p-value {p_value:.2g}, limit {p_limit:.2g});"
            f" QBER is {qber[0]:.2%} in Z and {qber[1]:.2%} in X: no key from this block",
            hint="check angles, polarisation alignment and the sign of the state; if they are sound, assume an"
            " eavesdropper",
        )
        self.chsh_s = s
        self.chsh_s_error = s_error
        self.chsh_p_value = p_value
        self.limit = limit
        self.qber_z, self.qber_x = qber


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
        unit: what the two are counts of, where it is not sifted bits.
    """

    least_sifted_bits: int | None = None  # None does not travel with an abort

    def __init__(
        self, secret_bits: int, sifted_bits: int, least_sifted_bits: int | None, unit: str = "sifted bits"
    ) -> None:
        need = "no size gives a key" if least_sifted_bits is None else f"it takes about {least_sifted_bits} or more"
        hint = "lower the error rate" if least_sifted_bits is None else "collect larger blocks or lower the error rate"
        super().__init__(f"{sifted_bits} {unit} give {secret_bits} secret bits; {need}", hint=hint)
        self.secret_bits = secret_bits
        self.sifted_bits = sifted_bits
        self.least_sifted_bits = least_sifted_bits

    @classmethod
    def for_renewal(cls, secret_bits: int, sifted_bits: int, least_secret_bits: int) -> KeyTooShort:
        """The first block of a link cannot pay for the authentication keys that it has to replace."""
        error = cls(secret_bits, sifted_bits, None)
        error.args = (
            f"{sifted_bits} sifted bits give {secret_bits} secret bits; the first block after a computational"
            f" beginning needs {least_secret_bits} for new authentication keys",
        )
        error.hint = "collect a larger first block (session.block_bits), or begin with a pre-shared file"
        return error


class DevicesGiveNoKey(ProtocolAborted):
    """The device-independent bound leaves nothing of a run of this size.

    Args:
        bits: what the bound gives; zero or negative.
        pairs: of the run.
        least_pairs: how many would have given a first key bit, or None if no run does.
    """

    def __init__(self, bits: float, pairs: int, least_pairs: int | None) -> None:
        need = "; no run does" if least_pairs is None else f"; it takes about {least_pairs}"
        super().__init__(
            f"a run of {pairs} pairs gives no device-independent key ({bits:.0f} bits){need}",
            hint="a larger S helps most: the entropy falls steeply below 2 sqrt(2)",
        )
        self.bits = bits
        self.pairs = pairs
        self.least_pairs = least_pairs


class AssumptionFailed(ProtocolAborted):
    """Something that the key's claim rests on was found not to hold, and this station makes no key then.

    Args:
        failed: "station: assumption" for each.
    """

    def __init__(self, failed: list[str]) -> None:
        super().__init__(
            f"no key from this block: {', '.join(failed)} failed",
            hint='see the alarms of that station; on_failed = "label" in [assumptions] would make the key and say so',
        )
        self.failed = len(failed)


class KeyStoreError(QkdError):
    """The key store cannot do what was asked."""


class KeyNotFound(KeyStoreError):
    """No such key here, or it was delivered already."""


class KeyExhausted(KeyStoreError):
    """Fewer keys are in store than were asked for.

    Args:
        available, requested: counts of keys (or of pads).
    """

    def __init__(self, message: str, *, available: int, requested: int, hint: str = "") -> None:
        super().__init__(message, hint=hint or "wait for the link to make more key, or ask for less")
        self.available = available
        self.requested = requested


class KeyExpired(KeyStoreError):
    """The key outlived its time to live and was destroyed."""


class NotAuthorised(KeyStoreError):
    """The caller was not named when this key was made for somebody."""


class EpsilonBudgetSpent(KeyStoreError):
    """The failure probabilities of all blocks and tags of this link would exceed what its store may spend.

    Args:
        spent: what the ledger holds. wanted: what the next block would add. budget: the store's budget.
    """

    def __init__(self, spent: float, wanted: float, budget: float) -> None:
        super().__init__(
            f"the link has spent {spent:.4g} of its epsilon budget of {budget:.4g}, and another block would cost"
            f" {wanted:.4g}: no more blocks",
            hint="start both ends with new stores and a new pre-shared secret; a smaller eps_sec makes a budget last"
            " longer. Keys in store can still be fetched",
        )
        self.spent = spent
        self.wanted = wanted
        self.budget = budget


class ClockSetBack(KeyStoreError):
    """The wall clock shows a time well before one that the key store has seen.

    Args:
        now_s, seen_s: the clock now, and the latest time it has shown, Unix seconds.
    """

    def __init__(self, now_s: float, seen_s: float) -> None:
        super().__init__(
            f"this machine's clock was set back: it shows {seen_s - now_s:.0f} s less than the key store has seen",
            hint="set the clock right; if it was ahead before and is right now: qkd pads accept-clock CONFIG.toml",
        )
        self.now_s = now_s
        self.seen_s = seen_s
