"""Who signs the beginning of a link: this station's ML-DSA-87 key, and the one key of the peer that it believes.

ML-DSA-87 is FIPS 204's largest parameter set (security category 5). The peer's public key is pinned: it was carried
here by a person or over a path that is trusted, no certificate vouches for it and nothing on the line can change it.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA87PrivateKey, MLDSA87PublicKey

from qkd.errors import AuthenticationError, ParameterError

FINGERPRINT_BYTES = 32
SEED_BYTES = 32
PUBLIC_KEY_BYTES = 2592


def signing_key(seed: bytes) -> MLDSA87PrivateKey:
    """The private key of a 32-byte seed (FIPS 204, algorithm 6: xi).

    Raises:
        ParameterError: another length, or the installed `cryptography` has no ML-DSA.
    """
    if len(seed) != SEED_BYTES:
        raise ParameterError(f"the seed of an ML-DSA key has {SEED_BYTES} bytes, not {len(seed)}")
    try:
        return MLDSA87PrivateKey.from_seed_bytes(seed)
    except UnsupportedAlgorithm as error:
        raise lacking("ML-DSA-87") from error


def fingerprint(key: MLDSA87PublicKey) -> bytes:
    """SHA-256 of the raw public key (FIPS 204, algorithm 22), 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).digest()


def lacking(what: str) -> ParameterError:
    """What to say when the installed library was built without an algorithm."""
    return ParameterError(
        f"the installed cryptography package cannot do {what}",
        hint="install version 48 or newer from the package index; or begin with a pre-shared file",
    )


class Identity:
    """Own signing key and the peer's pinned public key; never printed.

    Args:
        own: this station's key.
        peer: the peer's.

    Raises:
        ParameterError: both are the same key.
    """

    def __init__(self, own: MLDSA87PrivateKey, peer: MLDSA87PublicKey) -> None:
        self._own = own
        self._peer = peer
        self.fingerprint = fingerprint(own.public_key())
        self.peer_fingerprint = fingerprint(peer)
        if self.fingerprint == self.peer_fingerprint:
            raise ParameterError(
                "the peer's public key is this station's own", hint="each station names the other's .pub file"
            )

    def __repr__(self) -> str:
        return f"<Identity {self.fingerprint.hex()[:16]}, believes {self.peer_fingerprint.hex()[:16]}>"

    def sign(self, statement: bytes, context: bytes) -> bytes:
        """ML-DSA-87 signature, 4627 bytes; `context` keeps statements of different purposes apart."""
        return self._own.sign(statement, context)

    def check(self, signature: bytes, statement: bytes, context: bytes) -> None:
        """Verify a signature of the peer.

        Raises:
            AuthenticationError: it is not the peer's over this statement.
        """
        try:
            self._peer.verify(signature, statement, context)
        except (InvalidSignature, ValueError) as error:
            raise AuthenticationError(
                f"the peer's signature does not verify under its key {self.peer_fingerprint.hex()}",
                hint="somebody alters the conversation; if it happens every time, compare the fingerprints of the keys"
                " at both stations: qkd pki show FILE.pub",
            ) from error
